//! Microphones that are denied, missing or fail.

use callkit::StartFailReason;

use crate::kit::CallKit;

/// Why there is no microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, uniffi::Error)]
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

#[uniffi::export]
impl MicrophoneFailure {
    /// The documented reason for which a call that may not be without a microphone does not start.
    pub fn start_fail_reason(&self) -> StartFailReason {
        callkit::MicrophoneFailure::from(*self).start_fail_reason()
    }
}

impl From<callkit::MicrophoneFailure> for MicrophoneFailure {
    fn from(failure: callkit::MicrophoneFailure) -> MicrophoneFailure {
        match failure {
            callkit::MicrophoneFailure::Denied => MicrophoneFailure::Denied,
            callkit::MicrophoneFailure::Missing => MicrophoneFailure::Missing,
            callkit::MicrophoneFailure::Busy => MicrophoneFailure::Busy,
            callkit::MicrophoneFailure::Lost => MicrophoneFailure::Lost,
            // Also one that is younger than this twin.
            _ => MicrophoneFailure::Unusable,
        }
    }
}

impl From<MicrophoneFailure> for callkit::MicrophoneFailure {
    fn from(failure: MicrophoneFailure) -> callkit::MicrophoneFailure {
        match failure {
            MicrophoneFailure::Denied => callkit::MicrophoneFailure::Denied,
            MicrophoneFailure::Missing => callkit::MicrophoneFailure::Missing,
            MicrophoneFailure::Busy => callkit::MicrophoneFailure::Busy,
            MicrophoneFailure::Lost => callkit::MicrophoneFailure::Lost,
            MicrophoneFailure::Unusable => callkit::MicrophoneFailure::Unusable,
        }
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl CallKit {
    /// Whether the microphone could be opened now, for an app that asks before it calls. It is opened for a moment, unless it is open.
    pub async fn check_microphone(&self) -> Result<(), MicrophoneFailure> {
        Ok(self.0.check_microphone().await?)
    }
}
