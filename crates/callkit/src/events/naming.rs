//! What can be said of any event: its name, and which call it is about.

use call_protocol::CallId;

use super::CallKitEvent;

impl CallKitEvent {
    /// The call that it is about, if it is about one.
    pub fn call_id(&self) -> Option<CallId> {
        match self {
            CallKitEvent::ReceiveCall { call_id, .. }
            | CallKitEvent::CallWaiting { call_id, .. }
            | CallKitEvent::CallMissed { call_id, .. }
            | CallKitEvent::CallMerged { call_id, .. }
            | CallKitEvent::CallHeld { call_id, .. }
            | CallKitEvent::PeerHeld { call_id, .. }
            | CallKitEvent::Ringing { call_id, .. }
            | CallKitEvent::Answer { call_id }
            | CallKitEvent::JoinedChannel { call_id, .. }
            | CallKitEvent::UserJoined { call_id, .. }
            | CallKitEvent::UserLeft { call_id, .. }
            | CallKitEvent::UserMuteAudio { call_id, .. }
            | CallKitEvent::UserMuteVideo { call_id, .. }
            | CallKitEvent::UserRemoved { call_id, .. }
            | CallKitEvent::FirstAudio { call_id, .. }
            | CallKitEvent::PeerReachable { call_id, .. }
            | CallKitEvent::NetworkAvailable { call_id, .. }
            | CallKitEvent::MicrophoneFailed { call_id, .. }
            | CallKitEvent::MicrophoneRestored { call_id, .. }
            | CallKitEvent::CallEnd { call_id, .. } => Some(*call_id),
            CallKitEvent::Error { call_id, .. } => *call_id,
            CallKitEvent::AccessTokenExpiring { .. }
            | CallKitEvent::ConnectionChanged { .. }
            | CallKitEvent::EventsLost { .. } => None,
        }
    }

    /// The event's name in snake case, for logs and transcripts.
    pub fn name(&self) -> &'static str {
        match self {
            CallKitEvent::ReceiveCall { .. } => "receive_call",
            CallKitEvent::CallWaiting { .. } => "call_waiting",
            CallKitEvent::CallMissed { .. } => "call_missed",
            CallKitEvent::CallMerged { .. } => "call_merged",
            CallKitEvent::CallHeld { .. } => "call_held",
            CallKitEvent::PeerHeld { .. } => "peer_held",
            CallKitEvent::Ringing { .. } => "ringing",
            CallKitEvent::Answer { .. } => "answer",
            CallKitEvent::JoinedChannel { .. } => "joined_channel",
            CallKitEvent::UserJoined { .. } => "user_joined",
            CallKitEvent::UserLeft { .. } => "user_left",
            CallKitEvent::UserMuteAudio { .. } => "user_mute_audio",
            CallKitEvent::UserMuteVideo { .. } => "user_mute_video",
            CallKitEvent::UserRemoved { .. } => "user_removed",
            CallKitEvent::FirstAudio { .. } => "first_audio",
            CallKitEvent::PeerReachable { .. } => "peer_reachable",
            CallKitEvent::NetworkAvailable { .. } => "network_available",
            CallKitEvent::MicrophoneFailed { .. } => "microphone_failed",
            CallKitEvent::MicrophoneRestored { .. } => "microphone_restored",
            CallKitEvent::CallEnd { .. } => "call_end",
            CallKitEvent::Error { .. } => "error",
            CallKitEvent::AccessTokenExpiring { .. } => "access_token_expiring",
            CallKitEvent::ConnectionChanged { .. } => "connection_changed",
            CallKitEvent::EventsLost { .. } => "events_lost",
        }
    }
}
