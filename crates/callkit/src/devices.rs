//! Which microphone and which loudspeaker the app chooses after it has signed in.

use rtc_media::{AudioInput, AudioOutput};

use crate::error::CallError;
use crate::kit::CallKit;
use crate::request::Request;

/// Devices are chosen at any time, in a call too.
///
/// One that fails in a call is told and tried again: the system's default, or the chosen device, for which the default stands in until it is back. Where
/// the system's default changes in a call, the call follows.
impl CallKit {
    /// Uses this microphone from now on, in calls to come and in the present one. The one before is used until the new one is open.
    ///
    /// # Errors
    /// [`CallError::Device`] if it cannot be opened, or another one was chosen meanwhile; the one before is used on. Without a call that needs a
    /// microphone nothing is opened, and a call that finds it missing says so.
    ///
    /// # Cancel safety
    /// Given up, the choice stands all the same.
    pub async fn set_audio_input(&self, input: AudioInput) -> Result<(), CallError> {
        self.ask(|reply| Request::SetAudioInput(input, reply)).await
    }

    /// Uses this loudspeaker from now on, as [`CallKit::set_audio_input`] a microphone.
    ///
    /// # Errors
    /// [`CallError::Device`], as there.
    ///
    /// # Cancel safety
    /// Given up, the choice stands all the same.
    pub async fn set_audio_output(&self, output: AudioOutput) -> Result<(), CallError> {
        self.ask(|reply| Request::SetAudioOutput(output, reply)).await
    }
}
