//! Stories of calls between a few phones and a server, in virtual time, by the five words of a call.
//!
//! A transcript has the second, who did or was told what, and, indented, what was said and heard.

mod invite;
mod ring;
mod accept;
mod media;
mod end;

use call_protocol::CallId;
use world::{ALICE, BOB, Story};

/// Alice calls Bob; his phone rings.
fn ringing() -> (Story, CallId) {
    let mut story = Story::new();
    let call_id = story.calls(ALICE, BOB).expect("an idle phone may call");
    story.passes(1_000);
    (story, call_id)
}

/// Alice calls Bob; he answered.
fn talking() -> (Story, CallId) {
    let (mut story, call_id) = ringing();
    story.answers(BOB).expect("it rings");
    story.passes(1_000);
    story.so_far();
    (story, call_id)
}
