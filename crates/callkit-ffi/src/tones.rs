//! The tones that a phone plays to its own user.

/// One tone.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum Tone {
    /// Silence.
    None,
    /// The kit's own.
    Default,
    /// A WAV file of any rate, depth and number of channels; read when it is set, and kept in memory (11 MiB a minute).
    Wav {
        /// The file.
        path: String,
    },
    /// The app's own sound, 48 kHz mono.
    Pcm {
        /// The sound, full scale ±1.0.
        samples: Vec<f32>,
    },
}

impl From<Tone> for callkit::Tone {
    fn from(tone: Tone) -> callkit::Tone {
        match tone {
            Tone::None => callkit::Tone::None,
            Tone::Default => callkit::Tone::Default,
            Tone::Wav { path } => callkit::Tone::Wav(path.into()),
            Tone::Pcm { samples } => callkit::Tone::Pcm(callkit::Clip::new(samples)),
        }
    }
}

/// What is played to the own user, and never sent: over and over while its reason lasts, but for the end tone. Default: none.
#[derive(Debug, Clone, PartialEq, uniffi::Record)]
pub struct Tones {
    /// Caller: the callee's phone rings.
    #[uniffi(default = None)]
    pub ringback: Option<Tone>,
    /// Callee: somebody calls.
    #[uniffi(default = None)]
    pub ring: Option<Tone>,
    /// The other side has put the call on hold.
    #[uniffi(default = None)]
    pub hold: Option<Tone>,
    /// This side has put the call on hold.
    #[uniffi(default = None)]
    pub holding: Option<Tone>,
    /// Somebody else calls during a call; mixed with the voice.
    #[uniffi(default = None)]
    pub waiting: Option<Tone>,
    /// Once, at the end of a call that was accepted; the loudspeaker is kept for as long as it lasts.
    #[uniffi(default = None)]
    pub end: Option<Tone>,
}

impl From<Tones> for callkit::Tones {
    fn from(tones: Tones) -> callkit::Tones {
        let tone = |given: Option<Tone>| given.map(Into::into).unwrap_or_default();
        callkit::Tones {
            ringback: tone(tones.ringback),
            ring: tone(tones.ring),
            hold: tone(tones.hold),
            holding: tone(tones.holding),
            waiting: tone(tones.waiting),
            end: tone(tones.end),
        }
    }
}

/// The kit's own tones, but silence for whoever puts a call on hold.
#[uniffi::export]
pub fn standard_tones() -> Tones {
    Tones {
        ringback: Some(Tone::Default),
        ring: Some(Tone::Default),
        hold: Some(Tone::Default),
        holding: None,
        waiting: Some(Tone::Default),
        end: Some(Tone::Default),
    }
}
