//! Stories written by hand: a calm world in which a test says what happens, and reads what came of it.

use call_protocol::end::EndReason;
use call_protocol::invite::{CallType, Ext};
use call_protocol::media::{Description, DescriptionKind, NegotiationBody};
use call_protocol::{CallId, CallMessage, UserId, Word};
use rand::RngExt;
use signaling::{Address, Command, CommandError, LineConfig, Phase, SecondCall};

use crate::carrier::{Fate, Towards};
use crate::happening::Happening;
use crate::plan::Placement;
use crate::rules::about;
use crate::world::World;

/// The device of the first user.
pub const ALICE: usize = 0;
/// The device of the second user.
pub const BOB: usize = 1;
/// The device of the third user.
pub const CAROL: usize = 2;

/// A calm world of three users with a device each: a message takes 10 ms, nothing is lost unless the story says so.
#[derive(Debug)]
pub struct Story {
    world: World,
}

impl Default for Story {
    fn default() -> Self {
        Self::over(Placement::Server)
    }
}

impl Story {
    /// A world in which nothing has happened yet, with the arbiters on the server.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with the arbiters there.
    pub fn over(placement: Placement) -> Self {
        Self { world: World::calm(placement) }
    }

    /// Where the arbiters are.
    pub fn placement(&self) -> Placement {
        self.world.plan.placement
    }

    /// The user of `who` gets another device; its name is that of the user and a kind.
    pub fn another_device(&mut self, who: usize) -> usize {
        self.world.add_device(self.world.devices[who].user)
    }

    /// `who` lets a second call wait.
    pub fn lets_calls_wait(&mut self, who: usize) {
        self.configures(who, |config| config.second_call = SecondCall::Waiting);
    }

    /// `who` is started with other knobs.
    pub fn configures(&mut self, who: usize, change: impl FnOnce(&mut LineConfig)) {
        let (arbiter, now) = (self.world.plan.arbiter, self.world.now);
        let device = &mut self.world.devices[who];
        change(&mut device.config);
        let (boot, life) = (device.boot, device.life);
        device.restart(arbiter, boot, now);
        device.life = life;
    }

    /// There is a media path once both have said a step to each other.
    pub fn has_media_paths(&mut self) {
        self.world.plan.direct_loss = Some(0.0);
    }

    /// `who` calls `whom` and lets it ring for 30 s.
    pub fn calls(&mut self, who: usize, whom: usize) -> Result<CallId, CommandError> {
        self.calls_for(who, whom, 30_000)
    }

    /// `who` calls `whom` and lets it ring for `ring_ms`.
    pub fn calls_for(&mut self, who: usize, whom: usize, ring_ms: u32) -> Result<CallId, CommandError> {
        self.calls_as(who, whom, CallType::Audio1v1, ring_ms)
    }

    /// `who` calls `whom` with voice or picture.
    pub fn calls_as(
        &mut self,
        who: usize,
        whom: usize,
        call_type: CallType,
        ring_ms: u32,
    ) -> Result<CallId, CommandError> {
        let callee = self.world.devices[whom].party.user.clone();
        self.invites(who, format!("{} calls {callee}", self.name(who)), callee, call_type, ring_ms)
    }

    fn invites(
        &mut self,
        who: usize,
        what: String,
        callee: UserId,
        call_type: CallType,
        ring_timeout_ms: u32,
    ) -> Result<CallId, CommandError> {
        let call_id = CallId::from_bits(self.world.rng.random());
        let (callees, ext, options) = (vec![callee], Ext::new(), Default::default());
        let command = Command::Invite { call_id, callees, call_type, ext, ring_timeout_ms, options };
        self.does(who, what, command).map(|()| call_id)
    }

    /// `who` calls somebody whom the server does not know.
    pub fn calls_a_stranger(&mut self, who: usize) -> Result<CallId, CommandError> {
        let nobody = UserId::new("nobody").expect("it is an id");
        self.invites(who, format!("{} calls nobody", self.name(who)), nobody, CallType::Audio1v1, 30_000)
    }

    /// `who` takes the call it is rung by.
    pub fn answers(&mut self, who: usize) -> Result<(), CommandError> {
        let call_id = self.world.ringing(who).unwrap_or_else(|| self.present_call(who));
        self.does(who, format!("{} answers", self.name(who)), Command::Answer { call_id })
    }

    /// `who` cancels, declines or ends, by state.
    pub fn hangs_up(&mut self, who: usize) -> Result<(), CommandError> {
        let call_id = self.present_call(who);
        self.hangs_up_on(who, call_id)
    }

    /// `who` cancels, declines or ends this call of several.
    pub fn hangs_up_on(&mut self, who: usize, call_id: CallId) -> Result<(), CommandError> {
        self.does(who, format!("{} hangs up", self.name(who)), Command::Hangup { call_id })
    }

    /// `who` puts a call on hold, or goes on with it.
    pub fn holds(&mut self, who: usize, call_id: CallId, held: bool) -> Result<(), CommandError> {
        let what = if held { "holds" } else { "goes on" };
        self.does(who, format!("{} {what}", self.name(who)), Command::Hold { call_id, held, reason: None })
    }

    /// `who` puts a call on hold, and says why.
    pub fn holds_because(&mut self, who: usize, call_id: CallId, reason: &str) -> Result<(), CommandError> {
        let command = Command::Hold { call_id, held: true, reason: Some(reason.to_owned()) };
        self.does(who, format!("{} holds: {reason}", self.name(who)), command)
    }

    /// `who` tells the other end a step of setting the media up; `step` is its name in the transcript.
    pub fn negotiates(
        &mut self,
        who: usize,
        with: usize,
        kind: DescriptionKind,
        step: &str,
    ) -> Result<(), CommandError> {
        let call_id = self.present_call(who);
        let body = NegotiationBody::Description(Description { kind, sdp: step.to_owned() });
        let to = self.world.devices[with].party.clone();
        self.does(who, format!("{} says {step}", self.name(who)), Command::Negotiate { call_id, to, body })
    }

    /// The media of `who` failed for good.
    pub fn fails(&mut self, who: usize, reason: EndReason) -> Result<(), CommandError> {
        let call_id = self.present_call(who);
        self.does(who, format!("the media of {} failed", self.name(who)), Command::Fail { call_id, reason })
    }

    fn name(&self, who: usize) -> &str {
        &self.world.devices[who].name
    }

    fn present_call(&self, who: usize) -> CallId {
        about(self.world.devices[who].desk.line().phase()).unwrap_or(CallId::from_bits(0))
    }

    fn does(&mut self, who: usize, what: String, command: Command) -> Result<(), CommandError> {
        self.world.transcript.line(self.world.now, || what);
        let result = self.world.command(who, command);
        if let Err(error) = &result {
            self.world.transcript.line(self.world.now, || format!("{}: {error}", self.world.devices[who].name));
        }
        result
    }

    /// The next message of this name to an arbiter has this fate.
    pub fn to_server(&mut self, name: &'static str, fate: Fate) {
        self.world.troubled = true;
        self.world.carrier.script(Towards::Arbiter, name, fate);
    }

    /// The next message of this name from an arbiter to any device has this fate.
    pub fn to_phone(&mut self, name: &'static str, fate: Fate) {
        self.world.troubled = true;
        self.world.carrier.script(Towards::Device(None), name, fate);
    }

    /// The next message of this name from an arbiter to `who` has this fate.
    pub fn to_device(&mut self, who: usize, name: &'static str, fate: Fate) {
        self.world.troubled = true;
        self.world.carrier.script(Towards::Device(Some(who)), name, fate);
    }

    /// Time goes by.
    pub fn passes(&mut self, ms: u64) {
        self.world.pass(ms);
    }

    /// `who` loses the network for a time.
    pub fn goes_dark(&mut self, who: usize, for_ms: u64) {
        self.world.link_breaks(who, for_ms);
    }

    /// The app of `who` crashes and starts again later, or not at all.
    pub fn crashes(&mut self, who: usize, again_after_ms: Option<u64>) {
        self.world.crashes(who, again_after_ms);
    }

    /// `who` signs out.
    pub fn signs_out(&mut self, who: usize) {
        self.world.signs_out(who, 60_000);
    }

    /// The server is killed, and goes on with what its store holds later.
    pub fn server_restarts(&mut self, after_ms: u64) {
        self.world.server_is_killed(after_ms);
    }

    /// The server stands still, with all that it knows.
    pub fn server_stalls(&mut self, for_ms: u64) {
        self.world.server_stalls(for_ms);
    }

    /// Nobody reaches the server.
    pub fn server_is_cut_off(&mut self, for_ms: u64) {
        self.world.server_is_cut_off(for_ms);
    }

    /// The server's wall clock is set, forth or back.
    pub fn server_clock_is_set(&mut self, by_ms: i64) {
        self.world.transcript.line(self.world.now, || format!("the server's wall clock is set by {by_ms} ms"));
        self.world.server.clock_set_ms += by_ms;
        // What goes by durations rings as much longer as the word was on its way.
        self.world.plan.skew_ms = self.world.plan.skew_ms.max(self.world.plan.delay_ms.1);
    }

    /// The server forgets a call, as if its store were lost.
    pub fn server_forgets(&mut self, call_id: CallId) {
        self.world.troubled = true;
        self.world.server.forget(call_id);
    }

    /// `who` says something to the server, whatever its line thinks of it.
    pub fn says(&mut self, who: usize, call_id: CallId, word: Word) {
        let message = CallMessage { call_id, word };
        let (said_at, life) = (self.world.now, self.world.devices[who].life);
        self.world.agenda.add(said_at, Happening::AtServer { from: who, message, said_at, life });
    }

    /// `who` hears something from somebody who does not decide about the call.
    pub fn hears_from(&mut self, who: usize, liar: usize, call_id: CallId, word: Word) {
        let from = Address::Device(self.world.devices[liar].party.clone());
        self.world.hear(who, from, CallMessage { call_id, word });
    }

    /// What the line of `who` does at present.
    pub fn phase(&self, who: usize) -> Phase {
        self.world.devices[who].desk.line().phase()
    }

    /// What the line of `who` does at present, call by call.
    pub fn phases(&self, who: usize) -> Vec<Phase> {
        self.world.devices[who].phases()
    }

    /// How the call ended for the caller and for the device that took it, or one that rang, as far as they were told.
    pub fn ends(&self, call_id: CallId) -> [Option<EndReason>; 2] {
        self.world.rules.truths.get(&call_id).map_or([None; 2], |truth| truth.ends())
    }

    /// How the call ended for `who`, as far as it was told.
    pub fn end_for(&self, who: usize, call_id: CallId) -> Option<EndReason> {
        self.world.rules.truths.get(&call_id)?.told.get(&who).copied()
    }

    /// What the apps were told since the last time, each in order: who, and what.
    pub fn told(&mut self) -> Vec<(String, String)> {
        let mut told = self.world.transcript.take_told();
        // What is told here and there at about the same time has no order.
        told.sort_by(|one, other| one.0.cmp(&other.0));
        told
    }

    /// Waits until nothing is left to happen; gives what happened since the last time, line by line.
    ///
    /// # Panics
    /// If a rule did not hold, or a scripted fate was not met.
    pub fn rests(&mut self) -> String {
        self.world.come_to_rest();
        self.so_far()
    }

    /// What happened since the last time, line by line.
    ///
    /// # Panics
    /// If a rule did not hold, or a scripted fate was not met.
    pub fn so_far(&mut self) -> String {
        let transcript = self.world.transcript.take();
        if let Some(violation) = &self.world.rules.violation {
            panic!("{} is broken at {} ms: {}\n{transcript}", violation.rule, violation.at_ms, violation.what);
        }
        assert!(
            self.world.carrier.script_is_over(),
            "a message that was to be lost or late was never sent\n{transcript}"
        );
        transcript
    }
}
