//! Bytes that were broken in ways drawn from a seed.

/// xorshift64*: enough luck for noise, and the same in every run (Vigna, "An experimental exploration of Marsaglia's xorshift").
pub(crate) struct Luck(pub(crate) u64);

impl Luck {
    /// Any number below the limit; 0 where that is 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

/// Flips, cuts, repeats, inserts or joins bytes, one to four times.
pub(crate) fn broken(luck: &mut Luck, bytes: &[u8], other: &[u8]) -> Vec<u8> {
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
