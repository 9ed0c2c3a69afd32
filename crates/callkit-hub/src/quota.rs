//! How many calls a device, a user and an app may open: a limit of N a minute allows N at once, then one every 60/N s (GCRA).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use call_protocol::Party;
use signaling::Time;

use crate::config::InviteLimits;
use crate::ids::AppNo;
use crate::output::InviteLimit;

/// Keys remembered by each limit, at most.
const KEYS: usize = 65_536;
/// Once that many are known, those who are new share so many places.
const SHARED: u64 = 4_096;
/// How often those who are within their limit again are forgotten, in ms.
const FORGET_EVERY_MS: u64 = 10_000;
const MINUTE_NS: u64 = 60_000_000_000;

/// The limits of invites, and where everybody stands.
pub(crate) struct InviteQuotas {
    of_device: Option<Rate>,
    of_user: Option<Rate>,
    of_app: Option<Rate>,
}

impl InviteQuotas {
    /// `seed` is mixed into the hashes of the keys: nobody can choose whom to collide with.
    pub(crate) fn new(limits: InviteLimits, seed: u64) -> Self {
        let rate = |a_minute| Rate::new(a_minute, seed);
        Self { of_device: rate(limits.per_device), of_user: rate(limits.per_user), of_app: rate(limits.per_app) }
    }

    /// Counts an invite. The narrowest limit first, so that one device does not use up what its app has.
    ///
    /// Each callee counts: what an invite costs the server, and those who are called, is so many times that of one.
    pub(crate) fn take(&mut self, now: Time, app: AppNo, caller: &Party, callees: usize) -> Result<(), InviteLimit> {
        let Party { user, device } = caller;
        let count = u64::try_from(callees).unwrap_or(u64::MAX).max(1);
        let within = |rate: &mut Option<Rate>, key: &dyn Fn(&mut DefaultHasher)| {
            rate.as_mut().is_none_or(|rate| rate.take(now, key, count))
        };
        if !within(&mut self.of_device, &|hasher| (app, user, device).hash(hasher)) {
            return Err(InviteLimit::Device);
        }
        if !within(&mut self.of_user, &|hasher| (app, user).hash(hasher)) {
            return Err(InviteLimit::User);
        }
        if !within(&mut self.of_app, &|hasher| app.hash(hasher)) {
            return Err(InviteLimit::App);
        }
        Ok(())
    }

    /// How many devices, users and apps are remembered.
    pub(crate) fn keys(&self) -> usize {
        [&self.of_device, &self.of_user, &self.of_app].into_iter().flatten().map(|rate| rate.used_until.len()).sum()
    }
}

/// One limit. Of each key it is known until when what it was allowed is used up, in ns.
struct Rate {
    /// What one costs, in ns.
    each: u64,
    burst: u64,
    used_until: BTreeMap<u64, u64>,
    seed: u64,
    forgot_at: Time,
}

impl Rate {
    fn new(a_minute: u32, seed: u64) -> Option<Rate> {
        let burst = u64::from(a_minute);
        let each = MINUTE_NS.checked_div(burst)?;
        Some(Rate { each, burst, used_until: BTreeMap::new(), seed, forgot_at: Time(0) })
    }

    /// Whether so many more are within the limit; as many as are ever allowed at once can come after a pause.
    fn take(&mut self, now: Time, key: &dyn Fn(&mut DefaultHasher), count: u64) -> bool {
        let now_ns = now.0.saturating_mul(1_000_000);
        if now - self.forgot_at >= FORGET_EVERY_MS {
            self.forgot_at = now;
            self.used_until.retain(|_, until| *until > now_ns);
        }
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        key(&mut hasher);
        let hash = hasher.finish();
        let place = if self.used_until.len() >= KEYS { hash % SHARED } else { hash };
        let used_until = self.used_until.get(&place).copied().unwrap_or(0).max(now_ns);
        let then = used_until.saturating_add(self.each.saturating_mul(count.min(self.burst)));
        let is_within = then <= now_ns.saturating_add(self.each.saturating_mul(self.burst));
        if is_within {
            self.used_until.insert(place, then);
        }
        is_within
    }
}

#[cfg(test)]
mod tests {
    use call_protocol::{DeviceId, UserId};

    use super::*;

    fn party(user: &str, device: &str) -> Party {
        Party { user: UserId::new(user).unwrap(), device: DeviceId::new(device).unwrap() }
    }

    #[test]
    fn an_invite_counts_for_each_of_its_callees() {
        let mut quotas = InviteQuotas::new(InviteLimits { per_device: 60, ..InviteLimits::default() }, 7);
        let mut invite = |at, callees| quotas.take(Time(at), AppNo(0), &party("ann", "phone"), callees);
        assert_eq!(invite(0, 40), Ok(()));
        assert_eq!(invite(0, 40), Err(InviteLimit::Device));
        assert_eq!(invite(0, 20), Ok(()));
        assert_eq!(invite(61_000, 64), Ok(()), "more than can ever come at once is allowed after a pause");
        assert_eq!(invite(61_000, 1), Err(InviteLimit::Device));
    }

    #[test]
    fn invites_are_counted_for_device_user_and_app() {
        let mut quotas = InviteQuotas::new(InviteLimits { per_device: 2, per_user: 3, per_app: 4 }, 7);
        let mut invite = |user: &str, device: &str| quotas.take(Time(0), AppNo(0), &party(user, device), 1);
        assert_eq!(invite("ann", "phone"), Ok(()));
        assert_eq!(invite("ann", "phone"), Ok(()));
        assert_eq!(invite("ann", "phone"), Err(InviteLimit::Device));
        assert_eq!(invite("ann", "tablet"), Ok(()));
        assert_eq!(invite("ann", "tablet"), Err(InviteLimit::User));
        assert_eq!(invite("bob", "phone"), Ok(()));
        assert_eq!(invite("bob", "phone"), Err(InviteLimit::App));
    }

    #[test]
    fn a_limit_comes_back_with_time_and_what_is_remembered_is_bounded() {
        let mut quotas = InviteQuotas::new(InviteLimits { per_user: 60, ..InviteLimits::default() }, 7);
        let mut invite = |at, user: &str| quotas.take(Time(at), AppNo(0), &party(user, "phone"), 60);
        assert_eq!((invite(0, "ann"), invite(0, "ann")), (Ok(()), Err(InviteLimit::User)));
        assert_eq!((invite(59_999, "ann"), invite(60_000, "ann")), (Err(InviteLimit::User), Ok(())));
        for number in 0..2 * KEYS {
            quotas.take(Time(60_000), AppNo(0), &party(&number.to_string(), "phone"), 1).ok();
        }
        assert!(quotas.keys() <= KEYS + SHARED as usize, "{}", quotas.keys());
        quotas.take(Time(200_000), AppNo(0), &party("ann", "phone"), 1).unwrap();
        assert_eq!(quotas.keys(), 1);
    }
}
