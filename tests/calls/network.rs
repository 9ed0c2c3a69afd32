//! The network changes: a connection to the server that still leads there stays, and one that does not is made anew.

use std::time::{Duration, Instant};

use callkit::{CallKitEvent, ConnectionState};

use crate::cable::Cable;
use crate::house::{House, Phone};

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;

fn has_reconnected(phone: &Phone) -> bool {
    let broke = |event: &CallKitEvent| matches!(event, CallKitEvent::ConnectionChanged { .. });
    phone.seen.iter().any(broke)
}

async fn until_reconnecting(phone: &mut Phone) {
    loop {
        let event = phone.until("connection_changed").await;
        if matches!(event, CallKitEvent::ConnectionChanged { state: ConnectionState::Reconnecting, .. }) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_leads_to_the_server_outlives_a_change_of_the_network_and_one_that_does_not_is_given_up() {
    let house = House::open().await;
    let cable = Cable::to(house.address()).await;
    let mut bob = house.singer("bob", BOB, |builder| builder).await;
    let mut alice = house.singer("alice", ALICE, |builder| builder).await;
    let mut carol = house.singer("carol", ALICE, |builder| builder.server(&cable.url)).await;
    cable.hold();
    let began = Instant::now();
    // A network of containers, say, at each of them.
    for phone in [&alice, &bob, &carol] {
        phone.kit.network_changed();
    }
    let call_id = alice.talks_with(&mut bob).await;
    // Nobody answered her: her address is there, so that the server had its time.
    until_reconnecting(&mut carol).await;
    let took = began.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_secs(6)).contains(&took), "{took:?}");
    cable.mend();
    alice.kit.hangup(call_id).await.unwrap();
    alice.until_end(call_id).await;
    bob.until_end(call_id).await;
    // Whoever was answered has been told of nothing since.
    assert!(!has_reconnected(&alice) && !has_reconnected(&bob));
    house.server.stop().await;
}
