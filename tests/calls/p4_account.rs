//! What an app asks outside of calls: its history, and where pushes reach it.

use std::time::Duration;

use callkit::{AccountError, EndReason, PushAddress};
use futures_util::StreamExt;

use crate::house::{House, PATIENCE};
use crate::p4::Town;

#[tokio::test(flavor = "multi_thread")]
async fn p4_p15_the_history_tells_both_how_their_calls_went_page_by_page() {
    let house = House::open().await;
    let mut alice = house.phone("alice").await;
    let mut bob = house.phone("bob").await;
    let talked = alice.talks_with(&mut bob).await;
    alice.kit.hangup(talked).await.unwrap();
    alice.until_end(talked).await;
    bob.until_end(talked).await;
    let missed = alice.calls(&mut bob).await;
    alice.kit.hangup(missed).await.unwrap();
    alice.until_end(missed).await;
    bob.until_end(missed).await;

    let first = bob.kit.history("", 1, false).await.unwrap();
    let second = bob.kit.history(&first.cursor, 1, false).await.unwrap();
    let calls: Vec<_> = [&first, &second].into_iter().flat_map(|page| &page.calls).collect();
    assert_eq!(calls.iter().map(|call| call.call_id).collect::<Vec<_>>(), [missed, talked], "newest first");
    assert_eq!(calls.iter().map(|call| call.missed).collect::<Vec<_>>(), [true, false]);
    assert_eq!(
        calls.iter().map(|call| call.reason).collect::<Vec<_>>(),
        [EndReason::RemoteCancel, EndReason::RemoteHangup]
    );
    assert_eq!((calls[0].caller.user.as_str(), calls[0].callee.as_str(), calls[0].talk_ms), ("alice", "bob", 0));
    let only = bob.kit.history("", 100, true).await.unwrap();
    assert_eq!(only.calls.iter().map(|call| call.call_id).collect::<Vec<_>>(), [missed]);
    assert_eq!(only.cursor, "", "there are no more");

    let hers = alice.kit.history("", 100, false).await.unwrap();
    assert_eq!(
        hers.calls.iter().map(|call| (call.reason, call.missed)).collect::<Vec<_>>(),
        [(EndReason::Cancel, false), (EndReason::Hangup, false)]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_p15_the_backend_is_told_how_a_call_sounded_at_both_ends() {
    let town = Town::open().await;
    let (alice, bob) = (town.person("alice", 400.0).await, town.person("bob", 700.0).await);
    let (here, mut there) = town.talk(&alice, &bob).await;
    // Every three seconds each device says that it is in the call, and how that sounds.
    let mut figures = here.call.statistics_stream(Duration::from_millis(100));
    let heard = async { while figures.next().await.is_some_and(|now| now.peer_audio.latency_ms.is_none()) {} };
    tokio::time::timeout(PATIENCE, heard).await.unwrap();
    tokio::time::sleep(Duration::from_millis(3_500)).await; // sleeps: until both have said it
    here.call.end().await.unwrap();
    there.ear.until_end().await;
    let told = town.call_event().await;
    assert_eq!((&told["from_user_id"], &told["to_user_id"]), (&"alice".into(), &"bob".into()), "{told}");
    for side in ["caller_quality", "callee_quality"] {
        let quality = &told[side];
        assert!(quality["loss_percent"].as_f64().is_some_and(|percent| percent <= 100.0), "{told}");
        assert!(quality["round_trip_ms"].is_u64() && quality["jitter_ms"].is_u64(), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn p4_a16_an_address_for_pushes_is_taken_and_taken_back_and_nonsense_is_named() {
    let house = House::open().await;
    let alice = house.phone("alice").await;
    let fcm = |token: &str| Some(PushAddress::Fcm { token: token.into() });
    alice.kit.set_push_address(fcm("a-token-of-the-push-service:0123456789")).await.unwrap();
    alice.kit.set_push_address(None).await.unwrap();
    let empty = alice.kit.set_push_address(fcm("")).await.unwrap_err();
    assert!(matches!(empty, AccountError::InvalidParam(_)), "{empty:?}");
    for (cursor, limit) in [("", 0), ("", 101), ("no cursor", 10)] {
        let refused = alice.kit.history(cursor, limit, false).await.unwrap_err();
        assert!(matches!(refused, AccountError::InvalidParam(_)), "{cursor} {limit}: {refused:?}");
    }

    // Until the server has refused it, a token that is none may be used, and not after that.
    alice.kit.renew_access_token("no token");
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    let goes_on = tokio::time::timeout(PATIENCE, async {
        while let Err(error) = alice.kit.history("", 1, false).await {
            assert_eq!(error, AccountError::TokenRefused);
            tick.tick().await;
        }
    });
    goes_on.await.expect("the one before is used again");
    house.server.stop().await;
    let gone = alice.kit.history("", 1, false).await.unwrap_err();
    assert!(matches!(gone, AccountError::Unreachable(_)), "{gone:?}");
}
