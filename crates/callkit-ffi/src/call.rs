//! The face of one call: a handle for each call, and a handler that is told of this call alone.

mod handler;
mod param;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use callkit::{CallDirection, CallId, CallState, CallType, ParamError, StartFailReason, UserId};

use crate::error::CallError;
use crate::handlers::AccessTokenHandler;
use crate::kit::{CallKit, CallKitConfig};

pub use handler::{CallEventHandler, MyMediaStatusHandler};
pub use param::{CallOptions, CcParam, MakeCallParam, VerifyCallParam, parse_cc_param};

use handler::{Handler, MyMedia};

/// How far a call is.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum CallState {
    /// The server is being asked.
    Trying,
    /// Caller: the callee is being notified, or rings.
    WaitAnswer,
    /// Callee: the call is alive, and rings here.
    Verified,
    /// It was accepted.
    Connected,
    /// It is over.
    Disconnected,
}

/// Which side of a call this is.
#[uniffi::remote(Enum)]
pub enum CallDirection {
    /// It was made here.
    Outgoing,
    /// It came in.
    Incoming,
}

/// What became of a call that was to be made or verified.
#[derive(uniffi::Record)]
pub struct StartCallResult {
    /// Why it did not start; none if it did.
    pub reason: StartFailReason,
    /// The call, if it started.
    pub call: Option<Arc<Call>>,
    /// What is wrong with the parameter, in English, for the developer; none where the parameter is as it should be.
    pub param_error: Option<String>,
}

impl From<callkit::MakeCallResult> for StartCallResult {
    fn from(result: callkit::MakeCallResult) -> StartCallResult {
        StartCallResult { reason: result.reason, call: result.call.map(Call::of), param_error: None }
    }
}

impl From<callkit::VerifyCallResult> for StartCallResult {
    fn from(result: callkit::VerifyCallResult) -> StartCallResult {
        StartCallResult { reason: result.reason, call: result.call.map(Call::of), param_error: None }
    }
}

impl From<ParamError> for StartCallResult {
    fn from(error: ParamError) -> StartCallResult {
        StartCallResult { reason: error.reason(), call: None, param_error: Some(error.to_string()) }
    }
}

/// What became of a call that was to be verified in the background.
#[derive(uniffi::Record)]
pub struct VerifyBackgroundCallResult {
    /// Why it did not start; none if it did.
    pub reason: StartFailReason,
    /// What adopts it, if it started: in this process, or in another one. As secret as the cc_param.
    pub background_call: Option<Arc<BackgroundCall>>,
    /// What is wrong with the parameter, in English, for the developer; none where the parameter is as it should be.
    pub param_error: Option<String>,
}

impl From<callkit::VerifyBackgroundCallResult> for VerifyBackgroundCallResult {
    fn from(result: callkit::VerifyBackgroundCallResult) -> VerifyBackgroundCallResult {
        let background_call = result.background_call.map(|call| Arc::new(BackgroundCall(call)));
        VerifyBackgroundCallResult { reason: result.reason, background_call, param_error: None }
    }
}

impl From<ParamError> for VerifyBackgroundCallResult {
    fn from(error: ParamError) -> VerifyBackgroundCallResult {
        let param_error = Some(error.to_string());
        VerifyBackgroundCallResult { reason: error.reason(), background_call: None, param_error }
    }
}

/// A call that was verified in the background.
#[derive(uniffi::Object)]
pub struct BackgroundCall(callkit::BackgroundCall);

#[uniffi::export(async_runtime = "tokio")]
impl BackgroundCall {
    /// What adopts it.
    pub fn id(&self) -> String {
        self.0.id().to_owned()
    }

    /// Declines it, without anybody adopting it.
    pub async fn end(&self) -> Result<(), CallError> {
        Ok(self.0.end().await?)
    }
}

/// A handle on one call. One that a manager made or verified is ended when its last handle is gone.
#[derive(uniffi::Object)]
pub struct Call(pub(crate) callkit::Call);

impl Call {
    pub(crate) fn of(call: callkit::Call) -> Arc<Call> {
        Arc::new(Call(call))
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl Call {
    /// Its id. It changes once where both parties called each other at the same moment and the two calls became one.
    pub fn id(&self) -> CallId {
        self.0.id()
    }

    /// The user at the other end.
    pub fn peer_user_id(&self) -> UserId {
        self.0.peer_user_id()
    }

    /// The kind of call.
    pub fn call_type(&self) -> CallType {
        self.0.call_type()
    }

    /// Which side this is.
    pub fn direction(&self) -> CallDirection {
        self.0.direction()
    }

    /// How far it is.
    pub fn state(&self) -> CallState {
        self.0.state()
    }

    /// Whether it was put on hold here.
    pub fn is_on_hold(&self) -> bool {
        self.0.is_on_hold()
    }

    /// Whether the other one has put it on hold.
    pub fn is_peer_on_hold(&self) -> bool {
        self.0.is_peer_on_hold()
    }

    /// Whether the microphone is muted for this call.
    pub fn is_my_audio_muted(&self) -> bool {
        self.0.is_my_audio_muted()
    }

    /// Whether the other one has muted its microphone.
    pub fn is_peer_audio_muted(&self) -> bool {
        self.0.is_peer_audio_muted()
    }

    /// Whether the other one is not played here.
    pub fn is_peer_audio_silenced(&self) -> bool {
        self.0.is_peer_audio_silenced()
    }

    /// Whether it is connected without media until the callee has finished its preparation.
    pub fn is_in_responder_preparation(&self) -> bool {
        self.0.is_in_responder_preparation()
    }

    /// Takes the call; with preparation, and if the caller offered that, without media until that is finished.
    pub async fn accept(&self, use_responder_preparation: bool) -> Result<(), CallError> {
        Ok(self.0.accept(use_responder_preparation).await?)
    }

    /// Cancels, declines or ends the call, by state.
    pub async fn end(&self) -> Result<(), CallError> {
        Ok(self.0.end().await?)
    }

    /// The same with a code of the app, 1 to 64 bytes, which the other side is told.
    pub async fn end_with_code(&self, user_code: String) -> Result<(), CallError> {
        Ok(self.0.end_with_code(&user_code).await?)
    }

    /// The same, because of an error of the app: both sides are told the reason user error and the code.
    pub async fn end_with_error(&self, user_code: String) -> Result<(), CallError> {
        Ok(self.0.end_with_error(&user_code).await?)
    }

    /// Callee: the preparation is finished, media begins at both sides.
    pub async fn finish_preparation(&self) -> Result<(), CallError> {
        Ok(self.0.finish_preparation().await?)
    }

    /// Puts the call on hold: nothing is said or heard. The other side is told, with the reason if there is one (at most 256 bytes).
    pub async fn hold(&self, reason: Option<String>) -> Result<(), CallError> {
        Ok(self.0.hold(reason.as_deref()).await?)
    }

    /// Goes on with a call on hold.
    pub async fn unhold(&self) -> Result<(), CallError> {
        Ok(self.0.unhold().await?)
    }

    /// Mutes or unmutes the microphone for this call; the other side is told.
    pub async fn mute_my_audio(&self, muted: bool) -> Result<(), CallError> {
        Ok(self.0.mute_my_audio(muted).await?)
    }

    /// Asks the other side to mute or unmute its microphone; its app decides.
    pub async fn request_peer_mute(&self, muted: bool) -> Result<(), CallError> {
        Ok(self.0.request_peer_mute(muted).await?)
    }

    /// Plays the other side no longer, or again. It is not told.
    pub async fn silence_peer_audio(&self, silenced: bool) -> Result<(), CallError> {
        Ok(self.0.silence_peer_audio(silenced).await?)
    }

    /// The system has activated the audio session: with the CallKit type user the devices may start now.
    pub async fn notify_callkit_audio_activation(&self) -> Result<(), CallError> {
        Ok(self.0.notify_callkit_audio_activation().await?)
    }

    /// When it was made, or came in here, by the clock of this machine.
    pub fn began_at(&self) -> SystemTime {
        self.0.began_at()
    }

    /// When it was accepted, by the clock of this machine; none before.
    pub fn connected_at(&self) -> Option<SystemTime> {
        self.0.connected_at()
    }

    /// Nobody is told of this side's own media any more.
    pub fn remove_my_media_status_handler(&self) {
        self.0.my_media_status().remove_handler();
    }

    /// Sets who is told of this side's own media, in place of whoever was.
    pub fn set_my_media_status_handler(&self, handler: Arc<dyn MyMediaStatusHandler>) {
        self.0.my_media_status().set_handler(MyMedia(handler));
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl CallKit {
    /// A handle on this call, whether it was made here, rings here, or runs; none once it is over. The listeners of the kit go on being told
    /// of it.
    pub fn call(&self, call_id: CallId) -> Option<Arc<Call>> {
        self.0.call(call_id).map(Call::of)
    }

    /// Every call there is: those being made, those that ring, and those that run or are on hold; the oldest first.
    pub fn calls(&self) -> Vec<Arc<Call>> {
        self.0.calls().into_iter().map(Call::of).collect()
    }

    /// Makes a call with a handler of its own, to which alone it is told.
    pub async fn make_call(&self, param: MakeCallParam, handler: Arc<dyn CallEventHandler>) -> StartCallResult {
        match param.try_into() {
            Ok(param) => self.0.make_call(param, Handler(handler)).await.into(),
            Err(error) => ParamError::into(error),
        }
    }

    /// Asks about a call of which a push told, with a handler of its own.
    pub async fn verify_call(&self, param: VerifyCallParam, handler: Arc<dyn CallEventHandler>) -> StartCallResult {
        match param.try_into() {
            Ok(param) => self.0.verify_call(param, Handler(handler)).await.into(),
            Err(error) => ParamError::into(error),
        }
    }

    /// Asks about a call of which a push told, for another part of this process to adopt.
    pub async fn verify_background_call(
        &self,
        param: VerifyCallParam,
        handler: Arc<dyn CallEventHandler>,
    ) -> VerifyBackgroundCallResult {
        match param.try_into() {
            Ok(param) => self.0.verify_background_call(param, Handler(handler)).await.into(),
            Err(error) => ParamError::into(error),
        }
    }

    /// Takes over a call that was verified in the background of this process; none if there is no such call.
    pub async fn adopt_background_call(&self, id: String, handler: Arc<dyn CallEventHandler>) -> Option<Arc<Call>> {
        self.0.adopt_background_call(&id, Handler(handler)).await.map(Call::of)
    }
}

/// Makes and verifies calls for an app that keeps no kit signed in: each signs in for itself, and signs out when it is over.
#[derive(uniffi::Object)]
pub struct CallManager(callkit::CallManager, Mutex<Option<Arc<dyn AccessTokenHandler>>>);

#[uniffi::export(async_runtime = "tokio")]
impl CallManager {
    /// A manager of calls that reach the server, and use devices, as this configuration says; its app and device are not used.
    #[uniffi::constructor]
    pub fn new(config: CallKitConfig) -> CallManager {
        CallManager(callkit::CallManager::new(config.into()), Mutex::default())
    }

    /// Sets who supplies a new access token before that of a made call ends, and when the server says that it has, for the calls that are
    /// made from now on, and for as long as the manager is there. One that fails is asked again after 1 s and more, up to 30 s.
    pub fn set_access_token_handler(&self, handler: Arc<dyn AccessTokenHandler>) {
        // Held here alone, so that no thread of a call lets go of it after the end of the interpreter that it belongs to.
        let held = Arc::downgrade(&handler);
        let before = self.1.lock().unwrap_or_else(PoisonError::into_inner).replace(handler);
        drop(before);
        self.0.set_access_token_handler(move || {
            let held = held.clone();
            async move { Ok(held.upgrade().ok_or("the manager is gone")?.access_token().await?) }
        });
    }

    /// Signs in and makes a call. A sign-in that fails is told to the handler as the end of the call.
    pub async fn make_call(&self, param: MakeCallParam, handler: Arc<dyn CallEventHandler>) -> StartCallResult {
        match param.try_into() {
            Ok(param) => self.0.make_call(param, Handler(handler)).await.into(),
            Err(error) => ParamError::into(error),
        }
    }

    /// Signs in with the cc_param and asks about its call.
    pub async fn verify_call(&self, param: VerifyCallParam, handler: Arc<dyn CallEventHandler>) -> StartCallResult {
        match param.try_into() {
            Ok(param) => self.0.verify_call(param, Handler(handler)).await.into(),
            Err(error) => ParamError::into(error),
        }
    }

    /// The same for a process that may end before its user has decided.
    pub async fn verify_background_call(
        &self,
        param: VerifyCallParam,
        handler: Arc<dyn CallEventHandler>,
    ) -> VerifyBackgroundCallResult {
        match param.try_into() {
            Ok(param) => self.0.verify_background_call(param, Handler(handler)).await.into(),
            Err(error) => ParamError::into(error),
        }
    }

    /// Takes over a call that was verified in the background; none if there is no such call.
    pub async fn adopt_background_call(&self, id: String, handler: Arc<dyn CallEventHandler>) -> Option<Arc<Call>> {
        self.0.adopt_background_call(&id, Handler(handler)).await.map(Call::of)
    }
}
