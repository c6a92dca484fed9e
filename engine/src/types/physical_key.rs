//! The key as the store orders it: run id, type tag, user key, as bytes.
//!
//! Invariant: the order of [`PhysicalKey`] is the lexicographic order of
//! `run id (16) ++ type tag (1) ++ user key`. Iteration, listings and the tables to come all
//! depend on it.
//!
//! Lookups compare many keys and must not chase a pointer for each: run id and the *head* (type
//! tag and the first seven bytes of the user key, big-endian) are compared as numbers, and
//! user keys of up to 22 bytes lie in the key itself.

use std::cmp::Ordering;
use std::fmt;

use super::key::{RunId, TypeTag};

/// The longest user key that needs no allocation.
const INLINE_BYTES: usize = 22;

#[derive(Clone)]
enum UserKey {
    Inline { len: u8, bytes: [u8; INLINE_BYTES] },
    Heap(Box<[u8]>),
}

/// A key in the store's order.
#[derive(Clone)]
pub(crate) struct PhysicalKey {
    run: u128,
    head: u64,
    user: UserKey,
}

impl PhysicalKey {
    /// How many bytes of the user key the head holds.
    pub(crate) const HEAD_BYTES: usize = 7;

    pub(crate) fn new(run: RunId, tag: TypeTag, user_key: &[u8]) -> Self {
        Self::with_tag_byte(run, tag.to_byte(), user_key)
    }

    /// A key of the space that is reserved for the engine: no program writes run id zero with a tag
    /// from 128 on.
    pub(crate) fn reserved(tag: u8, user_key: &[u8]) -> Self {
        debug_assert!(tag >= 128, "programs write the others");
        Self::from_parts(0, tag, &[], user_key)
    }

    /// The lower bounds of all keys of a run that a program has written, and of all behind them.
    pub(crate) fn bounds_of(run: RunId) -> (Self, Self) {
        (Self::with_tag_byte(run, 0, &[]), Self::with_tag_byte(run, 128, &[]))
    }

    /// The lower bound of all keys behind every key of this run and tag.
    pub(crate) fn end_of(run: RunId, tag: TypeTag) -> Self {
        Self::with_tag_byte(run, tag.to_byte() + 1, &[])
    }

    /// The lower bound of all keys behind those that begin with `prefix`: the shortest key
    /// above them, or the end of the run's keys of this tag if the prefix is all 0xff.
    pub(crate) fn end_of_prefix(run: RunId, tag: TypeTag, prefix: &[u8]) -> Self {
        let last = prefix.iter().rposition(|byte| *byte != 0xff);
        match last.filter(|last| !planted!(PrefixEndSkipsFF) || last + 1 == prefix.len()) {
            None => Self::end_of(run, tag),
            Some(last) => {
                let mut end: Vec<u8> = prefix.iter().take(last + 1).copied().collect();
                if let Some(byte) = end.last_mut() {
                    *byte += 1;
                }
                Self::new(run, tag, &end)
            }
        }
    }

    /// The least key above this one: its user key with a zero byte behind it.
    pub(crate) fn successor(&self) -> Self {
        let mut user = self.user_key().to_vec();
        user.push(0);
        Self::with_tag_byte(self.run(), self.tag_byte(), &user)
    }

    fn with_tag_byte(run: RunId, tag: u8, user_key: &[u8]) -> Self {
        let mut head = [0; 8];
        match user_key.first_chunk::<{ Self::HEAD_BYTES }>() {
            // Most keys: one load and one store, not a loop.
            Some([a, b, c, d, e, f, g]) => head = [tag, *a, *b, *c, *d, *e, *f, *g],
            None => {
                for (to, from) in head.iter_mut().zip(std::iter::once(&tag).chain(user_key)) {
                    *to = *from;
                }
            }
        }
        let user = match u8::try_from(user_key.len()) {
            Ok(len) if user_key.len() <= INLINE_BYTES => {
                UserKey::Inline { len, bytes: inline(user_key) }
            }
            _ => UserKey::Heap(user_key.into()),
        };
        PhysicalKey {
            run: u128::from_be_bytes(*run.as_bytes()),
            head: u64::from_be_bytes(head),
            user,
        }
    }

    /// Of a run id as a number, and a user key in two parts.
    pub(crate) fn from_parts(run: u128, tag: u8, prefix: &[u8], rest: &[u8]) -> Self {
        let run = RunId::from_bytes(run.to_be_bytes());
        let length = prefix.len() + rest.len();
        if prefix.is_empty() {
            return Self::with_tag_byte(run, tag, rest);
        }
        // Most keys are short: no allocation.
        let mut whole = [0; INLINE_BYTES];
        match whole.get_mut(..length).and_then(|whole| whole.split_at_mut_checked(prefix.len())) {
            Some((front, back)) => {
                front.copy_from_slice(prefix);
                back.copy_from_slice(rest);
                Self::with_tag_byte(run, tag, whole.get(..length).unwrap_or_default())
            }
            None => Self::with_tag_byte(run, tag, &[prefix, rest].concat()),
        }
    }

    /// Run id and head, as they are compared.
    pub(crate) fn numbers(&self) -> (u128, u64) {
        (self.run, self.head)
    }

    pub(crate) fn run(&self) -> RunId {
        RunId::from_bytes(self.run.to_be_bytes())
    }

    pub(crate) fn tag_byte(&self) -> u8 {
        self.head.to_be_bytes()[0]
    }

    pub(crate) fn user_key(&self) -> &[u8] {
        match &self.user {
            UserKey::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            UserKey::Heap(bytes) => bytes,
        }
    }

    /// Bytes on the heap, beside the key itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        match &self.user {
            UserKey::Inline { .. } => 0,
            UserKey::Heap(bytes) => bytes.len(),
        }
    }
}

/// The bytes of a short key, in front of zeros.
fn inline(user_key: &[u8]) -> [u8; INLINE_BYTES] {
    let mut bytes = [0; INLINE_BYTES];
    // A part of fixed length is copied without a call.
    let mut done = 0;
    if let (Some(to), Some(from)) = (bytes.first_chunk_mut::<16>(), user_key.first_chunk::<16>()) {
        *to = *from;
        done = 16;
    }
    for (to, from) in bytes.iter_mut().zip(user_key).skip(done) {
        *to = *from;
    }
    bytes
}

impl Ord for PhysicalKey {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        // Most comparisons are between keys of one run and end at the head: two branches.
        if self.run != other.run {
            return if self.run < other.run { Ordering::Less } else { Ordering::Greater };
        }
        if self.head != other.head {
            return if self.head < other.head { Ordering::Less } else { Ordering::Greater };
        }
        self.user_key().cmp(other.user_key())
    }
}

impl PartialOrd for PhysicalKey {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for PhysicalKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for PhysicalKey {}

impl fmt::Debug for PhysicalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run(), self.tag_byte(), self.user_key().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn flat(run: RunId, tag: TypeTag, user: &[u8]) -> Vec<u8> {
        [run.as_bytes().as_slice(), &[tag.to_byte()], user].concat()
    }

    fn parts() -> impl Strategy<Value = (RunId, TypeTag, Vec<u8>)> {
        let byte = prop::sample::select(vec![0u8, 1, 0x7f, 0x80, 0xff]);
        (
            prop::array::uniform16(byte.clone()).prop_map(RunId::from_bytes),
            prop::sample::select(TypeTag::ALL.to_vec()),
            prop::collection::vec(byte, 0..30),
        )
    }

    proptest! {
        #[test]
        fn the_order_of_keys_is_the_order_of_their_bytes(
            (run_a, tag_a, a) in parts(),
            (run_b, tag_b, b) in parts(),
            same_run in any::<bool>(),
        ) {
            let run_b = if same_run { run_a } else { run_b };
            let tag_b = if same_run { tag_a } else { tag_b };
            let keys = PhysicalKey::new(run_a, tag_a, &a).cmp(&PhysicalKey::new(run_b, tag_b, &b));
            prop_assert_eq!(keys, flat(run_a, tag_a, &a).cmp(&flat(run_b, tag_b, &b)));
        }

        #[test]
        fn the_end_of_a_prefix_lies_behind_its_keys_and_before_all_others(
            (run, tag, prefix) in parts(),
            (_, _, user) in parts(),
        ) {
            let end = PhysicalKey::end_of_prefix(run, tag, &prefix);
            let inside = PhysicalKey::new(run, tag, &[prefix.as_slice(), &user].concat());
            prop_assert!(inside < end);
            let other = PhysicalKey::new(run, tag, &user);
            if other >= PhysicalKey::new(run, tag, &prefix) && !user.starts_with(&prefix) {
                prop_assert!(other >= end);
            }
        }

        #[test]
        fn nothing_lies_between_a_key_and_its_successor((run, tag, user) in parts()) {
            let key = PhysicalKey::new(run, tag, &user);
            let next = key.successor();
            prop_assert!(key < next);
            prop_assert_eq!(next.user_key(), [user.as_slice(), &[0]].concat());
        }
    }

    #[test]
    fn a_key_is_at_most_48_bytes_and_short_ones_need_no_heap() {
        assert!(size_of::<PhysicalKey>() <= 48);
        let run = RunId::from_bytes([0; 16]);
        assert_eq!(PhysicalKey::new(run, TypeTag::KV, &[1; INLINE_BYTES]).heap_bytes(), 0);
        let long = PhysicalKey::new(run, TypeTag::KV, &[1; INLINE_BYTES + 1]);
        assert_eq!(long.heap_bytes(), INLINE_BYTES + 1);
        assert_eq!(long.user_key(), [1; INLINE_BYTES + 1]);
    }
}
