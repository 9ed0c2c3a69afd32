//! What does not change while a device is signed in, and what can be chosen for one call.

use std::time::Duration;

use call_protocol::session::{Hello, PROTOCOL_VERSION};
use call_protocol::{AppId, Party};
use signaling::SecondCall;

use crate::requests::AccessToken;

/// What does not change while a device is signed in.
#[derive(Clone)]
pub struct Settings {
    /// Who is signed in, and where.
    pub me: Party,
    /// The app.
    pub app_id: AppId,
    /// By what it signs in first; empty where there is a `cc_param`.
    pub access_token: AccessToken,
    /// In place of an access token, for the call of this parameter alone; empty if there is none.
    pub cc_param: String,
    /// Free text for the server's log.
    pub agent: String,
    /// How long a call rings, in ms.
    pub ring_timeout_ms: u32,
    /// What becomes of a call that comes in while another one runs.
    pub second_call: SecondCall,
    /// The app's own chat carries the messages of calls, and this device decides about the calls that it makes.
    pub has_chat: bool,
    /// There is a relay, so that a path can be set up that shows no address of this device.
    pub has_relay: bool,
    /// Whether media is set up while it rings.
    pub warm_path: WarmPath,
    /// The device is there for one call only, and signs out when that is over.
    pub one_call: bool,
    /// The sound of calls that have no settings of their own.
    pub audio: AudioSettings,
    /// From what call ids and the spread of pauses are drawn.
    pub seed: [u8; 32],
}

impl Settings {
    /// How the device signs in for the first time.
    pub fn hello(&self) -> Hello {
        Hello {
            protocol_version: PROTOCOL_VERSION,
            app_id: self.app_id.to_string(),
            access_token: self.access_token.0.clone(),
            user: self.me.user.to_string(),
            device: self.me.device.to_string(),
            resume: None,
            agent: self.agent.clone(),
            cc_param: self.cc_param.clone(),
            for_one_call: self.one_call,
        }
    }
}

/// What can be chosen about the sound of all calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AudioSettings {
    /// No device is opened before the app has activated the audio.
    pub waits_for_activation: bool,
    /// A call whose microphone cannot be opened goes on without it rather than end.
    pub allow_without_mic: bool,
    /// Which tones there are.
    pub tones: ToneSet,
    /// Over how long levels are measured.
    pub level_interval: Duration,
}

/// What is chosen for a call that has a handler of its own, in place of the [`AudioSettings`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CallSettings {
    /// No device is opened before the app has activated the audio.
    pub waits_for_activation: bool,
    /// Without a microphone the call only listens.
    pub allow_without_mic: bool,
    /// How often the levels of both sides are told to the call's handler; `None`: never.
    pub level_interval: Option<Duration>,
}

/// Which tones are set; the others are silence.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToneSet {
    /// Caller: the callee's phone rings.
    pub ringback: bool,
    /// Callee: somebody calls.
    pub ring: bool,
    /// The other side has put the call on hold.
    pub hold: bool,
    /// This side has put the call on hold.
    pub holding: bool,
    /// Somebody else calls during a call.
    pub waiting: bool,
    /// Once, at the end of a call that was accepted.
    pub end: bool,
}

/// A tone that is played over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToneKind {
    /// See [`ToneSet::ringback`].
    Ringback,
    /// See [`ToneSet::ring`].
    Ring,
    /// See [`ToneSet::hold`].
    Hold,
    /// See [`ToneSet::holding`].
    Holding,
    /// See [`ToneSet::waiting`].
    Waiting,
}

/// Whether ICE and DTLS are set up while it rings, so that the accept only opens the sound. Nothing is heard or said before the accept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WarmPath {
    /// Over the addresses of the default routes, and of IPv6 the temporary ones (RFC 8828 mode 2). While it rings the other side sees those,
    /// and what a STUN server sees of them; after the accept every address, so that two on one network connect that have no other way.
    #[default]
    DefaultRoute,
    /// Over every address. Each side sees all addresses of the other one while it rings, those of a VPN too.
    Full,
    /// Over relays only, so that the other side sees no address of this one before the accept; the call stays on the relay. Without a relay
    /// as with `Off`.
    RelayOnly,
    /// Not at all: this side shows nothing of itself before the accept, and the voice begins some round trips later.
    Off,
}
