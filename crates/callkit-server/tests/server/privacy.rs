//! What must never be in a log, at any level.

use std::sync::OnceLock;

use call_protocol::media::{Candidate, ChannelRequestBody};
use call_protocol::session::Hello;
use call_protocol::{CallId, Uid};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::client::{Client, app, hello, start};
use crate::log::Log;
use crate::words::invite;

/// Everything that all tests of this program log.
fn captured() -> &'static Log {
    static LOG: OnceLock<Log> = OnceLock::new();
    LOG.get_or_init(|| {
        let log = Log::default();
        log.subscriber().init();
        log
    })
}

#[tokio::test]
async fn no_token_user_address_or_text_of_a_client_is_logged() {
    let log = captured();
    let server = start().await;
    let address = server.local_addr();
    let (caller, callee) = ("private-caller@example.org", "private-callee@example.org");
    let hello =
        |user: &str| Hello { agent: "agent\nforged line".into(), ..hello(&app("shop"), user, "private-device") };
    let access_token = hello(caller).access_token;
    let mut ann = Client::try_sign_in(address, hello(caller)).await.unwrap();
    let mut bob = Client::try_sign_in(address, hello(callee)).await.unwrap();

    let call_id = CallId::from_bits(0x5eed_0001);
    ann.say(call_id, invite(call_id, caller, callee)).await;
    ann.word().await;
    bob.word().await;
    let wrong = app("bank").channel_token(&"private-room".parse().unwrap(), Uid::new(424_242).unwrap(), 60);
    let right = app("shop").channel_token(&"private-room".parse().unwrap(), Uid::new(424_242).unwrap(), 60);
    for token in [&wrong, &right] {
        ann.ask("private-room", ChannelRequestBody::Join { token: token.clone(), tracks: Default::default() }).await;
        ann.event().await;
    }
    let candidate = Candidate {
        candidate: "candidate:1 1 udp 1 198.51.100.77 9 typ host".into(),
        sdp_mid: None,
        sdp_mline_index: None,
        username_fragment: None,
    };
    ann.ask("private-room", ChannelRequestBody::Candidate { to: Uid::new(9).unwrap(), candidate }).await;
    ann.is_acknowledged().await;
    let session = ann.session();
    let refused = Hello { access_token: format!("{access_token}x"), ..hello("private-third@example.org") };
    assert!(Client::try_sign_in(address, refused).await.is_err());
    drop(ann);
    server.stop().await;

    let text = log.text();
    for expected in ["signed in", "sign-in refused", "opened", &call_id.to_string(), "channel token refused"] {
        assert!(text.contains(expected), "no {expected:?} in\n{text}");
    }
    let token_parts = [&access_token, &wrong, &right].into_iter().flat_map(|token| token.split('.').skip(1));
    let secrets = ["private-", "example.org", "198.51.100.77", "424242", "the secret of", session.as_str(), "\nforged"];
    for secret in secrets.into_iter().chain(token_parts) {
        assert!(!text.contains(secret), "{secret:?} is in\n{text}");
    }
    for line in text.lines().filter(|line| line.contains("127.0.0.1")) {
        assert!(line.contains("serving"), "an address other than the server's own: {line}");
    }
}
