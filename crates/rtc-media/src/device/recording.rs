//! A sink that keeps what it hears, for tests and measurements.

use std::sync::{Arc, Mutex, PoisonError};

use super::{AudioOutput, AudioSink, DeviceError};
use crate::Frame;

/// A handle on what sinks opened from it heard; clones share the sound.
///
/// It grows without limit (11 MiB a minute), so it is for tests and measurements.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    samples: Arc<Mutex<Vec<f32>>>,
}

impl Recording {
    /// An empty recording.
    pub fn new() -> Recording {
        Recording::default()
    }

    /// The output that writes into this recording.
    pub fn output(&self) -> AudioOutput {
        AudioOutput::Recording(self.clone())
    }

    /// What was heard so far, 48 kHz mono.
    pub fn samples(&self) -> Vec<f32> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many samples were heard so far.
    pub fn len(&self) -> usize {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing was heard yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A sink that appends to this recording.
    pub fn sink(&self) -> impl AudioSink + use<> {
        self.clone()
    }
}

impl AudioSink for Recording {
    fn write(&mut self, frame: &Frame) -> Result<(), DeviceError> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&frame.0);
        Ok(())
    }

    fn finish(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}
