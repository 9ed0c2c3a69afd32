//! The fuzz targets' bodies over golden bytes that were broken in ways drawn from a seed.

use call_protocol::invite::CallType;
use call_protocol::{AppId, CallId, CcParam, DeviceId, UserId};

use crate::broken::{Luck, broken};
use crate::{cc_param, decoders, golden};

#[test]
fn broken_messages_are_errors_or_other_messages_and_never_panic() {
    let mut luck = Luck(7);
    let all: Vec<Vec<u8>> = golden::all().into_iter().flatten().collect();
    for bytes in &all {
        decoders::check(bytes);
        for _ in 0..400 {
            let other = &all[luck.below(all.len())];
            decoders::check(&broken(&mut luck, bytes, other));
        }
    }
}

/// Each byte of each golden file in each of its values, and each golden file cut at each place.
#[test]
fn one_wrong_byte_and_every_cut() {
    for bytes in golden::all().into_iter().flatten() {
        for at in 0..bytes.len() {
            decoders::check(&bytes[..at]);
            let mut wrong = bytes.clone();
            for value in [0, 1, 0x0a, 0x12, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at] ^ 0x80] {
                wrong[at] = value;
                decoders::check(&wrong);
            }
        }
    }
}

#[test]
fn broken_parameters_are_none_or_other_parameters_and_never_panic() {
    let param = |user: &str| CcParam {
        app_id: AppId::new("shop").unwrap(),
        call_id: CallId::from_bits(7),
        user: UserId::new(user).unwrap(),
        peer: UserId::new("alice").unwrap(),
        call_type: CallType::Video1v1,
        ring_deadline_unix_ms: 1_700_000_030_000,
        device: Some(DeviceId::new("phone").unwrap()),
    };
    let mut luck = Luck(7);
    for user in ["bob", "somebody-with-a-rather-long-name@example.org"] {
        let mut payload = Vec::new();
        let text = param(user).seal(|bytes| {
            payload = bytes.to_vec();
            (7, [9; 16])
        });
        assert_eq!(CcParam::parse(&text), Some(param(user)));
        for _ in 0..20_000 {
            cc_param::check(&broken(&mut luck, text.as_bytes(), &payload));
            cc_param::check(&broken(&mut luck, &payload, text.as_bytes()));
        }
    }
}
