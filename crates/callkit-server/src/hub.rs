//! Drives the hub: one task gives it what happens, and carries out what it wants. It waits for no disk and no network.

use std::collections::{HashMap, VecDeque};

use callkit_hub::{CallKey, Counters, Delivery, Hub, Input, Output, RequestId, StreamId};
use signaling::Now;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

mod links;
mod look_ups;
mod services;

pub(crate) use services::Services;

use crate::hub_link::{Answer, Inbox, ToHub};
use crate::outbox::{Kind, Notice};
use links::Links;
use look_ups::LookUps;

/// Inputs handled before timers are looked at.
const BATCH: usize = 64;

pub(crate) struct HubDriver {
    hub: Hub,
    services: Services,
    links: Links,
    answers: HashMap<RequestId, Answer>,
    last_request: u64,
    look_ups: LookUps,
    /// What outputs led to; it comes before anything else.
    follow_ups: VecDeque<Input>,
    /// What the metrics have already.
    counted: Counters,
    is_draining: bool,
    stalled: Option<oneshot::Receiver<()>>,
}

impl HubDriver {
    pub(crate) fn new(hub: Hub, services: Services) -> Self {
        Self {
            hub,
            services,
            links: Links::default(),
            answers: HashMap::new(),
            last_request: 0,
            look_ups: LookUps::default(),
            follow_ups: VecDeque::new(),
            counted: Counters::default(),
            is_draining: false,
            stalled: None,
        }
    }

    /// Works until told to stop, then says goodbye to everybody and closes the store.
    pub(crate) async fn run(
        mut self,
        mut inbox: Inbox,
        mut notices: mpsc::Receiver<Notice>,
        mut stop: oneshot::Receiver<()>,
    ) {
        self.carry_out(self.services.clock.now());
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let wake = self.hub.next_wake().map(|time| self.services.clock.instant(time));
            tokio::select! {
                biased;
                _ = &mut stop => break,
                // Before the endings: what a stream brought comes before its end.
                _ = inbox.inputs.recv_many(&mut batch, BATCH) => {}
                Some(stream) = inbox.ended.recv() => self.on_stream_ended(stream),
                Some(notice) = notices.recv() => self.on_notice(&notice),
                Some((id, found)) = self.look_ups.next(), if !self.look_ups.is_empty() => {
                    self.give(self.services.clock.now(), Input::Found { id, found });
                }
                () = wait_until(wake) => {}
            }
            self.measure(&batch, inbox.inputs.len());
            let now = self.services.clock.now();
            for input in batch.drain(..) {
                self.take(now, input);
            }
            self.give(now, Input::Wake);
            self.count();
            if let Some(until) = self.stalled.take() {
                until.await.ok();
            }
            self.services.health.turned();
        }
        self.say_goodbye(inbox).await;
    }

    /// Tells every client that the server stops, and waits until they have read it or their time is over.
    async fn say_goodbye(mut self, Inbox { mut inputs, mut ended }: Inbox) {
        inputs.close();
        self.answers.clear();
        let now = self.services.clock.now();
        self.give(now, Input::Stopping);
        while let Ok(input) = inputs.try_recv() {
            // Streams that signed in at this very moment are among the inputs not handled.
            if matches!(input, ToHub::SignedIn { .. }) {
                self.take(now, input);
            }
        }
        while !self.hub.is_stopped() {
            let wake = self.hub.next_wake().map(|time| self.services.clock.instant(time));
            tokio::select! {
                Some(stream) = ended.recv() => self.on_stream_ended(stream),
                () = wait_until(wake) => {}
            }
            self.give(self.services.clock.now(), Input::Wake);
        }
        self.count();
        let Services { outbox, store, .. } = self.services;
        outbox.stop();
        store.close().await;
    }

    /// How far behind the hub is.
    fn measure(&self, batch: &[ToHub], waiting: usize) {
        let Services { metering, health, .. } = &self.services;
        metering.hub_queue.set(waiting as f64);
        if let Some(since) = batch.iter().filter_map(ToHub::since).min() {
            let delay = since.elapsed();
            metering.hub_delay.record(delay);
            health.waited(delay);
        }
    }

    fn take(&mut self, now: Now, input: ToHub) {
        match input {
            ToHub::SignedIn { identity, resume, link, pass, .. } => {
                let (stream, stun_server) = (link.stream, self.services.stun.announced(link.local_ip));
                self.links.open(link);
                self.give(now, Input::SignedIn { stream, identity, resume, stun_server });
                drop(pass);
            }
            ToHub::Frame { stream, seq, ack, body, pass, .. } => {
                if !self.is_draining && !self.services.health.takes_sign_ins() {
                    self.is_draining = true;
                    self.give(now, Input::Draining);
                }
                let is_admitted = pass.as_ref().is_some_and(|pass| self.services.health.takes_work(pass));
                self.give(now, Input::Frame { stream, seq, ack, body, is_admitted });
                drop(pass);
            }
            ToHub::Unsound { stream, reason, detail } => self.give(now, Input::Unsound { stream, reason, detail }),
            ToHub::AccessRenewed { stream, until, mark } => {
                self.give(now, Input::AccessRenewed { stream, until, mark });
            }
            ToHub::Asked { request, answer } => {
                self.last_request += 1;
                let id = RequestId(self.last_request);
                self.answers.insert(id, answer);
                self.give(now, Input::Requested { id, request });
            }
            ToHub::Registered(user) => self.give(now, Input::Registered(user)),
            ToHub::Nudged => {}
            ToHub::Stalled(until) => self.stalled = Some(until),
        }
    }

    fn on_stream_ended(&mut self, stream: StreamId) {
        self.links.forget(stream);
        self.give(self.services.clock.now(), Input::StreamEnded(stream));
    }

    /// What became of a webhook or a push.
    fn on_notice(&mut self, notice: &Notice) {
        let metering = &self.services.metering;
        let is_done = notice.given_up.is_none();
        match (notice.kind, is_done) {
            (Kind::Notify | Kind::CallEvent, true) => metering.webhooks_delivered.increment(1),
            (Kind::Notify | Kind::CallEvent, false) => metering.webhooks_given_up.increment(1),
            (Kind::Push | Kind::PushCancel, true) => metering.pushes_taken.increment(1),
            (Kind::Push | Kind::PushCancel, false) => metering.pushes_given_up.increment(1),
        }
        match notice.kind {
            Kind::Notify | Kind::Push => {}
            Kind::CallEvent | Kind::PushCancel => return,
        }
        let Some(app) = self.services.apps.find(notice.app.as_str()) else { return };
        let call = CallKey { app, call_id: notice.call_id };
        let delivery = Delivery { call, device: notice.device.clone(), is_done };
        self.give(self.services.clock.now(), Input::Delivery(delivery));
    }

    fn give(&mut self, now: Now, input: Input) {
        self.hub.handle_input(now, input);
        self.carry_out(now);
    }

    fn carry_out(&mut self, now: Now) {
        loop {
            while let Some(output) = self.hub.poll_output() {
                self.perform(now, output);
            }
            let Some(input) = self.follow_ups.pop_front() else { return };
            self.hub.handle_input(now, input);
        }
    }

    fn perform(&mut self, now: Now, output: Output) {
        match output {
            Output::Send { stream, frame } => self.follow_ups.extend(self.links.send(stream, frame)),
            Output::Close { stream, refusal } => self.follow_ups.extend(self.links.close(stream, refusal)),
            Output::Cut(stream) => self.links.cut(stream),
            Output::Reply { id, reply } => {
                if let Some(answer) = self.answers.remove(&id) {
                    answer.give(reply, |param| self.services.seal(&param));
                }
            }
            Output::Store(change) => self.services.store(change),
            Output::LookUp { id, query } => self.look_ups.begin(&self.services, id, query),
            Output::Webhook(webhook) => self.services.tell_backend(*webhook),
            Output::Push(push) => self.services.push(*push),
            Output::RingBegan(key) => self.services.outbox.ring_begins(self.services.apps.name(key.app), key.call_id),
            Output::RingEnded(key) => self.services.outbox.ring_ends(self.services.apps.name(key.app), key.call_id),
            Output::SessionBegan(name) => self.services.living.begin(&name),
            Output::SessionEnded(name) => self.services.living.end(&name),
            Output::AskWhoWasHeard => {
                let (anybody, streams) = (self.services.heard.at(), self.links.heard());
                self.follow_ups.push_back(Input::Heard { anybody, streams });
                self.services.metering.upkeep();
            }
            Output::Stalled { ms } => self.links.discount(now.mono, ms),
            Output::Fact(fact) => self.services.meter(fact),
        }
    }

    /// Tells the metrics what came to it since it was told last.
    fn count(&mut self) {
        let counters = self.hub.counters();
        let before = std::mem::replace(&mut self.counted, counters);
        if counters == before {
            return;
        }
        let Services { metering, health, limits, .. } = &self.services;
        metering.sign_ins.increment(counters.sign_ins - before.sign_ins);
        metering.cc_sign_ins.increment(counters.cc_sign_ins - before.cc_sign_ins);
        metering.resumes.increment(counters.resumes - before.resumes);
        metering.frames_in.increment(counters.frames_in - before.frames_in);
        metering.frames_out.increment(counters.frames_out - before.frames_out);
        metering.frames_dropped.increment(counters.frames_dropped - before.frames_dropped);
        metering.shed_invites.increment(counters.shed_invites - before.shed_invites);
        metering.calls_opened.increment(counters.calls_opened - before.calls_opened);
        metering.calls_answered.increment(counters.calls_answered - before.calls_answered);
        metering.sessions.set(counters.sessions as f64);
        metering.calls.set(counters.calls as f64);
        metering.channels.set(counters.channels as f64);
        metering.members.set(counters.members as f64);
        limits.set_invite_keys(counters.limit_keys);
        health.set_calls(counters.calls);
    }
}

/// Never comes where there is nothing to wait for.
async fn wait_until(wake: Option<Instant>) {
    match wake {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
