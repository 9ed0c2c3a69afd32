//! The tones that a phone plays to its own user.

use std::path::PathBuf;

use callkit_core::ToneSet;
use rtc_media::{Cadence, Clip};

/// One tone.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub enum Tone {
    /// Silence, as in the documented systems where nothing is set.
    #[default]
    None,
    /// The kit's own, in the manner of ITU-T E.180.
    Default,
    /// A WAV file of any rate, depth and number of channels; read when it is set, and kept in memory (11 MiB a minute).
    Wav(PathBuf),
    /// The app's own sound, 48 kHz mono.
    Pcm(Clip),
}

/// What is played to the own user, and never sent: over and over while its reason lasts, but for the end tone. Default: none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tones {
    /// Caller: the callee's phone rings.
    pub ringback: Tone,
    /// Callee: somebody calls.
    pub ring: Tone,
    /// The other side has put the call on hold.
    pub hold: Tone,
    /// This side has put the call on hold.
    pub holding: Tone,
    /// Somebody else calls during a call; mixed with the voice.
    pub waiting: Tone,
    /// Once, at the end of a call that was accepted; the loudspeaker is kept for as long as it lasts.
    pub end: Tone,
}

impl Tones {
    /// The kit's own tones, but silence for whoever puts a call on hold.
    pub fn standard() -> Tones {
        Tones {
            ringback: Tone::Default,
            ring: Tone::Default,
            hold: Tone::Default,
            holding: Tone::None,
            waiting: Tone::Default,
            end: Tone::Default,
        }
    }

    /// Reads the files. Blocks.
    pub(crate) fn load(&self) -> Result<LoadedTones, String> {
        let load = |name: &str, tone: &Tone, cadence: Cadence| match tone {
            Tone::None => Ok(None),
            Tone::Default => Ok(Some(cadence.clip())),
            Tone::Wav(path) => Clip::read_wav(path).map(Some).map_err(|error| format!("{name} tone: {error}")),
            Tone::Pcm(clip) => Ok(Some(clip.clone())),
        };
        Ok(LoadedTones {
            ringback: load("ringback", &self.ringback, Cadence::RINGBACK)?,
            ring: load("ring", &self.ring, Cadence::RING)?,
            hold: load("hold", &self.hold, Cadence::HOLD)?,
            holding: load("holding", &self.holding, Cadence::HOLD)?,
            waiting: load("waiting", &self.waiting, Cadence::WAITING)?,
            end: load("end", &self.end, Cadence::END)?,
        })
    }
}

/// The same in memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct LoadedTones {
    pub(crate) ringback: Option<Clip>,
    pub(crate) ring: Option<Clip>,
    pub(crate) hold: Option<Clip>,
    pub(crate) holding: Option<Clip>,
    pub(crate) waiting: Option<Clip>,
    pub(crate) end: Option<Clip>,
}

impl LoadedTones {
    /// Which there are.
    pub(crate) fn set(&self) -> ToneSet {
        let LoadedTones { ringback, ring, hold, holding, waiting, end } = self;
        ToneSet {
            ringback: ringback.is_some(),
            ring: ring.is_some(),
            hold: hold.is_some(),
            holding: holding.is_some(),
            waiting: waiting.is_some(),
            end: end.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_played_unless_it_is_set_and_a_file_that_is_not_there_is_named() {
        assert_eq!(Tones::default().load().unwrap(), LoadedTones::default());
        let standard = Tones::standard().load().unwrap();
        assert!(standard.ringback.is_some() && standard.hold.is_some() && standard.end.is_some());
        assert!(standard.holding.is_none());
        let missing = Tones { hold: Tone::Wav("not there.wav".into()), ..Tones::default() };
        let error = missing.load().unwrap_err();
        assert!(error.starts_with("hold tone: not there.wav"), "{error}");
    }
}
