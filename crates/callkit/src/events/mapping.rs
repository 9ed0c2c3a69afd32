//! What the machine tells the listeners of the kit, as the app gets it.

use callkit_core::KitEvent;

use super::CallKitEvent;

pub(crate) fn kit_event(event: KitEvent) -> CallKitEvent {
    match event {
        KitEvent::ReceiveCall { user, call_id, call_type, ext } => {
            CallKitEvent::ReceiveCall { user, call_id, call_type, ext }
        }
        KitEvent::CallWaiting { user, call_id, call_type, ext } => {
            CallKitEvent::CallWaiting { user, call_id, call_type, ext }
        }
        KitEvent::CallMissed { user, call_id, call_type, ext } => {
            CallKitEvent::CallMissed { user, call_id, call_type, ext }
        }
        KitEvent::CallMerged { old, call_id, call_type } => CallKitEvent::CallMerged { old, call_id, call_type },
        KitEvent::CallHeld { call_id, held } => CallKitEvent::CallHeld { call_id, held },
        KitEvent::PeerHeld { call_id, held } => CallKitEvent::PeerHeld { call_id, held },
        KitEvent::Ringing { call_id, user } => CallKitEvent::Ringing { call_id, user },
        KitEvent::Answer { call_id } => CallKitEvent::Answer { call_id },
        KitEvent::JoinedChannel { call_id, channel } => CallKitEvent::JoinedChannel { call_id, channel },
        KitEvent::UserJoined { call_id, uid, user } => CallKitEvent::UserJoined { call_id, uid, user },
        KitEvent::UserMuteAudio { call_id, uid, muted } => CallKitEvent::UserMuteAudio { call_id, uid, muted },
        KitEvent::UserMuteVideo { call_id, uid, muted } => CallKitEvent::UserMuteVideo { call_id, uid, muted },
        KitEvent::FirstAudio { call_id, uid } => CallKitEvent::FirstAudio { call_id, uid },
        KitEvent::PeerReachable { call_id, reachable, ends_in_ms } => {
            CallKitEvent::PeerReachable { call_id, reachable, ends_in_ms }
        }
        KitEvent::NetworkAvailable { call_id, available, ends_in_ms } => {
            CallKitEvent::NetworkAvailable { call_id, available, ends_in_ms }
        }
        KitEvent::MicrophoneFailed { call_id, failure } => {
            CallKitEvent::MicrophoneFailed { call_id, failure: failure.into() }
        }
        KitEvent::MicrophoneRestored { call_id } => CallKitEvent::MicrophoneRestored { call_id },
        KitEvent::CallEnd { call_id, reason, user_code } => {
            let user_code = user_code.map(|code| code.as_str().to_owned());
            CallKitEvent::CallEnd { call_id, reason, user_code }
        }
        KitEvent::Error { call_id, error } => CallKitEvent::Error { call_id, error },
        KitEvent::AccessTokenExpiring { left_ms } => CallKitEvent::AccessTokenExpiring { left_ms },
        KitEvent::ConnectionChanged { state } => CallKitEvent::ConnectionChanged { state },
    }
}
