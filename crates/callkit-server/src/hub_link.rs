//! The way to the hub, for the tasks of streams and for whoever asks something.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use call_protocol::session::{RefuseReason, Resume};
use call_protocol::{UserId, limits};
use callkit_hub::{CallParam, CallStatus, Frame, FrameBody, Identity, Reply, Request, StreamId, TokenMark};
use signaling::Time;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::connection::Cut;
use crate::gate::Pass;

/// What comes in from the other tasks.
#[derive(Debug)]
pub(crate) enum ToHub {
    /// A stream's client said who it is, and proved it.
    SignedIn { identity: Identity, resume: Option<Resume>, link: Link, pass: Option<Pass>, since: Instant },
    /// A frame other than hello and ping.
    Frame { stream: StreamId, seq: u64, ack: u64, body: Option<FrameBody>, pass: Option<Pass>, since: Instant },
    /// A stream's client sent what is no frame, or too many of them; its session cannot go on.
    Unsound { stream: StreamId, reason: RefuseReason, detail: String },
    /// A stream's client brought a new access token.
    AccessRenewed { stream: StreamId, until: Time, mark: TokenMark },
    /// Somebody without a stream wants something.
    Asked { request: Request, answer: Answer },
    /// The development backend has a new user.
    Registered(UserId),
    /// Somebody wants to see that the hub goes on.
    Nudged,
    /// The hub is to stand still until this is over, for tests of what then happens.
    Stalled(oneshot::Receiver<()>),
}

impl ToHub {
    /// Since when it waits for the hub.
    pub(crate) fn since(&self) -> Option<Instant> {
        match self {
            ToHub::SignedIn { since, .. } | ToHub::Frame { since, .. } => Some(*since),
            ToHub::Unsound { .. }
            | ToHub::AccessRenewed { .. }
            | ToHub::Asked { .. }
            | ToHub::Registered(_)
            | ToHub::Nudged
            | ToHub::Stalled(_) => None,
        }
    }
}

/// The way to the hub.
#[derive(Clone)]
pub(crate) struct HubLink {
    pub(crate) inputs: mpsc::Sender<ToHub>,
    /// Streams that are over, however they ended. Each holds a place there from its beginning.
    pub(crate) ended: mpsc::Sender<StreamId>,
}

/// The other ends of a [`HubLink`].
pub(crate) struct Inbox {
    pub(crate) inputs: mpsc::Receiver<ToHub>,
    pub(crate) ended: mpsc::Receiver<StreamId>,
}

/// Inputs that may wait; a stream that brings more waits itself, and with it its client.
const INPUTS: usize = 1_024;

impl HubLink {
    /// `streams` can be open at one time.
    pub(crate) fn new(streams: usize) -> (HubLink, Inbox) {
        let (inputs, taken) = mpsc::channel(INPUTS);
        let (ended, endings) = mpsc::channel(streams.min(Semaphore::MAX_PERMITS));
        (HubLink { inputs, ended }, Inbox { inputs: taken, ended: endings })
    }
}

/// Frames that may wait in a link: everything a resume can bring, and what goes without a number.
pub(crate) const LINK_FRAMES: usize = limits::UNACKNOWLEDGED_FRAMES + 32;

/// When somebody was last heard, by the server's clock; copies are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastHeard(Arc<AtomicU64>);

impl LastHeard {
    pub(crate) fn hear(&self, now: Time) {
        self.0.fetch_max(now.0, Ordering::Relaxed);
    }

    pub(crate) fn at(&self) -> Time {
        Time(self.0.load(Ordering::Relaxed))
    }
}

/// The way to a stream's client.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) stream: StreamId,
    pub(crate) frames: mpsc::Sender<Frame>,
    pub(crate) heard: LastHeard,
    pub(crate) cut: Cut,
    /// The server's address as the client sees it.
    pub(crate) local_ip: Option<IpAddr>,
}

/// Who waits for the reply to a request.
#[derive(Debug)]
pub(crate) enum Answer {
    Status(oneshot::Sender<CallStatus>),
    /// A sealed cc_param.
    Param(oneshot::Sender<Option<String>>),
    Ended(oneshot::Sender<usize>),
}

impl Answer {
    /// Whoever asked may be gone.
    pub(crate) fn give(self, reply: Reply, seal: impl FnOnce(CallParam) -> String) {
        match (self, reply) {
            (Answer::Status(answer), Reply::Status(status)) => drop(answer.send(status)),
            (Answer::Param(answer), Reply::Param(param)) => drop(answer.send(param.map(seal))),
            (Answer::Ended(answer), Reply::Ended(count)) => drop(answer.send(count)),
            (Answer::Status(_), Reply::Param(_) | Reply::Ended(_))
            | (Answer::Param(_), Reply::Status(_) | Reply::Ended(_))
            | (Answer::Ended(_), Reply::Status(_) | Reply::Param(_)) => {}
        }
    }
}

impl HubLink {
    /// How a call is for a callee, or was before it said no; none from a server that stops.
    pub(crate) async fn ask_status(&self, request: Request) -> Option<CallStatus> {
        self.ask(request, Answer::Status).await
    }

    /// The cc_param of the call that rings; none from a server that stops.
    pub(crate) async fn ask_param(&self, request: Request) -> Option<Option<String>> {
        self.ask(request, Answer::Param).await
    }

    /// How many sessions or calls were ended; none from a server that stops.
    pub(crate) async fn ask_to_end(&self, request: Request) -> Option<usize> {
        self.ask(request, Answer::Ended).await
    }

    async fn ask<T>(&self, request: Request, answer: fn(oneshot::Sender<T>) -> Answer) -> Option<T> {
        let (sender, answered) = oneshot::channel();
        self.inputs.send(ToHub::Asked { request, answer: answer(sender) }).await.ok()?;
        answered.await.ok()
    }
}
