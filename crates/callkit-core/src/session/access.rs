//! The access token: a new one is asked for before it ends, and when the server says that it has.

use call_protocol::session::AccessStatus;
use signaling::Time;

/// How long before its end a new one is asked for, in ms; a quarter of what is left if that is shorter.
const AHEAD_MS: u64 = 60_000;
/// Pauses after a handler failed, or what it gave was refused, in ms; the last one repeats.
const PAUSES_MS: [u64; 6] = [1_000, 2_000, 4_000, 8_000, 15_000, 30_000];

/// When a new access token is asked for, and which one counts.
#[derive(Debug)]
pub(super) struct Access {
    token: String,
    /// The one before, until the server has taken the present one.
    before: Option<String>,
    ends_at: Option<Time>,
    ask_at: Option<Time>,
    /// The app knows that it ends.
    is_told: bool,
    /// The app has said who gives tokens.
    has_handler: bool,
    /// Whoever gives tokens is being asked.
    is_asking: bool,
    refusals: usize,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The app is to know how long the token is still good, in ms.
    Expiring { left_ms: u64 },
    /// The app's handler is to be asked.
    Ask,
}

impl Access {
    pub(super) fn new(token: String) -> Access {
        Access {
            token,
            before: None,
            ends_at: None,
            ask_at: None,
            is_told: false,
            has_handler: false,
            is_asking: false,
            refusals: 0,
        }
    }

    /// The present one.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    pub(super) fn has_handler(&self) -> bool {
        self.has_handler
    }

    pub(super) fn on_handler(&mut self) {
        self.has_handler = true;
    }

    /// This is the token from now on, whoever gave it. What is being asked for is not needed any more.
    pub(super) fn set(&mut self, token: String) {
        self.before = Some(std::mem::replace(&mut self.token, token));
        (self.ask_at, self.is_asking) = (None, false);
    }

    /// The server has taken the token and says how long it is good.
    pub(super) fn on_left(&mut self, now: Time, left_ms: Option<u64>) {
        (self.before, self.is_told, self.refusals) = (None, false, 0);
        self.ends_at = left_ms.map(|left_ms| now + left_ms);
        self.ask_at = left_ms.map(|left_ms| now + (left_ms - AHEAD_MS.min(left_ms / 4)));
    }

    pub(super) fn on_status(&mut self, now: Time, status: AccessStatus) {
        match status.refused {
            None if self.before.is_none() && self.ask_at.is_some() => self.on_reminder(now, status.left_ms),
            None => self.on_left(now, Some(status.left_ms)),
            Some(reason) => {
                tracing::warn!(%reason, "the new access token was refused");
                if let Some(before) = self.before.take() {
                    self.token = before;
                }
                self.ask_later(now);
            }
        }
    }

    /// The server says of itself how long the token is still good: nothing is put off by that, and the app knows already what it was told.
    fn on_reminder(&mut self, now: Time, left_ms: u64) {
        let (ask_at, is_told, refusals) = (self.ask_at, self.is_told, self.refusals);
        self.on_left(now, Some(left_ms));
        self.ask_at = self.ask_at.min(ask_at);
        (self.is_told, self.refusals) = (is_told, refusals);
    }

    /// The server says that the token has ended.
    pub(super) fn on_expired(&mut self, now: Time) {
        self.ends_at = Some(now);
        if self.before.take().is_some() {
            self.ask_later(now);
        } else {
            self.ask_at = Some(now);
        }
    }

    fn ask_later(&mut self, now: Time) {
        let pause_ms = PAUSES_MS[self.refusals.min(PAUSES_MS.len() - 1)];
        self.refusals += 1;
        self.ask_at = Some(now + pause_ms);
    }

    /// The handler has answered, if it is still asked; gives whether there is another token.
    pub(super) fn on_answer(&mut self, now: Time, answer: Result<String, String>) -> bool {
        if !std::mem::take(&mut self.is_asking) {
            return false;
        }
        match answer {
            Ok(token) => {
                self.set(token);
                true
            }
            Err(why) => {
                tracing::warn!(%why, "no new access token");
                self.ask_later(now);
                false
            }
        }
    }

    /// When something is due.
    pub(super) fn next(&self) -> Option<Time> {
        let has_work = !self.is_told || self.has_handler;
        self.ask_at.filter(|_| has_work && !self.is_asking)
    }

    /// What is due by now. Without a handler the app may set one, or give a token by itself.
    pub(super) fn due(&mut self, now: Time) -> Option<Due> {
        if self.next().is_none_or(|at| now < at) {
            return None;
        }
        if !std::mem::replace(&mut self.is_told, true) {
            return Some(Due::Expiring { left_ms: self.ends_at.map_or(0, |at| at - now) });
        }
        self.is_asking = true;
        Some(Due::Ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use call_protocol::session::RefuseReason;

    /// Lets it be until something is due; gives when that was, in ms, and what.
    fn next(access: &mut Access) -> Option<(u64, Due)> {
        let at = access.next()?;
        access.due(at).map(|due| (at.0, due))
    }

    fn access() -> Access {
        let mut access = Access::new("first".into());
        access.on_handler();
        access
    }

    #[test]
    fn a_new_one_is_asked_for_ahead_of_the_end() {
        let mut access = access();
        access.on_left(Time(0), Some(3_600_000));
        assert_eq!(next(&mut access), Some((3_540_000, Due::Expiring { left_ms: 60_000 })));
        assert_eq!(next(&mut access), Some((3_540_000, Due::Ask)));
        assert_eq!(next(&mut access), None, "it is being asked");
        assert!(access.on_answer(Time(3_540_000), Ok("second".into())));
        assert_eq!(access.token(), "second");
        access.on_status(Time(3_540_000), AccessStatus { left_ms: 40_000, refused: None });
        assert_eq!(next(&mut access), Some((3_570_000, Due::Expiring { left_ms: 10_000 })));
        assert_eq!(next(&mut access), Some((3_570_000, Due::Ask)));
        assert!(access.on_answer(Time(3_570_000), Ok("third".into())));
        access.on_left(Time(3_570_000), None);
        assert_eq!(next(&mut access), None);
    }

    #[test]
    fn what_the_server_says_before_the_end_puts_the_asking_off_by_nothing() {
        let mut access = access();
        let reminder = |left_ms| AccessStatus { left_ms, refused: None };
        access.on_left(Time(0), Some(100_000));
        assert_eq!(access.due(Time(70_000)), None);
        access.on_status(Time(70_000), reminder(30_000));
        assert_eq!(next(&mut access), Some((75_000, Due::Expiring { left_ms: 25_000 })));
        assert_eq!(next(&mut access), Some((75_000, Due::Ask)));
        assert!(!access.on_answer(Time(75_000), Err("no network".into())));
        access.on_status(Time(75_500), reminder(24_500));
        assert_eq!(next(&mut access), Some((76_000, Due::Ask)));
        assert!(access.on_answer(Time(76_000), Ok("second".into())));
    }

    #[test]
    fn a_handler_that_fails_and_a_token_that_is_refused_are_tried_again_later() {
        let mut access = access();
        access.on_expired(Time(0));
        assert_eq!(next(&mut access), Some((0, Due::Expiring { left_ms: 0 })));
        assert_eq!(next(&mut access), Some((0, Due::Ask)));
        assert!(!access.on_answer(Time(0), Err("no network".into())));
        assert_eq!(next(&mut access), Some((1_000, Due::Ask)));
        assert!(access.on_answer(Time(1_000), Ok("bad".into())));
        access.on_status(Time(1_000), AccessStatus { left_ms: 0, refused: Some(RefuseReason::TokenInvalid) });
        assert_eq!(access.token(), "first");
        assert_eq!(next(&mut access), Some((3_000, Due::Ask)));
        assert!(access.on_answer(Time(3_000), Ok("good".into())));
        assert_eq!(access.token(), "good");
    }

    #[test]
    fn a_token_that_the_app_gives_by_itself_ends_the_asking() {
        let mut access = access();
        access.on_left(Time(0), Some(100_000));
        access.set("by the app".into());
        assert_eq!(next(&mut access), None);
        access.on_expired(Time(5));
        assert_eq!(next(&mut access), Some((1_005, Due::Expiring { left_ms: 0 })));
        next(&mut access);
        access.set("by the app again".into());
        assert!(!access.on_answer(Time(1_006), Ok("too late".into())));
        assert_eq!(access.token(), "by the app again");
    }

    #[test]
    fn without_a_handler_the_app_is_told_once_and_asked_when_it_has_set_one() {
        let mut access = Access::new("first".into());
        access.on_expired(Time(0));
        assert_eq!(next(&mut access), Some((0, Due::Expiring { left_ms: 0 })));
        assert_eq!(next(&mut access), None);
        access.on_handler();
        assert_eq!(access.due(Time(9_000)), Some(Due::Ask));
    }
}
