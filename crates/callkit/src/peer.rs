//! The media path to one other member of a channel, on a task of its own.

use call_protocol::media::{Candidate, Description, DescriptionKind, NegotiationBody};
use rtc_transport::{MediaPath, PathConfig, PathEvent, PathState};
use std::sync::mpsc as std_mpsc;
use tokio::sync::mpsc;

use crate::voice::VoiceCommand;

/// What the owner loop wants of a path.
pub(crate) enum PeerCommand {
    /// Make an offer.
    Offer,
    /// Take the other one's description or candidate.
    Negotiation(NegotiationBody),
    /// The call is accepted: sound may flow, from and to here.
    Voice(std_mpsc::Sender<VoiceCommand>),
    /// Look for a new way (RFC 8445 section 9).
    Restart,
}

/// What a path tells the owner loop.
#[derive(Debug)]
pub(crate) enum PeerNotice {
    Opened(MediaPath),
    Negotiation(NegotiationBody),
    State(PathState),
    Failed(String),
}

/// A running path; closes when dropped.
pub(crate) struct Peer {
    commands: mpsc::UnboundedSender<PeerCommand>,
}

impl Peer {
    /// Opens a path. `tell` is called on its task.
    pub(crate) fn start(config: PathConfig, tell: impl Fn(PeerNotice) + Send + Sync + 'static) -> Peer {
        let (commands, receiver) = mpsc::unbounded_channel();
        tokio::spawn(run(config, receiver, tell));
        Peer { commands }
    }

    pub(crate) fn send(&self, command: PeerCommand) {
        // A path that has failed has said so.
        let _ = self.commands.send(command);
    }
}

async fn run(
    config: PathConfig,
    mut commands: mpsc::UnboundedReceiver<PeerCommand>,
    tell: impl Fn(PeerNotice) + Send + Sync,
) {
    let (path, mut events) = match MediaPath::open(config).await {
        Ok(opened) => opened,
        Err(error) => return tell(PeerNotice::Failed(error.to_string())),
    };
    let mut voice: Option<std_mpsc::Sender<VoiceCommand>> = None;
    tell(PeerNotice::Opened(path.clone()));
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some(command) = command else { break };
                if let PeerCommand::Voice(sender) = command {
                    let _ = sender.send(VoiceCommand::Attach(path.clone()));
                    voice = Some(sender);
                    continue;
                }
                if let Err(error) = obey(&path, command, &tell).await {
                    tracing::warn!(%error, "negotiation");
                    tell(PeerNotice::Failed(error.to_string()));
                }
            }
            event = events.recv() => match event {
                Some(PathEvent::Voice(packet)) => {
                    // Before the accept nothing is heard.
                    if let Some(voice) = &voice {
                        let _ = voice.send(VoiceCommand::Packet(packet));
                    }
                }
                Some(PathEvent::LocalCandidate(candidate)) => tell(PeerNotice::Negotiation(NegotiationBody::Candidate(Candidate {
                    candidate: candidate.candidate,
                    sdp_mid: candidate.sdp_mid,
                    sdp_mline_index: candidate.sdp_mline_index,
                    username_fragment: candidate.username_fragment,
                }))),
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
    let described = |kind, sdp| tell(PeerNotice::Negotiation(NegotiationBody::Description(Description { kind, sdp })));
    match command {
        PeerCommand::Offer => described(DescriptionKind::Offer, path.create_offer().await?),
        PeerCommand::Restart => described(DescriptionKind::Offer, path.restart_ice().await?),
        PeerCommand::Negotiation(NegotiationBody::Description(Description { kind, sdp })) => match kind {
            DescriptionKind::Offer => described(DescriptionKind::Answer, path.accept_offer(&sdp).await?),
            DescriptionKind::Answer => path.accept_answer(&sdp).await?,
        },
        PeerCommand::Negotiation(NegotiationBody::Candidate(candidate)) => {
            path.add_candidate(rtc_transport::Candidate {
                candidate: candidate.candidate,
                sdp_mid: candidate.sdp_mid,
                sdp_mline_index: candidate.sdp_mline_index,
                username_fragment: candidate.username_fragment,
            })
            .await?
        }
        PeerCommand::Voice(_) => {}
    }
    Ok(())
}
