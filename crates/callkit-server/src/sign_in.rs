//! Who may come in.

use call_protocol::session::{Hello, PROTOCOL_VERSION, RefuseReason};
use call_protocol::{DeviceId, Party, UserId};
use callkit_hub::{AccessUntil, AppNo, Identity};

use crate::cc_keys::{CcError, CcKeys};
use crate::clock::Clock;
use crate::token::{Access, Apps, AuthFailure, TokenError};

/// Why somebody may not, in words for the developer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Denied {
    pub(crate) reason: RefuseReason,
    pub(crate) detail: String,
    /// For the metrics; `None` where nobody's identity was in question.
    pub(crate) failure: Option<AuthFailure>,
}

/// Checks a hello. Its texts do not come back in the detail: whoever sent it has them, and logs must not.
pub(crate) fn check(apps: &Apps, cc_keys: &CcKeys, clock: &Clock, hello: &Hello) -> Result<Identity, Denied> {
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
    if hello.access_token.is_empty() && !hello.cc_param.is_empty() {
        return check_cc_param(apps, cc_keys, clock, app, device, hello);
    }
    let refused = |error: TokenError| denied(refusal_of(error), &error.to_string(), AuthFailure::Token(error));
    let access = apps.read_access(app, &hello.access_token).map_err(refused)?;
    // Whoever goes on with a session that lives has been let in before; the hub knows whether it does.
    let has_ended = match apps.check_access(app, &hello.access_token) {
        Ok(_) => false,
        Err(TokenError::Expired) if hello.resume.is_some() => true,
        Err(error) => return Err(refused(error)),
    };
    let user = access.user;
    if hello.user != user.as_str() {
        let detail = "the access token is for another user";
        return Err(denied(RefuseReason::TokenInvalid, detail, AuthFailure::UserNamed));
    }
    let (party, for_one_call, mark) = (Party { user, device }, hello.for_one_call, Some(access.mark));
    let access = Some(AccessUntil { until: clock.mono() + access.left_ms, has_ended });
    Ok(Identity { app, party, bound: None, woken: None, for_one_call, mark, access })
}

/// A new access token of the user of a session that lives: how long it is good.
pub(crate) fn check_renewal(apps: &Apps, app: AppNo, user: &UserId, token: &str) -> Result<Access, RefuseReason> {
    let named = apps.check_access(app, token).map_err(refusal_of)?;
    let access = apps.read_access(app, token).map_err(refusal_of)?;
    if named == *user { Ok(access) } else { Err(RefuseReason::TokenInvalid) }
}

fn refusal_of(error: TokenError) -> RefuseReason {
    match error {
        TokenError::Expired => RefuseReason::TokenExpired,
        TokenError::Shape
        | TokenError::NotYet
        | TokenError::Missing(_)
        | TokenError::Malformed(_)
        | TokenError::Signature
        | TokenError::OtherApp
        | TokenError::OtherKey
        | TokenError::User
        | TokenError::OtherChannel
        | TokenError::Uid
        | TokenError::Revoked
        | TokenError::Scope => RefuseReason::TokenInvalid,
    }
}

/// A sign-in for one call. A session is resumed however long its call lasts: the call's own life is what ends it.
fn check_cc_param(
    apps: &Apps,
    cc_keys: &CcKeys,
    clock: &Clock,
    app: AppNo,
    device: DeviceId,
    hello: &Hello,
) -> Result<Identity, Denied> {
    let read = |clock| cc_keys.read(apps, Some(app), &hello.cc_param, clock);
    // Whether there is something to go on with, the hub knows.
    let has_ended = hello.resume.is_some() && read(Some(clock)) == Err(CcError::Expired);
    let (app, param) = read((!has_ended).then_some(clock)).map_err(|error| {
        let reason = match error {
            CcError::Expired => RefuseReason::TokenExpired,
            CcError::Shape | CcError::Signature | CcError::OtherApp => RefuseReason::TokenInvalid,
        };
        Denied { reason, detail: error.to_string(), failure: Some(AuthFailure::CcParam(error)) }
    })?;
    if hello.user != param.user.as_str() {
        let (reason, detail) = (RefuseReason::TokenInvalid, "the cc_param is for another user".to_owned());
        return Err(Denied { reason, detail, failure: Some(AuthFailure::UserNamed) });
    }
    let (party, bound) = (Party { user: param.user, device }, Some(param.call_id));
    let (woken, for_one_call) = (param.device, true);
    let access = has_ended.then(|| AccessUntil { until: clock.mono(), has_ended });
    Ok(Identity { app, party, bound, woken, for_one_call, mark: None, access })
}
