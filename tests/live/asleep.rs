//! A phone is stopped for a while and goes on, as when its machine slept.

use std::time::Duration;

use tests::processes::host::now_us;

use crate::report::{Report, exactly, ms_between, ms_until};
use crate::room::{PATIENCE, Room, SOUND_IS_BACK_MS, Setting, connect, marks, talk};

pub(crate) async fn run(setting: &Setting) -> Result<Report, String> {
    let mut report = Report::default();
    sleeps_a_little(setting, &mut report).await?;
    if !setting.short {
        sleeps_too_long(setting, &mut report).await?;
    }
    Ok(report)
}

/// Within the resume window: the call goes on.
async fn sleeps_a_little(setting: &Setting, report: &mut Report) -> Result<(), String> {
    report.note("for 8 s");
    let room = Room::open(setting).await?;
    let (mut alice, mut bob) = (room.phone("alice").await?, room.phone("bob").await?);
    connect(&mut alice, &mut bob, "bob").await?;
    talk(&mut alice, &mut bob, Duration::from_secs(2)).await;
    let since = bob.said.len();
    alice.freeze().await?;
    bob.listen(Duration::from_secs(8)).await;
    alice.thaw().await?;
    let thawed_us = now_us();
    let awake = marks(&mut alice, &mut bob).await?;
    talk(&mut alice, &mut bob, Duration::from_secs(5)).await;
    let after = marks(&mut alice, &mut bob).await?;
    alice.tell("mute").await?;
    bob.until("user_mute_audio").await?;
    alice.tell("unmute").await?;
    bob.until("user_mute_audio").await?;
    alice.tell("hangup").await?;
    bob.until("call_end").await?;
    let (alice, bob) = (alice.quit().await?, bob.quit().await?);
    for (user, ear) in [("alice (who slept)", 0), ("bob", 1)] {
        let hearing = room.heard(["alice", "bob"][ear])?;
        let what = format!("from waking until sound is back at the ear of {user}");
        match hearing.right_again(awake[ear].heard_ms, SOUND_IS_BACK_MS) {
            Some(back) => report.time(what, ms_between(thawed_us, after[ear].wall_us(back)).max(0.0), 1_000.0),
            None => report.promise(what, Err("it did not come back within 5 s".into())),
        }
    }
    let wanted = [("user_mute_audio", "true"), ("user_mute_audio", "false"), ("call_end", "remote_hangup")];
    let told = exactly(&bob[since..], &["user_mute_audio", "call_end"], &wanted);
    report.promise("a mute, an unmute and a hang-up after it arrive once each", told);
    report.promise("who slept is told the end once", exactly(&alice, &["call_end"], &[("call_end", "hangup")]));
    Ok(())
}

/// Beyond the resume window: the call ends for both.
async fn sleeps_too_long(setting: &Setting, report: &mut Report) -> Result<(), String> {
    report.note("for 20 s");
    let room = Room::open(setting).await?;
    let (mut alice, mut bob) = (room.quiet("alice").await?, room.quiet("bob").await?);
    connect(&mut alice, &mut bob, "bob").await?;
    talk(&mut alice, &mut bob, Duration::from_secs(1)).await;
    alice.freeze().await?;
    let frozen_us = now_us();
    let end = bob.until_within("call_end", PATIENCE).await;
    if let Ok(end) = &end {
        report.time("until the call ends at the other side", ms_until(frozen_us, end), 15_000.0);
    }
    let left = Duration::from_secs(20).saturating_sub(Duration::from_micros(now_us() - frozen_us));
    bob.listen(left).await;
    alice.thaw().await?;
    let thawed_us = now_us();
    let end = alice.until_within("call_end", PATIENCE).await?;
    report.time("from waking until who slept is told the end", ms_until(thawed_us, &end), 1_000.0);
    let (alice, bob) = (alice.quit().await?, bob.quit().await?);
    report.promise("the other side is told the end once", exactly(&bob, &["call_end"], &[("call_end", "remote_drop")]));
    report.promise("who slept is told the end once", exactly(&alice, &["call_end"], &[("call_end", "remote_drop")]));
    Ok(())
}
