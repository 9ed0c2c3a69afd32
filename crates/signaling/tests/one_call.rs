//! What the face of one call needs of the rules: ends that say more than their reason, calls taken to prepare, questions after a push.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use std::collections::VecDeque;

use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::{EndReason, Release, UserCode};
use call_protocol::invite::CallType;
use call_protocol::media::{NegotiationBody, Notice};
use call_protocol::{CallId, CallMessage, DeviceId, Party, UserId, Word};
use signaling::{
    Address, Arbiter, ArbiterConfig, ArbiterInput, ArbiterOutput, Command, CommandError, Event, Input, InviteOptions,
    Line, LineConfig, Now, Output, Time, To,
};

const CALL: CallId = CallId::from_bits(7);
const ALICE: usize = 0;
const BOB: usize = 1;
const BOBS_DESK: usize = 2;

/// Three devices and the arbiter of one call, whose messages arrive at once.
struct Room {
    now: Now,
    lines: Vec<Line>,
    away: Vec<usize>,
    arbiter: Option<Arbiter>,
    told: Vec<(usize, Event)>,
    to_server: VecDeque<(Party, CallMessage)>,
}

fn party(user: &str, device: &str) -> Party {
    Party { user: UserId::new(user).unwrap(), device: DeviceId::new(device).unwrap() }
}

fn code(text: &str, source: DisconnectSource) -> Release {
    Release { reason: DisconnectReason::UserError, source, user_code: Some(UserCode::new(text).unwrap()) }
}

impl Room {
    fn new() -> Room {
        let devices = [party("alice", "phone"), party("bob", "phone"), party("bob", "desk")];
        let lines = devices.map(|device| Line::new(device, LineConfig::default())).into();
        let now = Now { mono: Time(0), unix_ms: 1_000_000 };
        Room { now, lines, away: Vec::new(), arbiter: None, told: Vec::new(), to_server: VecDeque::new() }
    }

    /// Alice calls Bob, who can prepare himself if `preparation` is offered; Bob's devices ring.
    fn ringing(preparation: bool) -> Room {
        let mut room = Room::new();
        room.calls(preparation);
        room
    }

    fn calls(&mut self, responder_preparation: bool) {
        let options = InviteOptions { responder_preparation, app_server_data: String::new() };
        let invite = Command::Invite {
            call_id: CALL,
            callees: vec![UserId::new("bob").unwrap()],
            call_type: CallType::Audio1v1,
            ext: Default::default(),
            ring_timeout_ms: 30_000,
            options,
        };
        self.does(ALICE, invite).unwrap();
    }

    fn does(&mut self, who: usize, command: Command) -> Result<(), CommandError> {
        self.input(who, Input::Command(command))
    }

    fn input(&mut self, who: usize, input: Input) -> Result<(), CommandError> {
        let done = self.lines[who].handle_input(self.now, input);
        self.listen_to(who);
        self.carry();
        done
    }

    fn listen_to(&mut self, who: usize) {
        while let Some(output) = self.lines[who].poll_output() {
            match output {
                Output::Send { message, .. } => self.to_server.push_back((self.lines[who].party().clone(), message)),
                Output::Tell(event) => self.told.push((who, event)),
                // There is no media path here.
                Output::Direct { .. } | Output::WakeAt(..) => {}
            }
        }
    }

    /// Until nobody has anything to say.
    fn carry(&mut self) {
        while let Some((from, message)) = self.to_server.pop_front() {
            match (&mut self.arbiter, message.word) {
                (None, Word::Invite(invite)) => {
                    self.arbiter = Some(Arbiter::open(ArbiterConfig::default(), self.now, from, *invite, Vec::new()));
                }
                (None, word) => {
                    let unknown = CallMessage { call_id: message.call_id, word };
                    if let Some(reply) = Arbiter::reply_to_unknown(&from, &unknown) {
                        self.deliver(&To::Device(from), &reply);
                    }
                }
                (Some(arbiter), word) => arbiter.handle_input(self.now, ArbiterInput::Message { from, word }),
            }
            self.listen_to_arbiter();
        }
    }

    fn listen_to_arbiter(&mut self) {
        while let Some(output) = self.arbiter.as_mut().and_then(Arbiter::poll_output) {
            match output {
                ArbiterOutput::Send { to, message } => self.deliver(&to, &message),
                ArbiterOutput::Tell(_) | ArbiterOutput::WakeAt(..) => {}
            }
        }
    }

    fn deliver(&mut self, to: &To, message: &CallMessage) {
        for who in 0..self.lines.len() {
            let is_meant = match to {
                To::Device(party) => self.lines[who].party() == party,
                To::User(user) => self.lines[who].party().user == *user,
            };
            if is_meant && !self.away.contains(&who) {
                let input = Input::Message { from: Address::Server, message: message.clone() };
                self.lines[who].handle_input(self.now, input).unwrap();
                self.listen_to(who);
            }
        }
    }

    /// How the call ended for this device, and what was said about it.
    fn end_of(&self, who: usize) -> Option<(EndReason, Option<Release>)> {
        let ends: Vec<_> = self.told.iter().filter(|(told, _)| *told == who).collect();
        let ends: Vec<_> = ends
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Ended { reason, release, .. } => Some((*reason, *release)),
                _ => None,
            })
            .collect();
        assert!(ends.len() < 2, "told twice: {ends:?}");
        ends.first().copied()
    }

    fn accepted(&self, who: usize) -> Option<bool> {
        self.told.iter().find_map(|(told, event)| match event {
            Event::Accepted { preparation, .. } if *told == who => Some(*preparation),
            _ => None,
        })
    }

    fn released(&self, who: usize) -> Option<(EndReason, Option<Release>)> {
        self.told.iter().find_map(|(told, event)| match event {
            Event::Released { reason, release, .. } if *told == who => Some((*reason, *release)),
            _ => None,
        })
    }

    fn rings(&self, who: usize) -> bool {
        self.told.iter().any(|(told, event)| *told == who && matches!(event, Event::Ringing { .. }))
    }
}

#[test]
fn a_code_of_whoever_hangs_up_is_told_to_both_with_the_end() {
    for (ender, source) in [(ALICE, DisconnectSource::Caller), (BOB, DisconnectSource::Callee)] {
        let mut room = Room::ringing(false);
        room.does(BOB, Command::Answer { call_id: CALL }).unwrap();
        let said = code("fraud", source);
        room.does(ender, Command::Release { call_id: CALL, release: said }).unwrap();
        let other = if ender == ALICE { BOB } else { ALICE };
        assert_eq!(room.end_of(ender), Some((EndReason::Hangup, Some(said))));
        assert_eq!(room.end_of(other), Some((EndReason::RemoteHangup, Some(said))));
        assert_eq!(room.end_of(BOBS_DESK), Some((EndReason::AnsweredElsewhere, None)), "it had no part in that");
    }
}

#[test]
fn a_code_of_a_caller_that_gives_up_and_of_a_callee_that_declines_is_told_to_every_device() {
    let mut room = Room::ringing(false);
    let said = code("wrong number", DisconnectSource::Caller);
    room.does(ALICE, Command::Release { call_id: CALL, release: said }).unwrap();
    assert_eq!(room.end_of(BOB), Some((EndReason::RemoteCancel, Some(said))));
    assert_eq!(room.end_of(BOBS_DESK), Some((EndReason::RemoteCancel, Some(said))));

    let mut room = Room::ringing(false);
    let said = code("driving", DisconnectSource::Callee);
    room.does(BOB, Command::Release { call_id: CALL, release: said }).unwrap();
    assert_eq!(room.end_of(ALICE), Some((EndReason::RemoteRefuse, Some(said))));
    assert_eq!(room.end_of(BOBS_DESK), Some((EndReason::RefusedElsewhere, Some(said))));
}

#[test]
fn who_comes_too_late_is_told_what_was_said_and_cannot_change_it() {
    let mut room = Room::ringing(false);
    room.does(BOB, Command::Answer { call_id: CALL }).unwrap();
    let said = code("first", DisconnectSource::Caller);
    room.away.push(BOB);
    room.does(ALICE, Command::Release { call_id: CALL, release: said }).unwrap();
    room.away.clear();
    assert_eq!(room.end_of(BOB), None, "it was away");
    assert_eq!(room.arbiter.as_ref().unwrap().release(), Some(said));
    room.does(BOB, Command::Release { call_id: CALL, release: code("second", DisconnectSource::Callee) }).unwrap();
    assert_eq!(room.arbiter.as_ref().unwrap().release(), Some(said));
}

#[test]
fn what_is_said_about_an_end_outlives_a_restart_of_the_server() {
    let mut room = Room::ringing(false);
    let said = code("gone", DisconnectSource::Caller);
    room.does(ALICE, Command::Release { call_id: CALL, release: said }).unwrap();
    let arbiter = room.arbiter.take().unwrap();
    let restored = Arbiter::restore(ArbiterConfig::default(), room.now, arbiter.snapshot(room.now));
    assert_eq!(restored.release(), Some(said));
}

#[test]
fn whoever_runs_the_arbiter_can_end_a_call_that_rings_and_one_that_is_answered() {
    let kicked = Release { source: DisconnectSource::AppServer, ..code("banned", DisconnectSource::AppServer) };
    for answered in [false, true] {
        let mut room = Room::ringing(false);
        if answered {
            room.does(BOB, Command::Answer { call_id: CALL }).unwrap();
        }
        let close = ArbiterInput::Close { reason: EndReason::RemoteHangup, release: kicked };
        room.arbiter.as_mut().unwrap().handle_input(room.now, close);
        room.listen_to_arbiter();
        let of_callee = if answered { EndReason::RemoteHangup } else { EndReason::RemoteCancel };
        assert_eq!(room.end_of(ALICE), Some((EndReason::RemoteHangup, Some(kicked))));
        assert_eq!(room.end_of(BOB), Some((of_callee, Some(kicked))));
    }
}

#[test]
fn a_call_is_taken_to_prepare_only_where_the_caller_has_offered_that() {
    for offered in [true, false] {
        let mut room = Room::ringing(offered);
        room.does(BOB, Command::AnswerToPrepare { call_id: CALL }).unwrap();
        assert_eq!([room.accepted(ALICE), room.accepted(BOB)], [Some(offered); 2]);
    }
    let mut room = Room::ringing(true);
    room.does(BOB, Command::Answer { call_id: CALL }).unwrap();
    assert_eq!([room.accepted(ALICE), room.accepted(BOB)], [Some(false); 2], "the callee did not want it");
}

#[test]
fn notices_of_one_app_to_the_other_arrive_in_order_and_once() {
    let mut room = Room::ringing(true);
    room.does(BOB, Command::AnswerToPrepare { call_id: CALL }).unwrap();
    let notices = [Notice::PreparationFinished, Notice::MuteRequest { muted: true }, Notice::HoldReason("tea".into())];
    for notice in notices.clone() {
        let body = NegotiationBody::Notice(notice);
        room.does(BOB, Command::Negotiate { call_id: CALL, to: party("alice", "phone"), body }).unwrap();
    }
    let heard: Vec<Notice> = room
        .told
        .iter()
        .filter_map(|(who, event)| match event {
            Event::Negotiation { body: NegotiationBody::Notice(notice), .. } if *who == ALICE => Some(notice.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(heard, notices);
}

#[test]
fn a_device_that_a_push_woke_asks_and_rings() {
    let mut room = Room::new();
    room.away.push(BOB);
    room.calls(false);
    assert!(!room.rings(BOB) && room.rings(BOBS_DESK));
    room.away.clear();
    room.does(BOB, Command::Verify { call_id: CALL }).unwrap();
    assert!(room.rings(BOB));
    assert_eq!(room.released(BOB), None);
    room.does(BOB, Command::Verify { call_id: CALL }).unwrap();
    assert_eq!(room.released(BOB), None, "a call that rings is not asked about");
}

#[test]
fn a_device_that_a_push_woke_too_late_is_told_the_end_and_never_rings() {
    let said = code("never mind", DisconnectSource::Caller);
    let mut room = Room::new();
    room.away.push(BOB);
    room.calls(false);
    room.does(ALICE, Command::Release { call_id: CALL, release: said }).unwrap();
    room.away.clear();
    room.does(BOB, Command::Verify { call_id: CALL }).unwrap();
    assert_eq!(room.released(BOB), Some((EndReason::RemoteCancel, Some(said))));
    assert!(!room.rings(BOB));

    let mut room = Room::new();
    room.away.push(BOB);
    room.calls(false);
    room.does(BOBS_DESK, Command::Answer { call_id: CALL }).unwrap();
    room.away.clear();
    room.does(BOB, Command::Verify { call_id: CALL }).unwrap();
    assert_eq!(room.released(BOB), Some((EndReason::AnsweredElsewhere, None)));
    assert!(!room.rings(BOB));
}

#[test]
fn a_call_nobody_knows_and_a_server_that_says_nothing_are_released() {
    let mut room = Room::new();
    room.does(BOB, Command::Verify { call_id: CALL }).unwrap();
    assert_eq!(room.released(BOB), Some((EndReason::RemoteDrop, None)));

    let mut room = Room::new();
    room.away.push(BOB);
    room.does(BOB, Command::Verify { call_id: CALL }).unwrap();
    assert_eq!(room.released(BOB), None);
    room.now = Now { mono: Time(10_000), unix_ms: 1_010_000 };
    room.input(BOB, Input::Wake).unwrap();
    assert_eq!(room.released(BOB), Some((EndReason::Error, None)));
}
