//! Channels of two: who is in, until when, and who is told what. Media does not pass through here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use call_protocol::media::{
    ChannelEvent, ChannelEventBody, ChannelRequestBody, JoinRefusal, LeaveReason, Member, TrackState,
};
use call_protocol::{ChannelId, Party, Uid, limits};
use signaling::{Now, Time};

use crate::ids::{Address, AppNo};
use crate::input::Grant;
use crate::timers::Timers;

/// One channel of one app.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChannelKey {
    pub(crate) app: AppNo,
    pub(crate) channel: ChannelId,
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Requester {
    pub(crate) address: Address,
    /// What it is told of servers for its candidates.
    pub(crate) stun_server: String,
}

/// Carry this there.
#[derive(Debug, PartialEq)]
pub(crate) struct ChannelOutput {
    pub(crate) to: Address,
    pub(crate) event: ChannelEvent,
}

/// The knobs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChannelsConfig {
    pub(crate) per_device: usize,
    /// How long a member whose session was replaced may take to join again.
    pub(crate) rejoin_ms: u64,
}

/// How long before its end a token is said to end soon; half of its life if that is shorter. It is said again at half of what is left.
const WARN_MS: u64 = 30_000;
/// After the last warning this or more was left: later there is no time for a new token to come.
const LAST_WARN_MS: u64 = 500;

/// How long a party may take to leave its call's channel by itself once the call is over.
const AFTER_CALL_MS: u64 = 10_000;

pub(crate) struct Channels {
    config: ChannelsConfig,
    channels: BTreeMap<ChannelKey, Vec<Membership>>,
    members: usize,
    by_address: BTreeMap<Address, BTreeSet<ChannelKey>>,
    timers: Timers<(ChannelKey, Uid)>,
    outputs: VecDeque<ChannelOutput>,
}

struct Membership {
    uid: Uid,
    party: Party,
    tracks: TrackState,
    /// Where it is told what happens; none once its session was replaced: then it is kept until `kept_until` for a new join.
    at: Option<Address>,
    kept_until: Option<Time>,
    warn_at: Option<Time>,
    until: Time,
    /// Let in as a party of the channel's call, and until that ends.
    of_call: bool,
}

impl Membership {
    fn member(&self) -> Member {
        Member { uid: self.uid, tracks: self.tracks }
    }

    fn next_timer(&self) -> Time {
        let ends = self.warn_at.unwrap_or(self.until).min(self.until);
        self.kept_until.map_or(ends, |kept| kept.min(ends))
    }

    fn renew(&mut self, now: Now, grant: Grant) {
        self.until = now.at_unix_ms(grant.until_unix_ms);
        let left = self.until - now.mono;
        self.warn_at = Some(Time(self.until.0 - WARN_MS.min(left / 2)));
    }
}

impl Channels {
    pub(crate) fn new(config: ChannelsConfig) -> Self {
        Self {
            config,
            channels: BTreeMap::new(),
            members: 0,
            by_address: BTreeMap::new(),
            timers: Timers::new(),
            outputs: VecDeque::new(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.channels.len()
    }

    pub(crate) fn members(&self) -> usize {
        self.members
    }

    /// Whether a device is in any channel.
    pub(crate) fn has(&self, address: &Address) -> bool {
        self.by_address.get(address).is_some_and(|keys| !keys.is_empty())
    }

    /// A device asks. `grant` is what the token of a join or renewal allows.
    pub(crate) fn on_request(
        &mut self,
        now: Now,
        requester: &Requester,
        channel: ChannelId,
        body: ChannelRequestBody,
        grant: Option<Result<Grant, JoinRefusal>>,
    ) {
        let key = ChannelKey { app: requester.address.app, channel };
        match (body, grant) {
            (ChannelRequestBody::Join { tracks, .. }, Some(Ok(grant))) => {
                if let Err(reason) = self.join(now, requester, &key, tracks, grant) {
                    self.refuse(requester, &key, reason);
                }
            }
            (ChannelRequestBody::RenewToken { .. }, Some(Ok(grant))) => self.renew(now, requester, &key, grant),
            (ChannelRequestBody::Join { .. } | ChannelRequestBody::RenewToken { .. }, refused) => {
                let reason = refused.and_then(Result::err).unwrap_or(JoinRefusal::TokenInvalid);
                self.refuse(requester, &key, reason);
            }
            (ChannelRequestBody::Leave, _) => {
                if let Some(uid) = self.uid_of(&requester.address, &key) {
                    self.remove(&key, uid, LeaveReason::Left);
                }
            }
            (ChannelRequestBody::Description { to, description }, _) => {
                self.relay(requester, &key, to, |from| ChannelEventBody::Description { from, description });
            }
            (ChannelRequestBody::Candidate { to, candidate }, _) => {
                self.relay(requester, &key, to, |from| ChannelEventBody::Candidate { from, candidate });
            }
            (ChannelRequestBody::Tracks(tracks), _) => {
                if let Some(uid) = self.uid_of(&requester.address, &key) {
                    self.set_tracks(&key, uid, tracks);
                }
            }
        }
    }

    /// The uid of a party in a channel; of one that is not in it, this one or the next that is free.
    pub(crate) fn uid_of_party(&self, app: AppNo, channel: &ChannelId, party: &Party, wanted: u32) -> Option<Uid> {
        let key = ChannelKey { app, channel: channel.clone() };
        let members = self.channels.get(&key).map_or(&[][..], Vec::as_slice);
        let is_free = |uid: &Uid| members.iter().all(|member| member.uid != *uid);
        let mine = members.iter().find(|member| member.party == *party).map(|member| member.uid);
        mine.or_else(|| (wanted..).filter_map(|number| Uid::new(number).ok()).find(is_free))
    }

    /// Whether nobody but these is in the channel.
    pub(crate) fn has_only(&self, app: AppNo, channel: &ChannelId, parties: &[Party]) -> bool {
        let key = ChannelKey { app, channel: channel.clone() };
        self.channels.get(&key).into_iter().flatten().all(|member| parties.contains(&member.party))
    }

    /// The call of a channel is over: who is in it as a party of the call leaves soon.
    pub(crate) fn on_call_over(&mut self, now: Now, app: AppNo, channel: &ChannelId) {
        let key = ChannelKey { app, channel: channel.clone() };
        let until = now.mono + AFTER_CALL_MS;
        for member in self.channels.get_mut(&key).into_iter().flatten().filter(|member| member.of_call) {
            (member.until, member.warn_at) = (member.until.min(until), None);
            self.timers.push(member.next_timer(), (key.clone(), member.uid));
        }
    }

    /// The session is over: signed out, or not resumed in time.
    pub(crate) fn on_session_over(&mut self, address: &Address, reason: LeaveReason) {
        for key in self.by_address.remove(address).unwrap_or_default() {
            if let Some(uid) = self.uid_of(address, &key) {
                self.remove(&key, uid, reason);
            }
        }
    }

    /// The session was replaced by a new one of the same device, which may join again in its place.
    pub(crate) fn on_session_replaced(&mut self, now: Now, address: &Address) {
        let kept_until = now.mono + self.config.rejoin_ms;
        for key in self.by_address.remove(address).unwrap_or_default() {
            let uid = self.uid_of(address, &key);
            if let Some(membership) = uid.and_then(|uid| self.membership(&key, uid)) {
                membership.at = None;
                membership.kept_until = Some(kept_until);
                let (next, uid) = (membership.next_timer(), membership.uid);
                self.timers.push(next, (key, uid));
            }
        }
    }

    /// Nobody could be heard for so long: whoever may come back may take so much longer.
    pub(crate) fn on_stalled(&mut self, ms: u64) {
        for (key, members) in &mut self.channels {
            for member in members.iter_mut().filter(|member| member.kept_until.is_some()) {
                member.kept_until = member.kept_until.map(|until| until + ms);
                self.timers.push(member.next_timer(), (key.clone(), member.uid));
            }
        }
    }

    pub(crate) fn next_wake(&self) -> Option<Time> {
        self.timers.next()
    }

    pub(crate) fn on_wake(&mut self, now: Now) {
        while let Some((at, (key, uid))) = self.timers.pop_due(now.mono) {
            let Some(membership) = self.membership(&key, uid) else { continue };
            if membership.next_timer() != at {
                continue;
            }
            let at = membership.at.clone();
            if membership.until <= now.mono {
                self.remove(&key, uid, LeaveReason::TokenExpired);
                if let Some(at) = at {
                    let reason = JoinRefusal::TokenExpired;
                    self.send(at, &key, ChannelEventBody::JoinRefused { reason });
                }
            } else if membership.kept_until.is_some_and(|kept| kept <= now.mono) {
                self.remove(&key, uid, LeaveReason::Dropped);
            } else {
                let left = membership.until - now.mono;
                membership.warn_at = (left >= 2 * LAST_WARN_MS).then(|| now.mono + left / 2);
                let left_ms = u32::try_from(left).unwrap_or(u32::MAX);
                let next = membership.next_timer();
                self.timers.push(next, (key.clone(), uid));
                if let Some(at) = at {
                    self.send(at, &key, ChannelEventBody::TokenExpiring { left_ms });
                }
            }
        }
        let is_wanted = |at, (key, uid): &(ChannelKey, Uid)| {
            let mut members = self.channels.get(key).into_iter().flatten();
            members.any(|member| member.uid == *uid && member.next_timer() == at)
        };
        self.timers.tidy(self.members, is_wanted);
    }

    pub(crate) fn poll_output(&mut self) -> Option<ChannelOutput> {
        self.outputs.pop_front()
    }

    fn join(
        &mut self,
        now: Now,
        requester: &Requester,
        key: &ChannelKey,
        tracks: TrackState,
        grant: Grant,
    ) -> Result<(), JoinRefusal> {
        if grant.until_unix_ms <= now.unix_ms {
            return Err(JoinRefusal::TokenExpired);
        }
        if self.is_full_for(requester, key) {
            return Err(JoinRefusal::ChannelFull);
        }
        let members = self.channels.get(key).map_or(&[][..], Vec::as_slice);
        if members.iter().any(|other| other.uid == grant.uid && other.party != requester.address.party) {
            return Err(JoinRefusal::UidTaken);
        }
        let mine = members.iter().find(|own| own.party == requester.address.party).map(|own| (own.uid, own.at.clone()));
        if members.len() >= limits::PEER_TO_PEER_MEMBERS && mine.is_none() {
            return Err(JoinRefusal::ChannelFull);
        }
        let again = mine == Some((grant.uid, Some(requester.address.clone())));
        match mine {
            Some((uid, at)) if uid == grant.uid => {
                if let Some(old) = at.filter(|old| *old != requester.address) {
                    self.forget(&old, key);
                }
            }
            Some((uid, _)) => self.remove(key, uid, LeaveReason::Left),
            None => {}
        }
        self.by_address.entry(requester.address.clone()).or_default().insert(key.clone());
        let members = self.channels.entry(key.clone()).or_default();
        let before = members.len();
        members.retain(|member| member.uid != grant.uid);
        self.members = self.members + 1 - (before - members.len());
        let mut membership = Membership {
            uid: grant.uid,
            party: requester.address.party.clone(),
            tracks,
            at: Some(requester.address.clone()),
            kept_until: None,
            warn_at: None,
            until: now.mono,
            of_call: grant.of_call,
        };
        membership.renew(now, grant);
        self.timers.push(membership.next_timer(), (key.clone(), grant.uid));
        let others: Vec<Member> = members.iter().map(Membership::member).collect();
        let me = membership.member();
        members.push(membership);

        let stun_servers = vec![requester.stun_server.clone()];
        let joined = ChannelEventBody::Joined { uid: grant.uid, members: others, stun_servers };
        self.send(requester.address.clone(), key, joined);
        if again {
            self.send_to_others(key, grant.uid, &ChannelEventBody::Tracks { uid: grant.uid, tracks });
        } else {
            self.send_to_others(key, grant.uid, &ChannelEventBody::MemberJoined(me));
        }
        Ok(())
    }

    fn renew(&mut self, now: Now, requester: &Requester, key: &ChannelKey, grant: Grant) {
        let uid = self.uid_of(&requester.address, key);
        match uid.and_then(|uid| self.membership(key, uid)) {
            Some(membership) if membership.uid == grant.uid => {
                membership.renew(now, grant);
                let next = membership.next_timer();
                self.timers.push(next, (key.clone(), grant.uid));
            }
            Some(_) | None => self.refuse(requester, key, JoinRefusal::TokenInvalid),
        }
    }

    fn relay(&mut self, requester: &Requester, key: &ChannelKey, to: Uid, event: impl FnOnce(Uid) -> ChannelEventBody) {
        let Some(from) = self.uid_of(&requester.address, key) else { return };
        let Some(at) = self.membership(key, to).and_then(|other| other.at.clone()) else { return };
        if from != to {
            self.send(at, key, event(from));
        }
    }

    fn set_tracks(&mut self, key: &ChannelKey, uid: Uid, tracks: TrackState) {
        let Some(membership) = self.membership(key, uid) else { return };
        membership.tracks = tracks;
        self.send_to_others(key, uid, &ChannelEventBody::Tracks { uid, tracks });
    }

    fn remove(&mut self, key: &ChannelKey, uid: Uid, reason: LeaveReason) {
        let Some(members) = self.channels.get_mut(key) else { return };
        let Some(at) = members.iter().position(|member| member.uid == uid) else { return };
        let gone = members.remove(at);
        self.members -= 1;
        if let Some(at) = gone.at {
            self.forget(&at, key);
        }
        self.send_to_others(key, uid, &ChannelEventBody::MemberLeft { uid, reason });
        if self.channels.get(key).is_some_and(Vec::is_empty) {
            self.channels.remove(key);
        }
    }

    /// Whether the device is in too many other channels.
    fn is_full_for(&self, requester: &Requester, key: &ChannelKey) -> bool {
        self.by_address
            .get(&requester.address)
            .is_some_and(|channels| channels.len() >= self.config.per_device && !channels.contains(key))
    }

    fn forget(&mut self, address: &Address, key: &ChannelKey) {
        if let Some(channels) = self.by_address.get_mut(address) {
            channels.remove(key);
            if channels.is_empty() {
                self.by_address.remove(address);
            }
        }
    }

    fn uid_of(&self, address: &Address, key: &ChannelKey) -> Option<Uid> {
        let members = self.channels.get(key)?;
        members.iter().find(|member| member.at.as_ref() == Some(address)).map(|member| member.uid)
    }

    fn membership(&mut self, key: &ChannelKey, uid: Uid) -> Option<&mut Membership> {
        self.channels.get_mut(key)?.iter_mut().find(|member| member.uid == uid)
    }

    fn refuse(&mut self, requester: &Requester, key: &ChannelKey, reason: JoinRefusal) {
        self.send(requester.address.clone(), key, ChannelEventBody::JoinRefused { reason });
    }

    fn send_to_others(&mut self, key: &ChannelKey, uid: Uid, body: &ChannelEventBody) {
        let members = self.channels.get(key).map_or(&[][..], Vec::as_slice);
        let others: Vec<_> =
            members.iter().filter(|other| other.uid != uid).filter_map(|other| other.at.clone()).collect();
        for at in others {
            self.send(at, key, body.clone());
        }
    }

    fn send(&mut self, to: Address, key: &ChannelKey, body: ChannelEventBody) {
        let event = ChannelEvent { channel: key.channel.clone(), body };
        self.outputs.push_back(ChannelOutput { to, event });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use call_protocol::media::{Candidate, ChannelEventBody as Event};
    use call_protocol::{DeviceId, UserId};

    const HOUR: u64 = 3_600_000;

    struct World {
        channels: Channels,
        now: Now,
    }

    fn world() -> World {
        let config = ChannelsConfig { per_device: 2, rejoin_ms: 15_000 };
        World { channels: Channels::new(config), now: Now { mono: Time(500), unix_ms: 1_000_500 } }
    }

    fn uid(number: u32) -> Uid {
        Uid::new(number).unwrap()
    }

    fn channel(name: &str) -> ChannelId {
        ChannelId::new(name).unwrap()
    }

    /// Everybody in these tests, by the numbers under which they are told.
    const NAMES: [&str; 3] = ["ann", "bob", "eve"];

    fn requester(number: usize) -> Requester {
        let user = NAMES[number - 1];
        let party = Party { user: UserId::new(user).unwrap(), device: DeviceId::new("phone").unwrap() };
        let address = Address { app: AppNo(0), party, only_for: None };
        Requester { address, stun_server: "stun:h:1".into() }
    }

    fn muted(audio_muted: bool) -> TrackState {
        TrackState { audio_muted, video_muted: true }
    }

    impl World {
        fn ask(&mut self, requester: &Requester, name: &str, body: ChannelRequestBody) -> Vec<(usize, Event)> {
            self.channels.on_request(self.now, requester, channel(name), body, None);
            self.told()
        }

        fn join(&mut self, requester: &Requester, name: &str, number: u32, ttl_ms: u64) -> Vec<(usize, Event)> {
            let body = ChannelRequestBody::Join { token: "checked before".into(), tracks: muted(false) };
            let grant = Grant { uid: uid(number), until_unix_ms: self.now.unix_ms + ttl_ms, of_call: false };
            self.channels.on_request(self.now, requester, channel(name), body, Some(Ok(grant)));
            self.told()
        }

        fn told(&mut self) -> Vec<(usize, Event)> {
            let number = |to: &Address| NAMES.iter().position(|name| *name == to.party.user.as_str()).map(|at| at + 1);
            let told = std::iter::from_fn(|| self.channels.poll_output());
            told.map(|out| (number(&out.to).unwrap(), out.event.body)).collect()
        }

        /// Goes on to the next timer.
        fn wake(&mut self) -> Vec<(usize, Event)> {
            let at = self.channels.next_wake().unwrap();
            self.now = Now { mono: at, unix_ms: self.now.unix_ms + (at - self.now.mono) };
            self.channels.on_wake(self.now);
            self.told()
        }

        /// Passes over the timers that no longer mean anything.
        fn next_told(&mut self) -> Vec<(usize, Event)> {
            let mut told = Vec::new();
            while told.is_empty() {
                told = self.wake();
            }
            told
        }
    }

    fn refused(number: usize, reason: JoinRefusal) -> Vec<(usize, Event)> {
        vec![(number, Event::JoinRefused { reason })]
    }

    fn left(to: usize, number: u32, reason: LeaveReason) -> (usize, Event) {
        (to, Event::MemberLeft { uid: uid(number), reason })
    }

    #[test]
    fn two_meet_a_third_finds_it_full_and_state_reaches_the_late_one() {
        let (mut world, ann, bob, eve) = (world(), requester(1), requester(2), requester(3));
        world.join(&ann, "room", 10, HOUR);
        assert_eq!(world.ask(&ann, "room", ChannelRequestBody::Tracks(muted(true))), []);
        let stun_servers = vec!["stun:h:1".to_owned()];
        let members = vec![Member { uid: uid(10), tracks: muted(true) }];
        let bobs = Member { uid: uid(20), tracks: muted(false) };
        assert_eq!(
            world.join(&bob, "room", 20, HOUR),
            [(2, Event::Joined { uid: uid(20), members, stun_servers }), (1, Event::MemberJoined(bobs))]
        );
        assert_eq!(world.join(&eve, "room", 30, HOUR), refused(3, JoinRefusal::ChannelFull));
        assert_eq!(world.ask(&bob, "room", ChannelRequestBody::Leave), [left(1, 20, LeaveReason::Left)]);
        assert_eq!(world.join(&eve, "room", 10, HOUR), refused(3, JoinRefusal::UidTaken));
        assert!(matches!(
            world.join(&eve, "room", 30, HOUR)[..],
            [(3, Event::Joined { .. }), (1, Event::MemberJoined(_))]
        ));
    }

    #[test]
    fn relays_go_between_members_only() {
        let (mut world, ann, bob, eve) = (world(), requester(1), requester(2), requester(3));
        world.join(&ann, "room", 10, HOUR);
        let candidate = Candidate {
            candidate: "candidate:1".into(),
            sdp_mid: None,
            sdp_mline_index: None,
            username_fragment: None,
        };
        let send = |to| ChannelRequestBody::Candidate { to: uid(to), candidate: candidate.clone() };
        assert_eq!(world.ask(&ann, "room", send(20)), [], "not there yet");
        world.join(&bob, "room", 20, HOUR);
        let arrives = vec![(2, Event::Candidate { from: uid(10), candidate: candidate.clone() })];
        assert_eq!(world.ask(&ann, "room", send(20)), arrives);
        assert_eq!(world.ask(&eve, "room", send(20)), [], "no member");
        assert_eq!(world.ask(&ann, "other", send(20)), [], "another channel");
        assert_eq!(world.ask(&ann, "room", send(10)), [], "to itself");
        assert_eq!(world.ask(&eve, "room", ChannelRequestBody::Tracks(muted(true))), []);
    }

    #[test]
    fn a_token_warns_more_and_more_often_and_then_ends_unless_it_is_renewed() {
        let (mut world, ann, bob) = (world(), requester(1), requester(2));
        world.join(&bob, "room", 20, HOUR);
        world.join(&ann, "room", 10, 100_000);
        assert_eq!(world.wake(), [(1, Event::TokenExpiring { left_ms: 30_000 })]);
        let grant = Grant { uid: uid(10), until_unix_ms: world.now.unix_ms + 40_000, of_call: false };
        let renew = ChannelRequestBody::RenewToken { token: "checked before".into() };
        world.channels.on_request(world.now, &ann, channel("room"), renew.clone(), Some(Ok(grant)));
        assert_eq!(world.told(), []);
        assert_eq!(world.next_told(), [(1, Event::TokenExpiring { left_ms: 20_000 })], "at half of its life");
        let other = Grant { uid: uid(11), until_unix_ms: u64::MAX, of_call: false };
        world.channels.on_request(world.now, &ann, channel("room"), renew, Some(Ok(other)));
        assert_eq!(world.told(), refused(1, JoinRefusal::TokenInvalid), "another uid; the old token stays");
        for left_ms in [10_000, 5_000, 2_500, 1_250, 625] {
            assert_eq!(world.next_told(), [(1, Event::TokenExpiring { left_ms })], "a handler may have failed");
        }
        let expired = (1, Event::JoinRefused { reason: JoinRefusal::TokenExpired });
        assert_eq!(world.next_told(), [left(2, 10, LeaveReason::TokenExpired), expired]);
        assert_eq!(world.join(&ann, "room", 10, 0), refused(1, JoinRefusal::TokenExpired));
    }

    #[test]
    fn a_lost_session_leaves_and_a_replaced_one_can_be_taken_over() {
        let (mut world, ann, bob) = (world(), requester(1), requester(2));
        world.join(&ann, "room", 10, HOUR);
        world.join(&bob, "room", 20, HOUR);
        world.channels.on_session_replaced(world.now, &ann.address);
        assert_eq!(world.told(), []);
        let told = world.join(&ann, "room", 10, HOUR);
        assert!(matches!(told[..], [(1, Event::Joined { .. }), (2, Event::MemberJoined(_))]), "{told:?}");
        assert_eq!(world.wake(), [], "nobody is dropped");
        world.channels.on_session_over(&ann.address, LeaveReason::Dropped);
        assert_eq!(world.told(), [left(2, 10, LeaveReason::Dropped)]);

        world.channels.on_session_replaced(world.now, &bob.address);
        assert_eq!((world.channels.members(), world.told()), (1, vec![]));
        world.wake();
        assert_eq!((world.channels.members(), world.channels.count()), (0, 0));
        assert!(world.channels.by_address.is_empty());
    }

    #[test]
    fn the_same_join_again_is_only_answered() {
        let (mut world, ann, bob) = (world(), requester(1), requester(2));
        world.join(&ann, "room", 10, HOUR);
        world.join(&bob, "room", 20, HOUR);
        let told = world.join(&ann, "room", 10, HOUR);
        assert!(matches!(told[..], [(1, Event::Joined { .. }), (2, Event::Tracks { .. })]), "{told:?}");
        let told = world.join(&ann, "room", 11, HOUR);
        assert_eq!(told[0], left(2, 10, LeaveReason::Left), "a device is in a channel once");
        assert_eq!(world.channels.members(), 2);
        world.join(&ann, "second", 10, HOUR);
        assert_eq!(world.join(&ann, "third", 10, HOUR), refused(1, JoinRefusal::ChannelFull), "in too many");
    }
}
