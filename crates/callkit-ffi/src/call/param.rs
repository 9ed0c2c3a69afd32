//! What a call is made from, and what an incoming one is verified with.

use std::collections::HashMap;
use std::time::Duration;

use callkit::{AppId, CallId, CallKitType, CallType, ParamError, UserId};

/// Who starts the audio devices of a call.
#[uniffi::remote(Enum)]
#[non_exhaustive]
pub enum CallKitType {
    /// The kit, as soon as the call needs them.
    None,
    /// The app, when its system has activated the audio session.
    User,
}

/// What both directions of a call can be told.
#[derive(Debug, Clone, Default, uniffi::Record)]
pub struct CallOptions {
    /// Who starts the audio devices. Default: the kit.
    #[uniffi(default = None)]
    pub callkit_type: Option<CallKitType>,
    /// Without a microphone the call only listens; without this flag it does not start. Default: off.
    #[uniffi(default = false)]
    pub allow_call_without_mic: bool,
    /// How often the levels of both voices are told, in ms. Default: the own one every 500 ms, where there is a handler of the own media;
    /// the other one never.
    #[uniffi(default = None)]
    pub audio_description_interval_ms: Option<u64>,
    /// Keep figures for the statistics. Default: off.
    #[uniffi(default = false)]
    pub enable_statistics: bool,
}

impl From<CallOptions> for callkit::CallOptions {
    fn from(options: CallOptions) -> callkit::CallOptions {
        callkit::CallOptions {
            callkit_type: options.callkit_type.unwrap_or_default(),
            allow_call_without_mic: options.allow_call_without_mic,
            audio_description_interval: options.audio_description_interval_ms.map(Duration::from_millis),
            enable_statistics: options.enable_statistics,
        }
    }
}

/// A call to be made.
#[derive(Clone, uniffi::Record)]
pub struct MakeCallParam {
    /// Who calls.
    pub my_user_id: String,
    /// The app of whoever calls.
    pub my_service_id: String,
    /// Who is called.
    pub peer_user_id: String,
    /// The app of whoever is called: the same.
    pub peer_service_id: String,
    /// The access token of the app's backend.
    pub access_token: String,
    /// Voice, or voice and picture. Default: voice.
    #[uniffi(default = None)]
    pub call_type: Option<CallType>,
    /// The app's own data for the callee, at most 32 entries and 2 KiB.
    #[uniffi(default = None)]
    pub ext: Option<HashMap<String, String>>,
    /// The app's own data for its backend, at most 4,095 bytes.
    #[uniffi(default = "")]
    pub app_server_data: String,
    /// The callee may take the call without media and prepare itself. Default: it may not.
    #[uniffi(default = false)]
    pub use_responder_preparation: bool,
    /// How long it rings, 1,000 to 600,000 ms. Default: 60,000.
    #[uniffi(default = None)]
    pub no_answer_ms: Option<u64>,
    /// What else can be chosen.
    #[uniffi(default = None)]
    pub options: Option<CallOptions>,
}

impl TryFrom<MakeCallParam> for callkit::MakeCallParam {
    type Error = ParamError;

    fn try_from(param: MakeCallParam) -> Result<callkit::MakeCallParam, ParamError> {
        callkit::MakeCallParam::builder()
            .my_user_id(param.my_user_id)
            .my_service_id(param.my_service_id)
            .peer_user_id(param.peer_user_id)
            .peer_service_id(param.peer_service_id)
            .access_token(param.access_token)
            .call_type(param.call_type.unwrap_or(CallType::Audio1v1))
            .ext(param.ext.unwrap_or_default().into_iter().collect())
            .app_server_data(param.app_server_data)
            .use_responder_preparation(param.use_responder_preparation)
            .no_answer(param.no_answer_ms.map_or(callkit::NO_ANSWER, Duration::from_millis))
            .options(param.options.unwrap_or_default().into())
            .build()
    }
}

/// An incoming call to be verified; needs no access token.
#[derive(Clone, uniffi::Record)]
pub struct VerifyCallParam {
    /// Who is called.
    pub my_user_id: String,
    /// The app.
    pub my_service_id: String,
    /// What the push brought: its text, or that of a [`CcParam`].
    pub cc_param: String,
    /// What else can be chosen.
    #[uniffi(default = None)]
    pub options: Option<CallOptions>,
}

impl TryFrom<VerifyCallParam> for callkit::VerifyCallParam {
    type Error = ParamError;

    fn try_from(param: VerifyCallParam) -> Result<callkit::VerifyCallParam, ParamError> {
        callkit::VerifyCallParam::builder()
            .my_user_id(param.my_user_id)
            .my_service_id(param.my_service_id)
            .cc_param(param.cc_param)
            .options(param.options.unwrap_or_default().into())
            .build()
    }
}

/// What a push tells of an incoming call. It is signed by the server, which alone can check that.
#[derive(Debug, Clone, PartialEq, Eq, uniffi::Record)]
pub struct CcParam {
    /// The app.
    pub app_id: AppId,
    /// The call.
    pub call_id: CallId,
    /// Who is called.
    pub user: UserId,
    /// Who calls.
    pub peer: UserId,
    /// The kind of call.
    pub call_type: CallType,
    /// When it stops ringing, in ms of the server's wall clock.
    pub ring_deadline_unix_ms: u64,
    /// The text that it was read from, for a [`VerifyCallParam`]. Whoever has it can decline the call and take it.
    pub text: String,
}

/// Reads the cc_param of a push; none if the text is not one, as when it was cut or comes from elsewhere.
#[uniffi::export]
pub fn parse_cc_param(text: String) -> Option<CcParam> {
    callkit::CcParam::parse(&text).map(|param| CcParam {
        app_id: param.app_id.clone(),
        call_id: param.call_id,
        user: param.user.clone(),
        peer: param.peer.clone(),
        call_type: param.call_type,
        ring_deadline_unix_ms: param.ring_deadline_unix_ms,
        text,
    })
}
