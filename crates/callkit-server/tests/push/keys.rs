//! Keys and URLs that are wrong are found at the start; none is ever shown.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use callkit_server::ServerConfig;
use callkit_server::push::{PushAddress, PushConfig, PushKind, PushOutcome, PushSenders, Rejection};

use crate::service::{Authority, Clock};

/// A sound configuration file with these lines for pushes.
fn loaded(authority: &Authority, push: &str) -> Result<ServerConfig, String> {
    let app = "[[apps]]\napp_id = \"shop\"\napi_key = \"key\"\nsecret = \"0123456789abcdef\"\n";
    let file = authority.file("callkitd.toml", &format!("{app}{push}"));
    let config = ServerConfig::load(Some(&file), serde_json::json!({})).map_err(|error| error.to_string())?;
    config.check().map_err(|error| error.to_string())?;
    Ok(config)
}

fn vapid_key() -> String {
    URL_SAFE_NO_PAD.encode([5; 32])
}

fn apns(key_file: &str, more: &str) -> String {
    format!(
        "[apps.push.apns]\nteam_id = \"TEAM123456\"\nkey_id = \"KEY1234567\"\nkey_file = '{key_file}'\nbundle_id = \"com.example.calls\"\n{more}\n"
    )
}

#[test]
fn what_is_sound_is_taken_and_what_is_not_said_is_the_default() {
    let authority = Authority::new();
    let key_file = authority.file("AuthKey.p8", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let ca_file = authority.ca_file();
    let browsers =
        format!("[apps.push.web_push]\nprivate_key = \"{}\"\nsubject = \"mailto:ops@calls.example\"\n", vapid_key());
    let push = format!(
        "[apps.push]\nca_file = '{}'\n{}{browsers}",
        ca_file.display(),
        apns(&key_file.display().to_string(), "")
    );
    let config = loaded(&authority, &push).unwrap();
    let push = &config.apps[0].push;
    let apns = push.apns.as_ref().unwrap();
    assert_eq!(apns.url, "https://api.push.apple.com");
    assert_eq!(apns.sandbox_url, "https://api.sandbox.push.apple.com");
    assert!(!push.web_push.as_ref().unwrap().allow_private);
    assert!(push.fcm.is_none());
    assert!(!format!("{config:?} {push:?}").contains(&vapid_key()));
    assert!(loaded(&authority, "").unwrap().apps[0].push.is_empty());
}

#[test]
fn what_is_wrong_is_named() {
    let authority = Authority::new();
    let good = authority.file("AuthKey.p8", &rcgen::KeyPair::generate().unwrap().serialize_pem());
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let p384 = authority.file("p384.p8", &p384.serialize_pem());
    let text = authority.file("text", "not a key");
    let account = authority.file("account.json", r#"{"project_id":"p","private_key_id":"k","private_key":"SECRET","client_email":"e","token_uri":"https://oauth.example/token"}"#);
    let path = |path: &std::path::Path| path.display().to_string();
    let head = format!("[apps.push]\nca_file = '{}'\n", path(&authority.ca_file()));
    let browsers =
        |key: &str, subject: &str| format!("[apps.push.web_push]\nprivate_key = \"{key}\"\nsubject = \"{subject}\"\n");
    let google = |file: &str| format!("[apps.push.fcm]\nservice_account_file = '{file}'\n");
    for (push, named) in [
        (apns("/nowhere/AuthKey.p8", ""), "/nowhere/AuthKey.p8"),
        (apns(&path(&text), ""), "apns.key_file"),
        (apns(&path(&p384), ""), "apns.key_file"),
        (apns(&path(&good), "url = \"http://api.push.apple.com\""), "apns.url"),
        (apns(&path(&good), "sandbox_url = \"api.push.apple.com\""), "apns.sandbox_url"),
        (apns(&path(&good), "uri = \"https://api.push.apple.com\""), "uri"),
        (apns(&path(&good), "").replace("calls\"", "calls.voip\""), "apns.bundle_id"),
        (google("/nowhere/account.json"), "/nowhere/account.json"),
        (google(&path(&text)), "fcm.service_account_file"),
        (google(&path(&account)), "private_key"),
        (browsers("AAAA", "mailto:a@b"), "web_push.private_key"),
        (browsers(&URL_SAFE_NO_PAD.encode([0; 32]), "mailto:a@b"), "web_push.private_key"),
        (browsers(&vapid_key(), "ops"), "web_push.subject"),
        (browsers(&vapid_key(), "mailto:a@b") + "[apps.push.carrier_pigeon]\n", "carrier_pigeon"),
    ] {
        let said = loaded(&authority, &format!("{head}{push}")).expect_err(named);
        assert!(said.contains(named), "{said} does not name {named}");
        assert!(!said.contains("SECRET") && !said.contains(&vapid_key()), "{said}");
    }
    let browsers = browsers(&vapid_key(), "mailto:a@b");
    for (file, named) in [("/nowhere/ca.pem".to_owned(), "/nowhere/ca.pem"), (path(&text), "ca_file")] {
        let said = loaded(&authority, &format!("[apps.push]\nca_file = '{file}'\n{browsers}")).unwrap_err();
        assert!(said.contains(named), "{said}");
    }
}

#[test]
fn the_sample_is_read_and_does_not_start_without_a_secret() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/deploy/callkitd.toml");
    let config = ServerConfig::load(Some(sample.as_ref()), serde_json::json!({})).unwrap();
    let push = &config.apps[0].push;
    assert!(push.apns.is_some() && push.fcm.is_some() && push.web_push.is_some());
    assert!(config.check().unwrap_err().to_string().contains("secret"));
}

#[tokio::test]
async fn without_keys_nothing_is_sent() {
    let senders = PushSenders::new(&PushConfig::default()).unwrap();
    assert_eq!(senders.vapid_public_key(), None);
    let address = PushAddress::Fcm { token: "token".into() };
    let mut ring = Clock::start().push(PushKind::Ring);
    ring.ring_deadline_unix_ms = u64::MAX;
    let senders = Arc::new(senders);
    let (sender, to, what) = (Arc::clone(&senders), address.clone(), ring.clone());
    let outcome = tokio::spawn(async move { sender.send(&to, &what).await }).await.unwrap();
    assert_eq!(outcome, PushOutcome::Rejected { why: Rejection::NotConfigured });
    let shown = format!("{senders:?} {ring:?} {address:?}");
    assert!(!shown.contains(&ring.cc_param) && !shown.contains("token"), "{shown}");
}
