//! The calls of a user, and who may ask for them.

use call_protocol::account::{Credentials, HistoryRequest, PushAddress, SetPush};
use call_protocol::end::EndReason;
use call_protocol::{CallId, DeviceId, Word};
use callkit_server::{LimitsConfig, Server, ServerConfig};
use tonic::Code;

use crate::account::{credentials, history, set_push};
use crate::backend::{Backend, invite};
use crate::client::{Client, app};
use crate::words;

fn request(user: &str, cursor: &str, limit: u32, missed_only: bool) -> HistoryRequest {
    HistoryRequest { credentials: credentials(user), cursor: cursor.into(), limit, missed_only }
}

async fn call_and_cancel(ann: &mut Client, number: u128) {
    let call_id = CallId::from_bits(number);
    ann.say(call_id, Word::Invite(Box::new(invite(call_id, 30_000)))).await;
    ann.word().await;
    ann.say(call_id, Word::Cancel(EndReason::Cancel.into())).await;
    assert!(matches!(ann.word().await, Word::End(_)));
}

#[tokio::test]
async fn p4_p15_calls_are_paged_newest_first_from_each_side() {
    let backend = Backend::start().await;
    let server = backend.server().await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    for number in 1..=5 {
        call_and_cancel(&mut ann, number).await;
    }
    let mut bob = Client::sign_in(address, "bob").await;
    for _ in 0..5 {
        bob.word().await;
    }
    let back = CallId::from_bits(6);
    bob.say(back, words::invite(back, "bob", "ann")).await;
    ann.word().await;
    bob.word().await;
    bob.say(back, Word::Cancel(EndReason::Cancel.into())).await;
    bob.word().await;

    let (mut cursor, mut seen) = (String::new(), Vec::new());
    loop {
        let page = history(address, &request("bob", &cursor, 4, false)).await.unwrap();
        assert!(page.calls.len() <= 4);
        seen.extend(page.calls);
        cursor = page.cursor;
        if cursor.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
    assert!(seen.windows(2).all(|two| two[0].began_unix_ms >= two[1].began_unix_ms));
    assert_eq!((seen[0].call_id, seen[0].reason, seen[0].missed), (back, EndReason::Cancel, false));
    assert!(seen[1..].iter().all(|call| call.reason == EndReason::RemoteCancel && call.missed));
    assert!(seen.iter().all(|call| call.disconnect_reason == 1201 && call.talk_ms == 0));

    let first = history(address, &request("bob", "", 3, true)).await.unwrap();
    let second = history(address, &request("bob", &first.cursor, 3, true)).await.unwrap();
    assert_eq!((first.calls.len(), second.calls.len(), second.cursor.as_str()), (3, 2, ""));
    assert!(first.calls.iter().chain(&second.calls).all(|call| call.missed && call.call_id != back));
    let of_ann = history(address, &request("ann", "", 100, true)).await.unwrap();
    assert_eq!(of_ann.calls.iter().map(|call| call.call_id).collect::<Vec<_>>(), [back]);
    server.stop().await;
}

#[tokio::test]
async fn p4_p7_only_the_user_asks_and_registers() {
    let backend = Backend::start().await;
    let server = backend.server().await;
    let address = server.local_addr();
    let code = async |request: &HistoryRequest| history(address, request).await.unwrap_err().code();
    let good = request("bob", "", 10, false);
    assert!(history(address, &good).await.is_ok());
    let bob = credentials("bob");
    for (wrong, expected) in [
        (Credentials { access_token: "no.token.here".into(), ..bob.clone() }, Code::Unauthenticated),
        (Credentials { user: "ann".into(), ..bob.clone() }, Code::Unauthenticated),
        (Credentials { app_id: "nowhere".into(), ..bob.clone() }, Code::Unauthenticated),
        (Credentials { app_id: "bank".into(), ..bob.clone() }, Code::Unauthenticated),
        (
            Credentials { access_token: app("bank").access_token(&"bob".parse().unwrap(), 60), ..bob.clone() },
            Code::Unauthenticated,
        ),
    ] {
        assert_eq!(code(&HistoryRequest { credentials: wrong.clone(), ..good.clone() }).await, expected);
        let device = DeviceId::new("phone").unwrap();
        let push = SetPush { credentials: wrong, device, address: Some(PushAddress::Fcm { token: "x".into() }) };
        assert_eq!(set_push(address, &push).await.unwrap_err().code(), expected);
    }
    for (limit, cursor) in [(0, ""), (101, ""), (10, "nonsense")] {
        assert_eq!(code(&request("bob", cursor, limit, false)).await, Code::InvalidArgument, "{limit} {cursor}");
    }
    let device = DeviceId::new("phone").unwrap();
    let local = PushAddress::WebPush { endpoint: "http://x/".into(), p256dh: "p".into(), auth: "a".into() };
    let push = SetPush { credentials: bob, device, address: Some(local) };
    assert_eq!(set_push(address, &push).await.unwrap_err().code(), Code::InvalidArgument);
    server.stop().await;
}

#[tokio::test]
async fn p4_p15_a_user_asks_so_often() {
    let backend = Backend::start().await;
    let limits = LimitsConfig { sign_ins_per_user_per_minute: 2, ..LimitsConfig::none() };
    let server = Server::start(ServerConfig { limits, ..backend.config() }).await.unwrap();
    let address = server.local_addr();
    for _ in 0..2 {
        assert!(history(address, &request("bob", "", 10, false)).await.is_ok());
    }
    let refused = history(address, &request("bob", "", 10, false)).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(history(address, &request("ann", "", 10, false)).await.is_ok());
    Client::sign_in(address, "bob").await;
    server.stop().await;
}
