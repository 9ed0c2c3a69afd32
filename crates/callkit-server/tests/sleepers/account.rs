//! The account service from outside: a gRPC request, its reply or its status.

use std::net::SocketAddr;

use call_protocol::account::{Credentials, HistoryPage, HistoryRequest, PushAddress, SetPush};
use call_protocol::wire::{self, proto};
use call_protocol::{DeviceId, UserId};
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::client::app;

pub fn credentials(user: &str) -> Credentials {
    let access_token = app("shop").access_token(&UserId::new(user).unwrap(), 600);
    Credentials { app_id: "shop".into(), access_token, user: user.into() }
}

async fn unary<Q, A>(address: SocketAddr, method: &'static str, request: Q) -> Result<A, Status>
where
    Q: prost::Message + Default + 'static,
    A: prost::Message + Default + 'static,
{
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let codec: ProstCodec<Q, A> = ProstCodec::default();
    grpc.unary(Request::new(request), PathAndQuery::from_static(method), codec).await.map(tonic::Response::into_inner)
}

pub async fn set_push(address: SocketAddr, request: &SetPush) -> Result<(), Status> {
    let request = wire::set_push_to_proto(request);
    let reply: Result<proto::SetPushReply, _> = unary(address, "/callkit.v1.Account/SetPush", request).await;
    reply.map(drop)
}

/// Where pushes reach a device of bob's.
pub async fn register(address: SocketAddr, device: &str, push: PushAddress) {
    register_of("bob", address, device, push).await;
}

/// Where pushes reach a device of a user.
pub async fn register_of(user: &str, address: SocketAddr, device: &str, push: PushAddress) {
    let device = DeviceId::new(device).unwrap();
    set_push(address, &SetPush { credentials: credentials(user), device, address: Some(push) }).await.unwrap();
}

pub async fn history(address: SocketAddr, request: &HistoryRequest) -> Result<HistoryPage, Status> {
    let request = wire::history_request_to_proto(request);
    let page: proto::HistoryReply = unary(address, "/callkit.v1.Account/History", request).await?;
    Ok(wire::history_page_from_proto(page).unwrap())
}
