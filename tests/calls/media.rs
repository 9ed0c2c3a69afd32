//! Rows about the channel and the sound in it.

use callkit::{AudioInput, CallKitEvent, ChannelId, HandlerError, Uid, UserId, UserMapper};

use crate::house::{House, PATIENCE, loudness, similarity};

#[tokio::test(flavor = "multi_thread")]
async fn a3_the_user_mapper_names_who_is_behind_a_uid_and_one_for_another_channel_is_ignored() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    let (asked, mut was_asked) = tokio::sync::mpsc::unbounded_channel();
    alice.kit.set_user_mapper_handler(move |channel: ChannelId, uid| {
        let asked = asked.clone();
        async move {
            asked.send((channel.clone(), uid)).map_err(|_| HandlerError::from("the test is over"))?;
            Ok(UserMapper { channel, users: vec![(uid, UserId::new("Bob the builder").unwrap())] })
        }
    });
    bob.kit.set_user_mapper_handler(|_, uid| async move {
        let elsewhere = ChannelId::new("elsewhere").unwrap();
        Ok(UserMapper { channel: elsewhere, users: vec![(uid, UserId::new("mallory").unwrap())] })
    });
    let call_id = alice.calls(&mut bob).await;
    bob.kit.answer(call_id).await.unwrap();
    let CallKitEvent::UserJoined { uid, user, .. } = alice.until("user_joined").await else { panic!() };
    assert_eq!(user, Some(UserId::new("Bob the builder").unwrap()));
    assert_eq!(was_asked.recv().await.unwrap(), (ChannelId::new(call_id.to_string()).unwrap(), uid));
    let CallKitEvent::UserJoined { user, .. } = bob.until("user_joined").await else { panic!() };
    assert_eq!(user, None);
    alice.until("first_audio").await;
    assert!(was_asked.try_recv().is_err(), "asked once for each uid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a10_speaker_off_silences_the_playback_and_on_brings_it_back() {
    let house = House::open().await;
    let (alice, bob, _) = house.two_in_a_call().await;
    let heard = bob.hears_for(2.0, bob.heard.len()).await;
    assert!(loudness(&heard) > 0.01);
    bob.kit.speaker_off().await.unwrap();
    // What the voice thread was writing at that moment may still come.
    let from = bob.heard.len() + 4_800;
    assert_eq!(loudness(&bob.hears_for(1.0, from).await), 0.0);
    bob.kit.speaker_on().await.unwrap();
    assert!(loudness(&bob.hears_for(2.0, bob.heard.len() + 4_800).await) > 0.01);
    drop(alice);
}

#[tokio::test(flavor = "multi_thread")]
async fn a11_mute_silences_the_microphone_and_e6_tells_the_other_side() {
    let house = House::open().await;
    let (alice, mut bob, _) = house.two_in_a_call().await;
    alice.kit.mute().await.unwrap();
    let CallKitEvent::UserMuteAudio { uid, muted: true, .. } = bob.until("user_mute_audio").await else { panic!() };
    // A second of what is heard covers the path and the jitter buffer, also of a busy machine.
    let muted = bob.hears_for(1.0, bob.heard.len() + 48_000).await;
    assert!(loudness(&muted) < 0.001, "{}", loudness(&muted));
    alice.kit.unmute().await.unwrap();
    let CallKitEvent::UserMuteAudio { uid: again, muted: false, .. } = bob.until("user_mute_audio").await else {
        panic!()
    };
    assert_eq!(again, uid);
    assert!(loudness(&bob.hears_for(2.0, bob.heard.len() + 24_000).await) > 0.01);
}

#[tokio::test(flavor = "multi_thread")]
async fn e6_who_joins_later_gets_the_present_mute_state() {
    let house = House::open().await;
    let (mut alice, mut bob) = (house.phone("alice").await, house.phone("bob").await);
    alice.kit.mute().await.unwrap();
    let call_id = alice.calls(&mut bob).await;
    bob.kit.answer(call_id).await.unwrap();
    assert!(matches!(bob.until("user_mute_audio").await, CallKitEvent::UserMuteAudio { muted: true, .. }));
    let joined = bob.names().iter().position(|name| *name == "user_joined");
    assert!(joined.is_some(), "joined comes first: {:?}", bob.names());
    assert!(!alice.names().contains(&"user_mute_audio"));
}

#[tokio::test(flavor = "multi_thread")]
async fn e3_on_joined_channel_and_e4_on_user_joined_come_once_with_channel_uid_and_user() {
    let house = House::open().await;
    let (alice, bob, call_id) = house.two_in_a_call().await;
    let channel = ChannelId::new(call_id.to_string()).unwrap();
    let mut uids = Vec::new();
    for (phone, other) in [(alice, "bob"), (bob, "alice")] {
        let seen = phone.sign_out_and_drain().await;
        let joined = seen.iter().filter_map(|event| match event {
            CallKitEvent::JoinedChannel { channel, .. } => Some(channel.clone()),
            _ => None,
        });
        assert_eq!(joined.collect::<Vec<_>>(), std::slice::from_ref(&channel));
        let others: Vec<_> = seen
            .iter()
            .filter_map(|event| match event {
                CallKitEvent::UserJoined { uid, user, .. } => Some((*uid, user.clone())),
                _ => None,
            })
            .collect();
        assert_eq!(others.len(), 1);
        assert_eq!(others[0].1, Some(UserId::new(other).unwrap()));
        uids.push(others[0].0);
    }
    assert_ne!(uids[0], uids[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn e4_nobody_is_heard_whom_the_app_has_not_met() {
    let house = House::open().await;
    let mut alice = house.singer("alice", 400.0, |b| b).await;
    let mut bob = house.singer("bob", 700.0, |b| b).await;
    let (opens, gate) = tokio::sync::watch::channel(false);
    bob.kit.set_user_mapper_handler(move |channel: ChannelId, uid: Uid| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await.map_err(|_| HandlerError::from("the test is over"))?;
            Ok(UserMapper { channel, users: vec![(uid, UserId::new("alice").unwrap())] })
        }
    });
    let call_id = alice.calls(&mut bob).await;
    bob.kit.answer(call_id).await.unwrap();
    alice.until("user_joined").await;
    bob.hears(400.0).await;
    opens.send(true).unwrap();
    let CallKitEvent::FirstAudio { uid, .. } = bob.until("first_audio").await else { panic!() };
    let met = bob.seen.iter().filter_map(|event| match event {
        CallKitEvent::UserJoined { uid, user, .. } => Some((*uid, user.clone().unwrap().to_string())),
        _ => None,
    });
    assert_eq!(met.collect::<Vec<_>>(), [(uid, "alice".to_owned())], "{:?}", bob.names());
}

#[tokio::test(flavor = "multi_thread")]
async fn both_hear_what_the_other_says_and_the_figures_say_so() {
    let house = House::open().await;
    let (alice, bob, _) = house.two_in_a_call().await;
    for phone in [&alice, &bob] {
        phone.hears_the_speech().await;
        // Speech has pauses, in which the levels fall.
        let said = tokio::time::timeout(PATIENCE, async {
            loop {
                let quality = phone.kit.call_quality().await.unwrap();
                let is_sent = quality.received_packets > 80 && quality.sent_packets > 80;
                let is_loud = quality.input_level > 0 && quality.output_level > 0;
                if is_sent && is_loud && quality.bitrate_in > 5_000 && quality.bitrate_out > 5_000 {
                    return;
                }
                phone.hears_for(0.2, phone.heard.len()).await;
            }
        });
        assert!(said.await.is_ok(), "{:?}", phone.kit.call_quality().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_voice_is_not_taken_for_what_was_said() {
    let house = House::open().await;
    let mut alice = house.phone_with("alice", AudioInput::Voice { seed: 3 }, |b| b).await;
    let mut bob = house.phone("bob").await;
    let call_id = alice.calls(&mut bob).await;
    bob.kit.answer(call_id).await.unwrap();
    bob.until("first_audio").await;
    let heard = bob.hears_for(3.0, bob.heard.len()).await;
    assert!(loudness(&heard) > 0.005, "something is heard");
    assert!(similarity(&heard) < 0.5, "{}", similarity(&heard));
}
