//! What a call of the face of one call is made from, and what an incoming one is verified with.

use std::time::Duration;

use call_protocol::disconnect::StartFailReason;
use call_protocol::invite::{CallType, Ext};
use call_protocol::{AppId, UserId, limits};
use callkit_core::{CallSettings, MakeCall, VerifyCall};

use super::cc_param::CcParam;

/// How long such a call rings.
pub const NO_ANSWER: Duration = Duration::from_secs(60);

/// Why a parameter is not complete.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParamError {
    /// A field that must be set is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field is set to what it cannot be.
    #[error("{field}: {why}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        why: String,
        /// The documented number of it.
        reason: StartFailReason,
    },
}

impl ParamError {
    /// The documented reason for which a call with such a parameter does not start.
    pub fn reason(&self) -> StartFailReason {
        match self {
            ParamError::Missing(_) => StartFailReason::InvalidParam,
            ParamError::Invalid { reason, .. } => *reason,
        }
    }
}

/// Who starts the audio devices of a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallKitType {
    /// The kit, as soon as the call needs them.
    #[default]
    None,
    /// The app, when its system has activated the audio session: no device starts before
    /// [`notify_callkit_audio_activation`](crate::Call::notify_callkit_audio_activation).
    User,
}

/// What both directions of a call can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// See [`CallKitType`].
    pub callkit_type: CallKitType,
    /// Without a microphone the call only listens; without this flag it does not start.
    pub allow_call_without_mic: bool,
    /// How often the levels of both voices are told. Default: the own one every 500 ms, to a
    /// [`MyMediaStatusHandler`](crate::MyMediaStatusHandler) where there is one; the other one never.
    pub audio_description_interval: Option<Duration>,
    /// Keep figures for [`Call::statistics`](crate::Call::statistics).
    pub enable_statistics: bool,
}

impl CallOptions {
    pub(crate) fn settings(&self) -> CallSettings {
        CallSettings {
            waits_for_activation: self.callkit_type == CallKitType::User,
            allow_without_mic: self.allow_call_without_mic,
            level_interval: self.audio_description_interval,
        }
    }

    /// The options in one line, for another process that takes the call over.
    pub(crate) fn to_line(&self) -> String {
        let CallOptions { callkit_type, allow_call_without_mic, audio_description_interval, enable_statistics } = self;
        let is_user = *callkit_type == CallKitType::User;
        let interval = audio_description_interval.map_or(String::new(), |every| every.as_millis().to_string());
        let flags = [is_user, *allow_call_without_mic, *enable_statistics].map(u8::from).map(|flag| flag.to_string());
        format!("{},{interval}", flags.join(","))
    }

    /// `None` for what [`CallOptions::to_line`] does not make.
    pub(crate) fn of_line(line: &str) -> Option<CallOptions> {
        let mut parts = line.splitn(4, ',');
        let mut flag = || parts.next().and_then(|flag| flag.parse::<u8>().ok()).map(|flag| flag != 0);
        let (is_user, allow_call_without_mic, enable_statistics) = (flag()?, flag()?, flag()?);
        let every = Some(parts.next()?).filter(|every| !every.is_empty());
        let audio_description_interval = every.map(str::parse).transpose().ok()?.map(Duration::from_millis);
        let callkit_type = if is_user { CallKitType::User } else { CallKitType::None };
        Some(CallOptions { callkit_type, allow_call_without_mic, audio_description_interval, enable_statistics })
    }
}

/// A call to be made. Built by [`MakeCallParam::builder`].
#[derive(Clone, PartialEq, Eq)]
pub struct MakeCallParam {
    pub(crate) my_user_id: UserId,
    pub(crate) my_service_id: AppId,
    pub(crate) peer_user_id: UserId,
    pub(crate) access_token: String,
    pub(crate) call_type: CallType,
    pub(crate) ext: Ext,
    pub(crate) app_server_data: String,
    pub(crate) use_responder_preparation: bool,
    pub(crate) no_answer: Duration,
    pub(crate) options: CallOptions,
}

impl std::fmt::Debug for MakeCallParam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MakeCallParam").field("call_type", &self.call_type).finish_non_exhaustive()
    }
}

impl MakeCallParam {
    /// Begins a parameter. Mandatory: both user ids, both service ids, and the access token.
    pub fn builder() -> MakeCallParamBuilder {
        MakeCallParamBuilder::default()
    }

    /// The call that it describes.
    pub(crate) fn call(self) -> MakeCall {
        MakeCall {
            user: self.my_user_id,
            app_id: self.my_service_id,
            peer: self.peer_user_id,
            call_type: self.call_type,
            ext: self.ext,
            app_server_data: self.app_server_data,
            offers_preparation: self.use_responder_preparation,
            ring_timeout_ms: u32::try_from(self.no_answer.as_millis()).unwrap_or(limits::RING_TIMEOUT_MAX_MS),
            settings: self.options.settings(),
        }
    }
}

/// Sets the fields of a [`MakeCallParam`].
#[derive(Clone, Default)]
pub struct MakeCallParamBuilder {
    my_user_id: Option<String>,
    my_service_id: Option<String>,
    peer_user_id: Option<String>,
    peer_service_id: Option<String>,
    access_token: Option<String>,
    call_type: Option<CallType>,
    ext: Ext,
    app_server_data: String,
    use_responder_preparation: bool,
    no_answer: Option<Duration>,
    options: CallOptions,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $type:ty => $value:expr;)*) => {
        $($(#[$doc])* pub fn $name(mut self, $name: $type) -> Self { self.$name = $value; self })*
    };
}

impl MakeCallParamBuilder {
    setters! {
        /// Who calls.
        my_user_id: impl Into<String> => Some(my_user_id.into());
        /// The app of whoever calls: the server's `app_id`.
        my_service_id: impl Into<String> => Some(my_service_id.into());
        /// Who is called.
        peer_user_id: impl Into<String> => Some(peer_user_id.into());
        /// The app of whoever is called: the same, as a user of one app is nobody in another.
        peer_service_id: impl Into<String> => Some(peer_service_id.into());
        /// The access token of the app's backend.
        access_token: impl Into<String> => Some(access_token.into());
        /// Voice, or voice and picture. Default: voice.
        call_type: CallType => Some(call_type);
        /// The app's own data for the callee, at most 32 entries and 2 KiB.
        ext: Ext => ext;
        /// The app's own data for its backend, at most 4,095 bytes; it comes with the notify webhook.
        app_server_data: impl Into<String> => app_server_data.into();
        /// The callee may take the call without media and prepare itself.
        use_responder_preparation: bool => use_responder_preparation;
        /// How long it rings, 1 s to 10 min. Default: [`NO_ANSWER`], 60 s.
        no_answer: Duration => Some(no_answer);
        /// What else can be chosen.
        options: CallOptions => options;
    }

    /// The parameter.
    ///
    /// # Errors
    /// [`ParamError`] names the field that is missing or cannot be what it is.
    pub fn build(self) -> Result<MakeCallParam, ParamError> {
        let my_user_id = user("my_user_id", self.my_user_id, StartFailReason::MyUserIdBlank)?;
        let my_service_id = service("my_service_id", self.my_service_id, StartFailReason::MyServiceIdBlank)?;
        let peer_user_id = user("peer_user_id", self.peer_user_id, StartFailReason::PeerUserIdBlank)?;
        let peer_service_id = service("peer_service_id", self.peer_service_id, StartFailReason::PeerServiceIdBlank)?;
        let access_token =
            self.access_token.filter(|token| !token.is_empty()).ok_or(ParamError::Missing("access_token"))?;
        let invalid = |field, why: &str, reason| Err(ParamError::Invalid { field, why: why.to_owned(), reason });
        if peer_service_id != my_service_id {
            let why = "users of one app cannot call those of another";
            return invalid("peer_service_id", why, StartFailReason::InvalidServiceId);
        }
        if peer_user_id == my_user_id {
            return invalid("peer_user_id", "nobody can call themselves", StartFailReason::IdConflict);
        }
        if self.app_server_data.len() > limits::APP_SERVER_DATA_BYTES {
            let why = format!("at most {} bytes", limits::APP_SERVER_DATA_BYTES);
            return invalid("app_server_data", &why, StartFailReason::TooLongAppServerData);
        }
        let call_type = self.call_type.unwrap_or(CallType::Audio1v1);
        if !call_type.is_one_to_one() {
            return invalid("call_type", "audio_1v1 or video_1v1", StartFailReason::InvalidParam);
        }
        let no_answer = self.no_answer.unwrap_or(NO_ANSWER);
        let allowed = u128::from(limits::RING_TIMEOUT_MIN_MS)..=u128::from(limits::RING_TIMEOUT_MAX_MS);
        if !allowed.contains(&no_answer.as_millis()) {
            return invalid("no_answer", "1 s to 10 min", StartFailReason::InvalidParam);
        }
        Ok(MakeCallParam {
            my_user_id,
            my_service_id,
            peer_user_id,
            access_token,
            call_type,
            ext: self.ext,
            app_server_data: self.app_server_data,
            use_responder_preparation: self.use_responder_preparation,
            no_answer,
            options: self.options,
        })
    }
}

/// An incoming call to be verified. Built by [`VerifyCallParam::builder`]; needs no access token.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyCallParam {
    pub(crate) cc_param: CcParam,
    pub(crate) options: CallOptions,
}

impl std::fmt::Debug for VerifyCallParam {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyCallParam").field("call", &self.cc_param.call_id).finish_non_exhaustive()
    }
}

impl VerifyCallParam {
    /// Begins a parameter. Mandatory: the user id, the service id, and the cc_param of the push.
    pub fn builder() -> VerifyCallParamBuilder {
        VerifyCallParamBuilder::default()
    }

    /// The call that it describes.
    pub(crate) fn call(&self, is_background: bool) -> VerifyCall {
        let call_protocol::CcParam { app_id, user, peer, call_id, call_type, .. } = (*self.cc_param).clone();
        VerifyCall { user, app_id, call_id, peer, call_type, is_background, settings: self.options.settings() }
    }
}

/// Sets the fields of a [`VerifyCallParam`].
#[derive(Clone, Default)]
pub struct VerifyCallParamBuilder {
    my_user_id: Option<String>,
    my_service_id: Option<String>,
    cc_param: Option<String>,
    options: CallOptions,
}

impl VerifyCallParamBuilder {
    setters! {
        /// Who is called.
        my_user_id: impl Into<String> => Some(my_user_id.into());
        /// The app: the server's `app_id`.
        my_service_id: impl Into<String> => Some(my_service_id.into());
        /// What the push brought: a [`CcParam`](crate::CcParam), or its text.
        cc_param: impl Into<String> => Some(cc_param.into());
        /// What else can be chosen.
        options: CallOptions => options;
    }

    /// The parameter.
    ///
    /// # Errors
    /// [`ParamError`] names the field that is missing or cannot be what it is; a cc_param of another user or app is one that cannot be decoded.
    pub fn build(self) -> Result<VerifyCallParam, ParamError> {
        let user_id = user("my_user_id", self.my_user_id, StartFailReason::MyUserIdBlank)?;
        let service_id = service("my_service_id", self.my_service_id, StartFailReason::MyServiceIdBlank)?;
        let cc_text = self.cc_param.ok_or(ParamError::Missing("cc_param"))?;
        let invalid = |why: &str| ParamError::Invalid {
            field: "cc_param",
            why: why.to_owned(),
            reason: StartFailReason::DecodeCallParam,
        };
        let cc_param = CcParam::parse(&cc_text).ok_or_else(|| invalid("it cannot be decoded"))?;
        if cc_param.user != user_id || cc_param.app_id != service_id {
            return Err(invalid("it is for another user or app"));
        }
        Ok(VerifyCallParam { cc_param, options: self.options })
    }
}

fn user(field: &'static str, id: Option<String>, blank: StartFailReason) -> Result<UserId, ParamError> {
    let id = id.ok_or(ParamError::Missing(field))?;
    let reason = if id.is_empty() { blank } else { StartFailReason::InvalidUserId };
    UserId::new(&id).map_err(|error| ParamError::Invalid { field, why: error.to_string(), reason })
}

fn service(field: &'static str, id: Option<String>, blank: StartFailReason) -> Result<AppId, ParamError> {
    let id = id.ok_or(ParamError::Missing(field))?;
    let reason = if id.is_empty() { blank } else { StartFailReason::InvalidServiceId };
    AppId::new(&id).map_err(|error| ParamError::Invalid { field, why: error.to_string(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> MakeCallParamBuilder {
        MakeCallParam::builder()
            .my_user_id("alice")
            .my_service_id("shop")
            .peer_user_id("bob")
            .peer_service_id("shop")
            .access_token("a token")
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(complete().build().is_ok());
        let without = |strip: fn(&mut MakeCallParamBuilder)| {
            let mut builder = complete();
            strip(&mut builder);
            let error = builder.build().unwrap_err();
            assert_eq!(error.reason(), StartFailReason::InvalidParam);
            error.to_string()
        };
        assert_eq!(without(|b| b.my_user_id = None), "my_user_id is missing");
        assert_eq!(without(|b| b.my_service_id = None), "my_service_id is missing");
        assert_eq!(without(|b| b.peer_user_id = None), "peer_user_id is missing");
        assert_eq!(without(|b| b.peer_service_id = None), "peer_service_id is missing");
        assert_eq!(without(|b| b.access_token = None), "access_token is missing");
    }

    #[test]
    fn what_cannot_be_has_its_documented_number() {
        let number = |builder: MakeCallParamBuilder| builder.build().unwrap_err().reason();
        assert_eq!(number(complete().my_user_id("")), StartFailReason::MyUserIdBlank);
        assert_eq!(number(complete().my_service_id("")), StartFailReason::MyServiceIdBlank);
        assert_eq!(number(complete().peer_user_id("")), StartFailReason::PeerUserIdBlank);
        assert_eq!(number(complete().peer_service_id("")), StartFailReason::PeerServiceIdBlank);
        assert_eq!(number(complete().peer_user_id("a\nb")), StartFailReason::InvalidUserId);
        assert_eq!(number(complete().my_service_id("a\nb")), StartFailReason::InvalidServiceId);
        assert_eq!(number(complete().peer_service_id("bank")), StartFailReason::InvalidServiceId);
        assert_eq!(number(complete().peer_user_id("alice")), StartFailReason::IdConflict);
        assert_eq!(number(complete().app_server_data("x".repeat(4_096))), StartFailReason::TooLongAppServerData);
        assert!(complete().app_server_data("x".repeat(4_095)).build().is_ok());
        assert_eq!(number(complete().call_type(CallType::Multi)), StartFailReason::InvalidParam);
        assert_eq!(number(complete().no_answer(Duration::ZERO)), StartFailReason::InvalidParam);
    }

    #[test]
    fn a_cc_param_is_for_one_user_of_one_app() {
        let param = call_protocol::CcParam {
            app_id: AppId::new("shop").unwrap(),
            call_id: call_protocol::CallId::from_bits(7),
            user: UserId::new("bob").unwrap(),
            peer: UserId::new("alice").unwrap(),
            call_type: CallType::Audio1v1,
            ring_deadline_unix_ms: 1,
            device: None,
        };
        let text = param.seal(|_| (0, [0; 16]));
        let verify = |user: &str, app: &str, text: &str| {
            VerifyCallParam::builder().my_user_id(user).my_service_id(app).cc_param(text).build()
        };
        assert_eq!(*verify("bob", "shop", &text).unwrap().cc_param, param);
        for wrong in [verify("carol", "shop", &text), verify("bob", "bank", &text), verify("bob", "shop", "garbage")] {
            assert_eq!(wrong.unwrap_err().reason(), StartFailReason::DecodeCallParam);
        }
    }

    #[test]
    fn options_go_through_one_line() {
        let some = CallOptions {
            callkit_type: CallKitType::User,
            audio_description_interval: Some(Duration::from_millis(200)),
            ..CallOptions::default()
        };
        let others = CallOptions { allow_call_without_mic: true, enable_statistics: true, ..CallOptions::default() };
        for options in [some, others, CallOptions::default()] {
            assert_eq!(CallOptions::of_line(&options.to_line()), Some(options));
        }
        for line in ["", "1,1", "1,1,1", "x,1,1,", "1,1,1,soon"] {
            assert_eq!(CallOptions::of_line(line), None, "{line}");
        }
    }

    #[test]
    fn nothing_private_is_shown() {
        let shown = format!("{:?}", complete().build().unwrap());
        assert!(!shown.contains("alice") && !shown.contains("a token"), "{shown}");
    }
}
