//! Commands one after another, with waits between them.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::command::{Command, Line, NotUnderstood};

/// One step.
#[derive(Debug, PartialEq)]
pub(crate) enum Step {
    Do(Command),
    Wait(Duration),
    /// Until an event of this name that came after the one waited for before.
    WaitFor(String),
}

/// The longest wait for an event: twice as long as a call rings by default.
const PATIENCE: Duration = Duration::from_secs(60);

/// The names of the events, as the phone prints them: the kit's, and what the handler of one call is told.
pub(crate) const EVENTS: &[&str] = &[
    "receive_call",
    "ringing",
    "answer",
    "joined_channel",
    "user_joined",
    "user_mute_audio",
    "first_audio",
    "peer_reachable",
    "call_end",
    "error",
    "access_token_expiring",
    "connection_changed",
    "call_held",
    "peer_held",
    "on_wait_connected",
    "on_verified",
    "on_connected",
    "on_peer_hold",
    "on_peer_unhold",
    "on_peer_mic_muted",
    "on_peer_mic_unmuted",
    "on_disconnected",
];

pub(crate) fn parse(text: &str) -> Result<Vec<Step>, NotUnderstood> {
    text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(step).collect()
}

fn step(text: &str) -> Result<Step, NotUnderstood> {
    let Some(what) = text.strip_prefix("wait ").map(str::trim) else { return text.parse().map(Step::Do) };
    if let Some(seconds) = what.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        return Ok(Step::Wait(seconds));
    }
    match EVENTS.contains(&what) {
        true => Ok(Step::WaitFor(what.to_owned())),
        false => Err(NotUnderstood(text.to_owned())),
    }
}

/// Carries out the steps on a task of its own and then quits; the sender given back takes the names of events.
pub(crate) fn start(steps: Vec<Step>, lines: mpsc::UnboundedSender<Line>) -> mpsc::UnboundedSender<&'static str> {
    let (sender, mut heard) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let end = match carry_out(steps, &lines, &mut heard).await {
            Ok(()) => Line::Do(Command::Quit),
            Err(why) => Line::Stuck(why),
        };
        // A phone that has quit before its script needs no end.
        let _ = lines.send(end);
    });
    sender
}

async fn carry_out(
    steps: Vec<Step>,
    lines: &mpsc::UnboundedSender<Line>,
    heard: &mut mpsc::UnboundedReceiver<&'static str>,
) -> Result<(), String> {
    for step in steps {
        match step {
            Step::Do(command) => {
                let (done, went_well) = oneshot::channel();
                let said = format!("{command:?}").to_lowercase();
                let sent = lines.send(Line::Step(command, done));
                if sent.is_err() || went_well.await != Ok(true) {
                    return Err(format!("the step {said} of the script failed"));
                }
            }
            Step::Wait(duration) => sleep_until(Instant::now() + duration).await,
            Step::WaitFor(name) => {
                let comes = async { while heard.recv().await.is_some_and(|event| event != name) {} };
                if timeout(PATIENCE, comes).await.is_err() {
                    return Err(format!("the script waited {} s for {name}", PATIENCE.as_secs()));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_commands_and_waits() {
        let steps = parse("call bob; wait first_audio ;wait 0.5; hangup;").unwrap();
        let expected = [
            Step::Do(Command::Call("bob".into())),
            Step::WaitFor("first_audio".into()),
            Step::Wait(Duration::from_millis(500)),
            Step::Do(Command::Hangup),
        ];
        assert_eq!(steps, expected);
        for nonsense in ["wait", "wait -1", "wait for it", "call"] {
            assert_eq!(parse(&format!("mute; {nonsense}")), Err(NotUnderstood(nonsense.into())));
        }
    }

    #[tokio::test]
    async fn an_event_that_came_before_the_last_one_waited_for_does_not_count_again() {
        let (lines, mut inbox) = mpsc::unbounded_channel();
        let heard = start(parse("wait answer; wait first_audio; wait answer").unwrap(), lines);
        for event in ["first_audio", "answer", "first_audio"] {
            heard.send(event).unwrap();
        }
        tokio::task::yield_now().await;
        assert!(inbox.try_recv().is_err(), "the second answer has not come");
        heard.send("answer").unwrap();
        assert!(matches!(inbox.recv().await, Some(Line::Do(Command::Quit))));
    }

    #[tokio::test]
    async fn a_step_that_fails_ends_the_script() {
        let (lines, mut inbox) = mpsc::unbounded_channel();
        let _heard = start(parse("answer; quit").unwrap(), lines);
        let Some(Line::Step(Command::Answer, done)) = inbox.recv().await else { panic!("a step") };
        done.send(false).unwrap();
        let Some(Line::Stuck(why)) = inbox.recv().await else { panic!("stuck") };
        assert!(why.contains("answer"), "{why}");
    }
}
