//! Access tokens that end while their sessions live.

use std::net::SocketAddr;
use std::time::Duration;

use call_protocol::accept::{Answer, AnswerResult};
use call_protocol::end::EndReason;
use call_protocol::media::KeepAlive;
use call_protocol::ring::{InviteRefusal, RingConfirm};
use call_protocol::session::{AccessStatus, ClientBody, ClientFrame, Hello, Refuse, RefuseReason, Resume, ServerBody};
use call_protocol::token::AccessClaims;
use call_protocol::{CallId, UserId, Word, wire};
use callkit_server::{Server, ServerConfig};

use crate::client::{Client, app, config, hello};
use crate::words::{invite, party};

const FIRST: CallId = CallId::from_bits(1);
const SECOND: CallId = CallId::from_bits(2);

async fn strict(silence_limit_ms: u32) -> Server {
    Server::start(ServerConfig { ping_every_ms: 300, silence_limit_ms, token_leeway_s: 0, ..config() }).await.unwrap()
}

fn good_for(user: &str, ttl_s: u64) -> String {
    app("shop").access_token(&UserId::new(user).unwrap(), ttl_s)
}

fn over(user: &str) -> String {
    let exp = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() - 60;
    let (sub, iss) = ("shop".into(), "shop-key".into());
    app("shop").sign(&AccessClaims { sub, uid: user.into(), iss, iat: exp - 60, exp })
}

/// Goes on with a session by this token, as of what was sent and received.
async fn go_on(
    address: SocketAddr,
    user: &str,
    access_token: String,
    (session, sent, received): (String, u64, u64),
) -> Result<Client, Refuse> {
    let mut client = Client::open(address).await;
    (client.sent, client.received) = (sent, received);
    let resume = Some(Resume { session, received });
    client.greet(Hello { access_token, resume, ..hello(&app("shop"), user, "phone") }).await?;
    assert!(client.welcome.as_ref().unwrap().resumed);
    keep_alive(&client);
    Ok(client)
}

fn place(client: &Client) -> (String, u64, u64) {
    (client.session(), client.sent, client.received)
}

/// The same device in the same session, with a token that has ended.
async fn with_ended_token(client: Client, address: SocketAddr, user: &str) -> Client {
    let place = place(&client);
    drop(client);
    let client = go_on(address, user, over(user), place).await.unwrap();
    assert_eq!(client.welcome.as_ref().unwrap().access_left_ms, Some(0));
    client
}

/// Pings for as long as the stream is there.
fn keep_alive(client: &Client) {
    let frames = client.frames.clone();
    let ping = wire::client_frame_to_proto(&ClientFrame { seq: 0, ack: 0, body: Some(ClientBody::Ping { nonce: 0 }) });
    tokio::spawn(async move {
        while frames.send(ping.clone()).await.is_ok() {
            // sleeps: a client pings every so often
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
}

/// The next body that is no pong.
async fn told(client: &mut Client) -> ServerBody {
    loop {
        match client.body().await {
            ServerBody::Pong { .. } => {}
            other => return other,
        }
    }
}

async fn status(client: &mut Client) -> AccessStatus {
    match told(client).await {
        ServerBody::Access(status) => status,
        other => panic!("{other:?} instead of how the token stands"),
    }
}

/// What becomes of an invite.
async fn rings(client: &mut Client, call_id: CallId) -> Result<(), InviteRefusal> {
    client.say(call_id, invite(call_id, "ann", "bob")).await;
    match told(client).await {
        ServerBody::Call(message) => match message.word {
            Word::RingConfirm(RingConfirm::Ring { .. }) => Ok(()),
            Word::RingConfirm(RingConfirm::Refused { refusal }) => Err(refusal),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_token_that_is_about_to_end_is_announced() {
    let server = strict(4_000).await;
    let hello = Hello { access_token: good_for("ann", 25), ..hello(&app("shop"), "ann", "phone") };
    let mut ann = Client::try_sign_in(server.local_addr(), hello).await.unwrap();
    keep_alive(&ann);
    let AccessStatus { left_ms, refused } = status(&mut ann).await;
    assert!(refused.is_none() && (1..=25_000).contains(&left_ms), "{left_ms} {refused:?}");
    server.stop().await;
}

#[tokio::test]
async fn a_token_that_has_ended_opens_no_call_until_it_is_renewed() {
    let server = strict(6_000).await;
    let hello = Hello { access_token: good_for("ann", 3), ..hello(&app("shop"), "ann", "phone") };
    let mut ann = Client::try_sign_in(server.local_addr(), hello).await.unwrap();
    keep_alive(&ann);
    let ended = AccessStatus { left_ms: 0, refused: None };
    while status(&mut ann).await != ended {}
    assert_eq!(rings(&mut ann, FIRST).await, Err(InviteRefusal::TokenExpired));
    ann.frame(0, Some(ClientBody::RenewAccess { access_token: good_for("ann", 600) })).await;
    assert!(status(&mut ann).await.left_ms > 300_000);
    assert_eq!(rings(&mut ann, FIRST).await, Ok(()));
    server.stop().await;
}

#[tokio::test]
async fn a_token_that_has_ended_and_is_not_renewed_ends_its_stream_and_goes_on_with_nothing() {
    let server = strict(2_000).await;
    let address = server.local_addr();
    let ann = Client::sign_in(address, "ann").await;
    let bob = Client::sign_in(address, "bob").await;
    let mut ann = with_ended_token(ann, address, "ann").await;
    let mut bob = with_ended_token(bob, address, "bob").await;
    assert_eq!(rings(&mut ann, FIRST).await, Err(InviteRefusal::TokenExpired));
    // Brought again it is no younger.
    let mut ann = with_ended_token(ann, address, "ann").await;
    assert_eq!(rings(&mut ann, SECOND).await, Err(InviteRefusal::TokenExpired));
    bob.frame(0, Some(ClientBody::RenewAccess { access_token: good_for("bob", 600) })).await;
    assert!(status(&mut bob).await.left_ms > 300_000);

    assert_eq!(ann.end().await, Some(RefuseReason::TokenExpired));
    let refuse = go_on(address, "ann", over("ann"), place(&ann)).await.err().unwrap();
    assert_eq!(refuse.reason, RefuseReason::TokenExpired);
    let mut ann = go_on(address, "ann", good_for("ann", 600), place(&ann)).await.unwrap();
    assert_eq!(rings(&mut ann, FIRST).await, Ok(()));
    assert!(matches!(told(&mut bob).await, ServerBody::Call(_)), "a renewed one is called");
    server.stop().await;
}

#[tokio::test]
async fn a_token_that_has_ended_ends_no_stream_while_its_call_runs() {
    let server = strict(2_000).await;
    let address = server.local_addr();
    let mut ann = Client::sign_in(address, "ann").await;
    let mut bob = Client::sign_in(address, "bob").await;
    let carl = Client::sign_in(address, "carl").await;
    assert_eq!(rings(&mut ann, FIRST).await, Ok(()));
    assert!(matches!(bob.word().await, Word::Invite(_)));
    let (callee, result) = (party("bob"), AnswerResult::Accept);
    bob.say(FIRST, Word::Answer(Answer { callee, result, call_type: None, preparation: false, release: None })).await;
    assert!(matches!(bob.word().await, Word::AnswerConfirm(_)));
    assert!(matches!(ann.word().await, Word::Answer(_)));

    let mut ann = with_ended_token(ann, address, "ann").await;
    let mut bob = with_ended_token(bob, address, "bob").await;
    let mut carl = with_ended_token(carl, address, "carl").await;
    assert_eq!(carl.end().await, Some(RefuseReason::TokenExpired), "who is in no call");
    // Both had theirs before, so that they would have been ended before.
    for client in [&mut ann, &mut bob] {
        client.say(FIRST, Word::KeepAlive(KeepAlive { in_call: true, ..KeepAlive::default() })).await;
        client.is_acknowledged().await;
    }
    assert_eq!(rings(&mut ann, SECOND).await, Err(InviteRefusal::TokenExpired));
    ann.say(FIRST, Word::End(EndReason::Hangup.into())).await;
    assert_eq!(ann.end().await, Some(RefuseReason::TokenExpired));
    assert_eq!(bob.end().await, Some(RefuseReason::TokenExpired));
    server.stop().await;
}
