//! A real server and the phones of people who live in its house.

use std::net::SocketAddr;
use std::time::Duration;

use callkit::{
    AudioInput, Builder, CallError, CallId, CallKit, CallKitEvent, CallType, DevBackend, EndReason, Ext, Interfaces,
    Recording,
};
use callkit_server::{Server, ServerConfig};
use futures_util::{Stream, StreamExt};
use rtc_media::score;

/// How long something that is sure to come is waited for; a machine under load is slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

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

    /// The phone of somebody who says but one tone.
    pub(crate) async fn singer(&self, user: &str, hz: f32, change: impl FnOnce(Builder) -> Builder) -> Phone {
        self.phone_with(user, AudioInput::Tone { hz, amplitude: 0.3 }, change).await
    }

    /// So many devices of one user, who says but one tone.
    pub(crate) async fn devices(&self, user: &str, hz: f32, count: usize) -> Vec<Phone> {
        let mut devices = Vec::new();
        for number in 0..count {
            devices.push(self.singer(user, hz, |b| b.device(format!("{user}-{number}"))).await);
        }
        devices
    }

    pub(crate) async fn phone_with(
        &self,
        user: &str,
        input: AudioInput,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Phone {
        let backend = self.backend(user).await;
        let token = backend.access_token();
        self.phone_by_token(&backend, user, token, input, change).await
    }

    /// A phone that signs in with this access token; channel tokens come from the backend.
    pub(crate) async fn phone_by_token(
        &self,
        backend: &DevBackend,
        user: &str,
        token: String,
        input: AudioInput,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Phone {
        let heard = Recording::new();
        let builder = self.builder().audio_input(input).audio_output(heard.output());
        let kit = change(builder).sign_in(user, token).await.unwrap();
        Phone::supplied(kit, backend, heard).await
    }

    /// A phone that can crash.
    pub(crate) async fn mortal(&self, user: &str, hz: f32, change: impl FnOnce(Builder) -> Builder) -> Mortal {
        let backend = self.backend(user).await;
        let heard = Recording::new();
        let tone = AudioInput::Tone { hz, amplitude: 0.3 };
        let builder = change(self.builder().audio_input(tone).audio_output(heard.output()));
        let (user, token) = (user.to_owned(), backend.access_token());
        let ((alive, dies), (born, birth)) = (tokio::sync::oneshot::channel::<()>(), tokio::sync::oneshot::channel());
        let life = std::thread::spawn(move || {
            // One thread, so that nothing runs any more once the first thing is dropped.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let _ = born.send(builder.sign_in(user, token).await.unwrap());
                let _ = dies.await;
            });
        });
        Mortal { phone: Phone::supplied(birth.await.unwrap(), &backend, heard).await, alive, life }
    }

    /// Two phones in a call, both of which have heard the other.
    pub(crate) async fn two_in_a_call(&self) -> (Phone, Phone, CallId) {
        let (mut alice, mut bob) = (self.phone("alice").await, self.phone("bob").await);
        let call_id = alice.talks_with(&mut bob).await;
        (alice, bob, call_id)
    }
}

/// A phone in a runtime of its own.
pub(crate) struct Mortal {
    pub(crate) phone: Phone,
    alive: tokio::sync::oneshot::Sender<()>,
    life: std::thread::JoinHandle<()>,
}

impl Mortal {
    /// As if its process were killed: nothing more is said, its sockets are closed by the system.
    pub(crate) fn crash(self) {
        let Mortal { phone, alive, life } = self;
        drop(alive);
        life.join().unwrap();
        drop(phone);
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

    pub(crate) async fn supplied(kit: CallKit, backend: &DevBackend, heard: Recording) -> Phone {
        backend.supply(&kit);
        kit.init_rtc().await.unwrap();
        Phone::of(kit, heard)
    }

    /// Places a call.
    pub(crate) async fn dials(&self, user: &str) -> CallId {
        self.kit.start_single_call(user, CallType::Audio1v1, Ext::new()).await.unwrap()
    }

    /// Calls the other one, who answers; both have heard each other.
    pub(crate) async fn talks_with(&mut self, other: &mut Phone) -> CallId {
        let call_id = self.calls(other).await;
        other.kit.answer(call_id).await.unwrap();
        self.until("first_audio").await;
        other.until("first_audio").await;
        call_id
    }

    /// Rings the other one.
    pub(crate) async fn calls(&mut self, other: &mut Phone) -> CallId {
        let call_id = self.dials(other.kit.user().as_str()).await;
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

    /// Waits for the next error.
    pub(crate) async fn until_error(&mut self) -> CallError {
        match self.until("error").await {
            CallKitEvent::Error { error, .. } => error,
            other => panic!("{other:?}"),
        }
    }

    /// What failed so far.
    pub(crate) fn errors(&self) -> Vec<CallError> {
        let error = |event: &CallKitEvent| match event {
            CallKitEvent::Error { error, .. } => Some(error.clone()),
            _ => None,
        };
        self.seen.iter().filter_map(error).collect()
    }

    /// Waits for the end of the call.
    pub(crate) async fn until_end(&mut self, call_id: CallId) -> EndReason {
        match self.until("call_end").await {
            CallKitEvent::CallEnd { call_id: ended, reason, .. } if ended == call_id => reason,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until this call rings, past others.
    pub(crate) async fn until_rings(&mut self, call_id: CallId) {
        loop {
            if let CallKitEvent::ReceiveCall { call_id: rings, .. } = self.until("receive_call").await
                && rings == call_id
            {
                return;
            }
        }
    }

    /// Waits for the end of this call, past the ends of others.
    pub(crate) async fn until_end_of(&mut self, call_id: CallId) -> EndReason {
        loop {
            match self.until("call_end").await {
                CallKitEvent::CallEnd { call_id: ended, reason, .. } if ended == call_id => return reason,
                _ => {}
            }
        }
    }

    /// The sound of the last so many seconds that were heard.
    pub(crate) fn lately(&self, seconds: f32) -> Vec<f32> {
        let samples = self.heard.samples();
        samples[samples.len().saturating_sub((seconds * 48_000.0) as usize)..].to_vec()
    }

    /// Waits until this tone is heard, and no other one.
    pub(crate) async fn hears(&self, hz: f32) {
        self.heard_lately(|sound| is_tone(sound, hz), &format!("{hz} Hz")).await;
    }

    /// Waits until nothing is heard.
    pub(crate) async fn hears_nothing(&self) {
        self.heard_lately(|sound| loudness(sound) < 0.001, "silence").await;
    }

    /// Waits until two seconds in a row are what the other one speaks. A busy machine breaks some; a wrong sound never gets there.
    pub(crate) async fn hears_the_speech(&self) {
        let rightly = tokio::time::timeout(PATIENCE, async {
            loop {
                let heard = self.hears_for(2.0, self.heard.len()).await;
                if similarity(&heard) > 0.8 {
                    return;
                }
            }
        });
        assert!(rightly.await.is_ok(), "the speech is not heard: {}", similarity(&self.lately(2.0)));
    }

    async fn heard_lately(&self, is_right: impl Fn(&[f32]) -> bool, what: &str) {
        let from = self.heard.len();
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        let heard = tokio::time::timeout(PATIENCE, async {
            loop {
                tick.tick().await;
                // What was heard before is of another time.
                if self.heard.len() >= from + 24_000 && is_right(&self.lately(0.4)) {
                    return;
                }
            }
        });
        let loud = || loudness(&self.lately(0.4));
        heard.await.unwrap_or_else(|_| panic!("no {what}, but a loudness of {}; seen: {:?}", loud(), self.names()));
    }

    /// The names of what was seen of calls.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.seen.iter().map(CallKitEvent::name).filter(|name| *name != "connection_changed").collect()
    }

    /// Why a call ended, each time that was told.
    pub(crate) fn ends(&self, call_id: CallId) -> Vec<EndReason> {
        ends(&self.seen, call_id)
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

/// Why a call ended, each time that was told.
pub(crate) fn ends(seen: &[CallKitEvent], call_id: CallId) -> Vec<EndReason> {
    let end = |event: &CallKitEvent| match event {
        CallKitEvent::CallEnd { call_id: ended, reason, .. } if *ended == call_id => Some(*reason),
        _ => None,
    };
    seen.iter().filter_map(end).collect()
}

/// Whether it was told that this call was accepted.
pub(crate) fn is_answered(seen: &[CallKitEvent], call_id: CallId) -> bool {
    seen.iter().any(|event| event.name() == "answer" && event.call_id() == Some(call_id))
}

/// How often an event of this name was told.
pub(crate) fn count(seen: &[CallKitEvent], name: &str) -> usize {
    seen.iter().filter(|event| event.name() == name).count()
}

/// Whether a sound is loud and hardly anything but this tone.
pub(crate) fn is_tone(sound: &[f32], hz: f32) -> bool {
    let step = std::f32::consts::TAU * hz / 48_000.0;
    let project = |wave: fn(f32) -> f32| {
        let sum: f32 =
            sound.iter().enumerate().map(|(n, sample)| sample * wave((n as f32 * step) % std::f32::consts::TAU)).sum();
        sum / sound.len().max(1) as f32
    };
    let (sine, cosine) = (project(f32::sin), project(f32::cos));
    // A sine of amplitude a has the power a²/2, and each projection half of its part of a.
    let of_tone = 2.0 * (sine * sine + cosine * cosine);
    let power = loudness(sound).powi(2);
    power > 0.001 && of_tone > 0.8 * power
}

/// The root mean square of a sound.
pub(crate) fn loudness(sound: &[f32]) -> f32 {
    (sound.iter().map(|s| s * s).sum::<f32>() / sound.len().max(1) as f32).sqrt()
}
