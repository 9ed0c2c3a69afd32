//! The signed part of a [`CcParam`].

use prost::Message as _;

use super::{WireError, call_type_from_number, proto};
use crate::cc_param::CcParam;

/// The bytes that are signed.
pub(crate) fn cc_param_to_payload(param: &CcParam) -> Vec<u8> {
    let CcParam { app_id, call_id, user, peer, call_type, ring_deadline_unix_ms, device } = param;
    proto::CcParam {
        app_id: app_id.to_string(),
        call_id: call_id.to_string(),
        user: user.to_string(),
        peer: peer.to_string(),
        call_type: *call_type as i32,
        ring_deadline_unix_ms: *ring_deadline_unix_ms,
        device: device.as_ref().map_or_else(String::new, ToString::to_string),
    }
    .encode_to_vec()
}

/// What the signed bytes say.
pub(crate) fn cc_param_from_payload(bytes: &[u8]) -> Result<CcParam, WireError> {
    let param = proto::CcParam::decode(bytes).map_err(|_| WireError::NotProtobuf)?;
    let id = |place| move |error| WireError::Id { place, error };
    Ok(CcParam {
        app_id: param.app_id.parse().map_err(id("cc_param.app_id"))?,
        call_id: param.call_id.parse().map_err(id("cc_param.call_id"))?,
        user: param.user.parse().map_err(id("cc_param.user"))?,
        peer: param.peer.parse().map_err(id("cc_param.peer"))?,
        call_type: call_type_from_number(param.call_type),
        ring_deadline_unix_ms: param.ring_deadline_unix_ms,
        device: (!param.device.is_empty()).then(|| param.device.parse()).transpose().map_err(id("cc_param.device"))?,
    })
}
