//! What a line makes of a message, and what nobody may make of a lie.

use call_protocol::accept::AnswerResult;
use call_protocol::ring::RingConfirm;
use call_protocol::{CallMessage, Word};
use signaling::{Address, ArbiterInput, ArbiterOutput, Event, Input, Output, Phase, To};

use super::Rule;
use super::told::about;
use crate::plant::Plant;
use crate::world::World;

impl World {
    /// A line heard a message of the server; `due` if it was also to look at its clock.
    pub(crate) fn check_heard(
        &mut self,
        to: usize,
        message: &CallMessage,
        before: Phase,
        due: bool,
        outputs: &[Output],
    ) {
        let call_id = message.call_id;
        let device = &mut self.devices[to];
        let (name, after) = (device.name, device.line.phase());
        let what = |why: &str| format!("{name} was {before:?}, heard {message:?} and is {after:?}: {why}");
        let closes = match &message.word {
            Word::Cancel(_) | Word::End(_) | Word::RingConfirm(RingConfirm::Over { .. }) => true,
            Word::AnswerConfirm(confirm) => confirm.winner != device.party || confirm.result != AnswerResult::Accept,
            Word::RingConfirm(RingConfirm::Ring { .. } | RingConfirm::Refused { .. })
            | Word::Invite(_)
            | Word::Alert(_)
            | Word::Answer(_)
            | Word::KeepAlive { .. }
            | Word::Negotiation(_)
            | Word::Reachability { .. } => false,
        };
        let told = device.told(call_id);
        let known = std::mem::replace(&mut told.invited, true) || told.role.is_some() || told.closed;
        told.closed |= closes;
        let (over, closed) = (told.ended.is_some(), told.closed);
        let tells = || outputs.iter().filter(|output| matches!(output, Output::Tell(_)));
        if closed {
            self.rules.expect(after != Phase::Ringing(call_id), Rule::NothingRingsOn, || what("it still rings"));
        }
        if !due {
            let elsewhere = about(before).is_some_and(|other| other != call_id);
            let same = !elsewhere || before == after;
            self.rules.expect(same, Rule::StrayChangesNothing, || what("it was in another call"));
            let ended_now = tells().any(|tell| matches!(tell, Output::Tell(Event::Ended { .. })));
            let silent = !over || ended_now || (before == after && tells().count() == 0);
            self.rules.expect(silent, Rule::StrayChangesNothing, || what("the call was over here"));
        }
        if let Word::Invite(invite) = &message.word
            && !known
            && invite.callees.contains(&self.devices[to].party.user)
        {
            let says = |wanted: &dyn Fn(&Word) -> bool| {
                let about_it = |said: &CallMessage| said.call_id == call_id && wanted(&said.word);
                outputs.iter().any(|output| matches!(output, Output::Send { message, .. } if about_it(message)))
            };
            let alerts = says(&|word| matches!(word, Word::Alert(_)));
            let busy = says(&|word| matches!(word, Word::Answer(answer) if answer.result == AnswerResult::Busy));
            let engaged = about(before).is_some();
            let right = if engaged { busy && !alerts } else { alerts || busy };
            self.rules.expect(right, Rule::BusyAnswersItself, || what("a first invite is alerted or answered busy"));
        }
    }

    /// Somebody speaks to the server of a call that is not theirs: the call must stay as it is.
    pub(crate) fn lie_to_server(&mut self, liar: usize, message: CallMessage) {
        let call_id = message.call_id;
        let now = self.server.now(self.now);
        let name = self.devices[liar].name;
        let honest = self.rules.truths.get(&call_id).is_none_or(|truth| truth.side(liar).is_some());
        let Some(slot) = self.server.calls.get_mut(&call_id) else { return };
        if honest {
            return;
        }
        let mut from = self.devices[liar].party.clone();
        if self.plant == Some(Plant::TrustsStrangers) {
            from = slot.arbiter.invite().caller.clone();
        }
        let mut undisturbed = slot.arbiter.clone();
        undisturbed.handle_input(now, ArbiterInput::Wake);
        slot.arbiter.handle_input(now, ArbiterInput::Message { from, word: message.word.clone() });
        let mut disturbed = slot.arbiter.clone();
        let drained = |arbiter: &mut signaling::Arbiter| -> Vec<_> {
            let to_liar = |output: &ArbiterOutput| matches!(output, ArbiterOutput::Send { to: To::Device(party), .. } if *party == self.devices[liar].party);
            std::iter::from_fn(|| arbiter.poll_output()).filter(|output| !to_liar(output)).collect()
        };
        let same = drained(&mut undisturbed) == drained(&mut disturbed) && undisturbed == disturbed;
        self.rules.expect(same, Rule::StrayChangesNothing, || format!("{name}'s lie {message:?} changed the call"));
        self.pump_arbiter(call_id);
    }

    /// Somebody speaks to a phone as if it decided about a call: nothing must change there.
    pub(crate) fn lie_to_device(&mut self, liar: usize, to: usize, message: CallMessage) {
        let mut from = Address::Device(self.devices[liar].party.clone());
        if self.plant == Some(Plant::TrustsStrangers) {
            from = Address::Server;
        }
        let device = &mut self.devices[to];
        let (name, now) = (device.name, device.now(self.now));
        let mut undisturbed = device.line.clone();
        let mut disturbed = device.line.clone();
        let heard = Input::Message { from, message: message.clone() };
        let taken = (undisturbed.handle_input(now, Input::Wake), disturbed.handle_input(now, heard));
        let same = taken == (Ok(()), Ok(())) && undisturbed == disturbed;
        self.rules.expect(same, Rule::StrayChangesNothing, || format!("a lie {message:?} changed {name}'s line"));
    }
}
