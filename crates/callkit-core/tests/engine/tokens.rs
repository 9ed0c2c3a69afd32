//! Channel tokens: asked for ahead, late, refused, and renewed.

use call_protocol::Uid;
use call_protocol::end::EndReason;
use call_protocol::media::{ChannelEventBody, ChannelRequestBody, JoinRefusal};
use callkit_core::{Answer, CallError, Input, KitEvent, RtcToken};

use crate::device::{Device, settings};

fn token(text: &str) -> Answer {
    Answer::RtcToken(Ok(RtcToken { token: text.into(), uid: Uid::new(1).unwrap() }))
}

fn joins_with(alice: &Device) -> Vec<String> {
    let token = |body| match body {
        ChannelRequestBody::Join { token, .. } => Some(token),
        _ => None,
    };
    alice.channel_requests().into_iter().filter_map(token).collect()
}

#[test]
fn a_handler_that_answers_after_the_accept_joins_late() {
    let mut alice = Device::ready(settings());
    let call_id = alice.calls_bob();
    let request = alice.questions()[0];
    alice.bob_answers(call_id);
    alice.pass(5_000);
    assert_eq!((joins_with(&alice), alice.questions().len()), (vec![], 1), "it is asked once");
    alice.give(Input::Answer { request, answer: token("late") });
    assert_eq!(joins_with(&alice), ["late"]);
    alice.give(Input::Answer { request, answer: token("twice") });
    assert_eq!(joins_with(&alice), ["late"], "a question is answered once");
}

#[test]
fn a_handler_that_fails_while_it_rings_is_asked_again_at_the_join_and_that_failure_ends_the_call() {
    let mut alice = Device::ready(settings());
    let call_id = alice.bob_calls();
    let failed = || Answer::RtcToken(Err("no network".into()));
    let request = alice.questions()[0];
    alice.give(Input::Answer { request, answer: failed() });
    alice.wants(callkit_core::Command::Answer { call_id });
    alice.take();
    alice.is_confirmed(call_id);
    let request = alice.questions()[0];
    alice.give(Input::Answer { request, answer: failed() });
    let error = CallError::FetchTokenFailed("no network".into());
    let end = KitEvent::CallEnd { call_id, reason: EndReason::Error, user_code: None };
    assert_eq!(alice.told()[1..], [KitEvent::Error { call_id: Some(call_id), error }, end]);
}

#[test]
fn a_token_that_has_run_out_is_asked_for_once_more_and_one_that_runs_out_soon_is_renewed() {
    let mut alice = Device::ready(settings());
    let call_id = alice.calls_bob();
    let request = alice.questions()[0];
    alice.give(Input::Answer { request, answer: token("first") });
    alice.bob_answers(call_id);
    alice.take();
    let refused = || ChannelEventBody::JoinRefused { reason: JoinRefusal::TokenExpired };
    alice.hears_of_channel(call_id, refused());
    let request = alice.questions()[0];
    alice.give(Input::Answer { request, answer: token("second") });
    assert_eq!(joins_with(&alice), ["second"]);
    alice.joins(call_id);
    alice.take();

    alice.hears_of_channel(call_id, ChannelEventBody::TokenExpiring { left_ms: 30_000 });
    let request = alice.questions()[0];
    alice.give(Input::Answer { request, answer: token("third") });
    assert_eq!(alice.channel_requests(), [ChannelRequestBody::RenewToken { token: "third".into() }]);

    alice.hears_of_channel(call_id, refused());
    alice.hears_of_channel(call_id, refused());
    assert!(!alice.engine.has_call(call_id), "twice in a row is once too often");
}
