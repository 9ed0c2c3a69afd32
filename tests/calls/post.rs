//! The chat that carries calls in these tests: the one of the example, where everything said can be read, delayed, doubled and lost.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use call_protocol::media::NegotiationBody;
use call_protocol::{CallMessage, DeviceId, Party, UserId, Word, wire};
use callkit::{Builder, Chat, HandlerError};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::watch;

use crate::carrier::{ChatRoom, Member};
use crate::house::{House, PATIENCE, Phone};

/// How the post treats its messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Delivers,
    /// They wait.
    Holds,
    /// They are lost.
    IsDead,
}

/// A message as it was handed in.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) from: Party,
    pub(crate) message: CallMessage,
}

impl Said {
    pub(crate) fn is(&self, user: &str, word: &str) -> bool {
        self.from.user.as_str() == user && self.message.word.name() == word
    }

    /// Whether this user shows something of its media.
    pub(crate) fn shows_media_of(&self, user: &str) -> bool {
        self.from.user.as_str() == user && matches!(&self.message.word, Word::Negotiation(step) if step.body.is_some())
    }

    pub(crate) fn is_candidate_of(&self, user: &str) -> bool {
        let is_candidate = |body: &NegotiationBody| matches!(body, NegotiationBody::Candidate(_));
        self.from.user.as_str() == user
            && matches!(&self.message.word, Word::Negotiation(step) if step.body.as_ref().is_some_and(is_candidate))
    }
}

#[derive(Clone)]
pub(crate) struct Post {
    room: ChatRoom,
    said: watch::Sender<Vec<Said>>,
    state: watch::Sender<State>,
    /// Where messages are delayed, doubled and reordered.
    dice: Option<Arc<Mutex<ChaCha8Rng>>>,
    /// Every message goes to all devices of its user.
    for_everybody: bool,
    /// What becomes of the steps of media on their way.
    spoils: Option<Arc<Spoils>>,
}

type Spoils = dyn Fn(&mut NegotiationBody) + Send + Sync;

impl Post {
    pub(crate) fn new() -> Post {
        let (said, state) = (watch::Sender::new(Vec::new()), watch::Sender::new(State::Delivers));
        Post { room: ChatRoom::default(), said, state, dice: None, for_everybody: false, spoils: None }
    }

    /// One that delivers each message at least once, up to 80 ms late and in any order.
    pub(crate) fn careless(seed: u64) -> Post {
        Post { dice: Some(Arc::new(Mutex::new(ChaCha8Rng::seed_from_u64(seed)))), ..Post::new() }
    }

    /// One that cannot tell the devices of a user apart.
    pub(crate) fn for_everybody(self) -> Post {
        Post { for_everybody: true, ..self }
    }

    /// One that changes the steps of media on their way, each as often as it is said.
    pub(crate) fn spoiling(self, spoils: impl Fn(&mut NegotiationBody) + Send + Sync + 'static) -> Post {
        Post { spoils: Some(Arc::new(spoils)), ..self }
    }

    /// Bytes that no phone would send.
    pub(crate) async fn send_raw(&self, from: &str, to: &str, bytes: &[u8]) {
        let member = self.room.enter(UserId::new(from).unwrap(), DeviceId::new("raw").unwrap());
        member.send(&UserId::new(to).unwrap(), None, bytes.to_vec()).await.unwrap();
    }

    /// A phone whose calls go by this post.
    pub(crate) async fn phone(&self, house: &House, user: &str, device: &str, hz: f32) -> Phone {
        self.phone_with(house, user, device, hz, |b| b).await
    }

    pub(crate) async fn phone_with(
        &self,
        house: &House,
        user: &str,
        device: &str,
        hz: f32,
        change: impl FnOnce(Builder) -> Builder,
    ) -> Phone {
        house.singer(user, hz, |b| change(b.device(device).chat(self.seat(user, device)))).await
    }

    pub(crate) fn seat(&self, user: &str, device: &str) -> Seat {
        let me = Party { user: UserId::new(user).unwrap(), device: DeviceId::new(device).unwrap() };
        let member = Arc::new(self.room.enter(me.user.clone(), me.device.clone()));
        Seat { me, member, post: self.clone() }
    }

    pub(crate) fn said(&self) -> Vec<Said> {
        self.said.borrow().clone()
    }

    /// Waits until what was said is enough.
    pub(crate) async fn until(&self, is_enough: impl Fn(&[Said]) -> bool) {
        let mut said = self.said.subscribe();
        let waited = tokio::time::timeout(PATIENCE, said.wait_for(|said| is_enough(said))).await;
        let words = || self.said().iter().map(|said| said.message.word.name()).collect::<Vec<_>>();
        waited.unwrap_or_else(|_| panic!("only {:?} was said", words())).unwrap();
    }

    pub(crate) fn hold(&self) {
        self.state.send_replace(State::Holds);
    }

    pub(crate) fn go_on(&self) {
        self.state.send_replace(State::Delivers);
    }

    pub(crate) fn die(&self) {
        self.state.send_replace(State::IsDead);
    }

    fn throw(&self, sides: u64) -> Option<u64> {
        let mut dice = self.dice.as_ref()?.lock().unwrap();
        Some(dice.random_range(0..sides))
    }
}

/// The seat of one device.
pub(crate) struct Seat {
    me: Party,
    member: Arc<Member>,
    post: Post,
}

#[async_trait]
impl Chat for Seat {
    async fn send(&self, to: &UserId, device: Option<&DeviceId>, message: Vec<u8>) -> Result<(), HandlerError> {
        let mut chat = wire::decode_chat(&message).unwrap().unwrap();
        let spoils = self.post.spoils.as_ref();
        let message = match (spoils, &mut chat.message.word) {
            (Some(spoils), Word::Negotiation(step)) => {
                step.body.as_mut().into_iter().for_each(|body| spoils(body));
                wire::encode_chat(&chat)
            }
            _ => message,
        };
        self.post.said.send_modify(|said| said.push(Said { from: self.me.clone(), message: chat.message }));
        let copies = 1 + u64::from(self.post.throw(4) == Some(0));
        for _ in 0..copies {
            let (member, to, device, message) = (self.member.clone(), to.clone(), device.cloned(), message.clone());
            let device = device.filter(|_| !self.post.for_everybody);
            let mut state = self.post.state.subscribe();
            let late = self.post.throw(80).map(Duration::from_millis);
            let delivery = async move {
                if let Some(late) = late {
                    // sleeps: the way of a message takes its time, and another one overtakes it.
                    tokio::time::sleep(late).await;
                }
                if state.wait_for(|state| *state != State::Holds).await.is_ok_and(|state| *state == State::Delivers) {
                    let _ = member.send(&to, device.as_ref(), message).await;
                }
            };
            if late.is_some() || *self.post.state.borrow() != State::Delivers {
                tokio::spawn(delivery);
            } else {
                delivery.await;
            }
        }
        Ok(())
    }

    async fn receive(&self) -> Option<(UserId, Vec<u8>)> {
        self.member.receive().await
    }
}
