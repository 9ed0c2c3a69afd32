//! The generated half of the gRPC service, and how its messages are buffered.

use std::sync::Arc;

use axum::body::Body as HttpBody;
use call_protocol::limits;
use call_protocol::wire::proto::{ClientFrame, ServerFrame};
use hyper::{Request, Response};
use prost::Message as _;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EnabledCompressionEncodings};
use tonic::server::{Grpc, StreamingService};
use tonic_prost::ProstCodec;

#[path = "generated/callkit_v1.rs"]
mod proto;

pub(crate) use proto::signal_server::{SERVICE_NAME, Signal};

/// Bytes with which each direction of a stream starts; it grows to what a frame needs. Tonic's own 8 KiB would be most of what an
/// idle device costs.
const BUFFER_BYTES: usize = 128;

/// The codec of the stream.
struct Frames;

/// Tells bytes that are no frame (`InvalidArgument`) from a stream that broke.
struct FrameDecoder;

impl Codec for Frames {
    type Encode = ServerFrame;
    type Decode = ClientFrame;
    type Encoder = <ProstCodec<ServerFrame, ClientFrame> as Codec>::Encoder;
    type Decoder = FrameDecoder;

    fn encoder(&mut self) -> Self::Encoder {
        ProstCodec::<ServerFrame, ClientFrame>::raw_encoder(buffers())
    }

    fn decoder(&mut self) -> Self::Decoder {
        FrameDecoder
    }
}

impl Decoder for FrameDecoder {
    type Item = ClientFrame;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<ClientFrame>, Status> {
        ClientFrame::decode(bytes).map(Some).map_err(|_| Status::invalid_argument("not a frame"))
    }

    fn buffer_settings(&self) -> BufferSettings {
        buffers()
    }
}

fn buffers() -> BufferSettings {
    BufferSettings::new(BUFFER_BYTES, limits::FRAME_BYTES)
}

struct Connect<S>(Arc<S>);

impl<S: Signal> StreamingService<ClientFrame> for Connect<S> {
    type Response = ServerFrame;
    type ResponseStream = S::ConnectStream;
    type Future = tonic::codegen::BoxFuture<tonic::Response<Self::ResponseStream>, tonic::Status>;

    fn call(&mut self, request: tonic::Request<tonic::Streaming<ClientFrame>>) -> Self::Future {
        let service = Arc::clone(&self.0);
        Box::pin(async move { service.connect(request).await })
    }
}

/// Serves one `Connect`, as the generated server would but for the buffers.
pub(crate) async fn serve_connect<S: Signal>(
    service: Arc<S>,
    request: Request<hyper::body::Incoming>,
) -> Response<HttpBody> {
    let none = EnabledCompressionEncodings::default();
    let mut grpc = Grpc::new(Frames)
        .apply_compression_config(none, none)
        .apply_max_message_size_config(Some(limits::FRAME_BYTES), None);
    grpc.streaming(Connect(service), request).await.map(HttpBody::new)
}
