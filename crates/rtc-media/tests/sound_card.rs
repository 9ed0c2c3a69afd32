//! The system's real devices, as far as this machine has any.
#![cfg(feature = "cpal")]

use rtc_media::{AudioInput, AudioOutput, DeviceError, Direction, input_devices, output_devices};

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
