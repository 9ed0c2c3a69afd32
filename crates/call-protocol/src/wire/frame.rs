//! The numbered frames between a device and the server.

use prost::Message as _;

use super::channel::{
    channel_event_from_proto, channel_event_to_proto, channel_request_from_proto, channel_request_to_proto,
};
use super::{WireError, bounded, proto};
use super::{call_from_proto, call_to_proto};
use crate::limits;
use crate::session::{
    AccessStatus, ClientBody, ClientFrame, Hello, Refuse, RefuseReason, Resume, ServerBody, ServerFrame, Welcome,
};

/// The bytes of one client frame.
pub fn encode_client_frame(frame: &ClientFrame) -> Vec<u8> {
    client_frame_to_proto(frame).encode_to_vec()
}

/// The client frame in these bytes.
pub fn decode_client_frame(bytes: &[u8]) -> Result<ClientFrame, WireError> {
    let frame = proto::ClientFrame::decode(within_limit(bytes)?).map_err(|_| WireError::NotProtobuf)?;
    client_frame_from_proto(frame)
}

/// The bytes of one server frame.
pub fn encode_server_frame(frame: &ServerFrame) -> Vec<u8> {
    server_frame_to_proto(frame).encode_to_vec()
}

/// The server frame in these bytes.
pub fn decode_server_frame(bytes: &[u8]) -> Result<ServerFrame, WireError> {
    let frame = proto::ServerFrame::decode(within_limit(bytes)?).map_err(|_| WireError::NotProtobuf)?;
    server_frame_from_proto(frame)
}

fn within_limit(bytes: &[u8]) -> Result<&[u8], WireError> {
    let (place, limit) = ("frame", limits::FRAME_BYTES);
    if bytes.len() > limit { Err(WireError::TooLarge { place, limit }) } else { Ok(bytes) }
}

/// The generated twin of a client frame, for the gRPC stub.
pub fn client_frame_to_proto(frame: &ClientFrame) -> proto::ClientFrame {
    use proto::client_frame::Body;
    let body = frame.body.as_ref().map(|body| match body {
        ClientBody::Hello(hello) => Body::Hello(hello_to_proto(hello)),
        ClientBody::Call(message) => Body::Call(call_to_proto(message)),
        ClientBody::Channel(request) => Body::Channel(channel_request_to_proto(request)),
        ClientBody::Ping { nonce } => Body::Ping(proto::Ping { nonce: *nonce }),
        ClientBody::Goodbye => Body::Goodbye(proto::Goodbye {}),
        ClientBody::RenewAccess { access_token } => {
            Body::RenewAccess(proto::RenewAccess { access_token: access_token.clone() })
        }
    });
    proto::ClientFrame { seq: frame.seq, ack: frame.ack, body }
}

/// The client frame of a generated twin.
pub fn client_frame_from_proto(frame: proto::ClientFrame) -> Result<ClientFrame, WireError> {
    use proto::client_frame::Body;
    let body = match frame.body {
        None => None,
        Some(Body::Hello(hello)) => Some(ClientBody::Hello(hello_from_proto(hello)?)),
        Some(Body::Call(message)) => call_from_proto(message)?.map(ClientBody::Call),
        Some(Body::Channel(request)) => channel_request_from_proto(request)?.map(ClientBody::Channel),
        Some(Body::Ping(ping)) => Some(ClientBody::Ping { nonce: ping.nonce }),
        Some(Body::Goodbye(proto::Goodbye {})) => Some(ClientBody::Goodbye),
        Some(Body::RenewAccess(renew)) => Some(ClientBody::RenewAccess {
            access_token: bounded("renew_access.access_token", renew.access_token, limits::TOKEN_BYTES)?,
        }),
    };
    Ok(ClientFrame { seq: frame.seq, ack: frame.ack, body })
}

/// The generated twin of a server frame, for the gRPC stub.
pub fn server_frame_to_proto(frame: &ServerFrame) -> proto::ServerFrame {
    use proto::server_frame::Body;
    let body = frame.body.as_ref().map(|body| match body {
        ServerBody::Welcome(welcome) => Body::Welcome(welcome_to_proto(welcome)),
        ServerBody::Refuse(refuse) => Body::Refuse(proto::Refuse {
            reason: refuse_reason_to_proto(refuse.reason).into(),
            detail: refuse.detail.clone(),
        }),
        ServerBody::Call(message) => Body::Call(call_to_proto(message)),
        ServerBody::Channel(event) => Body::Channel(channel_event_to_proto(event)),
        ServerBody::Pong { nonce, server_unix_ms } => {
            Body::Pong(proto::Pong { nonce: *nonce, server_unix_ms: *server_unix_ms })
        }
        ServerBody::Access(AccessStatus { left_ms, refused }) => Body::Access(proto::AccessStatus {
            left_ms: *left_ms,
            refused: refused.map_or(proto::RefuseReason::Unspecified, refuse_reason_to_proto).into(),
        }),
    });
    proto::ServerFrame { seq: frame.seq, ack: frame.ack, body }
}

/// The server frame of a generated twin.
pub fn server_frame_from_proto(frame: proto::ServerFrame) -> Result<ServerFrame, WireError> {
    use proto::server_frame::Body;
    let body = match frame.body {
        None => None,
        Some(Body::Welcome(welcome)) => Some(ServerBody::Welcome(welcome_from_proto(welcome))),
        Some(Body::Refuse(refuse)) => Some(ServerBody::Refuse(Refuse {
            reason: refuse_reason_from_proto(refuse.reason()),
            detail: bounded("refuse.detail", refuse.detail, limits::NOTE_BYTES)?,
        })),
        Some(Body::Call(message)) => call_from_proto(message)?.map(ServerBody::Call),
        Some(Body::Channel(event)) => channel_event_from_proto(event)?.map(ServerBody::Channel),
        Some(Body::Pong(pong)) => Some(ServerBody::Pong { nonce: pong.nonce, server_unix_ms: pong.server_unix_ms }),
        Some(Body::Access(access)) => Some(ServerBody::Access(AccessStatus {
            left_ms: access.left_ms,
            refused: (access.refused != 0).then(|| match refuse_reason_from_proto(access.refused()) {
                // A reason of a newer server still is one.
                RefuseReason::Unknown => RefuseReason::TokenInvalid,
                reason => reason,
            }),
        })),
    };
    Ok(ServerFrame { seq: frame.seq, ack: frame.ack, body })
}

fn hello_to_proto(hello: &Hello) -> proto::Hello {
    let (resume_session, resume_received) = match &hello.resume {
        Some(resume) => (resume.session.clone(), resume.received),
        None => (String::new(), 0),
    };
    proto::Hello {
        protocol_version: hello.protocol_version,
        app_id: hello.app_id.clone(),
        access_token: hello.access_token.clone(),
        device: hello.device.clone(),
        resume_session,
        resume_received,
        agent: hello.agent.clone(),
        user: hello.user.clone(),
        cc_param: hello.cc_param.clone(),
        for_one_call: hello.for_one_call,
    }
}

fn hello_from_proto(hello: proto::Hello) -> Result<Hello, WireError> {
    let session = bounded("hello.resume_session", hello.resume_session, limits::NOTE_BYTES)?;
    let resume = (!session.is_empty()).then_some(Resume { session, received: hello.resume_received });
    Ok(Hello {
        protocol_version: hello.protocol_version,
        app_id: bounded("hello.app_id", hello.app_id, limits::APP_ID_BYTES)?,
        access_token: bounded("hello.access_token", hello.access_token, limits::TOKEN_BYTES)?,
        device: bounded("hello.device", hello.device, limits::DEVICE_ID_BYTES)?,
        resume,
        agent: bounded("hello.agent", hello.agent, limits::NOTE_BYTES)?,
        user: bounded("hello.user", hello.user, limits::USER_ID_BYTES)?,
        cc_param: bounded("hello.cc_param", hello.cc_param, limits::CC_PARAM_BYTES)?,
        for_one_call: hello.for_one_call,
    })
}

fn welcome_to_proto(welcome: &Welcome) -> proto::Welcome {
    proto::Welcome {
        session: welcome.session.clone(),
        resumed: welcome.resumed,
        received: welcome.received,
        server_unix_ms: welcome.server_unix_ms,
        ping_every_ms: welcome.ping_every_ms,
        silence_limit_ms: welcome.silence_limit_ms,
        resume_window_ms: welcome.resume_window_ms,
        stun_servers: welcome.stun_servers.clone(),
        access_left_ms: welcome.access_left_ms,
    }
}

fn welcome_from_proto(welcome: proto::Welcome) -> Welcome {
    Welcome {
        session: welcome.session,
        resumed: welcome.resumed,
        received: welcome.received,
        server_unix_ms: welcome.server_unix_ms,
        ping_every_ms: welcome.ping_every_ms,
        silence_limit_ms: welcome.silence_limit_ms,
        resume_window_ms: welcome.resume_window_ms,
        stun_servers: welcome.stun_servers,
        access_left_ms: welcome.access_left_ms,
    }
}

fn refuse_reason_to_proto(reason: RefuseReason) -> proto::RefuseReason {
    match reason {
        RefuseReason::TokenInvalid => proto::RefuseReason::TokenInvalid,
        RefuseReason::TokenExpired => proto::RefuseReason::TokenExpired,
        RefuseReason::AppUnknown => proto::RefuseReason::AppUnknown,
        RefuseReason::BadHello => proto::RefuseReason::BadHello,
        RefuseReason::VersionUnsupported => proto::RefuseReason::VersionUnsupported,
        RefuseReason::Replaced => proto::RefuseReason::Replaced,
        RefuseReason::ShuttingDown => proto::RefuseReason::ShuttingDown,
        RefuseReason::BadFrame => proto::RefuseReason::BadFrame,
        RefuseReason::TooSlow => proto::RefuseReason::TooSlow,
        RefuseReason::TooMany => proto::RefuseReason::TooMany,
        RefuseReason::Overloaded => proto::RefuseReason::Overloaded,
        RefuseReason::SignedOut => proto::RefuseReason::SignedOut,
        RefuseReason::Unknown => proto::RefuseReason::Unspecified,
    }
}

fn refuse_reason_from_proto(reason: proto::RefuseReason) -> RefuseReason {
    match reason {
        proto::RefuseReason::Unspecified => RefuseReason::Unknown,
        proto::RefuseReason::TokenInvalid => RefuseReason::TokenInvalid,
        proto::RefuseReason::TokenExpired => RefuseReason::TokenExpired,
        proto::RefuseReason::AppUnknown => RefuseReason::AppUnknown,
        proto::RefuseReason::BadHello => RefuseReason::BadHello,
        proto::RefuseReason::VersionUnsupported => RefuseReason::VersionUnsupported,
        proto::RefuseReason::Replaced => RefuseReason::Replaced,
        proto::RefuseReason::ShuttingDown => RefuseReason::ShuttingDown,
        proto::RefuseReason::BadFrame => RefuseReason::BadFrame,
        proto::RefuseReason::TooSlow => RefuseReason::TooSlow,
        proto::RefuseReason::TooMany => RefuseReason::TooMany,
        proto::RefuseReason::Overloaded => RefuseReason::Overloaded,
        proto::RefuseReason::SignedOut => RefuseReason::SignedOut,
    }
}
