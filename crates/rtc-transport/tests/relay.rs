//! Paths over a real TURN server, in this process, on loopback.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rtc_transport::{
    CandidateKind, IcePolicy, Interfaces, MediaPath, OpenError, PathConfig, PathEvent, PathState, TurnServer,
};
use turn::auth::{AuthHandler, generate_auth_key};
use turn::relay::relay_static::RelayAddressGeneratorStatic;
use turn::server::Server;
use turn::server::config::{ConnConfig, ServerConfig};
use webrtc_util::vnet::net::Net;
use world::{End, packet};

const USER: &str = "alice";
const PASSWORD: &str = "a password of the relay";
const REALM: &str = "relay.example";
const LIMIT: Duration = Duration::from_secs(20);

struct OneUser;

impl AuthHandler for OneUser {
    fn auth_handle(&self, username: &str, _: &str, _: SocketAddr) -> Result<Vec<u8>, turn::Error> {
        match username == USER {
            true => Ok(generate_auth_key(USER, REALM, PASSWORD)),
            false => Err(turn::Error::ErrFakeErr),
        }
    }
}

/// A relay and its address.
async fn relay() -> (Server, String) {
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let url = format!("turn:{}", socket.local_addr().unwrap());
    let relay_addr_generator = Box::new(RelayAddressGeneratorStatic {
        relay_address: [127, 0, 0, 1].into(),
        address: "127.0.0.1".to_owned(),
        net: Arc::new(Net::new(None)),
    });
    let config = ServerConfig {
        conn_configs: vec![ConnConfig { conn: Arc::new(socket), relay_addr_generator }],
        realm: REALM.to_owned(),
        auth_handler: Arc::new(OneUser),
        channel_bind_timeout: Duration::ZERO,
        alloc_close_notify: None,
    };
    (Server::new(config).await.unwrap(), url)
}

fn config(url: &str, policy: IcePolicy) -> PathConfig {
    let server = TurnServer { url: url.to_owned(), username: USER.to_owned(), credential: PASSWORD.to_owned() };
    // 127.0.0.1 is the relay's, so an address of the end itself would be seen in what is said.
    let interfaces = match cfg!(target_os = "linux") {
        true => Interfaces::Addresses(vec![[127, 0, 0, 77].into()]),
        false => Interfaces::Loopback,
    };
    PathConfig { turn_servers: vec![server], policy, interfaces, ..PathConfig::default() }
}

/// The kind of this end's address on the way in use, which is read from the engine a moment after it is in use.
async fn local_kind(path: &MediaPath) -> CandidateKind {
    let known = async {
        loop {
            if let Some(selected) = path.stats().selected {
                return selected.local;
            }
            // sleeps: real time of a real relay
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(LIMIT, known).await.unwrap()
}

/// Carries candidates, keeping what was said, until the path is in `wanted`.
async fn until(end: &mut End, wanted: PathState, other: &MediaPath, said: &mut Vec<String>) {
    loop {
        match end.events.recv().await.unwrap() {
            PathEvent::LocalCandidate(candidate) => {
                said.push(candidate.candidate.clone());
                other.add_candidate(candidate).await.unwrap();
            }
            PathEvent::StateChanged(state) if state == wanted => return,
            PathEvent::StateChanged(PathState::Failed) => panic!("no way was found"),
            _ => {}
        }
    }
}

/// Negotiates, restarting or for the first time; gives every line that was said.
async fn negotiate(one: &mut End, two: &mut End, restart: bool) -> Vec<String> {
    let offer = match restart {
        false => one.path.create_offer().await.unwrap(),
        true => one.path.restart_ice().await.unwrap(),
    };
    let mut said = vec![];
    // The answerer has gathered before, as while it rings: then its description tells candidates, too.
    let answer = two.path.accept_offer(&offer).await.unwrap();
    one.path.accept_answer(&answer).await.unwrap();
    let (a, b) = (one.path.clone(), two.path.clone());
    let mut also_said = vec![];
    let both = async {
        tokio::join!(
            until(one, PathState::Connected, &b, &mut said),
            until(two, PathState::Connected, &a, &mut also_said)
        )
    };
    tokio::time::timeout(LIMIT, both).await.unwrap();
    said.extend(also_said);
    said.extend(offer.lines().chain(answer.lines()).map(str::to_owned));
    said
}

#[tokio::test]
async fn relay_only_connects_over_the_relay_and_tells_no_address_of_its_own() {
    let (server, url) = relay().await;
    let mut one = End::open(config(&url, IcePolicy::RelayOnly)).await;
    let mut two = End::open(config(&url, IcePolicy::RelayOnly)).await;
    for restart in [false, true] {
        let said = negotiate(&mut one, &mut two, restart).await;
        assert!(said.iter().any(|line| line.contains("typ relay")), "{said:?}");
        for line in &said {
            assert!(!line.contains("typ host") && !line.contains("typ srflx") && !line.contains("typ prflx"), "{line}");
            assert!(!line.contains("127.0.0.77"), "{line}");
            if let Some((_, related)) = line.split_once("raddr ") {
                assert_eq!(related, "0.0.0.0 rport 0");
            }
        }
    }
    one.path.send_voice(packet(1)).unwrap();
    one.path.send_control(Bytes::from_static(b"accept")).unwrap();
    let (mut voice, mut control) = (false, false);
    while !(voice && control) {
        match tokio::time::timeout(LIMIT, two.events.recv()).await.unwrap().unwrap() {
            PathEvent::Voice(_) => voice = true,
            PathEvent::Control(word) => control = word == "accept",
            _ => {}
        }
    }
    assert_eq!(local_kind(&one.path).await, CandidateKind::Relay);
    one.path.send_control(Bytes::from_static(b"bye")).unwrap();
    one.path.close().await;
    let mut last = None;
    loop {
        match tokio::time::timeout(LIMIT, two.events.recv()).await.unwrap().unwrap() {
            PathEvent::Control(word) => last = Some(word),
            PathEvent::StateChanged(state) => {
                assert_eq!(state, PathState::Closed, "told at once, over the relay, too");
                break;
            }
            _ => {}
        }
    }
    assert_eq!(last.unwrap(), "bye");
    two.path.close().await;
    server.close().await.unwrap();
}

#[tokio::test]
async fn an_end_that_hides_connects_to_one_that_does_not_and_has_no_relay() {
    let (server, url) = relay().await;
    let mut hidden = End::open(config(&url, IcePolicy::RelayOnly)).await;
    let open = PathConfig { interfaces: Interfaces::Loopback, ..PathConfig::default() };
    let mut open = End::open(open).await;
    negotiate(&mut hidden, &mut open, false).await;
    open.path.send_voice(packet(1)).unwrap();
    tokio::time::timeout(LIMIT, hidden.voice()).await.unwrap();
    assert_eq!(local_kind(&hidden.path).await, CandidateKind::Relay);
    hidden.path.close().await;
    open.path.close().await;
    server.close().await.unwrap();
}

#[tokio::test]
async fn ends_that_may_go_direct_do_although_there_is_a_relay() {
    let (server, url) = relay().await;
    let mut one = End::open(config(&url, IcePolicy::All)).await;
    let mut two = End::open(config(&url, IcePolicy::All)).await;
    negotiate(&mut one, &mut two, false).await;
    one.path.send_voice(packet(1)).unwrap();
    tokio::time::timeout(LIMIT, two.voice()).await.unwrap();
    assert_eq!(local_kind(&two.path).await, CandidateKind::Host);
    server.close().await.unwrap();
}

#[tokio::test]
async fn what_cannot_work_is_refused_at_once() {
    let refused = async |config| MediaPath::open(config).await.unwrap_err();
    let none = PathConfig { policy: IcePolicy::RelayOnly, ..PathConfig::default() };
    assert!(matches!(refused(none).await, OpenError::NoRelay));
    for url in ["turns:relay.example:5349", "turn:relay.example?transport=tcp", "relay.example"] {
        // With nothing but relays that cannot be used there is no way, and none is taken instead.
        assert!(matches!(refused(config(url, IcePolicy::RelayOnly)).await, OpenError::NoRelay), "{url}");
    }
    let shown = format!("{:?}", config("turn:relay.example", IcePolicy::All));
    assert!(shown.contains("relay.example") && !shown.contains(PASSWORD) && !shown.contains(USER), "{shown}");
}
