//! What comes in.

use call_protocol::media::NegotiationBody;
use call_protocol::session::{RefuseReason, ServerFrame, Welcome};
use call_protocol::{CallId, CallMessage, Party};

use crate::command::Command;
use crate::event::MicrophoneFailure;
use crate::ids::{AudioDeviceId, AudioSessionId, CommandId, PathId, RequestId, StreamId};
use crate::requests::Answer;

/// What comes in.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The app wants something.
    Command {
        /// What the reply names.
        id: CommandId,
        /// What.
        command: Command,
    },
    /// Nobody holds a handle of the kit any more.
    HandlesDropped,
    /// Of a stream to the server. One of another stream than the present one changes nothing.
    Stream {
        /// Which.
        stream: StreamId,
        /// What.
        notice: StreamNotice,
    },
    /// The app has said who gives access tokens.
    AccessHandler,
    /// The app's chat brings a message; it vouches for the sender's user.
    Chat {
        /// Who sent it.
        from: Party,
        /// What it says.
        message: CallMessage,
    },
    /// Of a media path. One of a path that is closed changes nothing.
    Path {
        /// Which.
        path: PathId,
        /// What.
        notice: PathNotice,
    },
    /// Of the audio engine. One of another session than the present one changes nothing.
    Audio {
        /// Which run of it.
        session: AudioSessionId,
        /// What.
        notice: AudioNotice,
    },
    /// A handler of the app has answered, or has failed.
    Answer {
        /// Which question.
        request: RequestId,
        /// What.
        answer: Answer,
    },
    /// The addresses of this machine changed.
    NetworkChanged {
        /// The one from which the present stream leaves is gone.
        is_stream_gone: bool,
    },
    /// It is later now.
    Wake,
}

/// What a stream to the server tells.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamNotice {
    /// The device is signed in on it.
    Opened(Welcome),
    /// It could not be opened.
    Failed(ConnectFailure),
    /// The server says something. One whose body was not understood has none.
    Received(ServerFrame),
    /// It is over, or takes no more.
    Ended,
}

/// Why a stream could not be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The server said no.
    Refused(RefuseReason),
    /// The server was not reached, or did not answer.
    Unreachable,
}

/// What a media path tells.
#[derive(Debug, Clone, PartialEq)]
pub enum PathNotice {
    /// It is there: sound can be sent on it, and what comes over it can be listened to.
    Opened,
    /// A description or a candidate of this side, for the other end.
    Negotiation(NegotiationBody),
    /// How it does now.
    State(PathState),
    /// The other end has sent this on it; the encryption vouches for the device.
    Message(Vec<u8>),
    /// It cannot be set up.
    Failed(String),
    /// The other end has begun anew, perhaps in another process: this path leads to nobody.
    Replaced,
}

/// How a media path does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathState {
    /// It is being set up.
    Connecting,
    /// It stands.
    Connected,
    /// Nothing comes over it at the moment.
    Disconnected,
    /// No way was found.
    Failed,
    /// It is over.
    Closed,
}

/// What the audio engine tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AudioNotice {
    /// The first decoded sound of this call was given to the loudspeaker.
    FirstAudio(CallId),
    /// The microphone is open.
    MicrophoneOpened,
    /// There is no microphone; the sound goes on without it.
    MicrophoneFailed {
        /// Why.
        failure: MicrophoneFailure,
        /// It was being opened, and not lost later.
        at_open: bool,
        /// The same for the developer.
        why: String,
    },
    /// The loudspeaker or the codec failed; the sound goes on without it.
    DeviceFailed(String),
    /// This device is open, or could not be opened.
    DeviceOpened {
        /// Which kind.
        kind: DeviceKind,
        /// Which one.
        device: AudioDeviceId,
        /// Whether it is open.
        result: Result<(), String>,
        /// There is one, this or the one before.
        goes_on: bool,
    },
    /// What was to be played once is over.
    EndToneOver,
    /// The engine could not be started, or failed: there is no sound.
    Ended(String),
}

/// A microphone or a loudspeaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// Where the voice comes from.
    Microphone,
    /// Where the voice goes to.
    Loudspeaker,
}
