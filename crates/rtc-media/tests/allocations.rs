//! After it has warmed up the receiving path takes no memory: no lock of an allocator stands between a packet and the ear.
#![allow(clippy::unwrap_used, reason = "what a test unwraps is what it tests")]

#[path = "../src/allocations.rs"]
mod allocations;
mod network;

use network::{
    Path,
    call::{Plan, send},
    epoch, ms,
};
use rtc_media::{AudioInput, Frame, LevelMeter, Mixer, VoiceReceiver, VoiceReceiverConfig};

#[test]
fn the_counter_counts() {
    assert_eq!(allocations::during(|| drop(std::hint::black_box(vec![1u8; 100]))), 1);
}

#[test]
fn pulling_mixing_and_metering_allocate_nothing() {
    let path = Path { loss: 0.05, jitter: 15.0, spike: (0.002, 200.0), ..Path::default() };
    let traffic = send(&Plan { path, seconds: 20.0, input: AudioInput::Voice { seed: 2 }, ..Plan::default() });
    let mut receiver = VoiceReceiver::new(VoiceReceiverConfig::default()).unwrap();
    let (mut mixer, mut meter) = (Mixer::new(), LevelMeter::default());
    let epoch = epoch();
    let mut arrivals = traffic.arrivals.into_iter().peekable();
    let mut allocated = 0;
    for n in 0..2000 {
        let now = f64::from(n) * 10.0;
        while let Some((at, packet)) = arrivals.next_if(|(at, _)| *at <= now) {
            let inserting = allocations::during(|| receiver.insert(epoch + ms(at), packet));
            allocated += if n > 100 { inserting } else { 0 };
        }
        let playing = allocations::during(|| {
            mixer.add(receiver.pull(epoch + ms(now)));
            meter.push(&mixer.take());
        });
        allocated += if n > 100 { playing } else { 0 };
    }
    assert_eq!(allocated, 0);
    let stats = receiver.stats();
    assert!(stats.accelerated_samples > 0 && stats.expanded_samples > 0 && stats.concealed_samples > 0, "{stats:?}");
}

#[test]
fn reading_synthetic_sources_allocates_nothing() {
    for input in [
        AudioInput::Speech { looped: true },
        AudioInput::Tone { hz: 440.0, amplitude: 0.1 },
        AudioInput::Noise { seed: 1, amplitude: 0.1 },
        AudioInput::Voice { seed: 1 },
        AudioInput::Silence,
    ] {
        let mut source = input.open().unwrap();
        let mut frame = Frame::default();
        let allocated = allocations::during(|| {
            for _ in 0..1000 {
                assert!(source.read(&mut frame).is_ok());
            }
        });
        assert_eq!(allocated, 0, "{input:?}");
    }
}
