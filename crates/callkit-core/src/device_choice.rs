//! Which microphone or which loudspeaker the app has chosen, and what it was before while that is being opened.

use crate::command::Response;
use crate::error::CallError;
use crate::ids::{AudioDeviceId, CommandId};

/// The one that is chosen.
#[derive(Debug)]
pub(crate) struct DeviceChoice {
    chosen: AudioDeviceId,
    opening: Option<Opening>,
}

/// One that is being opened.
#[derive(Debug)]
struct Opening {
    /// What is used again if the chosen one cannot be opened.
    before: AudioDeviceId,
    command: CommandId,
}

/// How a choice went.
pub(crate) type Outcome = (CommandId, Response);

impl DeviceChoice {
    pub(crate) fn new() -> DeviceChoice {
        DeviceChoice { chosen: AudioDeviceId(1), opening: None }
    }

    pub(crate) fn chosen(&self) -> AudioDeviceId {
        self.chosen
    }

    /// Whether it is the chosen one, or may be gone back to.
    pub(crate) fn uses(&self, device: AudioDeviceId) -> bool {
        self.chosen == device || self.opening.as_ref().is_some_and(|opening| opening.before == device)
    }

    /// Gives how the choice before it went, if that was still open.
    pub(crate) fn choose(&mut self, device: AudioDeviceId, command: CommandId) -> Option<Outcome> {
        let replaced = std::mem::replace(&mut self.chosen, device);
        // What was never opened is nothing to go back to.
        let (before, overtaken) = match self.opening.take() {
            Some(Opening { before, command }) => {
                let error = CallError::Device("another one was chosen meanwhile".into());
                (before, Some((command, Response::Done(Err(error)))))
            }
            None => (replaced, None),
        };
        self.opening = Some(Opening { before, command });
        overtaken
    }

    /// Nobody needs it now: whether it can be opened is seen when somebody does.
    pub(crate) fn is_not_needed(&mut self) -> Option<Outcome> {
        self.opening.take().map(|Opening { command, .. }| (command, Response::Done(Ok(()))))
    }

    /// Gives how the choice went, and whether another one is chosen now.
    pub(crate) fn opened(
        &mut self,
        device: AudioDeviceId,
        result: Result<(), String>,
        goes_on: bool,
    ) -> Option<(Outcome, bool)> {
        if device != self.chosen {
            return None;
        }
        let Opening { before, command } = self.opening.take()?;
        let goes_back = result.is_err() && goes_on;
        if goes_back {
            self.chosen = before;
        }
        Some(((command, Response::Done(result.map_err(CallError::Device))), goes_back))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(outcome: &Outcome) -> bool {
        matches!(outcome.1, Response::Done(Err(CallError::Device(_))))
    }

    #[test]
    fn a_choice_that_cannot_be_opened_goes_back_to_the_last_that_was_and_one_that_was_overtaken_is_told() {
        let [one, two, three, four, five] = [1, 2, 3, 4, 5].map(AudioDeviceId);
        let [first, second, third, fourth] = [1, 2, 3, 4].map(CommandId);
        let mut choice = DeviceChoice::new();
        assert_eq!(choice.choose(two, first), None);
        let overtaken = choice.choose(three, second).unwrap();
        assert!(overtaken.0 == first && failed(&overtaken));
        assert_eq!(choice.opened(two, Ok(()), true), None, "it is not chosen any more");
        let (outcome, goes_back) = choice.opened(three, Err("gone".into()), true).unwrap();
        assert!(outcome.0 == second && failed(&outcome) && goes_back);
        assert_eq!(choice.chosen(), one);
        assert_eq!(choice.choose(four, third), None);
        let (outcome, goes_back) = choice.opened(four, Err("gone".into()), false).unwrap();
        assert!(outcome.0 == third && failed(&outcome) && !goes_back, "there is nothing to go back to");
        assert_eq!(choice.chosen(), four);
        assert_eq!(choice.choose(five, fourth), None);
        assert!(choice.uses(four) && choice.uses(five) && !choice.uses(three));
        assert_eq!(choice.is_not_needed(), Some((fourth, Response::Done(Ok(())))));
    }
}
