//! The caller is killed while three devices of the callee ring.

use std::time::Duration;

use tests::processes::host::now_us;

use crate::report::{Report, exactly, ms_until};
use crate::room::{Room, Setting};

/// How long the devices may take before something is wrong for sure: the call would have rung for 30 s.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn run(setting: &Setting) -> Result<Report, String> {
    let mut report = Report::default();
    let room = Room::open(setting).await?;
    let mut alice = room.quiet("alice").await?;
    let mut devices = Vec::new();
    for device in ["bob/desk", "bob/pocket", "bob/wrist"] {
        devices.push(room.quiet(device).await?);
    }
    alice.tell("call bob").await?;
    for device in &mut devices {
        device.until("receive_call").await?;
    }
    alice.kill().await?;
    let killed_us = now_us();
    let mut slowest = 0.0_f64;
    for device in &mut devices {
        slowest = slowest.max(ms_until(killed_us, &device.until_within("call_end", PATIENCE).await?));
    }
    report.time("until the slowest of three devices is silent", slowest, 10_000.0);
    let mut told = Ok(());
    for device in devices {
        let said = device.quit().await?;
        told = told.and(exactly(&said, &["call_end"], &[("call_end", "remote_drop")]));
    }
    report.promise("each of them is told the end once", told);
    Ok(report)
}
