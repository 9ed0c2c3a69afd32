//! Who may come in.

use call_protocol::session::{Hello, PROTOCOL_VERSION, RefuseReason};
use call_protocol::{DeviceId, Party};

use crate::hub::Identity;
use crate::token::{Apps, AuthFailure, TokenError};

/// Why somebody may not, in words for the developer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) reason: RefuseReason,
    pub(crate) detail: String,
    /// For the metrics; `None` where nobody's identity was in question.
    pub(crate) failure: Option<AuthFailure>,
}

/// Checks a hello. Its texts do not come back in the detail: whoever sent it has them, and logs must not.
pub(crate) fn check(apps: &Apps, hello: &Hello) -> Result<Identity, Denied> {
    let denied = |reason, detail: &str, failure| Denied { reason, detail: detail.to_owned(), failure: Some(failure) };
    if hello.protocol_version != PROTOCOL_VERSION {
        let detail = format!("the client speaks version {}, the server {PROTOCOL_VERSION}", hello.protocol_version);
        return Err(Denied { reason: RefuseReason::VersionUnsupported, detail, failure: None });
    }
    let Some(app) = apps.find(&hello.app_id) else {
        let detail = "no such app_id in the server's configuration";
        return Err(denied(RefuseReason::AppUnknown, detail, AuthFailure::AppUnknown));
    };
    let device = DeviceId::new(&hello.device).map_err(|error| Denied {
        reason: RefuseReason::BadHello,
        detail: format!("hello.device: {error}"),
        failure: None,
    })?;
    let user = apps.check_access(app, &hello.access_token).map_err(|error| {
        let reason = match error {
            TokenError::Expired => RefuseReason::TokenExpired,
            TokenError::Shape
            | TokenError::Signature
            | TokenError::OtherApp
            | TokenError::OtherKey
            | TokenError::User
            | TokenError::OtherChannel
            | TokenError::Uid => RefuseReason::TokenInvalid,
        };
        denied(reason, &error.to_string(), AuthFailure::Token(error))
    })?;
    if hello.user != user.as_str() {
        let detail = "the access token is for another user";
        return Err(denied(RefuseReason::TokenInvalid, detail, AuthFailure::UserNamed));
    }
    Ok(Identity { app, party: Party { user, device } })
}
