//! Microphones that are denied, missing or fail, and what becomes of a call then.

use call_protocol::disconnect::StartFailReason;
use rtc_media::{AudioInput, DeviceError};

/// Why there is no microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum MicrophoneFailure {
    /// The system does not let this program use it.
    #[error("the system denies access to the microphone")]
    Denied,
    /// There is none, or none of that name.
    #[error("there is no microphone")]
    Missing,
    /// Another program holds it.
    #[error("the microphone is in use")]
    Busy,
    /// It went away.
    #[error("the microphone was lost")]
    Lost,
    /// It cannot be used.
    #[error("the microphone cannot be used")]
    Unusable,
}

impl MicrophoneFailure {
    /// The documented reason for which a call that may not be without a microphone does not start. There is but one, as the documented
    /// systems know a microphone without permission only.
    pub fn start_fail_reason(self) -> StartFailReason {
        match self {
            MicrophoneFailure::Denied
            | MicrophoneFailure::Missing
            | MicrophoneFailure::Busy
            | MicrophoneFailure::Lost
            | MicrophoneFailure::Unusable => StartFailReason::NoRecordAudioPermission,
        }
    }
}

impl From<&DeviceError> for MicrophoneFailure {
    fn from(error: &DeviceError) -> MicrophoneFailure {
        match error {
            DeviceError::Denied { .. } => MicrophoneFailure::Denied,
            DeviceError::NoDevice { .. } | DeviceError::UnknownDevice { .. } | DeviceError::NotBuilt => {
                MicrophoneFailure::Missing
            }
            DeviceError::Busy { .. } => MicrophoneFailure::Busy,
            DeviceError::Lost { .. } => MicrophoneFailure::Lost,
            DeviceError::Unsupported { .. }
            | DeviceError::File { .. }
            | DeviceError::UnsupportedFile { .. }
            | DeviceError::Finished
            | DeviceError::Custom(_) => MicrophoneFailure::Unusable,
        }
    }
}

/// Whether a microphone can be opened: opens it and lets go of it. Reads nothing from it.
pub(crate) async fn probe(input: AudioInput) -> Result<(), MicrophoneFailure> {
    let opened = tokio::task::spawn_blocking(move || {
        input.open().map(drop).map_err(|error| {
            tracing::info!(%error, "the microphone");
            MicrophoneFailure::from(&error)
        })
    });
    opened.await.unwrap_or(Err(MicrophoneFailure::Unusable))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc_media::Direction;

    #[tokio::test]
    async fn a_microphone_is_tried_before_a_call_and_the_number_is_the_documented_one() {
        assert_eq!(probe(AudioInput::Silence).await, Ok(()));
        let denied = AudioInput::custom(|| Err(DeviceError::Denied { direction: Direction::Input }));
        assert_eq!(probe(denied).await, Err(MicrophoneFailure::Denied));
        let missing = AudioInput::custom(|| {
            Err(DeviceError::NoDevice { direction: Direction::Input, reason: "unplugged".into() })
        });
        assert_eq!(probe(missing).await, Err(MicrophoneFailure::Missing));
        let broken = AudioInput::custom(|| panic!("an app's own microphone"));
        assert_eq!(probe(broken).await, Err(MicrophoneFailure::Unusable));
        assert_eq!(MicrophoneFailure::Denied.start_fail_reason() as u32, 3000);
    }
}
