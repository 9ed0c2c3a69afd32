//! Paths over the machine's real sockets.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use rtc::stun::message::{BINDING_SUCCESS, Message};
use rtc::stun::xoraddr::XorMappedAddress;
use rtc_transport::runtime::LocalAddresses;
use rtc_transport::{
    Candidate, CandidateKind, Interfaces, MediaPath, OpenError, PathConfig, PathEvent, PathState, Rebound, TurnServer,
};
use world::{End, number, packet};

/// Far beyond what anything here takes; only a failure waits for it.
const LIMIT: Duration = Duration::from_secs(20);

fn config() -> PathConfig {
    PathConfig { interfaces: Interfaces::Loopback, ..PathConfig::default() }
}

/// Connects two ends, passing on the candidates that `wanted` lets through.
async fn connect(caller: &mut End, callee: &mut End, wanted: fn(&Candidate) -> bool) {
    let offer = caller.path.create_offer().await.unwrap();
    let answer = callee.path.accept_offer(&offer).await.unwrap();
    caller.path.accept_answer(&answer).await.unwrap();
    let (to_callee, to_caller) = (callee.path.clone(), caller.path.clone());
    let both = async {
        tokio::join!(until_connected(caller, &to_callee, wanted), until_connected(callee, &to_caller, wanted))
    };
    tokio::time::timeout(LIMIT, both).await.expect("they connect");
}

async fn until_connected(end: &mut End, other: &MediaPath, wanted: fn(&Candidate) -> bool) {
    loop {
        match end.events.recv().await.expect("the path is open") {
            PathEvent::LocalCandidate(candidate) if wanted(&candidate) => other.add_candidate(candidate).await.unwrap(),
            PathEvent::StateChanged(PathState::Connected) => return,
            PathEvent::StateChanged(PathState::Failed | PathState::Closed) => panic!("not connected"),
            _ => {}
        }
    }
}

async fn voice_flows(caller: &mut End, callee: &mut End) {
    let (callers, callees) = (caller.path.clone(), callee.path.clone());
    for (from, to) in [(callers, callee), (callees, caller)] {
        for n in 0..5 {
            from.send_voice(packet(n)).unwrap();
        }
        for n in 0..5 {
            assert_eq!(number(&to.voice().await), n);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_paths_connect_speak_and_close() {
    let (mut caller, mut callee) = (End::open(config()).await, End::open(config()).await);
    connect(&mut caller, &mut callee, |_| true).await;
    voice_flows(&mut caller, &mut callee).await;
    let stats = caller.path.stats();
    assert!(stats.rtt_ms.is_some_and(|rtt| rtt < 1_000.0), "{stats:?}");
    assert_eq!((stats.outgoing.packets, stats.incoming.packets), (5, 5));
    caller.path.close().await;
    let other = caller.path.clone();
    let told = callee.until(PathState::Closed, &other, Duration::ZERO);
    assert!(tokio::time::timeout(LIMIT, told).await.expect("it is told"));
}

#[tokio::test]
async fn the_addresses_of_the_machine_work_too() {
    let all = PathConfig { interfaces: Interfaces::All, ..PathConfig::default() };
    let (mut caller, mut callee) = (End::open(all.clone()).await, End::open(all).await);
    connect(&mut caller, &mut callee, |candidate| {
        assert!(!candidate.candidate.contains(" 0.0.0.0 "), "{}", candidate.candidate);
        true
    })
    .await;
    voice_flows(&mut caller, &mut callee).await;
}

/// A machine whose address changes, as from Wi-Fi to mobile.
#[derive(Debug)]
struct Roaming(AtomicU8);

impl LocalAddresses for Roaming {
    fn addresses(&self) -> Vec<IpAddr> {
        vec![[127, 0, 0, self.0.load(Ordering::Relaxed)].into()]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(target_os = "linux")]
async fn real_sockets_are_replaced_under_a_path_and_by_a_restart() {
    let roaming = Arc::new(Roaming(AtomicU8::new(11)));
    let moving = PathConfig { interfaces: Interfaces::Source(roaming.clone()), ..PathConfig::default() };
    let (mut caller, mut callee) = (End::open(moving).await, End::open(config()).await);
    connect(&mut caller, &mut callee, |_| true).await;
    voice_flows(&mut caller, &mut callee).await;
    for address in [12, 13] {
        roaming.0.store(address, Ordering::Relaxed);
        // On a busy machine the answer may take longer than a path waits for it.
        let rebound = async { while caller.path.rebind().await != Rebound::Answered {} };
        tokio::time::timeout(LIMIT, rebound).await.expect("the other end answers the new socket");
        // The other end has asked back and been answered by then, or is about to.
        loop {
            callee.path.send_voice(packet(0)).unwrap();
            if let Ok(voice) = tokio::time::timeout(Duration::from_millis(20), caller.voice()).await {
                assert_eq!(number(&voice), 0);
                break;
            }
        }
    }
    roaming.0.store(14, Ordering::Relaxed);
    let offer = caller.path.restart_ice().await.unwrap();
    let answer = callee.path.accept_offer(&offer).await.unwrap();
    caller.path.accept_answer(&answer).await.unwrap();
    let (to_callee, to_caller) = (callee.path.clone(), caller.path.clone());
    let both = async {
        tokio::join!(
            until_connected(&mut caller, &to_callee, |candidate| candidate.candidate.contains("127.0.0.14")),
            until_connected(&mut callee, &to_caller, |_| true)
        )
    };
    tokio::time::timeout(LIMIT, both).await.expect("they connect over the new address");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forty_pairs_connect_at_once() {
    let pairs = (0..40).map(|_| {
        tokio::spawn(async {
            let (mut caller, mut callee) = (End::open(config()).await, End::open(config()).await);
            connect(&mut caller, &mut callee, |_| true).await;
            voice_flows(&mut caller, &mut callee).await;
            caller.path.close().await;
            callee.path.close().await;
        })
    });
    for pair in pairs.collect::<Vec<_>>() {
        pair.await.unwrap();
    }
}

/// Answers binding requests with the address they come from (RFC 8489) until the test ends.
fn stun_server() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buf = [0; 1_500];
        while let Ok((len, from)) = socket.recv_from(&mut buf) {
            let mut request = Message { raw: buf[..len].to_vec(), ..Message::default() };
            if request.decode().is_err() {
                continue;
            }
            let mapped = XorMappedAddress { ip: from.ip(), port: from.port() };
            let mut response = Message::new();
            response.build(&[Box::new(request.transaction_id), Box::new(BINDING_SUCCESS), Box::new(mapped)]).unwrap();
            let _ = socket.send_to(&response.raw, from);
        }
    });
    address
}

#[tokio::test]
async fn the_address_a_stun_server_tells_is_enough_to_connect() {
    let stun = format!("stun:localhost:{}", stun_server().port());
    let with_stun = PathConfig { stun_servers: vec![stun], ..config() };
    let (mut caller, mut callee) = (End::open(with_stun.clone()).await, End::open(with_stun).await);
    connect(&mut caller, &mut callee, |candidate| candidate.candidate.contains("typ srflx")).await;
    voice_flows(&mut caller, &mut callee).await;
}

#[tokio::test]
async fn a_dead_or_unknown_stun_server_delays_nothing() {
    let silent = UdpSocket::bind("127.0.0.1:0").unwrap();
    let dead = format!("stun:{}", silent.local_addr().unwrap());
    let stun_servers = vec![dead, "stun:no-such-host.invalid".to_owned()];
    let with_stun = PathConfig { stun_servers, ..config() };
    let (mut caller, mut callee) = (End::open(with_stun.clone()).await, End::open(with_stun).await);
    let started = std::time::Instant::now();
    connect(&mut caller, &mut callee, |_| true).await;
    assert!(started.elapsed() < Duration::from_secs(5), "host candidates do not wait for the server");
    assert!(matches!(caller.path.stats().selected.map(|pair| pair.local), None | Some(CandidateKind::Host)));
}

#[tokio::test]
async fn servers_of_kinds_that_are_not_supported_are_left_out_and_the_others_are_used() {
    let stun = format!("stun:localhost:{}", stun_server().port());
    let unusable = ["stuns:example.org", "turn:example.org", "stun:", "example.org:3478", "", "quic:x", "stun:x?a=b"];
    let relays = ["turns:example.org:5349", "turn:example.org?transport=tcp", "example.org", "stun:example.org"];
    let relay = |url: &str| TurnServer { url: url.to_owned(), username: "u".to_owned(), credential: "c".to_owned() };
    let config = PathConfig {
        stun_servers: unusable.iter().map(|url| (*url).to_owned()).chain([stun]).collect(),
        turn_servers: relays.iter().map(|url| relay(url)).collect(),
        ..config()
    };
    let (mut caller, mut callee) = (End::open(config.clone()).await, End::open(config).await);
    connect(&mut caller, &mut callee, |candidate| candidate.candidate.contains("typ srflx")).await;
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let nowhere = PathConfig { interfaces: Interfaces::Addresses(vec![]), ..PathConfig::default() };
    assert!(matches!(MediaPath::open(nowhere).await, Err(OpenError::NoAddress)));
    // An address of a documentation net (RFC 5737), which no machine has.
    let foreign = Interfaces::Addresses(vec![[192, 0, 2, 1].into()]);
    let foreign = PathConfig { interfaces: foreign, ..PathConfig::default() };
    assert!(matches!(MediaPath::open(foreign).await, Err(OpenError::Engine(_))));
}
