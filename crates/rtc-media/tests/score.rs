//! The measuring tool tells right from wrong.
#![allow(clippy::unwrap_used, reason = "what a test unwraps is what it tests")]

use rtc_media::{AudioInput, Frame, SAMPLE_RATE, score::score};

fn sound(input: AudioInput, seconds: f32) -> Vec<f32> {
    let mut source = input.open().unwrap();
    let mut frame = Frame::default();
    let mut samples = Vec::new();
    for _ in 0..(seconds * 100.0) as usize {
        source.read(&mut frame).unwrap();
        samples.extend_from_slice(&frame.0);
    }
    samples
}

fn speech() -> Vec<f32> {
    sound(AudioInput::Speech { looped: false }, 8.7)
}

fn voice(seed: u64) -> Vec<f32> {
    sound(AudioInput::Voice { seed }, 10.0)
}

fn delayed(sound: &[f32], samples: usize) -> Vec<f32> {
    let mut delayed = vec![0.0; samples];
    delayed.extend_from_slice(sound);
    delayed
}

fn rms(samples: &[f32]) -> f32 {
    (samples.iter().map(|sample| sample * sample).sum::<f32>() / samples.len() as f32).sqrt()
}

#[test]
fn the_same_sound_is_found_at_its_delay() {
    for (said, ms) in [(speech(), 0), (speech(), 77), (voice(1), 1234)] {
        let found = score(&said, &delayed(&said, ms * SAMPLE_RATE as usize / 1000));
        assert!((found.delay_ms - ms as f32).abs() < 0.3, "{found:?}, not {ms} ms");
        assert!(found.similarity > 0.98, "{found:?}");
        assert!(found.found > 0.99, "{found:?}");
    }
}

#[test]
fn a_recording_that_began_too_late_or_ended_too_early_is_asked_for_what_it_has() {
    let said = speech();
    let found = score(&said, &said[SAMPLE_RATE as usize..]);
    assert!((found.delay_ms + 1000.0).abs() < 0.3, "{found:?}");
    assert!(found.similarity > 0.98, "{found:?}");
    let found = score(&said, &said[..3 * SAMPLE_RATE as usize]);
    assert!(found.delay_ms.abs() < 0.3 && found.similarity > 0.98, "{found:?}");
}

#[test]
fn loudness_does_not_matter() {
    let said = speech();
    let quiet: Vec<f32> = said.iter().map(|sample| sample * 0.05).collect();
    assert!(score(&said, &quiet).similarity > 0.98);
}

#[test]
fn a_delay_that_wanders_is_followed() {
    let said = speech();
    let mut heard = Vec::new();
    for (n, piece) in said.chunks(SAMPLE_RATE as usize).enumerate() {
        heard.extend(std::iter::repeat_n(0.0, 480 * n));
        heard.extend_from_slice(piece);
    }
    let found = score(&said, &heard);
    assert!(found.similarity > 0.85, "{found:?}");
}

#[test]
fn other_speech_is_not_taken_for_it() {
    for (said, heard) in [(speech(), voice(1)), (voice(1), voice(2)), (voice(3), speech()), (voice(5), voice(6))] {
        let found = score(&said, &heard);
        assert!(found.similarity < 0.2, "{found:?}");
        assert!(found.found < 0.3, "{found:?}");
    }
}

#[test]
fn noise_and_silence_and_tones_are_nothing() {
    let said = speech();
    for heard in [
        sound(AudioInput::Noise { seed: 1, amplitude: 0.3 }, 9.0),
        sound(AudioInput::Silence, 9.0),
        sound(AudioInput::Tone { hz: 440.0, amplitude: 0.3 }, 9.0),
    ] {
        let found = score(&said, &heard);
        assert!(found.similarity < 0.15, "{found:?}");
    }
    assert_eq!(score(&said, &[]).pieces, 0);
    assert_eq!(score(&[], &said).similarity, 0.0);
    assert_eq!(score(&[0.0; 48_000], &said).similarity, 0.0);
}

#[test]
fn noise_on_top_costs_by_its_loudness() {
    let said = speech();
    let noise = sound(AudioInput::Noise { seed: 1, amplitude: 1.0 }, 8.7);
    let similarity_at = |snr_db: f32| {
        let gain = rms(&said) / rms(&noise) * 10f32.powf(-snr_db / 20.0);
        let heard: Vec<f32> = said.iter().zip(&noise).map(|(said, noise)| said + gain * noise).collect();
        score(&said, &heard).similarity
    };
    let (clean, bad, terrible) = (similarity_at(40.0), similarity_at(10.0), similarity_at(-5.0));
    assert!(clean > 0.9, "{clean}");
    assert!(bad < clean - 0.05 && bad > terrible + 0.1, "{clean} {bad} {terrible}");
    assert!(terrible < 0.6, "{terrible}");
}

#[test]
fn gaps_cost_their_share() {
    let said = voice(1);
    for (share, expected) in [(0.1, 0.9), (0.3, 0.7), (0.6, 0.4)] {
        let mut heard = said.clone();
        for second in heard.chunks_mut(SAMPLE_RATE as usize / 2) {
            let gap = (second.len() as f32 * share) as usize;
            second[..gap].fill(0.0);
        }
        let found = score(&said, &heard);
        assert!((found.similarity - expected).abs() < 0.15, "{share} missing: {found:?}");
    }
}

#[test]
fn sound_where_nothing_was_said_is_wrong() {
    let mut said = speech();
    said.extend(vec![0.0; said.len()]);
    let mut heard = said.clone();
    let half = said.len() / 2;
    heard[half..].copy_from_slice(&voice(1)[..half]);
    let found = score(&said, &heard);
    assert!(found.similarity < 0.65, "{found:?}");
}

#[test]
fn a_sound_played_twice_as_often_or_backwards_is_wrong() {
    let said = speech();
    let backwards: Vec<f32> = said.iter().rev().copied().collect();
    assert!(score(&said, &backwards).similarity < 0.2);
    let chopped: Vec<f32> = said.chunks_exact(960).step_by(2).flatten().copied().collect();
    let found = score(&said, &chopped);
    assert!(found.similarity < 0.6, "{found:?}");
}
