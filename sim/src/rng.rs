//! Random numbers of a simulation: one root seed, many independent named streams.
//!
//! # Invariants
//! - A stream depends on the root seed and on its own name only. A new consumer with a new
//!   name shifts no other stream; a stream's values never change with a library's version,
//!   because every draw goes through the functions below, over `next_u64` of ChaCha8.
//! - No draw depends on the width of `usize`.
//!
//! # How a stream gets its seed
//! `x = root ^ rotate_left(fnv1a64(name), 17)`; the 32 bytes of the ChaCha8 seed are the
//! first four outputs of SplitMix64 started at `x`, each in little-endian order. A golden
//! test fixes it.

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// The streams that every simulation has; [`Streams::named`] makes others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// Which operations the simulated application submits.
    Workload,
    /// Which step comes next.
    Scheduling,
    /// What the disk does by itself: crash states, background writeback, listing order.
    Disk,
    /// Which faults are injected.
    Faults,
    /// What the engine takes for random: store ids and salts.
    Entropy,
    /// Which features, sizes and weights this seed uses.
    Swarm,
    /// How time passes.
    Clock,
}

impl Stream {
    /// The stable name that the stream's seed is derived from.
    pub fn name(self) -> &'static str {
        match self {
            Stream::Workload => "workload",
            Stream::Scheduling => "scheduling",
            Stream::Disk => "disk",
            Stream::Faults => "faults",
            Stream::Entropy => "entropy",
            Stream::Swarm => "swarm",
            Stream::Clock => "clock",
        }
    }
}

/// The root seed, from which every stream is derived.
///
/// ```
/// use runstone_sim::rng::{Stream, Streams};
///
/// let streams = Streams::new(7);
/// let mut a = streams.stream(Stream::Workload);
/// let mut b = streams.stream(Stream::Workload);
/// assert_eq!(a.next_u64(), b.next_u64()); // the same name: the same stream, from its start
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    root: u64,
}

impl Streams {
    /// The streams of one root seed.
    pub fn new(root_seed: u64) -> Streams {
        Streams { root: root_seed }
    }

    /// The root seed.
    pub fn root_seed(&self) -> u64 {
        self.root
    }

    /// A well-known stream, from its beginning; ask once and keep it.
    pub fn stream(&self, stream: Stream) -> Rng {
        self.named(stream.name())
    }

    /// The stream of any other name, from its beginning.
    pub fn named(&self, name: &str) -> Rng {
        let mut state = self.root ^ fnv1a64(name.as_bytes()).rotate_left(17);
        let mut seed = [0u8; 32];
        for word in seed.chunks_exact_mut(8) {
            word.copy_from_slice(&splitmix64(&mut state).to_le_bytes());
        }
        Rng { inner: ChaCha8Rng::from_seed(seed) }
    }
}

/// One stream of random numbers.
#[derive(Clone, Debug)]
pub struct Rng {
    inner: ChaCha8Rng,
}

impl Rng {
    /// A stream of its own for a seed that stands alone (a fork, a test).
    pub fn from_seed(seed: u64) -> Rng {
        Streams::new(seed).named("")
    }

    /// The next 64 bits. Every other draw is made of these.
    pub fn next_u64(&mut self) -> u64 {
        self.inner.next_u64()
    }

    /// A number below `n`, each equally likely; 0 if `n` is 0.
    ///
    /// The high half of the product of a draw and `n`; draws whose low half falls into the
    /// biased part are drawn again (Lemire 2019).
    pub fn below(&mut self, n: u64) -> u64 {
        let (mut high, mut low) = wide_mul(self.next_u64(), n);
        if low < n {
            let biased = n.wrapping_neg() % n;
            while low < biased {
                (high, low) = wide_mul(self.next_u64(), n);
            }
        }
        high
    }

    /// A number in `range`, both ends included.
    ///
    /// # Panics
    /// If the range is empty.
    pub fn range(&mut self, range: std::ops::RangeInclusive<u64>) -> u64 {
        assert!(!range.is_empty(), "an empty range has no number to draw");
        let span = range.end() - range.start();
        match span.checked_add(1) {
            Some(n) => range.start() + self.below(n),
            None => self.next_u64(),
        }
    }

    /// True in `num` of `den` cases. Always draws, so that a changed chance shifts nothing.
    pub fn chance(&mut self, num: u64, den: u64) -> bool {
        self.below(den) < num
    }

    /// True in half of the cases.
    pub fn coin(&mut self) -> bool {
        self.next_u64() >> 63 == 1
    }

    /// An index below `len`; 0 if `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        // Cannot fail: the draw is below a `usize`.
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// One of `items`; `None` if there is none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.index(items.len()))
    }

    /// An index, with the given weights; `None` if all are zero.
    pub fn weighted(&mut self, weights: &[u32]) -> Option<usize> {
        let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        let mut rest = self.below(total);
        weights.iter().position(|&weight| {
            let hit = rest < u64::from(weight);
            rest = rest.saturating_sub(u64::from(weight));
            hit
        })
    }

    /// Puts `items` into a random order (Fisher and Yates, from the end).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }

    /// Fills `buf`, eight bytes a draw, little-endian.
    pub fn fill(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    /// `len` random bytes.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }
}

/// The high and the low half of `a * b`.
#[expect(clippy::cast_possible_truncation, reason = "the halves of a product are what is asked")]
pub(crate) fn wide_mul(a: u64, b: u64) -> (u64, u64) {
    let product = u128::from(a) * u128::from(b);
    ((product >> 64) as u64, product as u64)
}

fn fnv1a64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_the_derivation_match_their_published_vectors() {
        assert_eq!(fnv1a64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a64(b"a"), 0xaf63_dc4c_8601_ec8c);
        let mut state = 1_234_567;
        assert_eq!(splitmix64(&mut state), 6_457_827_717_110_365_317);
        assert_eq!(splitmix64(&mut state), 3_203_168_211_198_807_973);
    }

    /// Every seed that anybody ever noted down means what it meant only as long as this holds.
    #[test]
    fn golden_draws_never_change() {
        let mut rng = Streams::new(42).stream(Stream::Workload);
        let raw: Vec<String> = (0..3).map(|_| format!("{:016x}", rng.next_u64())).collect();
        let below: Vec<u64> = (0..8).map(|_| rng.below(10)).collect();
        let ranged: Vec<u64> = (0..8).map(|_| rng.range(100..=103)).collect();
        let chances: Vec<bool> = (0..8).map(|_| rng.chance(1, 3)).collect();
        let weighted: Vec<_> =
            (0..8).map(|_| rng.weighted(&[1, 0, 3])).map(|w| w.unwrap()).collect();
        let mut items = [0, 1, 2, 3, 4, 5, 6, 7];
        rng.shuffle(&mut items);
        let bytes = rng.bytes(11);
        let all =
            format!("{raw:?} {below:?} {ranged:?} {chances:?} {weighted:?} {items:?} {bytes:?}");
        assert_eq!(
            all,
            "[\"407b55eaa9ce8c53\", \"283afcaad1564d8c\", \"85445113d10e1f54\"] \
             [2, 1, 4, 7, 8, 5, 1, 6] [101, 101, 103, 100, 100, 102, 103, 102] \
             [false, true, false, true, false, false, true, false] [2, 2, 2, 2, 2, 0, 2, 2] \
             [7, 4, 0, 1, 3, 5, 6, 2] [40, 61, 130, 241, 246, 76, 100, 125, 161, 220, 15]"
        );
    }

    #[test]
    fn streams_of_other_names_and_seeds_differ() {
        let first = |root, name| Streams::new(root).named(name).next_u64();
        let all = [first(1, "a"), first(1, "b"), first(2, "a"), first(2, "b"), first(1, "")];
        assert_eq!(all.into_iter().collect::<std::collections::BTreeSet<u64>>().len(), 5);
    }

    #[test]
    fn every_number_below_the_bound_is_drawn_and_no_other() {
        let mut rng = Rng::from_seed(1);
        for n in 1..40 {
            let mut seen = vec![false; usize::try_from(n).unwrap()];
            for _ in 0..1000 {
                seen[usize::try_from(rng.below(n)).unwrap()] = true;
            }
            assert!(seen.iter().all(|&hit| hit), "below({n})");
        }
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn weights_of_zero_are_never_picked() {
        let mut rng = Rng::from_seed(2);
        for _ in 0..1000 {
            assert!(matches!(rng.weighted(&[0, 3, 0, 1, 0]), Some(1 | 3)));
        }
        assert_eq!(rng.weighted(&[0, 0]), None);
        assert_eq!(rng.weighted(&[]), None);
        assert_eq!(rng.pick::<u8>(&[]), None);
    }

    #[test]
    fn a_shuffle_reaches_every_order() {
        let mut rng = Rng::from_seed(3);
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let mut items = [1, 2, 3, 4];
            rng.shuffle(&mut items);
            orders.insert(items);
        }
        assert_eq!(orders.len(), 24);
    }

    #[test]
    fn ranges_include_both_ends_up_to_all_numbers() {
        let mut rng = Rng::from_seed(4);
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| rng.range(5..=7)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [5, 6, 7]);
        rng.range(0..=u64::MAX);
    }
}
