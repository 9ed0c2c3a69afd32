//! Whatever comes in whatever order, sound goes on.
#![allow(clippy::unwrap_used, reason = "what a test unwraps is what it tests")]

mod network;

use std::sync::LazyLock;

use network::{epoch, ms};
use proptest::{prelude::*, test_runner::RngSeed};
use rtc_media::{AudioInput, Frame, VoiceEncoder, VoiceEncoderConfig, VoicePacket, VoiceReceiver, VoiceReceiverConfig};

#[derive(Clone, Debug)]
enum Step {
    /// The next packet of a well-behaved sender, or one some places before or after it.
    Insert {
        skew: i16,
    },
    /// Another header on a real payload.
    Forge {
        sequence: u16,
        timestamp: u32,
    },
    /// Garbage that may or may not look like Opus.
    Garbage {
        skew: i16,
        payload: Vec<u8>,
    },
    /// The clock jumps, also backwards.
    Elapse {
        ms: i32,
    },
    Pull {
        frames: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (-3i16..6).prop_map(|skew| Step::Insert { skew }),
        2 => (-400i16..400).prop_map(|skew| Step::Insert { skew }),
        1 => (any::<u16>(), any::<u32>()).prop_map(|(sequence, timestamp)| Step::Forge { sequence, timestamp }),
        2 => (-3i16..6, prop::collection::vec(any::<u8>(), 0..80))
            .prop_map(|(skew, payload)| Step::Garbage { skew, payload }),
        1 => (-500i32..4_000).prop_map(|ms| Step::Elapse { ms }),
        8 => (1u8..5).prop_map(|frames| Step::Pull { frames }),
    ]
}

fn encoded_voice() -> Vec<bytes::Bytes> {
    let config = VoiceEncoderConfig { complexity: 0, dtx: true, expected_loss_percent: 20, ..Default::default() };
    let mut encoder = VoiceEncoder::new(config).unwrap();
    let mut source = AudioInput::Voice { seed: 21 }.open().unwrap();
    let mut frame = Frame::default();
    let mut payloads = Vec::new();
    for n in 0..200 {
        source.read(&mut frame).unwrap();
        if n % 100 > 70 {
            frame.clear();
        }
        payloads.extend(encoder.push(&frame).unwrap().map(|packet| packet.payload.into()));
    }
    payloads
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pull_always_yields_finite_sound(steps in prop::collection::vec(step(), 1..150)) {
        static PAYLOADS: LazyLock<Vec<bytes::Bytes>> = LazyLock::new(encoded_voice);
        let payloads = &*PAYLOADS;
        let mut receiver = VoiceReceiver::new(VoiceReceiverConfig::default()).unwrap();
        let epoch = epoch() + ms(1_000_000.0);
        let mut now = epoch;
        let mut sequence = 65_000u16;
        let packet = |sequence: u16, payload| VoicePacket {
            sequence,
            timestamp: u32::from(sequence).wrapping_mul(960),
            marker: false,
            payload,
        };
        for step in steps {
            match step {
                Step::Insert { skew } => {
                    let at = sequence.wrapping_add_signed(skew);
                    receiver.insert(now, packet(at, payloads[usize::from(at) % payloads.len()].clone()));
                    sequence = sequence.wrapping_add(1);
                }
                Step::Forge { sequence, timestamp } => {
                    let payload = payloads[0].clone();
                    receiver.insert(now, VoicePacket { sequence, timestamp, marker: true, payload });
                }
                Step::Garbage { skew, payload } => {
                    receiver.insert(now, packet(sequence.wrapping_add_signed(skew), payload.into()));
                }
                Step::Elapse { ms: elapsed } => {
                    let elapsed_abs = ms(f64::from(elapsed.abs()));
                    now = if elapsed < 0 { now - elapsed_abs } else { now + elapsed_abs };
                }
                Step::Pull { frames } => {
                    for _ in 0..frames {
                        let frame = receiver.pull(now);
                        prop_assert!(frame.0.iter().all(|sample| sample.is_finite() && sample.abs() <= 2.0));
                        now += ms(10.0);
                    }
                }
            }
        }
        let stats = receiver.stats();
        prop_assert!(stats.delay_ms.is_finite() && stats.target_ms.is_finite() && stats.jitter_ms.is_finite());
        prop_assert!(stats.concealed_samples <= stats.total_samples + 48_000);
    }
}
