//! Two worlds that differ only in the time of day are the same world: moments are hashed as they stand to the present.

use std::hash::Hasher;

use crate::plan::RESUME_WINDOW_MS;

/// Where the monotonic clock of the model begins; no other number in a machine is as large.
pub(crate) const MONO: u64 = 1 << 40;
/// Where its wall clock begins.
pub(crate) const UNIX: u64 = 1 << 41;
/// Moments are this much after a beginning at most.
const SPAN: u64 = 1 << 38;
/// What is longer ago than any rule asks for is as long ago as that.
const LONG_AGO_MS: u64 = RESUME_WINDOW_MS + 1;

/// Passes everything on but moments, which it turns into distances from now.
pub(crate) struct Relative<'a, H> {
    inner: &'a mut H,
    now: u64,
}

impl<'a, H: Hasher> Relative<'a, H> {
    /// `now` counts from the beginning of both clocks.
    pub(crate) fn new(inner: &'a mut H, now: u64) -> Self {
        Self { inner, now }
    }

    fn distance(&self, moment: u64) -> u64 {
        for beginning in [MONO, UNIX] {
            if (beginning..beginning + SPAN).contains(&moment) {
                let now = beginning + self.now;
                return match now.checked_sub(moment) {
                    Some(age) => u64::MAX - age.min(LONG_AGO_MS),
                    None => moment - now,
                };
            }
        }
        moment
    }
}

impl<H: Hasher> Hasher for Relative<'_, H> {
    fn finish(&self) -> u64 {
        self.inner.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.inner.write(bytes);
    }

    fn write_u8(&mut self, number: u8) {
        self.inner.write_u8(number);
    }

    fn write_u16(&mut self, number: u16) {
        self.inner.write_u16(number);
    }

    fn write_u32(&mut self, number: u32) {
        self.inner.write_u32(number);
    }

    fn write_u64(&mut self, number: u64) {
        self.inner.write_u64(self.distance(number));
    }

    fn write_u128(&mut self, number: u128) {
        self.inner.write_u128(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.inner.write_usize(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signaling::Time;
    use std::hash::{DefaultHasher, Hash};

    fn hash(now: u64, moments: &[Time]) -> u64 {
        let mut hasher = DefaultHasher::new();
        moments.iter().for_each(|moment| moment.hash(&mut Relative::new(&mut hasher, now)));
        hasher.finish()
    }

    #[test]
    fn the_time_of_day_does_not_count_but_distances_do() {
        assert_eq!(hash(5, &[Time(MONO + 7)]), hash(1_005, &[Time(MONO + 1_007)]));
        assert_eq!(hash(9_000, &[Time(UNIX)]), hash(19_000, &[Time(UNIX + 10_000)]));
        assert_ne!(hash(5, &[Time(MONO + 7)]), hash(5, &[Time(MONO + 8)]));
        assert_ne!(hash(5, &[Time(MONO + 7)]), hash(9, &[Time(MONO + 7)]));
        assert_eq!(hash(20_000, &[Time(MONO)]), hash(90_000, &[Time(MONO)]), "long ago is long ago");
        assert_ne!(hash(5, &[Time(7)]), hash(6, &[Time(8)]), "what is no moment is left alone");
    }
}
