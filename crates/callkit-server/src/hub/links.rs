//! The ways to the clients of all streams.

use std::collections::HashMap;

use callkit_hub::{Frame, Input, StreamId};
use signaling::Time;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::connection::Cut;
use crate::hub_link::{LastHeard, Link};

/// The links of all streams that are not over.
#[derive(Default)]
pub(super) struct Links(HashMap<StreamId, OpenLink>);

struct OpenLink {
    /// Dropping it ends the stream after what was sent.
    frames: Option<mpsc::Sender<Frame>>,
    heard: LastHeard,
    cut: Cut,
    /// It was said that there was no room.
    is_full: bool,
}

impl Links {
    pub(super) fn open(&mut self, link: Link) {
        let Link { stream, frames, heard, cut, .. } = link;
        self.0.insert(stream, OpenLink { frames: Some(frames), heard, cut, is_full: false });
    }

    pub(super) fn forget(&mut self, stream: StreamId) {
        self.0.remove(&stream);
    }

    /// Sends a frame. What the hub is to be told if there is no room.
    pub(super) fn send(&mut self, stream: StreamId, frame: Frame) -> Option<Input> {
        let link = self.0.get_mut(&stream)?;
        // A closed link is one whose stream has just broken: the frame waits for a resume.
        let is_full = matches!(link.frames.as_ref()?.try_send(frame), Err(TrySendError::Full(_)));
        let is_new = is_full && !std::mem::replace(&mut link.is_full, is_full);
        is_new.then_some(Input::TooSlow(stream))
    }

    /// Ends a stream after what was sent, and after this.
    pub(super) fn close(&mut self, stream: StreamId, refusal: Option<Frame>) -> Option<Input> {
        let frames = self.0.get_mut(&stream)?.frames.take()?;
        let is_lost = refusal.is_some_and(|refusal| frames.try_send(refusal).is_err());
        is_lost.then_some(Input::TooSlow(stream))
    }

    pub(super) fn cut(&self, stream: StreamId) {
        if let Some(link) = self.0.get(&stream) {
            link.cut.cut();
        }
    }

    /// When each client that is sent to was last heard.
    pub(super) fn heard(&self) -> Vec<(StreamId, Time)> {
        let open = self.0.iter().filter(|(_, link)| link.frames.is_some());
        open.map(|(stream, link)| (*stream, link.heard.at())).collect()
    }

    /// So much time up to now is nobody's silence.
    pub(super) fn discount(&self, now: Time, ms: u64) {
        for link in self.0.values() {
            link.heard.hear((link.heard.at() + ms).min(now));
        }
    }
}
