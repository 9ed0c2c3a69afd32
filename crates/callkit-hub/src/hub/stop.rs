//! The end of the server.

use call_protocol::session::RefuseReason;
use signaling::Now;

use super::{Due, Hub, Stage};
use crate::frame::Frame;
use crate::input::Input;
use crate::output::Output;

impl Hub {
    /// Whether everybody was told that the server stops, and has read it or had their time.
    pub fn is_stopped(&self) -> bool {
        self.stage == Stage::Stopping && self.ending.is_empty()
    }

    pub(super) fn on_stopping(&mut self, now: Now) {
        for key in self.sessions.keys_of(|_| true) {
            self.drop_link(now, key, Some((RefuseReason::ShuttingDown, String::new())));
        }
        let sessions = std::mem::take(&mut self.sessions);
        for (_, session) in sessions.all() {
            self.store_seen(session);
        }
        self.sessions = sessions;
        self.stage = Stage::Stopping;
    }

    /// Nothing is decided any more; streams end, or are ended.
    pub(super) fn handle_last_input(&mut self, now: Now, input: Input) {
        match input {
            // One that signed in at this very moment.
            Input::SignedIn { stream, .. } => {
                let refusal = Some(Frame::refusal(RefuseReason::ShuttingDown, ""));
                self.outputs.push_back(Output::Close { stream, refusal });
            }
            Input::StreamEnded(stream) => {
                self.ending.remove(&stream);
            }
            Input::TooSlow(stream) => self.cut(stream),
            Input::Wake => {
                while let Some((_, due)) = self.timers.pop_due(now.mono) {
                    if let Due::Cut(stream) = due {
                        self.cut(stream);
                    }
                }
            }
            Input::Frame { .. }
            | Input::Unsound { .. }
            | Input::Heard { .. }
            | Input::AccessRenewed { .. }
            | Input::Requested { .. }
            | Input::Delivery(_)
            | Input::Found { .. }
            | Input::Registered(_)
            | Input::Draining
            | Input::Stopping => {}
        }
    }
}
