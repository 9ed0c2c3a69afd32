//! Paths over the machine's real loopback sockets.

use std::time::Duration;

use bytes::Bytes;
use rtc_transport::{Interfaces, MediaPath, OutgoingVoice, PathConfig, PathEvent, PathEvents, PathState};

fn config() -> PathConfig {
    PathConfig { interfaces: Interfaces::Loopback, ..PathConfig::default() }
}

/// Carries candidates from one end to the other until it is connected.
async fn until_connected(events: &mut PathEvents, other: &MediaPath) {
    while let Some(event) = events.recv().await {
        match event {
            PathEvent::LocalCandidate(candidate) => other.add_candidate(candidate).await.unwrap(),
            PathEvent::StateChanged(PathState::Connected) => return,
            _ => {}
        }
    }
    panic!("closed before it was connected");
}

#[tokio::test]
async fn two_paths_connect_and_voice_flows_both_ways() {
    let (caller, mut caller_events) = MediaPath::open(config()).await.unwrap();
    let (callee, mut callee_events) = MediaPath::open(config()).await.unwrap();
    let started = std::time::Instant::now();
    let offer = caller.create_offer().await.unwrap();
    println!("{offer}");
    let answer = callee.accept_offer(&offer).await.unwrap();
    println!("{answer}");
    caller.accept_answer(&answer).await.unwrap();
    tokio::join!(until_connected(&mut caller_events, &callee), until_connected(&mut callee_events, &caller));
    println!("connected after {:?}", started.elapsed());
    for (from, to) in [(&caller, &mut callee_events), (&callee, &mut caller_events)] {
        for n in 0..3u32 {
            let payload = Bytes::from(vec![n as u8; 60]);
            from.send_voice(OutgoingVoice {
                payload,
                timestamp: 960 * n,
                marker: n == 0,
                level: 40 + n as u8,
                voice_activity: n != 1,
            })
            .unwrap();
        }
        let mut sequence = None;
        for n in 0..3u32 {
            let voice = loop {
                if let PathEvent::Voice(voice) = to.recv().await.unwrap() {
                    break voice;
                }
            };
            assert_eq!(voice.payload, vec![n as u8; 60]);
            assert_eq!((voice.timestamp, voice.marker), (960 * n, n == 0));
            let level = voice.level.expect("the level travels with the packet");
            assert_eq!((level.level, level.voice_activity), (40 + n as u8, n != 1));
            assert_eq!(voice.sequence, *sequence.get_or_insert(voice.sequence.wrapping_sub(n as u16)) + n as u16);
        }
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    println!("{:#?}", caller.stats());
    caller.close().await;
    while !matches!(
        callee_events.recv().await,
        Some(PathEvent::StateChanged(PathState::Closed | PathState::Disconnected | PathState::Failed)) | None
    ) {}
    println!("closed after {:?}", started.elapsed());
}
