//! The callee is killed in mid-call.

use std::time::Duration;

use tests::processes::host::{at_us, now_us};

use crate::report::{Report, exactly, is, ms_between, ms_until};
use crate::room::{Room, Setting, connect};

const PATIENCE: Duration = Duration::from_secs(25);

pub(crate) async fn run(setting: &Setting) -> Result<Report, String> {
    // Side by side: most of it is waiting.
    let (mut stays, comes) = tokio::try_join!(stays_away(setting), comes_back(setting))?;
    stays.append(comes);
    Ok(stays)
}

/// It stays away: the other side is warned, and the call ends.
async fn stays_away(setting: &Setting) -> Result<Report, String> {
    let mut report = Report::default();
    report.note("it stays away");
    let room = Room::open(setting).await?;
    let (mut alice, mut bob) = (room.quiet("alice").await?, room.quiet("bob/phone").await?);
    connect(&mut alice, &mut bob, "bob").await?;
    let since = alice.said.len();
    bob.kill().await?;
    let killed_us = now_us();
    let end = alice.until_like(since, PATIENCE, "the end", |line| line["event"] == "call_end").await?;
    let warned = alice.said.iter().skip(since).find(|line| is(line, "peer_reachable", "false")).cloned();
    match &warned {
        Some(warned) => report.time("until the other side is warned", ms_until(killed_us, warned), 10_000.0),
        None => report.promise("the other side is warned before the end", Err("it was not".into())),
    }
    report.time("until the call ends at the other side", ms_until(killed_us, &end), 15_000.0);
    let said = alice.quit().await?;
    report.promise("it is told the end once", exactly(&said, &["call_end"], &[("call_end", "remote_drop")]));
    Ok(report)
}

/// It is started again and calls at once.
async fn comes_back(setting: &Setting) -> Result<Report, String> {
    let mut report = Report::default();
    report.note("it is started again after 3 s and calls");
    let room = Room::open(setting).await?;
    let (mut alice, mut bob) = (room.quiet("alice/phone").await?, room.quiet("bob/phone").await?);
    connect(&mut alice, &mut bob, "bob").await?;
    let since = alice.said.len();
    bob.kill().await?;
    tokio::time::sleep(Duration::from_secs(3)).await; // sleeps: a crashed app is started again by a person
    let mut bob = room.quiet("bob/phone").await?;
    bob.tell("call alice").await?;
    let calling = at_us(&bob.until("calling").await?);
    let rings = alice.until_like(since, PATIENCE, "the new call", |line| line["event"] == "receive_call").await;
    let rings = match rings {
        Ok(rings) => rings,
        Err(error) => {
            bob.listen(Duration::from_millis(100)).await;
            let refused =
                bob.said.iter().rev().find(|line| line["event"] == "call_end" || line["event"] == "error").cloned();
            let why = refused.map(|line| line.to_string()).unwrap_or_default();
            report.promise("its new call gets through", Err(format!("{error}; the caller was told: {why}")));
            return Ok(report);
        }
    };
    report.time("until its new call rings", ms_between(calling, at_us(&rings)), 100.0);
    alice.tell("answer").await?;
    for phone in [&mut alice, &mut bob] {
        phone.until("first_audio").await?;
    }
    let since = alice.said.len();
    alice.tell("hangup").await?;
    alice.until_like(since, PATIENCE, "the end", |line| is(line, "call_end", "hangup")).await?;
    bob.until("call_end").await?;
    let said = alice.quit().await?;
    let ends = exactly(&said, &["call_end"], &[("call_end", "remote_drop"), ("call_end", "hangup")]);
    report.promise("its old call has ended, and each end is told once", ends);
    let said = bob.quit().await?;
    report.promise("it is told of its new call alone", exactly(&said, &["call_end"], &[("call_end", "remote_hangup")]));
    Ok(report)
}
