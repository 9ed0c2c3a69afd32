//! Where sound comes from and goes to: a real device, a file, memory or a generator, all behind two traits.

#[cfg(feature = "cpal")]
mod drift;
mod recording;
#[cfg(feature = "cpal")]
mod sound_card;
mod synthetic;
mod wav;

use std::{fmt, path::PathBuf, sync::Arc};

use thiserror::Error;

pub use self::recording::Recording;
pub(crate) use self::wav::{read as read_wav, read_file as read_wav_file};
use crate::Frame;

/// Something that is heard: a microphone, a file, a generator.
///
/// The media clock reads it every 10 ms; reading neither blocks nor allocates.
pub trait AudioSource: Send {
    /// Fills `frame` with the next 10 ms.
    ///
    /// An error is final: drop the source and open another.
    fn read(&mut self, frame: &mut Frame) -> Result<ReadOutcome, DeviceError>;
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// Sound.
    Samples,
    /// The device has nothing yet: the frame is silence.
    Silence,
    /// The source is at its end: the frame is silence, and so are all after it.
    Finished,
}

/// Something that makes itself heard or keeps what it hears.
///
/// The media clock writes it every 10 ms; writing neither waits for a device nor allocates.
pub trait AudioSink: Send {
    /// Takes the next 10 ms.
    ///
    /// An error is final: drop the sink and open another.
    fn write(&mut self, frame: &Frame) -> Result<(), DeviceError>;

    /// Ends the sound; a file is complete after it. Dropping the sink does the same but tells no error.
    fn finish(&mut self) -> Result<(), DeviceError>;
}

/// Why there is no sound from or to a device.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The machine has no such device, or the sound server is not running.
    #[error("no {direction} device: {reason}")]
    NoDevice {
        /// Whether it was to hear or to be heard.
        direction: Direction,
        /// What the system says.
        reason: String,
    },
    /// No device has this name.
    #[error("no {direction} device is called {name:?}")]
    UnknownDevice {
        /// Whether it was to hear or to be heard.
        direction: Direction,
        /// The name asked for.
        name: String,
    },
    /// The system does not let this program use the device.
    #[error("the system denies access to the {direction} device")]
    Denied {
        /// Whether it was to hear or to be heard.
        direction: Direction,
    },
    /// Another program holds the device.
    #[error("the {direction} device is in use")]
    Busy {
        /// Whether it was to hear or to be heard.
        direction: Direction,
    },
    /// The device went away; open another, or the same once it is back.
    #[error("the {direction} device was lost")]
    Lost {
        /// Whether it was to hear or to be heard.
        direction: Direction,
    },
    /// The device cannot do what is needed.
    #[error("the {direction} device cannot be used: {reason}")]
    Unsupported {
        /// Whether it was to hear or to be heard.
        direction: Direction,
        /// What the system says.
        reason: String,
    },
    /// This build knows no real devices (cargo feature `cpal`).
    #[error("built without support for sound devices (cargo feature `cpal`)")]
    NotBuilt,
    /// The file cannot be read or written as WAV.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: hound::Error,
    },
    /// The file is no sound this crate plays.
    #[error("{}: {reason}", path.display())]
    UnsupportedFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// The sink was finished before.
    #[error("the sound was finished before")]
    Finished,
    /// An app's own device failed.
    #[error("{0}")]
    Custom(String),
}

/// Which way the sound goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the world to the program: a microphone.
    Input,
    /// From the program to the world: a loudspeaker.
    Output,
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Input => "input",
            Direction::Output => "output",
        })
    }
}

type OpenSource = dyn Fn() -> Result<Box<dyn AudioSource>, DeviceError> + Send + Sync;
type OpenSink = dyn Fn() -> Result<Box<dyn AudioSink>, DeviceError> + Send + Sync;

/// What to hear. Opening the same input twice begins it anew.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum AudioInput {
    /// The system's microphone.
    #[default]
    Default,
    /// The microphone of this name, one of [`input_devices`].
    Device(String),
    /// A WAV file of any rate, depth and number of channels; kept in memory (11 MiB a minute).
    Wav {
        /// The file.
        path: PathBuf,
        /// Begin anew at the end.
        looped: bool,
    },
    /// The speech of [`SPEECH_WAV`](crate::SPEECH_WAV), 8 s.
    Speech {
        /// Begin anew at the end.
        looped: bool,
    },
    /// These 48 kHz mono samples.
    Samples {
        /// The sound, full scale ±1.0.
        samples: Arc<[f32]>,
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
    /// White noise; the same seed gives the same noise.
    Noise {
        /// Selects the noise.
        seed: u64,
        /// Its peak, full scale 1.0.
        amplitude: f32,
    },
    /// A babble with the pitch, syllables and pauses of speech; another seed is another speaker saying something else.
    Voice {
        /// Selects speaker and babble.
        seed: u64,
    },
    /// Nothing.
    Silence,
    /// An app's own source, made at every opening; see [`AudioInput::custom`].
    Custom(Arc<OpenSource>),
}

impl AudioInput {
    /// An app's own source; `open` is called at every opening.
    pub fn custom(open: impl Fn() -> Result<Box<dyn AudioSource>, DeviceError> + Send + Sync + 'static) -> AudioInput {
        AudioInput::Custom(Arc::new(open))
    }

    /// Opens the source; a real device records from now on. May block for as long as the system takes to open a device.
    pub fn open(&self) -> Result<Box<dyn AudioSource>, DeviceError> {
        Ok(match self {
            AudioInput::Default => sound_card_source(None)?,
            AudioInput::Device(name) => sound_card_source(Some(name))?,
            AudioInput::Wav { path, looped } => Box::new(synthetic::Clip::new(wav::read_file(path)?.into(), *looped)),
            AudioInput::Speech { looped } => Box::new(synthetic::Clip::new(crate::speech::samples()?.into(), *looped)),
            AudioInput::Samples { samples, looped } => Box::new(synthetic::Clip::new(Arc::clone(samples), *looped)),
            AudioInput::Tone { hz, amplitude } => Box::new(synthetic::Tone::new(*hz, *amplitude)),
            AudioInput::Noise { seed, amplitude } => Box::new(synthetic::Noise::new(*seed, *amplitude)),
            AudioInput::Voice { seed } => Box::new(synthetic::Voice::new(*seed)),
            AudioInput::Silence => Box::new(synthetic::Silence),
            AudioInput::Custom(open) => open()?,
        })
    }

    /// Which device of the system [`open`](AudioInput::open) would open now, as a name that no other device has and that means nothing else. `None` if
    /// there is none, or what is heard is no device of the system. Whoever looks at it now and then sees the system's default change and a
    /// device come back. May block for as long as the system takes to answer.
    pub fn current_device(&self) -> Option<String> {
        match self {
            AudioInput::Default => sound_card_id(Direction::Input, None),
            AudioInput::Device(name) => sound_card_id(Direction::Input, Some(name)),
            AudioInput::Wav { .. }
            | AudioInput::Speech { .. }
            | AudioInput::Samples { .. }
            | AudioInput::Tone { .. }
            | AudioInput::Noise { .. }
            | AudioInput::Voice { .. }
            | AudioInput::Silence
            | AudioInput::Custom(_) => None,
        }
    }
}

impl fmt::Debug for AudioInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AudioInput::Default => f.write_str("Default"),
            AudioInput::Device(name) => f.debug_tuple("Device").field(name).finish(),
            AudioInput::Wav { path, looped } => {
                f.debug_struct("Wav").field("path", path).field("looped", looped).finish()
            }
            AudioInput::Speech { looped } => f.debug_struct("Speech").field("looped", looped).finish(),
            AudioInput::Samples { samples, looped } => {
                f.debug_struct("Samples").field("len", &samples.len()).field("looped", looped).finish()
            }
            AudioInput::Tone { hz, amplitude } => {
                f.debug_struct("Tone").field("hz", hz).field("amplitude", amplitude).finish()
            }
            AudioInput::Noise { seed, .. } => f.debug_struct("Noise").field("seed", seed).finish_non_exhaustive(),
            AudioInput::Voice { seed } => f.debug_struct("Voice").field("seed", seed).finish(),
            AudioInput::Silence => f.write_str("Silence"),
            AudioInput::Custom(_) => f.write_str("Custom"),
        }
    }
}

/// Where to be heard. Opening the same file twice overwrites it.
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum AudioOutput {
    /// The system's loudspeaker.
    #[default]
    Default,
    /// The loudspeaker of this name, one of [`output_devices`].
    Device(String),
    /// A WAV file, 48 kHz mono 16 bit; valid at any moment, even if the program is killed.
    Wav(PathBuf),
    /// Memory, for tests.
    Recording(Recording),
    /// Nowhere.
    Null,
    /// An app's own sink, made at every opening; see [`AudioOutput::custom`].
    Custom(Arc<OpenSink>),
}

impl AudioOutput {
    /// An app's own sink; `open` is called at every opening.
    pub fn custom(open: impl Fn() -> Result<Box<dyn AudioSink>, DeviceError> + Send + Sync + 'static) -> AudioOutput {
        AudioOutput::Custom(Arc::new(open))
    }

    /// Opens the sink. May block for as long as the system takes to open a device.
    pub fn open(&self) -> Result<Box<dyn AudioSink>, DeviceError> {
        Ok(match self {
            AudioOutput::Default => sound_card_sink(None)?,
            AudioOutput::Device(name) => sound_card_sink(Some(name))?,
            AudioOutput::Wav(path) => Box::new(wav::WavSink::create(path)?),
            AudioOutput::Recording(recording) => Box::new(recording.sink()),
            AudioOutput::Null => Box::new(synthetic::Nowhere),
            AudioOutput::Custom(open) => open()?,
        })
    }

    /// Which device of the system [`open`](AudioOutput::open) would open now; see [`AudioInput::current_device`].
    pub fn current_device(&self) -> Option<String> {
        match self {
            AudioOutput::Default => sound_card_id(Direction::Output, None),
            AudioOutput::Device(name) => sound_card_id(Direction::Output, Some(name)),
            AudioOutput::Wav(_) | AudioOutput::Recording(_) | AudioOutput::Null | AudioOutput::Custom(_) => None,
        }
    }
}

impl fmt::Debug for AudioOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AudioOutput::Default => f.write_str("Default"),
            AudioOutput::Device(name) => f.debug_tuple("Device").field(name).finish(),
            AudioOutput::Wav(path) => f.debug_tuple("Wav").field(path).finish(),
            AudioOutput::Recording(_) => f.write_str("Recording"),
            AudioOutput::Null => f.write_str("Null"),
            AudioOutput::Custom(_) => f.write_str("Custom"),
        }
    }
}

/// Names of the microphones there are now, for [`AudioInput::Device`]; empty where there are none.
pub fn input_devices() -> Vec<String> {
    #[cfg(feature = "cpal")]
    return sound_card::names(Direction::Input);
    #[cfg(not(feature = "cpal"))]
    Vec::new()
}

/// Names of the loudspeakers there are now, for [`AudioOutput::Device`]; empty where there are none.
pub fn output_devices() -> Vec<String> {
    #[cfg(feature = "cpal")]
    return sound_card::names(Direction::Output);
    #[cfg(not(feature = "cpal"))]
    Vec::new()
}

#[cfg(feature = "cpal")]
fn sound_card_source(name: Option<&str>) -> Result<Box<dyn AudioSource>, DeviceError> {
    Ok(Box::new(sound_card::SoundCardSource::open(&sound_card::find(Direction::Input, name)?)?))
}

#[cfg(feature = "cpal")]
fn sound_card_sink(name: Option<&str>) -> Result<Box<dyn AudioSink>, DeviceError> {
    Ok(Box::new(sound_card::SoundCardSink::open(&sound_card::find(Direction::Output, name)?)?))
}

#[cfg(feature = "cpal")]
fn sound_card_id(direction: Direction, name: Option<&str>) -> Option<String> {
    sound_card::find(direction, name).ok().and_then(|device| sound_card::id(&device))
}

#[cfg(not(feature = "cpal"))]
fn sound_card_id(_direction: Direction, _name: Option<&str>) -> Option<String> {
    None
}

#[cfg(not(feature = "cpal"))]
fn sound_card_source(_name: Option<&str>) -> Result<Box<dyn AudioSource>, DeviceError> {
    Err(DeviceError::NotBuilt)
}

#[cfg(not(feature = "cpal"))]
fn sound_card_sink(_name: Option<&str>) -> Result<Box<dyn AudioSink>, DeviceError> {
    Err(DeviceError::NotBuilt)
}
