//! Golden files: what has been on the wire once is read for ever, and written no other way.
//!
//! They change only on purpose: `GOLDEN=write cargo test -p call-protocol golden`, and a look at the difference.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::path::PathBuf;

use call_protocol::end::EndReason;
use call_protocol::session::{ClientBody, ClientFrame, ServerBody, ServerFrame};
use call_protocol::wire::*;
use call_protocol::{CallMessage, Word};

use crate::samples;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The text of a golden file; written first where that was asked for.
fn golden(name: &str, present: &str) -> String {
    let path = folder().join(name);
    if std::env::var_os("GOLDEN").is_some_and(|wish| wish == "write") {
        fs::write(&path, present).unwrap();
    }
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}; GOLDEN=write writes it"))
}

/// 32 bytes a line, in hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    bytes.chunks(32).map(line).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Compares both ways, and remembers the name for [`no_file_is_left_over`].
fn check<T: Debug + PartialEq>(name: &str, value: &T, encoded: Vec<u8>, decode: impl Fn(&[u8]) -> T) {
    let golden = golden(&format!("{name}.hex"), &hex(&encoded));
    assert_eq!(hex(&encoded), golden, "{name} is written another way than before");
    assert_eq!(decode(&bytes(&golden)), *value, "{name} is read as something else than before");
}

fn calls() -> Vec<(String, CallMessage)> {
    let words = samples::words().into_iter().map(|(name, word)| (format!("call_{name}"), samples::call(word)));
    let reasons = EndReason::ALL
        .into_iter()
        .map(|reason| (format!("call_cancel_{reason}"), samples::call(Word::Cancel(reason.into()))));
    words.chain(reasons).collect()
}

fn client_frames() -> Vec<(String, ClientFrame)> {
    let frames = samples::client_frames().into_iter().map(|(name, frame)| (format!("client_{name}"), frame));
    let requests = samples::requests().into_iter().map(|(name, request)| {
        let body = Some(ClientBody::Channel(request));
        (format!("request_{name}"), ClientFrame { seq: 1, ack: 0, body })
    });
    frames.chain(requests).collect()
}

fn server_frames() -> Vec<(String, ServerFrame)> {
    let frames = samples::server_frames().into_iter().map(|(name, frame)| (format!("server_{name}"), frame));
    let events = samples::events().into_iter().map(|(name, event)| {
        let body = Some(ServerBody::Channel(event));
        (format!("event_{name}"), ServerFrame { seq: 1, ack: 0, body })
    });
    frames.chain(events).collect()
}

/// The golden bytes of all call messages, client frames and server frames.
pub(crate) fn all() -> [Vec<Vec<u8>>; 3] {
    [
        calls().iter().map(|(_, message)| encode_call(message)).collect(),
        client_frames().iter().map(|(_, frame)| encode_client_frame(frame)).collect(),
        server_frames().iter().map(|(_, frame)| encode_server_frame(frame)).collect(),
    ]
}

#[test]
fn golden_call_messages() {
    for (name, message) in calls() {
        check(&name, &message, encode_call(&message), |bytes| decode_call(bytes).unwrap().unwrap());
    }
}

#[test]
fn golden_chat_messages() {
    for (name, chat) in samples::chats() {
        check(&format!("chat_{name}"), &chat, encode_chat(&chat), |bytes| decode_chat(bytes).unwrap().unwrap());
    }
}

#[test]
fn golden_client_frames() {
    for (name, frame) in client_frames() {
        check(&name, &frame, encode_client_frame(&frame), |bytes| decode_client_frame(bytes).unwrap());
    }
}

#[test]
fn golden_server_frames() {
    for (name, frame) in server_frames() {
        check(&name, &frame, encode_server_frame(&frame), |bytes| decode_server_frame(bytes).unwrap());
    }
}

#[test]
fn golden_token_claims() {
    let (access, channel) = (samples::access_claims(), samples::channel_claims());
    let text = serde_json::to_string_pretty(&access).unwrap() + "\n";
    assert_eq!(text, golden("access_claims.json", &text));
    assert_eq!(access, serde_json::from_str(&golden("access_claims.json", &text)).unwrap());
    let text = serde_json::to_string_pretty(&channel).unwrap() + "\n";
    assert_eq!(text, golden("channel_claims.json", &text));
    assert_eq!(channel, serde_json::from_str(&golden("channel_claims.json", &text)).unwrap());
    let operator = samples::operator_claims();
    let text = serde_json::to_string_pretty(&operator).unwrap() + "\n";
    assert_eq!(text, golden("operator_claims.json", &text));
    assert_eq!(operator, serde_json::from_str(&golden("operator_claims.json", &text)).unwrap());
}

/// A store keeps call messages and invites as JSON.
#[test]
fn golden_json_of_call_messages() {
    for (name, word) in samples::words() {
        let message = samples::call(word);
        let text = serde_json::to_string_pretty(&message).unwrap() + "\n";
        let golden = golden(&format!("call_{name}.json"), &text);
        assert_eq!(text, golden, "{name} is written another way than before");
        assert_eq!(message, serde_json::from_str(&golden).unwrap(), "{name}");
    }
}

#[test]
fn golden_files_all_belong_to_a_message() {
    let hex = calls().into_iter().map(|(name, _)| name);
    let hex = hex.chain(client_frames().into_iter().map(|(name, _)| name));
    let hex = hex.chain(server_frames().into_iter().map(|(name, _)| name));
    let hex = hex.chain(samples::chats().into_iter().map(|(name, _)| format!("chat_{name}")));
    let json = samples::words().into_iter().map(|(name, _)| format!("call_{name}.json"));
    let json = json.chain(["access_claims.json", "channel_claims.json", "operator_claims.json"].map(str::to_owned));
    let known: BTreeSet<String> = hex.map(|name| format!("{name}.hex")).chain(json).collect();
    let there = fs::read_dir(folder()).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), known);
}

/// Every kind of word has its golden file: a kind that is new here fails until it has one.
#[test]
fn golden_files_cover_every_kind_of_the_schema() {
    let schema = include_str!("../../../../proto/callkit/v1/call.proto");
    let message = schema.split("message CallMessage {").nth(1).unwrap();
    let kinds = message.split("oneof body {").nth(1).unwrap().split('}').next().unwrap();
    let fields = kinds.lines().filter_map(|line| line.trim().split(" = ").next()?.split(' ').nth(1));
    let covered: BTreeSet<&str> = samples::words().iter().map(|(_, word)| word.name()).collect();
    for field in fields {
        assert!(covered.contains(field), "there is no golden file for {field}");
    }
}
