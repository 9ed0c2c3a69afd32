//! A stranger without keys beside two phones, over the simulated network in virtual time: whatever is sent, the call
//! goes on, and what both ends keep and send stays within a bound.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod memory;
mod world;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rtc_transport::runtime::{AsyncUdpSocket, Runtime};
use rtc_transport::simulated::{Host, Link, Network, Overheard, pass};
use rtc_transport::{Candidate, PathState};
use world::{Call, call, hearing, ms, packet, speak};

const LIMIT: Duration = Duration::from_secs(20);
const MINUTE: Duration = Duration::from_secs(60);

/// SplitMix64, as the network has it.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

/// Somebody who hears all of the network and may send from any address, and knows no key.
struct Stranger {
    network: Network,
    host: Arc<Host>,
    victims: [Arc<Host>; 2],
    chance: Chance,
    recorded: Vec<Overheard>,
    /// Sends no records of a handshake in the name of the true other end, which an end believes until it is over.
    spares_handshake: bool,
}

const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xA4, 0x42];

/// A STUN message of these attributes.
fn stun(kind: u16, transaction: &[u8], attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = vec![];
    for (kind, value) in attributes {
        body.extend(kind.to_be_bytes());
        body.extend((value.len() as u16).to_be_bytes());
        body.extend(value);
        body.resize(body.len().next_multiple_of(4), 0);
    }
    [&kind.to_be_bytes()[..], &(body.len() as u16).to_be_bytes(), &STUN_COOKIE, transaction, &body].concat()
}

/// A DTLS record with a handshake message of this kind, number and body, which says that it is the first of `length` bytes.
fn handshake(record: u64, kind: u8, number: u16, length: u32, body: &[u8]) -> Vec<u8> {
    let mut datagram = vec![22, 0xFE, 0xFD, 0, 0];
    datagram.extend(&record.to_be_bytes()[2..]);
    datagram.extend((12 + body.len() as u16).to_be_bytes());
    datagram.push(kind);
    datagram.extend(&length.to_be_bytes()[1..]);
    datagram.extend(number.to_be_bytes());
    datagram.extend([0; 3]);
    datagram.extend(&(body.len() as u32).to_be_bytes()[1..]);
    datagram.extend(body);
    datagram
}

impl Stranger {
    fn beside(call: &Call, seed: u64) -> Stranger {
        call.network.overhear();
        let (network, victims) = (call.network.clone(), [call.alice.clone(), call.bob.clone()]);
        Stranger {
            host: network.host(),
            network,
            victims,
            chance: Chance(seed),
            recorded: vec![],
            spares_handshake: false,
        }
    }

    fn address(&mut self, of: usize) -> SocketAddr {
        self.network.sockets(&self.victims[of])[0]
    }

    /// One of the addresses a stranger may claim: its own, one of many, that of the true other end.
    fn claimed(&mut self, victim: usize) -> SocketAddr {
        match self.chance.below(3) {
            0 => SocketAddr::new(self.host.address(), 4_000),
            1 => SocketAddr::new(
                [198, 51, 100, self.chance.below(256) as u8].into(),
                1 + self.chance.below(65_535) as u16,
            ),
            _ => self.address(1 - victim),
        }
    }

    /// What is sent when nothing is known but the protocols.
    fn made_up(&mut self) -> Vec<u8> {
        let chance = &mut self.chance;
        let transaction = chance.bytes(12);
        let (record, number) = (chance.next() % 4_096, chance.below(12) as u16);
        let username = (0x0006, b"them:us".to_vec());
        let seal = (0x0008, chance.bytes(20));
        match chance.below(13) {
            0 => vec![chance.next() as u8],
            1 => {
                let length = chance.below(200);
                chance.bytes(length + 1)
            }
            2 => stun(0x0001, &transaction, &[username]),
            3 => stun(0x0001, &transaction, &[username, (0x0025, vec![]), (0x802A, chance.bytes(8)), seal]),
            4 => stun(0x0101, &transaction, &[(0x0020, chance.bytes(8)), seal]),
            5 => stun(0x0011, &transaction, &[]),
            6 => stun(0x0017, &transaction, &[(0x0013, handshake(record, 1, 0, 40, &[0; 40]))]),
            7 => {
                let (kind, body) = ([1, 2, 3, 11, 12, 13, 14, 15, 16, 20][chance.below(10)], chance.below(80));
                handshake(record, kind, number, 100, &chance.bytes(body))
            }
            8 => handshake(record, 11, chance.next() as u16, 0x00FF_FFFF, &[]),
            9 => vec![21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, record as u8, 0, 2, 2, [0, 20, 40, 50][chance.below(4)]],
            10 => [&[21, 0xFE, 0xFD, 0, 1, 0, 0, 0, 0, 0, 9, 0, 26][..], &chance.bytes(26)].concat(),
            11 => [&[0x40, 0x01, 0, 40][..], &chance.bytes(40)].concat(),
            _ => [&[0x80, [111, 200, 201, 204][chance.below(4)]][..], &chance.bytes(60)].concat(),
        }
    }

    /// Records what goes over the network.
    fn listen(&mut self) {
        const RECORDED: usize = 512;
        for datagram in self.network.overhear() {
            // Many of those that are rare, and some of the voice.
            let voice = (128..192).contains(&datagram.bytes[0]);
            if self.recorded.len() < RECORDED && !voice {
                self.recorded.push(datagram);
            } else if self.chance.below(8) == 0 && !self.recorded.is_empty() {
                let at = self.chance.below(self.recorded.len());
                self.recorded[at] = datagram;
            }
        }
    }

    /// Sends something to one of the two.
    fn strike(&mut self) {
        let victim = self.chance.below(2);
        let (to, mut from) = (self.address(victim), self.claimed(victim));
        let known = self.recorded.len();
        let bytes = match known > 0 && self.chance.below(3) == 0 {
            true => {
                let at = self.chance.below(known);
                let Overheard { from: said, bytes, .. } = self.recorded[at].clone();
                from = if self.chance.below(3) == 0 { said } else { from };
                bytes
            }
            false => self.made_up(),
        };
        if self.spares_handshake && from == self.address(1 - victim) && (20..64).contains(&bytes[0]) {
            return;
        }
        self.network.inject(&self.host, &Overheard { from, to, bytes });
    }

    /// Strikes again and again.
    async fn strike_for(mut self, duration: Duration, each_ms: usize) {
        let end = tokio::time::Instant::now() + duration;
        while tokio::time::Instant::now() < end {
            self.listen();
            (0..each_ms).for_each(|_| self.strike());
            pass(ms(1)).await;
        }
    }
}

/// Both speak for two seconds, and hear nearly all of it.
async fn both_are_heard(call: &mut Call, from: u32) {
    let (caller, callee) = (call.caller.path.clone(), call.callee.path.clone());
    let both = async { tokio::join!(speak(&caller, from, from + 100), speak(&callee, from, from + 100)) };
    let (at_callee, at_caller) =
        tokio::join!(hearing(&mut call.callee, ms(2_300), both), hearing(&mut call.caller, ms(2_300), pass(ms(0))));
    assert!(at_callee.len() >= 95 && at_caller.len() >= 95, "of 100: {} and {}", at_callee.len(), at_caller.len());
}

fn nobody_noticed(call: &mut Call) {
    assert_eq!((call.caller.heard().0, call.callee.heard().0), (vec![], vec![]), "both stay connected");
}

/// What a phone may send for a minute's worth of strangers, beside what it sends anyway.
const MORE_BYTES: u64 = 250_000;
/// What both phones may keep of a minute's worth of strangers, and the network with them.
const MORE_MEMORY: i64 = 200_000;

/// Silent, talking, and silent again: what each has sent, and what is kept in the end.
async fn minute(call: &mut Call, strangers: Option<Stranger>) -> ([u64; 2], i64) {
    let network = call.network.clone();
    let (alice, bob) = (call.alice.clone(), call.bob.clone());
    let sent = || [network.sent(&alice).bytes, network.sent(&bob).bytes];
    let (sent_before, kept_before) = (sent(), memory::live());
    let strike = strangers.map(|stranger| tokio::spawn(stranger.strike_for(MINUTE, 1)));
    pass(ms(20_000)).await;
    nobody_noticed(call);
    let (caller, callee) = (call.caller.path.clone(), call.callee.path.clone());
    tokio::join!(speak(&caller, 0, 900), speak(&callee, 0, 900));
    let heard = [&mut call.caller, &mut call.callee].map(|end| end.path.stats().incoming.packets);
    assert!(heard.iter().all(|packets| *packets >= 880), "of 900: {heard:?}");
    nobody_noticed(call);
    pass(ms(22_100)).await;
    if let Some(strike) = strike {
        strike.await.unwrap();
    }
    nobody_noticed(call);
    network.overhear();
    let (sent_after, kept) = (sent(), memory::live() - kept_before);
    (std::array::from_fn(|n| sent_after[n] - sent_before[n]), kept)
}

#[test]
fn whatever_a_stranger_sends_for_a_minute_the_call_goes_on() {
    for seed in 0..2 {
        let link = Link::delayed(ms(30));
        let (quiet, _) = call(seed, link, async |mut call| {
            call.connect(LIMIT).await.unwrap();
            minute(&mut call, None).await
        });
        call(seed, link, async |mut call| {
            call.connect(LIMIT).await.unwrap();
            pass(ms(700)).await;
            nobody_noticed(&mut call);
            let stranger = Stranger::beside(&call, seed);
            let (sent, kept) = minute(&mut call, Some(stranger)).await;
            for (sent, quiet) in sent.iter().zip(quiet) {
                assert!(*sent <= quiet + MORE_BYTES, "seed {seed}: {sent} bytes instead of {quiet}");
            }
            assert!(kept <= MORE_MEMORY, "seed {seed}: {kept} bytes more are kept");
            both_are_heard(&mut call, 10_000).await;
        });
    }
}

#[test]
fn two_connect_while_a_stranger_sends_whatever_there_is() {
    for seed in 0..20 {
        call(seed, Link::delayed(ms(30)), async |mut call| {
            let stranger = Stranger { spares_handshake: true, ..Stranger::beside(&call, seed) };
            let (network, alice, bob) = (call.network.clone(), call.alice.clone(), call.bob.clone());
            let strike = tokio::spawn(stranger.strike_for(ms(5_000), 1));
            let connected = call.connect(LIMIT).await;
            assert!(connected.is_some(), "seed {seed}: {:?}", [call.caller.heard().0, call.callee.heard().0]);
            strike.await.unwrap();
            nobody_noticed(&mut call);
            let sent = [&alice, &bob].map(|host| network.sent(host).bytes);
            assert!(sent.iter().all(|bytes| *bytes < 60_000), "seed {seed}: {sent:?} in five seconds");
            both_are_heard(&mut call, 0).await;
        });
    }
}

/// A socket of the stranger, on which what comes can be passed on.
fn socket(host: &Arc<Host>) -> Arc<dyn AsyncUdpSocket> {
    host.wrap_udp_socket(std::net::UdpSocket::bind((host.address(), 0)).unwrap()).unwrap()
}

#[test]
fn a_stranger_who_passes_checks_on_does_not_draw_a_silent_call_to_itself() {
    call(1, Link::delayed(ms(50)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        pass(ms(2_000)).await;
        nobody_noticed(&mut call);
        let stranger = call.network.host();
        let socket = socket(&stranger);
        let (a, b) = (call.network.sockets(&call.alice)[0], call.network.sockets(&call.bob)[0]);
        // Two datagrams a second to each that could be media, and what comes back goes to the other one.
        let relay = tokio::spawn({
            let socket = socket.clone();
            async move {
                let mut buffer = [0; 2_000];
                let mut passed = 0;
                loop {
                    tokio::select! {
                        received = socket.recv_from(&mut buffer) => {
                            let (length, from) = received.unwrap();
                            let to = if from == a { b } else { a };
                            socket.send_to(&buffer[..length], to).await.unwrap();
                            passed += 1;
                        }
                        () = pass(ms(500)) => {
                            socket.send_to(&[0x80], a).await.unwrap();
                            socket.send_to(&[0x80], b).await.unwrap();
                        }
                    }
                    if passed > 10_000 {
                        return;
                    }
                }
            }
        });
        pass(ms(30_000)).await;
        relay.abort();
        drop(socket);
        assert_eq!(call.network.counts(&call.alice, &stranger).sent, 0, "it is not even asked");
        both_are_heard(&mut call, 0).await;
        nobody_noticed(&mut call);
    });
}

#[test]
fn a_stranger_who_passes_on_what_is_encrypted_faster_than_the_network_gains_a_moment_at_most() {
    call(2, Link::delayed(ms(50)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        pass(ms(2_000)).await;
        nobody_noticed(&mut call);
        let stranger = call.network.host();
        let socket = socket(&stranger);
        let here = socket.local_addr().unwrap();
        let (a, b) = (call.network.sockets(&call.alice)[0], call.network.sockets(&call.bob)[0]);
        let network = call.network.clone();
        network.overhear();
        let relay = tokio::spawn(async move {
            let mut buffer = [0; 2_000];
            loop {
                // All that goes over the network comes a second time from the stranger, before the original.
                for Overheard { to, bytes, .. } in network.overhear() {
                    if to == a || to == b {
                        network.inject(&stranger, &Overheard { from: here, to, bytes });
                    }
                }
                tokio::select! {
                    received = socket.recv_from(&mut buffer) => {
                        let (length, from) = received.unwrap();
                        // A check that asks the stranger goes on in the name of who asked, and is answered to them.
                        let (to, bytes) = (if from == a { b } else { a }, buffer[..length].to_vec());
                        network.inject(&stranger, &Overheard { from, to, bytes });
                    }
                    () = pass(ms(1)) => {}
                }
            }
        });
        let (caller, callee) = (call.caller.path.clone(), call.callee.path.clone());
        tokio::join!(speak(&caller, 0, 1_000), speak(&callee, 0, 1_000));
        relay.abort();
        pass(ms(300)).await;
        let heard = [&call.caller, &call.callee].map(|end| end.path.stats().incoming.packets);
        assert!(heard.iter().all(|packets| *packets >= 970), "of 1000: {heard:?}");
        nobody_noticed(&mut call);
        both_are_heard(&mut call, 2_000).await;
    });
}

/// Hundreds of addresses, all of one victim.
fn candidates(count: u16) -> impl Iterator<Item = String> {
    (0..count).map(|n| format!("candidate:1 1 udp 2130706431 198.51.100.9 {} typ host", 10_000 + n))
}

#[test]
fn an_offer_with_hundreds_of_candidates_makes_a_phone_send_little() {
    for in_description in [true, false] {
        call(3, Link::delayed(ms(50)), async |mut call| {
            let mut offer = call.caller.path.create_offer().await.unwrap();
            if in_description {
                candidates(550).for_each(|candidate| offer.push_str(&format!("a={candidate}\r\n")));
            }
            let before = call.network.sent(&call.bob);
            call.callee.path.accept_offer(&offer).await.unwrap();
            if !in_description {
                for candidate in candidates(550) {
                    call.callee.path.add_candidate(Candidate { candidate, ..Candidate::default() }).await.unwrap();
                }
            }
            let mut seconds = vec![];
            for _ in 0..15 {
                let before = call.network.sent(&call.bob).bytes;
                pass(ms(1_000)).await;
                seconds.push(call.network.sent(&call.bob).bytes - before);
            }
            let sent = call.network.sent(&call.bob).bytes - before.bytes;
            assert!(sent > 0, "it does send checks");
            assert!(seconds.iter().all(|bytes| *bytes <= 26_000), "200 checks a second at most: {seconds:?}");
            assert!(seconds[3..].iter().all(|bytes| *bytes <= 6_500), "then 50: {seconds:?}");
            call.callee.heard();
        });
    }
}

#[test]
fn records_of_a_handshake_that_is_over_are_neither_kept_nor_answered() {
    call(4, Link::delayed(ms(30)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        pass(ms(2_000)).await;
        let stranger = call.network.host();
        let (a, b) = (call.network.sockets(&call.alice)[0], call.network.sockets(&call.bob)[0]);
        let strike = async |count: u64| {
            for n in 0..count {
                let bytes = handshake(n + 100, 11, 20 + (n % 60_000) as u16, 1_000, &[7; 900]);
                for (from, to) in [(a, b), (b, a), (SocketAddr::new(stranger.address(), 9), a)] {
                    call.network.inject(&stranger, &Overheard { from, to, bytes: bytes.clone() });
                }
                if n % 8 == 0 {
                    pass(ms(1)).await;
                }
            }
            pass(ms(500)).await;
        };
        strike(100).await;
        let before = memory::live();
        strike(10_000).await;
        let kept = memory::live() - before;
        assert!(kept < 50_000, "{kept} bytes of 30,000 datagrams are kept");
        both_are_heard(&mut call, 0).await;
    });
}

#[test]
fn two_bytes_do_not_start_an_endless_exchange_of_last_flights() {
    call(5, Link::delayed(ms(30)), async |mut call| {
        call.network.overhear();
        call.connect(LIMIT).await.unwrap();
        let flights: Vec<Overheard> =
            call.network.overhear().into_iter().filter(|datagram| matches!(datagram.bytes[0], 20..=22)).collect();
        assert!(flights.len() >= 4);
        let stranger = call.network.host();
        // At once and later, one byte twice and every flight there was.
        for wait in [0, 5_000] {
            pass(ms(wait)).await;
            let before = [&call.alice, &call.bob].map(|host| call.network.sent(host).bytes);
            let (a, b) = (call.network.sockets(&call.alice)[0], call.network.sockets(&call.bob)[0]);
            for (from, to) in [(a, b), (b, a), (a, b), (b, a)] {
                call.network.inject(&stranger, &Overheard { from, to, bytes: vec![22] });
            }
            flights.iter().for_each(|flight| call.network.inject(&stranger, flight));
            pass(MINUTE).await;
            let sent = [&call.alice, &call.bob].map(|host| call.network.sent(host).bytes);
            for (sent, before) in sent.iter().zip(before) {
                assert!(sent - before < 40_000, "{} bytes in a minute of silence", sent - before);
            }
        }
        nobody_noticed(&mut call);
    });
}

#[test]
fn hundreds_of_datagrams_from_hundreds_of_addresses_are_answered_by_nothing() {
    call(6, Link::delayed(ms(30)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        pass(ms(2_000)).await;
        let stranger = call.network.host();
        let to = call.network.sockets(&call.alice)[0];
        let quiet = async || {
            let before = call.network.sent(&call.alice).datagrams;
            pass(ms(10_000)).await;
            call.network.sent(&call.alice).datagrams - before
        };
        let usual = quiet().await;
        for n in 0..300u16 {
            let from = SocketAddr::new([198, 51, 100, (n % 250) as u8].into(), 1_000 + n);
            for bytes in [vec![0x80], vec![0], vec![22], stun(0x0001, &[n as u8; 12], &[(0x0006, b"a:b".to_vec())])] {
                call.network.inject(&stranger, &Overheard { from, to, bytes });
            }
        }
        let after = quiet().await;
        assert!(after <= usual + 2, "{after} datagrams instead of {usual}");
        let (states, _) = call.caller.heard();
        assert_eq!(states, [], "it stays connected");
    });
}

#[test]
fn made_up_media_sources_are_not_kept() {
    call(7, Link::delayed(ms(30)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        pass(ms(2_000)).await;
        let stranger = call.network.host();
        let (a, b) = (call.network.sockets(&call.alice)[0], call.network.sockets(&call.bob)[0]);
        let strike = async |first: u32, count: u32| {
            for n in first..first + count {
                for (kind, at) in [(111, 8), (201, 4)] {
                    let mut bytes = vec![0x80, kind, 0, 12];
                    bytes.resize(at, 0);
                    bytes.extend(n.to_be_bytes());
                    bytes.resize(60, 0);
                    for from in [a, SocketAddr::new(stranger.address(), 9)] {
                        call.network.inject(&stranger, &Overheard { from, to: b, bytes: bytes.clone() });
                    }
                }
                if n % 8 == 0 {
                    pass(ms(1)).await;
                }
            }
            pass(ms(500)).await;
        };
        strike(0, 100).await;
        let before = memory::live();
        strike(1_000, 5_000).await;
        let kept = memory::live() - before;
        assert!(kept < 50_000, "{kept} bytes are kept of 20,000 packets");
        both_are_heard(&mut call, 0).await;
    });
}

#[test]
fn ends_with_dozens_of_addresses_connect_and_send_little_until_then() {
    for (seed, bridges) in [(8, 16), (9, 24), (10, 40)] {
        let link = Link::delayed(ms(20));
        let network = Network::new(seed);
        rtc_transport::simulated::run(async {
            let (alice, bob) = (network.host(), network.host());
            network.connect(&alice, &bob, link);
            alice.has_bridges(bridges);
            bob.has_bridges(bridges);
            let caller = world::End::open(alice.path_config()).await;
            let callee = world::End::open(bob.path_config()).await;
            let mut call = Call {
                network: network.clone(),
                alice: alice.clone(),
                bob: bob.clone(),
                caller,
                callee,
                signalling: ms(20),
            };
            let (caller, callee) = call.connect(LIMIT).await.unwrap();
            assert!(caller.max(callee) < ms(1_000), "{bridges} more: {caller:?} {callee:?}");
            for host in [&alice, &bob] {
                let sent = network.sent(host);
                assert!(sent.datagrams < 300, "{bridges} more: {} datagrams", sent.datagrams);
                assert!(network.sockets(host).len() <= 8);
            }
            both_are_heard(&mut call, 0).await;
        });
    }
}

#[test]
fn a_silent_end_that_moves_is_still_followed() {
    call(11, Link::delayed(ms(50)), async |mut call| {
        call.alice.behind_nat();
        call.connect(LIMIT).await.unwrap();
        pass(ms(5_000)).await;
        for _ in 0..5 {
            call.alice.renumber();
            pass(ms(900)).await;
            call.callee.path.send_voice(packet(0)).unwrap();
            pass(ms(60)).await;
            assert_eq!(call.caller.heard().1.len(), 1);
        }
        let (states, _) = call.callee.heard();
        assert!(states.iter().all(|state| *state == PathState::Connected), "{states:?}");
    });
}
