//! Where the voice comes from and where it goes.

/// What to hear. Every call begins it anew.
#[derive(Debug, Clone, PartialEq, uniffi::Enum)]
pub enum AudioInput {
    /// The system's microphone.
    Default,
    /// The microphone of this name.
    Device {
        /// As the system calls it.
        name: String,
    },
    /// A WAV file of any rate, depth and number of channels; kept in memory (11 MiB a minute).
    Wav {
        /// The file.
        path: String,
        /// Begin anew at the end.
        looped: bool,
    },
    /// The speech that comes with the kit, 8 s.
    Speech {
        /// Begin anew at the end.
        looped: bool,
    },
    /// These 48 kHz mono samples.
    Samples {
        /// The sound, full scale ±1.0.
        samples: Vec<f32>,
        /// Begin anew at the end.
        looped: bool,
    },
    /// A sine.
    Tone {
        /// Its frequency.
        hz: f32,
        /// Its peak, full scale 1.0.
        amplitude: f32,
    },
    /// Nothing.
    Silence,
}

impl From<AudioInput> for callkit::AudioInput {
    fn from(input: AudioInput) -> callkit::AudioInput {
        match input {
            AudioInput::Default => callkit::AudioInput::Default,
            AudioInput::Device { name } => callkit::AudioInput::Device(name),
            AudioInput::Wav { path, looped } => callkit::AudioInput::Wav { path: path.into(), looped },
            AudioInput::Speech { looped } => callkit::AudioInput::Speech { looped },
            AudioInput::Samples { samples, looped } => callkit::AudioInput::Samples { samples: samples.into(), looped },
            AudioInput::Tone { hz, amplitude } => callkit::AudioInput::Tone { hz, amplitude },
            AudioInput::Silence => callkit::AudioInput::Silence,
        }
    }
}

/// Where to be heard. Every call overwrites the file.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum AudioOutput {
    /// The system's loudspeaker.
    Default,
    /// The loudspeaker of this name.
    Device {
        /// As the system calls it.
        name: String,
    },
    /// A WAV file, 48 kHz mono 16 bit; valid at any moment, even if the program is killed.
    Wav {
        /// The file.
        path: String,
    },
    /// Nowhere.
    Null,
}

impl From<AudioOutput> for callkit::AudioOutput {
    fn from(output: AudioOutput) -> callkit::AudioOutput {
        match output {
            AudioOutput::Default => callkit::AudioOutput::Default,
            AudioOutput::Device { name } => callkit::AudioOutput::Device(name),
            AudioOutput::Wav { path } => callkit::AudioOutput::Wav(path.into()),
            AudioOutput::Null => callkit::AudioOutput::Null,
        }
    }
}

/// Names of the microphones there are now; empty where there are none. May take the system a while.
#[uniffi::export]
pub fn input_devices() -> Vec<String> {
    callkit::input_devices()
}

/// Names of the loudspeakers there are now; empty where there are none. May take the system a while.
#[uniffi::export]
pub fn output_devices() -> Vec<String> {
    callkit::output_devices()
}
