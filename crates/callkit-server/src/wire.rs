//! The gRPC service: bytes to domain types and back.
//!
//! It serves the method as the generated server would, but with buffers that start small: tonic's own 16 KiB for each stream would be
//! most of what an idle device costs.

use std::sync::Arc;

use axum::body::Body as HttpBody;
use call_protocol::limits;
use call_protocol::session::{ClientFrame, ServerFrame};
use call_protocol::wire::{self, WireError};
use callkit_hub::Frame;
use futures_util::Stream;
use hyper::{Request, Response};
use prost::Message as _;
use prost::bytes::BufMut;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EnabledCompressionEncodings, EncodeBuf, Encoder};
use tonic::server::{Grpc, StreamingService};
use tonic::{Status, Streaming};
use tower::Service as _;

use crate::account::{Account, Refused};
use crate::proxy::ClientAddress;

#[path = "generated/callkit_v1.rs"]
mod proto;

pub(crate) use proto::account_server::SERVICE_NAME as ACCOUNT_SERVICE;
pub(crate) use proto::signal_server::SERVICE_NAME;

/// What a client sent: a frame, or bytes that are none.
pub(crate) type Received = Result<ClientFrame, WireError>;

/// A frame's head, and its body as it is.
fn write(Frame { seq, ack, body }: Frame, bytes: &mut impl BufMut) -> Result<(), prost::EncodeError> {
    let head = wire::server_frame_to_proto(&ServerFrame { seq, ack, body: None });
    head.encode(bytes)?;
    // Fields of a message may come in any number of pieces: two encodings after each other are one of both.
    bytes.put(body);
    Ok(())
}

/// Bytes with which each direction of a stream starts; it grows to what a frame needs.
const BUFFER_BYTES: usize = 128;

struct FrameCodec;
struct FrameEncoder;
struct FrameDecoder;

impl Codec for FrameCodec {
    type Encode = Frame;
    type Decode = Received;
    type Encoder = FrameEncoder;
    type Decoder = FrameDecoder;

    fn encoder(&mut self) -> FrameEncoder {
        FrameEncoder
    }

    fn decoder(&mut self) -> FrameDecoder {
        FrameDecoder
    }
}

impl Encoder for FrameEncoder {
    type Item = Frame;
    type Error = Status;

    fn encode(&mut self, frame: Frame, bytes: &mut EncodeBuf<'_>) -> Result<(), Status> {
        write(frame, bytes).map_err(|_| Status::internal("a buffer that grows has no room"))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

impl Decoder for FrameDecoder {
    type Item = Received;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Received>, Status> {
        let frame = wire::proto::ClientFrame::decode(bytes).map_err(|_| WireError::NotProtobuf);
        Ok(Some(frame.and_then(wire::client_frame_from_proto)))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, limits::FRAME_BYTES)
}

/// What answers a stream of frames with a stream of frames.
struct Connect<F>(Option<F>);

impl<F, S> StreamingService<Received> for Connect<F>
where
    F: FnOnce(Streaming<Received>) -> S + Send,
    S: Stream<Item = Result<Frame, Status>> + Send + 'static,
{
    type Response = Frame;
    type ResponseStream = S;
    type Future = std::future::Ready<Result<tonic::Response<S>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Received>>) -> Self::Future {
        let open = self.0.take().ok_or_else(|| Status::internal("a request is served once"));
        std::future::ready(open.map(|open| tonic::Response::new(open(request.into_inner()))))
    }
}

/// Serves one `Connect`. A message over [`limits::FRAME_BYTES`] is an `OutOfRange` in the stream given to `open`.
pub(crate) async fn serve_connect<F, S>(request: Request<hyper::body::Incoming>, open: F) -> Response<HttpBody>
where
    F: FnOnce(Streaming<Received>) -> S + Send,
    S: Stream<Item = Result<Frame, Status>> + Send + 'static,
{
    let none = EnabledCompressionEncodings::default();
    let mut grpc = Grpc::new(FrameCodec)
        .apply_compression_config(none, none)
        .apply_max_message_size_config(Some(limits::FRAME_BYTES), None);
    grpc.streaming(Connect(Some(open)), request).await.map(HttpBody::new)
}

/// The account service for one address.
struct Accounts {
    account: Arc<Account>,
    from: ClientAddress,
}

#[tonic::async_trait]
impl proto::account_server::Account for Accounts {
    async fn set_push(
        &self,
        request: tonic::Request<wire::proto::SetPushRequest>,
    ) -> Result<tonic::Response<wire::proto::SetPushReply>, Status> {
        let request = wire::set_push_from_proto(request.into_inner()).map_err(unsound)?;
        self.account.set_push(self.from, request).await.map_err(refused)?;
        Ok(tonic::Response::new(wire::proto::SetPushReply {}))
    }

    async fn history(
        &self,
        request: tonic::Request<wire::proto::HistoryRequest>,
    ) -> Result<tonic::Response<wire::proto::HistoryReply>, Status> {
        let request = wire::history_request_from_proto(request.into_inner()).map_err(unsound)?;
        let page = self.account.history(self.from, request).await.map_err(refused)?;
        Ok(tonic::Response::new(wire::history_page_to_proto(&page)))
    }
}

fn unsound(error: WireError) -> Status {
    Status::invalid_argument(error.to_string())
}

fn refused(refused: Refused) -> Status {
    let text = refused.to_string();
    match refused {
        Refused::Credentials(_) => Status::unauthenticated(text),
        Refused::Invalid(_) => Status::invalid_argument(text),
        Refused::TooMany => Status::resource_exhausted(text),
        Refused::Store => Status::unavailable(text),
    }
}

/// Serves one request of the account service.
pub(crate) async fn serve_account(
    request: Request<hyper::body::Incoming>,
    account: Arc<Account>,
    from: ClientAddress,
) -> Response<HttpBody> {
    let service = proto::account_server::AccountServer::new(Accounts { account, from });
    let mut service = service.max_decoding_message_size(limits::FRAME_BYTES);
    match service.call(request).await {
        Ok(response) => response.map(HttpBody::new),
        Err(never) => match never {},
    }
}

#[cfg(test)]
mod tests {
    use call_protocol::session::{Refuse, ServerBody};
    use prost::bytes::BytesMut;

    use super::*;

    #[test]
    fn the_same_body_with_other_numbers_is_a_whole_frame() {
        let refuse = Refuse { reason: call_protocol::session::RefuseReason::TooMany, detail: "later".into() };
        let body = ServerBody::Refuse(refuse);
        let bytes = Frame::new(0, Some(body.clone())).body;
        for (seq, ack) in [(0, 0), (1, 0), (300, 7)] {
            let frame = Frame { seq, ack, body: bytes.clone() };
            let mut wire_bytes = BytesMut::new();
            write(frame, &mut wire_bytes).unwrap();
            let whole = ServerFrame { seq, ack, body: Some(body.clone()) };
            assert_eq!(wire_bytes, wire::server_frame_to_proto(&whole).encode_to_vec());
        }
    }
}
