//! What must never be in a log, at any level: here what wakes phones and what is told later.

use call_protocol::account::{HistoryRequest, PushAddress, SetPush};
use call_protocol::invite::Invite;
use call_protocol::session::Hello;
use call_protocol::{CallId, DeviceId, Word};
use callkit_server::{AppConfig, Server, ServerConfig};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::account::{credentials, history, set_push};
use crate::backend::{Backend, by_cc_param};
use crate::client::{Client, http, metric_becomes};
use crate::log::Log;
use crate::pushes::Apple;
use crate::words;

#[tokio::test]
async fn p4_p7_no_cc_param_address_code_or_data_is_logged() {
    let log = Log::default();
    log.subscriber().init();
    let (mut apple, mut backend) = (Apple::start().await, Backend::answering(404).await);
    let shop = AppConfig { push: apple.config.clone(), ..backend.app() };
    let server = Server::start(ServerConfig { apps: vec![shop], ..backend.config() }).await.unwrap();
    let address = server.local_addr();
    let (caller, callee) = ("private-caller", "private-callee");
    let (token, credentials) = ("ab12".repeat(16), credentials(callee));
    let push = PushAddress::Apns { token: token.clone(), background_token: Some(token.clone()), sandbox: false };
    let device = DeviceId::new("private-phone").unwrap();
    let request = SetPush { credentials: credentials.clone(), device, address: Some(push) };
    set_push(address, &request).await.unwrap();

    let mut ann = Client::sign_in(address, caller).await;
    let call_id = CallId::from_bits(0x5eed_0002);
    let Word::Invite(said) = words::invite(call_id, caller, callee) else { panic!() };
    let said = Invite { app_server_data: "private-data".into(), ..*said };
    ann.say(call_id, Word::Invite(Box::new(said))).await;
    ann.word().await;
    let cc_param = backend.cc_param().await;
    apple.next().await;
    metric_becomes(address, "callkit_webhooks_total{result=\"given_up\"}", 1.0).await;
    let hello = Hello { user: callee.into(), device: "private-phone".into(), ..by_cc_param(&cc_param) };
    let bad = Hello { cc_param: format!("{cc_param}AAAA"), ..hello.clone() };
    assert!(Client::try_sign_in(address, bad).await.is_err());
    let mut bob = Client::try_sign_in(address, hello).await.unwrap();
    bob.word().await;
    let body = serde_json::json!({ "cc_param": cc_param, "user_code": "private-code" });
    assert_eq!(http(address, &format!("POST /v1/decline\n\n{body}")).await.0, 204);
    let request = HistoryRequest { credentials, cursor: String::new(), limit: 10, missed_only: false };
    assert_eq!(history(address, &request).await.unwrap().calls.len(), 1);
    server.stop().await;

    let text = log.text();
    for expected in ["opened", "given up", "sign-in refused", "for_a_call=true", &call_id.to_string()] {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
    let own = backend.address.port().to_string();
    for secret in ["private-", &cc_param[4..60], token.as_str(), request.credentials.access_token.as_str(), &own] {
        assert!(!text.contains(secret), "{secret:?} is in\n{text}");
    }
}
