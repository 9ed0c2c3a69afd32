//! People who use the face of one call: what their handlers hear, and the backend that gets the cc_params.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{MethodRouter, post};
use axum::{Json, Router};
use callkit::{
    AudioInput, Builder, Call, CallEventHandler, CallManager, CallOptions, DisconnectReason, DisconnectSource,
    MakeCallParam, MakeCallParamBuilder, MicrophoneFailure, Recording, StartFailReason, VerifyCallParam,
};
use callkit_server::{AppConfig, ServerConfig, WebhookConfig};
use tokio::sync::{Mutex, mpsc};

use crate::house::{House, PATIENCE};

/// What a handler was told, as a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    WaitConnected,
    Verified(bool),
    Connected { in_preparation: bool, should_finish: bool },
    PreparationFinished,
    Disconnected(End),
    PeerMicMuted,
    PeerMicUnmuted,
    PeerHold(Option<String>),
    PeerUnhold,
    MuteRequested(bool),
    NetworkUnavailable { is_peer: bool, seconds: u32 },
    NetworkReavailable { is_peer: bool },
    PeerLevel(u8),
    MicrophoneFailed(MicrophoneFailure),
    Adopted,
}

/// An end, as it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) reason: DisconnectReason,
    pub(crate) source: DisconnectSource,
    pub(crate) by_remote: bool,
    pub(crate) user_code: Option<String>,
}

/// An end without a code.
pub(crate) fn end(reason: DisconnectReason, source: DisconnectSource, by_remote: bool) -> End {
    End { reason, source, by_remote, user_code: None }
}

impl End {
    pub(crate) fn with(self, code: &str) -> End {
        End { user_code: Some(code.into()), ..self }
    }
}

/// A handler that writes down what it is told.
struct Scribe(mpsc::UnboundedSender<Told>);

impl Scribe {
    fn write(&self, told: Told) {
        // A test that is over does not read any more.
        let _ = self.0.send(told);
    }
}

impl CallEventHandler for Scribe {
    fn on_wait_connected(&self, _: &Call) {
        self.write(Told::WaitConnected);
    }
    fn on_verified(&self, _: &Call, peer_use_responder_preparation: bool) {
        self.write(Told::Verified(peer_use_responder_preparation));
    }
    fn on_connected(&self, _: &Call, in_preparation: bool, should_finish: bool) {
        self.write(Told::Connected { in_preparation, should_finish });
    }
    fn on_preparation_finished(&self, _: &Call) {
        self.write(Told::PreparationFinished);
    }
    fn on_disconnected(
        &self,
        _: &Call,
        reason: DisconnectReason,
        source: DisconnectSource,
        by_remote: bool,
        user_code: Option<&str>,
    ) {
        self.write(Told::Disconnected(End { reason, source, by_remote, user_code: user_code.map(str::to_owned) }));
    }
    fn on_peer_mic_muted(&self, _: &Call) {
        self.write(Told::PeerMicMuted);
    }
    fn on_peer_mic_unmuted(&self, _: &Call) {
        self.write(Told::PeerMicUnmuted);
    }
    fn on_peer_hold(&self, _: &Call, reason: Option<&str>) {
        self.write(Told::PeerHold(reason.map(str::to_owned)));
    }
    fn on_peer_unhold(&self, _: &Call) {
        self.write(Told::PeerUnhold);
    }
    fn on_my_audio_mute_requested_by_peer(&self, _: &Call, muted: bool) {
        self.write(Told::MuteRequested(muted));
    }
    fn on_network_unavailable(&self, _: &Call, is_peer: bool, seconds: u32) {
        self.write(Told::NetworkUnavailable { is_peer, seconds });
    }
    fn on_network_reavailable(&self, _: &Call, is_peer: bool) {
        self.write(Told::NetworkReavailable { is_peer });
    }
    fn on_peer_audio_description_updated(&self, _: &Call, level: u8) {
        self.write(Told::PeerLevel(level));
    }
    fn on_microphone_failed(&self, _: &Call, failure: MicrophoneFailure) {
        self.write(Told::MicrophoneFailed(failure));
    }
    fn on_background_call_adopted(&self, _: &Call) {
        self.write(Told::Adopted);
    }
}

/// What one handler was told.
pub(crate) struct Ear {
    told: mpsc::UnboundedReceiver<Told>,
    pub(crate) heard: Vec<Told>,
}

/// A handler, and what it will have been told.
pub(crate) fn ear() -> (impl CallEventHandler + 'static, Ear) {
    let (sender, told) = mpsc::unbounded_channel();
    (Scribe(sender), Ear { told, heard: Vec::new() })
}

impl Ear {
    pub(crate) async fn next(&mut self) -> Told {
        let told = tokio::time::timeout(PATIENCE, self.told.recv()).await;
        let told = told.unwrap_or_else(|_| panic!("nothing was told after {:?}", self.heard));
        let told = told.unwrap_or_else(|| panic!("the handler is gone after {:?}", self.heard));
        self.heard.push(told.clone());
        told
    }

    /// Waits until this is told, past anything else.
    pub(crate) async fn until(&mut self, wanted: &Told) {
        while self.next().await != *wanted {}
    }

    pub(crate) async fn until_verified(&mut self) {
        while !matches!(self.next().await, Told::Verified(_)) {}
    }

    pub(crate) async fn until_connected(&mut self) {
        while !matches!(self.next().await, Told::Connected { .. }) {}
    }

    pub(crate) async fn until_end(&mut self) -> End {
        loop {
            if let Told::Disconnected(end) = self.next().await {
                return end;
            }
        }
    }

    /// Everything until nobody can tell anything any more.
    pub(crate) async fn drain(mut self) -> Vec<Told> {
        while tokio::time::timeout(PATIENCE, self.told.recv()).await.expect("the handler is let go of").is_some_and(
            |told| {
                self.heard.push(told);
                true
            },
        ) {}
        self.heard
    }
}

/// A server and the app's backend that pushes: who is called gets the cc_param by it.
pub(crate) struct Town {
    pub(crate) house: House,
    pushes: Mutex<mpsc::UnboundedReceiver<serde_json::Value>>,
    call_events: Mutex<mpsc::UnboundedReceiver<serde_json::Value>>,
}

/// What an app's backend takes by this path.
fn taken() -> (MethodRouter, mpsc::UnboundedReceiver<serde_json::Value>) {
    let (sender, bodies) = mpsc::unbounded_channel();
    let take = post(|State(sender): State<Arc<mpsc::UnboundedSender<_>>>, Json(body)| async move {
        let _ = sender.send(body);
        StatusCode::NO_CONTENT
    });
    (take.with_state(Arc::new(sender)), bodies)
}

impl Town {
    pub(crate) async fn open() -> Town {
        Town::with(ServerConfig::dev_on_loopback()).await
    }

    pub(crate) async fn with(config: ServerConfig) -> Town {
        let ((notify, pushes), (call_event, call_events)) = (taken(), taken());
        let backend = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = backend.local_addr().unwrap();
        let routes = Router::new().route("/notify", notify).route("/call_event", call_event);
        tokio::spawn(async move { axum::serve(backend, routes).await });
        let webhooks = WebhookConfig {
            notify_url: Some(format!("http://{address}/notify")),
            call_event_url: Some(format!("http://{address}/call_event")),
            secrets: vec!["whsec-0123456789abcdef".into()],
            ..WebhookConfig::default()
        };
        let demo = AppConfig::new("demo".parse().unwrap(), "dev", "0123456789abcdef0123456789abcdef");
        let apps = vec![AppConfig { webhooks: Some(webhooks), ..demo }];
        let house = House::with(ServerConfig { apps, ..config }).await;
        Town { house, pushes: Mutex::new(pushes), call_events: Mutex::new(call_events) }
    }

    /// What the backend was told of the next call.
    pub(crate) async fn pushed(&self) -> serde_json::Value {
        let mut pushes = self.pushes.lock().await;
        tokio::time::timeout(PATIENCE, pushes.recv()).await.expect("the backend is notified").unwrap()
    }

    /// What the backend was told of the next call that is over.
    pub(crate) async fn call_event(&self) -> serde_json::Value {
        let mut call_events = self.call_events.lock().await;
        tokio::time::timeout(PATIENCE, call_events.recv()).await.expect("the backend is told").unwrap()
    }

    /// The cc_param of the next call.
    pub(crate) async fn cc_param(&self) -> String {
        self.pushed().await["cc_param"].as_str().unwrap().to_owned()
    }

    /// Somebody without a kit, who says but one tone.
    pub(crate) async fn person(&self, user: &str, hz: f32) -> Person {
        self.person_with(user, hz, |builder| builder).await
    }

    pub(crate) async fn person_with(&self, user: &str, hz: f32, change: impl FnOnce(Builder) -> Builder) -> Person {
        let heard = Recording::new();
        let tone = AudioInput::Tone { hz, amplitude: 0.3 };
        let builder = self.house.builder().audio_input(tone).audio_output(heard.output());
        let token = self.house.backend(user).await.access_token();
        Person { user: user.into(), token, manager: CallManager::new(change(builder)), heard }
    }

    /// A call from one to the other by cc_param, in which both are connected.
    pub(crate) async fn talk(&self, caller: &Person, callee: &Person) -> (Line, Line) {
        let (mut here, mut there) = self.ring(caller, callee, |param| param).await;
        there.call.accept(false).await.unwrap();
        here.ear.until_connected().await;
        there.ear.until_connected().await;
        (here, there)
    }

    /// A call from one to the other by cc_param, which rings.
    pub(crate) async fn ring(
        &self,
        caller: &Person,
        callee: &Person,
        change: impl FnOnce(MakeCallParamBuilder) -> MakeCallParamBuilder,
    ) -> (Line, Line) {
        let mut here = caller.calls(&callee.user, change).await;
        let mut there = callee.verifies(&self.cc_param().await).await;
        there.ear.until_verified().await;
        here.ear.until(&Told::WaitConnected).await;
        (here, there)
    }
}

/// Somebody without a kit.
pub(crate) struct Person {
    pub(crate) user: String,
    pub(crate) token: String,
    pub(crate) manager: CallManager,
    pub(crate) heard: Recording,
}

/// A call, and what its handler is told.
pub(crate) struct Line {
    pub(crate) call: Call,
    pub(crate) ear: Ear,
}

/// Everything is measured, nothing is left out.
pub(crate) fn measured() -> CallOptions {
    CallOptions { enable_statistics: true, ..CallOptions::default() }
}

impl Person {
    pub(crate) fn param(&self, peer: &str) -> MakeCallParamBuilder {
        MakeCallParam::builder()
            .my_user_id(&self.user)
            .my_service_id("demo")
            .peer_user_id(peer)
            .peer_service_id("demo")
            .access_token(&self.token)
            .options(measured())
    }

    pub(crate) fn verify_param(&self, cc_param: &str) -> VerifyCallParam {
        let param = VerifyCallParam::builder().my_user_id(&self.user).my_service_id("demo").cc_param(cc_param);
        param.options(measured()).build().unwrap()
    }

    pub(crate) async fn calls(
        &self,
        peer: &str,
        change: impl FnOnce(MakeCallParamBuilder) -> MakeCallParamBuilder,
    ) -> Line {
        let (handler, ear) = ear();
        let made = self.manager.make_call(change(self.param(peer)).build().unwrap(), handler).await;
        assert_eq!(made.reason, StartFailReason::None);
        Line { call: made.call.unwrap(), ear }
    }

    pub(crate) async fn verifies(&self, cc_param: &str) -> Line {
        let (handler, ear) = ear();
        let verified = self.manager.verify_call(self.verify_param(cc_param), handler).await;
        assert_eq!(verified.reason, StartFailReason::None);
        Line { call: verified.call.unwrap(), ear }
    }
}
