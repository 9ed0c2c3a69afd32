//! HTTP/2 as no client speaks it (RFC 9113), byte by byte.

use callkit_server::{Server, ServerConfig};

use crate::client::{config, metric_becomes};
use crate::stranger::{limits, say, start, users_are_unharmed};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const ENHANCE_YOUR_CALM: u8 = 0xb;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The headers of a call of the service, as literals (RFC 7541).
fn headers() -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let path = "/callkit.v1.Signal/Connect";
    let literals: [(&[u8], &str); 4] =
        [(&[0x04], path), (&[0x01], "here"), (&[0x0f, 0x10], "application/grpc"), (&[0x00, 2, b't', b'e'], "trailers")];
    for (name, value) in literals {
        block.extend_from_slice(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend_from_slice(value.as_bytes());
    }
    block
}

fn opening() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

/// The error code of the GOAWAY in what the server sent.
fn goaway(answer: &[u8]) -> Option<u8> {
    let mut rest = answer;
    let mut code = None;
    while let Some(head) = rest.get(..9) {
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = rest.get(9..9 + length)?;
        if head[3] == GOAWAY {
            code = payload.get(7).copied().filter(|code| *code != 0).or(code);
        }
        rest = &rest[9 + length..];
    }
    code
}

#[tokio::test]
async fn streams_that_are_reset_as_soon_as_they_begin_end_the_connection() {
    let server = start(limits()).await;
    let mut bytes = opening();
    for number in 0..200 {
        let stream = number * 2 + 1;
        bytes.extend(frame(HEADERS, END_HEADERS, stream, &headers()));
        bytes.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
    }
    let answer = say(server.local_addr(), &bytes).await;
    assert_eq!(goaway(&answer), Some(ENHANCE_YOUR_CALM), "{answer:?}");
    users_are_unharmed(&server, 1).await;
    metric_becomes(server.local_addr(), "callkit_streams", 0.0).await;
    server.stop().await;
}

#[tokio::test]
async fn headers_that_never_end_end_the_connection() {
    let server = start(limits()).await;
    let mut bytes = opening();
    bytes.extend(frame(HEADERS, 0, 1, &headers()));
    for _ in 0..60 {
        let padding = [&[0x00, 1, b'x', 100][..], &[b'y'; 100]].concat();
        bytes.extend(frame(CONTINUATION, 0, 1, &padding.repeat(5)));
    }
    let answer = say(server.local_addr(), &bytes).await;
    assert!(goaway(&answer).is_some(), "{answer:?}");
    users_are_unharmed(&server, 1).await;
    server.stop().await;
}

#[tokio::test]
async fn a_first_frame_that_claims_to_be_huge_is_refused_before_it_comes() {
    let server = start(limits()).await;
    let mut bytes = opening();
    bytes.extend(frame(HEADERS, END_HEADERS, 1, &headers()));
    bytes.extend(frame(DATA, 0, 1, &[0, 0xff, 0xff, 0xff, 0xff]));
    let answer = say(server.local_addr(), &bytes).await;
    let said = String::from_utf8_lossy(&answer);
    assert!(said.contains("a frame is over 65536 bytes"), "{said:?}");
    users_are_unharmed(&server, 1).await;
    server.stop().await;
}

#[tokio::test]
async fn settings_and_pings_without_end_hold_nobody_up() {
    let short = ServerConfig { limits: limits(), hello_timeout_ms: 200, ..config() };
    let server = Server::start(short).await.unwrap();
    let mut bytes = opening();
    for number in 0u64..20_000 {
        bytes.extend(frame(6, 0, 0, &number.to_be_bytes()));
        bytes.extend(frame(SETTINGS, 0, 0, &[]));
    }
    say(server.local_addr(), &bytes).await;
    users_are_unharmed(&server, 1).await;
    server.stop().await;
}
