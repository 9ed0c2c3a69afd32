//! A real server and the phones of people who live in its house.

use std::net::SocketAddr;
use std::time::Duration;

use callkit::{
    AudioInput, Builder, CallId, CallKit, CallKitEvent, CallType, DevBackend, EndReason, Ext, Interfaces, Recording,
};
use callkit_server::{Server, ServerConfig};
use futures_util::{Stream, StreamExt};
use rtc_media::score;

/// How long something that is sure to come is waited for; a machine under load is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct House {
    pub(crate) server: Server,
    pub(crate) url: String,
}

impl House {
    pub(crate) async fn open() -> House {
        House::with(ServerConfig::dev_on_loopback()).await
    }

    pub(crate) async fn with(config: ServerConfig) -> House {
        // With RUST_LOG=callkit=debug a failing test shows what was said; the log of another test of the process may be there already.
        let log = tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env());
        let _ = log.with_test_writer().try_init();
        let server = Server::start(config).await.unwrap();
        let url = format!("http://{}", server.local_addr());
        House { server, url }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(crate) fn builder(&self) -> Builder {
        CallKit::builder("demo").server(&self.url).interfaces(Interfaces::Loopback)
    }

    pub(crate) async fn backend(&self, user: &str) -> DevBackend {
        DevBackend::sign_in(&self.url, user, "a password").await.unwrap()
    }

    /// A phone of this user that speaks the bundled speech and keeps what it hears.
    pub(crate) async fn phone(&self, user: &str) -> Phone {
        self.phone_with(user, AudioInput::Speech { looped: true }, |builder| builder).await
    }

    pub(crate) async fn phone_with(
        &self,
        user: &str,
        input: AudioInput,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Phone {
        let backend = self.backend(user).await;
        let heard = Recording::new();
        let builder = self.builder().audio_input(input).audio_output(heard.output());
        let kit = change(builder).sign_in(user, backend.access_token()).await.unwrap();
        backend.supply(&kit);
        kit.init_rtc().await.unwrap();
        Phone::of(kit, heard)
    }

    /// Two phones in a call, both of which have heard the other.
    pub(crate) async fn two_in_a_call(&self) -> (Phone, Phone, CallId) {
        let (mut alice, mut bob) = (self.phone("alice").await, self.phone("bob").await);
        let call_id = alice.calls(&mut bob).await;
        bob.kit.answer(call_id).await.unwrap();
        for phone in [&mut alice, &mut bob] {
            phone.until("first_audio").await;
        }
        (alice, bob, call_id)
    }
}

pub(crate) struct Phone {
    pub(crate) kit: CallKit,
    events: Box<dyn Stream<Item = CallKitEvent> + Send + Unpin>,
    /// Every event so far, but for the connection's.
    pub(crate) seen: Vec<CallKitEvent>,
    pub(crate) heard: Recording,
}

impl Phone {
    pub(crate) fn of(kit: CallKit, heard: Recording) -> Phone {
        let events = Box::new(kit.events());
        Phone { kit, events, seen: Vec::new(), heard }
    }

    /// Rings the other one.
    pub(crate) async fn calls(&mut self, other: &mut Phone) -> CallId {
        let callee = other.kit.user().clone();
        let call_id = self.kit.start_single_call(callee.as_str(), CallType::Audio1v1, Ext::new()).await.unwrap();
        other.until("receive_call").await;
        call_id
    }

    pub(crate) async fn next(&mut self) -> CallKitEvent {
        let event = tokio::time::timeout(PATIENCE, self.events.next()).await;
        let event = event.unwrap_or_else(|_| panic!("nothing came; seen: {:?}", self.names()));
        let event = event.expect("the kit lives");
        self.seen.push(event.clone());
        event
    }

    /// Waits for the next event of this name.
    pub(crate) async fn until(&mut self, name: &str) -> CallKitEvent {
        loop {
            let event = self.next().await;
            if event.name() == name {
                return event;
            }
        }
    }

    /// Waits for the end of the call.
    pub(crate) async fn until_end(&mut self, call_id: CallId) -> EndReason {
        match self.until("call_end").await {
            CallKitEvent::CallEnd { call_id: ended, reason } if ended == call_id => reason,
            other => panic!("{other:?}"),
        }
    }

    /// The names of what was seen of calls.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.seen.iter().map(CallKitEvent::name).filter(|name| *name != "connection_changed").collect()
    }

    /// Everything that is still to come, until the kit is signed out.
    pub(crate) async fn sign_out_and_drain(mut self) -> Vec<CallKitEvent> {
        self.kit.sign_out().await;
        while let Some(event) = self.events.next().await {
            self.seen.push(event);
        }
        self.seen
    }

    /// Waits until so much has been heard, in seconds, since `from` samples.
    pub(crate) async fn hears_for(&self, seconds: f32, from: usize) -> Vec<f32> {
        let wanted = from + (seconds * 48_000.0) as usize;
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let all = tokio::time::timeout(PATIENCE, async {
            loop {
                tick.tick().await;
                if self.heard.len() >= wanted {
                    return self.heard.samples();
                }
            }
        });
        all.await.expect("sound flows")[from..wanted].to_vec()
    }
}

/// The speech that phones speak, 48 kHz mono, twice over.
pub(crate) fn spoken() -> Vec<f32> {
    let mut source = AudioInput::Speech { looped: true }.open().unwrap();
    let mut samples = Vec::new();
    let mut frame = callkit::Frame::SILENCE;
    for _ in 0..1_700 {
        source.read(&mut frame).unwrap();
        samples.extend_from_slice(&frame.0);
    }
    samples
}

/// How much of what was heard is what was spoken, 0 to 1.
pub(crate) fn similarity(heard: &[f32]) -> f32 {
    score::score(&spoken(), heard).similarity
}

/// The root mean square of a sound.
pub(crate) fn loudness(sound: &[f32]) -> f32 {
    (sound.iter().map(|s| s * s).sum::<f32>() / sound.len().max(1) as f32).sqrt()
}
