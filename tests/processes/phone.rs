//! The phone process: a real kit, driven by lines on standard input.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use callkit::{
    AudioInput, AudioOutput, AudioSink, AudioSource, CallId, CallKit, CallKitEvent, CallKitEventHandler, CallQuality,
    CallType, ConnectionState, DevBackend, DeviceError, Ext, Frame, Interfaces, ReadOutcome, WarmPath,
};
use rtc_media::FRAME_SAMPLES;
use serde_json::{Value, json};
use tokio::io::AsyncBufReadExt;

use super::host::now_us;
use super::{sound, sweep};

/// The first argument that makes a program a phone.
pub const AS_PHONE: &str = "--as-phone";

/// The password of every user.
pub const PASSWORD: &str = "demo";

/// How a phone process is to be.
#[derive(Debug, Clone)]
pub struct PhoneOptions {
    /// The user who signs in, with the name of the device if it is to have one: `bob` or `bob/desk`.
    pub user: String,
    /// The server, `http://host:port`.
    pub server: String,
    /// What it says: `speech`, `reply`, `voice`, `sweep`, `silence`, `mic`, or a WAV file.
    pub speak: String,
    /// Where what it hears goes: `nowhere`, `speaker`, or a WAV file to write.
    pub hear: String,
    /// Only loopback, or every interface.
    pub loopback: bool,
    /// Media is set up while it rings.
    pub warm: bool,
}

impl PhoneOptions {
    pub(crate) fn to_arguments(&self) -> Vec<String> {
        let interfaces = if self.loopback { "loopback" } else { "all" };
        let warm = if self.warm { "warm" } else { "cold" };
        [AS_PHONE, &self.user, &self.server, &self.speak, &self.hear, interfaces, warm].map(str::to_owned).to_vec()
    }

    fn from_arguments(arguments: &[String]) -> Option<PhoneOptions> {
        match arguments {
            [first, user, server, speak, hear, interfaces, warm] if first == AS_PHONE => Some(PhoneOptions {
                user: user.clone(),
                server: server.clone(),
                speak: speak.clone(),
                hear: hear.clone(),
                loopback: interfaces == "loopback",
                warm: warm == "warm",
            }),
            _ => None,
        }
    }
}

/// Runs a phone and ends the process, if the arguments of this process ask for it.
pub fn run_if_asked() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = PhoneOptions::from_arguments(&arguments) else { return };
    run_and_exit(run(options));
}

/// The whole of a process: does this and ends it, in failure with a line that says why.
pub(super) fn run_and_exit(work: impl Future<Output = Result<(), String>>) -> ! {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let ran = runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(work));
    match ran {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            say(json!({ "event": "failed", "error": error }));
            std::process::exit(1);
        }
    }
}

async fn run(options: PhoneOptions) -> Result<(), String> {
    let (user, device) = match options.user.split_once('/') {
        Some((user, device)) => (user, Some(device)),
        None => (options.user.as_str(), None),
    };
    let backend = DevBackend::sign_in(&options.server, user, PASSWORD).await.map_err(|error| error.to_string())?;
    let mut builder = CallKit::builder("demo");
    if let Some(device) = device {
        builder = builder.device(device);
    }
    let kit = builder
        .server(&options.server)
        .interfaces(if options.loopback { Interfaces::Loopback } else { Interfaces::All })
        .warm_path(if options.warm { WarmPath::Full } else { WarmPath::Off })
        .audio_input(stamped_input(input(&options.speak)?))
        .audio_output(stamped_output(output(&options.hear)))
        .sign_in(user, backend.access_token())
        .await
        .map_err(|error| error.to_string())?;
    backend.supply(&kit);
    let current = Arc::new(Mutex::new(None));
    kit.add_event_listener("lines", Lines { current: current.clone() });
    kit.init_rtc().await.map_err(|error| error.to_string())?;
    say(json!({ "event": "ready" }));
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line == "quit" {
            break;
        }
        if let Err(error) = obey(&kit, &line, &current).await {
            say(json!({ "event": "refused", "line": line, "error": error }));
        }
    }
    kit.sign_out().await;
    say(json!({ "event": "signed_out" }));
    Ok(())
}

async fn obey(kit: &CallKit, line: &str, current: &Mutex<Option<CallId>>) -> Result<(), String> {
    let call_id = || current.lock().unwrap_or_else(PoisonError::into_inner).ok_or("no call".to_owned());
    let done = match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["call", user] => {
            say(json!({ "event": "calling" }));
            let called = kit.start_single_call(user, CallType::Audio1v1, Ext::new()).await;
            called.map(|id| *current.lock().unwrap_or_else(PoisonError::into_inner) = Some(id))
        }
        ["answer"] => {
            let call_id = call_id()?;
            say(json!({ "event": "answering" }));
            kit.answer(call_id).await
        }
        ["hangup"] => kit.hangup(call_id()?).await,
        // How much the microphone had said by then: from there on, and up to there, nothing of it may be heard.
        ["mute"] => {
            let muted = kit.mute().await;
            say(json!({ "event": "muted", "spoken": SPOKEN.load(Ordering::Relaxed) * FRAME_SAMPLES as u64 }));
            muted
        }
        ["unmute"] => {
            say(json!({ "event": "unmuting", "spoken": SPOKEN.load(Ordering::Relaxed) * FRAME_SAMPLES as u64 }));
            kit.unmute().await
        }
        ["release"] => {
            let released = kit.release_rtc().await;
            say(json!({ "event": "released" }));
            released
        }
        ["init"] => {
            let ready = kit.init_rtc().await;
            say(json!({ "event": "initialized" }));
            ready
        }
        ["mark"] => {
            say(json!({ "event": "mark" }));
            Ok(())
        }
        ["quality"] => {
            say(quality(kit.call_quality().await));
            Ok(())
        }
        _ => return Err("not understood".into()),
    };
    done.map_err(|error| error.to_string())
}

fn quality(quality: Option<CallQuality>) -> Value {
    let Some(q) = quality else { return json!({ "event": "quality" }) };
    json!({
        "event": "quality", "rtt_ms": q.rtt_ms, "loss": q.loss, "lost": q.lost_packets, "received": q.received_packets,
        "sent": q.sent_packets, "jitter_ms": q.jitter_ms, "buffer_ms": q.jitter_buffer_ms,
        "target_ms": q.jitter_buffer_target_ms, "concealed": q.concealed, "late": q.late_packets,
        "recovered": q.recovered_packets, "bitrate_in": q.bitrate_in, "bitrate_out": q.bitrate_out,
        "input_level": q.input_level, "output_level": q.output_level,
    })
}

/// Sound that was given to the output since it was opened, in frames of 10 ms.
static HEARD: AtomicU64 = AtomicU64::new(0);
/// Sound that was taken from the input since it was opened, in frames of 10 ms.
static SPOKEN: AtomicU64 = AtomicU64::new(0);

/// Prints one line with the present time, and how much sound was heard until now.
pub(super) fn say(mut what: Value) {
    what["at_us"] = json!(now_us());
    what["heard_ms"] = json!(HEARD.load(Ordering::Relaxed) * 10);
    // Whoever started this process and no longer reads has ended it.
    let _ = writeln!(std::io::stdout().lock(), "{what}");
}

struct Lines {
    current: Arc<Mutex<Option<CallId>>>,
}

impl Lines {
    fn event(&self, event: &CallKitEvent) {
        let detail = match event {
            CallKitEvent::ReceiveCall { call_id, user, .. } => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(*call_id);
                user.to_string()
            }
            CallKitEvent::CallMerged { call_id, .. } => {
                *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(*call_id);
                String::new()
            }
            CallKitEvent::CallWaiting { user, .. } | CallKitEvent::CallMissed { user, .. } => user.to_string(),
            CallKitEvent::CallHeld { held, .. } | CallKitEvent::PeerHeld { held, .. } => held.to_string(),
            CallKitEvent::UserJoined { uid, user, .. } => match user {
                Some(user) => format!("{user} as {uid}"),
                None => uid.to_string(),
            },
            CallKitEvent::UserMuteAudio { muted, .. } => muted.to_string(),
            CallKitEvent::CallEnd { reason, .. } => reason.to_string(),
            CallKitEvent::PeerReachable { reachable, .. } => reachable.to_string(),
            CallKitEvent::ConnectionChanged { state: ConnectionState::Connected, .. } => "connected".into(),
            CallKitEvent::ConnectionChanged { state: ConnectionState::Reconnecting, .. } => "reconnecting".into(),
            CallKitEvent::ConnectionChanged { state: ConnectionState::SignedOut(reason), .. } => {
                format!("signed out: {reason}")
            }
            CallKitEvent::Error { error, .. } => error.to_string(),
            _ => String::new(),
        };
        say(json!({ "event": event.name(), "detail": detail }));
    }
}

impl CallKitEventHandler for Lines {
    fn on_event(&self, event: &CallKitEvent) {
        self.event(event);
    }
}

fn input(what: &str) -> Result<AudioInput, String> {
    Ok(match what {
        "speech" => sound::speech(),
        "reply" => sound::reply()?,
        "voice" => AudioInput::Voice { seed: 1 },
        "sweep" => sweep::input(),
        "silence" => AudioInput::Silence,
        "mic" => AudioInput::Default,
        file => AudioInput::Wav { path: PathBuf::from(file), looped: true },
    })
}

fn output(what: &str) -> AudioOutput {
    match what {
        "nowhere" => AudioOutput::Null,
        "speaker" => AudioOutput::Default,
        file => AudioOutput::Wav(PathBuf::from(file)),
    }
}

/// The same input; tells when its first frame was taken.
fn stamped_input(input: AudioInput) -> AudioInput {
    AudioInput::custom(move || {
        SPOKEN.store(0, Ordering::Relaxed);
        Ok(Box::new(Stamped { inner: input.open()?, event: Some("first_spoken"), is_silent: true }))
    })
}

/// The same output; tells when its first frame was given, and when the first one that is not silent was.
fn stamped_output(output: AudioOutput) -> AudioOutput {
    AudioOutput::custom(move || {
        HEARD.store(0, Ordering::Relaxed);
        Ok(Box::new(Stamped { inner: output.open()?, event: Some("first_played"), is_silent: true }))
    })
}

struct Stamped<T> {
    inner: T,
    event: Option<&'static str>,
    /// Nothing but silence has come by.
    is_silent: bool,
}

impl<T> Stamped<T> {
    fn stamp(&mut self) {
        if let Some(event) = self.event.take() {
            say(json!({ "event": event }));
        }
    }
}

impl AudioSource for Stamped<Box<dyn AudioSource>> {
    fn read(&mut self, frame: &mut Frame) -> Result<ReadOutcome, DeviceError> {
        self.stamp();
        SPOKEN.fetch_add(1, Ordering::Relaxed);
        self.inner.read(frame)
    }
}

impl AudioSink for Stamped<Box<dyn AudioSink>> {
    fn write(&mut self, frame: &Frame) -> Result<(), DeviceError> {
        self.stamp();
        if self.is_silent && frame.0.iter().any(|sample| *sample != 0.0) {
            self.is_silent = false;
            say(json!({ "event": "first_sound" }));
        }
        HEARD.fetch_add(1, Ordering::Relaxed);
        self.inner.write(frame)
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.inner.finish()
    }
}
