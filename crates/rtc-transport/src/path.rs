//! One path to one other end: opening, sending, closing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, Notify};
use webrtc::peer_connection::PeerConnection;
use webrtc::rtp_transceiver::RtpSender;

use crate::config::{IcePolicy, Interfaces, PathConfig};
use crate::engine::{self, Handler, OPUS_PAYLOAD_TYPE, voice_track};
use crate::error::{NegotiationError, OpenError, SendError};
use crate::event::{Candidate, PathEvent, PathEvents, PathState, lock};
use crate::negotiation::{Negotiation, Politeness};
use crate::reports::Shared;
use crate::runtime::{Runtime, tokio as tokio_runtime};
use crate::seam::{Rebound, Seam, SeamRuntime};
use crate::selected;
use crate::sending::Sending;
use crate::servers;
use crate::shown::Shown;
use crate::stats::{CandidateKind, PathStats};
use crate::voice::{Outbox, OutgoingVoice};

/// One encrypted media path to one other end; a cheap handle, closed when its last copy is dropped.
#[derive(Clone)]
pub struct MediaPath {
    pub(crate) inner: Arc<Inner>,
}

impl std::fmt::Debug for MediaPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MediaPath").finish_non_exhaustive()
    }
}

pub(crate) struct Inner {
    pub(crate) connection: Arc<dyn PeerConnection>,
    sender: Arc<dyn RtpSender>,
    runtime: Arc<dyn Runtime>,
    pub(crate) seam: Arc<Seam>,
    pub(crate) shared: Arc<Shared>,
    outbox: Arc<Outbox>,
    pub(crate) changed: Arc<Notify>,
    payload_type: Arc<AtomicU8>,
    interfaces: Interfaces,
    shown: Arc<Shown>,
    policy: IcePolicy,
    pub(crate) politeness: Politeness,
    /// One negotiation step at a time.
    negotiation: Mutex<Negotiation>,
    closed: AtomicBool,
}

impl MediaPath {
    /// Opens a path: binds its sockets and starts its tasks, but says nothing to anybody yet.
    pub async fn open(config: PathConfig) -> Result<(MediaPath, PathEvents), OpenError> {
        let runtime = config.runtime.clone().unwrap_or_else(tokio_runtime);
        let servers = servers::resolve(&config, &*runtime).await?;
        let shared = Arc::new(Shared::default());
        let changed = shared.changed.clone();
        let shown = Arc::new(Shown::new(config.interfaces.clone(), config.address_mode));
        let seam =
            Arc::new(Seam::new(config.swiftness, runtime.clone(), shared.clone(), shown.clone(), changed.clone()));
        let outbox = Arc::new(Outbox::default());
        let handler = Handler {
            shared: shared.clone(),
            outbox: outbox.clone(),
            seam: seam.clone(),
            changed: changed.clone(),
            policy: config.policy,
            shown: shown.clone(),
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
        runtime.spawn(Box::pin(sending.run(sequence, runtime.clone(), config.keepalive))).detach();
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
            shown,
            policy: config.policy,
            politeness: config.politeness,
            negotiation: Mutex::default(),
            closed: AtomicBool::new(false),
        };
        Ok((MediaPath { inner: Arc::new(inner) }, events))
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
        self.inner.tell(self.inner.shown.refresh());
        // Over the new sockets, which the first poll makes: the other end believes nothing but what is encrypted.
        tokio::join!(self.inner.seam.rebind(&addresses), async { self.inner.outbox.say_here() }).0
    }

    /// Shows the other end every address from now on ([`AddressMode::All`](crate::AddressMode::All)), as when a call is
    /// accepted: those hidden so far follow as [`PathEvent::LocalCandidate`] at once, and the path may use them.
    pub fn show_all_addresses(&self) {
        self.inner.tell(self.inner.shown.show_all());
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

    /// Closes the path: tells the other end (RTCP BYE and the notice of DTLS), ends the tasks and gives the sockets
    /// back. Closing twice is fine.
    ///
    /// Control words said before leave before the notice, the last of them twice, since nobody can repeat it any more.
    /// The other end hears the notice one one-way delay later, as [`PathState::Closed`]; it goes out four times, and
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

    pub(crate) async fn begin(&self) -> Result<tokio::sync::MutexGuard<'_, Negotiation>, NegotiationError> {
        let guard = self.inner.negotiation.lock().await;
        if self.inner.closed.load(Ordering::Acquire) { Err(NegotiationError::Closed) } else { Ok(guard) }
    }
}

impl Inner {
    /// A description of this end as the other end may see it.
    pub(crate) fn said(&self, sdp: &str) -> String {
        self.shown.said(&self.policy.said(sdp))
    }

    fn tell(&self, candidates: Vec<Candidate>) {
        candidates.into_iter().for_each(|candidate| self.shared.events.push(PathEvent::LocalCandidate(candidate)));
    }

    /// Both descriptions are there: learns what was agreed.
    pub(crate) async fn on_described(&self) {
        self.seam.on_described();
        if let Ok(parameters) = self.sender.get_parameters().await
            && let Some(codec) = parameters.rtp_parameters.codecs.first()
        {
            self.payload_type.store(codec.payload_type, Ordering::Relaxed);
        }
    }

    async fn say_the_last_words(&self) {
        /// Time in which the engine sends what it has taken through a relay.
        const RELAYED: Duration = Duration::from_millis(3);
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let said = self.outbox.finish();
        self.have_left(said).await;
        if !self.outbox.is_open() {
            return;
        }
        self.have_left(self.outbox.say_closing()).await;
        // An engine that closes gives its relay back first, and the notice of the encryption has no way.
        if lock(&self.shared.accounts).selected.is_some_and(|way| way.local == CandidateKind::Relay) {
            for _ in 0..2 {
                self.runtime.sleep(RELAYED).await;
                self.have_left(self.outbox.say_closing()).await;
            }
            self.runtime.sleep(RELAYED).await;
        }
    }

    /// Waits until what was said has left, but not for an engine that is stuck.
    async fn have_left(&self, said: u64) {
        const AT_MOST: Duration = Duration::from_millis(100);
        let left = async {
            loop {
                let left = self.shared.control_left.notified();
                if self.shared.controls_left.load(Ordering::Acquire) >= said {
                    return;
                }
                left.await;
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
