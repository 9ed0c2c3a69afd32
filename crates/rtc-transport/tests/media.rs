//! Voice, statistics, ICE restart, silence and closing, over the simulated network in virtual time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::collections::HashSet;
use std::time::Duration;

use rtc_transport::runtime::Runtime;
use rtc_transport::simulated::{Link, pass, run};
use rtc_transport::{
    Candidate, CandidateKind, MAX_PAYLOAD, NegotiationError, PathConfig, PathEvent, PathState, Protocol, SelectedPair,
    SendError,
};
use world::{Call, End, call, hearing, ms, number, packet, speak};

const LIMIT: Duration = Duration::from_secs(10);

#[test]
fn voice_arrives_as_it_was_sent_both_ways() {
    call(1, Link::delayed(ms(50)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        let (caller, callee) = (call.caller.path.clone(), call.callee.path.clone());
        tokio::join!(speak(&caller, 0, 100), speak(&callee, 1_000, 1_100));
        pass(ms(100)).await;
        for (end, first) in [(&mut call.callee, 0), (&mut call.caller, 1_000)] {
            let (_, voices) = end.heard();
            let numbers: Vec<u32> = voices.iter().map(number).collect();
            assert_eq!(numbers, (first..first + 100).collect::<Vec<_>>());
            for pair in voices.windows(2) {
                assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1));
                assert_eq!(pair[1].arrival - pair[0].arrival, ms(20), "the instant is that of the arrival");
                assert_eq!(pair[1].ssrc, pair[0].ssrc);
            }
        }
    });
}

#[test]
fn the_very_first_packet_is_heard_though_it_comes_with_the_end_of_the_handshake() {
    call(13, Link::delayed(ms(50)), async |mut call| {
        let offer = call.caller.path.create_offer().await.unwrap();
        let answer = call.callee.path.accept_offer(&offer).await.unwrap();
        call.caller.path.accept_answer(&answer).await.unwrap();
        let (caller, callee) = (call.caller.path.clone(), call.callee.path.clone());
        let speaking = async {
            assert!(call.caller.until(PathState::Connected, &callee, ms(0)).await);
            speak(&caller, 0, 3).await;
        };
        tokio::join!(speaking, call.callee.until(PathState::Connected, &caller, ms(0)));
        assert_eq!(number(&call.callee.voice().await), 0);
    });
}

#[test]
fn what_the_network_doubles_or_reorders_is_delivered_once_each() {
    let link = Link { duplicates: 0.3, ..Link::delayed(ms(50)).with_jitter(ms(60)) };
    call(2, link, async |mut call| {
        call.connect(LIMIT).await.unwrap();
        let caller = call.caller.path.clone();
        let voices = hearing(&mut call.callee, ms(200), speak(&caller, 0, 500)).await;
        let numbers: Vec<u32> = voices.iter().map(number).collect();
        assert!(numbers.windows(2).any(|pair| pair[1] < pair[0]), "the order of arrival is kept");
        assert_eq!(numbers.iter().collect::<HashSet<_>>().len(), 500);
        assert_eq!(numbers.len(), 500);
        assert_eq!(call.callee.path.stats().incoming.lost, 0);
    });
}

#[test]
fn statistics_tell_what_the_network_does() {
    let link = Link { jitter: ms(12), ..Link::delayed(ms(50)).with_loss(0.05) };
    call(3, link, async |mut call| {
        call.connect(LIMIT).await.unwrap();
        let (caller, callee) = (call.caller.path.clone(), call.callee.path.clone());
        let before = call.network.counts(&call.alice, &call.bob);
        tokio::join!(speak(&caller, 0, 3_000), speak(&callee, 0, 3_000));
        let after = call.network.counts(&call.alice, &call.bob);
        let lost = (after.lost - before.lost) as f32 / (after.sent - before.sent) as f32;
        let (sent, heard) = (caller.stats(), callee.stats());

        let rtt = sent.rtt_ms.unwrap();
        assert!((100.0..126.0).contains(&rtt), "two ways of 50 to 62 ms: {rtt}");
        assert_eq!((sent.outgoing.packets, sent.outgoing.bytes), (3_000, 240_000));
        assert!(sent.outgoing.bitrate.abs_diff(32_000) < 400, "80 bytes each 20 ms: {}", sent.outgoing.bitrate);
        let incoming = heard.incoming;
        // What is lost at the very end nobody can know of.
        assert!((2_990..=3_000).contains(&(incoming.packets + incoming.lost)), "{incoming:?}");
        let loss = incoming.lost as f32 / 3_000.0;
        assert!((loss - lost).abs() < 0.012, "counted {loss}, the link lost {lost}");
        assert!((incoming.loss_fraction - 0.05).abs() < 0.05, "of the last 250: {}", incoming.loss_fraction);
        // Two delays evenly spread over 12 ms differ by 4 ms on average; queueing behind the one before takes some off.
        assert!((2.5..5.5).contains(&incoming.jitter_ms), "{}", incoming.jitter_ms);
        let remote_jitter = sent.outgoing.remote_jitter_ms.unwrap();
        assert!((2.0..6.0).contains(&remote_jitter), "{remote_jitter}");
        assert!(sent.outgoing.remote_lost_fraction.unwrap() < 0.2);

        let host = CandidateKind::Host;
        let selected = sent.selected.unwrap();
        assert!(matches!(
            selected,
            SelectedPair { local, remote, protocol: Protocol::Udp }
                if local == host && (remote == host || remote == CandidateKind::PeerReflexive)
        ));
        assert_eq!(sent.srtp_cipher.as_deref(), Some("SRTP_AEAD_AES_128_GCM"));
        assert!(sent.dtls_cipher.unwrap().contains("GCM"));
        assert_eq!((sent.dropped_outgoing, heard.dropped_incoming), (0, incoming.packets - 256), "nobody read them");
    });
}

#[test]
fn round_trip_time_is_known_at_once_and_follows_the_path() {
    call(4, Link::delayed(ms(50)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        let rtt = |call: &Call| call.caller.path.stats().rtt_ms.unwrap();
        assert!((99.0..106.0).contains(&rtt(&call)), "from the checks: {}", rtt(&call));
        call.network.connect(&call.alice, &call.bob, Link::delayed(ms(150)));
        let (caller, callee) = (call.caller.path.clone(), call.callee.path.clone());
        tokio::join!(speak(&caller, 0, 200), speak(&callee, 0, 200));
        assert!((299.0..306.0).contains(&rtt(&call)), "from the reports: {}", rtt(&call));
    });
}

#[test]
fn an_ice_restart_finds_a_new_way_and_the_voice_goes_on() {
    call(5, Link::delayed(ms(20)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        let (caller, callee) = (call.caller.path.clone(), call.callee.path.clone());
        speak(&caller, 0, 10).await;
        pass(ms(50)).await;
        // Also when the callee is the one who asks for it.
        for callee_asks in [false, true] {
            let (from, to) = match callee_asks {
                false => (&mut call.caller, &mut call.callee),
                true => (&mut call.callee, &mut call.caller),
            };
            let offer = from.path.restart_ice().await.unwrap();
            let answer = to.path.accept_offer(&offer).await.unwrap();
            from.path.accept_answer(&answer).await.unwrap();
            let (a, b) = (from.path.clone(), to.path.clone());
            let moved = async {
                tokio::join!(from.until(PathState::Connected, &b, ms(20)), to.until(PathState::Connected, &a, ms(20)))
            };
            let moved = tokio::time::timeout(LIMIT, moved).await;
            assert!(moved.is_ok_and(|(from, to)| from && to), "callee asks: {callee_asks}");
        }
        call.callee.heard();
        speak(&caller, 10, 30).await;
        speak(&callee, 0, 20).await;
        pass(ms(100)).await;
        assert_eq!(call.callee.heard().1.iter().map(number).collect::<Vec<_>>(), (10..30).collect::<Vec<_>>());
        assert_eq!(call.caller.heard().1.len(), 20);
        assert_eq!(call.callee.path.stats().incoming.lost, 0);
    });
}

#[test]
fn a_cut_network_is_noticed_and_a_healed_one_too() {
    call(6, Link::delayed(ms(20)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        let cut = tokio::time::Instant::now();
        call.network.cut(&call.alice, &call.bob);
        let other = call.callee.path.clone();
        assert!(call.caller.until(PathState::Disconnected, &other, ms(0)).await);
        assert!((ms(2_000)..ms(3_600)).contains(&cut.elapsed()), "{:?}", cut.elapsed());
        call.network.connect(&call.alice, &call.bob, Link::delayed(ms(20)));
        let healed = tokio::time::Instant::now();
        assert!(call.caller.until(PathState::Connected, &other, ms(0)).await);
        assert!(healed.elapsed() < ms(1_500), "{:?}", healed.elapsed());
        call.network.cut(&call.alice, &call.bob);
        assert!(call.caller.until(PathState::Failed, &other, ms(0)).await);
        assert!((ms(15_000)..ms(22_000)).contains(&healed.elapsed()), "{:?}", healed.elapsed());
        assert_eq!(call.caller.path.send_voice(packet(0)), Err(SendError::NotConnected));
    });
}

#[test]
fn closing_tells_the_other_end_and_leaves_nothing() {
    call(7, Link::delayed(ms(20)), async |mut call| {
        call.connect(LIMIT).await.unwrap();
        assert_eq!(call.network.open_sockets(), 2);
        let closed = tokio::time::Instant::now();
        call.caller.path.close().await;
        call.caller.path.close().await;
        assert_eq!(call.caller.heard().0, [PathState::Closed]);
        assert!(call.caller.events.recv().await.is_none());
        assert_eq!(call.caller.path.send_voice(packet(0)), Err(SendError::Closed));
        assert!(matches!(call.caller.path.create_offer().await, Err(NegotiationError::Closed)));
        let other = call.caller.path.clone();
        assert!(call.callee.until(PathState::Closed, &other, ms(0)).await);
        assert!(closed.elapsed() < ms(100), "{:?}", closed.elapsed());
        call.callee.path.close().await;
        pass(ms(50)).await;
        assert_eq!((call.network.open_sockets(), call.network.running_tasks()), (0, 0));
    });
}

#[test]
fn dropping_the_handles_closes_too() {
    run(async {
        let mut call = Call::new(8, Link::default()).await;
        call.connect(LIMIT).await.unwrap();
        let Call { network, caller, callee, alice, .. } = call;
        drop((caller, callee));
        pass(ms(2_000)).await;
        assert_eq!((network.open_sockets(), network.running_tasks()), (0, 0));
        let unused = End::open(alice.path_config()).await;
        drop(unused);
        pass(ms(2_000)).await;
        assert_eq!((network.open_sockets(), network.running_tasks()), (0, 0));
    });
}

#[test]
fn candidates_before_the_description_wait_for_it_and_not_without_limit() {
    call(9, Link::default(), async |mut call| {
        let offer = call.caller.path.create_offer().await.unwrap();
        pass(ms(5)).await;
        let mut candidates = 0;
        while let Some(event) = call.caller.events.try_recv() {
            if let PathEvent::LocalCandidate(candidate) = event {
                call.callee.path.add_candidate(candidate).await.unwrap();
                candidates += 1;
            }
        }
        assert!(candidates > 0);
        // The caller never hears of the callee's candidates: its own, parked, must do.
        let answer = call.callee.path.accept_offer(&offer).await.unwrap();
        call.caller.path.accept_answer(&answer).await.unwrap();
        let silent = call.caller.path.clone();
        silent.close().await;
        let refused = async |end: &End| {
            for n in 0..100 {
                let line = format!("candidate:{n} 1 udp 2130706431 127.1.0.9 {} typ host", 1_000 + n);
                let candidate = Candidate { candidate: line, sdp_mid: Some("0".into()), ..Candidate::default() };
                if let Err(error) = end.path.add_candidate(candidate).await {
                    return Some((n, error));
                }
            }
            None
        };
        let fresh = End::open(call.alice.path_config()).await;
        assert!(matches!(refused(&fresh).await, Some((64, NegotiationError::TooManyCandidates))));
    });
}

#[test]
fn candidates_of_kinds_that_are_not_supported_are_left_out_wherever_they_stand() {
    const OTHERS: [&str; 5] = [
        "candidate:1 1 tcp 1518280447 127.1.0.9 9 typ host tcptype active generation 0",
        "candidate:2 1 udp 2122260223 6a3f3a34-6b8b-4cf8-9b3a-1d6e3f3a9c55.local 50000 typ host generation 0",
        "candidate:3 1 quic 2122260223 127.1.0.9 50000 typ host",
        "candidate:4 1 udp 2122260223 127.1.0.9 50000 typ tunnelled",
        "candidate:5 2 udp 2122260222 127.1.0.9 50001 typ host",
    ];
    call(14, Link::delayed(ms(20)), async |mut call| {
        for other in OTHERS {
            let candidate = Candidate { candidate: other.to_owned(), ..Candidate::default() };
            call.callee.path.add_candidate(candidate.clone()).await.unwrap();
            call.caller.path.add_candidate(candidate).await.unwrap();
        }
        let strewn = |sdp: &str| {
            let lines: String = OTHERS.iter().map(|other| format!("a={other}\r\n")).collect();
            format!("{sdp}{lines}a=candidate:not one\r\n")
        };
        let offer = strewn(&call.caller.path.create_offer().await.unwrap());
        let answer = strewn(&call.callee.path.accept_offer(&offer).await.unwrap());
        call.caller.path.accept_answer(&answer).await.unwrap();
        let (caller, callee) = (call.caller.path.clone(), call.callee.path.clone());
        let both = async {
            tokio::join!(
                call.caller.until(PathState::Connected, &callee, ms(20)),
                call.callee.until(PathState::Connected, &caller, ms(20))
            )
        };
        assert_eq!(tokio::time::timeout(LIMIT, both).await.unwrap(), (true, true));
        for other in OTHERS {
            let candidate = Candidate { candidate: other.to_owned(), ..Candidate::default() };
            call.caller.path.add_candidate(candidate).await.unwrap();
        }
        speak(&caller, 0, 5).await;
        assert_eq!(number(&call.callee.voice().await), 0);
    });
}

#[test]
fn bad_descriptions_and_payloads_are_refused_and_leave_the_path_usable() {
    call(10, Link::delayed(ms(10)), async |mut call| {
        for bad in ["", "v=0", "garbage\r\n", "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio x y z\r\n"] {
            assert!(matches!(call.callee.path.accept_offer(bad).await, Err(NegotiationError::Rejected(_))), "{bad:?}");
            assert!(call.callee.path.accept_answer(bad).await.is_err());
        }
        assert_eq!(call.caller.path.send_voice(packet(0)), Err(SendError::NotConnected));
        call.connect(LIMIT).await.unwrap();
        let mut large = packet(0);
        large.payload = vec![0; MAX_PAYLOAD + 1].into();
        assert_eq!(call.caller.path.send_voice(large), Err(SendError::TooLarge));
        let mut largest = packet(0);
        largest.payload = vec![7; MAX_PAYLOAD].into();
        call.caller.path.send_voice(largest).unwrap();
        assert_eq!(call.callee.voice().await.payload.len(), MAX_PAYLOAD);
        let wrong = Candidate { candidate: "candidate:nonsense".into(), ..Candidate::default() };
        assert!(matches!(call.caller.path.add_candidate(wrong).await, Err(NegotiationError::UnreadableCandidate)));
    });
}

#[test]
fn garbage_from_strangers_changes_nothing() {
    call(11, Link::delayed(ms(10)), async |mut call| {
        let stranger = call.network.host();
        let socket = std::net::UdpSocket::bind((stranger.address(), 0)).unwrap();
        let socket = stranger.wrap_udp_socket(socket).unwrap();
        let offer = call.caller.path.create_offer().await.unwrap();
        pass(ms(5)).await;
        let mut target = None;
        while let Some(event) = call.caller.events.try_recv() {
            if let PathEvent::LocalCandidate(candidate) = event {
                let words: Vec<&str> = candidate.candidate.split(' ').collect();
                target = Some(format!("{}:{}", words[4], words[5]).parse().unwrap());
                call.callee.path.add_candidate(candidate).await.unwrap();
            }
        }
        let target = target.unwrap();
        // STUN, DTLS and RTP look-alikes of every length, some with a header that claims more than there is.
        let volley = async || {
            for first in [0u8, 1, 20, 21, 22, 23, 63, 64, 128, 144, 200, 255] {
                for len in [1usize, 2, 12, 13, 20, 25, 60, 300, 1_400] {
                    let mut bytes: Vec<u8> = (0..len).map(|n| (n * 31 + usize::from(first)) as u8).collect();
                    bytes[0] = first;
                    if len >= 20 && first < 2 {
                        bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xA4, 0x42]);
                    }
                    if len >= 13 && first == 22 {
                        bytes[1..5].copy_from_slice(&[0xFE, 0xFD, 0, 0]);
                    }
                    socket.send_to(&bytes, target).await.unwrap();
                }
            }
        };
        volley().await;
        let answer = call.callee.path.accept_offer(&offer).await.unwrap();
        volley().await;
        call.caller.path.accept_answer(&answer).await.unwrap();
        let (caller, callee) = (call.caller.path.clone(), call.callee.path.clone());
        let both = async {
            tokio::join!(
                call.caller.until(PathState::Connected, &callee, ms(10)),
                call.callee.until(PathState::Connected, &caller, ms(10))
            )
        };
        assert_eq!(tokio::time::timeout(LIMIT, both).await.unwrap(), (true, true));
        volley().await;
        speak(&callee, 0, 50).await;
        volley().await;
        pass(ms(100)).await;
        assert_eq!(call.caller.heard().1.iter().map(number).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    });
}

#[test]
fn two_ends_of_one_config_share_nothing() {
    run(async {
        let call = Call::with(12, Link::default(), |config| PathConfig { keepalive: ms(200), ..config }).await;
        let (one, two) =
            (call.caller.path.create_offer().await.unwrap(), call.callee.path.create_offer().await.unwrap());
        for sdp in [&one, &two] {
            assert!(sdp.contains("a=ssrc:"), "a source that is declared is always let in");
        }
        let secret = |sdp: &str, name: &str| sdp.lines().find(|line| line.contains(name)).unwrap().to_owned();
        for name in ["ice-pwd", "fingerprint", "ice-ufrag", "x-dtls-cookie"] {
            assert_ne!(secret(&one, name), secret(&two, name));
        }
    });
}
