//! Microphones that are denied, missing or fail, and what becomes of a call then.

use std::time::Duration;

use call_protocol::disconnect::StartFailReason;
use rtc_media::{AudioInput, DeviceError};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::app_devices;

/// Why there is no microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
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
        failure_of(error).into()
    }
}

impl From<callkit_core::MicrophoneFailure> for MicrophoneFailure {
    fn from(failure: callkit_core::MicrophoneFailure) -> MicrophoneFailure {
        match failure {
            callkit_core::MicrophoneFailure::Denied => MicrophoneFailure::Denied,
            callkit_core::MicrophoneFailure::Missing => MicrophoneFailure::Missing,
            callkit_core::MicrophoneFailure::Busy => MicrophoneFailure::Busy,
            callkit_core::MicrophoneFailure::Lost => MicrophoneFailure::Lost,
            callkit_core::MicrophoneFailure::Unusable => MicrophoneFailure::Unusable,
        }
    }
}

/// What an error of a device means to a call.
pub(crate) fn failure_of(error: &DeviceError) -> callkit_core::MicrophoneFailure {
    use callkit_core::MicrophoneFailure;
    match error {
        DeviceError::Denied { .. } => MicrophoneFailure::Denied,
        DeviceError::NoDevice { .. } | DeviceError::UnknownDevice { .. } | DeviceError::NotBuilt => {
            MicrophoneFailure::Missing
        }
        DeviceError::Busy { .. } => MicrophoneFailure::Busy,
        DeviceError::Lost { .. } => MicrophoneFailure::Lost,
        _ => MicrophoneFailure::Unusable,
    }
}

/// How long a microphone that is tried may take to be opened. A system that asks its user for leave takes as long as the user, who is then told
/// that there is none; the next try finds it.
const PROBE_PATIENCE: Duration = Duration::from_secs(30);

/// Whether a microphone can be opened: opens it and lets go of it. Reads nothing from it.
pub(crate) async fn probe(input: AudioInput) -> Result<(), MicrophoneFailure> {
    let (told, opened) = oneshot::channel();
    // A thread of its own: one of the runtime's would keep that from ending for as long as the device hangs.
    let thread = std::thread::Builder::new().name("callkit-device".into()).spawn(move || {
        let opened = app_devices::open_microphone(&input).map(drop);
        let _ = told.send(opened.map_err(|error| {
            tracing::info!(%error, "the microphone");
            MicrophoneFailure::from(&error)
        }));
    });
    match thread {
        Ok(_) => timeout(PROBE_PATIENCE, opened)
            .await
            .map_or(Err(MicrophoneFailure::Unusable), |opened| opened.unwrap_or(Err(MicrophoneFailure::Unusable))),
        Err(_) => Err(MicrophoneFailure::Unusable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtc_media::Direction;

    #[tokio::test(start_paused = true)]
    async fn a_microphone_that_hangs_as_it_is_opened_is_waited_for_no_longer_than_thirty_seconds() {
        let (opens, hangs) = std::sync::mpsc::channel::<()>();
        let hangs = std::sync::Mutex::new(hangs);
        let hanging = AudioInput::custom(move || {
            let _ = hangs.lock().map(|hangs| hangs.recv());
            AudioInput::Silence.open()
        });
        let from = tokio::time::Instant::now();
        assert_eq!(probe(hanging).await, Err(MicrophoneFailure::Unusable));
        assert_eq!(from.elapsed(), PROBE_PATIENCE);
        drop(opens);
    }

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
