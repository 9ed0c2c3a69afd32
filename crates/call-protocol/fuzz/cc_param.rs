//! What holds for whatever a phone brings back as a `cc_param`: reading does not panic, and what was read can be sealed and read again.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use call_protocol::{CcParam, limits};

/// Takes the bytes as a text, and as what a good head is followed by.
pub(crate) fn check(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        read(text);
    }
    let head = [&[1, 7][..], &[9; 16]].concat();
    read(&URL_SAFE_NO_PAD.encode([&head, bytes].concat()));
}

fn read(text: &str) {
    let Some((param, sealed)) = CcParam::open(text) else {
        assert_eq!(CcParam::parse(text), None);
        return;
    };
    assert_eq!(CcParam::parse(text).as_ref(), Some(&param));
    assert!(text.len() <= limits::CC_PARAM_BYTES);
    let mut signed = Vec::new();
    let again = param.seal(|payload| {
        signed = payload.to_vec();
        (sealed.key_number, sealed.mac)
    });
    let (same, parts) = CcParam::open(&again).expect("what was sealed can be opened");
    assert_eq!(same, param);
    assert_eq!((parts.key_number, parts.mac, parts.payload), (sealed.key_number, sealed.mac, signed));
}
