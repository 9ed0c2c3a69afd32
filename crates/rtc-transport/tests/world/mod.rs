//! Two ends that call each other, and the signalling between them.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rtc_transport::simulated::{Host, Link, Network, run};
use rtc_transport::{IncomingVoice, MediaPath, OutgoingVoice, PathConfig, PathEvent, PathEvents, PathState};

pub(crate) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One end of a call.
pub(crate) struct End {
    pub(crate) path: MediaPath,
    pub(crate) events: PathEvents,
}

impl End {
    pub(crate) async fn open(config: PathConfig) -> End {
        let (path, events) = MediaPath::open(config).await.unwrap();
        End { path, events }
    }

    /// Carries this end's candidates to the other, each `signalling` late, until the path is in `wanted`.
    pub(crate) async fn until(&mut self, wanted: PathState, other: &MediaPath, signalling: Duration) -> bool {
        while let Some(event) = self.events.recv().await {
            match event {
                PathEvent::LocalCandidate(candidate) => {
                    let other = other.clone();
                    tokio::spawn(async move {
                        // sleeps: virtual time
                        tokio::time::sleep(signalling).await;
                        let _ = other.add_candidate(candidate).await;
                    });
                }
                PathEvent::StateChanged(state) if state == wanted => return true,
                PathEvent::StateChanged(PathState::Failed | PathState::Closed) => return false,
                _ => {}
            }
        }
        false
    }

    /// The next voice packet.
    pub(crate) async fn voice(&mut self) -> IncomingVoice {
        loop {
            match self.events.recv().await.expect("the path is open") {
                PathEvent::Voice(voice) => return voice,
                _ => continue,
            }
        }
    }

    /// The states and voice packets that have come so far.
    pub(crate) fn heard(&mut self) -> (Vec<PathState>, Vec<IncomingVoice>) {
        let (mut states, mut voices) = (vec![], vec![]);
        while let Some(event) = self.events.try_recv() {
            match event {
                PathEvent::StateChanged(state) => states.push(state),
                PathEvent::Voice(voice) => voices.push(voice),
                _ => {}
            }
        }
        (states, voices)
    }
}

pub(crate) struct Call {
    pub(crate) network: Network,
    pub(crate) alice: Arc<Host>,
    pub(crate) bob: Arc<Host>,
    pub(crate) caller: End,
    pub(crate) callee: End,
    pub(crate) signalling: Duration,
}

impl Call {
    pub(crate) async fn new(seed: u64, link: Link) -> Call {
        Call::with(seed, link, |config| config).await
    }

    pub(crate) async fn with(seed: u64, link: Link, change: impl Fn(PathConfig) -> PathConfig) -> Call {
        let network = Network::new(seed);
        let (alice, bob) = (network.host(), network.host());
        network.connect(&alice, &bob, link);
        let caller = End::open(change(alice.path_config())).await;
        let callee = End::open(change(bob.path_config())).await;
        Call { network, alice, bob, caller, callee, signalling: link.delay }
    }

    /// Offer, ring, answer; gives how long after the answer each end was connected, in virtual time.
    pub(crate) async fn connect(&mut self, limit: Duration) -> Option<(Duration, Duration)> {
        let offer = self.caller.path.create_offer().await.unwrap();
        // sleeps: virtual time
        tokio::time::sleep(self.signalling + ms(5)).await;
        // The caller's candidates came while it rang.
        while let Some(event) = self.caller.events.try_recv() {
            if let PathEvent::LocalCandidate(candidate) = event {
                self.callee.path.add_candidate(candidate).await.unwrap();
            }
        }
        let start = tokio::time::Instant::now();
        let answer = self.callee.path.accept_offer(&offer).await.unwrap();
        let (caller, callee) = (self.caller.path.clone(), self.callee.path.clone());
        let signalling = self.signalling;
        let deliver = async {
            // sleeps: virtual time
            tokio::time::sleep(signalling).await;
            caller.accept_answer(&answer).await.unwrap();
        };
        let caller_up =
            async { self.caller.until(PathState::Connected, &callee, signalling).await.then(|| start.elapsed()) };
        let callee_up =
            async { self.callee.until(PathState::Connected, &caller, signalling).await.then(|| start.elapsed()) };
        let all = async { tokio::join!(deliver, caller_up, callee_up) };
        let (_, caller, callee) = tokio::time::timeout(limit, all).await.ok()?;
        Some((caller?, callee?))
    }
}

/// Runs a call in virtual time.
pub(crate) fn call<T>(seed: u64, link: Link, story: impl AsyncFnOnce(Call) -> T) -> T {
    run(async { story(Call::new(seed, link).await).await })
}

/// Packet `n` of a voice: everything about it tells its number.
pub(crate) fn packet(n: u32) -> OutgoingVoice {
    OutgoingVoice {
        payload: Bytes::from(n.to_be_bytes().repeat(20)),
        timestamp: n.wrapping_mul(960),
        marker: n.is_multiple_of(50),
        level: (n % 128) as u8,
        voice_activity: n.is_multiple_of(3),
    }
}

/// The number of a packet as heard, which everything about it confirms.
pub(crate) fn number(voice: &IncomingVoice) -> u32 {
    let n = u32::from_be_bytes(voice.payload[..4].try_into().unwrap());
    let sent = packet(n);
    assert_eq!(voice.payload, sent.payload);
    assert_eq!((voice.timestamp, voice.marker), (sent.timestamp, sent.marker));
    let level = voice.level.expect("every packet has its level");
    assert_eq!((level.level, level.voice_activity), (sent.level, sent.voice_activity));
    n
}

/// Keeps what the end hears while `doing` goes on, and for `longer` after it.
pub(crate) async fn hearing<T>(end: &mut End, longer: Duration, doing: impl Future<Output = T>) -> Vec<IncomingVoice> {
    let mut heard = vec![];
    let doing = async {
        doing.await;
        // sleeps: virtual time
        tokio::time::sleep(longer).await;
    };
    tokio::pin!(doing);
    loop {
        tokio::select! {
            voice = end.voice() => heard.push(voice),
            () = &mut doing => return heard,
        }
    }
}

/// Sends packets `from..to`, one each 20 ms.
pub(crate) async fn speak(path: &MediaPath, from: u32, to: u32) {
    for n in from..to {
        path.send_voice(packet(n)).unwrap();
        // sleeps: virtual time, one packet every 20 ms
        tokio::time::sleep(ms(20)).await;
    }
}
