//! What holds for whatever is brought as a token or as the parameter of a push: it is taken if its owner signed it, and never otherwise.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use call_protocol::invite::CallType;
use call_protocol::{AppId, CallId, CcParam, ChannelId, UserId};
use callkit_server::checks_alone::Checks;
use callkit_server::{AppConfig, Secret};
use hmac::{Hmac, Mac};
use serde_json::Value;
use sha2::Sha256;

/// So far away that no run ends after it.
const END_UNIX_S: u64 = 32_000_000_000;

struct World {
    checks: Checks,
    shop: AppConfig,
    room: ChannelId,
    access: String,
    channel: String,
    param: CcParam,
    sealed: String,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let app = |name: &str| {
        AppConfig::new(AppId::new(name).expect("a good id"), "key", format!("the secret of {name}, long enough"))
    };
    let (shop, bank) = (app("shop"), app("bank"));
    let secrets = [Secret::new("a secret of the server that nobody else has")];
    let checks = Checks::new(&[shop.clone(), bank], &secrets).expect("the secret is long enough");
    let room = ChannelId::new("room").expect("a good id");
    let claims = serde_json::json!({ "sub": "shop", "uid": "ann", "iss": "key", "iat": 1, "exp": END_UNIX_S });
    let access = shop.sign(&claims);
    let claims = serde_json::json!({ "sub": "shop", "channel": "room", "rtc_uid": 7, "iss": "key", "iat": 1, "exp": END_UNIX_S });
    let channel = shop.sign(&claims);
    let param = CcParam {
        app_id: shop.app_id.clone(),
        call_id: CallId::from_bits(7),
        user: UserId::new("bob").expect("a good id"),
        peer: UserId::new("ann").expect("a good id"),
        call_type: CallType::Audio1v1,
        ring_deadline_unix_ms: END_UNIX_S,
        device: None,
    };
    let sealed = checks.seal(&param);
    World { checks, shop, room, access, channel, param, sealed }
});

/// Inputs to start from: good ones of each kind.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let world = &*WORLD;
    let claims = |token: &str| URL_SAFE_NO_PAD.decode(token.split('.').nth(1).expect("three parts")).expect("base64");
    let payload = CcParam::open(&world.sealed).expect("sealed here").1.payload;
    let of = |kind: u8, rest: &[u8]| [&[kind], rest].concat();
    vec![
        of(0, world.access.as_bytes()),
        of(0, world.channel.as_bytes()),
        of(1, &claims(&world.access)),
        of(1, &claims(&world.channel)),
        of(2, br#"{"typ":"JWT","alg":"HS256"}"#),
        of(3, &[40, 1, 90, 2]),
        of(4, world.sealed.as_bytes()),
        of(5, &payload),
        of(6, &[30, 4]),
    ]
}

/// The first byte says what the others are.
pub(crate) fn check(bytes: &[u8]) {
    let world = &*WORLD;
    let Some((&kind, rest)) = bytes.split_first() else { return };
    let text = String::from_utf8_lossy(rest);
    match kind % 7 {
        // Anything.
        0 => token(world, &text),
        // Claims with a good signature.
        1 => token(world, &signed(&world.shop, br#"{"alg":"HS256","typ":"JWT"}"#, rest)),
        // Good claims below another header, with a good signature.
        2 => {
            let claims = URL_SAFE_NO_PAD.decode(world.access.split('.').nth(1).unwrap_or_default()).unwrap_or_default();
            token(world, &signed(&world.shop, rest, &claims));
        }
        // A good token with some letters changed.
        3 => {
            for good in [&world.access, &world.channel] {
                token(world, &changed(good, rest));
            }
        }
        4 => parameter(world, &text),
        // A payload that a stranger has put behind the signature of another.
        5 => {
            let good = CcParam::open(&world.sealed).expect("sealed here").1;
            let bytes = [&[1, good.key_number][..], &good.mac, rest].concat();
            parameter(world, &URL_SAFE_NO_PAD.encode(bytes));
        }
        _ => parameter(world, &changed(&world.sealed, rest)),
    }
}

fn token(world: &World, token: &str) {
    let user = world.checks.access("shop", token);
    let uid = world.checks.channel("shop", &world.room, token);
    assert_eq!(world.checks.access("bank", token), None, "signed for another app");
    assert_eq!(world.checks.channel("bank", &world.room, token), None, "signed for another app");
    if user.is_none() && uid.is_none() {
        return;
    }
    let claims = genuine(&world.shop, token).expect("nothing is taken that the app has not signed");
    assert_eq!((&claims["sub"], &claims["iss"]), (&"shop".into(), &"key".into()));
    assert!(claims["exp"].as_f64().expect("an end") > 1.7e9, "its time is over");
    if let Some(user) = user {
        assert_eq!(claims["uid"], user.as_str());
    }
    if let Some(uid) = uid {
        assert_eq!((&claims["channel"], claims["rtc_uid"].as_u64()), (&"room".into(), Some(uid.get().into())));
    }
}

/// The claims of a token that the app signed, found without the server's code.
fn genuine(app: &AppConfig, token: &str) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let json = |part: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let mac = Hmac::<Sha256>::new_from_slice(app.secret.as_bytes()).ok()?.chain_update(signed);
    mac.verify_slice(&URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    if json(header)?["alg"] != "HS256" {
        return None;
    }
    json(claims)
}

fn signed(app: &AppConfig, header: &[u8], claims: &[u8]) -> String {
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let mac = Hmac::<Sha256>::new_from_slice(app.secret.as_bytes()).expect("a key of any length").chain_update(&text);
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

/// The text with the letter at the first byte of each two replaced by the second.
fn changed(text: &str, changes: &[u8]) -> String {
    let mut text = text.as_bytes().to_vec();
    for change in changes.chunks_exact(2) {
        let at = usize::from(change[0]) % text.len();
        text[at] = change[1] & 0x7f;
    }
    String::from_utf8(text).expect("letters were replaced by letters")
}

fn parameter(world: &World, text: &str) {
    // Only one was ever signed.
    if let Some(param) = world.checks.cc_param(text) {
        assert_eq!(text, world.sealed);
        assert_eq!(param, world.param);
    }
}
