//! The handle an app holds, and how it is built.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use callkit::{Builder, CallId, CallType, HandlerError, SecondCall, TurnServer, UserId, WarmPath};

use crate::chat::{Carrier, Chat};
use crate::device::{AudioInput, AudioOutput};
use crate::error::{CallError, SignInError};
use crate::events::{CallKitEventHandler, EventStream, Listener};
use crate::handlers::{AccessTokenHandler, RtcTokenHandler, UserMapperHandler};
use crate::quality::CallQuality;
use crate::tones::Tones;

/// What kind of call it is. The numbers are those on the wire.
#[uniffi::remote(Enum)]
pub enum CallType {
    /// One-to-one, voice.
    Audio1v1 = 0,
    /// One-to-one, voice and picture.
    Video1v1 = 1,
    /// Group.
    Multi = 2,
}

/// Which local addresses media may use.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Enum)]
pub enum Interfaces {
    /// Every address of every interface that is not loopback; loopback where there is nothing else.
    All,
    /// 127.0.0.1 only.
    Loopback,
    /// Exactly these.
    Addresses {
        /// IPv4 and IPv6 addresses of this machine.
        addresses: Vec<IpAddr>,
    },
}

impl From<Interfaces> for callkit::Interfaces {
    fn from(interfaces: Interfaces) -> callkit::Interfaces {
        match interfaces {
            Interfaces::All => callkit::Interfaces::All,
            Interfaces::Loopback => callkit::Interfaces::Loopback,
            Interfaces::Addresses { addresses } => callkit::Interfaces::Addresses(addresses),
        }
    }
}

/// Whether ICE and DTLS are set up while it rings, so that the accept only opens the sound. Nothing is heard or said before the accept.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum WarmPath {
    /// Over the addresses of the default routes, and of IPv6 the temporary ones (RFC 8828 mode 2). While it rings the other side sees those,
    /// and what a STUN server sees of them; after the accept every address, so that two on one network connect that have no other way.
    DefaultRoute,
    /// Over every address. Each side sees all addresses of the other one while it rings, those of a VPN too.
    Full,
    /// Over relays only, so that the other side sees no address of this one before the accept; the call stays on the relay. Without a relay
    /// as with off.
    RelayOnly,
    /// Not at all: this side shows nothing of itself before the accept, and the voice begins some round trips later.
    Off,
}

/// A relay and what it knows this end by.
#[uniffi::remote(Record)]
pub struct TurnServer {
    /// `turn:host:port` (RFC 7065), the port 3478 if left out. UDP is the only transport.
    pub url: String,
    /// The user name.
    pub username: String,
    /// The password.
    pub credential: String,
}

/// What becomes of a call that comes in while another one runs.
#[uniffi::remote(Enum)]
pub enum SecondCall {
    /// It is answered busy.
    Busy,
    /// It rings beside the running one, and answering it puts that one on hold. A third one is answered busy.
    Waiting,
}

/// Everything that is set before signing in. Only the app must be named.
#[derive(Clone, uniffi::Record)]
pub struct CallKitConfig {
    /// The app, as the server's configuration names it.
    pub app_id: String,
    /// The server's address, `http://host:port`. Default: `http://127.0.0.1:7450`.
    #[uniffi(default = None)]
    pub server: Option<String>,
    /// The name of this device among the devices of the user: stable over restarts, at most 64 bytes. Default: a random one.
    #[uniffi(default = None)]
    pub device: Option<String>,
    /// How long a call rings in ms, 1,000 to 600,000. Default: 30,000.
    #[uniffi(default = None)]
    pub call_timeout_ms: Option<u64>,
    /// Where the voice comes from. Default: the system's microphone.
    #[uniffi(default = None)]
    pub audio_input: Option<AudioInput>,
    /// Where the voice goes to. Default: the system's speaker.
    #[uniffi(default = None)]
    pub audio_output: Option<AudioOutput>,
    /// Bits a second of the coded voice, 6,000 to 128,000. Default: 32,000. More sounds better until about 48,000.
    #[uniffi(default = None)]
    pub voice_bitrate: Option<u32>,
    /// Discontinuous transmission: hardly anything is sent in pauses. Default: off; saves data, costs a little comfort.
    #[uniffi(default = None)]
    pub voice_dtx: Option<bool>,
    /// Which local addresses media may use. Default: every one that is not loopback.
    #[uniffi(default = None)]
    pub interfaces: Option<Interfaces>,
    /// Whether media is set up while it rings, so that the voice is there at once after the answer. Default: fully, by which each side
    /// sees the other one's addresses before the answer.
    #[uniffi(default = None)]
    pub warm_path: Option<WarmPath>,
    /// Relays, for two ends that no direct way joins, and for a warm path over relays only. Default: none.
    #[uniffi(default = [])]
    pub turn_servers: Vec<TurnServer>,
    /// What becomes of a call that comes in while another one runs. Default: it is answered busy.
    #[uniffi(default = None)]
    pub second_call: Option<SecondCall>,
    /// Carries the words of calls through the app's own chat and not through the server. Everybody who is to be called needs the same.
    #[uniffi(default = None)]
    pub chat: Option<Arc<dyn Chat>>,
    /// How often levels are measured, in ms. Default: 500.
    #[uniffi(default = None)]
    pub level_interval_ms: Option<u64>,
    /// Certificates as PEM that may vouch for an `https` server which no public authority has signed. Default: the public authorities.
    #[uniffi(default = [])]
    pub tls_root_certificates: Vec<String>,
    /// Whether a call goes on that has no microphone; it only listens then. Default: it does.
    #[uniffi(default = None)]
    pub allow_call_without_mic: Option<bool>,
    /// Tones that are played to the own user. Default: none.
    #[uniffi(default = None)]
    pub tones: Option<Tones>,
    /// No audio device is opened before `set_audio_active`, for systems that activate the audio themselves. Default: off.
    #[uniffi(default = None)]
    pub wait_for_audio_activation: Option<bool>,
}

impl From<CallKitConfig> for Builder {
    fn from(config: CallKitConfig) -> Builder {
        let builder = callkit::CallKit::builder(config.app_id);
        let builder = set(builder, config.server, Builder::server);
        let builder = set(builder, config.device, Builder::device);
        let builder = set(builder, config.call_timeout_ms.map(Duration::from_millis), Builder::call_timeout);
        let builder = set(builder, config.audio_input.map(Into::into), Builder::audio_input);
        let builder = set(builder, config.audio_output.map(Into::into), Builder::audio_output);
        let builder = set(builder, config.voice_bitrate, Builder::voice_bitrate);
        let builder = set(builder, config.voice_dtx, Builder::voice_dtx);
        let builder = set(builder, config.interfaces.map(Into::into), Builder::interfaces);
        let builder = set(builder, config.warm_path, Builder::warm_path);
        let builder = config.turn_servers.into_iter().fold(builder, Builder::turn_server);
        let builder = set(builder, config.second_call, Builder::second_call);
        let builder = config.tls_root_certificates.into_iter().fold(builder, Builder::tls_root_certificate);
        let builder = set(builder, config.tones.map(Into::into), Builder::tones);
        let builder = set(builder, config.allow_call_without_mic, Builder::allow_call_without_mic);
        let builder = set(builder, config.wait_for_audio_activation, Builder::wait_for_audio_activation);
        set(builder, config.level_interval_ms.map(Duration::from_millis), Builder::level_interval)
    }
}

/// What is not given keeps the builder's default.
fn set<T>(builder: Builder, given: Option<T>, setter: impl FnOnce(Builder, T) -> Builder) -> Builder {
    match given {
        Some(value) => setter(builder, value),
        None => builder,
    }
}

/// One signed-in user on one device: makes, takes and ends calls.
///
/// When the last reference is gone, a running call is ended and the device signs out; its listeners hear no more.
#[derive(uniffi::Object)]
pub struct CallKit(pub(crate) callkit::CallKit, Option<Carrier>);

/// A handle that does not keep the kit signed in: for listeners and handlers, which the kit holds itself.
#[derive(uniffi::Object)]
pub struct WeakCallKit(Weak<CallKit>);

#[uniffi::export]
impl WeakCallKit {
    /// The kit, unless it is signed out or the last reference to it is gone.
    pub fn upgrade(&self) -> Option<Arc<CallKit>> {
        self.0.upgrade()
    }
}

#[uniffi::export(async_runtime = "tokio")]
impl CallKit {
    /// A handle that does not keep the kit signed in.
    pub fn downgrade(self: Arc<Self>) -> Arc<WeakCallKit> {
        Arc::new(WeakCallKit(Arc::downgrade(&self)))
    }

    /// Signs a user in and gives the kit. `access_token` is a JWT of the app's own backend.
    ///
    /// Fails with the parameter that makes no sense, why the server cannot be reached, or why it refused. Cancelled, it signs nobody in.
    #[uniffi::constructor]
    pub async fn sign_in(config: CallKitConfig, user: String, access_token: String) -> Result<CallKit, SignInError> {
        let chat = config.chat.clone().map(Carrier::new);
        let builder = set(config.into(), chat.clone(), Builder::chat);
        Ok(CallKit(builder.sign_in(user, access_token).await?, chat))
    }

    /// The signed-in user.
    pub fn user(&self) -> UserId {
        self.0.user().clone()
    }

    /// Sets who supplies a new access token before the present one ends, and when the server says that it has. One that fails is asked again
    /// after 1 s and more, up to 30 s.
    pub fn set_access_token_handler(&self, handler: Arc<dyn AccessTokenHandler>) {
        self.0.set_access_token_handler(move || {
            let handler = handler.clone();
            async move { Ok(handler.access_token().await?) }
        });
    }

    /// Sets who supplies channel tokens. Needed before a call is made or answered; without it, or when it fails, the join ends
    /// with the error fetch_token_failed.
    pub fn set_rtc_token_handler(&self, handler: Arc<dyn RtcTokenHandler>) {
        self.0.set_rtc_token_handler(move |request| {
            let handler = handler.clone();
            async move { Ok(handler.rtc_token(request).await?) }
        });
    }

    /// Sets who tells which user is behind a uid. Asked once for each unknown uid; without it events carry no user.
    pub fn set_user_mapper_handler(&self, handler: Arc<dyn UserMapperHandler>) {
        self.0.set_user_mapper_handler(move |channel, uid| {
            let handler = handler.clone();
            async move { Ok(handler.map_user(channel, uid).await?.into()) }
        });
    }

    /// Adds a listener under a key; one that was there under this key is replaced.
    pub fn add_event_listener(&self, key: String, handler: Arc<dyn CallKitEventHandler>) {
        self.0.add_event_listener(key, Listener(handler));
    }

    /// Removes the listener under a key, if there is one.
    pub fn remove_event_listener(&self, key: String) {
        self.0.remove_event_listener(&key);
    }

    /// Removes every listener. Streams of events go on.
    pub fn clear_event_listeners(&self) {
        self.0.clear_event_listeners();
    }

    /// The events from now on; they end when the kit is signed out or gone. What is not read waits in memory.
    pub fn events(&self) -> EventStream {
        EventStream::new(self.0.events())
    }

    /// Readies the media engine; must come before a call is made or answered. Calling it again changes nothing. Devices are opened
    /// only when a call is accepted.
    pub async fn init_rtc(&self) -> Result<(), CallError> {
        Ok(self.0.init_rtc().await?)
    }

    /// Ends whatever call there is, as hanging up would, and frees the media engine. Returns when the audio devices are released
    /// and recordings are complete.
    pub async fn release_rtc(&self) -> Result<(), CallError> {
        Ok(self.0.release_rtc().await?)
    }

    /// Calls a user. `ext` is the app's own data, at most 32 entries and 2 KiB; the callee gets it with the call.
    ///
    /// Fails with invalid_param for an empty or unfit user, oneself or a group type, and with busy in a call. Once begun, the call
    /// is made even when the awaiting task is cancelled.
    #[uniffi::method(default(ext))]
    pub async fn start_single_call(
        &self,
        user: String,
        call_type: CallType,
        ext: HashMap<String, String>,
    ) -> Result<CallId, CallError> {
        Ok(self.0.start_single_call(user, call_type, ext.into_iter().collect()).await?)
    }

    /// Takes the call that rings. The user's other devices fall silent, both sides get `on_answer`, and voice begins. A running call is put
    /// on hold.
    pub async fn answer(&self, call_id: CallId) -> Result<(), CallError> {
        Ok(self.0.answer(call_id).await?)
    }

    /// Cancels the call that is being made, declines the one that rings, or ends the one that runs.
    pub async fn hangup(&self, call_id: CallId) -> Result<(), CallError> {
        Ok(self.0.hangup(call_id).await?)
    }

    /// Puts a running call on hold: nothing is said or heard, and the other side gets `on_peer_held`.
    ///
    /// Fails where there is no such call, or it is not answered yet.
    pub async fn hold(&self, call_id: CallId) -> Result<(), CallError> {
        Ok(self.0.hold(call_id).await?)
    }

    /// Goes on with a call on hold; another running one is put on hold. Fails as a hold does.
    pub async fn unhold(&self, call_id: CallId) -> Result<(), CallError> {
        Ok(self.0.unhold(call_id).await?)
    }

    /// The device is on another network: looks for new ways for the media at once, and connects anew where the address of the connection is
    /// gone or the server does not answer within 2 s. The kit notices this by itself on desktop systems; a phone's app may know sooner.
    pub fn network_changed(&self) {
        self.0.network_changed();
    }

    /// Plays the other side's voice again.
    pub async fn speaker_on(&self) -> Result<(), CallError> {
        Ok(self.0.speaker_on().await?)
    }

    /// Stops playing the other side's voice.
    pub async fn speaker_off(&self) -> Result<(), CallError> {
        Ok(self.0.speaker_off().await?)
    }

    /// Mutes the microphone, for this call and those to come; the others get `on_user_mute_audio`.
    pub async fn mute(&self) -> Result<(), CallError> {
        Ok(self.0.mute().await?)
    }

    /// Unmutes the microphone.
    pub async fn unmute(&self) -> Result<(), CallError> {
        Ok(self.0.unmute().await?)
    }

    /// How loud the microphone is that the other side hears, 0 to 100; 0 while muted, on hold or without a call.
    pub fn mic_level(&self) -> f32 {
        self.0.mic_level()
    }

    /// The same for the voice of the other side, whether it is played or not.
    pub fn peer_level(&self) -> f32 {
        self.0.peer_level()
    }

    /// Stops playing the other side of a call, or plays it again; only here, and until the call ends.
    pub async fn silence_peer(&self, call_id: CallId, silenced: bool) -> Result<(), CallError> {
        Ok(self.0.silence_peer(call_id, silenced).await?)
    }

    /// The system has activated the app's audio session, or taken it back: devices are opened, or let go of. The end of the call takes it
    /// back by itself.
    pub async fn set_audio_active(&self, active: bool) -> Result<(), CallError> {
        Ok(self.0.set_audio_active(active).await?)
    }

    /// Uses this microphone from now on, in calls to come and in the present one. The one before is used until the new one is open, and on if that
    /// cannot be opened. One that is lost in a call is told and tried again, and the system's default is followed.
    pub async fn set_audio_input(&self, input: AudioInput) -> Result<(), CallError> {
        Ok(self.0.set_audio_input(input.into()).await?)
    }

    /// Uses this loudspeaker from now on, as `set_audio_input` a microphone.
    pub async fn set_audio_output(&self, output: AudioOutput) -> Result<(), CallError> {
        Ok(self.0.set_audio_output(output.into()).await?)
    }

    /// The figures of the present call; none before its media is set up.
    pub async fn call_quality(&self) -> Option<CallQuality> {
        self.0.call_quality().await.map(Into::into)
    }

    /// The access token to use from now on, in this connection and those to come, and for what is asked outside of calls.
    pub fn renew_access_token(&self, access_token: String) {
        self.0.renew_access_token(access_token);
    }

    /// Ends whatever call there is and signs out. Returns when the server, or the chat, has been told, the devices are released and the handlers
    /// have heard the last events; one that takes longer than 1 s is not waited for.
    pub async fn sign_out(&self) {
        self.0.sign_out().await;
        self.1.iter().for_each(Carrier::let_go);
    }
}

/// Foreign objects are let go here, by the thread that lets go of the kit: one of the kit's own might do so after the end of the
/// interpreter that they belong to.
impl Drop for CallKit {
    fn drop(&mut self) {
        self.1.iter().for_each(Carrier::let_go);
        self.0.clear_event_listeners();
        self.0.set_access_token_handler(async || Err(HandlerError::from("the kit is gone")));
        self.0.set_rtc_token_handler(async |_| Err(HandlerError::from("the kit is gone")));
        self.0.set_user_mapper_handler(async |_, _| Err(HandlerError::from("the kit is gone")));
    }
}
