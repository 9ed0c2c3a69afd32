//! What a line makes of a message.

use call_protocol::accept::AnswerResult;
use call_protocol::end::EndReason;
use call_protocol::ring::RingConfirm;
use call_protocol::{CallId, CallMessage, Word};
use signaling::{Address, DeskOutput, Event, Phase, SecondCall};

use super::Rule;
use super::told::about;
use crate::world::World;

impl World {
    /// A line heard a message; `due` if it was also to look at its clock.
    pub(crate) fn check_heard(
        &mut self,
        to: usize,
        from: &Address,
        message: &CallMessage,
        before: &[Phase],
        due: bool,
        outputs: &[DeskOutput],
    ) {
        let call_id = message.call_id;
        let of_arbiter = match from {
            Address::Server => true,
            Address::Device(sender) => {
                let sender = self.device_of(sender);
                let caller = self.rules.truths.get(&call_id).map(|truth| truth.caller);
                self.plan.placement == crate::plan::Placement::Chat && sender.is_some() && caller == sender
            }
        };
        let device = &mut self.devices[to];
        let after = device.phases();
        let closes = match &message.word {
            // The receipt of a busy answer says nothing of the call.
            Word::End(end) => of_arbiter && end.reason != EndReason::Busy,
            Word::Cancel(_) | Word::RingConfirm(RingConfirm::Over { .. }) => of_arbiter,
            Word::AnswerConfirm(confirm) => {
                of_arbiter && (confirm.winner != device.party || confirm.result != AnswerResult::Accept)
            }
            Word::RingConfirm(RingConfirm::Ring { .. } | RingConfirm::Refused { .. })
            | Word::Invite(_)
            | Word::Alert(_)
            | Word::Answer(_)
            | Word::KeepAlive(_)
            | Word::Negotiation(_)
            | Word::Reachability { .. }
            | Word::Hold { .. }
            | Word::Missed(_) => false,
        };
        let name = device.name.clone();
        let what = |why: &str| format!("{name} was {before:?}, heard {message:?} of {from:?} and is {after:?}: {why}");
        let told = device.told(call_id);
        let known = std::mem::replace(&mut told.invited, true) || told.role.is_some() || told.closed;
        told.closed |= closes;
        let (over, closed) = (told.ended.is_some(), told.closed);
        if closed {
            self.rules
                .expect(!after.contains(&Phase::Ringing(call_id)), Rule::NothingRingsOn, || what("it still rings"));
        }
        let tells = |wanted: &dyn Fn(&Event) -> bool| {
            outputs.iter().any(|output| matches!(output, DeskOutput::Tell(event) if wanted(event)))
        };
        if !due {
            for phase in before.iter().filter(|phase| about(**phase) != Some(call_id)) {
                // The two ways in which one call may touch another: both called each other, or a crashed device calls again.
                let other = about(*phase);
                let merged = tells(&|event| matches!(event, Event::Merged { old, .. } if Some(*old) == other));
                let again = tells(&|event| ended_as(event, other, EndReason::RemoteDrop))
                    && matches!(message.word, Word::RingConfirm(RingConfirm::Ring { .. }));
                let same = after.contains(phase) || merged || again;
                self.rules.expect(same, Rule::StrayChangesNothing, || what("it was in another call"));
            }
            let ended_now = tells(&|event| matches!(event, Event::Ended { .. } | Event::Merged { .. }));
            let silent = !over || ended_now || (*before == *after && !outputs.iter().any(is_told));
            self.rules.expect(silent, Rule::StrayChangesNothing, || what("the call was over here"));
        }
        if let Word::Invite(invite) = &message.word
            && !known
            && invite.callees.contains(&self.devices[to].party.user)
        {
            self.check_first_invite(to, invite, before, outputs, &what);
        }
    }

    /// A first invite is alerted, or answered busy, or left to the other call of two across each other.
    fn check_first_invite(
        &mut self,
        to: usize,
        invite: &call_protocol::invite::Invite,
        before: &[Phase],
        outputs: &[DeskOutput],
        what: &dyn Fn(&str) -> String,
    ) {
        let call_id = invite.call_id;
        let says = |wanted: &dyn Fn(&Word) -> bool| {
            let about_it = |said: &CallMessage| said.call_id == call_id && wanted(&said.word);
            outputs.iter().any(|output| matches!(output, DeskOutput::Send { message, .. } if about_it(message)))
        };
        let alerts = says(&|word| matches!(word, Word::Alert(_)));
        let busy = says(&|word| matches!(word, Word::Answer(answer) if answer.result == AnswerResult::Busy));
        let device = &self.devices[to];
        let caller = self.device_of(&invite.caller);
        let is_with = |call_id: CallId| {
            let truth = self.rules.truths.get(&call_id);
            let role_caller = truth.is_some_and(|truth| truth.caller == to);
            let peer = device.told.get(&call_id).and_then(|told| told.peer);
            let other = if role_caller { peer } else { truth.map(|truth| truth.caller) };
            other.is_some() && other == caller
        };
        // A line asks about so many calls at once, and not more: a chat may bring all at once that was kept for a device.
        let asks = device.told.values().filter(|told| told.role.is_none() && told.invited && !told.said_busy);
        let flooded = asks.count() >= 8;
        let waits = device.config.second_call == SecondCall::Waiting;
        let right = match before {
            [] => alerts || busy,
            calls if calls.iter().any(|phase| !is_calling(*phase) && about(*phase).is_some_and(is_with)) => {
                alerts || busy
            }
            [Phase::Calling(mine)] => {
                let truth = self.rules.truths.get(mine);
                let unknown = truth.is_none();
                let each_other =
                    truth.is_some_and(|truth| caller.is_some_and(|at| self.devices[at].user == truth.callee));
                let glare = if call_id < *mine { alerts || (busy && flooded) } else { !alerts && !busy };
                // The arbiter has not heard of a call that was just placed.
                (each_other && glare) || (!each_other && busy && !alerts) || (unknown && (glare || busy))
            }
            [Phase::InCall(_)] if waits => alerts || busy,
            _ => busy && !alerts,
        };
        let sound = !(alerts && busy);
        let why = "a first invite is alerted or answered busy, as the line is";
        self.rules.expect(right && sound, Rule::BusyAnswersItself, || what(why));
    }
}

fn is_calling(phase: Phase) -> bool {
    match phase {
        Phase::Calling(_) => true,
        Phase::Idle | Phase::Ringing(_) | Phase::Answering(_) | Phase::InCall(_) => false,
    }
}

fn is_told(output: &DeskOutput) -> bool {
    matches!(output, DeskOutput::Tell(_))
}

fn ended_as(event: &Event, call: Option<CallId>, wanted: EndReason) -> bool {
    matches!(event, Event::Ended { call_id, reason, .. } if Some(*call_id) == call && *reason == wanted)
}
