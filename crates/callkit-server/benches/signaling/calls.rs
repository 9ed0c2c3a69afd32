//! What two devices say in a call.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use call_protocol::accept::{Answer, AnswerResult};
use call_protocol::end::EndReason;
use call_protocol::ring::{Alert, InviteRefusal, RingConfirm};
use call_protocol::{CallId, Word};

use crate::client::Client;
use crate::devices::Place;
use crate::words::{invite, party};

/// A caller and a callee, both signed in.
pub struct Pair {
    pub ann: Client,
    pub bob: Client,
    pub places: [Place; 2],
    calls: u64,
}

/// How long a callee took to ring, and to learn that its answer counts.
pub struct Times {
    pub ring: Duration,
    pub confirm: Duration,
}

/// What became of a call where the server may be overloaded.
pub enum Tried {
    Done(Times),
    Overloaded,
}

impl Pair {
    pub async fn sign_in(server: SocketAddr, name: &str, number: usize) -> Pair {
        let place = |who: &str| Place { server, user: format!("{name}-{who}-{number}"), number };
        let places = [place("caller"), place("callee")];
        let ann = places[0].sign_in(None).await.expect("the caller signs in");
        let bob = places[1].sign_in(None).await.expect("the callee signs in");
        Pair { ann, bob, places, calls: 0 }
    }

    /// The shortest call that was answered: ten messages through the server.
    pub async fn call(&mut self) -> Times {
        let (call_id, ring) = self.ring().await;
        let answering = Instant::now();
        assert!(self.answer(call_id).await);
        let confirm = answering.elapsed();
        self.end(call_id).await;
        Times { ring, confirm }
    }

    /// Invite, until the callee rings and the caller knows.
    pub async fn ring(&mut self) -> (CallId, Duration) {
        self.calls += 1;
        let number = u128::from(rand::random::<u64>()) << 64 | u128::from(self.calls);
        let call_id = CallId::from_bits(number);
        let calling = Instant::now();
        self.ann.say(call_id, invite(call_id, &self.places[0].user, &self.places[1].user)).await;
        until(&mut self.bob, |word| matches!(word, Word::Invite(_))).await;
        assert!(self.alert(call_id).await);
        let took = calling.elapsed();
        until(&mut self.ann, |word| matches!(word, Word::Alert(_))).await;
        (call_id, took)
    }

    /// A call as [`Pair::call`], where the server takes it.
    pub async fn try_call(&mut self) -> Tried {
        self.calls += 1;
        let call_id = CallId::from_bits(u128::from(rand::random::<u64>()) << 64 | u128::from(self.calls));
        let calling = Instant::now();
        self.ann.say(call_id, invite(call_id, &self.places[0].user, &self.places[1].user)).await;
        let confirm = until(&mut self.ann, |word| matches!(word, Word::RingConfirm(_))).await;
        if let Word::RingConfirm(RingConfirm::Refused { refusal: InviteRefusal::TooMany | InviteRefusal::Overloaded }) =
            confirm
        {
            return Tried::Overloaded;
        }
        until(&mut self.bob, |word| matches!(word, Word::Invite(_))).await;
        assert!(self.alert(call_id).await);
        let ring = calling.elapsed();
        until(&mut self.ann, |word| matches!(word, Word::Alert(_))).await;
        let answering = Instant::now();
        assert!(self.answer(call_id).await);
        let confirm = answering.elapsed();
        self.end(call_id).await;
        Tried::Done(Times { ring, confirm })
    }

    /// The callee asks whether it may ring, and whether it may.
    pub async fn alert(&mut self, call_id: CallId) -> bool {
        let callee = party(&self.places[1].user);
        self.bob.say(call_id, Word::Alert(Alert { callee, asked_unix_ms: None })).await;
        let word = until(&mut self.bob, |word| matches!(word, Word::RingConfirm(_) | Word::End(_))).await;
        matches!(word, Word::RingConfirm(RingConfirm::Ring { .. }))
    }

    /// The callee answers; whether it is told that it took the call, and the caller too.
    pub async fn answer(&mut self, call_id: CallId) -> bool {
        self.bob.say(call_id, accept(&self.places[1].user)).await;
        let word = until(&mut self.bob, |word| matches!(word, Word::AnswerConfirm(_) | Word::End(_))).await;
        matches!(word, Word::AnswerConfirm(_))
    }

    pub async fn end(&mut self, call_id: CallId) {
        until(&mut self.ann, |word| matches!(word, Word::Answer(_))).await;
        self.ann.say(call_id, Word::End(EndReason::Hangup.into())).await;
        until(&mut self.bob, |word| matches!(word, Word::End(_))).await;
        until(&mut self.ann, |word| matches!(word, Word::End(_))).await;
    }
}

fn accept(callee: &str) -> Word {
    Word::Answer(Answer {
        callee: party(callee),
        result: AnswerResult::Accept,
        call_type: None,
        preparation: false,
        release: None,
    })
}

/// The next such word; others are passed over.
async fn until(client: &mut Client, is_meant: impl Fn(&Word) -> bool) -> Word {
    loop {
        let word = client.word().await;
        if is_meant(&word) {
            return word;
        }
    }
}
