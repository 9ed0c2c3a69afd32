//! What is asked of the hub without a stream.

use callkit_hub::{CallParam, CallStatus, Reply, Request};
use tokio::sync::oneshot;

use super::{HubLink, ToHub};

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
    pub(super) fn give(self, reply: Reply, seal: impl FnOnce(CallParam) -> String) {
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
