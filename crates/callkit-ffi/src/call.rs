//! The face of one call: a handle for each call, and a handler that is told of this call alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use callkit::{
    CallDirection, CallId, CallKitType, CallState, CallType, DisconnectReason, DisconnectSource, NetworkStatistics,
    ParamError, StartFailReason, UserId,
};

use crate::error::CallError;
use crate::handlers::HandlerError;
use crate::kit::{CallKit, CallKitConfig};

/// How far a call is.
#[uniffi::remote(Enum)]
pub enum CallState {
    /// The server is being asked: nobody rings yet.
    Trying,
    /// Caller: a phone of the callee rings.
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

/// Who starts the audio devices of a call.
#[uniffi::remote(Enum)]
pub enum CallKitType {
    /// The kit, as soon as the call needs them.
    None,
    /// The app, when its system has activated the audio session.
    User,
}

/// What both directions of a call can be told.
#[derive(Debug, Clone, Default, uniffi::Record)]
pub struct CallOptions {
    /// Who starts the audio devices. Default: the kit.
    #[uniffi(default = None)]
    pub callkit_type: Option<CallKitType>,
    /// Without a microphone the call only listens; without this flag it does not start. Default: off.
    #[uniffi(default = false)]
    pub allow_call_without_mic: bool,
    /// How often the levels of both voices are told, in ms. Default: the own one every 500 ms, where there is a handler of the own media;
    /// the other one never.
    #[uniffi(default = None)]
    pub audio_description_interval_ms: Option<u64>,
    /// Keep figures for the statistics. Default: off.
    #[uniffi(default = false)]
    pub enable_statistics: bool,
}

impl From<CallOptions> for callkit::CallOptions {
    fn from(options: CallOptions) -> callkit::CallOptions {
        callkit::CallOptions {
            callkit_type: options.callkit_type.unwrap_or_default(),
            allow_call_without_mic: options.allow_call_without_mic,
            audio_description_interval: options.audio_description_interval_ms.map(Duration::from_millis),
            enable_statistics: options.enable_statistics,
        }
    }
}

/// A call to be made.
#[derive(Clone, uniffi::Record)]
pub struct MakeCallParam {
    /// Who calls.
    pub my_user_id: String,
    /// The app of whoever calls.
    pub my_service_id: String,
    /// Who is called.
    pub peer_user_id: String,
    /// The app of whoever is called: the same.
    pub peer_service_id: String,
    /// The access token of the app's backend.
    pub access_token: String,
    /// Voice, or voice and picture. Default: voice.
    #[uniffi(default = None)]
    pub call_type: Option<CallType>,
    /// The app's own data for the callee, at most 32 entries and 2 KiB.
    #[uniffi(default = None)]
    pub ext: Option<HashMap<String, String>>,
    /// The app's own data for its backend, at most 4,095 bytes.
    #[uniffi(default = "")]
    pub app_server_data: String,
    /// The callee may take the call without media and prepare itself. Default: it may not.
    #[uniffi(default = false)]
    pub use_responder_preparation: bool,
    /// How long it rings, 1,000 to 600,000 ms. Default: 60,000.
    #[uniffi(default = None)]
    pub no_answer_ms: Option<u64>,
    /// What else can be chosen.
    #[uniffi(default = None)]
    pub options: Option<CallOptions>,
}

impl TryFrom<MakeCallParam> for callkit::MakeCallParam {
    type Error = ParamError;

    fn try_from(param: MakeCallParam) -> Result<callkit::MakeCallParam, ParamError> {
        callkit::MakeCallParam::builder()
            .my_user_id(param.my_user_id)
            .my_service_id(param.my_service_id)
            .peer_user_id(param.peer_user_id)
            .peer_service_id(param.peer_service_id)
            .access_token(param.access_token)
            .call_type(param.call_type.unwrap_or(CallType::Audio1v1))
            .ext(param.ext.unwrap_or_default().into_iter().collect())
            .app_server_data(param.app_server_data)
            .use_responder_preparation(param.use_responder_preparation)
            .no_answer(param.no_answer_ms.map_or(callkit::NO_ANSWER, Duration::from_millis))
            .options(param.options.unwrap_or_default().into())
            .build()
    }
}

/// An incoming call to be verified; needs no access token.
#[derive(Clone, uniffi::Record)]
pub struct VerifyCallParam {
    /// Who is called.
    pub my_user_id: String,
    /// The app.
    pub my_service_id: String,
    /// What the push brought.
    pub cc_param: String,
    /// What else can be chosen.
    #[uniffi(default = None)]
    pub options: Option<CallOptions>,
}

impl TryFrom<VerifyCallParam> for callkit::VerifyCallParam {
    type Error = ParamError;

    fn try_from(param: VerifyCallParam) -> Result<callkit::VerifyCallParam, ParamError> {
        callkit::VerifyCallParam::builder()
            .my_user_id(param.my_user_id)
            .my_service_id(param.my_service_id)
            .cc_param(param.cc_param)
            .options(param.options.unwrap_or_default().into())
            .build()
    }
}

/// What became of a call that was to be made or verified.
#[derive(uniffi::Record)]
pub struct StartCallResult {
    /// Why it did not start; none if it did.
    pub reason: StartFailReason,
    /// The call, if it started.
    pub call: Option<Arc<Call>>,
}

impl From<callkit::MakeCallResult> for StartCallResult {
    fn from(result: callkit::MakeCallResult) -> StartCallResult {
        StartCallResult { reason: result.reason, call: result.call.map(Call::of) }
    }
}

impl From<callkit::VerifyCallResult> for StartCallResult {
    fn from(result: callkit::VerifyCallResult) -> StartCallResult {
        StartCallResult { reason: result.reason, call: result.call.map(Call::of) }
    }
}

impl From<ParamError> for StartCallResult {
    fn from(error: ParamError) -> StartCallResult {
        StartCallResult { reason: error.reason(), call: None }
    }
}

/// What became of a call that was to be verified in the background.
#[derive(uniffi::Record)]
pub struct VerifyBackgroundCallResult {
    /// Why it did not start; none if it did.
    pub reason: StartFailReason,
    /// What adopts it, if it started: in this process, or in another one. As secret as the cc_param.
    pub background_call: Option<Arc<BackgroundCall>>,
}

impl From<callkit::VerifyBackgroundCallResult> for VerifyBackgroundCallResult {
    fn from(result: callkit::VerifyBackgroundCallResult) -> VerifyBackgroundCallResult {
        let background_call = result.background_call.map(|call| Arc::new(BackgroundCall(call)));
        VerifyBackgroundCallResult { reason: result.reason, background_call }
    }
}

impl From<ParamError> for VerifyBackgroundCallResult {
    fn from(error: ParamError) -> VerifyBackgroundCallResult {
        VerifyBackgroundCallResult { reason: error.reason(), background_call: None }
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

/// The figures of one direction. What is absent is not known yet.
#[uniffi::remote(Record)]
pub struct NetworkStatistics {
    /// Packets lost, 0 to 1; of what goes out, as the other end reports it.
    pub loss_rate: Option<f32>,
    /// Interarrival jitter in ms (RFC 3550).
    pub jitter_ms: Option<f32>,
    /// The round trip in ms.
    pub latency_ms: Option<f32>,
    /// Payload bits a second.
    pub bps: u32,
}

/// The figures of one call at one moment.
#[derive(uniffi::Record)]
pub struct CallStatistics {
    /// What goes out.
    pub my_audio: NetworkStatistics,
    /// What comes in.
    pub peer_audio: NetworkStatistics,
    /// The codec of both, by its name in SDP.
    pub codec: String,
    /// What the jitter buffer holds at present, in ms.
    pub buffer_ms: f32,
    /// What of the other side's voice had to be guessed since it began, 0 to 100.
    pub concealed_percent: f32,
    /// Loudness of the microphone, 0 to 100.
    pub mic_level: f32,
    /// Loudness of the other side, 0 to 100.
    pub peer_level: f32,
}

impl From<callkit::CallStatistics> for CallStatistics {
    fn from(figures: callkit::CallStatistics) -> CallStatistics {
        CallStatistics {
            my_audio: figures.my_audio,
            peer_audio: figures.peer_audio,
            codec: figures.codec.into(),
            buffer_ms: figures.buffer_ms,
            concealed_percent: figures.concealed_percent,
            mic_level: figures.mic_level,
            peer_level: figures.peer_level,
        }
    }
}

/// A handle on one call. One that a manager made or verified is ended when its last handle is gone.
#[derive(uniffi::Object)]
pub struct Call(callkit::Call);

impl Call {
    fn of(call: callkit::Call) -> Arc<Call> {
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

    /// The figures at present; none unless they were asked for with the call's options, and before media is set up.
    pub async fn statistics(&self) -> Option<CallStatistics> {
        self.0.statistics().await.map(Into::into)
    }

    /// Sets who is told of this side's own media, in place of whoever was.
    pub fn set_my_media_status_handler(&self, handler: Arc<dyn MyMediaStatusHandler>) {
        self.0.my_media_status().set_handler(MyMedia(handler));
    }
}

/// Listens to one call. Methods are called one after another on a thread of the kit's own; they may block and may use the call. Whatever
/// they throw goes to the log and changes nothing. The handler is let go of when the call is over.
#[uniffi::export(foreign)]
pub trait CallEventHandler: Send + Sync {
    /// Caller: a phone of the callee is about to ring.
    fn on_wait_connected(&self, call: Arc<Call>) -> Result<(), HandlerError>;
    /// Callee: the call is alive; ring.
    fn on_verified(&self, call: Arc<Call>, peer_use_responder_preparation: bool) -> Result<(), HandlerError>;
    /// It was accepted. In preparation there is no media yet; whoever should finish it does so.
    fn on_connected(&self, call: Arc<Call>, in_preparation: bool, should_finish: bool) -> Result<(), HandlerError>;
    /// The preparation is finished: media begins.
    fn on_preparation_finished(&self, call: Arc<Call>) -> Result<(), HandlerError>;
    /// It is over; told exactly once, and nothing is told after it.
    fn on_disconnected(
        &self,
        call: Arc<Call>,
        reason: DisconnectReason,
        source: DisconnectSource,
        by_remote: bool,
        user_code: Option<String>,
    ) -> Result<(), HandlerError>;
    /// The other one muted its microphone.
    fn on_peer_mic_muted(&self, call: Arc<Call>) -> Result<(), HandlerError>;
    /// The other one unmuted its microphone.
    fn on_peer_mic_unmuted(&self, call: Arc<Call>) -> Result<(), HandlerError>;
    /// The other one put the call on hold, and perhaps says why.
    fn on_peer_hold(&self, call: Arc<Call>, reason: Option<String>) -> Result<(), HandlerError>;
    /// The other one goes on with the call.
    fn on_peer_unhold(&self, call: Arc<Call>) -> Result<(), HandlerError>;
    /// The other one asks that the microphone here be muted, or unmuted; nothing is done about it by itself.
    fn on_mute_requested_by_peer(&self, call: Arc<Call>, muted: bool) -> Result<(), HandlerError>;
    /// One side is without network. If it stays so, the call ends in so many seconds.
    fn on_network_unavailable(
        &self,
        call: Arc<Call>,
        is_peer: bool,
        seconds_until_disconnect: u32,
    ) -> Result<(), HandlerError>;
    /// That side is back.
    fn on_network_reavailable(&self, call: Arc<Call>, is_peer: bool) -> Result<(), HandlerError>;
    /// How loud the other one is, 0 to 100.
    fn on_peer_audio_description_update(&self, call: Arc<Call>, level: u8) -> Result<(), HandlerError>;
    /// A call verified in the background was adopted: this handler is told nothing more.
    fn on_background_call_adopted(&self, call: Arc<Call>) -> Result<(), HandlerError>;
}

/// A foreign handler as one of callkit's.
struct Handler(Arc<dyn CallEventHandler>);

impl callkit::CallEventHandler for Handler {
    fn on_wait_connected(&self, call: &callkit::Call) {
        told(self.0.on_wait_connected(Call::of(call.clone())));
    }
    fn on_verified(&self, call: &callkit::Call, peer_use_responder_preparation: bool) {
        told(self.0.on_verified(Call::of(call.clone()), peer_use_responder_preparation));
    }
    fn on_connected(&self, call: &callkit::Call, in_preparation: bool, should_finish: bool) {
        told(self.0.on_connected(Call::of(call.clone()), in_preparation, should_finish));
    }
    fn on_preparation_finished(&self, call: &callkit::Call) {
        told(self.0.on_preparation_finished(Call::of(call.clone())));
    }
    fn on_disconnected(
        &self,
        call: &callkit::Call,
        reason: DisconnectReason,
        source: DisconnectSource,
        by_remote: bool,
        user_code: Option<&str>,
    ) {
        let user_code = user_code.map(str::to_owned);
        told(self.0.on_disconnected(Call::of(call.clone()), reason, source, by_remote, user_code));
    }
    fn on_peer_mic_muted(&self, call: &callkit::Call) {
        told(self.0.on_peer_mic_muted(Call::of(call.clone())));
    }
    fn on_peer_mic_unmuted(&self, call: &callkit::Call) {
        told(self.0.on_peer_mic_unmuted(Call::of(call.clone())));
    }
    fn on_peer_hold(&self, call: &callkit::Call, reason: Option<&str>) {
        told(self.0.on_peer_hold(Call::of(call.clone()), reason.map(str::to_owned)));
    }
    fn on_peer_unhold(&self, call: &callkit::Call) {
        told(self.0.on_peer_unhold(Call::of(call.clone())));
    }
    fn on_mute_requested_by_peer(&self, call: &callkit::Call, muted: bool) {
        told(self.0.on_mute_requested_by_peer(Call::of(call.clone()), muted));
    }
    fn on_network_unavailable(&self, call: &callkit::Call, is_peer: bool, seconds_until_disconnect: u32) {
        told(self.0.on_network_unavailable(Call::of(call.clone()), is_peer, seconds_until_disconnect));
    }
    fn on_network_reavailable(&self, call: &callkit::Call, is_peer: bool) {
        told(self.0.on_network_reavailable(Call::of(call.clone()), is_peer));
    }
    fn on_peer_audio_description_update(&self, call: &callkit::Call, level: u8) {
        told(self.0.on_peer_audio_description_update(Call::of(call.clone()), level));
    }
    fn on_background_call_adopted(&self, call: &callkit::Call) {
        told(self.0.on_background_call_adopted(Call::of(call.clone())));
    }
}

/// Listens to this side's own media in one call.
#[uniffi::export(foreign)]
pub trait MyMediaStatusHandler: Send + Sync {
    /// The microphone was muted.
    fn on_mic_mute(&self) -> Result<(), HandlerError>;
    /// The microphone was unmuted.
    fn on_mic_unmute(&self) -> Result<(), HandlerError>;
    /// How loud the microphone is, 0 to 100.
    fn on_audio_description_update(&self, level: u8) -> Result<(), HandlerError>;
}

struct MyMedia(Arc<dyn MyMediaStatusHandler>);

impl callkit::MyMediaStatusHandler for MyMedia {
    fn on_mic_mute(&self) {
        told(self.0.on_mic_mute());
    }
    fn on_mic_unmute(&self) {
        told(self.0.on_mic_unmute());
    }
    fn on_audio_description_update(&self, level: u8) {
        told(self.0.on_audio_description_update(level));
    }
}

/// A handler cannot change what happened; what it throws is for the developer.
fn told(result: Result<(), HandlerError>) {
    result.unwrap_or_else(|error| tracing::error!(%error, "the handler of a call failed"));
}

#[uniffi::export(async_runtime = "tokio")]
impl CallKit {
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
}

/// Makes and verifies calls for an app that keeps no kit signed in: each signs in for itself, and signs out when it is over.
#[derive(uniffi::Object)]
pub struct CallManager(callkit::CallManager);

#[uniffi::export(async_runtime = "tokio")]
impl CallManager {
    /// A manager of calls that reach the server, and use devices, as this configuration says; its app and device are not used.
    #[uniffi::constructor]
    pub fn new(config: CallKitConfig) -> CallManager {
        CallManager(callkit::CallManager::new(config.into()))
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
