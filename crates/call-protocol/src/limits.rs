//! The largest of everything, with the reason beside the number. A sender refuses what is over; a receiver drops it.

/// Bytes of a user id: an e-mail address or a URL-like id fits.
pub const USER_ID_BYTES: usize = 128;
/// Bytes of a device id: a UUID and a prefix fit.
pub const DEVICE_ID_BYTES: usize = 64;
/// Bytes of an app id.
pub const APP_ID_BYTES: usize = 64;
/// Bytes of a channel name: as for other kits.
pub const CHANNEL_ID_BYTES: usize = 64;
/// Callees in one invite: four times the sixteen that other kits allow in a group call.
pub const CALLEES: usize = 64;
/// Entries in an invite's ext map.
pub const EXT_ENTRIES: usize = 32;
/// Bytes of all keys and values of an invite's ext map: an invite also travels as a push, whose payload is 4 KiB at most.
pub const EXT_BYTES: usize = 2_048;
/// Bytes of what an invite carries for the app's own backend: as for other kits.
pub const APP_SERVER_DATA_BYTES: usize = 4_095;
/// Bytes of an app's own code for an end: a UUID and a word.
pub const USER_CODE_BYTES: usize = 64;
/// Bytes of a cc_param's text: both user ids at their longest, and room.
pub const CC_PARAM_BYTES: usize = 768;
/// Shortest ring: below this no phone can be picked up.
pub const RING_TIMEOUT_MIN_MS: u32 = 1_000;
/// Longest ring: ten minutes.
pub const RING_TIMEOUT_MAX_MS: u32 = 600_000;
/// Bytes of a session description: a description with every codec and a dozen tracks has about 20 KiB.
pub const SDP_BYTES: usize = 48 * 1024;
/// Bytes of an ICE candidate line.
pub const CANDIDATE_BYTES: usize = 1_024;
/// Bytes of an access or channel token.
pub const TOKEN_BYTES: usize = 4_096;
/// Bytes of one frame between device and server: one description and room for its envelope.
pub const FRAME_BYTES: usize = 64 * 1024;
/// Numbered frames a sender keeps for a resume; a call needs about ten, a burst of candidates about thirty.
pub const UNACKNOWLEDGED_FRAMES: usize = 256;
/// Bytes of the free text in Hello and Refuse.
pub const NOTE_BYTES: usize = 256;
/// Members of a channel that is joined peer to peer.
pub const PEER_TO_PEER_MEMBERS: usize = 2;
