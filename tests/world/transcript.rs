//! What happened, line by line.

use call_protocol::accept::AnswerResult;
use call_protocol::media::NegotiationBody;
use call_protocol::ring::RingConfirm;
use call_protocol::{CallMessage, Word};
use signaling::{Command, Event, Role};

/// How much is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Nothing: for speed.
    Nothing,
    /// Everything but signs of life.
    Story,
    /// Everything.
    Everything,
}

/// The lines so far.
#[derive(Debug)]
pub(crate) struct Transcript {
    detail: Detail,
    text: String,
    told: Vec<(String, String)>,
}

impl Transcript {
    pub(crate) fn new(detail: Detail) -> Self {
        Self { detail, text: String::new(), told: Vec::new() }
    }

    /// Adds a line `at` this ms, if anybody reads it.
    pub(crate) fn line(&mut self, at: u64, what: impl FnOnce() -> String) {
        if self.detail != Detail::Nothing {
            self.text.push_str(&format!("{:>7} {}\n", format!("{}.{:03}", at / 1_000, at % 1_000), what()));
        }
    }

    /// Adds a line about a message; signs of life are left out of stories.
    pub(crate) fn message(&mut self, at: u64, message: &CallMessage, what: impl FnOnce() -> String) {
        if self.detail == Detail::Everything {
            self.line(at, || format!("{} [{}]", what(), &message.call_id.to_string()[..4]));
        } else if !is_silent(&message.word) {
            self.line(at, what);
        }
    }

    /// Adds what an app is told.
    pub(crate) fn told(&mut self, at: u64, name: &str, event: &Event) {
        // In a story it is the line before.
        let is_said = matches!(event, Event::Notifying { .. }) && self.detail == Detail::Story;
        if self.detail != Detail::Nothing && !is_said {
            self.told.push((name.to_owned(), self::event(event)));
            self.line(at, || format!("{name}: {}", self::event(event)));
        }
    }

    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    /// What the apps were told, whenever that was.
    pub(crate) fn take_told(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.told)
    }
}

/// Signs of life, and acknowledgements that hold nothing else.
fn is_silent(word: &Word) -> bool {
    match word {
        Word::KeepAlive(_) => true,
        Word::Negotiation(negotiation) => negotiation.body.is_none(),
        Word::Invite(_)
        | Word::Alert(_)
        | Word::RingConfirm(_)
        | Word::Answer(_)
        | Word::AnswerConfirm(_)
        | Word::Cancel(_)
        | Word::End(_)
        | Word::Reachability { .. }
        | Word::Hold { .. }
        | Word::Missed(_) => false,
    }
}

/// A word in a word or two.
pub(crate) fn word(word: &Word) -> String {
    let detail = match word {
        Word::RingConfirm(RingConfirm::Ring { .. }) => "ring".to_owned(),
        Word::RingConfirm(RingConfirm::Over { reason, .. }) => reason.to_string(),
        Word::RingConfirm(RingConfirm::Refused { refusal }) => refusal.to_string(),
        Word::Answer(answer) => result(answer.result).to_owned(),
        Word::AnswerConfirm(confirm) => format!("{} by {}", result(confirm.result), who(&confirm.winner)),
        Word::Cancel(cancel) => cancel.reason.to_string(),
        Word::End(end) => end.reason.to_string(),
        Word::Reachability { reachable: true, .. } => "back".to_owned(),
        Word::Reachability { reachable: false, ends_in_ms } => format!("away, ends in {ends_in_ms} ms"),
        Word::Hold { held, .. } => if *held { "on hold" } else { "goes on" }.to_owned(),
        Word::Negotiation(negotiation) if negotiation.seq > 1 => format!("step {}", negotiation.seq),
        Word::Invite(_) | Word::Alert(_) | Word::KeepAlive(_) | Word::Negotiation(_) | Word::Missed(_) => {
            return word.name().to_owned();
        }
    };
    format!("{} ({detail})", word.name())
}

fn result(result: AnswerResult) -> &'static str {
    match result {
        AnswerResult::Accept => "accept",
        AnswerResult::Refuse => "refuse",
        AnswerResult::Busy => "busy",
    }
}

/// A device as the transcripts name it: a user's first one by the user alone.
fn who(party: &call_protocol::Party) -> String {
    if party.device.as_str() == "phone" { party.user.to_string() } else { format!("{}'s {}", party.user, party.device) }
}

/// What a user does, in a few words.
pub(crate) fn command(command: &Command) -> String {
    match command {
        Command::Invite { callees, call_type, .. } => format!("calls {callees:?} as {call_type:?}"),
        Command::Answer { .. } => "answers".to_owned(),
        Command::AnswerToPrepare { .. } => "answers, to prepare".to_owned(),
        Command::Verify { .. } => "asks about the call of a push".to_owned(),
        Command::Release { release, .. } => format!("hangs up: {:?}", release.reason),
        Command::Hangup { .. } => "hangs up".to_owned(),
        Command::Hold { held: true, .. } => "puts on hold".to_owned(),
        Command::Hold { held: false, .. } => "goes on".to_owned(),
        Command::Negotiate { to, .. } => format!("says a step to {}", who(to)),
        Command::Fail { reason, .. } => format!("has no media any more: {reason}"),
    }
}

/// What the app is told, in a few words.
pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Notifying { .. } => "the callee is being notified".to_owned(),
        Event::Alerted { callee, .. } => format!("{} is about to ring", who(callee)),
        Event::Ringing { invite, waiting: false } => format!("{} rings", invite.caller.user),
        Event::Ringing { invite, waiting: true } => format!("{} waits", invite.caller.user),
        Event::Merged { invite, .. } => format!("goes on as the call of {}", invite.caller.user),
        Event::Answering { peer, .. } => format!("{} says that it accepts", who(peer)),
        Event::Accepted { role: Role::Caller, peer, .. } => format!("{} accepted", who(peer)),
        Event::Accepted { role: Role::Callee, peer, .. } => format!("in a call with {}", who(peer)),
        Event::Failed { refusal, .. } => format!("failed: {refusal}"),
        Event::Negotiation { body: NegotiationBody::Description(description), from, .. } => {
            format!("{} says {}", who(from), description.sdp)
        }
        Event::Negotiation { body: NegotiationBody::Candidate(_), .. } => "the other one names an address".to_owned(),
        Event::Negotiation { body: NegotiationBody::Restart, .. } => "the other one wants a new way".to_owned(),
        Event::Negotiation { body: NegotiationBody::Notice(notice), .. } => format!("the other one's app: {notice:?}"),
        Event::Released { reason, .. } => format!("the call of the push is over: {reason}"),
        Event::Held { held: true, .. } => "on hold".to_owned(),
        Event::Held { held: false, .. } => "goes on".to_owned(),
        Event::PeerHeld { held: true, reason: Some(reason), .. } => format!("the other one holds: {reason}"),
        Event::PeerHeld { held: true, reason: None, .. } => "the other one holds".to_owned(),
        Event::PeerHeld { held: false, .. } => "the other one goes on".to_owned(),
        Event::Reachability { reachable: true, .. } => "the other one is back".to_owned(),
        Event::Reachability { reachable: false, .. } => "the other one cannot be heard".to_owned(),
        Event::Ended { reason, .. } => format!("ended: {reason}"),
        Event::Missed { invite } => format!("missed a call of {}", invite.caller.user),
    }
}
