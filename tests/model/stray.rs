//! Messages of another call, or of somebody who has no part in one, given to a device: nothing may come of them.

use call_protocol::accept::{Answer, AnswerConfirm, AnswerResult};
use call_protocol::end::EndReason;
use call_protocol::invite::{CallType, Invite};
use call_protocol::media::{KeepAlive, Negotiation};
use call_protocol::ring::{Alert, InviteRefusal, RingConfirm};
use call_protocol::{CallId, CallMessage, DeviceId, Party, UserId, Word};
use signaling::{Address, Command, Desk, DeskOutput, Input, Now, Phase};

use crate::plan::{Place, Plan};
use crate::plant::Plant;

/// A call that there is not.
const NO_CALL: CallId = CallId::from_bits(99);

/// Whether nothing comes of any stray at a device.
pub(crate) fn change_nothing(plan: &Plan, now: Now, desk: &Desk) -> bool {
    let stranger = Party {
        user: UserId::new("zoe").expect("a name is an id"),
        device: DeviceId::new("1").expect("a number is an id"),
    };
    let from_stranger = Address::Device(stranger.clone());
    let me = desk.line().party().clone();
    let known: Vec<CallId> = desk.line().calls().filter_map(call_of).collect();
    let wrong = match plan.place {
        Place::Server => vec![from_stranger.clone()],
        Place::Device => vec![from_stranger.clone(), Address::Server],
    };
    words(&me, &stranger).into_iter().all(|word| {
        let of_no_call = [Address::Server, from_stranger.clone()]
            .into_iter()
            .filter(|from| !opens(from, &word))
            .all(|from| comes_to_nothing(plan, now, desk, from, NO_CALL, &word));
        let of_strangers = known
            .iter()
            .all(|call_id| wrong.iter().all(|from| comes_to_nothing(plan, now, desk, from.clone(), *call_id, &word)));
        of_no_call && of_strangers
    }) && [Command::Answer { call_id: NO_CALL }, Command::Hangup { call_id: NO_CALL }].into_iter().all(|command| {
        let mut after = desk.clone();
        after.handle_input(now, Input::Command(command)).is_err() && after == *desk
    })
}

fn comes_to_nothing(plan: &Plan, now: Now, desk: &Desk, from: Address, call_id: CallId, word: &Word) -> bool {
    let mut input = (from, call_id);
    if plan.plant == Plant::StraysCount {
        let first = desk.line().calls().find_map(call_of);
        input = (Address::Server, first.unwrap_or(call_id));
    }
    let (from, call_id) = input;
    let message = CallMessage { call_id, word: word.clone() };
    let mut after = desk.clone();
    let is_fine = after.handle_input(now, Input::Message { from, message }).is_ok();
    let mut tells = false;
    while let Some(output) = after.poll_output() {
        tells |= matches!(output, DeskOutput::Tell(_));
    }
    let is_same = if is_remembered(word) { after.line().calls().eq(desk.line().calls()) } else { after == *desk };
    is_fine && !tells && is_same
}

/// An end that comes before its invite is remembered; all else leaves no trace.
fn is_remembered(word: &Word) -> bool {
    matches!(
        word,
        Word::AnswerConfirm(_) | Word::Cancel(_) | Word::End(_) | Word::RingConfirm(RingConfirm::Over { .. })
    )
}

/// An invite by whoever decides about its call is none of the strays.
fn opens(from: &Address, word: &Word) -> bool {
    match (word, from) {
        (Word::Invite(_) | Word::Missed(_), Address::Server) => true,
        (Word::Invite(invite) | Word::Missed(invite), Address::Device(sender)) => invite.caller == *sender,
        _ => false,
    }
}

fn call_of(phase: Phase) -> Option<CallId> {
    match phase {
        Phase::Idle => None,
        Phase::Calling(call_id) | Phase::Ringing(call_id) | Phase::Answering(call_id) | Phase::InCall(call_id) => {
            Some(call_id)
        }
    }
}

fn words(me: &Party, stranger: &Party) -> Vec<Word> {
    let reason = EndReason::RemoteHangup;
    let other = Party { user: stranger.user.clone(), device: me.device.clone() };
    let invite = Invite {
        call_id: NO_CALL,
        caller: other,
        callees: vec![me.user.clone()],
        call_type: CallType::Audio1v1,
        channel: NO_CALL.channel(),
        ext: Default::default(),
        ring_timeout_ms: 8_000,
        ring_deadline_unix_ms: u64::MAX,
        responder_preparation: false,
        app_server_data: String::new(),
    };
    let answer = |result| {
        Word::Answer(Answer { callee: me.clone(), result, call_type: None, preparation: false, release: None })
    };
    let confirm =
        |result, winner: &Party| Word::AnswerConfirm(AnswerConfirm { result, winner: winner.clone(), release: None });
    let negotiation =
        Negotiation { from: stranger.clone(), to: me.clone(), seq: 1, ack: 0, from_run: 0, to_run: 0, body: None };
    vec![
        Word::Invite(Box::new(invite.clone())),
        Word::Missed(Box::new(invite)),
        Word::Alert(Alert { callee: stranger.clone(), asked_unix_ms: None }),
        Word::RingConfirm(RingConfirm::Ring {
            deadline_unix_ms: u64::MAX,
            left_ms: Some(u32::MAX),
            asked_unix_ms: None,
        }),
        Word::RingConfirm(RingConfirm::Over { reason, release: None }),
        Word::RingConfirm(RingConfirm::Refused { refusal: InviteRefusal::Invalid }),
        answer(AnswerResult::Accept),
        answer(AnswerResult::Refuse),
        answer(AnswerResult::Busy),
        confirm(AnswerResult::Accept, me),
        confirm(AnswerResult::Accept, stranger),
        confirm(AnswerResult::Refuse, stranger),
        confirm(AnswerResult::Busy, stranger),
        Word::Cancel(reason.into()),
        Word::End(reason.into()),
        Word::KeepAlive(KeepAlive { in_call: true, held: true, peer_held: true, ..KeepAlive::default() }),
        Word::Reachability { reachable: false, ends_in_ms: 5_000 },
        Word::Hold { held: true, reason: None },
        Word::Negotiation(Box::new(negotiation)),
    ]
}
