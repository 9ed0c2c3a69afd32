//! What must hold in every world, and what was seen of it.

use call_protocol::Party;
use call_protocol::end::EndReason;
use signaling::Event;

use crate::plan::{Fault, Placement};
use crate::world::World;

/// The longest a voice may stay away where packets and words are lost, in ms.
const LOSSY_MS: u64 = 8_000;
/// Time between two packets of a voice, in ms, and what timers round up.
const PACKET_MS: u64 = 25;

/// What was seen of a call; times in ms.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// By device: the app was told of the call.
    pub(crate) told: Vec<bool>,
    pub(crate) accepted: Vec<Option<u64>>,
    pub(crate) ended: Vec<Vec<(u64, EndReason)>>,
    /// The packets handed up, by when they came and their numbers.
    pub(crate) heard: Vec<Vec<(u64, u32)>>,
    /// When the user accepted, and whether the path stood by then.
    pub(crate) answered: Option<(u64, bool)>,
    /// When the user hung up, whether the path stood, and whether the server was dead.
    pub(crate) hung_up: Option<(u64, bool, bool)>,
    pub(crate) fault_over: Option<u64>,
    /// How long it took from the accept to the first voice at the later end.
    pub(crate) voice_after_ms: Option<u64>,
    /// How long it took from the end of the fault until both ends heard each other again.
    pub(crate) voice_back_ms: Option<u64>,
    /// How long it took from the hang-up until the other party was told.
    pub(crate) end_after_ms: Option<u64>,
}

impl Seen {
    pub(crate) fn new(devices: usize) -> Seen {
        Seen {
            told: vec![false; devices],
            accepted: vec![None; devices],
            ended: vec![Vec::new(); devices],
            heard: vec![Vec::new(); devices],
            ..Seen::default()
        }
    }
}

/// While it happens.
impl World {
    fn is_party(&self, at: usize) -> bool {
        at == 0 || at == self.plan.winner
    }

    pub(crate) fn see(&mut self, at: usize, event: &Event) {
        let now = self.now();
        if !matches!(event, Event::Negotiation { .. }) {
            self.log(format!("{at} is told: {event:?}"));
        }
        if !self.seen.ended[at].is_empty() {
            self.broken(format!("the end is the last thing {at} is told, and once: {event:?}"));
        }
        match event {
            Event::Ringing { .. } => self.seen.told[at] = true,
            Event::Accepted { .. } => {
                if !self.is_party(at) || self.seen.answered.is_none() || self.seen.accepted[at].is_some() {
                    self.broken(format!("{at} did not take the call, or took it before"));
                }
                self.seen.accepted[at] = Some(now);
            }
            Event::Ended { reason, .. } => {
                if !self.seen.told[at] {
                    self.broken(format!("{at} is told the end of what it never heard of"));
                }
                self.seen.ended[at].push((now, *reason));
            }
            Event::Notifying { .. }
            | Event::Alerted { .. }
            | Event::Merged { .. }
            | Event::Answering { .. }
            | Event::Failed { .. }
            | Event::Negotiation { .. }
            | Event::Held { .. }
            | Event::PeerHeld { .. }
            | Event::Reachability { .. }
            | Event::Missed { .. }
            | Event::Released { .. } => {}
        }
    }

    pub(crate) fn on_voice(&mut self, at: usize, other: &Party, from: u8, number: u32, opened: bool) {
        let speaker = usize::from(from);
        if !self.is_party(at) || !self.is_party(speaker) || self.devices[speaker].party != *other {
            self.broken(format!("{at} hears {speaker}, and they do not talk"));
        }
        if self.seen.answered.is_none() {
            self.broken(format!("{at} gets voice before the accept"));
        }
        if opened {
            let now = self.now();
            self.seen.heard[at].push((now, number));
        }
    }
}

/// When all is over.
impl World {
    pub(crate) fn check_the_end(&mut self) {
        self.check_ends();
        let (Some((answered, stood)), Some((hung_up, ..))) = (self.seen.answered, self.seen.hung_up) else {
            return self.broken("nobody answered or hung up".to_owned());
        };
        let ends = [0, self.plan.winner];
        if ends.iter().any(|at| self.seen.heard[*at].is_empty()) {
            return self.broken("one end never heard the other".to_owned());
        }
        self.check_first_voice(answered, stood);
        self.check_voice_is_back();
        for at in ends {
            self.check_voice_goes_on(at, hung_up);
        }
    }

    fn check_ends(&mut self) {
        let Some((hung_up, stood, was_dead)) = self.seen.hung_up else { return };
        for at in 0..self.devices.len() {
            let ended = self.seen.ended[at].clone();
            let told = self.seen.told[at];
            if ended.len() != usize::from(told) {
                self.broken(format!("{at} is told {} ends", ended.len()));
            }
            let Some((when, reason)) = ended.first().copied() else { continue };
            let is_right = if at == self.plan.hangs_up {
                reason == EndReason::Hangup
            } else if self.is_party(at) {
                let after_ms = when.saturating_sub(hung_up);
                self.seen.end_after_ms = Some(after_ms);
                // Where the caller's device decides, the end goes through the chat alone: its path is closed by then.
                let limit_ms = match (self.plan.placement, was_dead) {
                    (Placement::Server, true | false) => self.plan.one_way_ms() + 3,
                    (Placement::Caller, false) => self.plan.one_way_ms().max(self.plan.post_ms.1) + 3,
                    (Placement::Caller, true) => u64::MAX,
                };
                if stood && self.plan.is_lossless() && after_ms > limit_ms {
                    self.broken(format!("{at} is told the end after {after_ms} ms"));
                }
                // Where the last words are lost, and nobody else can tell, the silence does.
                let unheard = was_dead && !(stood && self.plan.is_lossless());
                reason == EndReason::RemoteHangup || (unheard && reason == EndReason::RemoteDrop)
            } else {
                reason == EndReason::AnsweredElsewhere
            };
            if !is_right {
                self.broken(format!("{at} is told the wrong end: {reason}"));
            }
        }
    }

    fn check_first_voice(&mut self, answered: u64, stood: bool) {
        let first = [0, self.plan.winner].iter().filter_map(|at| self.seen.heard[*at].first()).map(|(at, _)| *at).max();
        let Some(first) = first else { return };
        let (post, way) = (2 * self.plan.post_ms.1, self.plan.one_way_ms());
        let is_calm = self.plan.is_lossless() && !self.plan.goes_wrong_early();
        let took_ms = first.saturating_sub(answered);
        self.seen.voice_after_ms = Some(took_ms);
        let limit_ms = if is_calm && self.plan.is_warm() && stood {
            // The confirmation of the answer, and one way of the voice.
            (post + way).max(2 * way) + PACKET_MS
        } else if is_calm && !self.plan.hurts_media() && self.plan.fault.is_none() {
            // Answer, offer and its answer, then the handshake.
            4 * post + 8 * way + 300
        } else {
            let from = answered.max(self.seen.fault_over.unwrap_or(0));
            from - answered + LOSSY_MS
        };
        if took_ms > limit_ms {
            self.broken(format!("voice comes {took_ms} ms after the accept, and not within {limit_ms} ms"));
        }
    }

    fn check_voice_is_back(&mut self) {
        let (Some(over), true) = (self.seen.fault_over, self.plan.hurts_media()) else { return };
        let way = self.plan.one_way_ms();
        // What was on its way before the fault is no sign.
        let settled = over + way;
        let back = |at: usize| self.seen.heard[at].iter().map(|(at, _)| *at).find(|at| *at >= settled);
        let (Some(one), Some(other)) = (back(0), back(self.plan.winner)) else {
            return self.broken("voice does not come back".to_owned());
        };
        let took_ms = one.max(other) - over;
        self.seen.voice_back_ms = Some(took_ms);
        let stood = self.seen.voice_after_ms.zip(self.seen.answered).is_some_and(|(ms, (at, _))| at + ms < over);
        let limit_ms = match self.plan.fault {
            Some(Fault::Moves(..)) if self.plan.is_lossless() && stood => 4 * way + 2 * PACKET_MS,
            _ => LOSSY_MS,
        };
        if took_ms > limit_ms {
            self.broken(format!("voice comes back after {took_ms} ms, and not within {limit_ms} ms"));
        }
    }

    fn check_voice_goes_on(&mut self, at: usize, hung_up: u64) {
        let heard = &self.seen.heard[at];
        let last = heard.last().map_or(0, |(at, _)| *at);
        if last + 1_000 < hung_up {
            return self.broken(format!("{at} hears nothing for {} ms before the hang-up", hung_up - last));
        }
        if self.plan.hurts_media() {
            return;
        }
        let longest = heard.windows(2).map(|pair| pair[1].0 - pair[0].0).max().unwrap_or(0);
        let missing = heard.windows(2).filter(|pair| pair[1].1 != pair[0].1 + 1).count();
        if self.plan.is_lossless() && (missing > 0 || longest > PACKET_MS) {
            self.broken(format!("{at} misses {missing} packets, and hears nothing for {longest} ms"));
        } else if longest > 1_000 {
            self.broken(format!("{at} hears nothing for {longest} ms while they talk"));
        }
    }
}
