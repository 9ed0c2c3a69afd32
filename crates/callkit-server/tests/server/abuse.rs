//! What one user does to another on purpose: it costs the other neither a session nor a place.

use call_protocol::end::EndReason;
use call_protocol::invite::{CallType, Invite};
use call_protocol::media::{ChannelEventBody as Event, ChannelRequestBody as Ask, Description, DescriptionKind};
use call_protocol::media::{JoinRefusal, TrackState};
use call_protocol::ring::{InviteRefusal, RingConfirm};
use call_protocol::session::{ClientBody, ClientFrame, RefuseReason, ServerBody};
use call_protocol::{CallId, CallMessage, Uid, UserId, Word, limits, wire};
use callkit_server::{LimitsConfig, Server, ServerConfig};

use crate::calls::talk;
use crate::client::{Client, app, config, hello, metric, metric_becomes, soon, start};
use crate::words::invite;

fn id(number: u128) -> CallId {
    CallId::from_bits(number)
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

/// An invite with this changed.
fn changed(call_id: CallId, caller: &str, change: impl FnOnce(&mut Invite)) -> Word {
    let Word::Invite(mut invite) = invite(call_id, caller, "bob") else { panic!() };
    change(&mut invite);
    Word::Invite(invite)
}

fn without_token() -> Ask {
    Ask::Join { token: String::new(), tracks: TrackState::default() }
}

async fn join_by_token(client: &mut Client, channel: &str, number: u32) -> Event {
    let token = app("shop").channel_token(&channel.parse().unwrap(), Uid::new(number).unwrap(), 600);
    client.ask(channel, Ask::Join { token, tracks: TrackState::default() }).await;
    client.event().await
}

/// Limits that let a test do in a moment what an attacker has minutes for.
async fn start_without_limits() -> Server {
    let limits = LimitsConfig::none();
    let patient = ServerConfig { silence_limit_ms: 120_000, ..config() };
    Server::start(ServerConfig { limits, max_calls_per_device: 10_000, ..patient }).await.unwrap()
}

#[tokio::test]
async fn an_invite_that_names_a_channel_lets_nobody_into_it() {
    let server = start().await;
    let address = server.local_addr();
    let (mut ann, mut eve) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "eve").await);
    assert!(matches!(join_by_token(&mut ann, "boardroom", 1).await, Event::Joined { .. }));

    let refused = Event::JoinRefused { reason: JoinRefusal::TokenInvalid };
    let into_it = changed(id(1), "eve", |invite| {
        invite.callees = vec![user("nobody")];
        invite.channel = "boardroom".parse().unwrap();
    });
    eve.say(id(1), into_it).await;
    assert!(matches!(eve.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    eve.ask("boardroom", without_token()).await;
    assert_eq!(eve.event().await, refused, "a named channel asks for a token");
    let description = Description { kind: DescriptionKind::Offer, sdp: "v=0\r\n".into() };
    eve.ask("boardroom", Ask::Description { to: Uid::new(1).unwrap(), description }).await;
    eve.is_acknowledged().await;
    ann.hears_nothing().await;

    eve.ask(id(1).channel().as_str(), without_token()).await;
    assert!(matches!(eve.event().await, Event::Joined { .. }), "the call's own channel needs none");
    assert!(matches!(join_by_token(&mut eve, "boardroom", 2).await, Event::Joined { .. }), "nor is a token refused");
    server.stop().await;
}

/// The name of a channel can be that of a call that somebody opens later.
#[tokio::test]
async fn a_call_opened_under_the_name_of_a_channel_lets_nobody_in_beside_those_who_came_by_token() {
    let server = start().await;
    let address = server.local_addr();
    let (mut ann, mut eve) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "eve").await);
    let channel = id(9).channel();
    assert!(matches!(join_by_token(&mut ann, channel.as_str(), 1).await, Event::Joined { .. }));
    eve.say(id(9), invite(id(9), "eve", "nobody")).await;
    assert!(matches!(eve.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    eve.ask(channel.as_str(), without_token()).await;
    assert_eq!(eve.event().await, Event::JoinRefused { reason: JoinRefusal::TokenInvalid });
    ann.hears_nothing().await;
    server.stop().await;
}

/// The attacker's eight group calls, each of which names the same callee 64 times.
#[tokio::test]
async fn who_is_named_often_in_an_invite_is_called_once() {
    let server = start_without_limits().await;
    let address = server.local_addr();
    let (mut eve, mut bob) = (Client::sign_in(address, "eve").await, Client::sign_in(address, "bob").await);
    for number in 1..=8 {
        let often = changed(id(number), "eve", |invite| {
            invite.callees = vec![user("bob"); limits::CALLEES];
            invite.call_type = CallType::Multi;
        });
        eve.say(id(number), often).await;
        assert!(matches!(eve.word().await, Word::RingConfirm(RingConfirm::Ring { .. })));
    }
    for number in 1..=8 {
        assert!(
            matches!(bob.word().await, Word::Invite(heard) if heard.call_id == id(number) && heard.callees.len() == 1)
        );
    }
    bob.hears_nothing().await;
    server.stop().await;
}

/// Far more at once than a device can have acknowledged, though it acknowledges everything.
#[tokio::test]
async fn a_device_that_others_flood_keeps_its_session_and_hears_of_what_rings() {
    let server = start_without_limits().await;
    let address = server.local_addr();
    let (mut eve, mut bob) = (Client::sign_in(address, "eve").await, Client::sign_in(address, "bob").await);
    let count = limits::UNACKNOWLEDGED_FRAMES as u128;
    let flood = async {
        for number in 1..=count {
            eve.say(id(number), invite(id(number), "eve", "bob")).await;
            eve.word().await;
            eve.say(id(number), Word::Cancel(EndReason::Cancel.into())).await;
            assert!(matches!(eve.word().await, Word::End(_)));
        }
        let rings = id(count + 1);
        eve.say(rings, invite(rings, "eve", "bob")).await;
        assert!(matches!(eve.word().await, Word::RingConfirm(_)));
    };
    // He acknowledges nothing before all of it has happened.
    soon("the end of the flood", flood).await;
    let mut missed = 0;
    let mut rings = false;
    while !rings || missed == 0 {
        bob.frame(0, None).await;
        match bob.body().await {
            ServerBody::Call(CallMessage { call_id, word: Word::Missed(_) }) => {
                missed += 1;
                bob.say(call_id, Word::End(EndReason::NoResponse.into())).await;
            }
            ServerBody::Call(CallMessage { call_id, word: Word::Invite(_) }) => rings |= call_id == id(count + 1),
            ServerBody::Call(CallMessage { word: Word::End(_) | Word::Cancel(_), .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(metric(address, "callkit_refusals_total{reason=\"too_slow\"}").await, 0.0);
    server.stop().await;
}

/// Signs in and reads and acknowledges missed calls until it knows of so many.
async fn hear_of(address: std::net::SocketAddr, count: usize) -> Client {
    let mut bob = Client::sign_in(address, "bob").await;
    let mut heard = 0;
    while heard < count {
        match bob.word().await {
            Word::Missed(invite) => {
                heard += 1;
                bob.say(invite.call_id, Word::End(EndReason::NoResponse.into())).await;
            }
            Word::End(_) => {}
            other => panic!("{other:?}"),
        }
    }
    bob
}

#[tokio::test]
async fn calls_given_up_while_somebody_is_away_do_not_end_the_next_sign_in() {
    let server = start_without_limits().await;
    let address = server.local_addr();
    Client::sign_in(address, "bob").await.goodbye().await;
    let mut eve = Client::sign_in(address, "eve").await;
    for number in 1..=300 {
        eve.say(id(number), invite(id(number), "eve", "bob")).await;
        eve.word().await;
        eve.say(id(number), Word::Cancel(EndReason::Cancel.into())).await;
        assert!(matches!(eve.word().await, Word::End(_)));
    }
    let mut bob = Client::sign_in(address, "bob").await;
    let mut told = 0;
    while told < 32 {
        assert!(matches!(bob.word().await, Word::Missed(_)));
        told += 1;
    }
    bob.hears_nothing().await;
    drop(bob);
    let mut bob = hear_of(address, 300).await;
    while bob.next().await.is_some_and(|frame| frame.ack < bob.sent) {}
    assert_eq!(metric(address, "callkit_refusals_total{reason=\"too_slow\"}").await, 0.0);
    server.stop().await;
}

/// It reads and speaks, and acknowledges nothing.
#[tokio::test]
async fn a_device_that_never_acknowledges_is_ended_and_fills_no_memory() {
    let times = ServerConfig { ping_every_ms: 100, silence_limit_ms: 1_000, ..config() };
    let server = Server::start(ServerConfig { limits: LimitsConfig::none(), ..times }).await.unwrap();
    let address = server.local_addr();
    let (mut deaf, mut ann) = (Client::sign_in(address, "deaf").await, Client::sign_in(address, "ann").await);
    assert!(matches!(join_by_token(&mut deaf, "room", 1).await, Event::Joined { .. }));
    assert!(matches!(join_by_token(&mut ann, "room", 2).await, Event::Joined { .. }));
    let flood = async {
        let description = Description { kind: DescriptionKind::Offer, sdp: "x".repeat(limits::SDP_BYTES) };
        loop {
            let to = Uid::new(1).unwrap();
            ann.ask("room", Ask::Description { to, description: description.clone() }).await;
            ann.frame(0, Some(ClientBody::Ping { nonce: 1 })).await;
            while !matches!(ann.body().await, ServerBody::Pong { .. }) {}
        }
    };
    let lives = async {
        let mut frames = 0;
        loop {
            let ping = ClientFrame { seq: 0, ack: 0, body: Some(ClientBody::Ping { nonce: 7 }) };
            // Once the stream is over, what it said last is still to be read.
            deaf.frames.send(wire::client_frame_to_proto(&ping)).await.ok();
            loop {
                let Some(frame) = deaf.next().await else { return (frames, None) };
                match frame.body {
                    Some(ServerBody::Refuse(refuse)) => return (frames, Some(refuse.reason)),
                    Some(ServerBody::Channel(_)) => frames += 1,
                    Some(ServerBody::Pong { .. }) => break,
                    _ => {}
                }
            }
        }
    };
    let (frames, reason) = tokio::select! {
        ended = soon("the end", lives) => ended,
        () = flood => unreachable!(),
    };
    assert_eq!(reason, Some(RefuseReason::TooSlow));
    assert!(frames <= 12, "{frames} frames of 48 KiB went out unacknowledged");
    assert!(metric(address, "callkit_frames_dropped_total").await > 0.0);
    metric_becomes(address, "callkit_sessions", 1.0).await;
    server.stop().await;
}

/// A device of the user that is in a call comes back after its stream broke, and nobody new begins anything.
#[tokio::test]
async fn a_server_that_drains_takes_back_the_devices_of_its_calls_and_begins_no_call() {
    let server = Server::start(ServerConfig { drain_ms: 600_000, ..config() }).await.unwrap();
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    talk(&mut ann, &mut bob, id(1)).await;
    let stopping = tokio::spawn(server.stop());
    soon("draining", async {
        while crate::client::http(address, "GET /readyz").await.0 != 503 {
            tokio::task::yield_now().await;
        }
    })
    .await;

    let mut ann = ann.resume(address, "ann").await;
    assert!(ann.welcome.as_ref().unwrap().resumed, "it goes on where it was");
    let fresh = Client::try_sign_in(address, hello(&app("shop"), "carl", "phone")).await.err().unwrap();
    assert_eq!(fresh.reason, RefuseReason::ShuttingDown);
    let mut made_up = hello(&app("shop"), "carl", "phone");
    made_up.resume = Some(call_protocol::session::Resume { session: "0".repeat(32), received: 0 });
    let made_up = Client::try_sign_in(address, made_up).await.err().unwrap();
    assert_eq!(made_up.reason, RefuseReason::ShuttingDown, "there is no such session");
    ann.say(id(2), invite(id(2), "ann", "carl")).await;
    let refused = RingConfirm::Refused { refusal: InviteRefusal::Overloaded };
    assert_eq!(ann.word().await, Word::RingConfirm(refused), "no new call");

    ann.say(id(1), Word::End(EndReason::Hangup.into())).await;
    assert_eq!(bob.end().await, Some(RefuseReason::ShuttingDown));
    soon("the end", stopping).await.unwrap();
}

/// As many streams as there are users, on the connection of one proxy.
#[tokio::test]
async fn of_the_streams_on_one_connection_only_the_silent_one_ends() {
    let times = ServerConfig { ping_every_ms: 10, silence_limit_ms: 500, close_grace_ms: 50, ..config() };
    let server = Server::start(times).await.unwrap();
    let address = server.local_addr();
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let mut silent = Client::open_on(channel.clone()).await;
    silent.greet(hello(&app("shop"), "ann", "phone")).await.unwrap();
    let mut lively = Client::open_on(channel).await;
    lively.greet(hello(&app("shop"), "bob", "phone")).await.unwrap();
    let mut ended = false;
    // Pings go on for longer than the silent one's end takes, with its time to read the last frame.
    for _ in 0..40 {
        lively.hears_nothing().await;
        ended |= tokio::time::timeout(std::time::Duration::from_millis(50), silent.end()).await.is_ok();
    }
    assert!(ended, "the silent one was ended");
    lively.hears_nothing().await;
    assert_eq!(metric(address, "callkit_streams").await, 1.0);
    server.stop().await;
}

#[tokio::test]
async fn a_user_has_so_many_devices_and_the_oldest_goes_but_not_one_in_a_call() {
    let server = start_without_limits().await;
    let address = server.local_addr();
    let (mut ann, mut first) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    talk(&mut ann, &mut first, id(1)).await;
    let mut devices = Vec::new();
    for number in 0..40 {
        let hello = hello(&app("shop"), "bob", &format!("device {number}"));
        devices.push(Client::try_sign_in(address, hello).await.unwrap());
    }
    metric_becomes(address, "callkit_sessions", 33.0).await;
    assert_eq!(devices[0].end().await, Some(RefuseReason::Replaced));
    first.hears_nothing().await;
    devices[39].hears_nothing().await;

    // One call rings on as many as there may be, and no more.
    ann.say(id(1), Word::End(EndReason::Hangup.into())).await;
    assert!(matches!(ann.word().await, Word::End(_)));
    let before = metric(address, "callkit_frames_total{direction=\"out\"}").await;
    ann.say(id(2), invite(id(2), "ann", "bob")).await;
    assert!(matches!(ann.word().await, Word::RingConfirm(_)));
    let sent = metric(address, "callkit_frames_total{direction=\"out\"}").await - before;
    assert!(sent <= 33.0, "{sent}");
    server.stop().await;
}

/// A device that rings says so again and again; nothing has changed by that.
#[tokio::test]
async fn what_is_said_again_is_not_stored_again() {
    let folder = tempfile::tempdir().unwrap();
    let config = ServerConfig { data_dir: Some(folder.path().join("data")), ..config() };
    let server = Server::start(config).await.unwrap();
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    ann.say(id(1), invite(id(1), "ann", "bob")).await;
    assert!(matches!(ann.word().await, Word::RingConfirm(_)));
    assert!(matches!(bob.word().await, Word::Invite(_)));
    let alert = async |bob: &mut Client| {
        let callee = crate::words::party("bob");
        bob.say(id(1), Word::Alert(call_protocol::ring::Alert { callee, asked_unix_ms: None })).await;
        // The invite is said again, too.
        while !matches!(bob.word().await, Word::RingConfirm(_)) {}
    };
    alert(&mut bob).await;
    let written = "callkit_store_writes_total{result=\"written\"}";
    let mut before = metric(address, written).await;
    // Until what was said before is written.
    for _ in 0..5 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await; // sleeps: nobody tells when the store is idle
        before = metric(address, written).await;
    }
    for _ in 0..20 {
        alert(&mut bob).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await; // sleeps: so that writes would not be folded
    }
    assert!(metric(address, written).await <= before + 1.0);
    server.stop().await;
}

/// What comes back after a restart asks for sessions that are gone: all of it is new work, and waits for its turn.
#[tokio::test]
async fn a_session_that_is_gone_or_made_up_does_not_go_past_the_gate() {
    let server = start().await;
    let address = server.local_addr();
    let ann = Client::sign_in(address, "ann").await;
    let sign_ins = "callkit_gate_turns_total";
    let before = metric(address, sign_ins).await;
    let ann = ann.resume(address, "ann").await;
    assert!(ann.welcome.as_ref().unwrap().resumed);
    assert_eq!(metric(address, sign_ins).await, before, "a session that is there needs no turn");
    let mut made_up = hello(&app("shop"), "bob", "phone");
    made_up.resume = Some(call_protocol::session::Resume { session: "f".repeat(32), received: 3 });
    let bob = Client::try_sign_in(address, made_up).await.unwrap();
    assert!(!bob.welcome.as_ref().unwrap().resumed);
    assert_eq!(metric(address, sign_ins).await, before + 1.0);
    server.stop().await;
}
