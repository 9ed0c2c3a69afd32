//! The access token: a new one is asked for before it ends, and when the server says that it has.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use call_protocol::session::AccessStatus;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::account::Account;
use crate::handlers::{AccessTokenHandler, HandlerError};

/// How long before its end a new one is asked for; a quarter of what is left if that is shorter.
const AHEAD: Duration = Duration::from_secs(60);
/// Pauses after a handler failed, or what it gave was refused; the last one repeats.
const PAUSES_S: [u64; 6] = [1, 2, 4, 8, 15, 30];

type Answer = Pin<Box<dyn Future<Output = Result<String, HandlerError>> + Send>>;

/// What the link is to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// The app is to know how long the token is still good, in ms.
    Expiring { left_ms: u64 },
    /// From now on this is the token.
    Token(String),
}

/// When and of whom a new access token is asked.
pub(crate) struct Access {
    account: Arc<Account>,
    handler: watch::Receiver<Option<Arc<dyn AccessTokenHandler>>>,
    ends_at: Option<Instant>,
    ask_at: Option<Instant>,
    is_told: bool,
    refusals: usize,
    answer: Option<Answer>,
    /// The one before, until the server has taken the present one.
    before: Option<String>,
}

impl Access {
    pub(crate) fn new(account: Arc<Account>, handler: watch::Receiver<Option<Arc<dyn AccessTokenHandler>>>) -> Access {
        let (ends_at, ask_at, answer, before) = (None, None, None, None);
        Access { account, handler, ends_at, ask_at, is_told: false, refusals: 0, answer, before }
    }

    /// Whether the app has said who gives tokens.
    pub(crate) fn has_handler(&self) -> bool {
        self.handler.borrow().is_some()
    }

    /// The present one.
    pub(crate) fn token(&self) -> String {
        self.account.access_token()
    }

    /// This is the token from now on, whoever gave it.
    pub(crate) fn set(&mut self, token: String) {
        self.before = Some(self.account.renew(token));
        (self.ask_at, self.answer) = (None, None);
    }

    /// The server has taken the token and says how long it is good.
    pub(crate) fn on_left(&mut self, left_ms: Option<u64>) {
        (self.before, self.is_told, self.refusals) = (None, false, 0);
        let (now, left) = (Instant::now(), left_ms.map(Duration::from_millis));
        self.ends_at = left.and_then(|left| now.checked_add(left));
        self.ask_at = left.and_then(|left| now.checked_add(left - AHEAD.min(left / 4)));
    }

    pub(crate) fn on_status(&mut self, status: AccessStatus) {
        match status.refused {
            None if self.before.is_none() && self.ask_at.is_some() => self.on_reminder(status.left_ms),
            None => self.on_left(Some(status.left_ms)),
            Some(reason) => {
                tracing::warn!(%reason, "the new access token was refused");
                if let Some(before) = self.before.take() {
                    self.account.renew(before);
                }
                self.ask_later();
            }
        }
    }

    /// The server says of itself how long the token is still good: nothing is put off by that, and the app knows already what it was told.
    fn on_reminder(&mut self, left_ms: u64) {
        let (ask_at, is_told, refusals) = (self.ask_at, self.is_told, self.refusals);
        self.on_left(Some(left_ms));
        self.ask_at = self.ask_at.min(ask_at);
        (self.is_told, self.refusals) = (is_told, refusals);
    }

    /// The server says that the token has ended.
    pub(crate) fn on_expired(&mut self) {
        self.ends_at = Some(Instant::now());
        if std::mem::take(&mut self.before).is_some() {
            self.ask_later();
        } else {
            self.ask_at = Some(Instant::now());
        }
    }

    fn ask_later(&mut self) {
        let pause = PAUSES_S[self.refusals.min(PAUSES_S.len() - 1)];
        self.refusals += 1;
        self.ask_at = Some(Instant::now() + Duration::from_secs(pause));
    }

    /// What is to be done next. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Renewal {
        loop {
            if let Some(answer) = &mut self.answer {
                let answer = answer.await;
                self.answer = None;
                match answer {
                    Ok(token) => {
                        self.set(token.clone());
                        return Renewal::Token(token);
                    }
                    Err(error) => {
                        tracing::warn!(%error, "no new access token");
                        self.ask_later();
                    }
                }
            }
            let Some(ask_at) = self.ask_at else { return std::future::pending().await };
            sleep_until(ask_at).await;
            if !std::mem::replace(&mut self.is_told, true) {
                let left = self.ends_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
                return Renewal::Expiring { left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX) };
            }
            let handler = self.handler.borrow_and_update().clone();
            match handler {
                Some(handler) => self.answer = Some(Box::pin(async move { handler.access_token().await })),
                // Without one the app may set one, or give a token by itself.
                None if self.handler.changed().await.is_err() => return std::future::pending().await,
                None => {}
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use call_protocol::DeviceId;
    use call_protocol::session::RefuseReason;
    use tokio::sync::mpsc;
    use tokio::time::timeout;

    use super::*;

    type Given = Result<&'static str, &'static str>;

    /// An access whose handler gives these one after the other, and the moments at which it was asked.
    fn access(given: &'static [Given]) -> (Access, mpsc::UnboundedReceiver<u64>) {
        let endpoint = crate::link::endpoint("http://127.0.0.1:1".into(), vec![]).unwrap();
        let device = DeviceId::new("desk").unwrap();
        let account = Arc::new(Account::new(endpoint, "demo".into(), "alice".into(), device, "first".into()));
        let (asked, moments) = mpsc::unbounded_channel();
        let begin = Instant::now();
        let mut number = 0;
        let given = std::sync::Mutex::new(move || {
            number += 1;
            asked.send(begin.elapsed().as_secs()).unwrap();
            given[number - 1]
        });
        let handler = move || {
            let given = given.lock().unwrap()();
            async move { given.map(str::to_owned).map_err(HandlerError::from) }
        };
        let handler: Arc<dyn AccessTokenHandler> = Arc::new(handler);
        let (_, handler) = watch::channel(Some(handler));
        (Access::new(account, handler), moments)
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_one_is_asked_for_ahead_of_the_end() {
        let (mut access, mut asked) = access(&[Ok("second"), Ok("third")]);
        access.on_left(Some(3_600_000));
        assert_eq!(access.next().await, Renewal::Expiring { left_ms: 60_000 });
        assert_eq!(access.next().await, Renewal::Token("second".into()));
        assert_eq!((asked.recv().await, access.token()), (Some(3_540), "second".into()));
        access.on_status(AccessStatus { left_ms: 40_000, refused: None });
        assert_eq!(access.next().await, Renewal::Expiring { left_ms: 10_000 });
        assert_eq!(access.next().await, Renewal::Token("third".into()));
        assert_eq!(asked.recv().await, Some(3_540 + 30));
        access.on_left(None);
        assert!(timeout(Duration::from_secs(1_000_000), access.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_server_says_before_the_end_puts_the_asking_off_by_nothing() {
        let (mut access, mut asked) = access(&[Err("no network"), Ok("second")]);
        let reminder = |left_ms| AccessStatus { left_ms, refused: None };
        access.on_left(Some(100_000));
        assert!(timeout(Duration::from_secs(70), access.next()).await.is_err());
        access.on_status(reminder(30_000));
        assert_eq!(access.next().await, Renewal::Expiring { left_ms: 25_000 });
        assert!(timeout(Duration::from_millis(500), access.next()).await.is_err());
        access.on_status(reminder(24_500));
        assert_eq!(access.next().await, Renewal::Token("second".into()));
        let moments: Vec<_> = std::iter::from_fn(|| asked.try_recv().ok()).collect();
        assert_eq!(moments, [75, 76]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_handler_that_fails_and_a_token_that_is_refused_are_tried_again_later() {
        let (mut access, mut asked) = access(&[Err("no network"), Ok("bad"), Ok("good")]);
        access.on_expired();
        assert_eq!(access.next().await, Renewal::Expiring { left_ms: 0 });
        assert_eq!(access.next().await, Renewal::Token("bad".into()));
        access.on_status(AccessStatus { left_ms: 0, refused: Some(RefuseReason::TokenInvalid) });
        assert_eq!(access.token(), "first");
        assert_eq!(access.next().await, Renewal::Token("good".into()));
        let moments: Vec<_> = std::iter::from_fn(|| asked.try_recv().ok()).collect();
        assert_eq!(moments, [0, 1, 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_the_app_gives_by_itself_ends_the_asking() {
        let (mut access, mut asked) = access(&[]);
        access.on_left(Some(100_000));
        access.set("by the app".into());
        assert!(timeout(Duration::from_secs(1_000_000), access.next()).await.is_err());
        assert!(asked.try_recv().is_err());
    }
}
