//! The filter of a table: whether it can hold a key at all.
//!
//! A Bloom filter in lines of 64 bytes (Putze, Sanders and Singler, 2007): the high half of the
//! key's hash chooses a line, and seven times nine bits of the hash spread anew choose bits in it.
//! So a question costs one cache miss. With twelve bits a key, four of a thousand keys that are not
//! there pass.
//!
//! ```text
//! offset  bytes  field
//!      0   64*n  n lines, of which bit b is bit b % 8 of byte b / 8
//! ```
//!
//! Invariant: of a key that is in the table it never says no.

use super::hash::spread;

/// The bytes of a line, and how many bits choose a bit in it.
pub(super) const LINE_BYTES: usize = 64;
const LINE_BITS: u32 = 9;
/// How many bits of its line a key sets.
const PROBES: u32 = 7;
/// How many bits a filter has for each key.
const BITS_PER_KEY: usize = 12;

/// How many lines a filter of so many keys has.
fn lines_for(keys: usize) -> usize {
    (keys * BITS_PER_KEY).div_ceil(LINE_BYTES * 8).max(1)
}

/// How long a filter of so many keys is.
pub(super) fn bytes(keys: usize) -> usize {
    lines_for(keys) * LINE_BYTES
}

/// Builds the filter of keys with these hashes.
pub(super) fn build(hashes: &[u64]) -> Vec<u8> {
    let lines = lines_for(hashes.len());
    let mut filter = vec![0; lines * LINE_BYTES];
    for &hash in hashes {
        let at = line(hash, lines);
        if let Some(line) = filter.get_mut(at * LINE_BYTES..(at + 1) * LINE_BYTES) {
            for (byte, bit) in probes(hash) {
                if let Some(byte) = line.get_mut(byte) {
                    *byte |= bit;
                }
            }
        }
    }
    filter
}

/// Whether a key of this hash may be in the table.
pub(super) fn may_hold(filter: &[u8], hash: u64) -> bool {
    let at = line(hash, filter.len() / LINE_BYTES);
    let Some(line) = filter.get(at * LINE_BYTES..(at + 1) * LINE_BYTES) else { return true };
    probes(hash).all(|(byte, bit)| line.get(byte).is_some_and(|found| found & bit != 0))
}

/// The line of a hash: a product instead of a division (Lemire, 2016).
fn line(hash: u64, lines: usize) -> usize {
    let at = (u128::from(hash) * lines as u128) >> 64;
    usize::try_from(at).unwrap_or(0)
}

/// The places of a hash in its line: byte, and bit in that.
fn probes(hash: u64) -> impl Iterator<Item = (usize, u8)> {
    let bits = spread(hash);
    (0..PROBES).map(move |probe| {
        let place = (bits >> (probe * LINE_BITS)) & ((1 << LINE_BITS) - 1);
        // Below 512.
        (usize::try_from(place / 8).unwrap_or(0), 1 << (place % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(seed: u64, n: u64) -> Vec<u64> {
        (0..n).map(|n| spread(seed ^ spread(n))).collect()
    }

    #[test]
    fn it_never_says_no_to_a_key_that_is_there() {
        for n in [0, 1, 2, 41, 42, 43, 1_000, 100_000] {
            let keys = hashes(1, n);
            let filter = build(&keys);
            assert!(keys.iter().all(|hash| may_hold(&filter, *hash)), "{n} keys");
            assert_eq!(filter.len() % LINE_BYTES, 0);
        }
    }

    #[test]
    fn it_says_yes_to_less_than_seven_of_a_thousand_that_are_not_there() {
        let filter = build(&hashes(1, 100_000));
        let passed = hashes(2, 100_000).into_iter().filter(|hash| may_hold(&filter, *hash)).count();
        assert!((100..700).contains(&passed), "{passed} of 100,000");
    }

    #[test]
    fn an_empty_one_holds_nothing_and_no_bytes_exclude_nothing() {
        assert!(!may_hold(&build(&[]), 5));
        assert!(may_hold(&[], 5), "what cannot tell does not say no");
    }

    /// A change of these bytes makes the filters of every table that was ever written wrong.
    #[test]
    fn the_bits_are_those_that_stand_in_tables() {
        let filter = build(&[0x0123_4567_89ab_cdef, u64::MAX]);
        let set: Vec<usize> =
            (0..512).filter(|bit| filter[bit / 8] & (1 << (bit % 8)) != 0).collect();
        let golden = [17, 65, 72, 88, 105, 122, 123, 126, 177, 183, 195, 201, 433, 435];
        assert_eq!(set, golden);
    }
}
