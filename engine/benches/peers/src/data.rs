//! The data: which keys there are, in which order they are written, and what their values are.
//!
//! A key has 32 bytes: the id of its run, then 16 of its own, of which the first four name a
//! group of [`GROUP`] keys. Everything follows from an index and a seed, so that nothing has to
//! be kept in memory, and a value that was read can be checked. All engines get the same.

/// The id of a run.
pub type RunBytes = [u8; 16];

/// The length of a value; the first half is noise, the second compresses to nearly nothing.
pub const VALUE_BYTES: usize = 100;

/// How many keys of a run share the first four bytes: what a prefix scan visits.
pub const GROUP: u64 = 1000;

/// A value.
pub type Value = [u8; VALUE_BYTES];

/// A run id and a key of that run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl Key {
    /// The id of the run.
    pub fn run(&self) -> RunBytes {
        let mut run = [0; 16];
        run.copy_from_slice(&self.0[..16]);
        run
    }

    /// The key within the run.
    pub fn user(&self) -> &[u8] {
        &self.0[16..]
    }

    /// Both, as an engine has them that knows no runs.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The order in which keys are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Any key of any run, uniformly.
    Random,
    /// Run after run, each in the order of its keys, as time-ordered ids make it.
    Time,
}

/// The keys of a workload.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    count: u64,
    per_run: u64,
    order: Order,
    shuffle: Shuffle,
}

impl Keys {
    /// `count` keys in runs of `per_run`.
    pub fn new(count: u64, per_run: u64, order: Order) -> Self {
        let count = count.max(1);
        Keys { count, per_run: per_run.clamp(1, count), order, shuffle: Shuffle::new(count, 1) }
    }

    /// How many keys there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The runs, in byte order.
    pub fn runs(&self) -> Vec<RunBytes> {
        (0..self.count.div_ceil(self.per_run)).map(run_id).collect()
    }

    /// The key that is written as the `turn`-th.
    pub fn at(&self, turn: u64) -> Key {
        match self.order {
            Order::Random => self.key(self.shuffle.at(turn)),
            Order::Time => self.key(turn),
        }
    }

    /// A key that is never written; it lies among the others.
    pub fn missing(&self, turn: u64) -> Key {
        let mut key = self.at(turn);
        key.0[31] ^= 1;
        key
    }

    /// The key with this number, in the order of runs and groups.
    pub fn key(&self, number: u64) -> Key {
        let (run, within) = (number / self.per_run, number % self.per_run);
        let mut key = [0; 32];
        key[..16].copy_from_slice(&run_id(run));
        key[16..20].copy_from_slice(&group_prefix(within / GROUP));
        match self.order {
            Order::Random => {
                key[20..28].copy_from_slice(&mix(number ^ 0x6b65_7973).to_be_bytes());
                key[28..].copy_from_slice(&(mix(number) as u32).to_be_bytes());
            }
            Order::Time => key[24..].copy_from_slice(&((within % GROUP) << 1).to_be_bytes()),
        }
        // The last bit belongs to the keys that are never written.
        key[31] &= !1;
        Key(key)
    }

    /// A group, by a random draw: its run, its prefix, its size.
    pub fn group(&self, turn: u64) -> (RunBytes, [u8; 4], u64) {
        let number = mix(turn) % self.count;
        let (run, within) = (number / self.per_run, number % self.per_run);
        let group_start = run * self.per_run + within / GROUP * GROUP;
        let run_end = ((run + 1) * self.per_run).min(self.count);
        (
            run_id(run),
            group_prefix(within / GROUP),
            (group_start + GROUP).min(run_end) - group_start,
        )
    }
}

/// The id of a run: a version 7 UUID, a millisecond after the one before.
fn run_id(run: u64) -> RunBytes {
    let mut id = [0; 16];
    let millis = 1_750_000_000_000 + run;
    id[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
    id[6..8].copy_from_slice(&[0x70, 0]);
    id[8..].copy_from_slice(&mix(run).to_be_bytes());
    id[8] = 0x80 | id[8] & 0x3f;
    id
}

/// The first bytes of the keys of a group.
fn group_prefix(group: u64) -> [u8; 4] {
    (group as u32).to_be_bytes()
}

/// The value of a key at its `version`-th write.
pub fn value(key: &Key, version: u64) -> Value {
    let mut seed = [0; 8];
    seed.copy_from_slice(&key.0[24..]);
    let mut run = [0; 8];
    run.copy_from_slice(&key.0[14..22]);
    let mut state =
        u64::from_le_bytes(seed) ^ u64::from_le_bytes(run).rotate_left(17) ^ mix(version);
    let mut value = [0; VALUE_BYTES];
    let (noise, text) = value.split_at_mut(VALUE_BYTES / 2);
    for chunk in noise.chunks_mut(8) {
        chunk.copy_from_slice(&next(&mut state).to_le_bytes()[..chunk.len()]);
    }
    for (at, byte) in text.iter_mut().enumerate() {
        *byte = b"step done. "[at % 11];
    }
    value
}

/// The next of a sequence of well-mixed numbers (SplitMix64).
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number that looks unrelated to this one; no two numbers give the same.
pub fn mix(number: u64) -> u64 {
    next(&mut { number })
}

/// A permutation of the numbers below a bound, without a table: a Feistel network over the next
/// even number of bits, walked until the result is below the bound.
#[derive(Clone, Copy, Debug)]
pub struct Shuffle {
    count: u64,
    half_bits: u32,
    seed: u64,
}

impl Shuffle {
    /// A permutation of the numbers below `count`; each seed has its own.
    pub fn new(count: u64, seed: u64) -> Self {
        let bits = u64::BITS - count.saturating_sub(1).leading_zeros();
        Shuffle { count, half_bits: bits.div_ceil(2).max(1), seed: mix(seed) }
    }

    /// Where this number goes; it is taken modulo the bound.
    pub fn at(&self, number: u64) -> u64 {
        let mut at = number % self.count;
        loop {
            at = self.rounds(at);
            if at < self.count {
                return at;
            }
        }
    }

    fn rounds(&self, number: u64) -> u64 {
        let mask = (1 << self.half_bits) - 1;
        let (mut left, mut right) = (number >> self.half_bits, number & mask);
        for round in 0..4 {
            let mixed = mix(right ^ self.seed.rotate_left(round * 16)) & mask;
            (left, right) = (right, left ^ mixed);
        }
        left << self.half_bits | right
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_shuffle_is_a_permutation_whatever_the_bound() {
        for count in [1, 2, 3, 5, 16, 17, 1000, 4097] {
            let shuffle = Shuffle::new(count, 9);
            let all: BTreeSet<u64> = (0..count).map(|number| shuffle.at(number)).collect();
            assert_eq!(all.len() as u64, count);
            assert_eq!(all.last(), Some(&(count - 1)));
        }
    }

    #[test]
    fn a_shuffle_moves_nearly_everything_and_differs_by_seed() {
        let (one, two) = (Shuffle::new(1000, 1), Shuffle::new(1000, 2));
        let stay = (0..1000).filter(|&number| one.at(number) == number).count();
        let same = (0..1000).filter(|&number| one.at(number) == two.at(number)).count();
        assert!(stay < 20 && same < 20, "{stay} stay, {same} are the same");
    }

    #[test]
    fn keys_are_distinct_and_missing_ones_are_not_among_them() {
        for order in [Order::Random, Order::Time] {
            let keys = Keys::new(5500, 2500, order);
            let all: BTreeSet<Key> = (0..5500).map(|turn| keys.at(turn)).collect();
            assert_eq!(all.len(), 5500);
            assert!((0..5500).all(|turn| !all.contains(&keys.missing(turn))));
        }
    }

    #[test]
    fn time_order_is_byte_order_and_random_order_is_not() {
        let in_order = |order| {
            let keys = Keys::new(5500, 2500, order);
            (1..5500).all(|turn| keys.at(turn - 1) < keys.at(turn))
        };
        assert!(in_order(Order::Time));
        assert!(!in_order(Order::Random));
    }

    #[test]
    fn a_group_has_as_many_keys_as_it_says() {
        for order in [Order::Random, Order::Time] {
            let keys = Keys::new(5700, 2500, order);
            let all: Vec<Key> = (0..5700).map(|turn| keys.at(turn)).collect();
            for turn in 0..50 {
                let (run, prefix, size) = keys.group(turn);
                let found =
                    all.iter().filter(|key| key.run() == run && key.user().starts_with(&prefix));
                assert_eq!(found.count() as u64, size);
            }
        }
    }

    #[test]
    fn values_differ_by_key_and_version() {
        let keys = Keys::new(100, 10, Order::Time);
        let values: BTreeSet<Value> = (0..100)
            .flat_map(|turn| [value(&keys.at(turn), 0), value(&keys.at(turn), 1)])
            .collect();
        assert_eq!(values.len(), 200);
    }

    #[test]
    fn runs_are_those_of_the_keys_in_byte_order() {
        let keys = Keys::new(5500, 2500, Order::Random);
        let of_keys: BTreeSet<RunBytes> = (0..5500).map(|turn| keys.at(turn).run()).collect();
        assert_eq!(keys.runs(), of_keys.into_iter().collect::<Vec<_>>());
    }
}
