//! What the app can want of a device, and how it is answered.

use call_protocol::disconnect::StartFailReason;
use call_protocol::end::UserCode;
use call_protocol::invite::{CallType, Ext};
use call_protocol::{AppId, CallId, UserId};

use crate::error::CallError;
use crate::ids::{AudioDeviceId, CallKey};
use crate::requests::AccessToken;
use crate::settings::CallSettings;

/// What the app wants. Each command is answered once, by [`Response`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Ready the media: must come before a call is made or answered.
    InitRtc,
    /// End whatever call there is, and release the audio devices.
    ReleaseRtc,
    /// Call a user; answered with [`Response::Started`].
    StartCall {
        /// Who is called.
        user: UserId,
        /// The kind of call.
        call_type: CallType,
        /// The app's own data.
        ext: Ext,
    },
    /// Take the call that rings.
    Answer {
        /// The call.
        call_id: CallId,
    },
    /// Cancel, decline or end, by state.
    Hangup {
        /// The call.
        call_id: CallId,
    },
    /// Put a running call on hold, or go on with it.
    Hold {
        /// The call.
        call_id: CallId,
        /// On hold, or not.
        held: bool,
    },
    /// Call a user with a handler of its own; answered with [`Response::Made`].
    MakeCall(Box<MakeCall>),
    /// Ask about a call with a handler of its own; answered with [`Response::Made`].
    VerifyCall(Box<VerifyCall>),
    /// Something with one call.
    Call {
        /// The call.
        call: CallKey,
        /// What.
        command: CallCommand,
    },
    /// Mute the microphone for every call, or unmute it.
    Mute(bool),
    /// Play the other side, or not.
    Speaker(bool),
    /// The system has activated the audio, or taken it back.
    AudioActive(bool),
    /// Play the other side of a call no more, or again; only here.
    MutePeer {
        /// The call.
        call_id: CallId,
        /// Not played, or played.
        muted: bool,
    },
    /// Use this microphone from now on. Answered when it is open, cannot be opened, or is not needed.
    ChooseMicrophone(AudioDeviceId),
    /// Use this loudspeaker from now on, likewise.
    ChooseLoudspeaker(AudioDeviceId),
    /// The access token from now on.
    AccessToken(AccessToken),
    /// End whatever call there is and sign out; answered with [`Output::Finished`](crate::Output::Finished) alone.
    SignOut,
}

/// A call to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MakeCall {
    /// Who calls: the signed-in user, or it is refused.
    pub user: UserId,
    /// The app: the signed-in one, or it is refused.
    pub app_id: AppId,
    /// Who is called.
    pub peer: UserId,
    /// The kind of call.
    pub call_type: CallType,
    /// The app's own data for the callee.
    pub ext: Ext,
    /// The app's own data for its backend.
    pub app_server_data: String,
    /// The callee may take the call without media and prepare itself.
    pub offers_preparation: bool,
    /// How long it rings, in ms.
    pub ring_timeout_ms: u32,
    /// What else is chosen.
    pub settings: CallSettings,
}

/// A call to be asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyCall {
    /// Who is called: the signed-in user, or it is refused.
    pub user: UserId,
    /// The app: the signed-in one, or it is refused.
    pub app_id: AppId,
    /// The call.
    pub call_id: CallId,
    /// Who calls.
    pub peer: UserId,
    /// The kind of call.
    pub call_type: CallType,
    /// It is verified for another part of the app to adopt it.
    pub is_background: bool,
    /// What else is chosen.
    pub settings: CallSettings,
}

/// What the app can want of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallCommand {
    /// Take the call.
    Accept {
        /// Without media until the preparation is finished, if the caller has offered that.
        preparation: bool,
    },
    /// Cancel, decline or end, by state.
    End(Ending),
    /// Callee: the preparation is finished.
    FinishPreparation,
    /// Put it on hold, and perhaps say why.
    Hold(Option<String>),
    /// Go on with it.
    Unhold,
    /// Mute the microphone for it, or unmute it.
    Mute(bool),
    /// Ask the other side to mute or unmute its microphone.
    RequestPeerMute(bool),
    /// Play the other side no more, or again.
    MutePeer(bool),
    /// The system has activated the audio.
    AudioActivated,
    /// Another part of the app takes it over: the handler that comes with this command.
    Adopt,
}

/// How the app ends a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Without a word.
    Plain,
    /// With a code of the app.
    WithCode(UserCode),
    /// Because of an error of the app.
    WithError(UserCode),
}

/// How a command went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// Of most.
    Done(Result<(), CallError>),
    /// Of [`Command::StartCall`].
    Started(Result<CallId, CallError>),
    /// Of [`Command::MakeCall`] and [`Command::VerifyCall`].
    Made(Result<CallKey, StartFailReason>),
}
