//! Whether a device may open a call, and who can be called.

use std::collections::{BTreeSet, VecDeque};

use call_protocol::ring::InviteRefusal;
use call_protocol::{Party, UserId};
use signaling::Now;

use super::Stage;
use crate::calls::Users;
use crate::counters::Counters;
use crate::ids::AppNo;
use crate::output::{Fact, Output};
use crate::quota::InviteQuotas;
use crate::sessions::Sessions;

/// The users of one app, as a call that is to be opened needs to know them.
pub(super) struct Admission<'a> {
    pub(super) now: Now,
    pub(super) app: AppNo,
    /// Without these every user can exist.
    pub(super) users: Option<&'a BTreeSet<UserId>>,
    pub(super) stage: Stage,
    /// Whether the server has room for what opens a call.
    pub(super) is_admitted: bool,
    /// Whether the access token of who speaks has ended.
    pub(super) has_ended_token: bool,
    pub(super) sessions: &'a Sessions,
    pub(super) quotas: &'a mut InviteQuotas,
    pub(super) counters: &'a mut Counters,
    pub(super) outputs: &'a mut VecDeque<Output>,
}

impl Users for Admission<'_> {
    fn can_exist(&self, user: &UserId) -> bool {
        self.users.is_none_or(|known| known.contains(user) || self.sessions.has_user(self.app, user))
    }

    fn may_open(&mut self, caller: &Party, callees: usize) -> Result<(), InviteRefusal> {
        if self.has_ended_token {
            return Err(InviteRefusal::TokenExpired);
        }
        // A server that drains lets its calls end and begins none.
        if self.stage != Stage::Serving || !self.is_admitted {
            self.counters.shed_invites += 1;
            return Err(InviteRefusal::Overloaded);
        }
        self.quotas.take(self.now.mono, self.app, caller, callees).map_err(|limit| {
            self.outputs.push_back(Output::Fact(Fact::Limited(limit)));
            InviteRefusal::TooMany
        })
    }

    fn online(&self, user: &UserId) -> Vec<Party> {
        self.sessions.online(self.app, user)
    }
}
