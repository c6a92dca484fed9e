//! The hash of a key in tables: in filters, and in a byte beside each entry.
//!
//! It stands on disk, so it is written down here and pinned by golden vectors, and no library may
//! change it. Products of 64 bits folded to 64, as in wyhash (Wang Yi, 2019), over the run id, the
//! head (type tag and the first seven bytes of the user key), the rest of the user key in words of
//! eight bytes, little-endian and filled up with zeros, and the user key's length. The seed is the
//! store's id: keys that collide in one store do not in another.

use crate::types::PhysicalKey;

/// Odd constants without pattern: the golden ratio's and those of splitmix64 (Steele, 2014).
const K0: u64 = 0x9e37_79b9_7f4a_7c15;
const K1: u64 = 0xbf58_476d_1ce4_e5b9;
const K2: u64 = 0x94d0_49bb_1331_11eb;

/// Hashes the keys of one store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyHasher {
    low: u64,
    high: u64,
}

impl KeyHasher {
    pub(crate) fn new(store_id: &[u8; 16]) -> Self {
        let (low, high) = halves(u128::from_le_bytes(*store_id));
        KeyHasher { low, high }
    }

    pub(crate) fn hash(&self, key: &PhysicalKey) -> u64 {
        let (run, head) = key.numbers();
        let (low, high) = halves(run);
        let mut hash = fold(low ^ self.low, high ^ self.high ^ K0);
        hash = fold(hash ^ head, K1);
        let user = key.user_key();
        for rest in user.get(PhysicalKey::HEAD_BYTES..).unwrap_or_default().chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(rest) {
                *to = *from;
            }
            hash = fold(hash ^ u64::from_le_bytes(word), K2);
        }
        fold(hash ^ user.len() as u64, K0)
    }
}

/// Spreads a hash anew: bits that were used choose nothing again.
pub(super) fn spread(hash: u64) -> u64 {
    fold(hash ^ K2, K1)
}

/// The byte of a hash that stands beside an entry.
pub(super) fn mark(hash: u64) -> u8 {
    hash.to_le_bytes()[7]
}

fn fold(a: u64, b: u64) -> u64 {
    let (low, high) = halves(u128::from(a) * u128::from(b));
    low ^ high
}

fn halves(n: u128) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = n.to_le_bytes();
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes([i, j, k, l, m, n, o, p]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{RunId, TypeTag};

    fn key(run: u8, user: &[u8]) -> PhysicalKey {
        PhysicalKey::new(RunId::from_bytes([run; 16]), TypeTag::KV, user)
    }

    /// A change of any of these makes every table that was ever written unreadable.
    #[test]
    fn the_hash_is_the_one_that_stands_in_tables() {
        let hasher = KeyHasher::new(&[7; 16]);
        let golden: [(u8, &[u8], u64); 6] = [
            (0, b"", 0xf4e1_d283_128b_ae85),
            (1, b"k", 0xdf7a_b9dc_218a_7721),
            (1, b"0123456", 0x02ab_f46d_dc26_1239),
            (1, b"01234567", 0xd7d1_5782_4ac7_e37b),
            (2, b"0123456789abcdef", 0x6a26_3e7a_b3d9_6c88),
            (255, b"0123456789abcdef0", 0xa952_9f4a_38f0_2840),
        ];
        for (run, user, hash) in golden {
            assert_eq!(hasher.hash(&key(run, user)), hash, "{run} {user:?}");
        }
    }

    #[test]
    fn every_part_of_a_key_and_of_the_seed_counts() {
        let one = KeyHasher::new(&[7; 16]);
        let keys = [
            key(1, b"0123456"),
            key(2, b"0123456"),
            key(1, b"0123457"),
            key(1, b"01234567"),
            key(1, b"01234567\0"),
            key(1, b"01234567\0\0"),
            key(1, b"0123456789abcdef0"),
            key(1, b"0123456789abcdef1"),
            PhysicalKey::new(RunId::from_bytes([1; 16]), TypeTag::Event, b"0123456"),
        ];
        let hashes: std::collections::BTreeSet<u64> = keys.iter().map(|k| one.hash(k)).collect();
        assert_eq!(hashes.len(), keys.len());
        for bit in 0..128 {
            let id = (u128::from_le_bytes([7; 16]) ^ 1 << bit).to_le_bytes();
            assert_ne!(KeyHasher::new(&id).hash(&keys[0]), one.hash(&keys[0]), "bit {bit}");
        }
    }

    /// Counters are the usual keys: each of their bits must reach the bits that choose.
    #[test]
    fn consecutive_keys_spread_over_the_bytes_evenly() {
        let hasher = KeyHasher::new(&[1; 16]);
        let mut counts = [[0u32; 256]; 2];
        for n in 0..65_536u32 {
            let hash = hasher.hash(&key(1, format!("key-{n:08}").as_bytes()));
            counts[0][usize::from(mark(hash))] += 1;
            counts[1][usize::from(mark(spread(hash)))] += 1;
        }
        for count in counts.iter().flatten() {
            assert!((156..356).contains(count), "{count} of 256 expected");
        }
    }
}
