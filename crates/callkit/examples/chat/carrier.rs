//! A chat whose users are all in one program, and that carries their calls.
//!
//! An app's own chat takes its place: each message of a call goes as an invisible message to the user, or to one device of the user.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use callkit::{Chat, DeviceId, HandlerError, UserId};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

/// Messages that may wait for one device; calls say again what is lost.
const WAITING: usize = 256;

/// Everybody who is there.
#[derive(Clone, Default)]
pub(crate) struct ChatRoom {
    inboxes: Arc<Mutex<Vec<Inbox>>>,
}

#[derive(Clone)]
struct Inbox {
    user: UserId,
    device: DeviceId,
    sender: mpsc::Sender<(UserId, Vec<u8>)>,
}

/// One device of a user in the room; it leaves when it is dropped.
pub(crate) struct Member {
    user: UserId,
    room: ChatRoom,
    inbox: AsyncMutex<mpsc::Receiver<(UserId, Vec<u8>)>>,
}

impl ChatRoom {
    /// A device enters. The chat knows who its user is, and tells it with every message.
    pub(crate) fn enter(&self, user: UserId, device: DeviceId) -> Member {
        let (sender, inbox) = mpsc::channel(WAITING);
        let mut inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        inboxes.retain(|inbox| !inbox.sender.is_closed());
        inboxes.push(Inbox { user: user.clone(), device, sender });
        Member { user, room: self.clone(), inbox: AsyncMutex::new(inbox) }
    }

    fn inboxes_of(&self, user: &UserId, device: Option<&DeviceId>) -> Vec<Inbox> {
        let inboxes = self.inboxes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_meant = |inbox: &&Inbox| inbox.user == *user && device.is_none_or(|device| inbox.device == *device);
        inboxes.iter().filter(is_meant).cloned().collect()
    }
}

#[async_trait]
impl Chat for Member {
    async fn send(&self, to: &UserId, device: Option<&DeviceId>, message: Vec<u8>) -> Result<(), HandlerError> {
        for inbox in self.room.inboxes_of(to, device) {
            if let Err(mpsc::error::TrySendError::Full(_)) = inbox.sender.try_send((self.user.clone(), message.clone()))
            {
                return Err(HandlerError::from("the inbox is full"));
            }
        }
        Ok(())
    }

    async fn receive(&self) -> Option<(UserId, Vec<u8>)> {
        self.inbox.lock().await.recv().await
    }
}
