//! The server is killed in mid-call and started again.

use std::time::Duration;

use tests::processes::host::{PhoneProcess, at_us};

use crate::report::{Report, exactly, is, ms_between};
use crate::room::{PATIENCE, Room, Setting, connect, marks, talk};

pub(crate) async fn run(setting: &Setting) -> Result<Report, String> {
    let mut report = Report::default();
    for away_s in if setting.short { &[1][..] } else { &[1, 5] } {
        report.append(killed_for(setting, Duration::from_secs(*away_s)).await?);
    }
    Ok(report)
}

/// How long something may take that is on its way already.
const SOON: Duration = Duration::from_secs(5);

/// What the other side is told of, and how often.
const EVENTS: [&str; 2] = ["user_mute_audio", "call_end"];

async fn killed_for(setting: &Setting, away: Duration) -> Result<Report, String> {
    let mut report = Report::default();
    report.note(format!("back after {} s", away.as_secs()));
    let mut room = Room::open(setting).await?;
    let (mut alice, mut bob) = (room.phone("alice").await?, room.phone("bob").await?);
    connect(&mut alice, &mut bob, "bob").await?;
    talk(&mut alice, &mut bob, Duration::from_secs(2)).await;

    let before = marks(&mut alice, &mut bob).await?;
    resumed(&mut report, &mut room, &mut alice, &mut bob, away).await?;
    talk(&mut alice, &mut bob, Duration::from_secs(2)).await;
    let after = marks(&mut alice, &mut bob).await?;

    // Once more, and this time something happens while the server, and then one phone, is away.
    let mut carol = room.quiet("carol").await?;
    let since = since_now(&bob);
    meanwhile(&mut room, &mut alice, &mut bob, &mut carol).await?;
    bob.until_like(since, PATIENCE, "the mute", |line| is(line, "user_mute_audio", "true")).await?;
    let missed = bob.until_like(since, SOON, "the missed call", |line| line["event"] == "call_missed").await;
    alice.tell("unmute").await?;
    bob.until_like(since, PATIENCE, "the unmute", |line| is(line, "user_mute_audio", "false")).await?;
    alice.tell("hangup").await?;
    for phone in [&mut alice, &mut bob] {
        phone.until_like(0, PATIENCE, "the end", |line| line["event"] == "call_end").await?;
    }
    let (alice, bob) = (alice.quit().await?, bob.quit().await?);
    carol.quit().await?;

    for (user, at) in [("alice", 0), ("bob", 1)] {
        let gap = room.heard(user)?.longest_gap(before[at].heard_ms, after[at].heard_ms);
        report.time(format!("longest gap in the sound at {user}'s ear"), gap.len_ms as f64, 0.0);
    }
    let told = exactly(
        &bob[since..],
        &EVENTS,
        &[("user_mute_audio", "true"), ("user_mute_audio", "false"), ("call_end", "remote_hangup")],
    );
    report.promise("a mute while it is away, an unmute and a hang-up arrive once each", told);
    let told =
        missed.and_then(|_| exactly(&bob[since..], &["receive_call", "call_missed"], &[("call_missed", "carol")]));
    report.promise("a call that was given up while the phone was away is told as missed, once", told);
    report.promise("the caller is told the end once", exactly(&alice, &EVENTS, &[("call_end", "hangup")]));
    Ok(report)
}

/// The server is killed, Alice mutes, the server comes back, Carol calls Bob before his phone has come back and gives up, and then his
/// phone comes back.
async fn meanwhile(
    room: &mut Room,
    alice: &mut PhoneProcess,
    bob: &mut PhoneProcess,
    carol: &mut PhoneProcess,
) -> Result<(), String> {
    let since = [since_now(alice), since_now(carol)];
    let options = room.kill_server().await?;
    until_connection(alice, since[0], "reconnecting").await?;
    alice.tell("mute").await?;
    tokio::time::sleep(Duration::from_millis(500)).await; // sleeps: the mute is said while nobody carries it
    bob.freeze().await?;
    room.start_server(options).await?;
    room.register("bob").await?;
    until_connection(carol, since[1], "connected").await?;
    carol.tell("call bob").await?;
    carol.until("calling").await?;
    carol.listen(Duration::from_millis(700)).await;
    carol.tell("hangup").await?;
    carol.until("call_end").await?;
    bob.thaw().await?;
    until_connection(alice, since[0], "connected").await?;
    Ok(())
}

/// Kills the server, starts it again, and tells how long both phones took to come back.
async fn resumed(
    report: &mut Report,
    room: &mut Room,
    alice: &mut PhoneProcess,
    bob: &mut PhoneProcess,
    away: Duration,
) -> Result<(), String> {
    let since = [since_now(alice), since_now(bob)];
    let options = room.kill_server().await?;
    tokio::time::sleep(away).await; // sleeps: the time without a server that is measured
    for (phone, since) in [(&mut *alice, since[0]), (&mut *bob, since[1])] {
        until_connection(phone, since, "reconnecting").await?;
    }
    let ready_us = room.start_server(options).await?;
    let mut last_us = ready_us;
    for (phone, since) in [(alice, since[0]), (bob, since[1])] {
        last_us = last_us.max(at_us(&until_connection(phone, since, "connected").await?));
    }
    report.time("from the server's ready line until both phones are back", ms_between(ready_us, last_us), 2_000.0);
    Ok(())
}

async fn until_connection(phone: &mut PhoneProcess, since: usize, state: &str) -> Result<serde_json::Value, String> {
    phone.until_like(since, PATIENCE, state, |line| is(line, "connection_changed", state)).await
}

fn since_now(phone: &PhoneProcess) -> usize {
    phone.said.len()
}
