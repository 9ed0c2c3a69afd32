//! Ten devices of one user ring and one answers.

use tests::processes::host::{PhoneProcess, at_us};

use crate::report::{Report, exactly, ms_until};
use crate::room::{Room, Setting};

const DEVICES: usize = 10;

pub(crate) async fn run(setting: &Setting) -> Result<Report, String> {
    // One round trip to the server and 100 ms.
    let aim_ms = if setting.inside { 200.0 } else { 100.0 };
    let mut report = Report::default();
    let room = Room::open(setting).await?;
    let mut alice = room.quiet("alice").await?;
    let mut devices = Vec::new();
    for number in 1..=DEVICES {
        devices.push(room.quiet(&format!("bob/{number}")).await?);
    }
    alice.tell("call bob").await?;
    let calling = at_us(&alice.until("calling").await?);
    let mut last_ring = 0.0_f64;
    for device in &mut devices {
        last_ring = last_ring.max(ms_until(calling, &device.until("receive_call").await?));
    }
    report.value("until the last of ten devices rings", format!("{last_ring:.0} ms"));

    let mut winner = devices.swap_remove(4);
    winner.tell("answer").await?;
    let answering = at_us(&winner.until("answering").await?);
    let mut slowest = 0.0_f64;
    for device in &mut devices {
        slowest = slowest.max(ms_until(answering, &device.until("call_end").await?));
    }
    report.time("from the accept until the slowest of the nine others is silent", slowest, aim_ms);
    for phone in [&mut alice, &mut winner] {
        phone.until("first_audio").await?;
    }
    alice.tell("hangup").await?;
    winner.until("call_end").await?;

    let told = exactly(&winner.quit().await?, &["call_end"], &[("call_end", "remote_hangup")]);
    report.promise("the one that answered is told its end once", told);
    report.promise("each other is told once that another answered", others_ends(devices).await?);
    let told = exactly(&alice.quit().await?, &["answer", "call_end"], &[("answer", ""), ("call_end", "hangup")]);
    report.promise("the caller is told one answer and one end", told);
    Ok(report)
}

async fn others_ends(devices: Vec<PhoneProcess>) -> Result<Result<(), String>, String> {
    let mut told = Ok(());
    for device in devices {
        told = told.and(exactly(&device.quit().await?, &["call_end"], &[("call_end", "answered_elsewhere")]));
    }
    Ok(told)
}
