//! Threads that open devices and look for them: the system, or the app, may take its time, and the rest of the sound goes on.

use std::io;
use std::sync::mpsc;
use std::thread::JoinHandle;

use rtc_media::{AudioInput, AudioOutput, AudioSink, AudioSource, DeviceError};

use super::slot::Found;
use crate::app_devices;

/// What waits for the next tick: one microphone and one loudspeaker are opened, and looked for, at a time.
const BROUGHT: usize = 4;

/// What a thread brings.
pub(super) struct Brought {
    /// The number of the device that was chosen as it began.
    pub(super) number: u64,
    pub(super) brings: Brings,
}

pub(super) enum Brings {
    Input(Result<(Found, Box<dyn AudioSource>), DeviceError>),
    Output(Result<(Found, Box<dyn AudioSink>), DeviceError>),
    /// Which device of the system it would be now.
    InputNow(Option<String>),
    OutputNow(Option<String>),
}

pub(super) struct Opener {
    threads: Vec<JoinHandle<()>>,
    brought: mpsc::Receiver<Brought>,
    bring: mpsc::SyncSender<Brought>,
}

impl Opener {
    pub(super) fn new() -> Opener {
        let (bring, brought) = mpsc::sync_channel(BROUGHT);
        Opener { threads: Vec::new(), brought, bring }
    }

    pub(super) fn next(&mut self) -> Option<Brought> {
        self.brought.try_recv().ok()
    }

    pub(super) fn open_input(&mut self, number: u64, input: &AudioInput, may_stand_in: bool) -> io::Result<()> {
        let input = input.clone();
        self.work(number, move || {
            let open = |input: &AudioInput| Ok((input.current_device(), app_devices::open_microphone(input)?));
            let may_stand_in = may_stand_in && matches!(input, AudioInput::Device(_));
            Brings::Input(chosen_or_default(&input, &AudioInput::Default, may_stand_in, open))
        })
    }

    pub(super) fn open_output(&mut self, number: u64, output: &AudioOutput, may_stand_in: bool) -> io::Result<()> {
        let output = output.clone();
        self.work(number, move || {
            let open = |output: &AudioOutput| Ok((output.current_device(), app_devices::open_loudspeaker(output)?));
            let may_stand_in = may_stand_in && matches!(output, AudioOutput::Device(_));
            Brings::Output(chosen_or_default(&output, &AudioOutput::Default, may_stand_in, open))
        })
    }

    pub(super) fn look_at_input(&mut self, number: u64, input: &AudioInput) {
        let input = input.clone();
        self.look(number, move || Brings::InputNow(input.current_device()));
    }

    pub(super) fn look_at_output(&mut self, number: u64, output: &AudioOutput) {
        let output = output.clone();
        self.look(number, move || Brings::OutputNow(output.current_device()));
    }

    fn look(&mut self, number: u64, work: impl FnOnce() -> Brings + Send + 'static) {
        // Without a thread nothing is seen to change, and nobody looks again.
        if let Err(error) = self.work(number, work) {
            tracing::warn!(%error, "no thread to look for devices");
        }
    }

    fn work(&mut self, number: u64, work: impl FnOnce() -> Brings + Send + 'static) -> io::Result<()> {
        self.threads.retain(|thread| !thread.is_finished());
        let bring = self.bring.clone();
        // What nobody waits for any more is let go of here.
        let work = move || drop(bring.send(Brought { number, brings: work() }));
        let thread = std::thread::Builder::new().name("callkit-device".into()).spawn(work)?;
        self.threads.push(thread);
        Ok(())
    }

    /// What is still being opened is let go of as the threads find nobody who takes it.
    pub(super) fn finish(&mut self) {
        let (_, nobody) = mpsc::sync_channel(1);
        drop(std::mem::replace(&mut self.brought, nobody));
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a device panicked as it was opened");
            }
        }
    }
}

/// The device that was chosen, or the system's own where that is not there.
fn chosen_or_default<C, D>(
    chosen: &C,
    default: &C,
    may_stand_in: bool,
    open: impl Fn(&C) -> Result<(Option<String>, D), DeviceError>,
) -> Result<(Found, D), DeviceError> {
    match open(chosen) {
        Ok((device, opened)) => Ok((Found { device, stands_in: false }, opened)),
        Err(DeviceError::UnknownDevice { .. } | DeviceError::NoDevice { .. } | DeviceError::Lost { .. })
            if may_stand_in =>
        {
            let (device, opened) = open(default)?;
            tracing::info!("the system's own device stands in for the chosen one");
            Ok((Found { device, stands_in: true }, opened))
        }
        Err(error) => Err(error),
    }
}
