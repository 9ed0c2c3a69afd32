//! What the phone speaks and hears with. What cannot be opened is found out before anybody is called.

use callkit::{AudioInput, AudioOutput};

use crate::options::Options;
use crate::screen::Screen;

/// What to speak. A microphone that was not asked for and is not there is replaced by silence.
pub(crate) fn input(options: &Options, screen: &mut Screen) -> Result<AudioInput, String> {
    let looped = !options.once;
    let input = if let Some(path) = &options.speak {
        AudioInput::Wav { path: path.clone(), looped }
    } else if options.speech {
        AudioInput::Speech { looped }
    } else if options.tone {
        AudioInput::Tone { hz: 440.0, amplitude: 0.3 }
    } else {
        match options.mic.as_deref() {
            None | Some("") => AudioInput::Default,
            Some(name) => AudioInput::Device(name.to_owned()),
        }
    };
    match input.open() {
        Ok(_) => Ok(input),
        Err(error) if matches!(input, AudioInput::Default) && options.mic.is_none() => {
            screen.note(&format!("no microphone, so nothing is said: {error} (see --speak, --speech and --tone)"));
            Ok(AudioInput::Silence)
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Where to hear. A loudspeaker that was not asked for and is not there is done without.
pub(crate) fn output(options: &Options, screen: &mut Screen) -> Result<AudioOutput, String> {
    let output = match (&options.hear, &options.speaker) {
        (Some(path), _) => AudioOutput::Wav(path.clone()),
        (None, Some(name)) => AudioOutput::Device(name.clone()),
        (None, None) => AudioOutput::Default,
    };
    match output.open() {
        Ok(_) => Ok(output),
        Err(error) if matches!(output, AudioOutput::Default) => {
            screen.note(&format!("no loudspeaker, so nothing is heard: {error} (see --hear)"));
            Ok(AudioOutput::Null)
        }
        Err(error) => Err(error.to_string()),
    }
}

pub(crate) fn list_devices() {
    for (kind, names) in [("microphone", rtc_media::input_devices()), ("loudspeaker", rtc_media::output_devices())] {
        if names.is_empty() {
            println!("no {kind}");
        }
        for name in names {
            println!("{kind}  {name}");
        }
    }
}
