//! Access and channel tokens: signed by an app's backend, checked here. JWT (RFC 7519), HS256 only.

use call_protocol::token::{AccessClaims, ChannelClaims, OperatorClaims};
use call_protocol::{AppId, ChannelId, Uid, UserId};
use callkit_hub::{AppNo, Grant, TokenMark};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::cc_keys::CcError;
use crate::clock::{unix_ms, unix_s};
use crate::config::AppConfig;
use crate::revoked::{self, Revoked};

impl AppConfig {
    /// A token with which `user` signs in, good for `ttl_s` seconds.
    pub fn access_token(&self, user: &UserId, ttl_s: u64) -> String {
        let now = unix_s();
        self.sign(&AccessClaims {
            sub: self.app_id.to_string(),
            uid: user.to_string(),
            iss: self.api_key.clone(),
            iat: now,
            exp: now + ttl_s,
        })
    }

    /// A token with which `uid` joins `channel`, good for `ttl_s` seconds.
    pub fn channel_token(&self, channel: &ChannelId, uid: Uid, ttl_s: u64) -> String {
        let now = unix_s();
        self.sign(&ChannelClaims {
            sub: self.app_id.to_string(),
            channel: channel.to_string(),
            rtc_uid: uid.get(),
            iss: self.api_key.clone(),
            iat: now,
            exp: now + ttl_s,
        })
    }

    /// A token with which the app's backend signs users out, revokes their tokens and ends their calls (`docs/operations.md`), good for
    /// `ttl_s` seconds.
    pub fn operator_token(&self, ttl_s: u64) -> String {
        self.sign(&OperatorClaims {
            sub: self.app_id.to_string(),
            scope: OperatorClaims::SCOPE.to_owned(),
            iss: self.api_key.clone(),
            exp: unix_s() + ttl_s,
        })
    }

    /// Any claims, signed with the app's secret.
    pub fn sign(&self, claims: &impl Serialize) -> String {
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)
            .expect("plain claims are JSON, and an HMAC takes a secret of any length")
    }
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("the token is not a JWT")]
    Shape,
    #[error("the token is not signed with HS256 by the app's secret")]
    Signature,
    #[error("the token's time is over (exp)")]
    Expired,
    #[error("the token's time has not come (nbf)")]
    NotYet,
    #[error("the token has no {0}")]
    Missing(&'static str),
    #[error(
        "the token's {0} is not what it must be: rtc_uid is a whole number, exp, iat and nbf are seconds since 1970, the others are texts"
    )]
    Malformed(&'static str),
    #[error("the token's sub is another app")]
    OtherApp,
    #[error("the token's iss is not the app's api_key")]
    OtherKey,
    #[error("the token's uid is not a user id")]
    User,
    #[error("the token is for another channel")]
    OtherChannel,
    #[error("the token's rtc_uid is not a uid")]
    Uid,
    #[error("the token was revoked")]
    Revoked,
    #[error("the token's scope is not operator")]
    Scope,
}

/// Why somebody is not taken for who they say they are; the label of `callkit_auth_failures_total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum AuthFailure {
    AppUnknown,
    /// The hello names another user than its token.
    UserNamed,
    Token(TokenError),
    CcParam(CcError),
}

impl AuthFailure {
    /// One of each name.
    pub(crate) const ALL: [AuthFailure; 19] = [
        AuthFailure::CcParam(CcError::Shape),
        AuthFailure::CcParam(CcError::Signature),
        AuthFailure::CcParam(CcError::OtherApp),
        AuthFailure::CcParam(CcError::Expired),
        AuthFailure::AppUnknown,
        AuthFailure::UserNamed,
        AuthFailure::Token(TokenError::Shape),
        AuthFailure::Token(TokenError::Signature),
        AuthFailure::Token(TokenError::Expired),
        AuthFailure::Token(TokenError::NotYet),
        AuthFailure::Token(TokenError::Missing("")),
        AuthFailure::Token(TokenError::Malformed("")),
        AuthFailure::Token(TokenError::OtherApp),
        AuthFailure::Token(TokenError::OtherKey),
        AuthFailure::Token(TokenError::User),
        AuthFailure::Token(TokenError::OtherChannel),
        AuthFailure::Token(TokenError::Uid),
        AuthFailure::Token(TokenError::Revoked),
        AuthFailure::Token(TokenError::Scope),
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            AuthFailure::AppUnknown => "app_unknown",
            AuthFailure::UserNamed => "user_named",
            AuthFailure::CcParam(CcError::Shape) => "cc_shape",
            AuthFailure::CcParam(CcError::Signature) => "cc_signature",
            AuthFailure::CcParam(CcError::OtherApp) => "cc_other_app",
            AuthFailure::CcParam(CcError::Expired) => "cc_expired",
            AuthFailure::Token(TokenError::Shape) => "shape",
            AuthFailure::Token(TokenError::Signature) => "signature",
            AuthFailure::Token(TokenError::Expired) => "expired",
            AuthFailure::Token(TokenError::NotYet) => "not_yet",
            AuthFailure::Token(TokenError::Missing(_)) => "claim_missing",
            AuthFailure::Token(TokenError::Malformed(_)) => "claim_malformed",
            AuthFailure::Token(TokenError::OtherApp) => "other_app",
            AuthFailure::Token(TokenError::OtherKey) => "other_key",
            AuthFailure::Token(TokenError::User) => "user",
            AuthFailure::Token(TokenError::OtherChannel) => "other_channel",
            AuthFailure::Token(TokenError::Uid) => "uid",
            AuthFailure::Token(TokenError::Revoked) => "revoked",
            AuthFailure::Token(TokenError::Scope) => "scope",
        }
    }
}

/// The apps and what is needed to check their tokens.
pub(crate) struct Apps {
    names: Vec<AppId>,
    keys: Vec<(AppNo, AppConfig, DecodingKey)>,
    validation: Validation,
    revoked: Revoked,
}

/// Whom an access token speaks of, and how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Access {
    pub(crate) user: UserId,
    /// How long from now on, in ms; zero when its time is over.
    pub(crate) left_ms: u64,
    /// What tells it from others when it is revoked later.
    pub(crate) mark: TokenMark,
}

impl Apps {
    pub(crate) fn new(apps: &[AppConfig], leeway_s: u32) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = leeway_s.into();
        validation.validate_aud = false;
        validation.validate_nbf = true;
        // Which claims there have to be is looked at here, so that the one can be named that is not there.
        validation.required_spec_claims.clear();
        let mut names: Vec<AppId> = Vec::new();
        let mut keys = Vec::new();
        for app in apps {
            let at = names.iter().position(|name| *name == app.app_id).unwrap_or_else(|| {
                names.push(app.app_id.clone());
                names.len() - 1
            });
            let no = AppNo(u16::try_from(at).unwrap_or(u16::MAX));
            keys.push((no, app.clone(), DecodingKey::from_secret(app.secret.as_bytes())));
        }
        Self { names, keys, validation, revoked: Revoked::default() }
    }

    pub(crate) fn find(&self, app_id: &str) -> Option<AppNo> {
        let at = self.names.iter().position(|name| name.as_str() == app_id)?;
        u16::try_from(at).ok().map(AppNo)
    }

    /// All of them, in the order of their numbers.
    pub(crate) fn names(&self) -> &[AppId] {
        &self.names
    }

    pub(crate) fn name(&self, app: AppNo) -> &AppId {
        &self.names[usize::from(app.0)]
    }

    /// The first key of the app, with which tokens are signed for it.
    pub(crate) fn signer(&self, app: AppNo) -> Option<&AppConfig> {
        self.keys.iter().find(|(no, ..)| *no == app).map(|(_, config, _)| config)
    }

    /// Tokens that count no longer.
    pub(crate) fn revoked(&self) -> &Revoked {
        &self.revoked
    }

    /// The user an access token speaks of.
    pub(crate) fn check_access(&self, app: AppNo, token: &str) -> Result<UserId, TokenError> {
        let claims: AccessClaims = self.verified(app, token, &self.validation)?;
        self.unrevoked(app, token, &claims).map(|(user, _)| user)
    }

    /// Whose access token it is and when it ends, in s since 1970, for whoever revokes it.
    pub(crate) fn owner_of(&self, app: AppNo, token: &str) -> Result<(UserId, u64), TokenError> {
        let claims: AccessClaims = self.verified(app, token, &self.validation)?;
        let user = UserId::new(&claims.uid).map_err(|_| TokenError::User)?;
        Ok((user, claims.exp.saturating_add(self.validation.leeway)))
    }

    /// Whether whoever brings it has the app's key.
    pub(crate) fn check_operator(&self, app: AppNo, token: &str) -> Result<(), TokenError> {
        let claims: OperatorClaims = self.verified(app, token, &self.validation)?;
        if claims.scope == OperatorClaims::SCOPE { Ok(()) } else { Err(TokenError::Scope) }
    }

    /// The same of a token that may have ended, and how long it is good.
    pub(crate) fn read_access(&self, app: AppNo, token: &str) -> Result<Access, TokenError> {
        let mut validation = self.validation.clone();
        validation.validate_exp = false;
        let claims: AccessClaims = self.verified(app, token, &validation)?;
        let (user, mark) = self.unrevoked(app, token, &claims)?;
        Ok(Access { user, left_ms: claims.exp.saturating_mul(1_000).saturating_sub(unix_ms()), mark })
    }

    fn unrevoked(&self, app: AppNo, token: &str, claims: &AccessClaims) -> Result<(UserId, TokenMark), TokenError> {
        let user = UserId::new(&claims.uid).map_err(|_| TokenError::User)?;
        let mark = revoked::mark_of(app, token, claims.iat);
        if self.revoked.has(app, &user, &mark) { Err(TokenError::Revoked) } else { Ok((user, mark)) }
    }

    /// What a channel token allows in `channel`.
    pub(crate) fn check_channel(&self, app: AppNo, channel: &ChannelId, token: &str) -> Result<Grant, TokenError> {
        let claims: ChannelClaims = self.verified(app, token, &self.validation)?;
        if claims.channel != channel.as_str() {
            return Err(TokenError::OtherChannel);
        }
        let uid = Uid::new(claims.rtc_uid).map_err(|_| TokenError::Uid)?;
        Ok(Grant { uid, until_unix_ms: claims.exp.saturating_mul(1_000), of_call: false })
    }

    /// The claims of a token that one of the app's secrets signed, for this app and in the name of that secret.
    fn verified<C: Claims>(&self, app: AppNo, token: &str, validation: &Validation) -> Result<C, TokenError> {
        let mut error = TokenError::Signature;
        for (_, config, key) in self.keys.iter().filter(|(no, ..)| *no == app) {
            match jsonwebtoken::decode::<Map<String, Value>>(token, key, validation) {
                Ok(data) => {
                    let claims: C = read(data.claims)?;
                    let (sub, iss) = claims.sub_and_iss();
                    if sub != config.app_id.as_str() {
                        return Err(TokenError::OtherApp);
                    }
                    if *iss != config.api_key {
                        return Err(TokenError::OtherKey);
                    }
                    return Ok(claims);
                }
                Err(failed) => match failed.kind() {
                    ErrorKind::ExpiredSignature => return Err(TokenError::Expired),
                    ErrorKind::ImmatureSignature => return Err(TokenError::NotYet),
                    ErrorKind::InvalidClaimFormat(claim) => {
                        return Err(TokenError::Malformed(if claim == "nbf" { "nbf" } else { "exp" }));
                    }
                    ErrorKind::InvalidSignature | ErrorKind::InvalidAlgorithm => {}
                    _ => error = TokenError::Shape,
                },
            }
        }
        Err(error)
    }
}

/// What a kind of token has to claim besides its times.
trait Claims: DeserializeOwned {
    const TEXTS: &'static [&'static str];
    const NUMBERS: &'static [&'static str];

    fn sub_and_iss(&self) -> (&String, &String);
}

impl Claims for AccessClaims {
    const TEXTS: &'static [&'static str] = &["sub", "iss", "uid"];
    const NUMBERS: &'static [&'static str] = &[];

    fn sub_and_iss(&self) -> (&String, &String) {
        (&self.sub, &self.iss)
    }
}

impl Claims for OperatorClaims {
    const TEXTS: &'static [&'static str] = &["sub", "iss", "scope"];
    const NUMBERS: &'static [&'static str] = &[];

    fn sub_and_iss(&self) -> (&String, &String) {
        (&self.sub, &self.iss)
    }
}

impl Claims for ChannelClaims {
    const TEXTS: &'static [&'static str] = &["sub", "iss", "channel"];
    const NUMBERS: &'static [&'static str] = &["rtc_uid"];

    fn sub_and_iss(&self) -> (&String, &String) {
        (&self.sub, &self.iss)
    }
}

fn is_time(value: &Value) -> bool {
    value.as_f64().is_some_and(|seconds| seconds >= 0.0)
}

/// The claims as what they are, or which of them is wrong.
fn read<C: Claims>(claims: Map<String, Value>) -> Result<C, TokenError> {
    type Fits = fn(&Value) -> bool;
    let needed: [(&[&'static str], Fits); 3] =
        [(C::TEXTS, Value::is_string), (C::NUMBERS, Value::is_u64), (&["exp"], is_time)];
    for (names, is_fit) in needed {
        for &name in names {
            match claims.get(name) {
                None | Some(Value::Null) => return Err(TokenError::Missing(name)),
                Some(value) if !is_fit(value) => return Err(TokenError::Malformed(name)),
                Some(_) => {}
            }
        }
    }
    // What is left: a time of issue that is none, or a number too large.
    let name = C::NUMBERS.first().copied().filter(|name| claims[*name].as_u64() > Some(u32::MAX.into()));
    serde_json::from_value(Value::Object(claims)).map_err(|_| TokenError::Malformed(name.unwrap_or("iat")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str, api_key: &str) -> AppConfig {
        let secret = format!("{name}-{api_key}-secret-0123456789");
        AppConfig::new(AppId::new(name).unwrap(), api_key, secret)
    }

    fn claims(app: &AppConfig) -> AccessClaims {
        let now = unix_s();
        AccessClaims {
            sub: app.app_id.to_string(),
            uid: "ann".into(),
            iss: app.api_key.clone(),
            iat: now,
            exp: now + 60,
        }
    }

    #[test]
    fn only_what_the_app_itself_signed_is_taken() {
        let (shop, bank) = (app("shop", "k1"), app("bank", "k1"));
        let apps = Apps::new(&[shop.clone(), bank.clone(), app("shop", "k2")], 5);
        let (shop_no, good) = (apps.find("shop").unwrap(), claims(&shop));
        let check = |token: String| apps.check_access(shop_no, &token);

        assert_eq!(check(shop.sign(&good)), Ok(UserId::new("ann").unwrap()));
        assert_eq!(
            check(app("shop", "k2").sign(&AccessClaims { iss: "k2".into(), ..good.clone() })).unwrap().as_str(),
            "ann"
        );
        assert_eq!(check(bank.sign(&good)), Err(TokenError::Signature));
        assert_eq!(check(shop.sign(&AccessClaims { sub: "bank".into(), ..good.clone() })), Err(TokenError::OtherApp));
        assert_eq!(check(shop.sign(&AccessClaims { iss: "k2".into(), ..good.clone() })), Err(TokenError::OtherKey));
        assert_eq!(check(shop.sign(&AccessClaims { uid: String::new(), ..good.clone() })), Err(TokenError::User));
        let past = AccessClaims { exp: unix_s() - 6, ..good.clone() };
        assert_eq!(check(shop.sign(&past)), Err(TokenError::Expired));
        let just = AccessClaims { exp: unix_s() - 2, ..good.clone() };
        assert!(check(shop.sign(&just)).is_ok(), "within the leeway");
        assert_eq!(check("no token".into()), Err(TokenError::Shape));
        assert_eq!(check(String::new()), Err(TokenError::Shape));
    }

    #[test]
    fn no_other_algorithm_is_taken() {
        let shop = app("shop", "k1");
        let apps = Apps::new(std::slice::from_ref(&shop), 5);
        let key = EncodingKey::from_secret(shop.secret.as_bytes());
        let hs512 = jsonwebtoken::encode(&Header::new(Algorithm::HS512), &claims(&shop), &key).unwrap();
        assert_eq!(apps.check_access(AppNo(0), &hs512), Err(TokenError::Signature));
        // {"alg":"none","typ":"JWT"} with good claims and no signature.
        let good = shop.sign(&claims(&shop));
        let body = good.split('.').nth(1).unwrap();
        let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.");
        assert_eq!(apps.check_access(AppNo(0), &none), Err(TokenError::Shape));
    }

    #[test]
    fn a_channel_token_is_for_one_channel_and_uid() {
        let shop = app("shop", "k1");
        let apps = Apps::new(std::slice::from_ref(&shop), 5);
        let (here, there) = (ChannelId::new("here").unwrap(), ChannelId::new("there").unwrap());
        let token = shop.channel_token(&here, Uid::new(7).unwrap(), 60);
        assert_eq!(apps.check_channel(AppNo(0), &here, &token).unwrap().uid.get(), 7);
        assert_eq!(apps.check_channel(AppNo(0), &there, &token), Err(TokenError::OtherChannel));
        let access = shop.access_token(&UserId::new("ann").unwrap(), 60);
        assert_eq!(apps.check_channel(AppNo(0), &here, &access), Err(TokenError::Missing("channel")));
        assert_eq!(apps.check_access(AppNo(0), &token), Err(TokenError::Missing("uid")));
    }

    #[test]
    fn times_are_those_of_rfc_7519_and_the_claim_that_is_wrong_is_named() {
        let shop = app("shop", "k1");
        let apps = Apps::new(std::slice::from_ref(&shop), 5);
        let (now, here) = (unix_s() as f64, ChannelId::new("here").unwrap());
        let with = |change: Value| {
            let mut claims = serde_json::json!({
                "sub": "shop", "iss": "k1", "uid": "ann", "channel": "here", "rtc_uid": 7, "iat": now, "exp": now + 60.0,
            });
            for (name, value) in change.as_object().unwrap() {
                claims[name] = value.clone();
            }
            let token = shop.sign(&claims);
            let channel = apps.check_channel(AppNo(0), &here, &token).map(drop);
            (apps.check_access(AppNo(0), &token).map(drop), channel)
        };
        let both = |error: TokenError| (Err(error), Err(error));
        let good = [
            serde_json::json!({ "exp": now + 60.123_456 }),
            serde_json::json!({ "iat": now - 0.5, "exp": now + 60.5, "nbf": now - 0.5 }),
            serde_json::json!({ "nbf": now + 3.0 }),
            serde_json::json!({ "exp": now - 3.5 }),
        ];
        for change in good {
            assert_eq!(with(change.clone()), (Ok(()), Ok(())), "{change}");
        }
        let bad = [
            (serde_json::json!({ "exp": now - 6.5 }), TokenError::Expired),
            (serde_json::json!({ "nbf": now + 60.0 }), TokenError::NotYet),
            (serde_json::json!({ "nbf": now + 60.5 }), TokenError::NotYet),
            (serde_json::json!({ "nbf": "now" }), TokenError::Malformed("nbf")),
            (serde_json::json!({ "exp": null }), TokenError::Malformed("exp")),
            (serde_json::json!({ "exp": "soon" }), TokenError::Malformed("exp")),
            (serde_json::json!({ "exp": -1 }), TokenError::Malformed("exp")),
            (serde_json::json!({ "iat": "now" }), TokenError::Malformed("iat")),
            (serde_json::json!({ "sub": 7 }), TokenError::Malformed("sub")),
            (serde_json::json!({ "iss": null }), TokenError::Missing("iss")),
        ];
        for (change, error) in bad {
            assert_eq!(with(change.clone()), both(error), "{change}");
        }
        assert_eq!(with(serde_json::json!({ "rtc_uid": 1_u64 << 40 })).1, Err(TokenError::Malformed("rtc_uid")));
        assert_eq!(with(serde_json::json!({ "rtc_uid": null })).1, Err(TokenError::Missing("rtc_uid")));
        // Neither is there at all.
        let bare = serde_json::json!({ "sub": "shop", "iss": "k1", "uid": "ann" });
        assert_eq!(apps.check_access(AppNo(0), &shop.sign(&bare)), Err(TokenError::Missing("exp")));
        let mut whole = bare.clone();
        whole["exp"] = (now + 60.0).into();
        assert!(apps.check_access(AppNo(0), &shop.sign(&whole)).is_ok(), "without iat");
        assert!(TokenError::Malformed("exp").to_string().contains("the token's exp is not"));
    }
}
