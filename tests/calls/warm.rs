//! Media is set up while it rings, or is not, and nothing is heard or recorded before the answer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use callkit::{AudioInput, AudioOutput, CallId, Interfaces, WarmPath};
use rtc_transport::runtime::LocalAddresses;

use crate::house::{House, Phone};
use crate::post::{Post, Said};

const ALICE: f32 = 400.0;
const BOB: f32 = 700.0;

/// A phone that counts how often its microphone and its loudspeaker are opened.
async fn counting(house: &House, post: &Post, user: &str, hz: f32) -> (Phone, Arc<AtomicUsize>) {
    let opened = Arc::new(AtomicUsize::new(0));
    let (microphone, loudspeaker) = (opened.clone(), opened.clone());
    let backend = house.backend(user).await;
    let heard = callkit::Recording::new();
    let output = heard.output();
    let kit = house
        .builder()
        .device("phone")
        .chat(post.seat(user, "phone"))
        .audio_input(AudioInput::custom(move || {
            microphone.fetch_add(1, Ordering::SeqCst);
            AudioInput::Tone { hz, amplitude: 0.3 }.open()
        }))
        .audio_output(AudioOutput::custom(move || {
            loudspeaker.fetch_add(1, Ordering::SeqCst);
            output.open()
        }))
        .sign_in(user, backend.access_token())
        .await
        .unwrap();
    (Phone::supplied(kit, &backend, heard).await, opened)
}

/// Whether this user has shown everything that a path to it needs.
fn is_reachable(said: &[Said], user: &str) -> bool {
    let is_description = |said: &Said| said.shows_media_of(user) && !said.is_candidate_of(user);
    said.iter().any(is_description) && said.iter().any(|said| said.is_candidate_of(user))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_stands_before_the_answer_which_goes_by_it_and_no_device_is_open_until_then() {
    let house = House::open().await;
    let post = Post::new();
    let (mut alice, of_alice) = counting(&house, &post, "alice", ALICE).await;
    let (mut bob, of_bob) = counting(&house, &post, "bob", BOB).await;
    let call_id = alice.calls(&mut bob).await;
    post.until(|said| is_reachable(said, "alice") && is_reachable(said, "bob")).await;
    // From now on there is but the path between them.
    post.die();
    assert_eq!((of_alice.load(Ordering::SeqCst), of_bob.load(Ordering::SeqCst)), (0, 0));
    assert!(alice.kit.call_quality().await.is_none() && bob.kit.call_quality().await.is_none());
    bob.kit.answer(call_id).await.unwrap();
    alice.until("answer").await;
    bob.until("answer").await;
    bob.hears(ALICE).await;
    alice.hears(BOB).await;
    assert_eq!((of_alice.load(Ordering::SeqCst), of_bob.load(Ordering::SeqCst)), (2, 2));
    alice.kit.hangup(call_id).await.unwrap();
    bob.until_end(call_id).await;
}

/// Alice calls Bob, who answers after a while; gives everything that was said.
async fn answered_late(of_alice: WarmPath, of_bob: WarmPath) -> Vec<Said> {
    let house = House::open().await;
    let post = Post::new();
    let mut alice = post.phone_with(&house, "alice", "phone", ALICE, |b| b.warm_path(of_alice)).await;
    let mut bob = post.phone_with(&house, "bob", "phone", BOB, |b| b.warm_path(of_bob)).await;
    let call_id: CallId = alice.calls(&mut bob).await;
    // A ringing device says so again after 3 s: time enough for whoever would show something.
    post.until(|said| said.iter().filter(|said| said.is("bob", "alert")).count() >= 2).await;
    bob.kit.answer(call_id).await.unwrap();
    bob.hears(ALICE).await;
    alice.hears(BOB).await;
    post.said()
}

/// What was said before the answer.
fn before_the_answer(said: &[Said]) -> &[Said] {
    let answer = said.iter().position(|said| said.is("bob", "answer")).unwrap();
    &said[..answer]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_without_a_warm_path_shows_nothing_of_itself_before_it_answers() {
    let said = answered_late(WarmPath::Full, WarmPath::Off).await;
    let before = before_the_answer(&said);
    assert!(is_reachable(before, "alice"));
    assert!(!before.iter().any(|said| said.shows_media_of("bob")));
    assert!(is_reachable(&said, "bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_without_a_warm_path_shows_nothing_of_itself_before_the_answer_and_neither_need_the_callee() {
    let said = answered_late(WarmPath::Off, WarmPath::Full).await;
    let shows = |said: &Said| said.shows_media_of("alice") || said.shows_media_of("bob");
    assert!(!before_the_answer(&said).iter().any(shows));
    assert!(is_reachable(&said, "alice") && is_reachable(&said, "bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_path_over_relays_only_is_none_where_there_is_no_relay() {
    let said = answered_late(WarmPath::Full, WarmPath::RelayOnly).await;
    assert!(!before_the_answer(&said).iter().any(|said| said.shows_media_of("bob")));
    let said = answered_late(WarmPath::RelayOnly, WarmPath::Full).await;
    assert!(!before_the_answer(&said).iter().any(|said| said.shows_media_of("alice")));
}

/// A machine on a network that leads nowhere else.
#[derive(Debug)]
struct WithoutRoute;

impl LocalAddresses for WithoutRoute {
    fn addresses(&self) -> Vec<IpAddr> {
        vec![Ipv4Addr::LOCALHOST.into()]
    }

    fn default_route(&self) -> Vec<IpAddr> {
        vec![]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_not_of_the_default_route_are_shown_by_the_answer_and_then_used() {
    let house = House::open().await;
    let post = Post::new();
    let interfaces = Interfaces::Source(Arc::new(WithoutRoute));
    let (of_alice, of_bob) = (interfaces.clone(), interfaces);
    let mut alice = post.phone_with(&house, "alice", "phone", ALICE, |b| b.interfaces(of_alice)).await;
    let mut bob = post.phone_with(&house, "bob", "phone", BOB, |b| b.interfaces(of_bob)).await;
    let call_id: CallId = alice.calls(&mut bob).await;
    post.until(|said| said.iter().filter(|said| said.is("bob", "alert")).count() >= 2).await;
    bob.kit.answer(call_id).await.unwrap();
    bob.hears(ALICE).await;
    alice.hears(BOB).await;
    let said = post.said();
    let before = before_the_answer(&said);
    assert!(before.iter().any(|said| said.shows_media_of("alice")), "the path is set up while it rings");
    assert!(!before.iter().any(|said| said.is_candidate_of("alice") || said.is_candidate_of("bob")));
    assert!(is_reachable(&said, "alice") && is_reachable(&said, "bob"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_warm_path_at_one_side_or_both_they_hear_each_other_after_the_answer() {
    let house = House::open().await;
    for (number, (mine, other)) in
        [(WarmPath::Off, WarmPath::Off), (WarmPath::Full, WarmPath::Off), (WarmPath::Off, WarmPath::Full)]
            .into_iter()
            .enumerate()
    {
        let (caller, callee) = (format!("alice-{number}"), format!("bob-{number}"));
        let mut alice = house.singer(&caller, ALICE, |b| b.warm_path(mine)).await;
        let mut bob = house.singer(&callee, BOB, |b| b.warm_path(other)).await;
        alice.talks_with(&mut bob).await;
        bob.hears(ALICE).await;
        alice.hears(BOB).await;
    }
}
