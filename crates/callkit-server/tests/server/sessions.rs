//! Numbered frames, acknowledgements, resume, silence.

use call_protocol::Uid;
use call_protocol::media::{Candidate, ChannelEventBody, ChannelRequestBody};
use call_protocol::session::Hello;
use call_protocol::session::{ClientBody, ClientFrame, RefuseReason, Resume};
use callkit_server::{Server, ServerConfig};

use crate::client::{Client, app, config, hello, metric, metric_becomes, start};

fn candidate(number: u64) -> Candidate {
    Candidate { candidate: number.to_string(), sdp_mid: None, sdp_mline_index: None, username_fragment: None }
}

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

async fn join(client: &mut Client, number: u32) {
    let token = app("shop").channel_token(&"room".parse().unwrap(), uid(number), 600);
    client.ask("room", ChannelRequestBody::Join { token, tracks: Default::default() }).await;
    assert!(matches!(client.event().await, ChannelEventBody::Joined { .. }));
}

/// Reads candidates until the number `until`; they come in order, each once.
async fn read_candidates(client: &mut Client, expected: &mut u64, until: u64) {
    while *expected <= until {
        match client.event().await {
            ChannelEventBody::Candidate { candidate, .. } => assert_eq!(candidate.candidate, expected.to_string()),
            other => panic!("{other:?}"),
        }
        *expected += 1;
    }
}

#[tokio::test]
async fn broken_streams_lose_and_double_nothing_in_either_direction() {
    let server = start().await;
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    join(&mut ann, 1).await;
    join(&mut bob, 2).await;
    assert!(matches!(ann.event().await, ChannelEventBody::MemberJoined(_)));

    // Ann sends numbers to Bob and Bob to Ann, and both break at odd moments, with frames on the way in both directions.
    let (mut to_bob, mut to_ann) = (Vec::new(), Vec::new());
    let (mut ann_expects, mut bob_expects) = (1, 1);
    let first = (ann.sent, bob.sent);
    let mut seed = 7_u64;
    let mut draw = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for _ in 0..20 {
        for _ in 0..=draw(5) {
            to_bob.push(ann.sent + 1);
            ann.ask("room", ChannelRequestBody::Candidate { to: uid(2), candidate: candidate(to_bob.len() as u64) })
                .await;
        }
        for _ in 0..=draw(5) {
            to_ann.push(bob.sent + 1);
            bob.ask("room", ChannelRequestBody::Candidate { to: uid(1), candidate: candidate(to_ann.len() as u64) })
                .await;
        }
        if draw(2) == 0 {
            bob.is_acknowledged_or_event(&mut bob_expects).await;
        }
        ann = again(ann, address, "ann", first.0, 2).await;
        if draw(3) == 0 {
            bob = again(bob, address, "bob", first.1, 1).await;
        }
    }
    read_candidates(&mut ann, &mut ann_expects, to_ann.len() as u64).await;
    read_candidates(&mut bob, &mut bob_expects, to_bob.len() as u64).await;
    ann.hears_nothing().await;
    bob.hears_nothing().await;
    assert!(metric(address, "callkit_resumes_total").await >= 20.0);
    assert_eq!(metric(address, "callkit_sign_ins_total").await, 2.0);
    server.stop().await;
}

/// Breaks the stream, resumes it, and sends again what the server has not received.
async fn again(client: Client, address: std::net::SocketAddr, user: &str, first: u64, to: u32) -> Client {
    let sent = client.sent;
    let mut client = client.resume(address, user).await;
    let welcome = client.welcome.clone().unwrap();
    assert!(welcome.resumed && welcome.received <= sent);
    for seq in welcome.received + 1..=sent {
        let body = ChannelRequestBody::Candidate { to: uid(to), candidate: candidate(seq - first) };
        let request = call_protocol::media::ChannelRequest { channel: "room".parse().unwrap(), body };
        client.frame(seq, Some(ClientBody::Channel(request))).await;
    }
    client
}

impl Client {
    /// Reads one candidate, so that some of what is on the way has been read when the stream breaks.
    async fn is_acknowledged_or_event(&mut self, expected: &mut u64) {
        let next = *expected;
        read_candidates(self, expected, next).await;
    }
}

#[tokio::test]
async fn numbered_frames_are_acknowledged_soon_even_when_there_is_nothing_else_to_say() {
    let server = start().await;
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    ann.ask("room", ChannelRequestBody::Leave).await;
    let bare = ann.next().await.unwrap();
    assert_eq!((bare.seq, bare.ack, bare.body), (0, 1, None));
    // A number again: the server says again what it has, and does nothing.
    ann.frame(1, None).await;
    assert_eq!(ann.next().await.unwrap().ack, 1);
    // Many at once: not one acknowledgement each.
    for _ in 0..64 {
        ann.ask("room", ChannelRequestBody::Leave).await;
    }
    let mut bare_ones = 0;
    loop {
        bare_ones += 1;
        if ann.next().await.unwrap().ack == ann.sent {
            break;
        }
    }
    assert!(bare_ones <= 6, "{bare_ones} acknowledgements for 64 frames");
    server.stop().await;
}

#[tokio::test]
async fn a_gap_ends_the_stream_and_the_session_can_be_resumed() {
    let server = start().await;
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    ann.frame(2, None).await;
    assert_eq!(ann.end().await, Some(RefuseReason::BadFrame));
    let ann = ann.resume(server.local_addr(), "ann").await;
    assert!(ann.welcome.unwrap().resumed);

    let mut bob = Client::sign_in(server.local_addr(), "bob").await;
    bob.raw(ClientFrame { seq: 1, ack: 9, body: None }).await;
    assert_eq!(bob.end().await, Some(RefuseReason::BadFrame), "an acknowledgement of what was never sent");
    server.stop().await;
}

#[tokio::test]
async fn only_the_same_device_with_the_right_name_resumes() {
    let server = start().await;
    let address = server.local_addr();
    let ann = Client::sign_in(address, "ann").await;
    let session = ann.session();
    let resume = Some(Resume { session, received: 0 });
    let bob = Hello { resume: resume.clone(), ..hello(&app("shop"), "bob", "phone") };
    let bob = Client::try_sign_in(address, bob).await.unwrap();
    assert!(!bob.welcome.unwrap().resumed, "another user");
    let never_sent = Some(Resume { received: 9, ..resume.clone().unwrap() });
    drop(ann);
    let ann = Client::try_sign_in(address, Hello { resume: never_sent, ..hello(&app("shop"), "ann", "phone") })
        .await
        .unwrap();
    assert!(!ann.welcome.unwrap().resumed, "more than was ever sent");
    let ann = Client::try_sign_in(address, Hello { resume, ..hello(&app("shop"), "ann", "phone") }).await.unwrap();
    assert!(!ann.welcome.unwrap().resumed, "the session was replaced");
    server.stop().await;
}

#[tokio::test]
async fn a_session_that_is_not_resumed_in_time_is_over() {
    let server = Server::start(ServerConfig { resume_window_ms: 30, ..config() }).await.unwrap();
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    join(&mut bob, 2).await;
    join(&mut ann, 1).await;
    assert!(matches!(bob.event().await, ChannelEventBody::MemberJoined(_)));
    let session = ann.session();
    drop(ann);
    let left = bob.event().await;
    assert!(matches!(left, ChannelEventBody::MemberLeft { reason: call_protocol::media::LeaveReason::Dropped, .. }));
    metric_becomes(address, "callkit_sessions", 1.0).await;
    let resume = Some(Resume { session, received: 0 });
    let ann = Client::try_sign_in(address, Hello { resume, ..hello(&app("shop"), "ann", "phone") }).await.unwrap();
    assert!(!ann.welcome.unwrap().resumed);
    server.stop().await;
}

#[tokio::test]
async fn a_silent_client_loses_its_stream_and_one_that_pings_does_not() {
    let times = ServerConfig { ping_every_ms: 10, silence_limit_ms: 200, ..config() };
    let server = Server::start(times).await.unwrap();
    let address = server.local_addr();
    let mut silent = Client::sign_in(address, "ann").await;
    let mut lively = Client::sign_in(address, "bob").await;
    let pings = async {
        loop {
            lively.hears_nothing().await;
        }
    };
    tokio::select! {
        () = pings => {}
        reason = silent.end() => assert_eq!(reason, None, "the stream ends, the session does not"),
    }
    lively.hears_nothing().await;
    let again = silent.resume(address, "ann").await;
    assert!(again.welcome.unwrap().resumed);
    server.stop().await;
}

#[tokio::test]
async fn goodbye_leaves_nothing_to_resume() {
    let server = start().await;
    let ann = Client::sign_in(server.local_addr(), "ann").await;
    ann.goodbye().await;
    metric_becomes(server.local_addr(), "callkit_sessions", 0.0).await;
    server.stop().await;
}
