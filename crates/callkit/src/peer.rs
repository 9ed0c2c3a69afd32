//! The media path to one device at the other end, on a task of its own.

use bytes::Bytes;
use call_protocol::media::{Candidate, Description, DescriptionKind, NegotiationBody};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rtc_transport::{MediaPath, NegotiationError, PathConfig, PathEvent, PathState, Rebound};
use tokio::sync::mpsc;

use crate::voice::Packets;

/// What the owner loop wants of a path.
pub(crate) enum PeerCommand {
    /// Make an offer.
    Offer,
    /// Take the other one's description or candidate.
    Negotiation(NegotiationBody),
    /// What comes in goes there from now on, or nowhere: before the call is accepted, and on hold, nothing is heard.
    Voice(Option<Packets>),
    /// Say this to the other end.
    Control(Bytes),
    /// The call is accepted: every address of this machine may be shown.
    ShowAllAddresses,
    /// Look for a new way (RFC 8445 section 9).
    Restart,
    /// The addresses of this machine changed: follow them, or look for a new way.
    Rebind,
}

/// What a path tells the owner loop.
#[derive(Debug)]
pub(crate) enum PeerNotice {
    Opened(MediaPath),
    Negotiation(NegotiationBody),
    State(PathState),
    Control(Bytes),
    Failed(String),
}

/// A running path; closes when dropped.
pub(crate) struct Peer {
    commands: mpsc::UnboundedSender<PeerCommand>,
}

impl Peer {
    /// Opens a path. `tell` is called on its task.
    pub(crate) fn start(serial: u64, config: PathConfig, tell: impl Fn(PeerNotice) + Send + Sync + 'static) -> Peer {
        let (commands, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(serial, config, receiver, tell));
        Peer { commands }
    }

    pub(crate) fn send(&self, command: PeerCommand) {
        // A path that has failed has said so.
        let _ = self.commands.send(command);
    }
}

struct Running<T> {
    serial: u64,
    path: MediaPath,
    /// An offer of this side waits for its answer.
    offers: bool,
    voice: Option<Packets>,
    tell: T,
}

async fn run(
    serial: u64,
    config: PathConfig,
    mut commands: mpsc::UnboundedReceiver<PeerCommand>,
    tell: impl Fn(PeerNotice) + Send + Sync,
) {
    let (path, mut events) = match MediaPath::open(config).await {
        Ok(opened) => opened,
        Err(error) => return tell(PeerNotice::Failed(error.to_string())),
    };
    tell(PeerNotice::Opened(path.clone()));
    let mut running = Running { serial, path, offers: false, voice: None, tell };
    let mut rebinding: Option<BoxFuture<'static, Rebound>> = None;
    loop {
        let rebound = async {
            match &mut rebinding {
                Some(rebinding) => rebinding.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            command = commands.recv() => {
                let Some(command) = command else { break };
                if let PeerCommand::Rebind = command {
                    // Takes up to a second, and sound comes in meanwhile.
                    let path = running.path.clone();
                    rebinding = Some(async move { path.rebind().await }.boxed());
                    continue;
                }
                if let Err(error) = running.obey(command).await {
                    tracing::warn!(%error, "negotiation");
                    (running.tell)(PeerNotice::Failed(error.to_string()));
                }
            }
            rebound = rebound => {
                rebinding = None;
                if rebound == Rebound::Unreachable
                    && let Err(error) = running.obey(PeerCommand::Restart).await
                {
                    tracing::warn!(%error, "restart");
                }
            }
            event = events.recv() => match event {
                // What this side had offered gave way to an offer of the other side, and is offered again.
                Some(PathEvent::NegotiationNeeded) => {
                    if let Err(error) = running.obey(PeerCommand::Offer).await {
                        tracing::warn!(%error, "another offer");
                    }
                }
                Some(event) => running.on_event(event),
                None => break,
            },
        }
    }
    // What was said last goes out before the path's end is told.
    running.path.close().await;
}

impl<T: Fn(PeerNotice) + Send + Sync> Running<T> {
    fn on_event(&self, event: PathEvent) {
        match event {
            PathEvent::Voice(packet) => {
                if let Some(voice) = &self.voice {
                    voice.hand_in(self.serial, packet);
                }
            }
            PathEvent::LocalCandidate(candidate) => {
                (self.tell)(PeerNotice::Negotiation(NegotiationBody::Candidate(Candidate {
                    candidate: candidate.candidate,
                    sdp_mid: candidate.sdp_mid,
                    sdp_mline_index: candidate.sdp_mline_index,
                    username_fragment: candidate.username_fragment,
                })));
            }
            PathEvent::GatheringComplete | PathEvent::NegotiationNeeded => {}
            PathEvent::Control(bytes) => (self.tell)(PeerNotice::Control(bytes)),
            PathEvent::StateChanged(state) => (self.tell)(PeerNotice::State(state)),
        }
    }

    async fn obey(&mut self, command: PeerCommand) -> Result<(), NegotiationError> {
        match command {
            PeerCommand::Offer => {
                self.offers = true;
                self.describe(DescriptionKind::Offer, self.path.create_offer().await?);
            }
            // An end of an earlier version asks for a restart in place of offering one.
            PeerCommand::Restart | PeerCommand::Negotiation(NegotiationBody::Restart) => self.restart().await?,
            PeerCommand::ShowAllAddresses => self.path.show_all_addresses(),
            // For the app, not for the path.
            PeerCommand::Negotiation(NegotiationBody::Notice(_)) => {}
            PeerCommand::Negotiation(NegotiationBody::Description(description)) => {
                self.on_description(description).await?;
            }
            PeerCommand::Negotiation(NegotiationBody::Candidate(candidate)) => {
                let candidate = rtc_transport::Candidate {
                    candidate: candidate.candidate,
                    sdp_mid: candidate.sdp_mid,
                    sdp_mline_index: candidate.sdp_mline_index,
                    username_fragment: candidate.username_fragment,
                };
                // One way less to try, and no reason to give up those that there are (RFC 8839, section 5.1).
                if let Err(error) = self.path.add_candidate(candidate).await {
                    tracing::debug!(%error, "a candidate was passed over");
                }
            }
            PeerCommand::Voice(packets) => self.voice = packets,
            PeerCommand::Rebind => {}
            PeerCommand::Control(bytes) => {
                if let Err(error) = self.path.send_control(bytes) {
                    tracing::debug!(%error, "a control message");
                }
            }
        }
        Ok(())
    }

    /// One offer at a time: another restart while one is on its way would bring nothing.
    async fn restart(&mut self) -> Result<(), NegotiationError> {
        if !std::mem::replace(&mut self.offers, true) {
            self.describe(DescriptionKind::Offer, self.path.restart_ice().await?);
        }
        Ok(())
    }

    /// Either side may offer; where both do at once the callee gives way.
    async fn on_description(&mut self, description: Description) -> Result<(), NegotiationError> {
        let Description { kind, sdp } = description;
        match kind {
            DescriptionKind::Offer => match self.path.accept_offer(&sdp).await {
                Ok(answer) => {
                    self.offers = false;
                    self.describe(DescriptionKind::Answer, answer);
                }
                // The other side answers what was offered here.
                Err(NegotiationError::OfferCollision) => {}
                Err(error) => return Err(error),
            },
            DescriptionKind::Answer => {
                if std::mem::take(&mut self.offers) {
                    self.path.accept_answer(&sdp).await?;
                }
            }
        }
        Ok(())
    }

    fn describe(&self, kind: DescriptionKind, sdp: String) {
        (self.tell)(PeerNotice::Negotiation(NegotiationBody::Description(Description { kind, sdp })));
    }
}
