//! What must never be in a log, at any level.

use call_protocol::UserId;
use callkit_server::push::{ApnsConfig, CallPush, PushAddress, PushConfig, PushKind, PushOutcome};

use crate::log::Log;
use crate::service::{Authority, CC_PARAM, Clock, Service, said};

#[tokio::test]
async fn no_token_user_or_payload_is_logged() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.subscriber());

    let (clock, authority) = (Clock::start(), Authority::new());
    let service = Service::tls(&authority, &["h2"], |_| said(410, r#"{"reason":"Unregistered"}"#)).await;
    let apns = ApnsConfig {
        team_id: "TEAM123456".into(),
        key_id: "KEY1234567".into(),
        key_file: authority.file("AuthKey.p8", &rcgen::KeyPair::generate().unwrap().serialize_pem()),
        bundle_id: "com.example.calls".into(),
        url: service.url.clone(),
        sandbox_url: service.url.clone(),
    };
    let config = PushConfig { apns: Some(apns), ca_file: Some(authority.ca_file()), ..PushConfig::default() };
    let phone = PushAddress::Apns { token: "a1".repeat(32), background_token: Some("b2".repeat(32)), sandbox: false };
    let caller = UserId::new("private-caller@example.org").unwrap();
    let ring = CallPush { caller, ..clock.push(PushKind::Ring) };
    assert_eq!(clock.senders(&config).send(&phone, &ring).await, PushOutcome::Gone);

    let text = log.text();
    assert!(text.contains("apns") && text.contains("Ring") && text.contains("Gone"), "{text}");
    let provider_token = service.last().header("authorization").to_owned();
    for secret in ["a1a1", "b2b2", "private-", CC_PARAM, provider_token.split('.').nth(1).unwrap()] {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
}
