//! A path that is connected while the phone rings, long before anybody speaks, in virtual time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod world;

use std::time::Duration;

use rtc_transport::simulated::{Link, pass};
use rtc_transport::{OutgoingVoice, PathEvent};
use tokio::time::Instant;
use world::{call, ms, number, packet, speak};

const LIMIT: Duration = Duration::from_secs(10);
const RINGING: Duration = Duration::from_secs(120);

#[test]
fn after_two_minutes_of_ringing_the_first_packet_takes_one_way() {
    for link in [Link::delayed(ms(50)), Link::delayed(ms(50)).with_loss(0.1)] {
        call(1, link, async |mut call| {
            call.connect(LIMIT).await.unwrap();
            call.caller.heard();
            call.callee.heard();
            let before = call.network.counts(&call.alice, &call.bob);
            pass(RINGING).await;
            let idle = call.network.counts(&call.alice, &call.bob);
            assert_eq!((call.caller.heard().0, call.callee.heard().0), (vec![], vec![]), "it stays connected");
            let a_second = (idle.bytes - before.bytes) / RINGING.as_secs();
            assert!(a_second < 500, "{a_second} bytes a second each way while nobody speaks");
            // Both ends at once, and what is lost is lost.
            for (speaker, listener) in
                [(&call.callee.path, &mut call.caller.events), (&call.caller.path, &mut call.callee.events)]
            {
                let start = Instant::now();
                let (mut heard, mut n) = (None, 0);
                while heard.is_none() {
                    let said = Instant::now();
                    speaker.send_voice(packet(n)).unwrap();
                    pass(ms(51)).await;
                    n += 1;
                    while let Some(event) = listener.try_recv() {
                        if let PathEvent::Voice(voice) = event {
                            assert!(voice.arrival <= (said + ms(51)).into_std());
                            heard = Some(number(&voice));
                        }
                    }
                }
                assert!(link.loss > 0.0 || start.elapsed() <= ms(51), "{:?}", start.elapsed());
            }
        });
    }
}

#[test]
fn a_pause_is_no_jitter_whether_the_senders_clock_ran_on_or_not() {
    for clock_runs_on in [true, false] {
        call(2, Link::delayed(ms(50)), async |mut call| {
            call.connect(LIMIT).await.unwrap();
            pass(RINGING).await;
            let (caller, callee) = (call.caller.path.clone(), call.callee.path.clone());
            speak(&caller, 0, 50).await;
            pass(RINGING).await;
            let skipped = if clock_runs_on { RINGING.as_millis() as u32 * 48 } else { 0 };
            for n in 50..100 {
                let next = packet(n);
                caller.send_voice(OutgoingVoice { timestamp: next.timestamp + skipped, ..next }).unwrap();
                pass(ms(20)).await;
            }
            pass(ms(100)).await;
            let incoming = callee.stats().incoming;
            assert!(incoming.jitter_ms < 1.0, "clock runs on: {clock_runs_on}: {} ms", incoming.jitter_ms);
            assert_eq!((incoming.packets, incoming.lost, incoming.loss_fraction), (100, 0, 0.0));
            let remote_jitter = caller.stats().outgoing.remote_jitter_ms.unwrap();
            assert!(remote_jitter < 1.0, "{remote_jitter}");
        });
    }
}
