//! A call by its own face: what its handler is told becomes lines on the screen.

use callkit::{Call, CallEventHandler, CallKit, CallOptions, DisconnectReason, DisconnectSource};
use callkit::{MakeCallParam, StartFailReason, VerifyCallParam};
use tokio::sync::mpsc;

use crate::APP;

/// What the handler of a call was told.
pub(crate) struct Told {
    pub(crate) name: &'static str,
    pub(crate) text: String,
    /// Nothing follows.
    pub(crate) is_last: bool,
}

/// The handler of every call of this phone.
#[derive(Clone)]
pub(crate) struct Ear(pub(crate) mpsc::UnboundedSender<Told>);

impl Ear {
    fn tell(&self, name: &'static str, text: impl Into<String>) {
        // A phone that is gone does not listen.
        let _ = self.0.send(Told { name, text: text.into(), is_last: name == "on_disconnected" });
    }
}

impl CallEventHandler for Ear {
    fn on_wait_connected(&self, call: &Call) {
        self.tell("on_wait_connected", format!("it rings at {}", call.peer_user_id()));
    }
    fn on_verified(&self, call: &Call, peer_use_responder_preparation: bool) {
        let preparation = if peer_use_responder_preparation { ", and offers a preparation" } else { "" };
        self.tell("on_verified", format!("{} calls{preparation}: `answer` or `decline`", call.peer_user_id()));
    }
    fn on_connected(&self, call: &Call, in_preparation: bool, _: bool) {
        let preparation = if in_preparation { ", in preparation" } else { "" };
        self.tell("on_connected", format!("with {}{preparation}", call.peer_user_id()));
    }
    fn on_preparation_finished(&self, _: &Call) {
        self.tell("on_preparation_finished", "");
    }
    fn on_disconnected(
        &self,
        _: &Call,
        reason: DisconnectReason,
        source: DisconnectSource,
        by_remote: bool,
        user_code: Option<&str>,
    ) {
        let code = user_code.map(|code| format!(", code {code}")).unwrap_or_default();
        let whose = if by_remote { "not here" } else { "here" };
        self.tell("on_disconnected", format!("{reason:?} ({}) by {source:?}, {whose}{code}", reason.number()));
    }
    fn on_peer_mic_muted(&self, _: &Call) {
        self.tell("on_peer_mic_muted", "");
    }
    fn on_peer_mic_unmuted(&self, _: &Call) {
        self.tell("on_peer_mic_unmuted", "");
    }
    fn on_peer_hold(&self, _: &Call, reason: Option<&str>) {
        self.tell("on_peer_hold", reason.unwrap_or_default());
    }
    fn on_peer_unhold(&self, _: &Call) {
        self.tell("on_peer_unhold", "");
    }
    fn on_my_audio_mute_requested_by_peer(&self, _: &Call, muted: bool) {
        self.tell("on_my_audio_mute_requested_by_peer", if muted { "mute, please" } else { "unmute, please" });
    }
    fn on_network_unavailable(&self, _: &Call, is_peer: bool, seconds: u32) {
        let whose = if is_peer { "the other end's" } else { "this end's" };
        self.tell("on_network_unavailable", format!("{whose}; the call ends in {seconds} s if that lasts"));
    }
    fn on_network_reavailable(&self, _: &Call, is_peer: bool) {
        self.tell("on_network_reavailable", if is_peer { "the other end's" } else { "this end's" });
    }
}

/// Calls somebody.
pub(crate) async fn make_call(kit: &CallKit, user: &str, ear: Ear) -> Result<Call, String> {
    let param = MakeCallParam::builder()
        .my_user_id(kit.user().as_str())
        .my_service_id(APP)
        .peer_user_id(user)
        .peer_service_id(APP)
        // The kit is signed in already.
        .access_token("-")
        .options(CallOptions::default())
        .build()
        .map_err(|error| error.to_string())?;
    let made = kit.make_call(param, ear).await;
    made.call.ok_or_else(|| not_started(made.reason))
}

/// Takes up the call that a push told of.
pub(crate) async fn verify_call(kit: &CallKit, cc_param: &str, ear: Ear) -> Result<Call, String> {
    let param = VerifyCallParam::builder()
        .my_user_id(kit.user().as_str())
        .my_service_id(APP)
        .cc_param(cc_param)
        .build()
        .map_err(|error| error.to_string())?;
    let verified = kit.verify_call(param, ear).await;
    verified.call.ok_or_else(|| not_started(verified.reason))
}

fn not_started(reason: StartFailReason) -> String {
    format!("the call did not start: {reason:?} ({})", reason.number())
}
