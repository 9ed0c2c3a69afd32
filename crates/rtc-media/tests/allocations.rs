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
use rtc_media::{
    AudioInput, AudioOutput, Cadence, Clip, Frame, Handset, LevelMeter, Mixer, VoiceReceiver, VoiceReceiverConfig,
};

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
fn a_handset_allocates_its_packets_and_nothing_else() {
    let path = Path { loss: 0.05, jitter: 15.0, ..Path::default() };
    let traffic = send(&Plan { path, seconds: 20.0, input: AudioInput::Voice { seed: 2 }, ..Plan::default() });
    let interval = LevelMeter::DEFAULT_INTERVAL;
    let mut handset = Handset::new(Default::default(), VoiceReceiverConfig::default(), interval).unwrap();
    handset.set_microphone(Some(AudioInput::Voice { seed: 5 }.open().unwrap()));
    handset.set_loudspeaker(Some(AudioOutput::Null.open().unwrap()));
    handset.set_sending(true);
    let (tones, clip) = ([Cadence::HOLD.clip(), Cadence::WAITING.clip()], Clip::new([0.1; 9_600]));
    let epoch = epoch();
    let mut arrivals = traffic.arrivals.into_iter().peekable();
    let (mut allocated, mut packets) = (0, 0);
    for n in 0..2000_usize {
        let now = n as f64 * 10.0;
        while let Some((at, packet)) = arrivals.next_if(|(at, _)| *at <= now) {
            handset.insert(epoch + ms(at), packet);
        }
        let (tone, clip) = (Some(tones[n / 300 % 2].clone()).filter(|_| n / 100 % 2 == 0), clip.clone());
        let mut tick = None;
        let ticking = allocations::during(|| {
            handset.set_muted(n / 150 % 2 == 0);
            handset.set_peer_audible(n / 70 % 2 == 0);
            handset.set_tone(tone);
            if n % 90 == 0 {
                handset.play_once(clip);
            }
            tick = Some(handset.tick(epoch + ms(now)));
        });
        if n > 100 {
            allocated += ticking;
            packets += u64::from(tick.unwrap().voice.is_some());
        }
    }
    assert!(packets > 900);
    assert_eq!(allocated, packets);
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
