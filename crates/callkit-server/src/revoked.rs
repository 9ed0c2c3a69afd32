//! Tokens that count no longer although their time is not over: single ones, and all that a user was given until a moment.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use call_protocol::UserId;
use callkit_hub::{AppNo, TokenMark};
use sha2::{Digest as _, Sha256};

/// Revocations that an app can have at one time; each goes when what it is about would have ended anyway. They take about 10 MiB.
const PER_APP: usize = 65_536;

/// What is revoked, without saying who or what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RevokedKey {
    pub(crate) app: AppNo,
    pub(crate) digest: [u8; 32],
}

impl RevokedKey {
    pub(crate) fn of_user(app: AppNo, user: &UserId) -> Self {
        Self { app, digest: digest(b"user", user.as_str()) }
    }

    pub(crate) fn of_token(app: AppNo, token: &str) -> Self {
        Self { app, digest: digest(b"token", token) }
    }
}

/// What tells this access token from others; zero for one that does not say when it was issued.
pub(crate) fn mark_of(app: AppNo, token: &str, issued_s: u64) -> TokenMark {
    TokenMark { digest: RevokedKey::of_token(app, token).digest, issued_s }
}

fn digest(kind: &[u8], text: &str) -> [u8; 32] {
    Sha256::new().chain_update(kind).chain_update([0]).chain_update(text).finalize().into()
}

/// How far a revocation goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Revocation {
    /// Tokens issued until then, in s since 1970.
    pub(crate) issued_until_s: u64,
    /// When it can be forgotten, in s since 1970.
    pub(crate) until_unix_s: u64,
}

type OfApp = HashMap<[u8; 32], Revocation>;

/// All of them, for whoever checks a token.
#[derive(Default)]
pub(crate) struct Revoked(RwLock<HashMap<AppNo, OfApp>>);

impl Revoked {
    /// False if the app has too many.
    pub(crate) fn add(&self, key: RevokedKey, revocation: Revocation, now_s: u64) -> bool {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let of_app = all.entry(key.app).or_default();
        if of_app.len() >= PER_APP && !of_app.contains_key(&key.digest) {
            of_app.retain(|_, revocation| revocation.until_unix_s >= now_s);
            if of_app.len() >= PER_APP {
                return false;
            }
        }
        of_app.insert(key.digest, revocation);
        true
    }

    /// Whether a token that is good otherwise is revoked.
    pub(crate) fn has(&self, app: AppNo, user: &UserId, mark: &TokenMark) -> bool {
        let all = self.read();
        // Nearly always there are none, and nothing has to be worked out.
        let Some(of_app) = all.get(&app) else { return false };
        let revokes =
            |digest: [u8; 32]| of_app.get(&digest).is_some_and(|revocation| mark.issued_s <= revocation.issued_until_s);
        revokes(RevokedKey::of_user(app, user).digest) || revokes(mark.digest)
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<AppNo, OfApp>> {
        // The map is whole between any two statements.
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_revoked_until_a_moment_and_a_token_by_itself() {
        let (revoked, app, ann) = (Revoked::default(), AppNo(0), UserId::new("ann").unwrap());
        let until = |issued_until_s| Revocation { issued_until_s, until_unix_s: 1_000 };
        let has = |app, user: &UserId, token: &str, issued_s| revoked.has(app, user, &mark_of(app, token, issued_s));
        assert!(!has(app, &ann, "t1", 5));
        assert!(revoked.add(RevokedKey::of_user(app, &ann), until(7), 7));
        assert!(has(app, &ann, "t1", 7) && !has(app, &ann, "t1", 8));
        assert!(!has(AppNo(1), &ann, "t1", 7) && !has(app, &UserId::new("bob").unwrap(), "t1", 7));
        assert!(revoked.add(RevokedKey::of_token(app, "t2"), until(u64::MAX), 7));
        assert!(has(app, &ann, "t2", 900) && !has(app, &ann, "t3", 900));
    }

    #[test]
    fn an_app_has_so_many_and_those_that_are_over_make_room() {
        let revoked = Revoked::default();
        let add = |app, number: usize, now_s| {
            let revocation =
                Revocation { issued_until_s: u64::MAX, until_unix_s: if number == 0 { 10 } else { 1_000 } };
            revoked.add(RevokedKey::of_token(AppNo(app), &number.to_string()), revocation, now_s)
        };
        assert!((0..PER_APP).all(|number| add(0, number, 5)));
        assert!(!add(0, PER_APP, 5) && add(1, 0, 5) && add(0, 1, 5));
        assert!(add(0, PER_APP, 11) && !add(0, PER_APP + 1, 11));
    }
}
