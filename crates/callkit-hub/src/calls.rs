//! The calls of the server: one arbiter each, and the heap of their timers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use call_protocol::accept::{Answer, AnswerResult};
use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::{End, EndReason, Release, UserCode};
use call_protocol::invite::Invite;
use call_protocol::media::{KeepAlive, Quality};
use call_protocol::ring::InviteRefusal;
use call_protocol::{CallId, CallMessage, ChannelId, DeviceId, Party, UserId, Word};
use signaling::{Arbiter, ArbiterConfig, ArbiterInput, ArbiterOutput, ArbiterSnapshot, Fact, Now, Time, To};
use tracing::{Span, info, info_span};

use crate::ids::{AppNo, CallKey};
use crate::missed::MissedBy;
use crate::output::CallStatus;
use crate::timers::Timers;

/// What goes out.
#[derive(Debug)]
pub(crate) enum CallOutput {
    /// Carry this to a device or to all devices of a user.
    Send { app: AppNo, to: To, message: CallMessage },
    /// The call as it is now, for the store.
    Save(CallKey, Box<ArbiterSnapshot>),
    /// The call can be forgotten.
    Forget(CallKey),
    /// A call was opened.
    Opened(Box<OpenedCall>),
    /// A device took the call.
    Answered(CallKey, Party),
    /// A call is over.
    Ended(Box<EndedCall>),
    /// For the metrics.
    Fact(CallFact),
}

/// A call that was just opened.
#[derive(Debug)]
pub(crate) struct OpenedCall {
    pub(crate) app: AppNo,
    /// As the callees get it.
    pub(crate) invite: Invite,
    /// What the caller's app says to its backend alone.
    pub(crate) app_server_data: String,
}

/// A call that is just over.
#[derive(Debug)]
pub(crate) struct EndedCall {
    pub(crate) app: AppNo,
    pub(crate) invite: Invite,
    pub(crate) caller_reason: EndReason,
    pub(crate) callee_reason: EndReason,
    /// What was said about the end.
    pub(crate) release: Option<Release>,
    pub(crate) ended_unix_ms: u64,
    /// For how long the parties talked, if it was answered.
    pub(crate) talk_ms: Option<u64>,
    pub(crate) missed: bool,
    /// How it sounded to the caller, and to who took it, as far as their devices told.
    pub(crate) quality: [Option<Quality>; 2],
}

/// Which calls of a party are meant.
#[derive(Debug)]
pub(crate) enum CallFilter {
    Only(CallId),
    AllBut(Vec<CallId>),
}

impl CallFilter {
    fn has(&self, call_id: CallId) -> bool {
        match self {
            CallFilter::Only(only) => *only == call_id,
            CallFilter::AllBut(others) => !others.contains(&call_id),
        }
    }
}

/// A one-to-one call as one of its parties sees it.
#[derive(Debug)]
pub(crate) struct OwnCall {
    pub(crate) is_caller: bool,
    /// Who placed it and who took it.
    pub(crate) parties: Vec<Party>,
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
}

/// What the calls ask about the users of the app in question.
pub(crate) trait Users {
    /// Whether there can be such a user.
    fn can_exist(&self, user: &UserId) -> bool;
    /// Whether a device may open another call now, to so many, or why not.
    fn may_open(&mut self, caller: &Party, callees: usize) -> Result<(), InviteRefusal>;
    /// The devices of a user that are connected.
    fn online(&self, user: &UserId) -> Vec<Party>;
}

/// The device of a callee who says no without an app.
const NO_DEVICE: &str = "no-app";

pub(crate) struct Calls {
    config: CallsConfig,
    calls: BTreeMap<CallKey, Call>,
    /// The calls of each user that are not over.
    by_user: BTreeMap<(AppNo, UserId), Vec<CallId>>,
    /// How many calls each device has opened that are not over.
    opened: BTreeMap<(AppNo, Party), usize>,
    timers: Timers<CallKey>,
    outputs: VecDeque<CallOutput>,
    running: usize,
    /// Mixed into the hashes of what was stored last, so that nobody can choose what hashes alike.
    hash_seed: u64,
}

struct Call {
    arbiter: Arbiter,
    wake_at: Option<Time>,
    span: Span,
    /// Of the caller, and of who took it.
    quality: [Option<Quality>; 2],
    /// Of what was stored last: what did not change is not stored again.
    saved: Option<u64>,
}

impl Call {
    fn note_quality(&mut self, from: &Party, quality: Quality) {
        if self.arbiter.invite().caller == *from {
            self.quality[0] = Some(quality);
        } else if self.arbiter.winner() == Some(from) {
            self.quality[1] = Some(quality);
        }
    }
}

impl Calls {
    pub(crate) fn new(config: CallsConfig, hash_seed: u64) -> Self {
        Self {
            config,
            calls: BTreeMap::new(),
            by_user: BTreeMap::new(),
            opened: BTreeMap::new(),
            timers: Timers::new(),
            outputs: VecDeque::new(),
            running: 0,
            hash_seed,
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
        users: &mut impl Users,
    ) {
        vouch(&mut message.word, &from);
        let key = CallKey { app, call_id: message.call_id };
        let Some(call) = self.calls.get_mut(&key) else {
            return self.on_unknown(now, key, from, message, users);
        };
        let invite = call.arbiter.invite();
        let is_invite = matches!(message.word, Word::Invite(_));
        if is_invite && invite.caller != from {
            return self.refuse(key, from, InviteRefusal::Invalid);
        }
        if invite.caller != from && !invite.callees.contains(&from.user) {
            return self.reply(app, from.clone(), Arbiter::reply_to_unknown(&from, &message));
        }
        if let Word::KeepAlive(KeepAlive { quality: Some(quality), .. }) = &message.word {
            call.note_quality(&from, *quality);
        }
        let changes = !matches!(message.word, Word::KeepAlive(_) | Word::Negotiation(_));
        call.arbiter.handle_input(now, ArbiterInput::Message { from, word: message.word });
        self.drain(now, key, changes);
    }

    /// A device signed in: what rings for it is to reach it. What it missed is told from the history, a few calls at a time.
    pub(crate) fn on_online(&mut self, now: Now, app: AppNo, party: &Party, filter: &CallFilter) {
        self.for_each_of(now, app, party, filter, ArbiterInput::Online);
    }

    /// A device signed in without what it knew: its app was started anew.
    pub(crate) fn on_restarted(&mut self, now: Now, app: AppNo, party: &Party, filter: &CallFilter) {
        self.for_each_of(now, app, party, filter, ArbiterInput::Restarted);
    }

    /// A device signed out for good.
    pub(crate) fn on_signed_out(&mut self, now: Now, app: AppNo, party: &Party, filter: &CallFilter) {
        self.for_each_of(now, app, party, filter, ArbiterInput::SignedOut);
    }

    /// A device that signed in for this call alone: it is told at once how the call is.
    pub(crate) fn on_verifying(&mut self, now: Now, key: CallKey, party: &Party, is_restarted: bool) {
        let filter = CallFilter::Only(key.call_id);
        let Some(call) = self.calls.get_mut(&key) else {
            let release = Release {
                reason: DisconnectReason::ReleasedCall,
                source: DisconnectSource::CloudServer,
                user_code: None,
            };
            let word = Word::End(End { reason: EndReason::RemoteDrop, release: Some(release) });
            return self.reply(key.app, party.clone(), Some(CallMessage { call_id: key.call_id, word }));
        };
        if call.arbiter.has_ended() {
            let word = Word::KeepAlive(KeepAlive::default());
            call.arbiter.handle_input(now, ArbiterInput::Message { from: party.clone(), word });
            self.drain(now, key, false);
        } else if is_restarted {
            self.on_restarted(now, key.app, party, &filter);
        } else {
            self.on_online(now, key.app, party, &filter);
        }
    }

    /// What a device is to be told of a call that it missed by the history: nothing if it knows already.
    pub(crate) fn missed_by(&self, key: CallKey, device: &Party) -> MissedBy<'_> {
        match self.calls.get(&key) {
            None => MissedBy::Forgotten,
            Some(call) if call.arbiter.is_missed_unknown_to(device) => MissedBy::Remembered(call.arbiter.invite()),
            Some(_) => MissedBy::Nobody,
        }
    }

    /// Whether this device took a call that is not over.
    pub(crate) fn is_taken_by(&self, key: CallKey, party: &Party) -> bool {
        self.calls.get(&key).is_some_and(|call| !call.arbiter.has_ended() && call.arbiter.winner() == Some(party))
    }

    /// The calls in which a user has a part and that are not over.
    pub(crate) fn of_user(&self, app: AppNo, user: &UserId) -> Vec<CallId> {
        self.by_user.get(&(app, user.clone())).cloned().unwrap_or_default()
    }

    /// What a call was opened with.
    pub(crate) fn invite_of(&self, key: CallKey) -> Option<&Invite> {
        self.calls.get(&key).map(|call| call.arbiter.invite())
    }

    /// Whether a device has placed or taken a call that is not over.
    pub(crate) fn is_in_call(&self, app: AppNo, device: &Party) -> bool {
        let calls = self.by_user.get(&(app, device.user.clone())).map_or(&[][..], Vec::as_slice);
        let mut arbiters = calls.iter().filter_map(|call_id| self.calls.get(&CallKey { app, call_id: *call_id }));
        self.opened_by(app, device) > 0 || arbiters.any(|call| call.arbiter.winner() == Some(device))
    }

    /// How a call is for one of its callees.
    pub(crate) fn status(&self, now: Now, key: CallKey, user: &UserId) -> CallStatus {
        let Some(call) = self.calls.get(&key) else { return CallStatus::Released };
        match call.arbiter.ring_left_ms(now) {
            // By the clock as it is now, whatever it was when the call was opened.
            Some(left_ms) if call.arbiter.invite().callees.contains(user) => {
                CallStatus::Rings { deadline_unix_ms: now.unix_ms + left_ms }
            }
            Some(_) | None => CallStatus::Released,
        }
    }

    /// Whether it rings for this user.
    pub(crate) fn rings_for(&self, now: Now, key: CallKey, user: &UserId) -> bool {
        matches!(self.status(now, key, user), CallStatus::Rings { .. })
    }

    /// A callee says no without an app.
    pub(crate) fn decline(&mut self, now: Now, key: CallKey, user: UserId, user_code: Option<UserCode>) -> CallStatus {
        let status = self.status(now, key, &user);
        if let (CallStatus::Rings { .. }, Ok(device)) = (status, DeviceId::new(NO_DEVICE)) {
            let callee = Party { user, device };
            let (reason, source) = (DisconnectReason::Decline, DisconnectSource::Callee);
            let release = user_code.map(|code| Release { reason, source, user_code: Some(code) });
            let result = AnswerResult::Refuse;
            let answer = Answer { callee: callee.clone(), result, call_type: None, preparation: false, release };
            self.apply(now, key, ArbiterInput::Message { from: callee, word: Word::Answer(answer) });
        }
        status
    }

    /// Something happens to a call from outside.
    pub(crate) fn apply(&mut self, now: Now, key: CallKey, input: ArbiterInput) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.arbiter.handle_input(now, input);
        self.drain(now, key, true);
    }

    /// The call of which this channel is the own one, if it is one-to-one and this party placed or took it.
    ///
    /// The own one is named by the call's id and by nothing that the caller wrote: an invite can name any channel.
    pub(crate) fn own_call(
        &self,
        app: AppNo,
        party: &Party,
        channel: &ChannelId,
        filter: &CallFilter,
    ) -> Option<OwnCall> {
        let call_id: CallId = channel.as_str().parse().ok()?;
        let arbiter = &self.calls.get(&CallKey { app, call_id })?.arbiter;
        let invite = arbiter.invite();
        let parties: Vec<Party> = [&invite.caller].into_iter().chain(arbiter.winner()).cloned().collect();
        let is_own = *channel == call_id.channel() && invite.call_type.is_one_to_one() && !arbiter.has_ended();
        let is_caller = invite.caller == *party;
        (is_own && filter.has(call_id) && parties.contains(party)).then_some(OwnCall { is_caller, parties })
    }

    /// Whether it waits for a device of its callee to say anything.
    pub(crate) fn is_unheard(&self, key: CallKey) -> bool {
        self.calls.get(&key).is_some_and(|call| !call.arbiter.has_rung())
    }

    /// Whether it is not over.
    pub(crate) fn is_running(&self, key: CallKey) -> bool {
        self.calls.get(&key).is_some_and(|call| !call.arbiter.has_ended())
    }

    /// The channel of a call that is known here.
    pub(crate) fn channel_of(&self, key: CallKey) -> Option<&ChannelId> {
        self.calls.get(&key).map(|call| &call.arbiter.invite().channel)
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
            self.give(now, key, ArbiterInput::Wake);
        }
        let is_wanted = |at, key: &CallKey| self.calls.get(key).is_some_and(|call| call.wake_at == Some(at));
        self.timers.tidy(self.calls.len(), is_wanted);
    }

    /// Nobody could be heard for so long.
    pub(crate) fn on_stalled(&mut self, now: Now, ms: u64) {
        for key in self.calls.keys().copied().collect::<Vec<_>>() {
            self.give(now, key, ArbiterInput::Stalled { ms });
        }
    }

    pub(crate) fn poll_output(&mut self) -> Option<CallOutput> {
        self.outputs.pop_front()
    }

    fn on_unknown(&mut self, now: Now, key: CallKey, from: Party, message: CallMessage, users: &mut impl Users) {
        match message.word {
            Word::Invite(mut invite) => {
                invite.caller = from.clone();
                let is_sound = invite.check().is_ok();
                if is_sound {
                    invite.fold_callees();
                }
                if !is_sound {
                    self.refuse(key, from, InviteRefusal::Invalid);
                } else if !invite.callees.iter().all(|user| users.can_exist(user)) {
                    self.refuse(key, from, InviteRefusal::UnknownUser);
                } else if self.opened_by(key.app, &from) >= self.config.per_device {
                    self.refuse(key, from, InviteRefusal::TooMany);
                } else if let Err(refusal) = users.may_open(&from, invite.callees.len()) {
                    self.refuse(key, from, refusal);
                } else {
                    let app_server_data = std::mem::take(&mut invite.app_server_data);
                    let online = invite.callees.iter().flat_map(|user| users.online(user)).collect();
                    let arbiter = Arbiter::open(self.config.arbiter, now, from, *invite, online);
                    let key = self.insert(key.app, arbiter);
                    self.outputs.push_back(CallOutput::Fact(CallFact::Opened));
                    let call = &self.calls[&key];
                    call.span.in_scope(|| info!("opened"));
                    let opened = OpenedCall { app: key.app, invite: call.arbiter.invite().clone(), app_server_data };
                    self.outputs.push_back(CallOutput::Opened(Box::new(opened)));
                    self.drain(now, key, true);
                }
            }
            Word::KeepAlive(KeepAlive { in_call: true, .. }) if now.mono < self.config.quiet_until => {}
            _ => self.reply(key.app, from.clone(), Arbiter::reply_to_unknown(&from, &message)),
        }
    }

    fn insert(&mut self, app: AppNo, arbiter: Arbiter) -> CallKey {
        let key = CallKey { app, call_id: arbiter.call_id() };
        if !arbiter.has_ended() {
            for user in users(&arbiter) {
                self.by_user.entry((app, user)).or_default().push(key.call_id);
            }
            *self.opened.entry((app, arbiter.invite().caller.clone())).or_default() += 1;
            self.running += 1;
        }
        let span = info_span!("call", id = %key.call_id);
        self.calls.insert(key, Call { arbiter, wake_at: None, span, quality: [None; 2], saved: None });
        key
    }

    /// The call is over: it is nobody's any more, and only answers who speaks of it.
    fn on_over(&mut self, key: CallKey) {
        let Some(call) = self.calls.get(&key) else { return };
        self.running -= 1;
        for user in users(&call.arbiter) {
            let at = (key.app, user);
            if let Some(calls) = self.by_user.get_mut(&at) {
                calls.retain(|call_id| *call_id != key.call_id);
                if calls.is_empty() {
                    self.by_user.remove(&at);
                }
            }
        }
        let caller = (key.app, call.arbiter.invite().caller.clone());
        if let Some(opened) = self.opened.get_mut(&caller) {
            *opened -= 1;
            if *opened == 0 {
                self.opened.remove(&caller);
            }
        }
    }

    /// Passes on what an arbiter has to say, and stores it if it may have changed.
    fn drain(&mut self, now: Now, key: CallKey, mut changed: bool) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        let mut is_over = false;
        while let Some(output) = call.arbiter.poll_output() {
            match output {
                ArbiterOutput::Send { to, message } => {
                    self.outputs.push_back(CallOutput::Send { app: key.app, to, message });
                }
                ArbiterOutput::Tell(fact) => {
                    changed = true;
                    is_over |= matches!(fact, Fact::Ended { .. });
                    call.span.in_scope(|| log_fact(fact));
                    self.outputs.push_back(CallOutput::Fact(CallFact::Arbiter(fact)));
                    if let Some(winner) = call.arbiter.winner()
                        && let Fact::Answered { .. } = fact
                    {
                        self.outputs.push_back(CallOutput::Answered(key, winner.clone()));
                    }
                    if let Fact::Ended { caller_reason, callee_reason, talk_ms, .. } = fact {
                        let arbiter = &call.arbiter;
                        self.outputs.push_back(CallOutput::Ended(Box::new(EndedCall {
                            app: key.app,
                            invite: arbiter.invite().clone(),
                            caller_reason,
                            callee_reason,
                            release: arbiter.release(),
                            ended_unix_ms: now.unix_ms,
                            talk_ms: arbiter.has_talked().then_some(talk_ms),
                            missed: arbiter.is_missed(),
                            quality: call.quality,
                        })));
                    }
                }
                ArbiterOutput::WakeAt(at, _) => {
                    call.wake_at = Some(at);
                    self.timers.push(at, key);
                }
            }
        }
        if call.arbiter.is_done() {
            self.outputs.push_back(CallOutput::Forget(key));
        } else if changed {
            let snapshot = Box::new(call.arbiter.snapshot(now));
            let mut hasher = DefaultHasher::new();
            (self.hash_seed, &snapshot).hash(&mut hasher);
            let hash = hasher.finish();
            if call.saved.replace(hash) != Some(hash) {
                self.outputs.push_back(CallOutput::Save(key, snapshot));
            }
        }
        let is_done = call.arbiter.is_done();
        if is_over {
            self.on_over(key);
        }
        if is_done {
            self.calls.remove(&key);
        }
    }

    fn for_each_of(
        &mut self,
        now: Now,
        app: AppNo,
        party: &Party,
        filter: &CallFilter,
        input: fn(Party) -> ArbiterInput,
    ) {
        let Some(calls) = self.by_user.get(&(app, party.user.clone())) else { return };
        for call_id in calls.iter().copied().filter(|call_id| filter.has(*call_id)).collect::<Vec<_>>() {
            let key = CallKey { app, call_id };
            if let Some(call) = self.calls.get_mut(&key) {
                call.arbiter.handle_input(now, input(party.clone()));
                self.drain(now, key, false);
            }
        }
    }

    fn give(&mut self, now: Now, key: CallKey, input: ArbiterInput) {
        let Some(call) = self.calls.get_mut(&key) else { return };
        call.arbiter.handle_input(now, input);
        self.drain(now, key, false);
    }

    fn opened_by(&self, app: AppNo, device: &Party) -> usize {
        self.opened.get(&(app, device.clone())).copied().unwrap_or_default()
    }

    fn refuse(&mut self, key: CallKey, to: Party, refusal: InviteRefusal) {
        info!(call = %key.call_id, %refusal, "invite refused");
        self.outputs.push_back(CallOutput::Fact(CallFact::Refused(refusal)));
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
    let users: BTreeSet<UserId> = invite.callees.iter().chain([&invite.caller.user]).cloned().collect();
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
mod tests;
