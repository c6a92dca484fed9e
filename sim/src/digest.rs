//! A cheap running digest: the same on every platform, in debug and release.
//!
//! Not cryptographic. It tells two runs apart; it proves nothing against an adversary.
//!
//! # Definition
//! The state is one `u64`, at first `0x52554e53_544f4e45` ("RUNSTONE"). Feeding a word `w`
//! makes it `fold((state ^ w) * K) + state.rotate_left(23)`, where `K` is
//! `0x9e3779b97f4a7c15`, the product has 128 bits, `fold` is the exclusive or of its halves,
//! and the sum wraps. A `u8` or `u32` is fed as a word of its own; a byte string as its
//! length, then its little-endian words, the last one padded with zeros. `value` is the
//! state after one more word, all ones. There is no way to feed a `usize`.

use crate::rng::wide_mul;

const START: u64 = 0x5255_4e53_544f_4e45;
const K: u64 = 0x9e37_79b9_7f4a_7c15;

/// A running digest of what was fed, in order.
///
/// ```
/// use runstone_sim::digest::Digest;
///
/// let mut digest = Digest::new();
/// digest.u8(1);
/// digest.bytes(b"runstone");
/// let before = digest.value();
/// digest.u64(9);
/// assert_ne!(before, digest.value());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    state: u64,
}

impl Default for Digest {
    fn default() -> Digest {
        Digest::new()
    }
}

impl Digest {
    /// The digest of nothing.
    pub fn new() -> Digest {
        Digest { state: START }
    }

    /// Feeds one number.
    pub fn u8(&mut self, value: u8) {
        self.u64(u64::from(value));
    }

    /// Feeds one number.
    pub fn u32(&mut self, value: u32) {
        self.u64(u64::from(value));
    }

    /// Feeds one number.
    pub fn u64(&mut self, value: u64) {
        let (high, low) = wide_mul(self.state ^ value, K);
        self.state = (high ^ low).wrapping_add(self.state.rotate_left(23));
    }

    /// Feeds a byte string: its length, then its bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            let mut le = [0; 8];
            le.copy_from_slice(word);
            self.u64(u64::from_le_bytes(le));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut le = [0; 8];
            le[..rest.len()].copy_from_slice(rest);
            self.u64(u64::from_le_bytes(le));
        }
    }

    /// The digest of all that was fed so far; feeding may go on.
    pub fn value(&self) -> u64 {
        let mut end = *self;
        end.u64(u64::MAX);
        end.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(feed: impl Fn(&mut Digest)) -> u64 {
        let mut digest = Digest::new();
        feed(&mut digest);
        digest.value()
    }

    #[test]
    fn golden_values_never_change() {
        let values = [
            of(|_| {}),
            of(|d| d.bytes(b"runstone, a run-scoped store")),
            of(|d| {
                d.u8(1);
                d.u32(2);
                d.u64(3);
            }),
        ];
        assert_eq!(
            values.map(|value| format!("{value:016x}")),
            ["12434abb3690b023", "dc2429388f51ddcf", "a96adfa85ac6bf16"]
        );
    }

    #[test]
    fn order_length_and_boundaries_all_count() {
        let digests = [
            of(|_| {}),
            of(|d| d.bytes(b"")),
            of(|d| d.bytes(b"\0")),
            of(|d| d.bytes(b"\0\0")),
            of(|d| d.bytes(b"ab")),
            of(|d| {
                d.bytes(b"a");
                d.bytes(b"b");
            }),
            of(|d| {
                d.bytes(b"b");
                d.bytes(b"a");
            }),
            of(|d| d.u64(1)),
            of(|d| d.u64(2)),
        ];
        let distinct: std::collections::BTreeSet<u64> = digests.into_iter().collect();
        assert_eq!(distinct.len(), digests.len());
    }
}
