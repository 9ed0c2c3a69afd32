//! What calls ask about users, and who hears of a call.

use std::collections::HashMap;
use std::num::NonZeroU32;

use call_protocol::ring::InviteRefusal;
use call_protocol::{CallId, DeviceId, Party, UserId};

use super::calls::People;
use super::session::{Session, SessionKey};
use super::{Hub, Surroundings};
use crate::dev::Directory;
use crate::gate::Pass;
use crate::token::AppNo;

/// The users of one app.
pub(super) struct PeopleOf<'a> {
    pub(super) app: AppNo,
    /// Without a directory every user can exist.
    pub(super) directory: Option<&'a Directory>,
    pub(super) around: &'a Surroundings,
    /// The turn of an invite; nothing else opens a call.
    pub(super) pass: Option<&'a Pass>,
    /// Whether the access token of who speaks has ended.
    pub(super) has_ended_token: bool,
    pub(super) devices: &'a HashMap<(AppNo, UserId), Vec<SessionKey>>,
    pub(super) sessions: &'a HashMap<SessionKey, Session>,
}

impl People for PeopleOf<'_> {
    fn can_exist(&self, user: &UserId) -> bool {
        self.directory.is_none_or(|known| known.knows(user) || self.devices.contains_key(&(self.app, user.clone())))
    }

    fn may_open(&self, caller: &Party, callees: usize) -> Result<(), InviteRefusal> {
        if self.has_ended_token {
            return Err(InviteRefusal::TokenExpired);
        }
        let Surroundings { limits, health, metering, .. } = self.around;
        // A server that drains lets its calls end and begins none.
        if !health.takes_sign_ins() || !self.pass.is_some_and(|pass| health.takes_work(pass)) {
            metering.shed_invites.increment(1);
            return Err(InviteRefusal::Overloaded);
        }
        let callees = u32::try_from(callees).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        limits.invite(self.app, &caller.user, &caller.device, callees).map_err(|_| InviteRefusal::TooMany)
    }

    fn online(&self, user: &UserId) -> Vec<Party> {
        let keys = self.devices.get(&(self.app, user.clone())).into_iter().flatten();
        let sessions = keys
            .filter_map(|key| self.sessions.get(key))
            .filter(|session| session.link.is_some() && session.bound.is_none());
        sessions.map(|session| session.party.clone()).collect()
    }
}

impl Hub {
    /// The sessions that are to hear of a call: where a device signed in for this call alone, that session and no other of the device.
    pub(super) fn recipients(
        &self,
        app: AppNo,
        user: UserId,
        device: Option<&DeviceId>,
        call_id: CallId,
    ) -> Vec<SessionKey> {
        let keys = self.devices.get(&(app, user)).map_or(&[][..], Vec::as_slice);
        let sessions = || keys.iter().filter_map(|key| Some((*key, self.sessions.get(key)?)));
        let is_bound = |session: &Session| session.bound == Some(call_id);
        let has_its_own =
            |device: &DeviceId| sessions().any(|(_, session)| is_bound(session) && session.party.device == *device);
        let meant = sessions().filter(|(_, session)| device.is_none_or(|device| session.party.device == *device));
        let meant = meant.filter(|(_, session)| {
            is_bound(session) || (session.bound.is_none() && !has_its_own(&session.party.device))
        });
        meant.map(|(key, _)| key).collect()
    }
}
