//! Requests outside of any call, and their replies.

use super::{WireError, bounded, call_type_from_number, end_reason, party_from_proto, party_to_proto, proto};
use crate::account::{Credentials, HistoryPage, HistoryRequest, PastCall, PushAddress, SetPush};
use crate::end::UserCode;
use crate::limits;

/// Bytes of the longest text of an address: a browser's endpoint.
const ADDRESS_BYTES: usize = 2_048;
/// Bytes of the longest cursor.
const CURSOR_BYTES: usize = 128;

/// The generated twin of a request.
pub fn set_push_to_proto(request: &SetPush) -> proto::SetPushRequest {
    use proto::set_push_request::Address;
    let address = request.address.clone().map(|address| match address {
        PushAddress::Apns { token, background_token, sandbox } => {
            let background_token = background_token.unwrap_or_default();
            Address::Apns(proto::ApnsAddress { token, background_token, sandbox })
        }
        PushAddress::Fcm { token } => Address::Fcm(proto::FcmAddress { token }),
        PushAddress::WebPush { endpoint, p256dh, auth } => {
            Address::WebPush(proto::WebPushAddress { endpoint, p256dh, auth })
        }
    });
    let credentials = Some(credentials_to_proto(&request.credentials));
    proto::SetPushRequest { credentials, device: request.device.to_string(), address }
}

/// The request of a generated twin.
pub fn set_push_from_proto(request: proto::SetPushRequest) -> Result<SetPush, WireError> {
    use proto::set_push_request::Address;
    let text = |place, text| bounded(place, text, ADDRESS_BYTES);
    let address = match request.address {
        None => None,
        Some(Address::Apns(apns)) => Some(PushAddress::Apns {
            token: text("apns.token", apns.token)?,
            background_token: Some(text("apns.background_token", apns.background_token)?)
                .filter(|token| !token.is_empty()),
            sandbox: apns.sandbox,
        }),
        Some(Address::Fcm(fcm)) => Some(PushAddress::Fcm { token: text("fcm.token", fcm.token)? }),
        Some(Address::WebPush(browser)) => Some(PushAddress::WebPush {
            endpoint: text("web_push.endpoint", browser.endpoint)?,
            p256dh: text("web_push.p256dh", browser.p256dh)?,
            auth: text("web_push.auth", browser.auth)?,
        }),
    };
    let device = request.device.parse().map_err(|error| WireError::Id { place: "set_push.device", error })?;
    Ok(SetPush { credentials: credentials_from_proto(request.credentials)?, device, address })
}

/// The generated twin of a request.
pub fn history_request_to_proto(request: &HistoryRequest) -> proto::HistoryRequest {
    proto::HistoryRequest {
        credentials: Some(credentials_to_proto(&request.credentials)),
        cursor: request.cursor.clone(),
        limit: request.limit,
        missed_only: request.missed_only,
    }
}

/// The request of a generated twin.
pub fn history_request_from_proto(request: proto::HistoryRequest) -> Result<HistoryRequest, WireError> {
    Ok(HistoryRequest {
        credentials: credentials_from_proto(request.credentials)?,
        cursor: bounded("history.cursor", request.cursor, CURSOR_BYTES)?,
        limit: request.limit,
        missed_only: request.missed_only,
    })
}

/// The generated twin of a page.
pub fn history_page_to_proto(page: &HistoryPage) -> proto::HistoryReply {
    proto::HistoryReply { calls: page.calls.iter().map(past_call_to_proto).collect(), cursor: page.cursor.clone() }
}

/// The page of a generated twin.
pub fn history_page_from_proto(page: proto::HistoryReply) -> Result<HistoryPage, WireError> {
    let calls = page.calls.into_iter().map(past_call_from_proto).collect::<Result<_, _>>()?;
    Ok(HistoryPage { calls, cursor: bounded("history.cursor", page.cursor, CURSOR_BYTES)? })
}

fn past_call_to_proto(call: &PastCall) -> proto::PastCall {
    proto::PastCall {
        call_id: call.call_id.to_string(),
        caller: Some(party_to_proto(&call.caller)),
        callee: call.callee.to_string(),
        call_type: call.call_type as i32,
        began_unix_ms: call.began_unix_ms,
        ring_ms: call.ring_ms,
        talk_ms: call.talk_ms,
        reason: call.reason as i32,
        disconnect_reason: call.disconnect_reason,
        disconnect_source: u32::try_from(call.disconnect_source).unwrap_or_default(),
        user_code: call.user_code.map(String::from).unwrap_or_default(),
        missed: call.missed,
    }
}

fn past_call_from_proto(call: proto::PastCall) -> Result<PastCall, WireError> {
    let id = |place| move |error| WireError::Id { place, error };
    Ok(PastCall {
        call_id: call.call_id.parse().map_err(id("past_call.call_id"))?,
        caller: party_from_proto("past_call.caller", call.caller)?,
        callee: call.callee.parse().map_err(id("past_call.callee"))?,
        call_type: call_type_from_number(call.call_type),
        began_unix_ms: call.began_unix_ms,
        ring_ms: call.ring_ms,
        talk_ms: call.talk_ms,
        reason: end_reason(call.reason),
        disconnect_reason: call.disconnect_reason,
        disconnect_source: i32::try_from(call.disconnect_source).unwrap_or_default(),
        user_code: UserCode::new(&call.user_code).ok(),
        missed: call.missed,
    })
}

fn credentials_to_proto(credentials: &Credentials) -> proto::Credentials {
    let Credentials { app_id, access_token, user } = credentials.clone();
    proto::Credentials { app_id, access_token, user }
}

fn credentials_from_proto(credentials: Option<proto::Credentials>) -> Result<Credentials, WireError> {
    let credentials = credentials.ok_or(WireError::Missing("credentials"))?;
    Ok(Credentials {
        app_id: bounded("credentials.app_id", credentials.app_id, limits::APP_ID_BYTES)?,
        access_token: bounded("credentials.access_token", credentials.access_token, limits::TOKEN_BYTES)?,
        user: bounded("credentials.user", credentials.user, limits::USER_ID_BYTES)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disconnect::{DisconnectReason, DisconnectSource};
    use crate::end::EndReason;
    use crate::ids::{CallId, DeviceId, Party, UserId};
    use crate::invite::CallType;

    fn credentials() -> Credentials {
        Credentials { app_id: "shop".into(), access_token: "a.b.c".into(), user: "ann".into() }
    }

    #[test]
    fn requests_and_replies_come_back_as_they_were() {
        let text = |text: &str| text.to_owned();
        let addresses = [
            None,
            Some(PushAddress::Apns { token: text("a1"), background_token: None, sandbox: true }),
            Some(PushAddress::Apns { token: text("a1"), background_token: Some(text("b2")), sandbox: false }),
            Some(PushAddress::Fcm { token: text("f") }),
            Some(PushAddress::WebPush { endpoint: text("https://x"), p256dh: text("p"), auth: text("a") }),
        ];
        for address in addresses {
            let device = DeviceId::new("phone").unwrap();
            let request = SetPush { credentials: credentials(), device, address };
            assert_eq!(set_push_from_proto(set_push_to_proto(&request)), Ok(request));
        }
        let cursor = text("c");
        let request =
            HistoryRequest { credentials: credentials(), cursor: cursor.clone(), limit: 7, missed_only: true };
        assert_eq!(history_request_from_proto(history_request_to_proto(&request)), Ok(request));
        let call = PastCall {
            call_id: CallId::from_bits(7),
            caller: Party { user: UserId::new("ann").unwrap(), device: DeviceId::new("phone").unwrap() },
            callee: UserId::new("bob").unwrap(),
            call_type: CallType::Video1v1,
            began_unix_ms: 1,
            ring_ms: 2,
            talk_ms: 3,
            reason: EndReason::NoResponse,
            disconnect_reason: DisconnectReason::NoAnswer.number(),
            disconnect_source: DisconnectSource::Caller.number(),
            user_code: UserCode::new("x").ok(),
            missed: true,
        };
        let page = HistoryPage { calls: vec![call], cursor };
        assert_eq!(history_page_from_proto(history_page_to_proto(&page)), Ok(page));
    }

    #[test]
    fn what_is_missing_or_too_large_is_named() {
        let request = SetPush { credentials: credentials(), device: DeviceId::new("phone").unwrap(), address: None };
        let nobody = proto::SetPushRequest { credentials: None, ..set_push_to_proto(&request) };
        assert_eq!(set_push_from_proto(nobody), Err(WireError::Missing("credentials")));
        let fcm = Some(PushAddress::Fcm { token: "x".repeat(ADDRESS_BYTES + 1) });
        let long = set_push_to_proto(&SetPush { address: fcm, ..request });
        assert!(matches!(set_push_from_proto(long), Err(WireError::TooLarge { place: "fcm.token", .. })));
    }
}
