//! One side moves to another network in mid-call: it gets another address, or the router in front of it does.

use std::time::Duration;

use serde_json::Value;
use tests::processes::host::{Mark, PhoneProcess, now_us};
use tests::processes::netlab;
use tokio::time::Instant;

use crate::report::{Report, lately, ms_between, p50_and_max};
use crate::room::{PATIENCE, Room, SOUND_IS_BACK_MS, Setting, connect, marks, talk};

/// How long the sound may stay away before the round counts as failed; the resume window and more.
const LONGEST: Duration = Duration::from_secs(25);
/// So many packets after the change show that a direction flows again: 0.4 s of sound.
const FLOWS: u64 = 20;

pub(crate) async fn run(setting: &Setting) -> Result<Report, String> {
    let rounds = if setting.short { 2 } else { 10 };
    let mut report = Report::default();
    for (user, what) in
        [("alice", "it gets another address"), ("zoe", "the router in front of it gets another address")]
    {
        report.note(format!("{what}, {rounds} times"));
        several(setting, user, rounds, &mut report).await?;
    }
    Ok(report)
}

async fn several(setting: &Setting, user: &str, rounds: usize, report: &mut Report) -> Result<(), String> {
    let room = Room::open(setting).await?;
    let (mut mover, mut bob) = (room.phone(user).await?, room.phone("bob").await?);
    let mut times = [Vec::new(), Vec::new()];
    let (mut lost, mut first) = (Vec::new(), String::new());
    for round in 0..rounds {
        match moves(&room, user, &mut mover, &mut bob).await {
            Ok(back) => (0..2).for_each(|ear| times[ear].push(back[ear])),
            Err(error) => {
                talk(&mut mover, &mut bob, Duration::from_millis(100)).await;
                if lost.is_empty() {
                    first = format!("who moved: {}\n      the other: {}", lately(&mover.said), lately(&bob.said));
                }
                lost.push(format!("round {}: {error}", round + 1));
                // The next round begins with a clean line.
                for phone in [&mut mover, &mut bob] {
                    leave(phone).await?;
                }
            }
        }
    }
    for (ear, whose) in ["of who moved", "of the other"].into_iter().enumerate() {
        if let Some((p50, max)) = p50_and_max(&mut times[ear]) {
            report.time(format!("until sound is back at the ear {whose}, p50 of {}", times[ear].len()), p50, 1_000.0);
            report.value(format!("until sound is back at the ear {whose}, longest"), format!("{max:.0} ms"));
        }
    }
    let kept = if lost.is_empty() { Ok(()) } else { Err(format!("{}\n      {first}", lost.join("\n      "))) };
    report.promise("every call goes on", kept);
    for phone in [mover, bob] {
        phone.quit().await?;
    }
    room.close().await
}

/// One call in which one side moves; until the sound was back at its ear and at the other's, in ms.
async fn moves(room: &Room, user: &str, mover: &mut PhoneProcess, bob: &mut PhoneProcess) -> Result<[f64; 2], String> {
    let since = [mover.said.len(), bob.said.len()];
    connect(mover, bob, "bob").await?;
    talk(mover, bob, Duration::from_secs(2)).await;
    let at_move = marks(mover, bob).await?;
    netlab::set(user, "rebind=true")?;
    let moved_us = now_us();
    let flows = flows_again(mover, bob).await;
    talk(mover, bob, Duration::from_millis(1_500)).await;
    let after = marks(mover, bob).await?;
    // Whatever happened to the call, both leave it and complete their recordings.
    mover.tell("hangup").await?;
    for (phone, since) in [(&mut *mover, since[0]), (&mut *bob, since[1])] {
        phone.until_like(since, PATIENCE, "the end", |line| line["event"] == "call_end").await?;
        leave(phone).await?;
    }
    let ends = [ended_with(&mover.said[since[0]..]), ended_with(&bob.said[since[1]..])];
    flows.map_err(|error| format!("{error}; the ends were {ends:?}"))?;
    let mut back = [0.0; 2];
    for (ear, name) in [user, "bob"].into_iter().enumerate() {
        back[ear] = until_back(room, name, &at_move[ear], &after[ear], moved_us)?;
    }
    Ok(back)
}

/// Ends whatever call there is and completes the recording.
async fn leave(phone: &mut PhoneProcess) -> Result<(), String> {
    phone.tell("release").await?;
    phone.until("released").await?;
    phone.tell("init").await?;
    phone.until("initialized").await?;
    Ok(())
}

/// Waits until packets come in at both sides.
async fn flows_again(mover: &mut PhoneProcess, bob: &mut PhoneProcess) -> Result<(), String> {
    // What was on its way at the change does not count.
    talk(mover, bob, Duration::from_millis(300)).await;
    let first = [received(mover).await?, received(bob).await?];
    let give_up = Instant::now() + LONGEST;
    while Instant::now() < give_up {
        talk(mover, bob, Duration::from_millis(200)).await;
        let now = [received(mover).await?, received(bob).await?];
        if (0..2).all(|side| now[side] >= first[side] + FLOWS) {
            return Ok(());
        }
    }
    Err(format!("no sound in both directions within {LONGEST:?}"))
}

async fn received(phone: &mut PhoneProcess) -> Result<u64, String> {
    phone.tell("quality").await?;
    let quality = phone.until("quality").await?;
    quality["received"].as_u64().ok_or("the call has ended".to_owned())
}

/// From the change until the sound that was interrupted by it is back; 0 if it was not interrupted.
fn until_back(room: &Room, user: &str, at_move: &Mark, after: &Mark, moved_us: u64) -> Result<f64, String> {
    let hearing = room.heard(user)?;
    let gap = hearing.longest_gap(at_move.heard_ms, after.heard_ms);
    if gap.len_ms == 0 {
        return Ok(0.0);
    }
    let back =
        hearing.right_again(gap.from_ms + gap.len_ms, SOUND_IS_BACK_MS).ok_or(format!("{user} hears nothing"))?;
    Ok(ms_between(moved_us, after.wall_us(back)).max(0.0))
}

fn ended_with(said: &[Value]) -> String {
    let end = said.iter().find(|line| line["event"] == "call_end");
    end.and_then(|line| line["detail"].as_str()).unwrap_or("none").to_owned()
}
