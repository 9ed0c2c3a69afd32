//! The fuzz target's body over golden bytes that were broken in ways drawn from a seed.

use crate::{decoders, golden};

/// xorshift64*: enough luck for noise, and the same in every run (Vigna, "An experimental exploration of Marsaglia's xorshift").
struct Luck(u64);

impl Luck {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

/// Flips, cuts, repeats, inserts or joins bytes, one to four times.
fn broken(luck: &mut Luck, bytes: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=luck.below(4) {
        let at = luck.below(bytes.len());
        match luck.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << luck.below(8),
            1 if !bytes.is_empty() => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][luck.below(5)],
            2 => bytes.truncate(at),
            3 => bytes.insert(at.min(bytes.len()), luck.below(256) as u8),
            4 if !bytes.is_empty() => drop(bytes.remove(at)),
            5 => bytes.extend_from_slice(&other[luck.below(other.len())..]),
            _ => {
                let part = bytes[at.min(bytes.len())..].to_vec();
                bytes.extend_from_slice(&part);
            }
        }
    }
    bytes
}

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
