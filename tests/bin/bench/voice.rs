//! One call: how late, how well, and at what cost the voice arrives.

use std::path::Path;
use std::time::Duration;

use rtc_media::score::{self, Score};
use tests::processes::host::{PhoneProcess, ServerProcess, at_us, cpu_ms, memory_kib};
use tests::processes::phone::PhoneOptions;
use tests::processes::sound;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long the call lasts, in s
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

pub(crate) async fn run(options: &Options) -> Result<(), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let server = ServerProcess::start(None, "127.0.0.1:0").await?;
    let phone = |user: &str| PhoneOptions {
        user: user.into(),
        server: server.url.clone(),
        speak: "speech".into(),
        hear: folder.path().join(format!("{user}-heard.wav")).display().to_string(),
        loopback: true,
        warm: true,
    };
    let mut alice = PhoneProcess::start(None, &phone("alice")).await?;
    let mut bob = PhoneProcess::start(None, &phone("bob")).await?;
    alice.tell("call bob").await?;
    bob.until("receive_call").await?;
    bob.tell("answer").await?;
    for phone in [&mut alice, &mut bob] {
        phone.until("first_audio").await?;
    }
    let ids = [alice.id(), bob.id()].map(Option::unwrap_or_default);
    let before = ids.map(|id| cpu_ms(id).unwrap_or_default());
    tokio::time::sleep(Duration::from_secs(options.seconds)).await; // sleeps: the call that is measured
    let used = ids.map(|id| cpu_ms(id).unwrap_or_default());
    let peak = ids.map(|id| memory_kib(id, "VmHWM").unwrap_or_default());
    let mut quality = Vec::new();
    for phone in [&mut alice, &mut bob] {
        phone.tell("quality").await?;
        quality.push(phone.until("quality").await?);
    }
    alice.tell("hangup").await?;
    bob.until("call_end").await?;
    let said = [quit(alice).await?, quit(bob).await?];
    println!("{:<34}{:>12}{:>12}", format!("a call of {} s on loopback", options.seconds), "alice", "bob");
    let row = |what: &str, values: [String; 2]| println!("{what:<34}{:>12}{:>12}", values[0], values[1]);
    let scores = [heard(folder.path(), "alice")?, heard(folder.path(), "bob")?];
    let delay = |hears: usize, speaks: usize| -> String {
        let first = |who: usize, event: &str| said[who].iter().find(|line| line["event"] == event).map(at_us);
        match (first(speaks, "first_spoken"), first(hears, "first_played")) {
            (Some(spoken), Some(played)) => {
                let start = (played as f64 - spoken as f64) / 1_000.0;
                format!("{:.1}", f64::from(scores[hears].delay_ms) + start)
            }
            _ => "?".into(),
        }
    };
    row("mouth to ear, ms", [delay(0, 1), delay(1, 0)]);
    row("similarity to what was said, 0–1", [0, 1].map(|who| format!("{:.3}", scores[who].similarity)));
    row("pieces of speech found again", [0, 1].map(|who| format!("{:.1} %", scores[who].found * 100.0)));
    let share = |who: usize| (used[who] - before[who]) as f64 / (options.seconds * 10) as f64;
    row("CPU, share of one core", [0, 1].map(|who| format!("{:.2} %", share(who))));
    row("peak memory of the process, MiB", [0, 1].map(|who| format!("{:.1}", peak[who] as f64 / 1_024.0)));
    for (what, key) in
        [("jitter buffer, ms", "buffer_ms"), ("interarrival jitter, ms", "jitter_ms"), ("RTT, ms", "rtt_ms")]
    {
        row(what, [0, 1].map(|who| format!("{:.1}", quality[who][key].as_f64().unwrap_or(f64::NAN))));
    }
    row(
        "concealed",
        [0, 1].map(|who| format!("{:.2} %", quality[who]["concealed"].as_f64().unwrap_or(f64::NAN) * 100.0)),
    );
    Ok(())
}

async fn quit(phone: PhoneProcess) -> Result<Vec<serde_json::Value>, String> {
    phone.quit().await
}

fn heard(folder: &Path, who: &str) -> Result<Score, String> {
    let heard = sound::read_wav(&folder.join(format!("{who}-heard.wav")))?;
    Ok(score::score(&sound::take(&sound::speech(), heard.len())?, &heard))
}
