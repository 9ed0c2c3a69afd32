//! Who is told what of calls.

use super::*;
use call_protocol::invite::CallType;
use call_protocol::ring::{Alert, RingConfirm};

const CALL: CallId = CallId::from_bits(7);
const APP: AppNo = AppNo(0);

fn party(user: &str) -> Party {
    Party { user: UserId::new(user).unwrap(), device: DeviceId::new("phone").unwrap() }
}

fn calls(quiet_ms: u64) -> Calls {
    Calls::new(CallsConfig { arbiter: ArbiterConfig::default(), per_device: 1, quiet_until: Time(quiet_ms) }, 0)
}

fn at(ms: u64) -> Now {
    Now { mono: Time(ms), unix_ms: 1_000_000 + ms }
}

fn invite(call_id: CallId, callee: &str) -> CallMessage {
    let invite = Invite {
        call_id,
        caller: party("somebody-else"),
        callees: vec![UserId::new(callee).unwrap()],
        call_type: CallType::Audio1v1,
        channel: call_id.channel(),
        ext: Default::default(),
        ring_timeout_ms: 30_000,
        ring_deadline_unix_ms: 0,
        responder_preparation: false,
        app_server_data: String::new(),
    };
    CallMessage { call_id, word: Word::Invite(Box::new(invite)) }
}

struct Anybody;

impl Users for Anybody {
    fn can_exist(&self, _: &UserId) -> bool {
        true
    }

    fn may_open(&mut self, _: &Party, _: usize) -> Result<(), InviteRefusal> {
        Ok(())
    }

    fn online(&self, _: &UserId) -> Vec<Party> {
        Vec::new()
    }
}

struct Somebody(bool);

impl Users for Somebody {
    fn can_exist(&self, _: &UserId) -> bool {
        self.0
    }

    fn may_open(&mut self, _: &Party, _: usize) -> Result<(), InviteRefusal> {
        Ok(())
    }

    fn online(&self, _: &UserId) -> Vec<Party> {
        Vec::new()
    }
}

/// Who is told what.
fn said(calls: &mut Calls) -> Vec<(String, CallMessage)> {
    let mut said = Vec::new();
    while let Some(output) = calls.poll_output() {
        if let CallOutput::Send { to, message, .. } = output {
            let to = match to {
                To::Device(party) => party.to_string(),
                To::User(user) => user.to_string(),
            };
            said.push((to, message));
        }
    }
    said
}

fn refused_for(said: &[(String, CallMessage)]) -> Option<InviteRefusal> {
    said.iter().find_map(|(_, message)| match &message.word {
        Word::RingConfirm(RingConfirm::Refused { refusal }) => Some(*refusal),
        _ => None,
    })
}

#[test]
fn the_true_sender_is_written_into_what_is_carried() {
    let mut calls = calls(0);
    calls.on_message(at(0), APP, party("ann"), invite(CALL, "bob"), &mut Anybody);
    let heard = said(&mut calls);
    let to_bob = heard.iter().find(|(to, _)| to == "bob").unwrap();
    assert!(matches!(&to_bob.1.word, Word::Invite(invite) if invite.caller == party("ann")));

    let alert = CallMessage { call_id: CALL, word: Word::Alert(Alert { callee: party("carl"), asked_unix_ms: None }) };
    calls.on_message(at(1), APP, party("bob"), alert, &mut Anybody);
    let heard = said(&mut calls);
    assert!(heard.iter().any(|(to, message)| {
        to == "ann/phone" && matches!(&message.word, Word::Alert(alert) if alert.callee == party("bob"))
    }));
}

#[test]
fn an_invite_is_refused_for_what_is_wrong_with_it() {
    let mut calls = calls(0);
    let refusal = |calls: &mut Calls, from: &str, message: CallMessage, known: bool| {
        calls.on_message(at(0), APP, party(from), message, &mut Somebody(known));
        refused_for(&said(calls))
    };
    assert_eq!(refusal(&mut calls, "ann", invite(CALL, "ann"), true), Some(InviteRefusal::Invalid));
    assert_eq!(refusal(&mut calls, "ann", invite(CALL, "bob"), false), Some(InviteRefusal::UnknownUser));
    assert_eq!(refusal(&mut calls, "ann", invite(CALL, "bob"), true), None);
    assert_eq!(refusal(&mut calls, "eve", invite(CALL, "bob"), true), Some(InviteRefusal::Invalid), "id in use");
    let second = CallId::from_bits(8);
    assert_eq!(refusal(&mut calls, "ann", invite(second, "bob"), true), Some(InviteRefusal::TooMany));
    assert_eq!(refusal(&mut calls, "eve", invite(second, "bob"), true), None);
}

#[test]
fn a_stranger_changes_nothing() {
    let mut calls = calls(0);
    calls.on_message(at(0), APP, party("ann"), invite(CALL, "bob"), &mut Anybody);
    said(&mut calls);
    let end = CallMessage { call_id: CALL, word: Word::End(EndReason::Hangup.into()) };
    calls.on_message(at(1), APP, party("eve"), end.clone(), &mut Anybody);
    assert_eq!(said(&mut calls), [("eve/phone".to_owned(), end.clone())], "a receipt, and nobody else hears of it");
    calls.on_message(at(2), AppNo(1), party("ann"), end.clone(), &mut Anybody);
    assert_eq!(said(&mut calls), [("ann/phone".to_owned(), end)], "the other app's ann is another ann");
    assert_eq!(calls.running(), 1);
}

#[test]
fn after_a_start_a_running_call_that_is_unknown_is_left_alone_for_a_while() {
    let mut calls = calls(1_000);
    let word = Word::KeepAlive(KeepAlive { in_call: true, ..KeepAlive::default() });
    let alive = CallMessage { call_id: CALL, word };
    calls.on_message(at(999), APP, party("ann"), alive.clone(), &mut Anybody);
    assert_eq!(said(&mut calls), []);
    calls.on_message(at(1_000), APP, party("ann"), alive, &mut Anybody);
    assert!(matches!(said(&mut calls)[..], [(_, CallMessage { word: Word::End(_), .. })]));
}

#[test]
fn a_call_that_is_over_is_forgotten_everywhere() {
    let mut calls = calls(0);
    calls.on_message(at(0), APP, party("ann"), invite(CALL, "bob"), &mut Anybody);
    let mut saved = 0;
    let mut forgotten = 0;
    while let Some(wake) = calls.next_wake() {
        calls.on_wake(at(wake.0));
        while let Some(output) = calls.poll_output() {
            match output {
                CallOutput::Save(..) => saved += 1,
                CallOutput::Forget(key) => forgotten += usize::from(key.call_id == CALL),
                CallOutput::Send { .. }
                | CallOutput::Opened(_)
                | CallOutput::Answered(..)
                | CallOutput::Ended(_)
                | CallOutput::Fact(_) => {}
            }
        }
    }
    assert!(saved >= 2, "when it opened and when it ended");
    assert_eq!(forgotten, 1);
    assert!(calls.calls.is_empty() && calls.by_user.is_empty());
}

struct Busy;

impl Users for Busy {
    fn can_exist(&self, _: &UserId) -> bool {
        true
    }

    fn may_open(&mut self, _: &Party, _: usize) -> Result<(), InviteRefusal> {
        Err(InviteRefusal::Overloaded)
    }

    fn online(&self, _: &UserId) -> Vec<Party> {
        Vec::new()
    }
}

#[test]
fn a_server_that_is_too_busy_says_so_and_opens_nothing() {
    let mut calls = calls(0);
    calls.on_message(at(0), APP, party("ann"), invite(CALL, "bob"), &mut Busy);
    assert_eq!(refused_for(&said(&mut calls)), Some(InviteRefusal::Overloaded));
    assert_eq!(calls.running(), 0);
}

#[test]
fn a_callee_declines_once_and_only_while_it_rings() {
    let mut calls = calls(0);
    calls.on_message(at(0), APP, party("ann"), invite(CALL, "bob"), &mut Anybody);
    let key = CallKey { app: APP, call_id: CALL };
    let (bob, eve) = (UserId::new("bob").unwrap(), UserId::new("eve").unwrap());
    let rings = CallStatus::Rings { deadline_unix_ms: 1_030_000 };
    assert_eq!(calls.status(at(1), key, &bob), rings);
    assert_eq!(calls.status(at(1), key, &eve), CallStatus::Released, "it is not hers");
    assert_eq!(calls.status(at(30_000), key, &bob), CallStatus::Released, "the ring is over, whoever noticed");
    assert_eq!(calls.decline(at(2), key, eve, None), CallStatus::Released);
    assert_eq!(calls.running(), 1);
    assert_eq!(calls.decline(at(3), key, bob.clone(), None), rings);
    assert_eq!(calls.decline(at(4), key, bob, None), CallStatus::Released);
    assert_eq!(calls.running(), 0);
}

/// However many calls of a user are over and still answer, the work for the next one is that of those which run.
#[test]
fn a_call_that_is_over_is_no_work_for_the_next_one() {
    let mut calls = calls(0);
    let cancel = |call_id| CallMessage { call_id, word: Word::Cancel(EndReason::Cancel.into()) };
    for number in 1..=500 {
        let call_id = CallId::from_bits(number);
        calls.on_message(at(0), APP, party("ann"), invite(call_id, "bob"), &mut Anybody);
        assert_eq!(calls.opened_by(APP, &party("ann")), 1);
        calls.on_message(at(0), APP, party("ann"), cancel(call_id), &mut Anybody);
        assert_eq!(refused_for(&said(&mut calls)), None, "one at a time");
    }
    assert_eq!((calls.calls.len(), calls.running()), (500, 0));
    assert!(calls.by_user.is_empty() && calls.opened.is_empty());
    let bob = party("bob");
    calls.on_restarted(at(1), APP, &bob, &CallFilter::AllBut(Vec::new()));
    assert_eq!(said(&mut calls), [], "what was missed is told from the history");
    let key = CallKey { app: APP, call_id: CallId::from_bits(1) };
    assert!(matches!(calls.missed_by(key, &bob), MissedBy::Remembered(invite) if invite.call_id == key.call_id));
    let known = CallMessage { call_id: key.call_id, word: Word::End(EndReason::NoResponse.into()) };
    calls.on_message(at(2), APP, bob.clone(), known, &mut Anybody);
    assert!(matches!(calls.missed_by(key, &bob), MissedBy::Nobody), "it has said so");
}
