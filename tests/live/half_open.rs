//! Nothing of one phone's TCP connection gets through for a while, and nobody is told; its UDP packets do.
//!
//! In the laboratory packets are dropped; in the short run a relay before the server holds back what is said.

use std::time::Duration;

use tests::processes::host::{PhoneProcess, now_us};
use tests::processes::netlab;
use tests::processes::relay::Relay;

use crate::report::{Report, exactly, is, ms_until};
use crate::room::{PATIENCE, Room, Setting, connect, marks, talk};

pub(crate) async fn run(setting: &Setting) -> Result<Report, String> {
    let mut report = Report::default();
    for_a_little(setting, &mut report).await?;
    if !setting.short {
        for_too_long(setting, &mut report).await?;
    }
    Ok(report)
}

/// What lies between Alice and the server.
enum Wire {
    OfTheLab,
    Relay(Relay),
}

impl Wire {
    async fn of(room: &Room, setting: &Setting) -> Result<Wire, String> {
        Ok(if setting.inside { Wire::OfTheLab } else { Wire::Relay(Relay::to(room.url()).await?) })
    }

    fn set_alive(&self, alive: bool) -> Result<(), String> {
        match self {
            Wire::OfTheLab => netlab::set("alice", &format!("tcp={alive}")),
            Wire::Relay(relay) => {
                relay.set_alive(alive);
                Ok(())
            }
        }
    }

    async fn alice(&self, room: &Room) -> Result<PhoneProcess, String> {
        match self {
            Wire::OfTheLab => room.phone("alice").await,
            Wire::Relay(relay) => room.phone_through("alice", &relay.url).await,
        }
    }
}

/// The server hears nothing of Alice for 8 s: the call goes on, and what she did is told afterwards.
async fn for_a_little(setting: &Setting, report: &mut Report) -> Result<(), String> {
    report.note("for 8 s");
    let room = Room::open(setting).await?;
    let wire = Wire::of(&room, setting).await?;
    let (mut alice, mut bob) = (wire.alice(&room).await?, room.phone("bob").await?);
    connect(&mut alice, &mut bob, "bob").await?;
    talk(&mut alice, &mut bob, Duration::from_secs(2)).await;
    let since = bob.said.len();
    let before = marks(&mut alice, &mut bob).await?;
    wire.set_alive(false)?;
    talk(&mut alice, &mut bob, Duration::from_secs(4)).await;
    alice.tell("mute").await?;
    talk(&mut alice, &mut bob, Duration::from_secs(4)).await;
    wire.set_alive(true)?;
    let back_us = now_us();
    let mute = bob.until_like(since, PATIENCE, "the mute", |line| is(line, "user_mute_audio", "true")).await?;
    report.time(
        "from the connection's return until what was done meanwhile arrives",
        ms_until(back_us, &mute),
        2_000.0,
    );
    alice.tell("unmute").await?;
    bob.until_like(since, PATIENCE, "the unmute", |line| is(line, "user_mute_audio", "false")).await?;
    let after = marks(&mut alice, &mut bob).await?;
    alice.tell("hangup").await?;
    bob.until("call_end").await?;
    let (alice, bob) = (alice.quit().await?, bob.quit().await?);
    // Bob's ear hears a muted Alice meanwhile.
    let gap = room.heard("alice")?.longest_gap(before[0].heard_ms, after[0].heard_ms);
    room.close().await?;
    report.time("longest gap in the sound at the ear that is cut off", gap.len_ms as f64, 0.0);
    let wanted = [("user_mute_audio", "true"), ("user_mute_audio", "false"), ("call_end", "remote_hangup")];
    let told = exactly(&bob[since..], &["user_mute_audio", "call_end"], &wanted);
    report.promise("a mute meanwhile, an unmute and a hang-up arrive once each", told);
    report.promise("who was cut off is told the end once", exactly(&alice, &["call_end"], &[("call_end", "hangup")]));
    Ok(())
}

/// The server hears nothing of Alice for 20 s, longer than the resume window: the call ends for both.
async fn for_too_long(setting: &Setting, report: &mut Report) -> Result<(), String> {
    report.note("for 20 s");
    let room = Room::open(setting).await?;
    let wire = Wire::of(&room, setting).await?;
    let (mut alice, mut bob) = (wire.alice(&room).await?, room.phone("bob").await?);
    connect(&mut alice, &mut bob, "bob").await?;
    talk(&mut alice, &mut bob, Duration::from_secs(1)).await;
    wire.set_alive(false)?;
    let cut_us = now_us();
    talk(&mut alice, &mut bob, Duration::from_secs(20)).await;
    wire.set_alive(true)?;
    let back_us = now_us();
    for (who, phone) in [("bob", &mut bob), ("alice (who is cut off)", &mut alice)] {
        let end = ended(phone).await?;
        report.value(
            format!("until {who} is told the end: {}", end["detail"].as_str().unwrap_or_default()),
            format!("{:.0} ms", ms_until(cut_us, &end)),
        );
    }
    let warned = bob.said.iter().find(|line| is(line, "peer_reachable", "false")).map(|line| ms_until(cut_us, line));
    match warned {
        Some(ms) => report.time("until the other side is warned", ms, 10_000.0),
        None => report.promise("the other side is warned before the end", Err("it was not".into())),
    }
    let end = ended(&mut alice).await?;
    report.time("from the connection's return until both are told", ms_until(back_us, &end).max(0.0), 2_000.0);
    let (alice, bob) = (alice.quit().await?, bob.quit().await?);
    room.close().await?;
    report.promise("the other side is told the end once", exactly(&bob, &["call_end"], &[("call_end", "remote_drop")]));
    report.promise(
        "who was cut off is told the end once",
        exactly(&alice, &["call_end"], &[("call_end", "remote_drop")]),
    );
    Ok(())
}

async fn ended(phone: &mut PhoneProcess) -> Result<serde_json::Value, String> {
    phone.until_like(0, PATIENCE, "the end", |line| line["event"] == "call_end").await
}
