//! The media path to one device at the other end, on a task of its own, as a kit has it.

use std::time::Duration;

use bytes::Bytes;
use call_protocol::Party;
use call_protocol::media::{Candidate, Description, DescriptionKind, NegotiationBody};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rtc_transport::{MediaPath, NegotiationError, OutgoingVoice, PathConfig, PathEvent, PathState, Rebound};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// What a device wants of a path.
#[derive(Debug)]
pub(crate) enum PeerCommand {
    Offer,
    Negotiation(NegotiationBody),
    /// The call is accepted: voice flows, from and to here.
    Voice,
    Control(Bytes),
    ShowAllAddresses,
    Restart,
    Rebind,
}

/// What a path tells its device.
#[derive(Debug)]
pub(crate) enum PeerNotice {
    Negotiation(NegotiationBody),
    State(PathState),
    Control(Bytes),
    Failed(String),
    /// A packet came; `opened` tells whether it is handed up.
    Voice {
        from: u8,
        number: u32,
        opened: bool,
    },
    /// The path is closed and its task over.
    Gone,
}

/// A notice and whose it is.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) device: usize,
    pub(crate) other: Party,
    /// Tells the notices of this path from those of one before it.
    pub(crate) serial: u64,
    pub(crate) notice: PeerNotice,
}

/// A running path; closes when dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    commands: mpsc::UnboundedSender<PeerCommand>,
    pub(crate) serial: u64,
}

impl Peer {
    pub(crate) fn start(
        config: PathConfig,
        (device, other, serial): (usize, Party, u64),
        reports: mpsc::UnboundedSender<Report>,
    ) -> Peer {
        let (commands, receiver) = mpsc::unbounded_channel();
        let tell = move |notice| drop(reports.send(Report { device, other: other.clone(), serial, notice }));
        tokio::spawn(async move {
            run(config, device as u8, receiver, &tell).await;
            tell(PeerNotice::Gone);
        });
        Peer { commands, serial }
    }

    pub(crate) fn send(&self, command: PeerCommand) {
        // A path that has failed has said so.
        let _ = self.commands.send(command);
    }
}

struct Running<'a, T> {
    path: MediaPath,
    me: u8,
    /// An offer of this side waits for its answer.
    offers: bool,
    voice: bool,
    said: u32,
    tell: &'a T,
}

async fn run<T: Fn(PeerNotice)>(
    config: PathConfig,
    me: u8,
    mut commands: mpsc::UnboundedReceiver<PeerCommand>,
    tell: &T,
) {
    let (path, mut events) = match MediaPath::open(config).await {
        Ok(opened) => opened,
        Err(error) => return tell(PeerNotice::Failed(error.to_string())),
    };
    let mut running = Running { path, me, offers: false, voice: false, said: 0, tell };
    let mut rebinding: Option<BoxFuture<'static, Rebound>> = None;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let rebound = async {
            match &mut rebinding {
                Some(rebinding) => rebinding.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            command = commands.recv() => match command {
                None => break,
                // Takes up to a second, and voice comes in meanwhile.
                Some(PeerCommand::Rebind) => {
                    let path = running.path.clone();
                    rebinding = Some(async move { path.rebind().await }.boxed());
                }
                Some(PeerCommand::Voice) => {
                    running.voice = true;
                    ticks.reset_immediately();
                }
                Some(command) => {
                    if let Err(error) = running.obey(command).await {
                        tell(PeerNotice::Failed(error.to_string()));
                    }
                }
            },
            rebound = rebound => {
                rebinding = None;
                if rebound == Rebound::Unreachable && let Err(error) = running.obey(PeerCommand::Restart).await {
                    tell(PeerNotice::Failed(error.to_string()));
                }
            }
            event = events.recv() => match event {
                Some(PathEvent::NegotiationNeeded) => {
                    if let Err(error) = running.obey(PeerCommand::Offer).await {
                        tell(PeerNotice::Failed(error.to_string()));
                    }
                }
                Some(event) => running.on_event(event),
                None => break,
            },
            _ = ticks.tick(), if running.voice => running.speak(),
        }
    }
    running.path.close().await;
}

impl<T: Fn(PeerNotice)> Running<'_, T> {
    fn on_event(&self, event: PathEvent) {
        let notice = match event {
            PathEvent::Voice(packet) => {
                let [from, a, b, c, d] = packet.payload[..] else { return };
                PeerNotice::Voice { from, number: u32::from_be_bytes([a, b, c, d]), opened: self.voice }
            }
            PathEvent::LocalCandidate(candidate) => PeerNotice::Negotiation(NegotiationBody::Candidate(Candidate {
                candidate: candidate.candidate,
                sdp_mid: candidate.sdp_mid,
                sdp_mline_index: candidate.sdp_mline_index,
                username_fragment: candidate.username_fragment,
            })),
            PathEvent::GatheringComplete | PathEvent::NegotiationNeeded => return,
            PathEvent::Control(bytes) => PeerNotice::Control(bytes),
            PathEvent::StateChanged(state) => PeerNotice::State(state),
        };
        (self.tell)(notice);
    }

    /// Says the next packet of the voice, which tells who speaks and its number; without a way it is dropped.
    fn speak(&mut self) {
        let mut payload = vec![self.me];
        payload.extend(self.said.to_be_bytes());
        let timestamp = self.said.wrapping_mul(960);
        let packet =
            OutgoingVoice { payload: payload.into(), timestamp, marker: false, level: 30, voice_activity: true };
        let _ = self.path.send_voice(packet);
        self.said += 1;
    }

    async fn obey(&mut self, command: PeerCommand) -> Result<(), NegotiationError> {
        match command {
            PeerCommand::Offer => {
                self.offers = true;
                self.describe(DescriptionKind::Offer, self.path.create_offer().await?);
            }
            PeerCommand::Restart | PeerCommand::Negotiation(NegotiationBody::Restart) => self.restart().await?,
            PeerCommand::ShowAllAddresses => self.path.show_all_addresses(),
            // For the app, not for the path.
            PeerCommand::Negotiation(NegotiationBody::Notice(_)) => {}
            PeerCommand::Negotiation(NegotiationBody::Description(Description { kind, sdp })) => match kind {
                DescriptionKind::Offer => match self.path.accept_offer(&sdp).await {
                    Ok(answer) => {
                        self.offers = false;
                        self.describe(DescriptionKind::Answer, answer);
                    }
                    Err(NegotiationError::OfferCollision) => {}
                    Err(error) => return Err(error),
                },
                DescriptionKind::Answer => {
                    if std::mem::take(&mut self.offers) {
                        self.path.accept_answer(&sdp).await?;
                    }
                }
            },
            PeerCommand::Negotiation(NegotiationBody::Candidate(candidate)) => {
                let candidate = rtc_transport::Candidate {
                    candidate: candidate.candidate,
                    sdp_mid: candidate.sdp_mid,
                    sdp_mline_index: candidate.sdp_mline_index,
                    username_fragment: candidate.username_fragment,
                };
                self.path.add_candidate(candidate).await?;
            }
            PeerCommand::Control(bytes) => {
                // Without a way it is dropped: the arbiter is told, too.
                let _ = self.path.send_control(bytes);
            }
            PeerCommand::Voice | PeerCommand::Rebind => {}
        }
        Ok(())
    }

    /// One offer at a time.
    async fn restart(&mut self) -> Result<(), NegotiationError> {
        if !std::mem::replace(&mut self.offers, true) {
            self.describe(DescriptionKind::Offer, self.path.restart_ice().await?);
        }
        Ok(())
    }

    fn describe(&self, kind: DescriptionKind, sdp: String) {
        (self.tell)(PeerNotice::Negotiation(NegotiationBody::Description(Description { kind, sdp })));
    }
}
