//! The face of one call: a handle for each call, and a handler that is told of this call alone.
//!
//! It is another view of the core that the kit-wide face shows; an app may use either, or both at once. A call that was made or verified
//! here is told to its own handler and to nobody else; one that the kit-wide listeners were told of before it was verified here goes on
//! there, too, so that nothing that rings there is left without an end.

mod background;
mod cc_param;
mod directory;
mod events;
mod live;
mod manager;
mod param;
mod statistics;

use std::sync::Arc;
use std::time::SystemTime;

use call_protocol::disconnect::StartFailReason;
use call_protocol::end::UserCode;
use call_protocol::invite::CallType;
use call_protocol::{CallId, UserId};
use callkit_core::{CallCommand, CallKey, CallState, Ending};
use signaling::Role;
use tokio::sync::{oneshot, watch};

use crate::error::CallError;
use crate::request::{Reply, Request};

pub use background::{BackgroundCall, VerifyBackgroundCallResult};
pub use cc_param::CcParam;
pub(crate) use directory::{Directory, LiveCalls};
pub use events::{CallEventHandler, MyMediaStatusHandler};
pub use manager::CallManager;
pub use param::{
    CallKitType, CallOptions, MakeCallParam, MakeCallParamBuilder, NO_ANSWER, ParamError, VerifyCallParam,
    VerifyCallParamBuilder,
};

use events::Listener;
use live::{CallFacts, KitLine};

/// Which side of a call this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallDirection {
    /// It was made here.
    Outgoing,
    /// It came in.
    Incoming,
}

/// What became of a call that was to be made.
#[derive(Debug, Clone)]
pub struct MakeCallResult {
    /// Why it did not start; [`StartFailReason::None`] if it did.
    pub reason: StartFailReason,
    /// The call, if it started.
    pub call: Option<Call>,
}

/// What became of a call that was to be verified.
#[derive(Debug, Clone)]
pub struct VerifyCallResult {
    /// Why it did not start; [`StartFailReason::None`] if it did.
    pub reason: StartFailReason,
    /// The call, if it started.
    pub call: Option<Call>,
}

impl From<Result<Call, StartFailReason>> for MakeCallResult {
    fn from(started: Result<Call, StartFailReason>) -> Self {
        let reason = started.as_ref().err().copied().unwrap_or(StartFailReason::None);
        MakeCallResult { reason, call: started.ok() }
    }
}

impl From<Result<Call, StartFailReason>> for VerifyCallResult {
    fn from(started: Result<Call, StartFailReason>) -> Self {
        let MakeCallResult { reason, call } = started.into();
        VerifyCallResult { reason, call }
    }
}

/// A handle on one call.
///
/// From [`CallKit::call`](crate::CallKit::call) for any call of a kit, or from what made or verified the call. Handles are cheap to clone. A call
/// that a [`CallManager`] made or verified is ended when its last handle is dropped; one of a [`CallKit`](crate::CallKit) goes on. A handle keeps its
/// kit signed in for as long as the call lasts, and no longer.
///
/// # Errors
/// Methods fail with [`CallError::NoSuchCall`] once the call is over, with [`CallError::NotRinging`] or [`CallError::NotAnswered`] where its
/// state does not allow them, with [`CallError::InvalidParam`] where a text is too long.
///
/// # Cancel safety
/// Once polled, what was asked is done even if the future is dropped.
#[derive(Clone)]
pub struct Call {
    key: CallKey,
    line: Arc<KitLine>,
    facts: watch::Receiver<CallFacts>,
    listener: Arc<Listener>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("call", &self.id()).field("state", &self.state()).finish_non_exhaustive()
    }
}

/// What is known of it.
impl Call {
    /// Its id. It changes once where both parties called each other at the same moment and the two calls became one.
    pub fn id(&self) -> CallId {
        self.facts.borrow().snapshot.call_id
    }

    /// The user at the other end.
    pub fn peer_user_id(&self) -> UserId {
        self.facts.borrow().snapshot.peer.clone()
    }

    /// The kind of call.
    pub fn call_type(&self) -> CallType {
        self.facts.borrow().snapshot.call_type
    }

    /// Which side this is.
    pub fn direction(&self) -> CallDirection {
        match self.facts.borrow().snapshot.role {
            Role::Caller => CallDirection::Outgoing,
            Role::Callee => CallDirection::Incoming,
        }
    }

    /// How far it is.
    pub fn state(&self) -> CallState {
        self.facts.borrow().snapshot.state
    }

    /// When it was made, or came in here, by the clock of this machine.
    pub fn began_at(&self) -> SystemTime {
        self.facts.borrow().began
    }

    /// When it was accepted, by the clock of this machine; `None` before.
    pub fn connected_at(&self) -> Option<SystemTime> {
        self.facts.borrow().connected
    }

    /// Whether it was put on hold here.
    pub fn is_on_hold(&self) -> bool {
        self.facts.borrow().snapshot.held
    }

    /// Whether the other one has put it on hold.
    pub fn is_peer_on_hold(&self) -> bool {
        self.facts.borrow().snapshot.peer_held
    }

    /// Whether the microphone is muted for this call, by whichever face: what this says, what is sent and what the other side is told agree.
    pub fn is_my_audio_muted(&self) -> bool {
        self.facts.borrow().snapshot.muted
    }

    /// Whether the other one has muted its microphone.
    pub fn is_peer_audio_muted(&self) -> bool {
        self.facts.borrow().snapshot.peer_muted
    }

    /// Whether the other one is not played here.
    pub fn is_peer_audio_silenced(&self) -> bool {
        self.facts.borrow().snapshot.peer_silenced
    }

    /// Whether it is connected without media until the callee has finished its preparation.
    pub fn is_in_responder_preparation(&self) -> bool {
        self.facts.borrow().snapshot.preparing
    }
}

/// What can be done with it.
impl Call {
    /// Takes the call. With `use_responder_preparation`, and if the caller offered that, it is connected without media until
    /// [`finish_preparation`](Call::finish_preparation).
    pub async fn accept(&self, use_responder_preparation: bool) -> Result<(), CallError> {
        self.ask(CallCommand::Accept { preparation: use_responder_preparation }).await
    }

    /// Cancels, declines or ends the call, by state.
    pub async fn end(&self) -> Result<(), CallError> {
        self.ask(CallCommand::End(Ending::Plain)).await
    }

    /// The same with a code of the app, 1 to 64 bytes, which the other side is told.
    pub async fn end_with_code(&self, user_code: &str) -> Result<(), CallError> {
        self.ask(CallCommand::End(Ending::WithCode(code(user_code)?))).await
    }

    /// The same, because of an error of the app: both sides are told the reason `UserError` and the code, 1 to 64 bytes.
    pub async fn end_with_error(&self, user_code: &str) -> Result<(), CallError> {
        self.ask(CallCommand::End(Ending::WithError(code(user_code)?))).await
    }

    /// Callee: the preparation is finished, media begins at both sides.
    pub async fn finish_preparation(&self) -> Result<(), CallError> {
        self.ask(CallCommand::FinishPreparation).await
    }

    /// Puts the call on hold: nothing is said or heard. The other side is told, with the reason if there is one (at most 256 bytes).
    pub async fn hold(&self, reason: Option<&str>) -> Result<(), CallError> {
        self.ask(CallCommand::Hold(reason.map(str::to_owned))).await
    }

    /// Goes on with a call on hold; another running one of the same kit is put on hold.
    pub async fn unhold(&self) -> Result<(), CallError> {
        self.ask(CallCommand::Unhold).await
    }

    /// Mutes or unmutes the microphone for this call, at any time; the other side is told. What was said last counts, here or by
    /// [`CallKit::mute`](crate::CallKit::mute); a call begins as the kit is.
    pub async fn mute_my_audio(&self, muted: bool) -> Result<(), CallError> {
        self.ask(CallCommand::Mute(muted)).await
    }

    /// Asks the other side to mute or unmute its microphone; its app decides.
    pub async fn request_peer_mute(&self, muted: bool) -> Result<(), CallError> {
        self.ask(CallCommand::RequestPeerMute(muted)).await
    }

    /// Plays the other side no longer, or again. It is not told.
    pub async fn silence_peer_audio(&self, silenced: bool) -> Result<(), CallError> {
        self.ask(CallCommand::MutePeer(silenced)).await
    }

    /// The system has activated the audio session: with [`CallKitType::User`] the devices may start now.
    pub async fn notify_callkit_audio_activation(&self) -> Result<(), CallError> {
        self.ask(CallCommand::AudioActivated).await
    }

    /// What is going on with this side's own media.
    pub fn my_media_status(&self) -> MyMediaStatus {
        MyMediaStatus { call: self.clone() }
    }

    async fn ask(&self, command: CallCommand) -> Result<(), CallError> {
        self.request(|reply| Request::Call(self.key, command, reply)).await
    }

    async fn adopt(&self, handler: Arc<dyn CallEventHandler>) -> Result<(), CallError> {
        self.request(|reply| Request::Adopt(self.key, handler, reply)).await
    }

    async fn request(&self, request: impl FnOnce(Reply<()>) -> Request) -> Result<(), CallError> {
        let (reply, answer) = oneshot::channel();
        let requests = self.line.requests().ok_or(CallError::NoSuchCall)?;
        requests.send(request(reply)).map_err(|_| CallError::NoSuchCall)?;
        drop(requests);
        answer.await.map_err(|_| CallError::NoSuchCall)?
    }
}

fn code(text: &str) -> Result<UserCode, CallError> {
    UserCode::new(text).map_err(|error| CallError::InvalidParam(format!("user_code: {error}")))
}

/// This side's own media in one call.
#[derive(Clone, Debug)]
pub struct MyMediaStatus {
    call: Call,
}

impl MyMediaStatus {
    /// Sets who is told of it, in place of whoever was.
    pub fn set_handler(&self, handler: impl MyMediaStatusHandler + 'static) {
        self.call.listener.set_media(Arc::new(handler));
    }

    /// Nobody is told of it any more.
    pub fn remove_handler(&self) {
        self.call.listener.remove_media();
    }

    /// Whether the microphone is muted for this call.
    pub fn is_my_audio_muted(&self) -> bool {
        self.call.is_my_audio_muted()
    }
}
