//! What a path shows of its addresses, over the simulated network in virtual time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![cfg(target_os = "linux")]

mod world;

use std::net::IpAddr;

use rtc_transport::simulated::{Link, Network, pass, run};
use rtc_transport::{AddressMode, PathConfig, PathEvent, PathState};
use world::{Call, End, ms, packet};

/// The candidates told so far.
fn told(end: &mut End) -> Vec<rtc_transport::Candidate> {
    let mut told = vec![];
    while let Some(event) = end.events.try_recv() {
        if let PathEvent::LocalCandidate(candidate) = event {
            told.push(candidate);
        }
    }
    told
}

/// Two ends with a second address each; gives those.
async fn with_second_addresses(default_route: bool) -> (Call, IpAddr, IpAddr) {
    let network = Network::new(1);
    let (alice, bob) = (network.host(), network.host());
    network.connect(&alice, &bob, Link::delayed(ms(20)));
    let second = (alice.add_address(), bob.add_address());
    if !default_route {
        alice.without_default_route();
        bob.without_default_route();
    }
    let mode = |config| PathConfig { address_mode: AddressMode::DefaultRoute, ..config };
    let (caller, callee) = (End::open(mode(alice.path_config())).await, End::open(mode(bob.path_config())).await);
    (Call { network, alice, bob, caller, callee, signalling: ms(20) }, second.0, second.1)
}

#[test]
fn only_the_default_route_is_shown_until_all_are() {
    run(async {
        let (mut call, at_alice, at_bob) = with_second_addresses(true).await;
        let offer = call.caller.path.create_offer().await.unwrap();
        pass(ms(10)).await;
        let answer = call.callee.path.accept_offer(&offer).await.unwrap();
        call.caller.path.accept_answer(&answer).await.unwrap();
        pass(ms(10)).await;
        let (of_caller, of_callee) = (told(&mut call.caller), told(&mut call.callee));
        assert_eq!((of_caller.len(), of_callee.len()), (1, 1));
        // Each hears of a place where the other one's hidden address could be asked from.
        for candidate in of_caller {
            call.callee.path.add_candidate(candidate).await.unwrap();
        }
        for candidate in of_callee {
            call.caller.path.add_candidate(candidate).await.unwrap();
        }
        pass(ms(2_000)).await;
        assert!(call.caller.heard().0.contains(&PathState::Connected));
        let restart = call.caller.path.restart_ice().await.unwrap();
        let answer_to_it = call.callee.path.accept_offer(&restart).await.unwrap();
        call.caller.path.accept_answer(&answer_to_it).await.unwrap();
        pass(ms(20)).await;
        for description in [offer, answer, restart, answer_to_it] {
            assert!(!description.contains(&format!(" {at_alice} ")) && !description.contains(&format!(" {at_bob} ")));
        }
        let hidden = |candidate: &rtc_transport::Candidate| {
            candidate.candidate.contains(&format!(" {at_alice} "))
                || candidate.candidate.contains(&format!(" {at_bob} "))
        };
        assert!(!told(&mut call.caller).iter().any(hidden) && !told(&mut call.callee).iter().any(hidden));
        assert_eq!((call.network.sent_from(at_alice), call.network.sent_from(at_bob)), (0, 0));
        call.caller.path.show_all_addresses();
        let shown = told(&mut call.caller);
        assert!(shown.len() == 1 && hidden(&shown[0]), "those of the sockets there are now, once: {shown:?}");
        call.caller.path.show_all_addresses();
        assert_eq!(told(&mut call.caller), []);
    });
}

#[test]
fn ends_without_a_default_route_connect_once_they_show_what_they_have() {
    run(async {
        let (mut call, ..) = with_second_addresses(false).await;
        let offer = call.caller.path.create_offer().await.unwrap();
        let answer = call.callee.path.accept_offer(&offer).await.unwrap();
        call.caller.path.accept_answer(&answer).await.unwrap();
        pass(ms(8_000)).await;
        assert!(told(&mut call.caller).is_empty() && told(&mut call.callee).is_empty());
        for host in [&call.alice, &call.bob] {
            assert_eq!(call.network.sent_from(host.address()), 0);
        }
        call.caller.path.show_all_addresses();
        call.callee.path.show_all_addresses();
        let (caller, callee) = (call.caller.path.clone(), call.callee.path.clone());
        let both = async {
            tokio::join!(
                call.caller.until(PathState::Connected, &callee, ms(20)),
                call.callee.until(PathState::Connected, &caller, ms(20))
            )
        };
        assert_eq!(tokio::time::timeout(ms(2_000), both).await.unwrap(), (true, true));
        caller.send_voice(packet(1)).unwrap();
        call.callee.voice().await;
    });
}
