//! One path to one other end: opening, negotiation, sending, closing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rtc::peer_connection::configuration::RTCOfferOptions;
use tokio::sync::{Mutex, Notify};
use webrtc::peer_connection::{PeerConnection, RTCIceCandidateInit, RTCSessionDescription};
use webrtc::rtp_transceiver::RtpSender;

use crate::config::{IcePolicy, Interfaces, PathConfig};
use crate::engine::{self, Handler, OPUS_PAYLOAD_TYPE, voice_track};
use crate::error::{NegotiationError, OpenError, SendError};
use crate::event::{Candidate, PathEvent, PathEvents, PathState, lock};
use crate::reports::Shared;
use crate::runtime::{Runtime, tokio as tokio_runtime};
use crate::seam::{Rebound, Seam, SeamRuntime};
use crate::selected;
use crate::sending::Sending;
use crate::servers;
use crate::stats::{CandidateKind, PathStats};
use crate::voice::{Outbox, OutgoingVoice};

/// Candidates kept while there is no description yet; a machine has a handful.
const PARKED_LIMIT: usize = 64;

/// One encrypted media path to one other end; a cheap handle, closed when its last copy is dropped.
#[derive(Clone)]
pub struct MediaPath {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for MediaPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaPath").finish_non_exhaustive()
    }
}

struct Inner {
    connection: Arc<dyn PeerConnection>,
    sender: Arc<dyn RtpSender>,
    runtime: Arc<dyn Runtime>,
    seam: Arc<Seam>,
    shared: Arc<Shared>,
    outbox: Arc<Outbox>,
    changed: Arc<Notify>,
    payload_type: Arc<AtomicU8>,
    interfaces: Interfaces,
    policy: IcePolicy,
    /// One negotiation step at a time; inside: candidates that came before the description.
    negotiation: Mutex<Negotiation>,
    closed: AtomicBool,
}

#[derive(Default)]
struct Negotiation {
    described: bool,
    parked: Vec<Candidate>,
}

impl MediaPath {
    /// Opens a path: binds its sockets and starts its tasks, but says nothing to anybody yet.
    pub async fn open(config: PathConfig) -> Result<(MediaPath, PathEvents), OpenError> {
        let runtime = config.runtime.clone().unwrap_or_else(tokio_runtime);
        let servers = servers::resolve(&config, &*runtime).await?;
        let shared = Arc::new(Shared::default());
        let changed = shared.changed.clone();
        let seam = Arc::new(Seam::new(config.swiftness, runtime.clone(), shared.clone(), changed.clone()));
        let outbox = Arc::new(Outbox::default());
        let handler = Handler {
            events: shared.events.clone(),
            outbox: outbox.clone(),
            seam: seam.clone(),
            changed: changed.clone(),
            policy: config.policy,
        };
        let seam_runtime = Arc::new(SeamRuntime::new(runtime.clone(), seam.clone()));
        let connection: Arc<dyn PeerConnection> =
            Arc::from(engine::build(&config, servers, seam_runtime, &seam, &shared, handler).await?);
        let engine_error = |error: webrtc::error::Error| OpenError::Engine(error.to_string());
        let (ssrc, sequence) = seam.random_ids();
        let track = voice_track(ssrc);
        let sender = connection.add_track(track.clone()).await.map_err(engine_error)?;
        let payload_type = Arc::new(AtomicU8::new(OPUS_PAYLOAD_TYPE));
        let sending =
            Sending { outbox: outbox.clone(), shared: shared.clone(), track, ssrc, payload_type: payload_type.clone() };
        runtime.spawn(Box::pin(sending.run(sequence))).detach();
        runtime
            .spawn(Box::pin(selected::follow(
                Arc::downgrade(&connection),
                sender.clone(),
                shared.clone(),
                outbox.clone(),
                seam.clone(),
                changed.clone(),
                runtime.clone(),
            )))
            .detach();
        let events = PathEvents { queue: shared.events.clone() };
        let inner = Inner {
            connection,
            sender,
            runtime,
            seam,
            shared,
            outbox,
            changed,
            payload_type,
            interfaces: config.interfaces,
            policy: config.policy,
            negotiation: Mutex::default(),
            closed: AtomicBool::new(false),
        };
        Ok((MediaPath { inner: Arc::new(inner) }, events))
    }

    /// Makes the offer; whoever makes it is the caller and decides which pair is used (ICE controlling).
    ///
    /// Local candidates follow as events. Not cancel safe: a call dropped half-way leaves an offer the other end
    /// never saw, which the next `create_offer` replaces.
    pub async fn create_offer(&self) -> Result<String, NegotiationError> {
        let _one = self.begin().await?;
        self.offer(None).await
    }

    /// Takes the other end's offer and makes the answer.
    pub async fn accept_offer(&self, sdp: &str) -> Result<String, NegotiationError> {
        let mut negotiation = self.begin().await?;
        let offer = RTCSessionDescription::offer(sdp.to_owned()).map_err(rejected)?;
        self.inner.seam.on_remote_description(sdp, true);
        self.inner.connection.set_remote_description(offer).await.map_err(rejected)?;
        let answer = self.inner.connection.create_answer(None).await.map_err(unavailable)?;
        let sdp = self.inner.policy.said(&answer.sdp);
        self.inner.connection.set_local_description(answer).await.map_err(unavailable)?;
        self.described(&mut negotiation).await;
        Ok(sdp)
    }

    /// Takes the answer to this end's offer.
    pub async fn accept_answer(&self, sdp: &str) -> Result<(), NegotiationError> {
        let mut negotiation = self.begin().await?;
        let answer = RTCSessionDescription::answer(sdp.to_owned()).map_err(rejected)?;
        self.inner.seam.on_remote_description(sdp, false);
        self.inner.connection.set_remote_description(answer).await.map_err(rejected)?;
        self.described(&mut negotiation).await;
        Ok(())
    }

    /// Takes a candidate of the other end, before or after its description.
    pub async fn add_candidate(&self, candidate: Candidate) -> Result<(), NegotiationError> {
        let mut negotiation = self.begin().await?;
        if candidate.candidate.is_empty() {
            return Ok(());
        }
        if negotiation.described {
            return self.add_now(candidate).await;
        }
        if negotiation.parked.len() == PARKED_LIMIT {
            return Err(NegotiationError::TooManyCandidates);
        }
        negotiation.parked.push(candidate);
        Ok(())
    }

    /// Follows a change of the machine's addresses ([`NetworkWatch`](crate::NetworkWatch)) without signalling: sockets
    /// whose address is gone are replaced, and the other end follows as it would follow a NAT.
    ///
    /// Voice of this end is heard at once, voice of the other end after two round trips. [`Rebound::Unreachable`],
    /// after a second at the most, says that the other end cannot be reached this way: because its NAT lets nobody in
    /// whom it did not call, because media takes a relay, or because nothing is left of the address family; then
    /// [`MediaPath::restart_ice`] finds another way. Needs the other end to be of this crate. Cancel safe: the sockets
    /// are replaced by the first poll, the rest is waiting.
    pub async fn rebind(&self) -> Rebound {
        let addresses = self.inner.interfaces.addresses().unwrap_or_default();
        self.inner.seam.rebind(&addresses).await
    }

    /// Starts over with finding a way, over new sockets at the addresses there are now, at both ends; the encryption
    /// and the voice go on.
    ///
    /// Gives a new offer, to be answered like the first. Either end may ask. There is no voice from here until both
    /// ends have found a pair, about two round trips after the answer.
    pub async fn restart_ice(&self) -> Result<String, NegotiationError> {
        let mut negotiation = self.begin().await?;
        // Candidates that overtake the new answer belong to it.
        negotiation.described = false;
        self.offer(Some(RTCOfferOptions { ice_restart: true })).await
    }

    /// Queues a voice packet; never waits, so it may be called from a media thread.
    ///
    /// A full queue drops its oldest packet and counts it in [`PathStats::dropped_outgoing`].
    pub fn send_voice(&self, packet: OutgoingVoice) -> Result<(), SendError> {
        self.inner.outbox.push(packet)
    }

    /// Says a word of the call to the other end, which gets it as [`PathEvent::Control`]; at most
    /// [`MAX_CONTROL`](crate::MAX_CONTROL) bytes, never waits.
    ///
    /// Words are encrypted like the voice and can be said as soon as the path is connected. Each arrives at most once,
    /// and the network may lose or reorder them: say again what matters until the other end shows that it knows. A
    /// queue of 32 drops its oldest.
    pub fn send_control(&self, word: Bytes) -> Result<(), SendError> {
        self.inner.outbox.push_control(word)
    }

    /// The figures of this moment.
    pub fn stats(&self) -> PathStats {
        let now = self.inner.runtime.now();
        let mut stats = lock(&self.inner.shared.accounts).snapshot(now);
        stats.dropped_outgoing = self.inner.outbox.dropped();
        stats.dropped_incoming = self.inner.shared.events.dropped_voice();
        stats
    }

    /// Closes the path: tells the other end, ends the tasks and gives the sockets back. Closing twice is fine.
    ///
    /// Control words said before leave before the notice, the last of them twice, since nobody can repeat it any more.
    /// The other end hears the notice one one-way delay later, as [`PathState::Closed`]; it goes out three times, and
    /// an end that hears none of them says [`PathState::Disconnected`] after
    /// [`PathConfig::disconnected_after`](crate::PathConfig::disconnected_after). Not cancel safe: a call dropped
    /// half-way closes with the last handle.
    pub async fn close(&self) {
        self.inner.say_the_last_words().await;
        self.inner.shut();
        if let Err(error) = self.inner.connection.close().await {
            tracing::debug!(%error, "closing");
        }
        self.inner.shared.events.push(PathEvent::StateChanged(PathState::Closed));
        self.inner.shared.events.close();
    }

    async fn begin(&self) -> Result<tokio::sync::MutexGuard<'_, Negotiation>, NegotiationError> {
        let guard = self.inner.negotiation.lock().await;
        if self.inner.closed.load(Ordering::Acquire) { Err(NegotiationError::Closed) } else { Ok(guard) }
    }

    async fn offer(&self, options: Option<RTCOfferOptions>) -> Result<String, NegotiationError> {
        let offer = self.inner.connection.create_offer(options).await.map_err(unavailable)?;
        let sdp = self.inner.seam.on_offer(&self.inner.policy.said(&offer.sdp));
        self.inner.connection.set_local_description(offer).await.map_err(unavailable)?;
        Ok(sdp)
    }

    /// Both descriptions are there: adds what was parked, learns what was agreed.
    async fn described(&self, negotiation: &mut Negotiation) {
        negotiation.described = true;
        for candidate in std::mem::take(&mut negotiation.parked) {
            if let Err(error) = self.add_now(candidate).await {
                tracing::warn!(%error, "a candidate that came early");
            }
        }
        self.inner.seam.on_described();
        if let Ok(parameters) = self.inner.sender.get_parameters().await
            && let Some(codec) = parameters.rtp_parameters.codecs.first()
        {
            self.inner.payload_type.store(codec.payload_type, Ordering::Relaxed);
        }
    }

    async fn add_now(&self, candidate: Candidate) -> Result<(), NegotiationError> {
        let line = candidate.candidate.clone();
        let init = RTCIceCandidateInit {
            candidate: candidate.candidate,
            sdp_mid: candidate.sdp_mid,
            sdp_mline_index: candidate.sdp_mline_index,
            username_fragment: candidate.username_fragment,
            url: None,
        };
        self.inner.connection.add_ice_candidate(init).await.map_err(rejected)?;
        self.inner.seam.on_remote_candidate(&line);
        Ok(())
    }
}

impl Inner {
    async fn say_the_last_words(&self) {
        /// Time in which the engine sends what it has taken through a relay.
        const RELAYED: Duration = Duration::from_millis(3);
        let said = self.outbox.finish();
        self.have_left(said).await;
        // An engine that closes gives its relay back first, and the notice of the encryption has no way.
        let way = lock(&self.shared.accounts).selected;
        if self.outbox.is_open() && way.is_some_and(|way| way.local == CandidateKind::Relay) {
            for _ in 0..3 {
                self.have_left(self.outbox.say_closing()).await;
                self.runtime.sleep(RELAYED).await;
            }
        }
    }

    /// Waits until what was said has left, but not for an engine that is stuck.
    async fn have_left(&self, said: u64) {
        const AT_MOST: Duration = Duration::from_millis(100);
        let left = async {
            while self.shared.controls_left.load(Ordering::Acquire) < said {
                self.shared.control_left.notified().await;
            }
        };
        tokio::select! {
            () = left => {}
            () = self.runtime.sleep(AT_MOST) => tracing::debug!("closing before the last word has left"),
        }
    }

    fn shut(&self) {
        self.closed.store(true, Ordering::Release);
        self.outbox.end();
        self.seam.close();
        self.changed.notify_one();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shut();
        self.shared.events.close();
    }
}

fn rejected(error: impl std::fmt::Display) -> NegotiationError {
    NegotiationError::Rejected(error.to_string())
}

fn unavailable(error: impl std::fmt::Display) -> NegotiationError {
    NegotiationError::Unavailable(error.to_string())
}
