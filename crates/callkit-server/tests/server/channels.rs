//! Channels of two, with real tokens.

use call_protocol::Uid;
use call_protocol::media::{
    Candidate, ChannelEventBody as Event, ChannelRequestBody as Ask, Description, DescriptionKind, JoinRefusal,
    LeaveReason, Member, TrackState,
};
use callkit_server::{AppConfig, Server, ServerConfig};

use crate::client::{Client, app, config, hello, metric, start};

const MUTED: TrackState = TrackState { audio_muted: true, video_muted: true };

fn uid(number: u32) -> Uid {
    Uid::new(number).unwrap()
}

fn token(app: &AppConfig, channel: &str, number: u32, ttl_s: u64) -> String {
    app.channel_token(&channel.parse().unwrap(), uid(number), ttl_s)
}

async fn join_with(client: &mut Client, channel: &str, token: String) -> Event {
    client.ask(channel, Ask::Join { token, tracks: TrackState::default() }).await;
    client.event().await
}

async fn join(client: &mut Client, number: u32) -> Event {
    join_with(client, "room", token(&app("shop"), "room", number, 600)).await
}

#[tokio::test]
async fn two_meet_exchange_and_part() {
    let server = start().await;
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    let stun_servers = vec![format!("stun:{}", server.udp_addr())];
    let alone = Event::Joined { uid: uid(1), members: vec![], stun_servers: stun_servers.clone() };
    assert_eq!(join(&mut ann, 1).await, alone);
    ann.ask("room", Ask::Tracks(MUTED)).await;
    ann.is_acknowledged().await;

    let members = vec![Member { uid: uid(1), tracks: MUTED }];
    assert_eq!(join(&mut bob, 2).await, Event::Joined { uid: uid(2), members, stun_servers });
    assert_eq!(ann.event().await, Event::MemberJoined(Member { uid: uid(2), tracks: TrackState::default() }));

    let offer = Description { kind: DescriptionKind::Offer, sdp: "v=0\r\n".into() };
    ann.ask("room", Ask::Description { to: uid(2), description: offer.clone() }).await;
    assert_eq!(bob.event().await, Event::Description { from: uid(1), description: offer });
    let candidate = Candidate {
        candidate: "candidate:1 1 udp 1 192.0.2.1 9 typ host".into(),
        sdp_mid: Some("0".into()),
        sdp_mline_index: Some(0),
        username_fragment: Some("u".into()),
    };
    bob.ask("room", Ask::Candidate { to: uid(1), candidate: candidate.clone() }).await;
    assert_eq!(ann.event().await, Event::Candidate { from: uid(2), candidate });
    bob.ask("room", Ask::Tracks(MUTED)).await;
    assert_eq!(ann.event().await, Event::Tracks { uid: uid(2), tracks: MUTED });
    assert_eq!(metric(address, "callkit_channel_members").await, 2.0);

    bob.ask("room", Ask::Leave).await;
    assert_eq!(ann.event().await, Event::MemberLeft { uid: uid(2), reason: LeaveReason::Left });
    assert!(matches!(join(&mut bob, 2).await, Event::Joined { .. }));
    ann.event().await;
    bob.goodbye().await;
    assert_eq!(ann.event().await, Event::MemberLeft { uid: uid(2), reason: LeaveReason::Left });
    server.stop().await;
}

#[tokio::test]
async fn a_token_opens_only_its_own_channel_for_its_own_uid() {
    let server = start().await;
    let mut ann = Client::sign_in(server.local_addr(), "ann").await;
    let shop = app("shop");
    let refused = |reason| Event::JoinRefused { reason };
    let cases = [
        ("no token".to_owned(), JoinRefusal::TokenInvalid),
        (token(&app("bank"), "room", 1, 600), JoinRefusal::TokenInvalid),
        (token(&shop, "other room", 1, 600), JoinRefusal::TokenInvalid),
        (hello(&shop, "ann", "phone").access_token, JoinRefusal::TokenInvalid),
        (expired(), JoinRefusal::TokenExpired),
    ];
    for (token, reason) in cases {
        assert_eq!(join_with(&mut ann, "room", token).await, refused(reason));
    }
    assert!(matches!(join(&mut ann, 1).await, Event::Joined { uid, .. } if uid.get() == 1));
    server.stop().await;
}

fn expired() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    app("shop").sign(&call_protocol::token::ChannelClaims {
        sub: "shop".into(),
        channel: "room".into(),
        rtc_uid: 1,
        iss: "shop-key".into(),
        iat: now - 60,
        exp: now - 30,
    })
}

#[tokio::test]
async fn a_third_finds_it_full_and_a_uid_is_held_by_one() {
    let server = start().await;
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    let mut eve = Client::sign_in(address, "eve").await;
    join(&mut ann, 1).await;
    assert_eq!(join(&mut bob, 1).await, Event::JoinRefused { reason: JoinRefusal::UidTaken });
    join(&mut bob, 2).await;
    assert_eq!(join(&mut eve, 3).await, Event::JoinRefused { reason: JoinRefusal::ChannelFull });
    eve.ask("room", Ask::Tracks(MUTED)).await;
    eve.ask("room", Ask::Leave).await;
    eve.is_acknowledged().await;
    assert!(matches!(ann.event().await, Event::MemberJoined(_)));
    ann.hears_nothing().await;

    // The same name in another app is another room.
    let mut stranger = Client::try_sign_in(address, hello(&app("bank"), "ann", "phone")).await.unwrap();
    let bank = token(&app("bank"), "room", 1, 600);
    assert!(
        matches!(join_with(&mut stranger, "room", bank).await, Event::Joined { members, .. } if members.is_empty())
    );
    server.stop().await;
}

#[tokio::test]
async fn a_device_that_signs_in_anew_takes_its_place_again() {
    let server = start().await;
    let address = server.local_addr();
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    join(&mut ann, 1).await;
    join(&mut bob, 2).await;
    ann.event().await;
    let mut bob_again = Client::sign_in(address, "bob").await;
    assert!(matches!(join(&mut bob_again, 2).await, Event::Joined { members, .. } if members.len() == 1));
    assert!(matches!(ann.event().await, Event::MemberJoined(member) if member.uid == uid(2)), "and no leave before");
    server.stop().await;
}

#[tokio::test]
async fn a_token_that_ends_warns_and_can_be_renewed() {
    let server = Server::start(ServerConfig { token_leeway_s: 0, ..config() }).await.unwrap();
    let address = server.local_addr();
    let shop = app("shop");
    let (mut ann, mut bob) = (Client::sign_in(address, "ann").await, Client::sign_in(address, "bob").await);
    join(&mut bob, 2).await;
    assert!(matches!(join_with(&mut ann, "room", token(&shop, "room", 1, 2)).await, Event::Joined { .. }));
    bob.event().await;
    assert!(matches!(ann.event().await, Event::TokenExpiring { left_ms: 1..=1_000 }));
    ann.ask("room", Ask::RenewToken { token: token(&shop, "room", 1, 2) }).await;
    assert!(matches!(ann.event().await, Event::TokenExpiring { left_ms: 1..=1_000 }), "again, for the new one");
    assert_eq!(ann.event().await, Event::JoinRefused { reason: JoinRefusal::TokenExpired });
    assert_eq!(bob.event().await, Event::MemberLeft { uid: uid(1), reason: LeaveReason::TokenExpired });
    server.stop().await;
}
