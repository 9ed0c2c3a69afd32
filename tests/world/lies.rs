//! Lies: whoever has no part in a call speaks of it, and nothing may come of that.

use call_protocol::accept::{Answer, AnswerConfirm, AnswerResult};
use call_protocol::end::EndReason;
use call_protocol::media::{Candidate, KeepAlive, Negotiation, NegotiationBody};
use call_protocol::ring::{Alert, RingConfirm};
use call_protocol::{CallId, CallMessage, Word};
use rand::RngExt;
use signaling::{Address, Arbiter, ArbiterInput, ArbiterOutput, DeskOutput, Input, Route, To};

use crate::plant::Plant;
use crate::rules::{Rule, about};
use crate::world::World;

impl World {
    pub(crate) fn lie(&mut self, liar: usize) {
        let word = self.some_word();
        let running = self.server.calls.len();
        if self.rng.random_bool(0.5) && running > 0 && self.server.is_up() {
            let nth = self.rng.random_range(0..running);
            let call_id = self.server.calls.keys().nth(nth).copied().unwrap_or(CallId::from_bits(0));
            self.lie_to_server(liar, CallMessage { call_id, word });
        } else {
            let to = (liar + self.rng.random_range(1..self.devices.len())) % self.devices.len();
            let present = about(self.devices[to].desk.line().phase());
            let call_id = present.unwrap_or_else(|| self.some_call());
            if self.devices[to].alive {
                self.lie_to_device(liar, to, CallMessage { call_id, word });
            }
        }
    }

    /// Whether a device has a part in this call, so that what it says is no lie.
    fn takes_part(&self, at: usize, call_id: CallId) -> bool {
        let truth = self.rules.truths.get(&call_id);
        truth.is_none_or(|truth| truth.caller == at || truth.callee == self.devices[at].user)
    }

    fn lie_to_server(&mut self, liar: usize, message: CallMessage) {
        let call_id = message.call_id;
        let now = self.server.now(self.now);
        if self.takes_part(liar, call_id) {
            return;
        }
        let Some(slot) = self.server.calls.get_mut(&call_id) else { return };
        let mut from = self.devices[liar].party.clone();
        if self.plant == Some(Plant::TrustsStrangers) {
            from = slot.arbiter.invite().caller.clone();
        }
        let mut undisturbed = slot.arbiter.clone();
        undisturbed.handle_input(now, ArbiterInput::Wake);
        slot.arbiter.handle_input(now, ArbiterInput::Message { from, word: message.word.clone() });
        let mut disturbed = slot.arbiter.clone();
        let party = &self.devices[liar].party;
        let drained = |arbiter: &mut Arbiter| -> Vec<_> {
            let to_liar = |output: &ArbiterOutput| matches!(output, ArbiterOutput::Send { to: To::Device(to), .. } if to == party);
            std::iter::from_fn(|| arbiter.poll_output()).filter(|output| !to_liar(output)).collect()
        };
        let same = drained(&mut undisturbed) == drained(&mut disturbed) && undisturbed == disturbed;
        let what = || format!("a lie of {party} {message:?} changed the call");
        self.rules.expect(same, Rule::StrayChangesNothing, what);
        self.pump_arbiter(call_id);
    }

    /// Somebody speaks to a device as if it decided about a call, or were at its other end: nothing must change there.
    fn lie_to_device(&mut self, liar: usize, to: usize, message: CallMessage) {
        let call_id = message.call_id;
        // Of a call it has never heard of, a device cannot know who decides.
        let told = self.devices[to].told.get(&call_id);
        let knows = told.is_some_and(|told| told.said_busy || told.role.is_some());
        if self.takes_part(liar, call_id) || !knows {
            return;
        }
        let party = self.devices[liar].party.clone();
        let mut from = Address::Device(party.clone());
        if self.plant == Some(Plant::TrustsStrangers) {
            from = match &self.devices[to].config.arbiter {
                Address::Server => Address::Server,
                Address::Device(_) => {
                    let caller = self.rules.truths[&call_id].caller;
                    Address::Device(self.devices[caller].party.clone())
                }
            };
        }
        let device = &self.devices[to];
        let now = device.now(self.now);
        // What is due anyhow is done before.
        let mut undisturbed = device.desk.clone();
        let mut awake = Ok(());
        let mut is_due = true;
        while is_due {
            awake = undisturbed.handle_input(now, Input::Wake);
            let wakes = std::iter::from_fn(|| undisturbed.poll_output());
            is_due = wakes.last().is_some_and(|last| matches!(last, DeskOutput::WakeAt(at, _) if at <= now.mono));
        }
        let mut disturbed = undisturbed.clone();
        let taken = disturbed.handle_input(now, Input::Message { from, message: message.clone() });
        let to_liar =
            |output: &DeskOutput| matches!(output, DeskOutput::Send { to: Route::Device(to), .. } if *to == party);
        let silent = std::iter::from_fn(|| disturbed.poll_output()).all(|output| to_liar(&output));
        let same = silent && undisturbed == disturbed && (awake, taken) == (Ok(()), Ok(()));
        let what = || format!("a lie of {party} {message:?} changed the line of {}", device.name);
        self.rules.expect(same, Rule::StrayChangesNothing, what);
    }

    fn some_word(&mut self) -> Word {
        let party = self.devices[self.rng.random_range(0..self.devices.len())].party.clone();
        let other = self.devices[self.rng.random_range(0..self.devices.len())].party.clone();
        let result = [AnswerResult::Accept, AnswerResult::Refuse, AnswerResult::Busy][self.rng.random_range(0..3)];
        let reason = EndReason::ALL[self.rng.random_range(0..EndReason::ALL.len())];
        let some = self.some_call();
        let known = self.rules.invite_of(some);
        match self.rng.random_range(0..12) {
            0 => Word::Alert(Alert { callee: party, asked_unix_ms: None }),
            1 => Word::RingConfirm(RingConfirm::Ring {
                deadline_unix_ms: u64::MAX / 2,
                left_ms: Some(u32::MAX),
                asked_unix_ms: None,
            }),
            2 => Word::RingConfirm(RingConfirm::Over { reason, release: None }),
            3 => Word::Answer(Answer { callee: party, result, call_type: None, preparation: false, release: None }),
            4 => Word::AnswerConfirm(AnswerConfirm { result, winner: party, release: None }),
            5 => Word::Cancel(reason.into()),
            6 => Word::End(reason.into()),
            7 => Word::KeepAlive(KeepAlive {
                in_call: self.rng.random(),
                held: self.rng.random(),
                peer_held: self.rng.random(),
                quality: None,
                hold_reason: None,
            }),
            8 => {
                let body = Some(NegotiationBody::Candidate(Candidate::default()));
                let (seq, ack) = (self.rng.random_range(0..4), self.rng.random_range(0..4));
                Word::Negotiation(Box::new(Negotiation {
                    from: party,
                    to: other,
                    seq,
                    ack,
                    from_run: 0,
                    to_run: 0,
                    body,
                }))
            }
            9 => Word::Hold { held: self.rng.random(), reason: None },
            10 if known.is_some() => {
                known.map_or(Word::Hold { held: true, reason: None }, |invite| Word::Missed(Box::new(invite)))
            }
            _ => Word::Reachability { reachable: self.rng.random(), ends_in_ms: 1_000 },
        }
    }
}
