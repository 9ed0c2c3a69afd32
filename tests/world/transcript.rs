//! What happened, line by line.

use call_protocol::accept::AnswerResult;
use call_protocol::media::NegotiationBody;
use call_protocol::ring::RingConfirm;
use call_protocol::{CallMessage, Word};
use signaling::{Event, Role};

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
}

impl Transcript {
    pub(crate) fn new(detail: Detail) -> Self {
        Self { detail, text: String::new() }
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
        } else if !matches!(message.word, Word::KeepAlive { .. }) {
            self.line(at, what);
        }
    }

    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }
}

/// A word in a word or two.
pub(crate) fn word(word: &Word) -> String {
    let detail = match word {
        Word::RingConfirm(RingConfirm::Ring { .. }) => "ring".to_owned(),
        Word::RingConfirm(RingConfirm::Over { reason }) => reason.to_string(),
        Word::RingConfirm(RingConfirm::Refused { refusal }) => refusal.to_string(),
        Word::Answer(answer) => result(answer.result).to_owned(),
        Word::AnswerConfirm(confirm) => format!("{} by {}", result(confirm.result), confirm.winner.user),
        Word::Cancel(cancel) => cancel.reason.to_string(),
        Word::End(end) => end.reason.to_string(),
        Word::Reachability { reachable: true, .. } => "back".to_owned(),
        Word::Reachability { reachable: false, ends_in_ms } => format!("away, ends in {ends_in_ms} ms"),
        Word::Invite(_) | Word::Alert(_) | Word::KeepAlive { .. } | Word::Negotiation(_) => {
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

/// What the app is told, in a few words.
pub(crate) fn event(event: &Event) -> String {
    match event {
        Event::Alerted { callee, .. } => format!("{callee} is about to ring"),
        Event::Ringing { invite } => format!("{} rings", invite.caller.user),
        Event::Accepted { role: Role::Caller, peer, .. } => format!("{} accepted", peer.user),
        Event::Accepted { role: Role::Callee, peer, .. } => format!("in a call with {}", peer.user),
        Event::Failed { refusal, .. } => format!("failed: {refusal}"),
        Event::Negotiation { body: NegotiationBody::Description(description), .. } => {
            format!("the other one says {}", description.sdp)
        }
        Event::Negotiation { body: NegotiationBody::Candidate(_), .. } => "the other one names an address".to_owned(),
        Event::Reachability { reachable: true, .. } => "the other one is back".to_owned(),
        Event::Reachability { reachable: false, .. } => "the other one cannot be heard".to_owned(),
        Event::Ended { reason, .. } => format!("ended: {reason}"),
    }
}
