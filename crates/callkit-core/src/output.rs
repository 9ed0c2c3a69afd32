//! What goes out.

use std::time::Duration;

use call_protocol::CallMessage;
use call_protocol::media::NegotiationBody;
use call_protocol::session::{ClientFrame, Hello};
use signaling::{Role, Route};

use crate::audio_state::AudioState;
use crate::command::Response;
use crate::event::{CallEvent, KitEvent};
use crate::ids::{AudioDeviceId, AudioSessionId, CallKey, CommandId, PathId, RequestId, StreamId};
use crate::reasons::Disconnect;
use crate::requests::{AccessToken, Question};
use crate::settings::ToneKind;
use crate::snapshot::CallSnapshot;

/// What goes out, to be carried out in this order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A command went so.
    Reply {
        /// Which.
        id: CommandId,
        /// How.
        response: Response,
    },
    /// Open a stream to the server and sign in on it.
    Connect {
        /// By what it is named from now on.
        stream: StreamId,
        /// What is said first.
        hello: Box<Hello>,
    },
    /// Send this to the server. A sign of life in a call comes without the figures of its media: whoever has them may add them.
    Send {
        /// On which stream.
        stream: StreamId,
        /// What.
        frame: ClientFrame,
    },
    /// Let go of a stream.
    Disconnect {
        /// Which.
        stream: StreamId,
    },
    /// This is the access token from now on.
    AccessToken(AccessToken),
    /// Have the app's chat carry this.
    SendChat {
        /// To whom.
        to: Route,
        /// What.
        message: CallMessage,
    },
    /// Tell the listeners of the kit.
    Emit(KitEvent),
    /// Tell the handler of one call.
    EmitCall {
        /// The call.
        call: CallKey,
        /// What.
        event: CallEvent,
    },
    /// There is another call.
    CallOpened {
        /// By what it is named from now on.
        call: CallKey,
        /// How it stands.
        snapshot: CallSnapshot,
    },
    /// The handler that came with this command is that of the call from now on. One that it had is told that the call was adopted, and nothing more.
    SetHandler {
        /// The call.
        call: CallKey,
        /// The command.
        command: CommandId,
    },
    /// What handles of a call can read has changed.
    CallSnapshot {
        /// The call.
        call: CallKey,
        /// How it stands.
        snapshot: CallSnapshot,
    },
    /// There is no such call any more.
    CallClosed {
        /// The call.
        call: CallKey,
        /// What its handler is told; `None` if it never began.
        end: Option<Disconnect>,
    },
    /// Open a media path.
    OpenPath {
        /// By what it is named from now on.
        path: PathId,
        /// How.
        config: PathConfig,
    },
    /// Have a media path do this.
    TellPath {
        /// Which.
        path: PathId,
        /// What.
        command: PathCommand,
    },
    /// Close a media path, when what was sent on it is out.
    ClosePath {
        /// Which.
        path: PathId,
    },
    /// This is how the sound is to be; `None`: there is none, and the devices are released.
    Audio(Option<DesiredAudio>),
    /// Ask a handler of the app.
    Ask {
        /// What the answer names.
        request: RequestId,
        /// What.
        question: Question,
    },
    /// The device is signed out. Nothing follows, and nothing that comes in changes anything.
    Finished,
}

/// How a media path is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathConfig {
    /// Servers for server-reflexive candidates.
    pub stun_servers: Vec<String>,
    /// Which side this is: of two offers at once that of the caller counts.
    pub role: Role,
    /// Over relays only.
    pub relay_only: bool,
    /// Only the addresses of the default routes are shown, until [`PathCommand::ShowAllAddresses`].
    pub default_routes_only: bool,
    /// After so long without a way it has failed.
    pub failed_after: Duration,
}

/// What a media path is to do.
#[derive(Debug, Clone, PartialEq)]
pub enum PathCommand {
    /// Make an offer.
    Offer,
    /// Take the other end's description or candidate.
    Negotiation(NegotiationBody),
    /// Say this to the other end, if the path stands.
    Send(CallMessage),
    /// Every address of this machine may be shown.
    ShowAllAddresses,
    /// Look for a new way (RFC 8445 section 9).
    RestartIce,
    /// The addresses of this machine changed: follow them, or look for a new way.
    Rebind,
}

/// How the sound is to be. Taken as a whole, so that no part of it is ever applied to another path than the one it was meant for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredAudio {
    /// The run of the audio engine that it is for: another number, another run.
    pub session: AudioSessionId,
    /// Whose it is, what is sent and heard, and which devices are open.
    pub state: AudioState,
    /// The microphone to be used.
    pub microphone: AudioDeviceId,
    /// The loudspeaker to be used.
    pub loudspeaker: AudioDeviceId,
    /// Played over and over.
    pub tone: Option<ToneKind>,
    /// The end tone is played once, beside the tone, when its number is a new one.
    pub end_tone: Option<u64>,
    /// Over how long levels are measured.
    pub level_interval: Duration,
}
