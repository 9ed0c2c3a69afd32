//! Who may come in.

use call_protocol::session::{Hello, PROTOCOL_VERSION, RefuseReason};
use call_protocol::{DeviceId, Party};

use crate::hub::Identity;
use crate::token::{Apps, TokenError};

/// Why somebody may not, in words for the developer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) reason: RefuseReason,
    pub(crate) detail: String,
}

/// Checks a hello. Its texts do not come back in the detail: whoever sent it has them, and logs must not.
pub(crate) fn check(apps: &Apps, hello: &Hello) -> Result<Identity, Denied> {
    let denied = |reason, detail: &str| Denied { reason, detail: detail.to_owned() };
    if hello.protocol_version != PROTOCOL_VERSION {
        let detail = format!("the client speaks version {}, the server {PROTOCOL_VERSION}", hello.protocol_version);
        return Err(Denied { reason: RefuseReason::VersionUnsupported, detail });
    }
    let Some(app) = apps.find(&hello.app_id) else {
        return Err(denied(RefuseReason::AppUnknown, "no such app_id in the server's configuration"));
    };
    let device = DeviceId::new(&hello.device)
        .map_err(|error| Denied { reason: RefuseReason::BadHello, detail: format!("hello.device: {error}") })?;
    let user = apps.check_access(app, &hello.access_token).map_err(|error| Denied {
        reason: match error {
            TokenError::Expired => RefuseReason::TokenExpired,
            _ => RefuseReason::TokenInvalid,
        },
        detail: error.to_string(),
    })?;
    if hello.user != user.as_str() {
        return Err(denied(RefuseReason::TokenInvalid, "the access token is for another user"));
    }
    Ok(Identity { app, party: Party { user, device } })
}
