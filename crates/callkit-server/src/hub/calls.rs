//! The calls of the server: one arbiter each, and the heap of their timers.

use std::collections::{HashMap, VecDeque};

use call_protocol::media::KeepAlive;
use call_protocol::ring::InviteRefusal;
use call_protocol::{CallId, CallMessage, Party, UserId, Word};
use signaling::{Arbiter, ArbiterConfig, ArbiterInput, ArbiterOutput, ArbiterSnapshot, Fact, Now, Time, To};
use tracing::{Span, info, info_span};

use super::timers::Timers;
use crate::token::AppNo;

/// One call of one app: the same id in two apps is two calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct CallKey {
    pub(crate) app: AppNo,
    pub(crate) call_id: CallId,
}

/// What goes out.
#[derive(Debug)]
pub(crate) enum CallOutput {
    /// Carry this to a device or to all devices of a user.
    Send { app: AppNo, to: To, message: CallMessage },
    /// The call as it is now, for the store.
    Save(CallKey, Box<ArbiterSnapshot>),
    /// The call can be forgotten.
    Forget(CallKey),
    /// For the metrics.
    Tell(CallFact),
}

/// What the metrics count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallFact {
    Opened,
    Refused(InviteRefusal),
    Arbiter(Fact),
}

/// The knobs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallsConfig {
    pub(crate) arbiter: ArbiterConfig,
    pub(crate) per_device: usize,
    /// Until when after a start nobody is told that a running call is unknown: the server may have lost it, the parties have not.
    pub(crate) quiet_until: Time,
    /// Whether outputs say what to store.
    pub(crate) keeps: bool,
}

/// What the calls ask about the users of the app in question.
pub(crate) trait People {
    /// Whether there can be such a user.
    fn can_exist(&self, user: &UserId) -> bool;
    /// Whether a device may open another call now.
    fn may_open(&self, caller: &Party) -> bool;
    /// The devices of a user that are connected.
    fn online(&self, user: &UserId) -> Vec<Party>;
}

pub(crate) struct Calls {
    config: CallsConfig,
    calls: HashMap<CallKey, Call>,
    by_user: HashMap<(AppNo, UserId), Vec<CallId>>,
    timers: Timers<CallKey>,
    outputs: VecDeque<CallOutput>,
    running: usize,
}

struct Call {
    arbiter: Arbiter,
    wake_at: Option<Time>,
    span: Span,
}

impl Calls {
    pub(crate) fn new(config: CallsConfig) -> Self {
        Self {
            config,
            calls: HashMap::new(),
            by_user: HashMap::new(),
            timers: Timers::new(),
            outputs: VecDeque::new(),
            running: 0,
        }
    }

    /// Goes on with a call of before the start.
    pub(crate) fn restore(&mut self, now: Now, app: AppNo, snapshot: ArbiterSnapshot) {
        let arbiter = Arbiter::restore(self.config.arbiter, now, snapshot);
        let key = self.insert(app, arbiter);
        self.drain(now, key, false);
    }

    /// Calls that are not over.
    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// A device says something about a call.
    pub(crate) fn on_message(
        &mut self,
        now: Now,
        app: AppNo,
        from: Party,
        mut message: CallMessage,
        people: &impl People,
    ) {
        vouch(&mut message.word, &from);
        let key = CallKey { app, call_id: message.call_id };
        let Some(call) = self.calls.get_mut(&key) else {
            return self.on_unknown(now, key, from, message, people);
        };
        let invite = call.arbiter.invite();
        let is_invite = matches!(message.word, Word::Invite(_));
        if is_invite && invite.caller != from {
            return self.refuse(key, from, InviteRefusal::Invalid);
        }
        if invite.caller != from && !invite.callees.contains(&from.user) {
            return self.reply(app, from.clone(), Arbiter::reply_to_unknown(&from, &message));
        }
        let changes = !matches!(message.word, Word::KeepAlive(_) | Word::Negotiation(_));
        call.arbiter.handle_input(now, ArbiterInput::Message { from, word: message.word });
        self.drain(now, key, changes);
    }

    /// A device signed in: what rings for it is to reach it.
    pub(crate) fn on_online(&mut self, now: Now, app: AppNo, party: &Party) {
        self.for_each_of(now, app, party, ArbiterInput::Online);
    }

    /// A device signed in without what it knew: its app was started anew.
    pub(crate) fn on_restarted(&mut self, now: Now, app: AppNo, party: &Party) {
        self.for_each_of(now, app, party, ArbiterInput::Restarted);
    }

    /// A device signed out for good.
    pub(crate) fn on_signed_out(&mut self, now: Now, app: AppNo, party: &Party) {
        self.for_each_of(now, app, party, ArbiterInput::SignedOut);
    }

    pub(crate) fn next_wake(&self) -> Option<Time> {
        self.timers.next()
    }

    pub(crate) fn on_wake(&mut self, now: Now) {
        while let Some((at, key)) = self.timers.pop_due(now.mono) {
            let Some(call) = self.calls.get_mut(&key) else { continue };
            if call.wake_at != Some(at) {
                continue;
            }
            call.wake_at = None;
            call.arbiter.handle_input(now, ArbiterInput::Wake);
            self.drain(now, key, false);
        }
        let is_wanted = |at, key: &CallKey| self.calls.get(key).is_some_and(|call| call.wake_at == Some(at));
        self.timers.tidy(self.calls.len(), is_wanted);
    }

    pub(crate) fn poll_output(&mut self) -> Option<CallOutput> {
        self.outputs.pop_front()
    }

    fn on_unknown(&mut self, now: Now, key: CallKey, from: Party, message: CallMessage, people: &impl People) {
        match message.word {
            Word::Invite(mut invite) => {
                invite.caller = from.clone();
                if invite.check().is_err() {
                    self.refuse(key, from, InviteRefusal::Invalid);
                } else if !invite.callees.iter().all(|user| people.can_exist(user)) {
                    self.refuse(key, from, InviteRefusal::UnknownUser);
                } else if self.opened_by(key.app, &from) >= self.config.per_device || !people.may_open(&from) {
                    self.refuse(key, from, InviteRefusal::TooMany);
                } else {
                    let online = invite.callees.iter().flat_map(|user| people.online(user)).collect();
                    let arbiter = Arbiter::open(self.config.arbiter, now, from, *invite, online);
                    let key = self.insert(key.app, arbiter);
                    self.outputs.push_back(CallOutput::Tell(CallFact::Opened));
                    self.calls[&key].span.in_scope(|| info!("opened"));
                    self.drain(now, key, true);
                }
            }
            Word::KeepAlive(KeepAlive { in_call: true, .. }) if now.mono < self.config.quiet_until => {}
            _ => self.reply(key.app, from.clone(), Arbiter::reply_to_unknown(&from, &message)),
        }
    }

    fn insert(&mut self, app: AppNo, arbiter: Arbiter) -> CallKey {
        let key = CallKey { app, call_id: arbiter.call_id() };
        for user in users(&arbiter) {
            self.by_user.entry((app, user)).or_default().push(key.call_id);
        }
        self.running += usize::from(!arbiter.has_ended());
        let span = info_span!("call", id = %key.call_id);
        self.calls.insert(key, Call { arbiter, wake_at: None, span });
        key
    }

    fn remove(&mut self, key: CallKey) {
        let Some(call) = self.calls.remove(&key) else { return };
        for user in users(&call.arbiter) {
            let at = (key.app, user);
            if let Some(calls) = self.by_user.get_mut(&at) {
                calls.retain(|call_id| *call_id != key.call_id);
                if calls.is_empty() {
                    self.by_user.remove(&at);
                }
            }
        }
        if self.config.keeps {
            self.outputs.push_back(CallOutput::Forget(key));
        }
    }

    /// Passes on what an arbiter has to say, and stores it if it may have changed.
    fn drain(&mut self, now: Now, key: CallKey, mut changed: bool) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        while let Some(output) = call.arbiter.poll_output() {
            match output {
                ArbiterOutput::Send { to, message } => {
                    self.outputs.push_back(CallOutput::Send { app: key.app, to, message });
                }
                ArbiterOutput::Tell(fact) => {
                    changed = true;
                    self.running -= usize::from(matches!(fact, Fact::Ended { .. }));
                    call.span.in_scope(|| log_fact(fact));
                    self.outputs.push_back(CallOutput::Tell(CallFact::Arbiter(fact)));
                }
                ArbiterOutput::WakeAt(at, _) => {
                    call.wake_at = Some(at);
                    self.timers.push(at, key);
                }
            }
        }
        if call.arbiter.is_done() {
            self.remove(key);
        } else if changed && self.config.keeps {
            let snapshot = Box::new(call.arbiter.snapshot(now));
            self.outputs.push_back(CallOutput::Save(key, snapshot));
        }
    }

    fn for_each_of(&mut self, now: Now, app: AppNo, party: &Party, input: fn(Party) -> ArbiterInput) {
        let Some(calls) = self.by_user.get(&(app, party.user.clone())) else { return };
        for call_id in calls.clone() {
            let key = CallKey { app, call_id };
            if let Some(call) = self.calls.get_mut(&key) {
                call.arbiter.handle_input(now, input(party.clone()));
                self.drain(now, key, false);
            }
        }
    }

    fn opened_by(&self, app: AppNo, device: &Party) -> usize {
        let calls = self.by_user.get(&(app, device.user.clone())).map_or(&[][..], Vec::as_slice);
        let arbiters = calls.iter().filter_map(|call_id| self.calls.get(&CallKey { app, call_id: *call_id }));
        arbiters.filter(|call| call.arbiter.invite().caller == *device && !call.arbiter.has_ended()).count()
    }

    fn refuse(&mut self, key: CallKey, to: Party, refusal: InviteRefusal) {
        info!(call = %key.call_id, %refusal, "invite refused");
        self.outputs.push_back(CallOutput::Tell(CallFact::Refused(refusal)));
        self.reply(key.app, to, Some(Arbiter::refuse(key.call_id, refusal)));
    }

    fn reply(&mut self, app: AppNo, to: Party, message: Option<CallMessage>) {
        if let Some(message) = message {
            self.outputs.push_back(CallOutput::Send { app, to: To::Device(to), message });
        }
    }
}

/// Writes the true sender where a message names its sender.
fn vouch(word: &mut Word, from: &Party) {
    match word {
        Word::Invite(invite) => invite.caller = from.clone(),
        Word::Alert(alert) => alert.callee = from.clone(),
        Word::Answer(answer) => answer.callee = from.clone(),
        Word::Negotiation(step) => step.from = from.clone(),
        Word::RingConfirm(_)
        | Word::AnswerConfirm(_)
        | Word::Cancel(_)
        | Word::End(_)
        | Word::KeepAlive(_)
        | Word::Reachability { .. }
        | Word::Hold { .. }
        | Word::Missed(_) => {}
    }
}

fn users(arbiter: &Arbiter) -> impl Iterator<Item = UserId> {
    let invite = arbiter.invite();
    let mut users = invite.callees.clone();
    users.push(invite.caller.user.clone());
    users.sort();
    users.dedup();
    users.into_iter()
}

fn log_fact(fact: Fact) {
    match fact {
        Fact::Ringing { .. } => info!("ringing"),
        Fact::Answered { ring_ms, .. } => info!(ring_ms, "answered"),
        Fact::Ended { caller_reason, callee_reason, talk_ms, .. } => {
            info!(%caller_reason, %callee_reason, talk_ms, "ended");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use call_protocol::DeviceId;
    use call_protocol::end::EndReason;
    use call_protocol::invite::{CallType, Invite};
    use call_protocol::ring::{Alert, RingConfirm};

    const CALL: CallId = CallId::from_bits(7);
    const APP: AppNo = AppNo(0);

    fn party(user: &str) -> Party {
        Party { user: UserId::new(user).unwrap(), device: DeviceId::new("phone").unwrap() }
    }

    fn calls(quiet_ms: u64) -> Calls {
        Calls::new(CallsConfig {
            arbiter: ArbiterConfig::default(),
            per_device: 1,
            quiet_until: Time(quiet_ms),
            keeps: true,
        })
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

    impl People for Anybody {
        fn can_exist(&self, _: &UserId) -> bool {
            true
        }

        fn may_open(&self, _: &Party) -> bool {
            true
        }

        fn online(&self, _: &UserId) -> Vec<Party> {
            Vec::new()
        }
    }

    struct Somebody(bool);

    impl People for Somebody {
        fn can_exist(&self, _: &UserId) -> bool {
            self.0
        }

        fn may_open(&self, _: &Party) -> bool {
            true
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
        calls.on_message(at(0), APP, party("ann"), invite(CALL, "bob"), &Anybody);
        let heard = said(&mut calls);
        let to_bob = heard.iter().find(|(to, _)| to == "bob").unwrap();
        assert!(matches!(&to_bob.1.word, Word::Invite(invite) if invite.caller == party("ann")));

        let alert = CallMessage { call_id: CALL, word: Word::Alert(Alert { callee: party("carl") }) };
        calls.on_message(at(1), APP, party("bob"), alert, &Anybody);
        let heard = said(&mut calls);
        assert!(heard.iter().any(|(to, message)| {
            to == "ann/phone" && matches!(&message.word, Word::Alert(alert) if alert.callee == party("bob"))
        }));
    }

    #[test]
    fn an_invite_is_refused_for_what_is_wrong_with_it() {
        let mut calls = calls(0);
        let refusal = |calls: &mut Calls, from: &str, message: CallMessage, known: bool| {
            calls.on_message(at(0), APP, party(from), message, &Somebody(known));
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
        calls.on_message(at(0), APP, party("ann"), invite(CALL, "bob"), &Anybody);
        said(&mut calls);
        let end = CallMessage { call_id: CALL, word: Word::End(EndReason::Hangup.into()) };
        calls.on_message(at(1), APP, party("eve"), end.clone(), &Anybody);
        assert_eq!(said(&mut calls), [("eve/phone".to_owned(), end.clone())], "a receipt, and nobody else hears of it");
        calls.on_message(at(2), AppNo(1), party("ann"), end.clone(), &Anybody);
        assert_eq!(said(&mut calls), [("ann/phone".to_owned(), end)], "the other app's ann is another ann");
        assert_eq!(calls.running(), 1);
    }

    #[test]
    fn after_a_start_a_running_call_that_is_unknown_is_left_alone_for_a_while() {
        let mut calls = calls(1_000);
        let word = Word::KeepAlive(KeepAlive { in_call: true, ..KeepAlive::default() });
        let alive = CallMessage { call_id: CALL, word };
        calls.on_message(at(999), APP, party("ann"), alive.clone(), &Anybody);
        assert_eq!(said(&mut calls), []);
        calls.on_message(at(1_000), APP, party("ann"), alive, &Anybody);
        assert!(matches!(said(&mut calls)[..], [(_, CallMessage { word: Word::End(_), .. })]));
    }

    #[test]
    fn a_call_that_is_over_is_forgotten_everywhere() {
        let mut calls = calls(0);
        calls.on_message(at(0), APP, party("ann"), invite(CALL, "bob"), &Anybody);
        let mut saved = 0;
        let mut forgotten = 0;
        while let Some(wake) = calls.next_wake() {
            calls.on_wake(at(wake.0));
            while let Some(output) = calls.poll_output() {
                match output {
                    CallOutput::Save(..) => saved += 1,
                    CallOutput::Forget(key) => forgotten += usize::from(key.call_id == CALL),
                    CallOutput::Send { .. } | CallOutput::Tell(_) => {}
                }
            }
        }
        assert!(saved >= 2, "when it opened and when it ended");
        assert_eq!(forgotten, 1);
        assert!(calls.calls.is_empty() && calls.by_user.is_empty());
    }
}
