//! The frames of a device and of its user, on whatever streams they come.

use call_protocol::{CallId, Party};
use callkit_hub::AppNo;

use super::{Limit, Limits, Rate};

/// Where the frames of a stream count, found out once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FrameQuota {
    device: u64,
    user: u64,
}

impl Limits {
    /// Who the frames of a stream are counted for: its user and its device, or the call of its cc_param, so that whoever holds one does not
    /// use up what the user has.
    pub(crate) fn frames_of(&self, app: AppNo, party: &Party, bound: Option<CallId>) -> FrameQuota {
        let place = |rate: &Option<Rate>, key: &dyn Fn(&Rate) -> u64| rate.as_ref().map_or(0, key);
        let device = place(&self.frames_of_device, &|rate| rate.hash(&(app, &party.user, &party.device, bound)));
        let user = place(&self.frames_of_user, &|rate| match bound {
            None => rate.hash(&(app, &party.user)),
            Some(call_id) => rate.hash(&(app, call_id)),
        });
        FrameQuota { device, user }
    }

    /// One more frame.
    pub(crate) fn frame(&self, of: FrameQuota) -> Result<(), Limit> {
        let within = |rate: &Option<Rate>, hash| rate.as_ref().is_none_or(|rate| rate.take_hashed(hash));
        if !within(&self.frames_of_device, of.device) {
            return Err(self.met(Limit::Frames));
        }
        if !within(&self.frames_of_user, of.user) {
            return Err(self.met(Limit::FramesOfUser));
        }
        Ok(())
    }
}
