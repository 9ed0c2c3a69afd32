//! The end of the server.

use call_protocol::session::RefuseReason;
use tokio::sync::mpsc;
use tokio::time::sleep_until;

use super::session::{StreamId, refusal};
use super::{Hub, Input};
use crate::connection::Cut;
use crate::wire::Frame;

impl Hub {
    /// Tells every client that the server stops, and waits until they have read it or their time is over.
    pub(super) async fn say_goodbye(
        &mut self,
        mut inbox: mpsc::Receiver<Input>,
        mut endings: mpsc::Receiver<StreamId>,
    ) {
        inbox.close();
        let now = self.around.clock.now();
        // Streams that signed in at this very moment are among the inputs not handled.
        while let Ok(input) = inbox.try_recv() {
            if let Input::SignedIn { link, .. } = input {
                link.frames.try_send(shutting_down()).ok();
            }
        }
        for key in self.sessions.keys().copied().collect::<Vec<_>>() {
            self.drop_link(now, key, Some((RefuseReason::ShuttingDown, String::new())));
        }
        for session in self.sessions.values() {
            self.note_known(session);
        }
        let deadline = self.around.clock.instant(now.mono + self.times.close_grace);
        while !self.ending.is_empty() {
            tokio::select! {
                Some(stream) = endings.recv() => drop(self.ending.remove(&stream)),
                () = sleep_until(deadline) => break,
            }
        }
        self.ending.values().for_each(Cut::cut);
    }
}

fn shutting_down() -> Frame {
    refusal(RefuseReason::ShuttingDown, "")
}
