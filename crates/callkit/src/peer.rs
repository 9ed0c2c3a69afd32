//! The media path to one device at the other end, on a task of its own.

use bytes::Bytes;
use call_protocol::media::{Candidate, Description, DescriptionKind, NegotiationBody};
use call_protocol::{CallId, Party};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rtc_transport::{MediaPath, NegotiationError, PathConfig, PathEvent, PathState, Rebound};
use tokio::sync::{mpsc, watch};

use crate::core::Report;
use crate::voice::Packets;

/// What the owner loop wants of a path.
pub(crate) enum PeerCommand {
    /// Make an offer.
    Offer,
    /// Take the other one's description or candidate.
    Negotiation(NegotiationBody),
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
    /// The other end has begun anew, perhaps in another process: this path leads to nobody.
    Replaced,
}

/// A running path; closes when dropped.
pub(crate) struct Peer {
    commands: mpsc::Sender<PeerCommand>,
    /// Where what comes in goes to, or nowhere: before the call is accepted, and on hold, nothing is heard.
    voice: watch::Sender<Option<Packets>>,
}

/// Commands that wait while a description is worked on: one for each candidate that a path is told of (100 at most), and again as many.
const COMMANDS: usize = 256;
/// Of these, those that only this side's own wishes may take: whatever the other end says it cannot keep them out.
const OWN_COMMANDS: usize = 32;

/// Who is told by a path.
pub(crate) struct PeerReports {
    pub(crate) reports: mpsc::Sender<Report>,
    pub(crate) call_id: CallId,
    pub(crate) device: Party,
    pub(crate) serial: u64,
}

impl PeerReports {
    async fn tell(&self, notice: PeerNotice) {
        let PeerReports { call_id, device, serial, .. } = self;
        let report = Report::Peer { call_id: *call_id, device: device.clone(), serial: *serial, notice };
        // Without an owner loop there is nobody who cares.
        let _ = self.reports.send(report).await;
    }
}

impl Peer {
    /// Opens a path.
    pub(crate) fn start(config: PathConfig, to: PeerReports) -> Peer {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (voice, heard_by) = watch::channel(None);
        tokio::spawn(run(config, receiver, heard_by, to));
        Peer { commands, voice }
    }

    /// A wish of this side.
    pub(crate) fn send(&self, command: PeerCommand) {
        // A path that has failed has said so; one that has not taken 256 commands is about to.
        let _ = self.commands.try_send(command);
    }

    /// What the other end says. What it says faster than it can be worked on is lost, as if it had not been said.
    pub(crate) fn pass_on(&self, body: NegotiationBody) {
        if self.commands.capacity() > OWN_COMMANDS {
            self.send(PeerCommand::Negotiation(body));
        } else {
            tracing::warn!("the other end says too much about its media");
        }
    }

    pub(crate) fn listen(&self, packets: Option<Packets>) {
        self.voice.send_replace(packets);
    }
}

struct Running {
    path: MediaPath,
    /// An offer of this side waits for its answer.
    offers: bool,
    voice: watch::Receiver<Option<Packets>>,
    to: PeerReports,
}

async fn run(
    config: PathConfig,
    mut commands: mpsc::Receiver<PeerCommand>,
    voice: watch::Receiver<Option<Packets>>,
    to: PeerReports,
) {
    let (path, mut events) = match MediaPath::open(config).await {
        Ok(opened) => opened,
        Err(error) => return to.tell(PeerNotice::Failed(error.to_string())).await,
    };
    to.tell(PeerNotice::Opened(path.clone())).await;
    let mut running = Running { path, offers: false, voice, to };
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
                    let notice = match error {
                        NegotiationError::OtherCertificate => PeerNotice::Replaced,
                        error => PeerNotice::Failed(error.to_string()),
                    };
                    running.to.tell(notice).await;
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
                Some(event) => running.on_event(event).await,
                None => break,
            },
        }
    }
    // What was said last goes out before the path's end is told.
    running.path.close().await;
}

impl Running {
    async fn on_event(&self, event: PathEvent) {
        match event {
            PathEvent::Voice(packet) => {
                if let Some(voice) = &*self.voice.borrow() {
                    voice.hand_in(self.to.serial, packet);
                }
            }
            PathEvent::LocalCandidate(candidate) => {
                let candidate = NegotiationBody::Candidate(Candidate {
                    candidate: candidate.candidate,
                    sdp_mid: candidate.sdp_mid,
                    sdp_mline_index: candidate.sdp_mline_index,
                    username_fragment: candidate.username_fragment,
                });
                self.to.tell(PeerNotice::Negotiation(candidate)).await;
            }
            PathEvent::GatheringComplete | PathEvent::NegotiationNeeded => {}
            PathEvent::Control(bytes) => self.to.tell(PeerNotice::Control(bytes)).await,
            PathEvent::StateChanged(state) => self.to.tell(PeerNotice::State(state)).await,
        }
    }

    async fn obey(&mut self, command: PeerCommand) -> Result<(), NegotiationError> {
        match command {
            PeerCommand::Offer => {
                self.offers = true;
                self.describe(DescriptionKind::Offer, self.path.create_offer().await?).await;
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
            self.describe(DescriptionKind::Offer, self.path.restart_ice().await?).await;
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
                    self.describe(DescriptionKind::Answer, answer).await;
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

    async fn describe(&self, kind: DescriptionKind, sdp: String) {
        let body = NegotiationBody::Description(Description { kind, sdp });
        self.to.tell(PeerNotice::Negotiation(body)).await;
    }
}
