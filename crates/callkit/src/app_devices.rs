//! Where an app's own devices run: one that panics has failed, is told as such, and takes nothing else with it.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rtc_media::{AudioInput, AudioOutput, AudioSink, AudioSource, DeviceError, Frame, ReadOutcome};

/// Opens a microphone. Blocks for as long as the system, or the app, takes.
pub(crate) fn open_microphone(input: &AudioInput) -> Result<Box<dyn AudioSource>, DeviceError> {
    let source = caught(|| input.open())?;
    Ok(Box::new(Contained(Some(source))))
}

/// Opens a loudspeaker. Blocks for as long as the system, or the app, takes.
pub(crate) fn open_loudspeaker(output: &AudioOutput) -> Result<Box<dyn AudioSink>, DeviceError> {
    let sink = caught(|| output.open())?;
    Ok(Box::new(Contained(Some(sink))))
}

fn caught<T>(work: impl FnOnce() -> Result<T, DeviceError>) -> Result<T, DeviceError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()))
}

fn panicked() -> DeviceError {
    DeviceError::Custom("the app's own device panicked".into())
}

/// A device of the app, until it panics.
struct Contained<D>(Option<D>);

impl<D> Contained<D> {
    fn run<T>(&mut self, work: impl FnOnce(&mut D) -> Result<T, DeviceError>) -> Result<T, DeviceError> {
        let Some(device) = &mut self.0 else { return Err(panicked()) };
        catch_unwind(AssertUnwindSafe(|| work(device))).unwrap_or_else(|_| {
            self.let_go();
            Err(panicked())
        })
    }

    fn let_go(&mut self) {
        let device = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(device))).is_err() {
            tracing::error!("a device of the app panicked as it was let go of");
        }
    }
}

impl AudioSource for Contained<Box<dyn AudioSource>> {
    fn read(&mut self, frame: &mut Frame) -> Result<ReadOutcome, DeviceError> {
        self.run(|source| source.read(frame))
    }
}

impl AudioSink for Contained<Box<dyn AudioSink>> {
    fn write(&mut self, frame: &Frame) -> Result<(), DeviceError> {
        self.run(|sink| sink.write(frame))
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        self.run(|sink| sink.finish())
    }
}

impl<D> Drop for Contained<D> {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Bomb;

    impl AudioSource for Bomb {
        fn read(&mut self, _: &mut Frame) -> Result<ReadOutcome, DeviceError> {
            panic!("an app's own microphone")
        }
    }

    impl AudioSink for Bomb {
        fn write(&mut self, _: &Frame) -> Result<(), DeviceError> {
            panic!("an app's own loudspeaker")
        }

        fn finish(&mut self) -> Result<(), DeviceError> {
            Ok(())
        }
    }

    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("and it takes its box along")
        }
    }

    #[test]
    fn a_device_that_panics_as_it_is_opened_used_or_let_go_of_has_failed_and_nothing_more() {
        let microphone = open_microphone(&AudioInput::custom(|| panic!("no driver")));
        assert!(matches!(microphone, Err(DeviceError::Custom(_))));
        let mut microphone = open_microphone(&AudioInput::custom(|| Ok(Box::new(Bomb)))).unwrap();
        let mut frame = Frame::SILENCE;
        for _ in 0..2 {
            assert!(matches!(microphone.read(&mut frame), Err(DeviceError::Custom(_))));
        }
        drop(microphone);
        let mut loudspeaker = open_loudspeaker(&AudioOutput::custom(|| Ok(Box::new(Bomb)))).unwrap();
        assert!(matches!(loudspeaker.write(&frame), Err(DeviceError::Custom(_))));
        assert!(matches!(loudspeaker.finish(), Err(DeviceError::Custom(_))));
        drop(loudspeaker);
        drop(open_loudspeaker(&AudioOutput::custom(|| Ok(Box::new(Bomb)))));
    }
}
