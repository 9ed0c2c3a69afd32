//! Real speech through real Opus, a simulated network and the real receiver, measured by ear (the score).
#![allow(clippy::unwrap_used, reason = "what a test unwraps is what it tests")]

mod network;

use network::{
    Path,
    call::{Outcome, Plan, receive, run, send},
    epoch,
};
use rtc_media::{
    AudioInput, Frame, VoiceEncoder, VoiceEncoderConfig, VoicePacket, VoiceReceiver, VoiceReceiverConfig,
    score::{Score, score},
};

/// A cheaper coder than in a call: these tests are about the way, not the codec.
fn plan(path: Path) -> Plan {
    Plan {
        seconds: 20.0,
        path,
        encoder: VoiceEncoderConfig { complexity: 5, expected_loss_percent: 15, ..VoiceEncoderConfig::default() },
        input: AudioInput::Voice { seed: 11 },
        ..Plan::default()
    }
}

fn heard(plan: &Plan) -> (Outcome, Score) {
    let outcome = run(plan);
    let found = score(&outcome.spoken, &outcome.heard);
    (outcome, found)
}

#[test]
fn a_clean_path_adds_little_delay_and_nothing_else() {
    let (outcome, found) = heard(&Plan { input: AudioInput::Speech { looped: true }, ..plan(Path::default()) });
    assert!(found.similarity > 0.88, "{found:?}");
    assert!(found.found > 0.97, "{found:?}");
    let stats = outcome.stats;
    assert_eq!((stats.lost, stats.late, stats.duplicate, stats.malformed), (0, 0, 0, 0));
    assert_eq!(stats.concealed_samples, 0);
    assert!(stats.mean_delay_ms < 25.0, "{stats:?}");
    // 40 ms of network, 20 ms of packet, 6.5 ms of codec, the buffer and the grid of 10 ms.
    assert!((70.0..=95.0).contains(&found.delay_ms), "{found:?}");
}

#[test]
fn jitter_is_absorbed() {
    for (seed, reorders) in [(1, false), (2, true), (3, true)] {
        let path = Path { jitter: 15.0, reorders, duplicates: 0.02, ..Path::default() };
        let (outcome, found) = heard(&Plan { seed, ..plan(path) });
        assert!(found.similarity > 0.8, "seed {seed}: {found:?}");
        assert!(outcome.concealed_share() < 0.03, "seed {seed}: {:?}", outcome.stats);
        assert!(outcome.stats.duplicate > 0);
        assert_eq!(outcome.stats.reordered > 0, reorders);
    }
}

#[test]
fn loss_is_recovered_by_the_copies() {
    let path = Path { loss: 0.1, jitter: 2.0, ..Path::default() };
    let (with, found_with) = heard(&plan(path.clone()));
    let without_fec = VoiceEncoderConfig { fec: false, complexity: 5, ..VoiceEncoderConfig::default() };
    let (without, found_without) = heard(&Plan { encoder: without_fec, ..plan(path) });
    // The receiver cannot know of a loss at the very end.
    assert!((with.network_lost - 2..=with.network_lost).contains(&with.stats.lost), "{:?}", with.stats);
    assert!(with.stats.fec_recovered * 2 > with.network_lost, "{:?}", with.stats);
    assert_eq!(without.stats.fec_recovered, 0);
    assert!(with.concealed_share() < 0.6 * without.concealed_share(), "{:?} {:?}", with.stats, without.stats);
    assert!(found_with.similarity > found_without.similarity + 0.02, "{found_with:?} {found_without:?}");
}

#[test]
fn bursts_and_standstills_are_survived() {
    for seed in 1..=3 {
        let path = Path { burst: (0.02, 4.0), spike: (0.003, 250.0), jitter: 5.0, ..Path::default() };
        let (outcome, found) = heard(&Plan { seed, ..plan(path) });
        assert!(found.similarity > 0.6, "seed {seed}: {found:?} {:?}", outcome.stats);
        // No longer than a standstill, which is what it protects from.
        let worst = outcome.delays[1500..].iter().copied().fold(0.0, f32::max);
        assert!(worst < 350.0, "seed {seed}: {worst} ms");
    }
}

#[test]
fn clocks_that_drift_are_followed_without_a_gap() {
    for drift_ppm in [-200.0, 200.0] {
        let (outcome, found) = heard(&Plan { seconds: 60.0, drift_ppm, ..plan(Path::default()) });
        assert!(outcome.concealed_share() < 0.001, "{drift_ppm} ppm: {:?}", outcome.stats);
        assert!(found.similarity > 0.85, "{drift_ppm} ppm: {found:?}");
        let (early, late) = (outcome.delays[1000], outcome.delays[outcome.delays.len() - 1]);
        assert!((early - late).abs() < 12.0, "{drift_ppm} ppm: {early} ms, then {late} ms");
    }
}

#[test]
fn a_longer_path_is_taken_within_seconds() {
    for step in [120.0, -30.0] {
        let path = Path { step: (8_000.0, step), jitter: 2.0, ..Path::default() };
        let (outcome, found) = heard(&plan(path));
        assert!(outcome.concealed_share() < 0.03, "{step}: {:?}", outcome.stats);
        assert!(outcome.delays[outcome.delays.len() - 1] < 40.0, "{step}: {:?}", outcome.stats);
        assert!(found.similarity > 0.7, "{step}: {found:?}");
    }
}

#[test]
fn numbers_wrap_in_the_middle_of_a_call() {
    let encoder = VoiceEncoderConfig { first_timestamp: u32::MAX - 200_000, complexity: 5, ..Default::default() };
    let (outcome, found) =
        heard(&Plan { first_sequence: 65_300, encoder, ..plan(Path { jitter: 3.0, ..Path::default() }) });
    assert_eq!(outcome.stats.lost, 0);
    assert_eq!(outcome.stats.restarts, 0);
    assert!(found.similarity > 0.85, "{found:?}");
}

/// Speech with long pauses of digital silence.
fn halting_speech() -> AudioInput {
    let mut source = AudioInput::Voice { seed: 5 }.open().unwrap();
    let mut samples = Vec::new();
    let mut frame = Frame::default();
    for n in 0..2000 {
        source.read(&mut frame).unwrap();
        let silent = n % 400 >= 200;
        samples.extend(frame.0.iter().map(|sample| if silent { 0.0 } else { *sample }));
    }
    AudioInput::Samples { samples: samples.into(), looped: false }
}

#[test]
fn pauses_are_not_sent_and_cost_nothing() {
    let encoder = VoiceEncoderConfig { dtx: true, complexity: 5, ..VoiceEncoderConfig::default() };
    let path = Path { jitter: 5.0, ..Path::default() };
    let (outcome, found) = heard(&Plan { encoder, input: halting_speech(), ..plan(path) });
    assert!(outcome.packets < 750, "{} packets of 1000 were sent", outcome.packets);
    assert_eq!(outcome.stats.lost, 0);
    assert!(outcome.concealed_share() < 0.01, "{:?}", outcome.stats);
    assert!(found.similarity > 0.8, "{found:?}");
}

#[test]
fn the_first_packet_after_a_pause_is_marked() {
    let config = VoiceEncoderConfig { dtx: true, ..VoiceEncoderConfig::default() };
    let mut encoder = VoiceEncoder::new(config).unwrap();
    let mut source = halting_speech().open().unwrap();
    let mut frame = Frame::default();
    let mut sent = Vec::new();
    for _ in 0..1000 {
        source.read(&mut frame).unwrap();
        sent.extend(encoder.push(&frame).unwrap());
    }
    assert!(sent[0].marker);
    let after_gaps = sent.windows(2).filter(|pair| pair[1].timestamp - pair[0].timestamp > 960).count();
    let marked = sent.windows(2).filter(|pair| pair[1].marker).count();
    assert!(after_gaps > 0);
    assert_eq!(after_gaps, marked);
    assert!(sent.windows(2).all(|pair| pair[1].marker == (pair[1].timestamp - pair[0].timestamp > 960)));
}

#[test]
fn a_muted_sender_keeps_its_clock() {
    let mut encoder = VoiceEncoder::new(VoiceEncoderConfig::default()).unwrap();
    let frame = Frame([0.1; 480]);
    assert!(encoder.push(&frame).unwrap().is_none());
    assert_eq!(encoder.push(&frame).unwrap().unwrap().timestamp, 0);
    encoder.push(&frame).unwrap();
    encoder.skip(100);
    encoder.push(&frame).unwrap();
    let next = encoder.push(&frame).unwrap().unwrap();
    assert_eq!(next.timestamp, 960 + 480 + 100 * 480);
    assert!(next.marker);
}

#[test]
fn levels_tell_speech_from_silence() {
    let mut encoder = VoiceEncoder::new(VoiceEncoderConfig::default()).unwrap();
    let mut source = halting_speech().open().unwrap();
    let mut frame = Frame::default();
    let mut levels = Vec::new();
    for _ in 0..400 {
        source.read(&mut frame).unwrap();
        levels.extend(encoder.push(&frame).unwrap().map(|packet| packet.level));
    }
    assert!(levels[20..90].iter().filter(|level| level.voice && level.minus_dbov < 60).count() > 50);
    assert!(levels[130..].iter().all(|level| !level.voice && level.minus_dbov == 127));
}

#[test]
fn a_sender_that_starts_anew_is_heard_again() {
    let first = send(&plan(Path::default()));
    let second_plan = Plan {
        seed: 2,
        first_sequence: 33_333,
        encoder: VoiceEncoderConfig { first_timestamp: 2_222_222_222, complexity: 5, ..Default::default() },
        input: AudioInput::Voice { seed: 12 },
        ..plan(Path::default())
    };
    let second = send(&second_plan);
    let offset = 20_500.0;
    let mut arrivals = first.arrivals.clone();
    arrivals.extend(second.arrivals.iter().map(|(at, packet)| (at + offset, packet.clone())));
    let mut receiver = VoiceReceiver::new(VoiceReceiverConfig::default()).unwrap();
    let (heard, _) = receive(epoch(), &mut receiver, &arrivals, offset + 20_000.0);
    assert_eq!(receiver.stats().restarts, 1);
    assert!(receiver.stats().delay_ms < 40.0);
    let from = (offset as usize) * 48;
    assert!(score(&first.spoken, &heard[..from]).similarity > 0.85);
    assert!(score(&second.spoken, &heard[from..]).similarity > 0.85);
}

#[test]
fn packets_that_are_no_opus_are_counted_and_harmless() {
    let traffic = send(&plan(Path::default()));
    let mut arrivals = Vec::new();
    for (n, (at, packet)) in traffic.arrivals.iter().enumerate() {
        arrivals.push((*at, packet.clone()));
        if n % 10 == 0 {
            arrivals.push((*at, VoicePacket { payload: bytes::Bytes::new(), ..packet.clone() }));
            arrivals.push((*at, VoicePacket { payload: bytes::Bytes::from_static(&[3, 0]), ..packet.clone() }));
        }
    }
    let mut receiver = VoiceReceiver::new(VoiceReceiverConfig::default()).unwrap();
    let (heard, _) = receive(epoch(), &mut receiver, &arrivals, 20_000.0);
    assert_eq!(receiver.stats().malformed, 200);
    assert!(score(&traffic.spoken, &heard).similarity > 0.85);
}

#[test]
fn other_frame_lengths_of_other_senders_are_heard() {
    for packet_ms in [10usize, 40, 60] {
        let samples = packet_ms * 48;
        let mut coder = opus::Encoder::new(48_000, opus::Channels::Mono, opus::Application::Voip).unwrap();
        let mut source = AudioInput::Voice { seed: 8 }.open().unwrap();
        let (mut spoken, mut arrivals, mut frame) = (Vec::new(), Vec::new(), Frame::default());
        for n in 0..15_000 / packet_ms {
            for _ in 0..packet_ms / 10 {
                source.read(&mut frame).unwrap();
                spoken.extend_from_slice(&frame.0);
            }
            let payload = coder.encode_vec_float(&spoken[n * samples..], 1275).unwrap().into();
            let packet = VoicePacket { sequence: n as u16, timestamp: (n * samples) as u32, marker: n == 0, payload };
            // Jitter of a third of a packet, to make the buffer stretch.
            let late = if n % 7 == 0 { packet_ms as f64 / 3.0 } else { 0.0 };
            arrivals.push((((n + 1) * packet_ms) as f64 + 30.0 + late, packet));
        }
        let mut receiver = VoiceReceiver::new(VoiceReceiverConfig::default()).unwrap();
        let (heard, _) = receive(epoch(), &mut receiver, &arrivals, 15_000.0);
        let found = score(&spoken, &heard);
        assert!(found.similarity > 0.75, "{packet_ms} ms: {found:?}, {:?}", receiver.stats());
        assert!(receiver.stats().delay_ms < 2.0 * packet_ms as f32 + 40.0, "{packet_ms} ms: {:?}", receiver.stats());
    }
}
