//! Stories written by hand: a calm world in which a test says what happens, and reads what came of it.

use call_protocol::end::EndReason;
use call_protocol::invite::{CallType, Ext};
use call_protocol::media::{Description, DescriptionKind, NegotiationBody};
use call_protocol::{CallId, CallMessage, UserId, Word};
use rand::RngExt;
use signaling::{Address, Command, CommandError, Phase};

use crate::carrier::{Fate, Way};
use crate::happening::Happening;
use crate::rules::about;
use crate::world::World;

/// The first user.
pub const ALICE: usize = 0;
/// The second user.
pub const BOB: usize = 1;
/// The third user.
pub const CAROL: usize = 2;

/// A calm world of three users: a message takes 10 ms, nothing is lost unless the story says so.
#[derive(Debug)]
pub struct Story {
    world: World,
}

impl Default for Story {
    fn default() -> Self {
        Self { world: World::calm() }
    }
}

impl Story {
    /// A world in which nothing has happened yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// `who` calls `whom` and lets it ring for 30 s.
    pub fn calls(&mut self, who: usize, whom: usize) -> Result<CallId, CommandError> {
        self.calls_for(who, whom, 30_000)
    }

    /// `who` calls `whom` and lets it ring for `ring_ms`.
    pub fn calls_for(&mut self, who: usize, whom: usize, ring_ms: u32) -> Result<CallId, CommandError> {
        let callee = self.world.devices[whom].party.user.clone();
        let (name, other) = (self.world.devices[who].name, self.world.devices[whom].name);
        self.invites(who, format!("{name} calls {other}"), callee, ring_ms)
    }

    fn invites(&mut self, who: usize, what: String, callee: UserId, ring_ms: u32) -> Result<CallId, CommandError> {
        let call_id = CallId::from_bits(self.world.rng.random());
        let command = Command::Invite {
            call_id,
            callees: vec![callee],
            call_type: CallType::Audio1v1,
            ext: Ext::new(),
            ring_timeout_ms: ring_ms,
        };
        self.does(who, what, command).map(|()| call_id)
    }

    /// `who` calls somebody whom the server does not know.
    pub fn calls_a_stranger(&mut self, who: usize) -> Result<CallId, CommandError> {
        let name = self.world.devices[who].name;
        self.invites(who, format!("{name} calls nobody"), UserId::new("nobody").expect("it is an id"), 30_000)
    }

    /// `who` takes the call it is rung by.
    pub fn answers(&mut self, who: usize) -> Result<(), CommandError> {
        let call_id = self.present_call(who);
        self.does(who, format!("{} answers", self.world.devices[who].name), Command::Answer { call_id })
    }

    /// `who` cancels, declines or ends, by state.
    pub fn hangs_up(&mut self, who: usize) -> Result<(), CommandError> {
        let call_id = self.present_call(who);
        self.does(who, format!("{} hangs up", self.world.devices[who].name), Command::Hangup { call_id })
    }

    /// `who` tells the other party a step of setting the media up; `step` is its name in the transcript.
    pub fn negotiates(&mut self, who: usize, kind: DescriptionKind, step: &str) -> Result<(), CommandError> {
        let call_id = self.present_call(who);
        let body = NegotiationBody::Description(Description { kind, sdp: step.to_owned() });
        let what = format!("{} says {step}", self.world.devices[who].name);
        self.does(who, what, Command::Negotiate { call_id, body })
    }

    /// The media of `who` failed for good.
    pub fn fails(&mut self, who: usize, reason: EndReason) -> Result<(), CommandError> {
        let call_id = self.present_call(who);
        self.does(who, format!("{}'s media fails", self.world.devices[who].name), Command::Fail { call_id, reason })
    }

    fn present_call(&self, who: usize) -> CallId {
        about(self.world.devices[who].line.phase()).unwrap_or(CallId::from_bits(0))
    }

    fn does(&mut self, who: usize, what: String, command: Command) -> Result<(), CommandError> {
        self.world.transcript.line(self.world.now, || what);
        let result = self.world.command(who, command);
        if let Err(error) = &result {
            let name = self.world.devices[who].name;
            self.world.transcript.line(self.world.now, || format!("{name}: {error}"));
        }
        result
    }

    /// The next message of this name to the server has this fate.
    pub fn to_server(&mut self, name: &'static str, fate: Fate) {
        self.world.troubled = true;
        self.world.carrier.script(Way::ToServer, name, fate);
    }

    /// The next message of this name to a phone has this fate.
    pub fn to_phone(&mut self, name: &'static str, fate: Fate) {
        self.world.troubled = true;
        self.world.carrier.script(Way::ToDevice, name, fate);
    }

    /// Time goes by.
    pub fn passes(&mut self, ms: u64) {
        let until = self.world.now + ms;
        while self.world.agenda.next_at().is_some_and(|at| at <= until) {
            self.world.step();
        }
        self.world.now = until;
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

    /// The server writes its calls down, stops, and goes on with them later.
    pub fn server_restarts(&mut self, after_ms: u64) {
        self.world.server_stops(after_ms);
    }

    /// The server forgets a call, as if its store were lost.
    pub fn server_forgets(&mut self, call_id: CallId) {
        self.world.server.calls.remove(&call_id);
    }

    /// `who` says something to the server, whatever its line thinks of it.
    pub fn says(&mut self, who: usize, call_id: CallId, word: Word) {
        let message = CallMessage { call_id, word };
        self.world.agenda.add(self.world.now, Happening::AtServer { from: who, message, said_at: self.world.now });
    }

    /// `who` hears something from somebody who does not decide about the call.
    pub fn hears_from(&mut self, who: usize, liar: usize, call_id: CallId, word: Word) {
        let from = Address::Device(self.world.devices[liar].party.clone());
        self.world.hear(who, from, CallMessage { call_id, word });
    }

    /// What the line of `who` does at present.
    pub fn phase(&self, who: usize) -> Phase {
        self.world.devices[who].line.phase()
    }

    /// How the call ended for caller and callee, as far as they were told.
    pub fn ends(&self, call_id: CallId) -> [Option<EndReason>; 2] {
        self.world.rules.truths.get(&call_id).map_or([None; 2], |truth| truth.told)
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
