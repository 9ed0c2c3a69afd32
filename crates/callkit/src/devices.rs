//! Which microphone and which loudspeaker the app has chosen, before it signed in or later.

use rtc_media::{AudioInput, AudioOutput, Direction};

use crate::core::{Command, Core, Reply};
use crate::error::CallError;
use crate::kit::CallKit;
use crate::voice::Chosen;

/// The devices of a kit.
pub(crate) struct Devices {
    pub(crate) microphone: Choice<AudioInput>,
    pub(crate) loudspeaker: Choice<AudioOutput>,
}

impl Devices {
    pub(crate) fn new(input: AudioInput, output: AudioOutput) -> Devices {
        Devices { microphone: Choice::new(input), loudspeaker: Choice::new(output) }
    }
}

/// What the app has chosen, and what it was before while that is being opened.
pub(crate) struct Choice<D> {
    chosen: Chosen<D>,
    last_number: u64,
    trying: Option<Trying<D>>,
}

struct Trying<D> {
    /// What is used again if the chosen one cannot be opened.
    before: Chosen<D>,
    reply: Reply<()>,
}

impl<D: Clone> Choice<D> {
    fn new(device: D) -> Choice<D> {
        Choice { chosen: Chosen { number: 1, device }, last_number: 1, trying: None }
    }

    pub(crate) fn chosen(&self) -> Chosen<D> {
        self.chosen.clone()
    }

    fn choose(&mut self, device: D, reply: Reply<()>) {
        self.last_number += 1;
        let next = Chosen { number: self.last_number, device };
        let replaced = std::mem::replace(&mut self.chosen, next);
        // What was never opened is nothing to go back to.
        let before = match self.trying.take() {
            Some(Trying { before, reply }) => {
                let _ = reply.send(Err(CallError::Device("another one was chosen meanwhile".into())));
                before
            }
            None => replaced,
        };
        self.trying = Some(Trying { before, reply });
    }

    /// Nobody needs it now: whether it can be opened is seen when somebody does.
    fn is_not_needed(&mut self) {
        if let Some(Trying { reply, .. }) = self.trying.take() {
            let _ = reply.send(Ok(()));
        }
    }

    /// Whether another one is chosen now.
    fn opened(&mut self, number: u64, result: Result<(), String>, goes_on: bool) -> bool {
        if number != self.chosen.number {
            return false;
        }
        let Some(Trying { before, reply }) = self.trying.take() else { return false };
        let goes_back = result.is_err() && goes_on;
        if goes_back {
            self.chosen = before;
        }
        let _ = reply.send(result.map_err(CallError::Device));
        goes_back
    }
}

impl Core {
    pub(crate) fn choose_microphone(&mut self, input: AudioInput, reply: Reply<()>) {
        self.devices.microphone.choose(input, reply);
        self.update_sound();
    }

    pub(crate) fn choose_loudspeaker(&mut self, output: AudioOutput, reply: Reply<()>) {
        self.devices.loudspeaker.choose(output, reply);
        self.update_sound();
    }

    /// To be called when it is known which devices are in use.
    pub(crate) fn settle_choices(&mut self, microphone: bool, loudspeaker: bool) {
        if !microphone {
            self.devices.microphone.is_not_needed();
        }
        if !loudspeaker {
            self.devices.loudspeaker.is_not_needed();
        }
    }

    pub(crate) fn on_device_opened(
        &mut self,
        direction: Direction,
        number: u64,
        result: Result<(), String>,
        goes_on: bool,
    ) {
        let is_another = match direction {
            Direction::Input => self.devices.microphone.opened(number, result, goes_on),
            Direction::Output => self.devices.loudspeaker.opened(number, result, goes_on),
        };
        if is_another {
            self.update_sound();
        }
    }
}

/// Devices are chosen at any time, in a call too.
///
/// One that fails in a call is told and tried again: the system's default, or the chosen device, for which the default stands in until it is back. Where
/// the system's default changes in a call, the call follows.
impl CallKit {
    /// Uses this microphone from now on, in calls to come and in the present one. The one before is used until the new one is open.
    ///
    /// # Errors
    /// [`CallError::Device`] if it cannot be opened, or another one was chosen meanwhile; the one before is used on. Without a call that needs a
    /// microphone nothing is opened, and a call that finds it missing says so.
    ///
    /// # Cancel safety
    /// Given up, the choice stands all the same.
    pub async fn set_audio_input(&self, input: AudioInput) -> Result<(), CallError> {
        self.ask(|reply| Command::AudioInput(input, reply)).await
    }

    /// Uses this loudspeaker from now on, as [`CallKit::set_audio_input`] a microphone.
    ///
    /// # Errors
    /// [`CallError::Device`], as there.
    ///
    /// # Cancel safety
    /// Given up, the choice stands all the same.
    pub async fn set_audio_output(&self, output: AudioOutput) -> Result<(), CallError> {
        self.ask(|reply| Command::AudioOutput(output, reply)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[test]
    fn a_choice_that_cannot_be_opened_goes_back_to_the_last_that_was_and_one_that_was_overtaken_is_told() {
        let mut choice = Choice::new("one");
        let (first, mut of_first) = oneshot::channel();
        let (second, mut of_second) = oneshot::channel();
        choice.choose("two", first);
        choice.choose("three", second);
        assert!(matches!(of_first.try_recv(), Ok(Err(CallError::Device(_)))));
        assert!(!choice.opened(2, Ok(()), true), "it is not chosen any more");
        assert!(choice.opened(3, Err("gone".into()), true));
        assert!(matches!(of_second.try_recv(), Ok(Err(CallError::Device(_)))));
        assert_eq!((choice.chosen().device, choice.chosen().number), ("one", 1));
        let (third, mut of_third) = oneshot::channel();
        choice.choose("four", third);
        assert_eq!(choice.chosen().number, 4, "no number comes twice");
        assert!(!choice.opened(4, Err("gone".into()), false), "there is nothing to go back to");
        assert!(matches!(of_third.try_recv(), Ok(Err(CallError::Device(_)))));
        assert_eq!(choice.chosen().device, "four");
        let (fourth, mut of_fourth) = oneshot::channel();
        choice.choose("five", fourth);
        choice.is_not_needed();
        assert!(matches!(of_fourth.try_recv(), Ok(Ok(()))));
    }
}
