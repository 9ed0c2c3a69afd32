//! WAV files as microphone and loudspeaker.
#![allow(clippy::unwrap_used, reason = "what a test unwraps is what it tests")]

use std::path::Path;

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use rtc_media::{AudioInput, AudioOutput, DeviceError, Frame, ReadOutcome, Recording, SPEECH_WAV, score::score};

fn read_all(input: &AudioInput) -> Vec<f32> {
    let mut source = input.open().unwrap();
    let mut frame = Frame::default();
    let mut samples = Vec::new();
    while source.read(&mut frame).unwrap() != ReadOutcome::Finished {
        samples.extend_from_slice(&frame.0);
    }
    samples
}

/// One second of a 400 Hz tone of half amplitude on the left and its half on the right, if there is one.
fn write_tone(path: &Path, spec: WavSpec) {
    let mut writer = WavWriter::create(path, spec).unwrap();
    for n in 0..spec.sample_rate {
        let sample = 0.5 * (std::f32::consts::TAU * 400.0 * n as f32 / spec.sample_rate as f32).sin();
        for channel in 0..spec.channels {
            let sample = if channel == 0 { sample } else { sample / 2.0 };
            match spec.sample_format {
                SampleFormat::Float => writer.write_sample(sample).unwrap(),
                SampleFormat::Int => {
                    let full_scale = (1u64 << (spec.bits_per_sample - 1)) as f32 - 1.0;
                    writer.write_sample((sample * full_scale) as i32).unwrap();
                }
            }
        }
    }
    writer.finalize().unwrap();
}

#[test]
fn any_rate_depth_and_channels_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tone.wav");
    for (sample_rate, channels, bits_per_sample, sample_format) in [
        (8_000, 1, 8, SampleFormat::Int),
        (16_000, 1, 16, SampleFormat::Int),
        (44_100, 2, 16, SampleFormat::Int),
        (48_000, 2, 24, SampleFormat::Int),
        (96_000, 1, 32, SampleFormat::Int),
        (22_050, 2, 32, SampleFormat::Float),
    ] {
        let spec = WavSpec { channels, sample_rate, bits_per_sample, sample_format };
        write_tone(&path, spec);
        let samples = read_all(&AudioInput::Wav { path: path.clone(), looped: false });
        assert!((47_500..=48_960).contains(&samples.len()), "{spec:?}: {} samples", samples.len());
        let amplitude = if channels == 1 { 0.5 } else { 0.375 };
        let middle = &samples[4_800..43_200];
        let peak = middle.iter().fold(0.0f32, |peak, sample| peak.max(sample.abs()));
        assert!((peak - amplitude).abs() < 0.01, "{spec:?}: peak {peak}");
        let rising = middle.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
        assert!((319..=321).contains(&rising), "{spec:?}: {rising} periods");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("heard.wav");
    let said = read_all(&AudioInput::Speech { looped: false });
    let mut sink = AudioOutput::Wav(path.clone()).open().unwrap();
    for frame in said.chunks_exact(480) {
        sink.write(&Frame(frame.try_into().unwrap())).unwrap();
    }
    sink.finish().unwrap();
    sink.finish().unwrap();
    assert!(matches!(sink.write(&Frame::SILENCE), Err(DeviceError::Finished)));

    let spec = WavReader::open(&path).unwrap().spec();
    assert_eq!((spec.sample_rate, spec.channels, spec.bits_per_sample), (48_000, 1, 16));
    let heard = read_all(&AudioInput::Wav { path, looped: false });
    assert_eq!(heard.len(), said.len() / 480 * 480);
    assert!(said.iter().zip(&heard).all(|(said, heard)| (said - heard).abs() < 1e-4));
    assert!(score(&said, &heard).similarity > 0.98);
}

#[test]
fn a_file_whose_program_was_killed_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("killed.wav");
    let mut sink = AudioOutput::Wav(path.clone()).open().unwrap();
    assert_eq!(WavReader::open(&path).unwrap().duration(), 0, "valid from the first moment");
    for _ in 0..149 {
        sink.write(&Frame([0.25; 480])).unwrap();
    }
    // The sink never ends: neither finish nor drop, as after a kill.
    std::mem::forget(sink);
    let mut reader = WavReader::open(&path).unwrap();
    let samples: Vec<i16> = reader.samples().map(Result::unwrap).collect();
    assert!((48_000..=149 * 480).contains(&samples.len()), "{} samples", samples.len());
    assert!(samples.iter().all(|sample| *sample == 8192));
}

#[test]
fn what_is_too_loud_is_clipped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("loud.wav");
    let mut sink = AudioOutput::Wav(path.clone()).open().unwrap();
    sink.write(&Frame([3.0; 480])).unwrap();
    sink.write(&Frame([-3.0; 480])).unwrap();
    sink.write(&Frame([f32::NAN; 480])).unwrap();
    drop(sink);
    let samples: Vec<i16> = WavReader::open(&path).unwrap().samples().map(Result::unwrap).collect();
    assert_eq!((samples[0], samples[480], samples[960]), (32767, -32768, 0));
}

#[test]
fn files_that_cannot_be_used_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let wav = |name: &str| AudioInput::Wav { path: folder.path().join(name), looped: false };
    let message = |input: AudioInput| input.open().err().unwrap().to_string();
    assert!(message(wav("missing.wav")).contains("missing.wav"));
    std::fs::write(folder.path().join("text.wav"), "no sound").unwrap();
    assert!(message(wav("text.wav")).contains("text.wav"));
    std::fs::write(folder.path().join("cut.wav"), &SPEECH_WAV[..30]).unwrap();
    assert!(message(wav("cut.wav")).contains("cut.wav"));
    assert!(AudioOutput::Wav(folder.path().join("no/such/folder.wav")).open().is_err());
}

#[test]
fn a_recording_is_shared() {
    let recording = Recording::new();
    let output = recording.output();
    assert!(recording.is_empty());
    output.open().unwrap().write(&Frame([0.5; 480])).unwrap();
    output.open().unwrap().write(&Frame([0.25; 480])).unwrap();
    assert_eq!(recording.len(), 960);
    assert_eq!((recording.samples()[479], recording.samples()[480]), (0.5, 0.25));
}

#[test]
fn an_apps_own_devices_are_opened_anew_each_time() {
    let input = AudioInput::custom(|| AudioInput::Tone { hz: 100.0, amplitude: 0.5 }.open());
    let first = |input: &AudioInput| {
        let mut frame = Frame::default();
        input.open().unwrap().read(&mut frame).unwrap();
        frame
    };
    assert_eq!(first(&input), first(&input));
    let output = AudioOutput::custom(|| Err(DeviceError::Custom("no headset".to_owned())));
    assert_eq!(output.open().err().unwrap().to_string(), "no headset");
}
