//! What a hub has counted so far, and what there is at present.

/// Sums since the hub began, and sizes as they are now. The shell reads them; nothing is decided by them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sessions begun.
    pub sign_ins: u64,
    /// Of these, for one call by its cc_param.
    pub cc_sign_ins: u64,
    /// Sessions gone on with.
    pub resumes: u64,
    /// Frames that came from sessions.
    pub frames_in: u64,
    /// Numbered frames for sessions.
    pub frames_out: u64,
    /// Of these, with no room to wait.
    pub frames_dropped: u64,
    /// Invites refused because the server has too much to do, or stops.
    pub shed_invites: u64,
    /// Calls opened.
    pub calls_opened: u64,
    /// Calls answered.
    pub calls_answered: u64,
    /// Sessions that live.
    pub sessions: usize,
    /// Calls that are not over.
    pub calls: usize,
    /// Channels with somebody in them.
    pub channels: usize,
    /// Members of channels.
    pub members: usize,
    /// Devices, users and apps that limits of invites remember.
    pub limit_keys: usize,
}
