//! Who is woken for a call that rings, and who of these is told to stop.

use std::collections::BTreeMap;

use call_protocol::account::PushAddress;
use call_protocol::invite::Invite;
use call_protocol::{DeviceId, Party, UserId};
use signaling::{Now, Time};

use crate::ids::{AppNo, CallKey};
use crate::input::{Delivery, KnownDevice};
use crate::output::{CallParam, Push, PushKind};
use crate::session::Session;
use crate::sessions::Sessions;

/// After so long a device that has not said that it heard of a call is pushed, in ms, whether it is connected or not: one that changes its
/// network is back by then, and one that sleeps with its stream open, as every iPhone does, will not say anything.
pub(crate) const AWAY_MS: u64 = 3_000;

/// The calls whose devices are woken, and those that were and still have to be told to stop.
#[derive(Default)]
pub(crate) struct PushFanOut {
    ringing: BTreeMap<CallKey, Ringing>,
    stopping: BTreeMap<CallKey, Stopping>,
}

/// How the waking of a call's devices goes.
struct Ringing {
    invite: Invite,
    since: Time,
    /// When it stops ringing.
    deadline: Time,
    /// Webhooks, searches for devices and pushes whose outcome is not known yet.
    open: usize,
    /// Somebody took a webhook or a push.
    is_reached: bool,
    /// Something was given up.
    has_failed: bool,
    pushed: Vec<Pushed>,
    /// The devices that said something of the call.
    heard: Vec<Party>,
    /// Who came by the cc_param of a push, and the device to which that went.
    came: Vec<(Party, DeviceId)>,
}

/// A device that was pushed.
struct Pushed {
    party: Party,
    address: PushAddress,
    at: Time,
    /// The push service has it.
    is_sent: bool,
}

/// A call whose ring is over while pushes of it were on their way: what they reach is told to stop once it is known that they went out.
struct Stopping {
    invite: Invite,
    pushed: Vec<Pushed>,
}

/// What is to be done for the devices of a callee.
pub(crate) struct ToPush {
    pub(crate) pushes: Vec<Push>,
    /// When those that may still say that they heard should have.
    pub(crate) look_again_at: Option<Time>,
}

impl PushFanOut {
    /// A call rings; of so many webhooks the outcome is open.
    pub(crate) fn begin(&mut self, now: Now, key: CallKey, invite: Invite, open: usize) {
        let ringing = Ringing {
            since: now.mono,
            deadline: now.mono + u64::from(invite.ring_timeout_ms),
            invite,
            open,
            is_reached: false,
            has_failed: false,
            pushed: Vec::new(),
            heard: Vec::new(),
            came: Vec::new(),
        };
        self.ringing.insert(key, ringing);
    }

    /// A device says something of a call, which it has heard of then.
    pub(crate) fn note_heard(&mut self, key: CallKey, party: &Party) {
        if let Some(ringing) = self.ringing.get_mut(&key)
            && !ringing.heard.contains(party)
        {
            ringing.heard.push(party.clone());
        }
    }

    /// Somebody signs in with the cc_param of a push.
    pub(crate) fn note_came(&mut self, key: CallKey, party: &Party, woken: Option<DeviceId>) {
        if let (Some(ringing), Some(device)) = (self.ringing.get_mut(&key), woken) {
            ringing.came.push((party.clone(), device));
        }
    }

    /// Whether a call rings for a user whose devices are woken.
    pub(crate) fn rings_for(&self, key: CallKey, user: &UserId) -> bool {
        self.ringing.get(&key).is_some_and(|ringing| ringing.invite.callees.contains(user))
    }

    /// It is looked for devices of a callee. False if the call rings no longer.
    pub(crate) fn begin_look_up(&mut self, key: CallKey) -> bool {
        let ringing = self.ringing.get_mut(&key);
        ringing.map(|ringing| ringing.open += 1).is_some()
    }

    /// Whether a device of a callee has a session and has not said that it heard of the call.
    pub(crate) fn is_unheard_by_any(&self, key: CallKey, user: &UserId, sessions: &Sessions) -> bool {
        let Some(ringing) = self.ringing.get(&key) else { return false };
        let mut devices = sessions.of_user(key.app, user).filter(|(_, session)| session.bound.is_none());
        devices.any(|(_, session)| !ringing.heard.contains(&session.party))
    }

    /// The devices of a callee: those that are away and can be pushed are, and those that should have said by now that they heard.
    pub(crate) fn on_devices(
        &mut self,
        now: Now,
        key: CallKey,
        user: &UserId,
        devices: Vec<KnownDevice>,
        sessions: &Sessions,
    ) -> Option<ToPush> {
        let ringing = self.ringing.get_mut(&key)?;
        let (mut asleep, mut look_again_at) = (Vec::new(), None);
        for KnownDevice { device, push, .. } in devices {
            let (party, Some(address)) = (Party { user: user.clone(), device }, push) else { continue };
            if ringing.pushed.iter().any(|pushed| pushed.party == party) {
                continue;
            }
            let hearing: Vec<&Session> = sessions.hearing_of(key, &party).collect();
            let newest = hearing.iter().map(|session| session.since.max(ringing.since) + AWAY_MS).max();
            match newest {
                Some(_) if hearing.iter().any(|session| ringing.heard.contains(&session.party)) => {}
                Some(until) if now.mono < until => look_again_at = look_again_at.max(Some(until)),
                Some(_) | None => asleep.push(Pushed { party, address, at: now.mono, is_sent: false }),
            }
        }
        let push = |pushed: &Pushed| pushed.push(key.app, &ringing.invite, PushKind::Ring);
        let pushes: Vec<Push> = asleep.iter().map(push).collect();
        ringing.open = ringing.open.saturating_sub(1) + asleep.len();
        ringing.pushed.extend(asleep);
        Some(ToPush { pushes, look_again_at })
    }

    /// What became of a webhook or a push. A push that went out before its ring was over is followed by one to stop.
    pub(crate) fn on_delivery(&mut self, Delivery { call, device, is_done }: &Delivery) -> Option<Push> {
        let stop = device.as_ref().and_then(|device| self.stop_what_went_out(*call, device, *is_done));
        if let Some(ringing) = self.ringing.get_mut(call) {
            ringing.open = ringing.open.saturating_sub(1);
            ringing.is_reached |= is_done;
            ringing.has_failed |= !is_done;
            // One that was given up does not ring, and is not to be told to stop.
            ringing.pushed.retain(|pushed| *is_done || Some(&pushed.party) != device.as_ref());
            let sent = ringing.pushed.iter_mut().filter(|pushed| Some(&pushed.party) == device.as_ref());
            sent.for_each(|pushed| pushed.is_sent = true);
        }
        stop
    }

    /// The callees of a one-to-one call of which nobody could be told, and of which nothing is open any more.
    pub(crate) fn reached_nobody(&self, key: CallKey) -> Option<&[UserId]> {
        let Ringing { open, is_reached, has_failed, invite, .. } = self.ringing.get(&key)?;
        let is_lost = *open == 0 && !is_reached && *has_failed && invite.call_type.is_one_to_one();
        is_lost.then_some(invite.callees.as_slice())
    }

    /// The ring is over. Devices that were pushed are told to stop, but for the one that took the call and those that hear it anyway; where
    /// the push to ring is still on its way, after it.
    pub(crate) fn end(&mut self, now: Now, key: CallKey, winner: Option<&Party>, sessions: &Sessions) -> Vec<Push> {
        let Some(mut ringing) = self.ringing.remove(&key).filter(|ringing| ringing.deadline > now.mono) else {
            return Vec::new();
        };
        let mut pushed = std::mem::take(&mut ringing.pushed);
        pushed.retain(|pushed| {
            let took_it = winner.is_some_and(|winner| ringing.is_on(&pushed.party, winner));
            // One that slept with its stream open when it was pushed may still.
            let hears = |session: &Session| session.since >= pushed.at || ringing.heard.contains(&session.party);
            !took_it && !sessions.hearing_of(key, &pushed.party).any(hears)
        });
        let (sent, on_their_way): (Vec<_>, Vec<_>) = pushed.into_iter().partition(|pushed| pushed.is_sent);
        self.stopping.retain(|_, stopping| stopping.invite.ring_deadline_unix_ms > now.unix_ms);
        let stops = sent.iter().map(|pushed| pushed.push(key.app, &ringing.invite, PushKind::Cancel)).collect();
        if !on_their_way.is_empty() {
            self.stopping.insert(key, Stopping { invite: ringing.invite, pushed: on_their_way });
        }
        stops
    }

    fn stop_what_went_out(&mut self, key: CallKey, device: &Party, is_sent: bool) -> Option<Push> {
        let Stopping { invite, pushed } = self.stopping.get_mut(&key)?;
        let at = pushed.iter().position(|pushed| pushed.party == *device)?;
        let stop = pushed.swap_remove(at).push(key.app, invite, PushKind::Cancel);
        if pushed.is_empty() {
            self.stopping.remove(&key);
        }
        is_sent.then_some(stop)
    }
}

impl Ringing {
    /// Whether who took the call did so on this device.
    fn is_on(&self, device: &Party, winner: &Party) -> bool {
        let came = |(party, woken): &(Party, DeviceId)| party == winner && *woken == device.device;
        device == winner || (device.user == winner.user && self.came.iter().any(came))
    }
}

impl Pushed {
    fn push(&self, app: AppNo, invite: &Invite, kind: PushKind) -> Push {
        let Pushed { party: Party { user, device }, address, .. } = self;
        let param = CallParam::of(app, invite, user, Some(device));
        Push { kind, param, device: device.clone(), address: address.clone() }
    }
}
