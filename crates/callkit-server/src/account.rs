//! What a user's app asks outside of any call: where pushes reach a device, and which calls there were.

use std::sync::Arc;

use call_protocol::account::{Credentials, HistoryPage, HistoryRequest, PAGE_CALLS, PastCall, SetPush};
use call_protocol::end::UserCode;
use call_protocol::{CallId, UserId};
use callkit_hub::{AppNo, CallRecord};

use crate::limits::Limits;
use crate::metering::Metering;
use crate::proxy::ClientAddress;
use crate::push::PushAddress;
use crate::store::{Cursor, Store, StoreError};
use crate::token::{Apps, AuthFailure};

/// Rows read at once while looking for missed calls.
const ROWS: usize = 200;

/// Why a request is not answered, in words for the developer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Credentials(String),
    #[error("{0}")]
    Invalid(String),
    #[error("too many requests: come back in a minute")]
    TooMany,
    #[error("the history cannot be read now")]
    Store,
}

/// Answers the requests.
pub(crate) struct Account {
    pub(crate) apps: Arc<Apps>,
    pub(crate) store: Store,
    pub(crate) limits: Arc<Limits>,
    pub(crate) metering: Arc<Metering>,
}

impl Account {
    /// Done once it is written: a call that comes after the reply finds the address.
    pub(crate) async fn set_push(&self, from: ClientAddress, request: SetPush) -> Result<(), Refused> {
        let (app, user) = self.admit(from, &request.credentials)?;
        let address = request.address.map(PushAddress::try_from).transpose();
        let address = address.map_err(|error| Refused::Invalid(error.to_string()))?;
        self.store.set_push(self.apps.name(app), &user, &request.device, address);
        self.store.flush().await;
        Ok(())
    }

    pub(crate) async fn history(&self, from: ClientAddress, request: HistoryRequest) -> Result<HistoryPage, Refused> {
        let (app, user) = self.admit(from, &request.credentials)?;
        if !(1..=PAGE_CALLS).contains(&request.limit) {
            return Err(Refused::Invalid(format!("limit: 1 to {PAGE_CALLS}")));
        }
        let wanted = request.limit as usize;
        let mut before = (!request.cursor.is_empty()).then(|| read_cursor(&request.cursor)).transpose()?;
        // What just ended is to be on the page.
        self.store.flush().await;
        let mut calls: Vec<CallRecord> = Vec::new();
        let is_wanted = |call: &CallRecord| !request.missed_only || (call.missed && call.callee == user);
        loop {
            let rows = if request.missed_only { ROWS } else { wanted };
            let page = self.store.page(self.apps.name(app), &user, before, rows).await.map_err(unreadable)?;
            let mut found = page.calls.into_iter().filter(is_wanted);
            calls.extend(found.by_ref().take(wanted - calls.len()));
            let is_full = calls.len() == wanted;
            before = page.next;
            let has_more = before.is_some() || found.next().is_some();
            if is_full || before.is_none() {
                let last = calls.last().filter(|_| has_more && is_full).map(write_cursor);
                let calls = calls.into_iter().map(|call| past_call(call, &user)).collect();
                return Ok(HistoryPage { calls, cursor: last.unwrap_or_default() });
            }
        }
    }

    /// Who asks, if they may. What costs least is looked at first.
    fn admit(&self, from: ClientAddress, credentials: &Credentials) -> Result<(AppNo, UserId), Refused> {
        self.limits.request(from).map_err(|_| Refused::TooMany)?;
        let failed = |failure, error: String| {
            self.metering.auth_failed(failure);
            Refused::Credentials(error)
        };
        let app = self.apps.find(&credentials.app_id);
        let app = app.ok_or_else(|| failed(AuthFailure::AppUnknown, "the app is not served here".to_owned()))?;
        let user = self.apps.check_access(app, &credentials.access_token);
        let user = user.map_err(|error| failed(AuthFailure::Token(error), error.to_string()))?;
        if credentials.user != user.as_str() {
            return Err(failed(AuthFailure::UserNamed, "the access token is for another user".to_owned()));
        }
        self.limits.account_of(app, &user).map_err(|_| Refused::TooMany)?;
        Ok((app, user))
    }
}

fn unreadable(error: StoreError) -> Refused {
    tracing::warn!(%error, "the history cannot be read");
    Refused::Store
}

fn past_call(call: CallRecord, user: &UserId) -> PastCall {
    let is_callee = call.callee == *user;
    PastCall {
        reason: if is_callee { call.callee_reason } else { call.caller_reason },
        missed: is_callee && call.missed,
        user_code: call.user_code.as_deref().and_then(|code| UserCode::new(code).ok()),
        call_id: call.call_id,
        caller: call.caller,
        callee: call.callee,
        call_type: call.call_type,
        began_unix_ms: call.began_unix_ms,
        ring_ms: call.ring_ms,
        talk_ms: call.talk_ms,
        disconnect_reason: call.disconnect_reason,
        disconnect_source: call.disconnect_source,
    }
}

fn write_cursor(call: &CallRecord) -> String {
    format!("{:x}.{}", call.began_unix_ms, call.call_id)
}

fn read_cursor(text: &str) -> Result<Cursor, Refused> {
    let read = || {
        let (began, call_id) = text.split_once('.')?;
        let began_unix_ms = u64::from_str_radix(began, 16).ok()?;
        Some(Cursor { began_unix_ms, call_id: call_id.parse::<CallId>().ok()? })
    };
    read().ok_or_else(|| Refused::Invalid("cursor: that of a page before".to_owned()))
}
