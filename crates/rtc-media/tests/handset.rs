//! Both ways of a conversation in virtual time: real codecs, a simulated network, devices that come, go and fail.
#![allow(clippy::unwrap_used, reason = "what a test unwraps is what it tests")]

mod network;

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use network::{epoch, ms};
use rtc_media::{
    AudioInput, AudioSource, Cadence, Clip, DeviceError, Direction, EncodedVoice, Frame, Handset, ReadOutcome,
    Recording, Tick, VoiceEncoderConfig, VoicePacket, VoiceReceiverConfig, score::score,
};

/// A handset, what it heard, and what is on its way to it.
struct End {
    handset: Handset,
    heard: Recording,
    coming: VecDeque<(f64, VoicePacket)>,
    sequence: u16,
    sent: Vec<EncodedVoice>,
}

impl End {
    fn new(input: &AudioInput) -> End {
        let encoder = VoiceEncoderConfig { complexity: 5, ..VoiceEncoderConfig::default() };
        let interval = Duration::from_millis(100);
        let mut handset = Handset::new(encoder, VoiceReceiverConfig::default(), interval).unwrap();
        let heard = Recording::new();
        handset.set_microphone(Some(input.open().unwrap()));
        handset.set_loudspeaker(Some(heard.output().open().unwrap()));
        handset.set_sending(true);
        End { handset, heard, coming: VecDeque::new(), sequence: 0, sent: Vec::new() }
    }

    fn singer(hz: f32) -> End {
        End::new(&AudioInput::Tone { hz, amplitude: 0.3 })
    }

    fn lately(&self, seconds: f32) -> Vec<f32> {
        let samples = self.heard.samples();
        samples[samples.len().saturating_sub((seconds * 48_000.0) as usize)..].to_vec()
    }
}

/// Two ends and the 40 ms between them.
struct Line {
    ends: [End; 2],
    /// Taken once: it is an arbitrary moment, and only differences count.
    epoch: Instant,
    now: f64,
}

const WAY_MS: f64 = 40.0;

impl Line {
    fn between(a: End, b: End) -> Line {
        Line { ends: [a, b], epoch: epoch(), now: 0.0 }
    }

    /// Goes on for so long; gives what the ticks of the first end told.
    fn run(&mut self, seconds: f64) -> Vec<Tick> {
        let mut told = Vec::new();
        for _ in 0..(seconds * 100.0) as u32 {
            for n in 0..2 {
                let end = &mut self.ends[n];
                while end.coming.front().is_some_and(|(at, _)| *at <= self.now) {
                    let (at, packet) = end.coming.pop_front().unwrap();
                    end.handset.insert(self.epoch + ms(at), packet);
                }
                let mut tick = end.handset.tick(self.epoch + ms(self.now));
                if let Some(voice) = tick.voice.take() {
                    let packet = VoicePacket {
                        sequence: end.sequence,
                        timestamp: voice.timestamp,
                        marker: voice.marker,
                        payload: voice.payload.clone().into(),
                    };
                    end.sequence = end.sequence.wrapping_add(1);
                    end.sent.push(voice);
                    self.ends[1 - n].coming.push_back((self.now + WAY_MS, packet));
                }
                if n == 0 {
                    told.push(tick);
                }
            }
            self.now += 10.0;
        }
        told
    }
}

fn loudness(sound: &[f32]) -> f32 {
    (sound.iter().map(|sample| sample * sample).sum::<f32>() / sound.len().max(1) as f32).sqrt()
}

/// How often a sound rises through zero in a second.
fn pitch(sound: &[f32]) -> f32 {
    let rising = sound.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
    rising as f32 / (sound.len() as f32 / 48_000.0)
}

#[test]
fn each_hears_what_the_other_says_and_how_loud_it_is() {
    let speech = AudioInput::Speech { looped: true };
    let mut line = Line::between(End::new(&speech), End::singer(440.0));
    line.run(8.0);
    let mut spoken = vec![0.0; 0];
    let (mut source, mut frame) = (speech.open().unwrap(), Frame::default());
    for _ in 0..800 {
        source.read(&mut frame).unwrap();
        spoken.extend_from_slice(&frame.0);
    }
    let found = score(&spoken, &line.ends[1].heard.samples());
    assert!(found.similarity > 0.85, "{found:?}");
    assert!((438.0..442.0).contains(&pitch(&line.ends[0].lately(1.0))));
    let levels = line.ends[0].handset.levels();
    // A sine of amplitude 0.3 is at -13.5 dBov: (60 - 13.5) / 60.
    assert!((levels.peer - 77.5).abs() < 2.0, "{levels:?}");
    assert!((levels.played - levels.peer).abs() < 0.5, "{levels:?}");
    assert!((line.ends[1].handset.levels().microphone - 77.5).abs() < 0.5);
}

#[test]
fn a_tone_is_played_to_the_own_ear_and_never_sent() {
    let mut line = Line::between(End::new(&AudioInput::Silence), End::new(&AudioInput::Silence));
    let tone = Clip::new((0..48_000).map(|n| 0.2 * (n as f32 * std::f32::consts::TAU * 500.0 / 48_000.0).sin()));
    line.ends[0].handset.set_tone(Some(tone.clone()));
    line.run(3.0);
    assert!((499.0..=501.0).contains(&pitch(&line.ends[0].lately(2.0))));
    assert!(loudness(&line.ends[1].heard.samples()) < 1e-4, "but for what a codec makes of silence");
    assert!(line.ends[0].sent.iter().all(|voice| voice.level.minus_dbov == 127));
    // The same again does not begin anew, another one takes its place, and none is silence.
    line.ends[0].handset.set_tone(Some(tone));
    line.run(0.5);
    let all = line.ends[0].heard.samples();
    let fastest = 0.2 * std::f32::consts::TAU * 500.0 / 48_000.0 * 1.05;
    assert!(all.windows(2).all(|pair| (pair[1] - pair[0]).abs() < fastest), "no click");
    line.ends[0].handset.set_tone(Some(Cadence::HOLD.clip()));
    line.run(5.0);
    line.ends[0].handset.set_tone(None);
    line.run(0.5);
    assert!(loudness(&line.ends[0].lately(0.4)) < 1e-4);
}

#[test]
fn a_tone_is_mixed_with_the_voice_and_a_clip_is_over_once() {
    let mut line = Line::between(End::new(&AudioInput::Silence), End::singer(440.0));
    line.run(1.0);
    let voice = loudness(&line.ends[0].lately(0.5));
    line.ends[0].handset.play_once(Clip::new((0..24_000).map(|n| if n % 48 < 24 { 0.2 } else { -0.2 })));
    let told = line.run(1.0);
    assert_eq!(told.iter().filter(|tick| tick.clip_over).count(), 1);
    assert_eq!(told.iter().position(|tick| tick.clip_over), Some(49), "half a second");
    let samples = line.ends[0].heard.samples();
    let mixed = loudness(&samples[48_000 + 4_800..48_000 + 19_200]);
    // Powers add up.
    assert!((mixed - (voice.powi(2) + 0.04).sqrt()).abs() < 0.02, "{mixed} of {voice}");
    assert!((loudness(&line.ends[0].lately(0.4)) - voice).abs() < 0.01);
}

#[test]
fn muted_is_silence_on_the_wire_and_a_level_of_zero_at_once() {
    let mut line = Line::between(End::singer(440.0), End::singer(700.0));
    line.run(1.0);
    assert!(line.ends[0].handset.levels().microphone > 70.0);
    let before = line.ends[0].sent.len();
    line.ends[0].handset.set_muted(true);
    assert_eq!(line.ends[0].handset.levels().microphone, 0.0);
    line.run(1.0);
    assert_eq!(line.ends[0].handset.levels().microphone, 0.0);
    let muted = &line.ends[0].sent[before + 1..];
    assert!(muted.len() >= 49 && muted.iter().all(|voice| voice.level.minus_dbov == 127));
    assert!(loudness(&line.ends[1].lately(0.5)) < 0.001);
    line.ends[0].handset.set_muted(false);
    line.run(1.0);
    assert!(line.ends[0].handset.levels().microphone > 70.0);
    assert!(loudness(&line.ends[1].lately(0.5)) > 0.1);
}

#[test]
fn what_is_not_sent_is_not_lost_and_the_time_goes_on() {
    let mut line = Line::between(End::singer(440.0), End::singer(700.0));
    line.run(1.0);
    line.ends[0].handset.set_sending(false);
    line.ends[1].handset.listen_anew().unwrap();
    line.run(0.1);
    let before = line.ends[0].sent.len();
    line.run(3.0);
    assert_eq!(line.ends[0].sent.len(), before, "nothing goes out");
    assert_eq!(line.ends[0].handset.levels().microphone, 0.0);
    line.ends[1].handset.listen_anew().unwrap();
    line.run(0.1);
    line.ends[0].handset.set_sending(true);
    line.run(2.0);
    let sent = &line.ends[0].sent;
    assert!(sent[before].marker, "the first after a pause");
    let pause = sent[before].timestamp.wrapping_sub(sent[before - 1].timestamp);
    assert!((3.1..3.4).contains(&(pause as f32 / 48_000.0)), "{pause}");
    assert!((438.0..442.0).contains(&pitch(&line.ends[1].lately(1.0))));
    let stats = line.ends[1].handset.receiver_stats();
    assert_eq!((stats.lost, stats.concealed_samples), (0, 0), "{stats:?}");
}

#[test]
fn a_silenced_voice_is_not_played_but_measured() {
    let mut line = Line::between(End::singer(440.0), End::singer(700.0));
    line.run(1.0);
    line.ends[0].handset.set_peer_audible(false);
    line.run(1.0);
    assert_eq!(loudness(&line.ends[0].lately(0.5)), 0.0);
    let levels = line.ends[0].handset.levels();
    assert!(levels.peer > 70.0 && levels.played == 0.0, "{levels:?}");
    assert!(loudness(&line.ends[1].lately(0.5)) > 0.1, "the other side notices nothing");
}

#[test]
fn without_a_loudspeaker_the_voice_stays_the_present_one() {
    let mut line = Line::between(End::singer(440.0), End::singer(700.0));
    let sink = line.ends[0].handset.set_loudspeaker(None);
    line.run(5.0);
    assert!(line.ends[0].heard.is_empty());
    assert!(line.ends[0].handset.levels().peer > 70.0);
    line.ends[0].handset.set_loudspeaker(sink);
    line.run(1.0);
    assert!((698.0..702.0).contains(&pitch(&line.ends[0].lately(0.8))));
    let stats = line.ends[0].handset.receiver_stats();
    assert!(stats.delay_ms < 60.0, "nothing has piled up: {stats:?}");
    assert_eq!(stats.concealed_samples, 0);
}

/// A microphone with a cable.
struct Unplugged(Box<dyn AudioSource>, Arc<AtomicBool>);

impl AudioSource for Unplugged {
    fn read(&mut self, frame: &mut Frame) -> Result<ReadOutcome, DeviceError> {
        match self.1.load(Relaxed) {
            true => self.0.read(frame),
            false => Err(DeviceError::Lost { direction: Direction::Input }),
        }
    }
}

#[test]
fn a_microphone_that_vanishes_is_told_once_and_silence_is_sent_on() {
    let mut line = Line::between(End::singer(440.0), End::singer(700.0));
    let plugged = Arc::new(AtomicBool::new(true));
    let tone = AudioInput::Tone { hz: 440.0, amplitude: 0.3 };
    line.ends[0].handset.set_microphone(Some(Box::new(Unplugged(tone.open().unwrap(), plugged.clone()))));
    line.run(1.0);
    let before = line.ends[0].sent.len();
    plugged.store(false, Relaxed);
    let told = line.run(2.0);
    let lost = |tick: &&Tick| matches!(tick.microphone_failed, Some(DeviceError::Lost { .. }));
    assert_eq!(told.iter().filter(lost).count(), 1);
    assert!(!line.ends[0].handset.has_microphone());
    assert_eq!(line.ends[0].sent.len() - before, 100, "the other side hears a pause, not a loss");
    assert_eq!(line.ends[0].handset.levels().microphone, 0.0);
    assert!(loudness(&line.ends[1].lately(0.5)) < 0.001);
    assert_eq!(line.ends[1].handset.receiver_stats().concealed_samples, 0);
    assert!((698.0..702.0).contains(&pitch(&line.ends[0].lately(0.8))), "and it is heard as before");
}
