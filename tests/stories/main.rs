//! Stories of calls between a few phones and a server, in virtual time, by the five words of a call.
//!
//! A transcript has the second, who did or was told what, and, indented, what was said and heard.

mod invite;
mod ring;
mod accept;
mod media;
mod end;
mod devices;
mod races;

use call_protocol::CallId;
use world::{ALICE, BOB, Placement, Story};

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

/// Tells a story with the arbiter on the server and again with it on the caller's device; what each app is told must be the same. Gives
/// that, a line for each device.
fn over_both(tell: impl Fn(&mut Story)) -> String {
    let [server, chat] = Placement::ALL.map(|placement| {
        let mut story = Story::over(placement);
        tell(&mut story);
        story.rests();
        let mut lines: Vec<(String, Vec<String>)> = Vec::new();
        for (who, what) in story.told() {
            match lines.last_mut() {
                Some((last, said)) if *last == who => said.push(what),
                Some(_) | None => lines.push((who, vec![what])),
            }
        }
        let line = |(who, said): &(String, Vec<String>)| format!("{who}: {}\n", said.join(" · "));
        lines.iter().map(line).collect::<String>()
    });
    assert_eq!(server, chat, "the placement of the arbiter makes a difference");
    server
}
