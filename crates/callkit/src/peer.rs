//! The media path to one device at the other end, on a task of its own.

use call_protocol::media::{Candidate, Description, DescriptionKind, NegotiationBody};
use call_protocol::wire;
use callkit_core::{Input, PathCommand, PathId, PathNotice};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rtc_transport::{MediaPath, NegotiationError, PathConfig, PathEvent, PathState, Rebound};
use tokio::sync::{mpsc, watch};

use crate::report::Report;
use crate::voice::Packets;

/// A running path; closes when dropped.
pub(crate) struct Peer {
    commands: mpsc::Sender<PathCommand>,
    /// Where what comes in goes to, or nowhere: before the call is accepted, and on hold, nothing is heard.
    audio: watch::Sender<Option<Packets>>,
    has_audio: bool,
}

/// Commands that wait while a description is worked on: one for each candidate that a path is told of (100 at most), and again as many.
const COMMANDS: usize = 256;
/// Of these, those that only this side's own wishes may take: whatever the other end says it cannot keep them out.
const OWN_COMMANDS: usize = 32;

impl Peer {
    /// Opens a path.
    pub(crate) fn start(config: PathConfig, path: PathId, reports: mpsc::Sender<Report>) -> Peer {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (audio, heard_by) = watch::channel(None);
        tokio::spawn(run(config, receiver, heard_by, To { path, reports }));
        Peer { commands, audio, has_audio: false }
    }

    /// What the other end says faster than it can be worked on is lost, as if it had not been said.
    pub(crate) fn send(&self, command: PathCommand) {
        let is_of_other_end = matches!(command, PathCommand::Negotiation(_));
        if is_of_other_end && self.commands.capacity() <= OWN_COMMANDS {
            return tracing::warn!("the other end says too much about its media");
        }
        // A path that has failed has said so; one that has not taken 256 commands is about to.
        let _ = self.commands.try_send(command);
    }

    /// Has what comes in go to the voice, or nowhere.
    pub(crate) fn attach_audio(&mut self, packets: Option<Packets>) {
        if std::mem::replace(&mut self.has_audio, packets.is_some()) != packets.is_some() {
            self.audio.send_replace(packets);
        }
    }
}

/// Who is told by a path.
struct To {
    path: PathId,
    reports: mpsc::Sender<Report>,
}

impl To {
    async fn tell(&self, notice: PathNotice) {
        self.report(Report::Input(Input::Path { path: self.path, notice })).await;
    }

    async fn report(&self, report: Report) {
        // Without a driver there is nobody who cares.
        let _ = self.reports.send(report).await;
    }
}

struct Running {
    path: MediaPath,
    /// An offer of this side waits for its answer.
    offers: bool,
    audio: watch::Receiver<Option<Packets>>,
    to: To,
}

async fn run(
    config: PathConfig,
    mut commands: mpsc::Receiver<PathCommand>,
    audio: watch::Receiver<Option<Packets>>,
    to: To,
) {
    let (path, mut events) = match MediaPath::open(config).await {
        Ok(opened) => opened,
        Err(error) => return to.tell(PathNotice::Failed(error.to_string())).await,
    };
    to.report(Report::PathOpened(to.path, path.clone())).await;
    let mut running = Running { path, offers: false, audio, to };
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
                if let PathCommand::Rebind = command {
                    // Takes up to a second, and sound comes in meanwhile.
                    let path = running.path.clone();
                    rebinding = Some(async move { path.rebind().await }.boxed());
                    continue;
                }
                if let Err(error) = running.handle(command).await {
                    tracing::warn!(%error, "negotiation");
                    let notice = match error {
                        NegotiationError::OtherCertificate => PathNotice::Replaced,
                        error => PathNotice::Failed(error.to_string()),
                    };
                    running.to.tell(notice).await;
                }
            }
            rebound = rebound => {
                rebinding = None;
                if rebound == Rebound::Unreachable
                    && let Err(error) = running.handle(PathCommand::RestartIce).await
                {
                    tracing::warn!(%error, "restart");
                }
            }
            event = events.recv() => match event {
                // What this side had offered gave way to an offer of the other side, and is offered again.
                Some(PathEvent::NegotiationNeeded) => {
                    if let Err(error) = running.handle(PathCommand::Offer).await {
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
                if let Some(packets) = &*self.audio.borrow() {
                    packets.hand_in(self.to.path, packet);
                }
            }
            PathEvent::LocalCandidate(candidate) => {
                let candidate = NegotiationBody::Candidate(Candidate {
                    candidate: candidate.candidate,
                    sdp_mid: candidate.sdp_mid,
                    sdp_mline_index: candidate.sdp_mline_index,
                    username_fragment: candidate.username_fragment,
                });
                self.to.tell(PathNotice::Negotiation(candidate)).await;
            }
            PathEvent::GatheringComplete | PathEvent::NegotiationNeeded => {}
            PathEvent::Control(bytes) => self.to.tell(PathNotice::Message(bytes.into())).await,
            PathEvent::StateChanged(state) => self.to.tell(PathNotice::State(state_of(state))).await,
        }
    }

    async fn handle(&mut self, command: PathCommand) -> Result<(), NegotiationError> {
        match command {
            PathCommand::Offer => {
                self.offers = true;
                self.describe(DescriptionKind::Offer, self.path.create_offer().await?).await;
            }
            // An end of an earlier version asks for a restart in place of offering one.
            PathCommand::RestartIce | PathCommand::Negotiation(NegotiationBody::Restart) => self.restart().await?,
            PathCommand::ShowAllAddresses => self.path.show_all_addresses(),
            // For the app, not for the path.
            PathCommand::Negotiation(NegotiationBody::Notice(_)) => {}
            PathCommand::Negotiation(NegotiationBody::Description(description)) => {
                self.on_description(description).await?;
            }
            PathCommand::Negotiation(NegotiationBody::Candidate(candidate)) => {
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
            PathCommand::Rebind => {}
            PathCommand::Send(message) => {
                if let Err(error) = self.path.send_control(wire::encode_call(&message).into()) {
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
        self.to.tell(PathNotice::Negotiation(body)).await;
    }
}

fn state_of(state: PathState) -> callkit_core::PathState {
    match state {
        PathState::New | PathState::Connecting => callkit_core::PathState::Connecting,
        PathState::Connected => callkit_core::PathState::Connected,
        PathState::Disconnected => callkit_core::PathState::Disconnected,
        PathState::Failed => callkit_core::PathState::Failed,
        PathState::Closed => callkit_core::PathState::Closed,
    }
}
