//! What webhooks say. Field names are those of the documented callbacks where these have one.

use call_protocol::disconnect::{DisconnectReason, DisconnectSource};
use call_protocol::end::EndReason;
use call_protocol::{AppId, CallId, UserId};
use serde::Serialize;

use super::Kind;
use crate::clock::Clock;
use crate::store::queue::Item;

/// Voice or picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Media {
    /// Voice.
    #[serde(rename = "A")]
    Audio,
    /// Voice and picture.
    #[serde(rename = "V")]
    Video,
}

/// A call rings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CallRings {
    /// The app.
    pub app_id: AppId,
    /// The call.
    #[serde(rename = "sid")]
    pub call_id: CallId,
    /// Who calls.
    pub from_user_id: UserId,
    /// Who is to be pushed.
    pub to_user_id: UserId,
    /// Voice or picture.
    #[serde(rename = "type")]
    pub media: Media,
    /// For the push, as it is.
    pub cc_param: String,
    /// What the caller's app had to say to its backend.
    #[serde(rename = "app_svr_data")]
    pub app_server_data: Option<String>,
    /// When it stops to ring; nobody is told after it. In ms since 1970.
    pub ring_deadline_unix_ms: u64,
}

/// How a call sounded, where its devices told.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quality {
    /// Packets lost of those sent to the device, in percent.
    pub loss_percent: f32,
    /// There and back, in ms.
    pub round_trip_ms: u32,
    /// Variation of the arrival, in ms.
    pub jitter_ms: u32,
}

impl Quality {
    pub(crate) fn of(told: call_protocol::media::Quality) -> Quality {
        let call_protocol::media::Quality { lost_permille, round_trip_ms, jitter_ms } = told;
        Quality { loss_percent: lost_permille as f32 / 10.0, round_trip_ms, jitter_ms }
    }
}

/// A call is over.
#[derive(Debug, Clone, PartialEq)]
pub struct CallEnded {
    /// The app.
    pub app_id: AppId,
    /// The call.
    pub call_id: CallId,
    /// Who called.
    pub from_user_id: UserId,
    /// Who was called.
    pub to_user_id: UserId,
    /// Voice or picture.
    pub media: Media,
    /// When it was opened, in ms since 1970.
    pub setup_unix_ms: u64,
    /// When it was answered, in ms since 1970.
    pub start_unix_ms: Option<u64>,
    /// When it ended, in ms since 1970.
    pub end_unix_ms: u64,
    /// How it ended for the caller.
    pub caller_reason: EndReason,
    /// How it ended for the callee.
    pub callee_reason: EndReason,
    /// The documented reason.
    pub disconnect_reason: DisconnectReason,
    /// Who ended it.
    pub releaser: DisconnectSource,
    /// The app's own code for it.
    pub user_rel_code: Option<String>,
    /// How it sounded at the caller.
    pub caller_quality: Option<Quality>,
    /// How it sounded at the callee.
    pub callee_quality: Option<Quality>,
}

/// Something an app's backend is told.
#[derive(Debug, Clone, PartialEq)]
pub enum Webhook {
    /// A call rings.
    Notify(CallRings),
    /// A call is over.
    CallEvent(Box<CallEnded>),
}

impl Webhook {
    /// The app that is told.
    pub fn app(&self) -> &AppId {
        match self {
            Webhook::Notify(rings) => &rings.app_id,
            Webhook::CallEvent(ended) => &ended.app_id,
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Webhook::Notify(_) => Kind::Notify,
            Webhook::CallEvent(_) => Kind::CallEvent,
        }
    }

    pub(super) fn into_item(self, id: String, clock: &Clock, give_up_after_ms: u64) -> Item {
        let (kind, app, now) = (self.kind(), self.app().clone(), clock.steady_unix_ms());
        let (call_id, expires_unix_ms) = match &self {
            Webhook::Notify(rings) => (rings.call_id, clock.steady_of(rings.ring_deadline_unix_ms)),
            Webhook::CallEvent(ended) => (ended.call_id, now.saturating_add(give_up_after_ms)),
        };
        let body = self.body(&id);
        Item { id, app, call_id, kind, created_unix_ms: now, expires_unix_ms, body, target: None }
    }

    fn body(&self, id: &str) -> String {
        let event = self.kind().name();
        let body = match self {
            Webhook::Notify(what) => serde_json::to_string(&Envelope { event, delivery: id, what }),
            Webhook::CallEvent(ended) => {
                serde_json::to_string(&Envelope { event, delivery: id, what: &Ended::of(ended) })
            }
        };
        body.unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Envelope<'a, T> {
    event: &'static str,
    delivery: &'a str,
    #[serde(flatten)]
    what: &'a T,
}

/// The body of a call event.
#[derive(Serialize)]
struct Ended<'a> {
    app_id: &'a AppId,
    sid: CallId,
    from_user_id: &'a UserId,
    to_user_id: &'a UserId,
    #[serde(rename = "type")]
    media: Media,
    setup_time: u64,
    start_time: Option<u64>,
    end_time: u64,
    duration: u64,
    terminate: u16,
    caller_end_reason: &'static str,
    callee_end_reason: &'static str,
    disconnect_reason: i32,
    disconnect_reason_name: String,
    releaser_type: i32,
    user_rel_code: Option<&'a str>,
    caller_quality: Option<Quality>,
    callee_quality: Option<Quality>,
}

impl<'a> Ended<'a> {
    fn of(call: &'a CallEnded) -> Self {
        let talked = call.start_unix_ms.map_or(0, |start| call.end_unix_ms.saturating_sub(start));
        Self {
            app_id: &call.app_id,
            sid: call.call_id,
            from_user_id: &call.from_user_id,
            to_user_id: &call.to_user_id,
            media: call.media,
            setup_time: call.setup_unix_ms / 1_000,
            start_time: call.start_unix_ms.map(|ms| ms / 1_000),
            end_time: call.end_unix_ms / 1_000,
            duration: talked / 1_000,
            terminate: terminate(call.disconnect_reason),
            caller_end_reason: call.caller_reason.name(),
            callee_end_reason: call.callee_reason.name(),
            disconnect_reason: call.disconnect_reason.number(),
            disconnect_reason_name: screaming(&format!("{:?}", call.disconnect_reason)),
            releaser_type: call.releaser.number(),
            user_rel_code: call.user_rel_code.as_deref(),
            caller_quality: call.caller_quality,
            callee_quality: call.callee_quality,
        }
    }
}

/// The cause of release in the numbers of ITU-T Q.850, as far as it has one.
fn terminate(reason: DisconnectReason) -> u16 {
    // Of the 44 documented reasons five have a number of their own; the others are "interworking".
    if reason == DisconnectReason::Normal {
        16
    } else if reason == DisconnectReason::Cancel {
        77
    } else if reason == DisconnectReason::Decline {
        21
    } else if reason == DisconnectReason::Busy {
        17
    } else if reason == DisconnectReason::NoAnswer {
        18
    } else {
        127
    }
}

/// `NoAnswer` as `NO_ANSWER`.
fn screaming(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 4);
    for (at, letter) in name.char_indices() {
        if at > 0 && letter.is_ascii_uppercase() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    // The one documented name that is written otherwise.
    text.replace("NO_ANSWER", "NOANSWER")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended() -> CallEnded {
        CallEnded {
            app_id: AppId::new("shop").unwrap(),
            call_id: CallId::from_bits(7),
            from_user_id: UserId::new("ann").unwrap(),
            to_user_id: UserId::new("bob").unwrap(),
            media: Media::Audio,
            setup_unix_ms: 1_000_000,
            start_unix_ms: Some(1_005_500),
            end_unix_ms: 1_067_400,
            caller_reason: EndReason::Hangup,
            callee_reason: EndReason::RemoteHangup,
            disconnect_reason: DisconnectReason::Normal,
            releaser: DisconnectSource::Caller,
            user_rel_code: None,
            caller_quality: Some(Quality { loss_percent: 0.5, round_trip_ms: 40, jitter_ms: 3 }),
            callee_quality: None,
        }
    }

    #[test]
    fn the_body_of_a_call_event() {
        let item = Webhook::CallEvent(Box::new(ended())).into_item("d1".into(), &Clock::start(), 1_000);
        let body: serde_json::Value = serde_json::from_str(&item.body).unwrap();
        let wanted = serde_json::json!({
            "event": "call_event", "delivery": "d1", "app_id": "shop", "sid": "00000000000000000000000000000007",
            "from_user_id": "ann", "to_user_id": "bob", "type": "A",
            "setup_time": 1_000, "start_time": 1_005, "end_time": 1_067, "duration": 61, "terminate": 16,
            "caller_end_reason": EndReason::Hangup.name(), "callee_end_reason": EndReason::RemoteHangup.name(),
            "disconnect_reason": 1001, "disconnect_reason_name": "NORMAL", "releaser_type": 2, "user_rel_code": null,
            "caller_quality": {"loss_percent": 0.5, "round_trip_ms": 40, "jitter_ms": 3}, "callee_quality": null,
        });
        assert_eq!(body, wanted);
    }

    #[tokio::test(start_paused = true)]
    async fn the_body_of_a_notify() {
        let rings = CallRings {
            app_id: AppId::new("shop").unwrap(),
            call_id: CallId::from_bits(7),
            from_user_id: UserId::new("ann").unwrap(),
            to_user_id: UserId::new("bob").unwrap(),
            media: Media::Video,
            cc_param: "c".into(),
            app_server_data: Some("x".into()),
            ring_deadline_unix_ms: 9,
        };
        let item = Webhook::Notify(rings).into_item("d2".into(), &Clock::start_by(|| 5), 1_000);
        assert_eq!(item.expires_unix_ms, 9);
        let body: serde_json::Value = serde_json::from_str(&item.body).unwrap();
        let wanted = serde_json::json!({
            "event": "notify", "delivery": "d2", "app_id": "shop", "sid": "00000000000000000000000000000007",
            "from_user_id": "ann", "to_user_id": "bob", "type": "V", "cc_param": "c", "app_svr_data": "x",
            "ring_deadline_unix_ms": 9,
        });
        assert_eq!(body, wanted);
    }

    #[test]
    fn reasons_have_the_numbers_of_q850() {
        let of = [16, 77, 21, 17, 18]
            .map(|number| DisconnectReason::ALL.into_iter().filter(move |r| terminate(*r) == number).count());
        assert_eq!(of, [1; 5]);
        assert_eq!(terminate(DisconnectReason::PushError), 127);
        assert_eq!(screaming("MultidevAnswer"), "MULTIDEV_ANSWER");
        assert_eq!(screaming("NoAnswer"), "NOANSWER");
    }
}
