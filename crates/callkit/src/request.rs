//! What the handles of a kit ask of its driver, and how the answer goes back.

use std::sync::Arc;

use call_protocol::CallId;
use call_protocol::disconnect::StartFailReason;
use callkit_core::{CallCommand, CallKey, Command};
use rtc_media::{AudioInput, AudioOutput};
use tokio::sync::oneshot;

use crate::call::{Call, CallEventHandler};
use crate::error::CallError;
use crate::quality::CallQuality;
use crate::statistics::CallStatistics;

/// Something that is asked. A caller that no longer waits for its answer does not care about it.
pub(crate) enum Request {
    /// A command that succeeds or fails.
    Do(Command, Reply<()>),
    /// A command that nobody waits for.
    Notify(Command),
    StartCall(Command, Reply<CallId>),
    /// A call with a handler of its own.
    BeginCall {
        command: Command,
        handler: Arc<dyn CallEventHandler>,
        keeps_statistics: bool,
        reply: oneshot::Sender<Result<Call, StartFailReason>>,
    },
    Call(CallKey, CallCommand, Reply<()>),
    /// Another part of the app takes the call over.
    Adopt(CallKey, Arc<dyn CallEventHandler>, Reply<()>),
    /// Answered when the audio devices are released.
    ReleaseRtc(oneshot::Sender<()>),
    SetAudioInput(AudioInput, Reply<()>),
    SetAudioOutput(AudioOutput, Reply<()>),
    /// Which microphone is used.
    Microphone(oneshot::Sender<AudioInput>),
    Quality(oneshot::Sender<Option<CallQuality>>),
    Statistics(CallId, oneshot::Sender<Option<CallStatistics>>),
    CallStatistics(CallKey, oneshot::Sender<Option<CallStatistics>>),
    /// Whether there is this call.
    IsCall(CallId, oneshot::Sender<bool>),
    /// The app has said who gives access tokens.
    AccessHandler,
    NetworkChanged,
    SignOut(oneshot::Sender<()>),
}

/// How a command's outcome goes back.
pub(crate) type Reply<T> = oneshot::Sender<Result<T, CallError>>;
