//! A device whose wall clock is off rings for as long as it is to.

#![allow(clippy::unwrap_used)] // a test that cannot go on has failed

use call_protocol::invite::{CallType, Invite};
use call_protocol::ring::{Alert, RingConfirm};
use call_protocol::{CallId, CallMessage, DeviceId, Party, UserId, Word};
use signaling::{Address, Event, Input, Line, LineConfig, Now, Output, Time};

const CALL: CallId = CallId::from_bits(7);
const BEGIN_UNIX_MS: u64 = 1_700_000_000_000;
/// How long it still rings as the arbiter says so.
const LEFT_MS: u32 = 5_000;

fn party(user: &str) -> Party {
    Party { user: UserId::new(user).unwrap(), device: DeviceId::new("phone").unwrap() }
}

fn invite() -> Invite {
    Invite {
        call_id: CALL,
        caller: party("alice"),
        callees: vec![UserId::new("bob").unwrap()],
        call_type: CallType::Audio1v1,
        channel: CALL.channel(),
        ext: Default::default(),
        ring_timeout_ms: 30_000,
        ring_deadline_unix_ms: 0,
        responder_preparation: false,
        app_server_data: String::new(),
    }
}

/// A phone whose wall clock is off by so many ms.
struct Phone {
    line: Line,
    off_ms: i64,
}

impl Phone {
    fn now(&self, ms: u64) -> Now {
        Now { mono: Time(ms), unix_ms: (BEGIN_UNIX_MS + ms).saturating_add_signed(self.off_ms) }
    }

    /// What it says and tells of this.
    fn input(&mut self, ms: u64, input: Input) -> (Vec<Word>, Vec<Event>) {
        let now = self.now(ms);
        self.line.handle_input(now, input).unwrap();
        let (mut said, mut told) = (Vec::new(), Vec::new());
        while let Some(output) = self.line.poll_output() {
            match output {
                Output::Send { message, .. } => said.push(message.word),
                Output::Tell(event) => told.push(event),
                Output::Direct { .. } | Output::WakeAt(..) => {}
            }
        }
        (said, told)
    }

    fn hears(&mut self, ms: u64, word: Word) -> (Vec<Word>, Vec<Event>) {
        self.input(ms, Input::Message { from: Address::Server, message: CallMessage { call_id: CALL, word } })
    }
}

/// From the arbiter's word to the end of the ringing. The phone asks, the arbiter answers `there_ms` later, which it hears `back_ms` later.
/// None if it does not ring.
fn rings_for(off_ms: i64, there_ms: u64, back_ms: u64) -> Option<u64> {
    let mut phone = Phone { line: Line::new(party("bob"), LineConfig::default()), off_ms };
    let (said, _) = phone.hears(1_000, Word::Invite(Box::new(invite())));
    let [Word::Alert(Alert { asked_unix_ms, .. })] = said[..] else { panic!("{said:?}") };
    let spoken = 1_000 + there_ms;
    let deadline_unix_ms = BEGIN_UNIX_MS + spoken + u64::from(LEFT_MS);
    let confirm = RingConfirm::Ring { deadline_unix_ms, left_ms: Some(LEFT_MS), asked_unix_ms };
    let heard = spoken + back_ms;
    let (_, told) = phone.hears(heard, Word::RingConfirm(confirm));
    if !told.iter().any(|event| matches!(event, Event::Ringing { .. })) {
        return None;
    }
    let mut moments = heard..heard + 20_000;
    let is_over = |event: &Event| matches!(event, Event::Ended { .. });
    moments.find(|ms| phone.input(*ms, Input::Wake).1.iter().any(is_over)).map(|ms| ms - spoken)
}

#[test]
fn a_phone_whose_clock_is_off_rings_for_as_long_as_it_is_to() {
    // By hand, and by a clock that is off by 200 ppm, for a day and for three.
    for off_ms in [20_000, 40_000, 17_280, 51_840, 3_600_000].into_iter().flat_map(|off_ms| [off_ms, -off_ms]) {
        let rang = rings_for(off_ms, 30, 40).unwrap();
        assert!(rang.abs_diff(LEFT_MS.into()) <= 40, "{off_ms}: {rang}");
        // A question and an answer that were long on their way: by that, and no more.
        let rang = rings_for(off_ms, 700, 900).unwrap();
        assert!(rang.abs_diff(LEFT_MS.into()) <= 900, "{off_ms}: {rang}");
    }
}

#[test]
fn a_clock_that_is_right_says_exactly_when_a_late_word_was_said() {
    for (there, back) in [(30, 40), (2_000, 3_000), (0, 4_999)] {
        assert_eq!(rings_for(0, there, back), Some(LEFT_MS.into()));
    }
    assert_eq!(rings_for(0, 1_000, 6_000), None, "it is over");
}
