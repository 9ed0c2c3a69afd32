//! What the app is told: of everything, and of one call by its own handler.

use call_protocol::end::{EndReason, UserCode};
use call_protocol::invite::{CallType, Ext};
use call_protocol::session::RefuseReason;
use call_protocol::{CallId, ChannelId, Uid, UserId};

use crate::error::CallError;

/// How the kit stands with the server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionState {
    /// Signed in and connected.
    Connected,
    /// The connection broke and is being restored. A running call goes on.
    Reconnecting,
    /// Signed out for good: the server said no. Build and sign in again.
    SignedOut(RefuseReason),
}

/// Why there is no microphone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MicrophoneFailure {
    /// The system does not let this program use it.
    Denied,
    /// There is none, or none of that name.
    Missing,
    /// Another program holds it.
    Busy,
    /// It went away.
    Lost,
    /// It cannot be used.
    Unusable,
}

/// For the listeners of the whole kit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KitEvent {
    /// Callee: somebody calls; ring.
    ReceiveCall {
        /// Who calls.
        user: UserId,
        /// The call.
        call_id: CallId,
        /// The kind of call.
        call_type: CallType,
        /// The caller's app data.
        ext: Ext,
    },
    /// Callee: somebody calls while a call runs, and the call may wait.
    CallWaiting {
        /// Who calls.
        user: UserId,
        /// The call.
        call_id: CallId,
        /// The kind of call.
        call_type: CallType,
        /// The caller's app data.
        ext: Ext,
    },
    /// Somebody called, and no device of the user answered; it did not ring here.
    CallMissed {
        /// Who called.
        user: UserId,
        /// The call.
        call_id: CallId,
        /// The kind of call.
        call_type: CallType,
        /// The caller's app data.
        ext: Ext,
    },
    /// The other one called at the same moment: the call placed here goes on as the other one's.
    CallMerged {
        /// The call that was placed here.
        old: CallId,
        /// The call it goes on as.
        call_id: CallId,
        /// Its kind.
        call_type: CallType,
    },
    /// The call was put on hold here, or goes on.
    CallHeld {
        /// The call.
        call_id: CallId,
        /// Whether it is on hold now.
        held: bool,
    },
    /// The other one put the call on hold, or goes on with it.
    PeerHeld {
        /// The call.
        call_id: CallId,
        /// Whether it is on hold now.
        held: bool,
    },
    /// Caller: the callee's phone is about to ring.
    Ringing {
        /// The call.
        call_id: CallId,
        /// Who is rung.
        user: UserId,
    },
    /// It was accepted.
    Answer {
        /// The call.
        call_id: CallId,
    },
    /// The local user joined the channel.
    JoinedChannel {
        /// The call.
        call_id: CallId,
        /// The channel.
        channel: ChannelId,
    },
    /// Another one is in the channel.
    UserJoined {
        /// The call.
        call_id: CallId,
        /// Its uid.
        uid: Uid,
        /// Its user, if the mapper knows it.
        user: Option<UserId>,
    },
    /// Another one muted or unmuted its microphone.
    UserMuteAudio {
        /// The call.
        call_id: CallId,
        /// Its uid.
        uid: Uid,
        /// Whether it is muted now.
        muted: bool,
    },
    /// Another one switched its camera off or on.
    UserMuteVideo {
        /// The call.
        call_id: CallId,
        /// Its uid.
        uid: Uid,
        /// Whether it is off now.
        muted: bool,
    },
    /// The first sound of another one was played.
    FirstAudio {
        /// The call.
        call_id: CallId,
        /// Its uid.
        uid: Uid,
    },
    /// The other one cannot be heard by the server at the moment, or is back.
    PeerReachable {
        /// The call.
        call_id: CallId,
        /// Whether it can be heard.
        reachable: bool,
        /// How long until the call ends if it stays away, in ms.
        ends_in_ms: u32,
    },
    /// The own network is away, or back.
    NetworkAvailable {
        /// The call.
        call_id: CallId,
        /// Whether it is there.
        available: bool,
        /// How long until the call ends if it stays away, in ms.
        ends_in_ms: u32,
    },
    /// A call has no microphone.
    MicrophoneFailed {
        /// The call.
        call_id: CallId,
        /// Why.
        failure: MicrophoneFailure,
    },
    /// A call that had no microphone has one again.
    MicrophoneRestored {
        /// The call.
        call_id: CallId,
    },
    /// The call is over; told exactly once.
    CallEnd {
        /// The call.
        call_id: CallId,
        /// How.
        reason: EndReason,
        /// The code of the app that ended it.
        user_code: Option<UserCode>,
    },
    /// Something that the local user did failed.
    Error {
        /// The call that it is about, if it is about one.
        call_id: Option<CallId>,
        /// What.
        error: CallError,
    },
    /// The access token ends soon, or has ended.
    AccessTokenExpiring {
        /// How long it is still good, in ms; zero when it has ended.
        left_ms: u32,
    },
    /// The connection to the server changed after the sign-in.
    ConnectionChanged {
        /// How it stands now.
        state: ConnectionState,
    },
}

/// For the handler of one call, and, of [`CallEvent::Muted`] and [`CallEvent::Levels`], for whoever listens to this side's own media in it. Its end is
/// told with [`Output::CallClosed`](crate::Output::CallClosed).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallEvent {
    /// Caller: the callee is being notified.
    WaitConnected,
    /// Callee: the call is alive; ring.
    Verified {
        /// The caller offers to be connected without media while this side prepares itself.
        preparation_offered: bool,
    },
    /// It was accepted.
    Connected {
        /// There is no media yet.
        in_preparation: bool,
        /// It is this side that prepares itself.
        should_finish: bool,
    },
    /// The preparation is finished: media begins.
    PreparationFinished,
    /// The other one muted or unmuted its microphone.
    PeerMuted(bool),
    /// The other one put the call on hold, or goes on with it.
    PeerHeld {
        /// Whether it is on hold now.
        held: bool,
        /// Why, if it says.
        reason: Option<String>,
    },
    /// The other one asks that the microphone here be muted, or unmuted.
    MuteRequested(bool),
    /// One side is without network.
    NetworkUnavailable {
        /// The other one's.
        is_peer: bool,
        /// How long until the call ends if it stays so, in ms.
        ends_in_ms: u32,
    },
    /// That side is back.
    NetworkRestored {
        /// The other one's.
        is_peer: bool,
    },
    /// There is no microphone.
    MicrophoneFailed(MicrophoneFailure),
    /// There is a microphone again.
    MicrophoneRestored,
    /// Another process has taken the call over: the handler is told nothing more.
    AdoptedElsewhere,
    /// The microphone was muted or unmuted here.
    Muted(bool),
    /// It is time to tell the levels.
    Levels {
        /// The sound is that of this call; else the levels are zero.
        has_sound: bool,
        /// The call's handler is told that of the other side, too.
        peer: bool,
    },
}
