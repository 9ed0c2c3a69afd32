//! The system's real devices, as far as this machine has any.
#![cfg(feature = "cpal")]
#![allow(clippy::unwrap_used, reason = "what a test unwraps is what it tests")]

use std::time::{Duration, Instant};

use rtc_media::{
    AudioInput, AudioOutput, AudioSink, AudioSource, DeviceError, Direction, FRAME_SAMPLES, Frame, input_devices,
    output_devices, score::score,
};

#[test]
fn a_name_that_does_not_exist_is_told() {
    let error = AudioInput::Device("no such microphone".to_owned()).open().err().unwrap();
    assert!(matches!(error, DeviceError::UnknownDevice { .. } | DeviceError::NoDevice { .. }), "{error}");
    let error = AudioOutput::Device("no such loudspeaker".to_owned()).open().err().unwrap();
    assert!(matches!(error, DeviceError::UnknownDevice { .. } | DeviceError::NoDevice { .. }), "{error}");
}

#[test]
fn the_default_devices_open_or_say_why_not() {
    if let Err(error) = AudioInput::Default.open() {
        assert!(error.to_string().contains("input device"), "{error}");
    }
    if let Err(error) = AudioOutput::Default.open() {
        assert!(error.to_string().contains("output device"), "{error}");
        assert!(error.to_string().contains(&Direction::Output.to_string()));
    }
    // Listing never fails: no device is an empty list.
    input_devices();
    output_devices();
}

/// A null sink and its monitor are a loudspeaker and a microphone in front of it, paced by the sound server:
/// `pactl load-module module-null-sink sink_name=rtc_media_null sink_properties=device.description=rtc-media-null`
#[test]
fn what_a_loudspeaker_plays_a_microphone_hears() {
    const LOUDSPEAKER: &str = "rtc-media-null";
    let microphone = input_devices().into_iter().find(|name| name.contains(LOUDSPEAKER));
    let loudspeaker = output_devices().into_iter().find(|name| name == LOUDSPEAKER);
    let (Some(microphone), Some(loudspeaker)) = (microphone, loudspeaker) else {
        println!("skipped: no sound server with a null sink called {LOUDSPEAKER} (or built without `pulseaudio`)");
        return;
    };
    let source = AudioInput::Device(microphone).open().unwrap();
    let sink = AudioOutput::Device(loudspeaker).open().unwrap();
    let (said, heard) = talk(source, sink);
    let found = score(&said, &heard);
    println!("{found:?}");
    // Real time on a busy machine has gaps; another sound would not reach half of this.
    assert!(found.similarity > 0.5, "{found:?}");
    assert!((0.0..400.0).contains(&found.delay_ms), "{found:?}");
}

/// Runs a media clock in real time, the only time a sound server knows: plays the speech and records what is heard meanwhile.
#[expect(clippy::disallowed_methods, reason = "a real device runs in real time")]
fn talk(mut source: Box<dyn AudioSource>, mut sink: Box<dyn AudioSink>) -> (Vec<f32>, Vec<f32>) {
    let mut speech = AudioInput::Speech { looped: true }.open().unwrap();
    let (mut said, mut heard, mut frame) = (Vec::new(), Vec::new(), Frame::default());
    let start = Instant::now();
    for tick in 1..=1000 {
        speech.read(&mut frame).unwrap();
        said.extend_from_slice(&frame.0);
        sink.write(&frame).unwrap();
        source.read(&mut frame).unwrap();
        heard.extend_from_slice(&frame.0);
        let due = start + Duration::from_millis(tick * 10);
        // sleeps: a sound server runs in real time, and this is the media clock.
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    assert_eq!(said.len(), 1000 * FRAME_SAMPLES);
    (said, heard)
}

/// With two null sinks, `rtc-media-null` and `rtc-media-two`, as above.
#[test]
fn the_systems_default_is_seen_to_change() {
    let sinks = ["rtc-media-null", "rtc-media-two"];
    let there = |name: &&str| output_devices().iter().any(|device| device == name);
    if !sinks.iter().all(there) {
        println!("skipped: no sound server with null sinks called {sinks:?} (or built without `pulseaudio`)");
        return;
    }
    let named = sinks.map(|name| AudioOutput::Device(name.to_owned()).current_device().unwrap());
    assert_ne!(named[0], named[1]);
    let set_default = |id: &str| {
        let sink = id.rsplit(':').next().unwrap();
        let set = std::process::Command::new("pactl").args(["set-default-sink", sink]).status();
        assert!(set.unwrap().success(), "pactl set-default-sink {sink}");
    };
    for device in &named {
        set_default(device);
        assert_eq!(AudioOutput::Default.current_device().as_ref(), Some(device));
    }
    assert_eq!(AudioOutput::Device("no such loudspeaker".to_owned()).current_device(), None);
    assert_eq!(AudioInput::Silence.current_device(), None);
}
