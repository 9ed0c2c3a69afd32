//! `cargo xtask bench jitter`: what one side of a voice call costs, and how the jitter buffer fares on bad networks.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]

#[path = "../tests/network/mod.rs"]
mod network;

use std::time::Instant;

use network::{
    Path,
    call::{Plan, receive, run, send},
    epoch,
};
use rtc_media::{
    AudioInput, Frame, VoiceEncoder, VoiceEncoderConfig, VoiceReceiver, VoiceReceiverConfig, score::score,
};

fn main() {
    println!("CPU of one call side, share of one core, 60 s of speech");
    encoder();
    receiver("receiver, clean path", Path::default());
    receiver("receiver, 10 % loss, 15 ms jitter", Path { loss: 0.1, jitter: 15.0, ..Path::default() });
    println!();
    println!("jitter buffer, 60 s of speech, 40 ms path, mean of 5 seeds");
    println!(
        "{:34} {:>9} {:>9} {:>10} {:>8} {:>10} {:>10}",
        "network", "delay ms", "target ms", "concealed", "FEC", "stretched", "similarity"
    );
    for (name, path) in networks() {
        trace(name, &path);
    }
}

fn networks() -> Vec<(&'static str, Path)> {
    let path = Path::default;
    vec![
        ("clean", path()),
        ("jitter 5 ms, in order", Path { jitter: 5.0, ..path() }),
        ("jitter 20 ms, in order", Path { jitter: 20.0, ..path() }),
        ("jitter 20 ms, out of order", Path { jitter: 20.0, reorders: true, ..path() }),
        ("loss 5 %", Path { loss: 0.05, jitter: 2.0, ..path() }),
        ("loss 20 %", Path { loss: 0.2, jitter: 2.0, ..path() }),
        ("loss 10 % in bursts of 3", Path { burst: (0.035, 3.0), jitter: 2.0, ..path() }),
        ("standstill 150 ms, every 10 s", Path { spike: (0.002, 150.0), jitter: 2.0, ..path() }),
        ("standstill 60 ms, every 2 s", Path { spike: (0.01, 60.0), jitter: 2.0, ..path() }),
        ("path 100 ms longer after 20 s", Path { step: (20_000.0, 100.0), jitter: 2.0, ..path() }),
    ]
}

fn encoder() {
    let mut source = AudioInput::Speech { looped: true }.open().expect("the speech is bundled");
    let mut frames = vec![Frame::default(); 6_000];
    for frame in &mut frames {
        source.read(frame).expect("memory does not fail");
    }
    let mut encoder = VoiceEncoder::new(VoiceEncoderConfig::default()).expect("the default is valid");
    let start = Instant::now();
    let mut bytes = 0;
    for frame in &frames {
        bytes += encoder.push(frame).expect("speech can be coded").map_or(0, |packet| packet.payload.len());
    }
    let cpu = start.elapsed().as_secs_f64() / 60.0 * 100.0;
    println!("  {:34} {cpu:5.2} %   {:.1} kbit/s", "encoder, complexity 9, FEC", bytes as f64 * 8.0 / 60_000.0);
}

fn receiver(name: &str, path: Path) {
    let plan = Plan { seconds: 60.0, path, ..Plan::default() };
    let traffic = send(&plan);
    let mut receiver = VoiceReceiver::new(VoiceReceiverConfig::default()).expect("the default is valid");
    let start = Instant::now();
    receive(epoch(), &mut receiver, &traffic.arrivals, 60_000.0);
    println!("  {name:34} {:5.2} %", start.elapsed().as_secs_f64() / 60.0 * 100.0);
}

fn trace(name: &str, path: &Path) {
    const SEEDS: u64 = 5;
    let (mut delay, mut target, mut concealed, mut fec, mut stretched, mut similarity) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for seed in 1..=SEEDS {
        let input = AudioInput::Voice { seed };
        let outcome = run(&Plan { seed, seconds: 60.0, path: path.clone(), input, ..Plan::default() });
        let stats = outcome.stats;
        delay += f64::from(stats.mean_delay_ms);
        target += f64::from(stats.target_ms);
        concealed += outcome.concealed_share() * 100.0;
        fec += stats.fec_recovered as f64 / outcome.packets as f64 * 100.0;
        stretched += (stats.accelerated_samples + stats.expanded_samples) as f64 / stats.total_samples as f64 * 100.0;
        similarity += f64::from(score(&outcome.spoken, &outcome.heard).similarity);
    }
    let mean = |sum: f64| sum / SEEDS as f64;
    println!(
        "{name:34} {:9.1} {:9.1} {:8.2} % {:6.2} % {:8.2} % {:10.3}",
        mean(delay),
        mean(target),
        mean(concealed),
        mean(fec),
        mean(stretched),
        mean(similarity)
    );
}
