//! The media path to one other member of a channel, on a task of its own.

use call_protocol::media::{Candidate, Description, DescriptionKind};
use rtc_transport::{MediaPath, PathConfig, PathEvent, PathState};
use std::sync::mpsc as std_mpsc;
use tokio::sync::mpsc;

use crate::voice::VoiceCommand;

/// What the owner loop wants of a path.
pub(crate) enum PeerCommand {
    /// Make an offer.
    Offer,
    /// Take the other one's description.
    Description(Description),
    /// Take the other one's candidate.
    Candidate(Candidate),
    /// Look for a new way (RFC 8445 section 9).
    Restart,
}

/// What a path tells the owner loop.
#[derive(Debug)]
pub(crate) enum PeerNotice {
    Opened(MediaPath),
    Description(Description),
    Candidate(Candidate),
    State(PathState),
    Failed(String),
}

/// A running path; closes when dropped.
pub(crate) struct Peer {
    commands: mpsc::UnboundedSender<PeerCommand>,
}

impl Peer {
    /// Opens a path. `tell` is called on its task.
    pub(crate) fn start(
        config: PathConfig,
        voice: std_mpsc::Sender<VoiceCommand>,
        tell: impl Fn(PeerNotice) + Send + Sync + 'static,
    ) -> Peer {
        let (commands, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(config, voice, receiver, tell));
        Peer { commands }
    }

    pub(crate) fn send(&self, command: PeerCommand) {
        // A path that has failed has said so.
        let _ = self.commands.send(command);
    }
}

async fn run(
    config: PathConfig,
    voice: std_mpsc::Sender<VoiceCommand>,
    mut commands: mpsc::UnboundedReceiver<PeerCommand>,
    tell: impl Fn(PeerNotice) + Send + Sync,
) {
    let (path, mut events) = match MediaPath::open(config).await {
        Ok(opened) => opened,
        Err(error) => return tell(PeerNotice::Failed(error.to_string())),
    };
    let _ = voice.send(VoiceCommand::Attach(path.clone()));
    tell(PeerNotice::Opened(path.clone()));
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some(command) = command else { break };
                if let Err(error) = obey(&path, command, &tell).await {
                    tracing::warn!(%error, "negotiation");
                    tell(PeerNotice::Failed(error.to_string()));
                }
            }
            event = events.recv() => match event {
                Some(PathEvent::Voice(packet)) => {
                    let _ = voice.send(VoiceCommand::Packet(packet));
                }
                Some(PathEvent::LocalCandidate(candidate)) => tell(PeerNotice::Candidate(Candidate {
                    candidate: candidate.candidate,
                    sdp_mid: candidate.sdp_mid,
                    sdp_mline_index: candidate.sdp_mline_index,
                    username_fragment: candidate.username_fragment,
                })),
                Some(PathEvent::GatheringComplete) => {}
                Some(PathEvent::StateChanged(state)) => tell(PeerNotice::State(state)),
                None => break,
            },
        }
    }
    path.close().await;
}

async fn obey(
    path: &MediaPath,
    command: PeerCommand,
    tell: &(impl Fn(PeerNotice) + Send + Sync),
) -> Result<(), rtc_transport::NegotiationError> {
    match command {
        PeerCommand::Offer => {
            let sdp = path.create_offer().await?;
            tell(PeerNotice::Description(Description { kind: DescriptionKind::Offer, sdp }));
        }
        PeerCommand::Restart => {
            let sdp = path.restart_ice().await?;
            tell(PeerNotice::Description(Description { kind: DescriptionKind::Offer, sdp }));
        }
        PeerCommand::Description(Description { kind: DescriptionKind::Offer, sdp }) => {
            let sdp = path.accept_offer(&sdp).await?;
            tell(PeerNotice::Description(Description { kind: DescriptionKind::Answer, sdp }));
        }
        PeerCommand::Description(Description { kind: DescriptionKind::Answer, sdp }) => {
            path.accept_answer(&sdp).await?
        }
        PeerCommand::Candidate(candidate) => {
            path.add_candidate(rtc_transport::Candidate {
                candidate: candidate.candidate,
                sdp_mid: candidate.sdp_mid,
                sdp_mline_index: candidate.sdp_mline_index,
                username_fragment: candidate.username_fragment,
            })
            .await?
        }
    }
    Ok(())
}
