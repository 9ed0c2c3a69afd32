//! The handle an app holds, and how it is built.

use std::sync::Arc;
use std::time::Duration;

use call_protocol::disconnect::StartFailReason;
use call_protocol::invite::{CallType, Ext};
use call_protocol::{AppId, CallId, DeviceId, Party, UserId, limits};
use callkit_core::{AccessToken, AudioSettings, Command, Settings, ToneSet, WarmPath};
use futures_util::Stream;
use rtc_media::{AudioInput, AudioOutput, LevelMeter, VoiceEncoderConfig, VoiceReceiverConfig};
use rtc_transport::{Interfaces, TurnServer};
use signaling::SecondCall;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Certificate;

use crate::account::Account;
use crate::call::{
    Call, CallEventHandler, CallKitType, CallOptions, Directory, LiveCalls, MakeCallParam, MakeCallResult,
    VerifyCallParam, VerifyCallResult,
};
use crate::chat::Chat;
use crate::driver::{self, SoundConfig, Tools};
use crate::error::{CallError, SignInError};
use crate::events::{CallKitEvent, CallKitEventHandler};
use crate::figures::Figures;
use crate::handlers::{AccessTokenHandler, RtcTokenHandler, UserMapperHandler};
use crate::link::{self, SignInFailure};
use crate::listeners::Teller;
use crate::quality::CallQuality;
use crate::request::{Reply, Request};
use crate::supplied::Supplied;
use crate::tones::Tones;
use crate::voice::VoiceConfig;

/// Everything that is set before signing in.
#[derive(Clone)]
pub struct Builder {
    app_id: String,
    server: String,
    root_certificates: Vec<Certificate>,
    device: Option<String>,
    call_timeout: Duration,
    input: AudioInput,
    output: AudioOutput,
    voice: VoiceConfig,
    interfaces: Interfaces,
    turn_servers: Vec<TurnServer>,
    warm_path: WarmPath,
    second_call: SecondCall,
    chat: Option<Arc<dyn Chat>>,
    tones: Tones,
    allow_call_without_mic: bool,
    wait_for_audio_activation: bool,
}

impl Builder {
    /// The server's address, `https://host:port` or, without TLS, `http://host:port`. Default: `http://127.0.0.1:7450`.
    pub fn server(mut self, url: impl Into<String>) -> Self {
        self.server = url.into();
        self
    }

    /// Adds a certificate, or several, as PEM, that may vouch for an `https` server, for servers whose certificate no public authority has
    /// signed. Default: the public authorities; they are not asked where one is added.
    pub fn tls_root_certificate(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.root_certificates.push(Certificate::from_pem(pem));
        self
    }

    pub(crate) fn app(mut self, app_id: &str) -> Self {
        self.app_id = app_id.into();
        self
    }

    pub(crate) fn server_url(&self) -> &str {
        &self.server
    }

    /// The name of this device among the devices of the user: stable over restarts, at most 64 bytes. Default: a random one.
    pub fn device(mut self, device: impl Into<String>) -> Self {
        self.device = Some(device.into());
        self
    }

    /// How long a call rings, 1 s to 10 min. Default: 30 s. The server turns it into one absolute deadline.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Where the voice comes from. Default: the system's microphone; silence where the kit is built without `devices`.
    pub fn audio_input(mut self, input: AudioInput) -> Self {
        self.input = input;
        self
    }

    /// Where the voice goes to. Default: the system's speaker; nowhere where the kit is built without `devices`.
    pub fn audio_output(mut self, output: AudioOutput) -> Self {
        self.output = output;
        self
    }

    /// Bits a second of the coded voice, 6,000 to 128,000. Default: 32,000. More sounds better until about 48,000.
    pub fn voice_bitrate(mut self, bits_per_second: u32) -> Self {
        self.voice.encoder.bitrate_bps = bits_per_second;
        self
    }

    /// Discontinuous transmission: hardly anything is sent in pauses. Default: off; saves data, costs a little comfort.
    pub fn voice_dtx(mut self, on: bool) -> Self {
        self.voice.encoder.dtx = on;
        self
    }

    /// Which local addresses media may use. Default: every one that is not loopback.
    pub fn interfaces(mut self, interfaces: Interfaces) -> Self {
        self.interfaces = interfaces;
        self
    }

    /// Whether media is set up while it rings, so that the voice is there at once after the answer, and which addresses each side thereby
    /// sees of the other one before it. Default: [`WarmPath::DefaultRoute`].
    pub fn warm_path(mut self, warm_path: WarmPath) -> Self {
        self.warm_path = warm_path;
        self
    }

    /// Adds a relay (TURN over UDP), for two ends that no direct way joins, and for [`WarmPath::RelayOnly`]. Default: none.
    pub fn turn_server(mut self, server: TurnServer) -> Self {
        self.turn_servers.push(server);
        self
    }

    /// What becomes of a call that comes in while another one runs. Default: [`SecondCall::Busy`].
    pub fn second_call(mut self, second_call: SecondCall) -> Self {
        self.second_call = second_call;
        self
    }

    /// Carries the words of calls through the app's own chat and not through the server; see [`Chat`]. Everybody who is to be called needs the
    /// same.
    pub fn chat(mut self, chat: impl Chat + 'static) -> Self {
        self.chat = Some(Arc::new(chat));
        self
    }

    /// How often levels are measured. Default: 500 ms.
    pub fn level_interval(mut self, interval: Duration) -> Self {
        self.voice.level_interval = interval;
        self
    }

    /// Tones that are played to the own user. Default: none.
    pub fn tones(mut self, tones: Tones) -> Self {
        self.tones = tones;
        self
    }

    /// Whether a call whose microphone cannot be opened goes on and only listens, after
    /// [`on_microphone_failed`](CallKitEventHandler::on_microphone_failed); it ends with an error otherwise. One whose microphone fails later
    /// goes on in any case. Default: true.
    pub fn allow_call_without_mic(mut self, allow: bool) -> Self {
        self.allow_call_without_mic = allow;
        self
    }

    /// No audio device is opened before [`CallKit::set_audio_active`], call by call: for systems that activate the audio themselves (iOS with
    /// CallKit). What comes in before is dropped, so that the voice is the present one when it begins. Default: false.
    pub fn wait_for_audio_activation(mut self, wait: bool) -> Self {
        self.wait_for_audio_activation = wait;
        self
    }

    /// Signs a user in and gives the kit.
    ///
    /// `access_token` is a JWT of the app's own backend. Must be called within a tokio runtime, on which the kit then lives.
    ///
    /// # Errors
    /// [`SignInError`] names the parameter that makes no sense, why the server cannot be reached, or why it refused. A refusal that may pass
    /// (too many, too busy, about to stop) is tried again for about 4 s before that.
    ///
    /// # Cancel safety
    /// Dropping the future signs nobody in.
    pub async fn sign_in(self, user: impl AsRef<str>, access_token: impl Into<String>) -> Result<CallKit, SignInError> {
        let credentials = Credentials { access_token: access_token.into(), cc_param: String::new() };
        Ok(self.begin(user.as_ref(), credentials, false).await?)
    }

    /// The same by either kind of credentials. A kit of one call signs out when that is over.
    pub(crate) async fn begin(
        mut self,
        user: &str,
        credentials: Credentials,
        one_call: bool,
    ) -> Result<CallKit, SignInFailure> {
        let mut settings = self.settings(user, &credentials, one_call)?;
        let tones = std::mem::take(&mut self.tones);
        let tones = tokio::task::spawn_blocking(move || tones.load()).await;
        let tones = tones.unwrap_or_else(|error| Err(error.to_string())).map_err(SignInError::InvalidParam)?;
        settings.audio.tones = tones.set();
        let endpoint = link::endpoint(self.server, self.root_certificates)?;
        let stream = link::first_sign_in(&endpoint, &settings).await?;

        let (requests, request_receiver) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Handle::current();
        let supplied = Arc::new(Supplied::default());
        let teller = Teller::new(runtime.clone());
        let figures = Arc::new(Figures::default());
        let directory = Arc::new(Directory::default());
        let Party { user, device } = settings.me.clone();
        let token = credentials.access_token;
        let account = Arc::new(Account::new(endpoint.clone(), self.app_id, user.to_string(), device, token));
        let tools = Tools {
            endpoint,
            account: account.clone(),
            chat: self.chat,
            supplied: supplied.clone(),
            teller: teller.clone(),
            calls: LiveCalls::new(directory.clone(), runtime, requests.downgrade()),
            interfaces: self.interfaces,
            turn_servers: self.turn_servers,
            input: self.input,
            output: self.output,
            sound: SoundConfig { voice: self.voice, tones, figures: figures.clone() },
        };
        driver::start(settings, tools, request_receiver, stream);
        Ok(CallKit { user, requests, teller, supplied, figures, account, directory })
    }

    /// What the machine is to know, but for the tones.
    fn settings(&self, user: &str, credentials: &Credentials, one_call: bool) -> Result<Settings, SignInError> {
        let invalid = |what: &str, error: call_protocol::IdError| SignInError::InvalidParam(format!("{what}: {error}"));
        let app_id = AppId::new(&self.app_id).map_err(|error| invalid("app_id", error))?;
        let user = UserId::new(user).map_err(|error| invalid("user", error))?;
        let device = self.device.clone().unwrap_or_else(|| format!("rust-{:016x}", rand::random::<u64>()));
        let device = DeviceId::new(device).map_err(|error| invalid("device", error))?;
        let timeout_ms = u32::try_from(self.call_timeout.as_millis()).unwrap_or(u32::MAX);
        if !(limits::RING_TIMEOUT_MIN_MS..=limits::RING_TIMEOUT_MAX_MS).contains(&timeout_ms) {
            return Err(SignInError::InvalidParam("call_timeout: it must be 1 s to 10 min".into()));
        }
        Ok(Settings {
            me: Party { user, device },
            app_id,
            access_token: AccessToken(credentials.access_token.clone()),
            cc_param: credentials.cc_param.clone(),
            agent: concat!("callkit ", env!("CARGO_PKG_VERSION")).into(),
            ring_timeout_ms: timeout_ms,
            second_call: self.second_call,
            has_chat: self.chat.is_some(),
            has_relay: !self.turn_servers.is_empty(),
            warm_path: self.warm_path,
            one_call,
            audio: AudioSettings {
                waits_for_activation: self.wait_for_audio_activation,
                allow_without_mic: self.allow_call_without_mic,
                tones: ToneSet::default(),
                level_interval: self.voice.level_interval,
            },
            seed: rand::random(),
        })
    }
}

/// By what a device signs in.
pub(crate) struct Credentials {
    pub(crate) access_token: String,
    /// Empty if there is none.
    pub(crate) cc_param: String,
}

/// One signed-in user on one device: makes, takes and ends calls.
///
/// Handles are cheap to clone. When the last one is dropped, a running call is ended and the device signs out.
#[derive(Clone)]
pub struct CallKit {
    user: UserId,
    pub(crate) requests: mpsc::UnboundedSender<Request>,
    teller: Teller,
    pub(crate) supplied: Arc<Supplied>,
    pub(crate) figures: Arc<Figures>,
    pub(crate) account: Arc<Account>,
    pub(crate) directory: Arc<Directory>,
}

/// A handle that does not keep the kit signed in: for listeners and handlers, which the kit holds itself.
#[derive(Clone)]
pub struct WeakCallKit {
    user: UserId,
    requests: mpsc::WeakUnboundedSender<Request>,
    teller: Teller,
    supplied: Arc<Supplied>,
    figures: Arc<Figures>,
    account: Arc<Account>,
    directory: Arc<Directory>,
}

impl WeakCallKit {
    /// The kit, unless it is signed out or its last handle is dropped.
    pub fn upgrade(&self) -> Option<CallKit> {
        let WeakCallKit { user, requests, teller, supplied, figures, account, directory } = self.clone();
        Some(CallKit { user, requests: requests.upgrade()?, teller, supplied, figures, account, directory })
    }
}

impl CallKit {
    /// A handle that does not keep the kit signed in.
    pub fn downgrade(&self) -> WeakCallKit {
        let CallKit { user, requests, teller, supplied, figures, account, directory } = self.clone();
        WeakCallKit { user, requests: requests.downgrade(), teller, supplied, figures, account, directory }
    }

    /// Begins to build a kit for an app.
    pub fn builder(app_id: impl Into<String>) -> Builder {
        Builder {
            app_id: app_id.into(),
            server: "http://127.0.0.1:7450".into(),
            root_certificates: Vec::new(),
            device: None,
            call_timeout: Duration::from_secs(30),
            input: default_input(),
            output: default_output(),
            voice: VoiceConfig {
                encoder: VoiceEncoderConfig::default(),
                receiver: VoiceReceiverConfig::default(),
                level_interval: LevelMeter::DEFAULT_INTERVAL,
            },
            interfaces: Interfaces::default(),
            turn_servers: Vec::new(),
            warm_path: WarmPath::default(),
            second_call: SecondCall::default(),
            chat: None,
            tones: Tones::default(),
            allow_call_without_mic: true,
            wait_for_audio_activation: false,
        }
    }

    /// The signed-in user.
    pub fn user(&self) -> &UserId {
        &self.user
    }

    /// Sets who supplies channel tokens: any `async fn(RtcTokenRequest) -> Result<RtcToken, HandlerError>`. Needed before a call is made or
    /// answered; without it, or when it fails, the join ends with [`CallError::FetchTokenFailed`].
    pub fn set_rtc_token_handler(&self, handler: impl RtcTokenHandler + 'static) {
        self.supplied.set_token_handler(Arc::new(handler));
    }

    /// Sets who tells which user is behind a uid: any `async fn(ChannelId, Uid) -> Result<UserMapper, HandlerError>`. Asked once for each unknown
    /// uid; without it events carry no user.
    pub fn set_user_mapper_handler(&self, handler: impl UserMapperHandler + 'static) {
        self.supplied.set_mapper_handler(Arc::new(handler));
    }

    /// Sets who supplies a new access token before the present one ends, and when the server says that it has: any
    /// `async fn() -> Result<String, HandlerError>`. One that fails is asked again after 1 s and more, up to 30 s. Without it the app gives one
    /// by [`CallKit::renew_access_token`] when [`on_access_token_expiring`](CallKitEventHandler::on_access_token_expiring) says so.
    pub fn set_access_token_handler(&self, handler: impl AccessTokenHandler + 'static) {
        self.access_token_handler(Arc::new(handler));
    }

    pub(crate) fn access_token_handler(&self, handler: Arc<dyn AccessTokenHandler>) {
        self.supplied.set_access_handler(handler);
        // A kit that is signed out asks nobody.
        let _ = self.requests.send(Request::AccessHandler);
    }

    /// Adds a listener under a key; one that was there under this key is replaced, and told nothing more. The first listener also gets what
    /// happened since the sign-in, but for calls that are over by then.
    pub fn add_event_listener(&self, key: impl Into<String>, handler: impl CallKitEventHandler + 'static) {
        self.teller.add(key.into(), Arc::new(handler));
    }

    /// Removes the listener under a key, if there is one.
    pub fn remove_event_listener(&self, key: &str) {
        self.teller.remove(key);
    }

    /// Removes every listener. Streams of [`CallKit::events`] go on.
    pub fn clear_event_listeners(&self) {
        self.teller.clear();
    }

    /// The events from now on, as a stream; it ends when the kit is signed out or dropped. Of whoever falls behind by more than 256 events some
    /// are lost, as of a listener ([`CallKitEvent::EventsLost`]).
    pub fn events(&self) -> impl Stream<Item = CallKitEvent> + Send + Unpin + use<> {
        self.teller.stream()
    }

    /// Readies the media engine; must come before a call is made or answered. Calling it again changes nothing. Devices are opened
    /// only when a call is accepted.
    pub async fn init_rtc(&self) -> Result<(), CallError> {
        self.ask(|reply| Request::Do(Command::InitRtc, reply)).await
    }

    /// Ends whatever call there is, as [`CallKit::hangup`] would, and frees the media engine. Returns when the audio devices are
    /// released and recordings are complete.
    pub async fn release_rtc(&self) -> Result<(), CallError> {
        let (reply, done) = oneshot::channel();
        self.requests.send(Request::ReleaseRtc(reply)).map_err(|_| CallError::SignedOut)?;
        done.await.map_err(|_| CallError::SignedOut)
    }

    /// Calls a user. `ext` is the app's own data, at most 32 entries and 2 KiB; the callee gets it with the call.
    ///
    /// # Errors
    /// An empty or unfit user, oneself, or a group type: [`CallError::InvalidParam`]. In a call already: [`CallError::Busy`]. Also
    /// [`CallError::NotInitialized`], [`CallError::Disconnected`], [`CallError::SignedOut`].
    ///
    /// # Cancel safety
    /// Once polled, the call is made even if the future is dropped.
    pub async fn start_single_call(
        &self,
        user: impl AsRef<str>,
        call_type: CallType,
        ext: Ext,
    ) -> Result<CallId, CallError> {
        let user = UserId::new(user).map_err(|error| CallError::InvalidParam(format!("user: {error}")))?;
        if !call_type.is_one_to_one() {
            return Err(CallError::InvalidParam("call_type: a single call is audio_1v1 or video_1v1".into()));
        }
        let command = Command::StartCall { user, call_type, ext };
        self.ask(|reply| Request::StartCall(command, reply)).await
    }

    /// Takes the call that rings. The user's other devices fall silent, both sides get `on_answer`, and voice begins. A running call is put
    /// on hold.
    pub async fn answer(&self, call_id: CallId) -> Result<(), CallError> {
        self.ask(|reply| Request::Do(Command::Answer { call_id }, reply)).await
    }

    /// Cancels the call that is being made, declines the one that rings, or ends the one that runs.
    pub async fn hangup(&self, call_id: CallId) -> Result<(), CallError> {
        self.ask(|reply| Request::Do(Command::Hangup { call_id }, reply)).await
    }

    /// Puts a running call on hold: nothing is said or heard, and the other side gets `on_peer_held`.
    ///
    /// # Errors
    /// [`CallError::NoSuchCall`], [`CallError::NotAnswered`].
    pub async fn hold(&self, call_id: CallId) -> Result<(), CallError> {
        self.ask(|reply| Request::Do(Command::Hold { call_id, held: true }, reply)).await
    }

    /// Goes on with a call on hold; another running one is put on hold. Errors as of [`CallKit::hold`].
    pub async fn unhold(&self, call_id: CallId) -> Result<(), CallError> {
        self.ask(|reply| Request::Do(Command::Hold { call_id, held: false }, reply)).await
    }

    /// The device is on another network: looks for new ways for the media at once, and connects anew where the address of the connection is
    /// gone or the server does not answer within 2 s. The kit notices this by itself on desktop systems; a phone's app may know sooner.
    pub fn network_changed(&self) {
        // A kit that is signed out has no network.
        let _ = self.requests.send(Request::NetworkChanged);
    }

    /// Plays the other side's voice again.
    pub async fn speaker_on(&self) -> Result<(), CallError> {
        self.ask(|reply| Request::Do(Command::Speaker(true), reply)).await
    }

    /// Stops playing the other side's voice.
    pub async fn speaker_off(&self) -> Result<(), CallError> {
        self.ask(|reply| Request::Do(Command::Speaker(false), reply)).await
    }

    /// Mutes the microphone, for every call there is and those to come; the others get `on_user_mute_audio`. A call has one mute, whether it is set
    /// here or by [`Call::mute_my_audio`]: what was said last counts.
    pub async fn mute(&self) -> Result<(), CallError> {
        self.ask(|reply| Request::Do(Command::Mute(true), reply)).await
    }

    /// Unmutes the microphone for every call there is, and those to come.
    pub async fn unmute(&self) -> Result<(), CallError> {
        self.ask(|reply| Request::Do(Command::Mute(false), reply)).await
    }

    /// The figures of the present call; `None` before its media is set up.
    pub async fn call_quality(&self) -> Option<CallQuality> {
        let (reply, quality) = oneshot::channel();
        self.requests.send(Request::Quality(reply)).ok()?;
        quality.await.ok().flatten()
    }

    /// The access token to use from now on, in this connection and those to come, and for what is asked outside of calls. See
    /// [`CallKit::set_access_token_handler`].
    pub fn renew_access_token(&self, access_token: impl Into<String>) {
        // A kit that is signed out has no use for it.
        let _ = self.requests.send(Request::Notify(Command::AccessToken(AccessToken(access_token.into()))));
    }

    /// Ends whatever call there is and signs out. Returns when the server, or the chat, has been told, the devices are released and the
    /// listeners have heard the last events; one that takes longer than 1 s is not waited for.
    pub async fn sign_out(&self) {
        let (reply, done) = oneshot::channel();
        if self.requests.send(Request::SignOut(reply)).is_ok() {
            let _ = done.await;
        }
    }

    /// Makes a call with a handler of its own, to which alone it is told. It needs no [`RtcTokenHandler`]; the access token of the parameter
    /// is not used, as the kit is signed in.
    ///
    /// `InvalidStateToMakeCall`: there is a call already, or no connection to the server. `NotInitialized`: [`CallKit::init_rtc`] must come
    /// first. `NoRecordAudioPermission`: there is no microphone that can be opened, and the options do not allow to do without.
    ///
    /// # Cancel safety
    /// Once polled to the end the call is made; a future that is dropped before may have made it, and it is then told to the handler.
    pub async fn make_call(&self, param: MakeCallParam, handler: impl CallEventHandler + 'static) -> MakeCallResult {
        self.make(param, Arc::new(handler)).await.into()
    }

    /// Asks about a call of which a push told, with a handler of its own. If it is alive it rings, `on_verified`; if it is over, or is taken
    /// elsewhere, `on_disconnected` tells so. One that rings in this kit already is told to the kit-wide listeners, too, to its end.
    ///
    /// `AlreadyExist`: it was verified already, or is past ringing. Others as of [`CallKit::make_call`].
    pub async fn verify_call(
        &self,
        param: VerifyCallParam,
        handler: impl CallEventHandler + 'static,
    ) -> VerifyCallResult {
        self.verify(param, Arc::new(handler), false).await.into()
    }

    pub(crate) async fn make(
        &self,
        param: MakeCallParam,
        handler: Arc<dyn CallEventHandler>,
    ) -> Result<Call, StartFailReason> {
        self.look_for_microphone(&param.options).await?;
        let keeps_statistics = param.options.enable_statistics;
        self.start(Command::MakeCall(Box::new(param.call())), handler, keeps_statistics).await
    }

    pub(crate) async fn verify(
        &self,
        param: VerifyCallParam,
        handler: Arc<dyn CallEventHandler>,
        is_background: bool,
    ) -> Result<Call, StartFailReason> {
        self.look_for_microphone(&param.options).await?;
        let keeps_statistics = param.options.enable_statistics;
        self.start(Command::VerifyCall(Box::new(param.call(is_background))), handler, keeps_statistics).await
    }

    async fn start(
        &self,
        command: Command,
        handler: Arc<dyn CallEventHandler>,
        keeps_statistics: bool,
    ) -> Result<Call, StartFailReason> {
        let (reply, answer) = oneshot::channel();
        let request = Request::BeginCall { command, handler, keeps_statistics, reply };
        self.requests.send(request).map_err(|_| StartFailReason::InvalidStateToMakeCall)?;
        answer.await.map_err(|_| StartFailReason::InvalidStateToMakeCall)?
    }

    /// Before a call starts its microphone is tried, unless it may do without or the app's system has not lent it yet.
    async fn look_for_microphone(&self, options: &CallOptions) -> Result<(), StartFailReason> {
        if options.allow_call_without_mic || options.callkit_type == CallKitType::User {
            return Ok(());
        }
        match self.check_microphone().await {
            // A kit that has signed out, perhaps just now, says so itself.
            Err(_) if !self.requests.is_closed() => Err(StartFailReason::NoRecordAudioPermission),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(crate) async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, CallError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).map_err(|_| CallError::SignedOut)?;
        answer.await.map_err(|_| CallError::SignedOut)?
    }
}

fn default_input() -> AudioInput {
    if cfg!(feature = "devices") { AudioInput::Default } else { AudioInput::Silence }
}

fn default_output() -> AudioOutput {
    if cfg!(feature = "devices") { AudioOutput::Default } else { AudioOutput::Null }
}
