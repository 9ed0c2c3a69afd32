//! A real call on this machine: a server and two phones, each a process of its own.

mod check;
mod picture;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use serde_json::Value;
use tests::processes::host::{PhoneProcess, ServerProcess, at_us, now_us};
use tests::processes::phone::{PhoneOptions, run_if_asked};

/// A real call on this machine: Alice calls Bob through a real server, both speak and hear, Alice mutes for a moment, Bob hangs up.
///
/// Prints the timeline and the call's quality, writes what each heard as WAV and one picture (SVG), and fails if what was heard
/// is not what was said or an event is missing.
#[derive(Parser)]
#[command(name = "demo")]
struct Options {
    /// What Alice says: a WAV file of any rate, instead of the bundled speech
    #[arg(long, value_name = "FILE", conflicts_with = "mic")]
    speech: Option<PathBuf>,
    /// Alice is you: the system's microphone and speaker (what was heard cannot be checked then)
    #[arg(long)]
    mic: bool,
    /// Where to write the recordings and the picture
    #[arg(long, value_name = "FOLDER", default_value = "target/demo")]
    out: PathBuf,
    /// How long they talk, in s
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u32).range(6..=600))]
    seconds: u32,
}

fn main() -> ExitCode {
    run_if_asked();
    let options = Options::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\ndemo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How long Alice is muted, in s.
const MUTED_S: f64 = 1.5;

/// The call, with the wall times in µs of what a phone process says.
pub(crate) struct Story {
    pub(crate) alice: Vec<Value>,
    pub(crate) bob: Vec<Value>,
    pub(crate) mute_us: u64,
    pub(crate) unmute_us: u64,
}

impl Story {
    /// When the call began: Alice pressed the button.
    pub(crate) fn start_us(&self) -> u64 {
        first(&self.alice, "calling").unwrap_or_default()
    }
}

/// When an event first happened.
pub(crate) fn first(said: &[Value], event: &str) -> Option<u64> {
    said.iter().find(|line| line["event"] == event).map(at_us)
}

async fn run(options: &Options) -> Result<(), String> {
    let started_us = now_us();
    std::fs::create_dir_all(&options.out).map_err(|error| format!("{}: {error}", options.out.display()))?;
    let wav = |user: &str| options.out.join(format!("{user}-heard.wav"));
    let speech = match (&options.speech, options.mic) {
        (Some(file), _) => file.display().to_string(),
        (None, true) => "mic".into(),
        (None, false) => "speech".into(),
    };
    let server = ServerProcess::start(None, "127.0.0.1:0").await?;
    println!("server   callkitd --dev at {}", server.url);
    let phone = |user: &str, speak: &str, hear: String| PhoneOptions {
        user: user.into(),
        server: server.url.clone(),
        speak: speak.into(),
        hear,
        loopback: true,
        warm: true,
    };
    let alice_hears = if options.mic { "speaker".into() } else { wav("alice").display().to_string() };
    let alice = PhoneProcess::start(None, &phone("alice", &speech, alice_hears)).await?;
    let bob = PhoneProcess::start(None, &phone("bob", "reply", wav("bob").display().to_string())).await?;
    println!("phones   alice says {speech}, bob says the bundled speech from its middle\n");

    let story = call(alice, bob, options.seconds).await?;
    timeline(&story);
    if let Some(running_ms) = running_ms() {
        let heard_us = [&story.alice, &story.bob].into_iter().filter_map(|said| first(said, "first_audio")).min();
        let s = heard_us.map(|us| (running_ms as f64 + us.saturating_sub(started_us) as f64 / 1_000.0) / 1_000.0);
        println!(
            "command → first sound  {:.0} s, of which {:.0} s before the call",
            s.unwrap_or_default(),
            running_ms as f64 / 1_000.0
        );
    }
    quality_table(&story);
    let speech = (!options.mic).then_some(options.speech.as_deref());
    let picture = options.out.join("call.svg");
    let recordings = check::Recordings::read(&story, speech, &wav("alice"), &wav("bob"))?;
    picture::draw(&story, &recordings, &picture)?;
    let verdict = check::verdict(&story, &recordings);
    println!("\nwritten  {}", shown(&[&wav("bob"), &wav("alice"), &picture], options.mic));
    verdict
}

/// For how long the command that built this program had been running when it started it.
fn running_ms() -> Option<u64> {
    std::env::var("CALLKIT_DEMO_RUNNING_MS").ok()?.parse().ok()
}

fn shown(files: &[&Path], mic: bool) -> String {
    let kept = files.iter().filter(|file| !(mic && file.ends_with("alice-heard.wav")));
    kept.map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The call from invite to end.
async fn call(mut alice: PhoneProcess, mut bob: PhoneProcess, seconds: u32) -> Result<Story, String> {
    alice.tell("call bob").await?;
    bob.until("receive_call").await?;
    alice.until("ringing").await?;
    tokio::time::sleep(Duration::from_millis(700)).await; // sleeps: Bob reaches for his phone
    bob.tell("answer").await?;
    for phone in [&mut alice, &mut bob] {
        phone.until("first_audio").await?;
    }
    let before_mute = (f64::from(seconds) - MUTED_S) / 2.0;
    talk(&mut alice, &mut bob, before_mute).await?;
    alice.tell("mute").await?;
    let mute_us = at_us(&bob.until("user_mute_audio").await?);
    talk(&mut alice, &mut bob, MUTED_S).await?;
    alice.tell("unmute").await?;
    let unmute_us = at_us(&bob.until("user_mute_audio").await?);
    talk(&mut alice, &mut bob, before_mute).await?;
    bob.tell("hangup").await?;
    for phone in [&mut alice, &mut bob] {
        phone.until("call_end").await?;
    }
    // Completes the recordings.
    let (alice, bob) = (alice.quit().await?, bob.quit().await?);
    Ok(Story { alice, bob, mute_us, unmute_us })
}

/// Lets them talk, looking at the quality five times a second.
async fn talk(alice: &mut PhoneProcess, bob: &mut PhoneProcess, seconds: f64) -> Result<(), String> {
    let until = tokio::time::Instant::now() + Duration::from_secs_f64(seconds);
    let mut tick = tokio::time::interval(Duration::from_millis(200));
    while tokio::time::Instant::now() < until {
        tick.tick().await;
        for phone in [&mut *alice, &mut *bob] {
            phone.tell("quality").await?;
        }
        for phone in [&mut *alice, &mut *bob] {
            phone.until("quality").await?;
        }
    }
    Ok(())
}

fn timeline(story: &Story) {
    println!("{:>9}  {:<7}what happened", "ms", "who");
    let start = story.start_us();
    let mut lines: Vec<(u64, &str, &Value)> = Vec::new();
    for (who, said) in [("alice", &story.alice), ("bob", &story.bob)] {
        lines.extend(said.iter().map(|line| (at_us(line), who, line)));
    }
    lines.sort_by_key(|(at, ..)| *at);
    for (at, who, line) in lines {
        let text = match line["event"].as_str().unwrap_or_default() {
            "calling" => "invites bob".to_owned(),
            "receive_call" => format!("rings: {} calls", line["detail"].as_str().unwrap_or("?")),
            "ringing" => "hears the ringback".into(),
            "answering" => "accepts".into(),
            "answer" => "the call is accepted".into(),
            "joined_channel" => "joined the channel".into(),
            "user_joined" => format!("sees {} join", line["detail"].as_str().unwrap_or("?")),
            "first_audio" => "hears the first sound".into(),
            "user_mute_audio" if line["detail"] == "true" => "sees that the other is muted".into(),
            "user_mute_audio" => "sees that the other is unmuted".into(),
            "call_end" => format!("the call has ended: {}", line["detail"].as_str().unwrap_or("?")),
            "error" => format!("error: {}", line["detail"].as_str().unwrap_or("?")),
            _ => continue,
        };
        println!("{:>9.1}  {who:<7}{text}", (at as f64 - start as f64) / 1_000.0);
    }
    let span = |who: &[Value], event, since: Option<u64>| match (first(who, event), since) {
        (Some(at), Some(since)) => format!("{:.1} ms", (at as f64 - since as f64) / 1_000.0),
        _ => "never".into(),
    };
    let answered = first(&story.bob, "answering");
    println!("\ninvite → ring          {}", span(&story.bob, "receive_call", Some(start)));
    println!(
        "accept → first sound   {} at bob, {} at alice",
        span(&story.bob, "first_audio", answered),
        span(&story.alice, "first_audio", answered)
    );
}

/// One line of the quality table: what, where it is found, decimals, factor.
const QUALITY: [(&str, &str, usize, f64); 9] = [
    ("round trip, ms", "rtt_ms", 2, 1.0),
    ("packets received", "received", 0, 1.0),
    ("packets lost", "lost", 0, 1.0),
    ("jitter, ms", "jitter_ms", 2, 1.0),
    ("jitter buffer, ms", "buffer_ms", 1, 1.0),
    ("sound guessed, %", "concealed", 2, 100.0),
    ("too late packets", "late", 0, 1.0),
    ("kbit/s in", "bitrate_in", 1, 0.001),
    ("kbit/s out", "bitrate_out", 1, 0.001),
];

fn quality_table(story: &Story) {
    println!("\n{:<22}{:>10}{:>10}", "call quality at", "alice", "bob");
    let last = |said: &[Value]| said.iter().rev().find(|line| line["event"] == "quality").cloned().unwrap_or_default();
    let (alice, bob) = (last(&story.alice), last(&story.bob));
    for (what, key, decimals, factor) in QUALITY {
        let figure = |quality: &Value| match quality[key].as_f64() {
            Some(value) => format!("{:.decimals$}", value * factor),
            None => "–".into(),
        };
        println!("{what:<22}{:>10}{:>10}", figure(&alice), figure(&bob));
    }
}
