//! The order of the memtable's keys: sorted runs of places, made when somebody reads in order.
//!
//! To keep a large ordered map in order costs several cache misses for each new key, more than
//! all the rest of a commit. So a new key is only noted, in the *tail*, and whoever reads a range
//! first sorts the tail into *runs* and merges some of them. A walk merges the runs as it goes. It
//! is the idea of a log-structured merge tree (O'Neil et al., 1996), in memory.
//!
//! Invariants: each slot that holds a key stands exactly once, in the tail or in one run; the
//! tail is in the order in which the keys came; runs are sorted, and no merge makes one longer than
//! the options say; readers sort and merge in bounded steps. A key that is gone is dropped by
//! whatever step meets it, and its slot is released then.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::ops::Bound;

use super::entries::Entries;
use super::slab::Slot;
use crate::options::Steps;
use crate::types::PhysicalKey;

/// What a key costs here.
pub(super) const ORDER_BYTES: u64 = size_of::<Place>() as u64;

/// User keys are compared here up to this many bytes behind the head.
const REST_BYTES: usize = 16;

/// A key as it is compared, and where its entry is.
#[derive(Clone, Copy, Debug)]
struct Place {
    run: u128,
    /// The user key behind its first seven bytes, zero-padded, big-endian.
    rest: u128,
    head: u64,
    slot: Slot,
    /// The user key's length, up to one more than what is compared here.
    len: u8,
}

impl Place {
    fn new(key: &PhysicalKey, slot: Slot) -> Self {
        let (run, head) = key.numbers();
        let user = key.user_key();
        let mut rest = [0; REST_BYTES];
        for (to, from) in rest.iter_mut().zip(user.iter().skip(PhysicalKey::HEAD_BYTES)) {
            *to = *from;
        }
        let len = user.len().min(PhysicalKey::HEAD_BYTES + REST_BYTES + 1);
        let len = u8::try_from(len).unwrap_or(u8::MAX);
        Place { run, rest: u128::from_be_bytes(rest), head, slot, len }
    }

    fn is_cut(&self) -> bool {
        usize::from(self.len) > PhysicalKey::HEAD_BYTES + REST_BYTES
    }

    /// Compares two keys; only if both are long and alike so far does it look at the rest.
    fn compare(&self, other: &Place, long: impl FnOnce() -> Ordering) -> Ordering {
        let numbers = (self.run, self.head, self.rest).cmp(&(other.run, other.head, other.rest));
        numbers.then_with(|| match self.is_cut() && other.is_cut() {
            true => long(),
            false => self.len.cmp(&other.len),
        })
    }

    fn cmp_in(&self, other: &Place, entries: &Entries) -> Ordering {
        let key = |slot| entries.get(slot).map(|entry| entry.key.user_key());
        self.compare(other, || key(self.slot).cmp(&key(other.slot)))
    }
}

/// The order of all keys.
#[derive(Debug)]
pub(super) struct Order {
    /// How many keys are sorted in one step.
    sort_max: usize,
    /// How many are merged in one step, and the longest run that a merge makes.
    merge_max: usize,
    /// The keys that came last, in the order in which they came.
    tail: VecDeque<Slot>,
    runs: Vec<Vec<Place>>,
    /// Where to look next for keys that are gone: a run, or the tail behind the last.
    next_purge: usize,
}

/// A run's next place, in a heap that gives the first, or the last, of all.
struct Head<'a> {
    place: Place,
    run: usize,
    backward: bool,
    entries: &'a Entries,
}

impl Ord for Head<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = self.place.cmp_in(&other.place, self.entries);
        if self.backward { order } else { order.reverse() }
    }
}

impl PartialOrd for Head<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head<'_> {}

impl Order {
    /// Of no keys, that gets on in steps of so many.
    pub(super) fn new(steps: &Steps) -> Self {
        let Steps { sort_keys_max: sort_max, merge_keys_max: merge_max, .. } = *steps;
        let (tail, runs) = (VecDeque::new(), Vec::new());
        Order { sort_max, merge_max, tail, runs, next_purge: 0 }
    }

    /// Adds a new key.
    pub(super) fn add(&mut self, slot: Slot) {
        self.tail.push_back(slot);
    }

    /// How many keys a walk would miss.
    pub(super) fn tail_len(&self) -> usize {
        self.tail.len()
    }

    /// Makes a run of the front of the tail.
    fn sort_tail(&mut self, entries: &mut Entries, released: &mut impl FnMut(&PhysicalKey)) {
        let count = self.tail.len().min(self.sort_max);
        let mut run = Vec::with_capacity(count);
        for slot in self.tail.drain(..count) {
            if entries.is_gone(slot) {
                sometimes!("order/key-gone-before-it-was-sorted");
                entries.release(slot).iter().for_each(&mut *released);
            } else if let Some(entry) = entries.get(slot) {
                run.push(Place::new(&entry.key, slot));
            }
        }
        self.shrink_tail();
        if !run.is_empty() {
            let entries = &*entries;
            run.sort_unstable_by(|a, b| a.cmp_in(b, entries));
            self.runs.push(run);
        }
    }

    /// Gives memory back when little of it is used.
    fn shrink_tail(&mut self) {
        if self.tail.len() < self.tail.capacity() / 4 {
            self.tail.shrink_to(self.tail.len() * 2);
        }
    }

    /// One step towards a walk: sorts some keys of the tail, and merges some runs.
    /// `released` hears of each key that is gone.
    pub(super) fn settle(&mut self, entries: &mut Entries, mut released: impl FnMut(&PhysicalKey)) {
        self.sort_tail(entries, &mut released);
        let mut left = self.merge_max;
        while let Some((at, cost)) = self.next_merge(left) {
            left -= cost;
            sometimes!("order/runs-merged");
            let short = self.runs.remove(at);
            if let Some(run) = self.runs.get_mut(at - 1) {
                *run = merge(run, &short, entries);
                purge(run, entries, &mut released);
            }
        }
        self.runs.retain(|run| !run.is_empty());
    }

    /// The cheapest merge of a run into the one before it, of at most `left` keys. Only runs of
    /// like length are worth it: by each merge a key's run grows by half at least, so that a
    /// key is merged few times, and of runs that are long enough to be left alone there are
    /// few (Bentley and Saxe, 1980).
    fn next_merge(&self, left: usize) -> Option<(usize, usize)> {
        let pairs = self.runs.windows(2).enumerate();
        let costs = pairs.filter_map(|(at, pair)| match pair {
            [a, b] if b.len() * 2 >= a.len() => Some((at + 1, a.len() + b.len())),
            _ => None,
        });
        costs.filter(|(_, cost)| *cost <= left).min_by_key(|(_, cost)| *cost)
    }

    /// Releases keys that are gone: all of them, or those of as many runs as take a moment.
    pub(super) fn purge(&mut self, entries: &mut Entries, mut released: impl FnMut(&PhysicalKey)) {
        let mut visited = 0;
        for _ in 0..=self.runs.len() {
            if visited >= self.merge_max || entries.gone_len() == 0 {
                break;
            }
            if let Some(run) = self.runs.get_mut(self.next_purge) {
                visited += run.len();
                sometimes!("order/run-purged");
                purge(run, entries, &mut released);
                if run.is_empty() {
                    // The run behind it takes its place, and is next.
                    self.runs.remove(self.next_purge);
                    continue;
                }
            } else {
                visited += self.tail.len();
                self.tail.retain(|slot| keep(*slot, entries, &mut released));
                self.shrink_tail();
            }
            self.next_purge = (self.next_purge + 1) % (self.runs.len() + 1);
        }
    }

    /// Visits the slots between two bounds in order, until `visit` says `false`.
    pub(super) fn walk(
        &self,
        entries: &Entries,
        bounds: (Bound<&PhysicalKey>, Bound<&PhysicalKey>),
        backward: bool,
        mut visit: impl FnMut(Slot) -> bool,
    ) {
        let from = |run: &[Place]| match bounds.0 {
            Bound::Unbounded => 0,
            Bound::Included(key) => position(run, key, entries, false),
            Bound::Excluded(key) => position(run, key, entries, true),
        };
        let to = |run: &[Place]| match bounds.1 {
            Bound::Unbounded => run.len(),
            Bound::Included(key) => position(run, key, entries, true),
            Bound::Excluded(key) => position(run, key, entries, false),
        };
        // What is left of each run, and the next of each in a heap.
        let mut rests: Vec<&[Place]> =
            self.runs.iter().map(|run| run.get(from(run)..to(run)).unwrap_or_default()).collect();
        let next = |rest: &mut &[Place], run: usize| {
            let split = if backward { rest.split_last() } else { rest.split_first() };
            split.map(|(place, left)| {
                *rest = left;
                Head { place: *place, run, backward, entries }
            })
        };
        let heads = rests.iter_mut().enumerate();
        let mut heap: BinaryHeap<Head<'_>> =
            heads.filter_map(|(run, rest)| next(rest, run)).collect();
        while let Some(mut first) = heap.peek_mut() {
            if !visit(first.place.slot) {
                return;
            }
            let run = first.run;
            match rests.get_mut(run).and_then(|rest| next(rest, run)) {
                Some(head) => *first = head,
                None => {
                    std::collections::binary_heap::PeekMut::pop(first);
                }
            }
        }
    }
}

/// How many places of a run are below a key, or at it too.
fn position(run: &[Place], key: &PhysicalKey, entries: &Entries, or_equal: bool) -> usize {
    let wanted = Place::new(key, Slot::MAX);
    run.partition_point(|place| {
        let found = |slot| entries.get(slot).map(|entry| entry.key.user_key());
        match place.compare(&wanted, || found(place.slot).cmp(&Some(key.user_key()))) {
            Ordering::Less => true,
            Ordering::Equal => or_equal,
            Ordering::Greater => false,
        }
    })
}

fn merge(a: &[Place], b: &[Place], entries: &Entries) -> Vec<Place> {
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut a, mut b) = (a, b);
    while let (Some((first_a, rest_a)), Some((first_b, rest_b))) =
        (a.split_first(), b.split_first())
    {
        if first_a.cmp_in(first_b, entries) == Ordering::Less {
            out.push(*first_a);
            a = rest_a;
        } else {
            out.push(*first_b);
            b = rest_b;
        }
    }
    if !planted!(MergeLosesTheRest) {
        out.extend_from_slice(a);
    }
    out.extend_from_slice(b);
    out
}

/// Drops the keys of a run that are gone.
fn purge(run: &mut Vec<Place>, entries: &mut Entries, released: &mut impl FnMut(&PhysicalKey)) {
    if entries.gone_len() == 0 {
        return;
    }
    run.retain(|place| keep(place.slot, entries, released));
    if run.len() < run.capacity() / 2 {
        run.shrink_to_fit();
    }
}

/// Releases a key if it is gone.
fn keep(slot: Slot, entries: &mut Entries, released: &mut impl FnMut(&PhysicalKey)) -> bool {
    let gone = entries.is_gone(slot);
    if gone {
        entries.release(slot).iter().for_each(released);
    }
    !gone
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::memtable::Memtable;
    use super::super::pins::Pins;
    use super::super::version::Version;
    use super::*;
    use crate::codec::change::NEVER;
    use crate::codec::value::Stored;
    use crate::types::{RunId, TypeTag, Value};

    fn key(run: u8, user: &[u8]) -> PhysicalKey {
        PhysicalKey::new(RunId::from_bytes([run; 16]), TypeTag::KV, user)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, Vec<u8>),
        Delete(u8, Vec<u8>),
        Settle,
        Collect,
    }

    /// Keys that agree in their first bytes, around every length at which comparing changes.
    fn user_key() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop::sample::select(vec![0u8, 0xff]);
        let length = prop::sample::select(vec![1usize, 6, 7, 8, 21, 22, 23, 24, 25, 40]);
        (length, prop::collection::vec(byte, 3)).prop_map(|(length, ends)| {
            let mut key = vec![0; length];
            for (at, byte) in key.iter_mut().rev().zip(ends) {
                *at = byte;
            }
            key
        })
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0u8..2, user_key()).prop_map(|(run, key)| Step::Put(run, key)),
            3 => (0u8..2, user_key()).prop_map(|(run, key)| Step::Delete(run, key)),
            2 => Just(Step::Settle),
            1 => Just(Step::Collect),
        ]
    }

    fn shown(
        memtable: &Memtable,
        bounds: (Bound<&PhysicalKey>, Bound<&PhysicalKey>),
        backward: bool,
    ) -> Vec<(PhysicalKey, u64)> {
        let mut shown = Vec::new();
        memtable.walk_versions(bounds, u64::MAX, backward, |key, version| {
            let version = version.filter(|version| version.value.is_some());
            shown.extend(version.map(|version| (key.clone(), version.version)));
            true
        });
        shown
    }

    fn version(version: u64, value: Option<Value>) -> Version {
        Version { version, time_ms: 0, expiry_ms: NEVER, value: value.map(Stored::from) }
    }

    proptest! {
        #[test]
        fn a_walk_shows_what_an_ordered_map_shows_from_both_ends_and_between_any_bounds(
            steps in prop::collection::vec(step(), 0..200),
            (run_a, user_a) in (0u8..3, user_key()),
            (run_b, user_b) in (0u8..3, user_key()),
            (closed_a, closed_b) in any::<(bool, bool)>(),
        ) {
            let (mut memtable, mut model, pins) =
                (Memtable::default(), BTreeMap::new(), Pins::default());
            for (at, step) in steps.into_iter().enumerate() {
                let at = at as u64 + 1;
                match step {
                    Step::Put(run, user) => {
                        memtable.apply(key(run, &user), version(at, Some(Value::Null)), &pins);
                        model.insert(key(run, &user), at);
                    }
                    Step::Delete(run, user) => {
                        memtable.apply(key(run, &user), version(at, None), &pins);
                        model.remove(&key(run, &user));
                    }
                    Step::Settle => memtable.put_in_order(),
                    Step::Collect => {
                        memtable.collect_garbage(usize::MAX, &pins);
                        if model.is_empty() {
                            prop_assert_eq!(memtable.bytes(), 0, "nothing is left behind");
                        }
                    }
                }
                memtable.settle(&pins);
                prop_assert_eq!(memtable.len(), model.len());
            }
            memtable.put_in_order();
            let (a, b) = (key(run_a, &user_a), key(run_b, &user_b));
            let from = if closed_a { Bound::Included(&a) } else { Bound::Excluded(&a) };
            let to = if closed_b { Bound::Included(&b) } else { Bound::Excluded(&b) };
            let inside = |key: &PhysicalKey| {
                (if closed_a { *key >= a } else { *key > a })
                    && (if closed_b { *key <= b } else { *key < b })
            };
            let wanted: Vec<_> = model.clone().into_iter().filter(|(key, _)| inside(key)).collect();
            prop_assert_eq!(&shown(&memtable, (from, to), false), &wanted);
            let backward: Vec<_> = wanted.into_iter().rev().collect();
            prop_assert_eq!(&shown(&memtable, (from, to), true), &backward);
            let all: Vec<_> = model.into_iter().collect();
            prop_assert_eq!(shown(&memtable, (Bound::Unbounded, Bound::Unbounded), false), all);
        }
    }

    #[test]
    fn keys_of_many_runs_are_walked_in_order_and_all_of_them_can_go_again() {
        let (mut memtable, pins) = (Memtable::default(), Pins::default());
        let sort_max = Steps::default().sort_keys_max;
        let count = u64::try_from(sort_max * 20 + 17).unwrap();
        // Every number once, far from in order.
        let scattered = |n: u64| key(1, &(n * 7_919 % count).to_be_bytes());
        for n in 0..count {
            memtable.apply(scattered(n), version(n + 1, Some(Value::Null)), &pins);
        }
        memtable.settle(&pins);
        for step in 0..=20 {
            let left = (20 * sort_max + 17).saturating_sub(step * sort_max);
            assert_eq!(memtable.unordered_len(), left);
            memtable.put_in_order();
        }
        assert_eq!(memtable.unordered_len(), 0);
        let walked = shown(&memtable, (Bound::Unbounded, Bound::Unbounded), false);
        assert_eq!(walked.len() as u64, count);
        assert!(walked.is_sorted_by(|(a, _), (b, _)| a < b));
        let full = memtable.bytes();
        for n in 0..count {
            memtable.apply(scattered(n), version(count + n + 1, None), &pins);
        }
        memtable.settle(&pins);
        assert_eq!(memtable.len(), 0);
        assert!(memtable.bytes() < full / 4, "{} of {full}", memtable.bytes());
        memtable.collect_garbage(0, &pins);
        assert_eq!(memtable.bytes(), 0);
    }

    /// A step looks through one run here, and a run that has become empty makes room for the one
    /// behind it, which is not passed over.
    #[test]
    fn a_round_of_steps_releases_every_key_that_is_gone_however_they_lie() {
        const COUNT: u64 = 64;
        let steps = Steps { sort_keys_max: 1, merge_keys_max: 1, ..Steps::default() };
        for gone in [0..COUNT, 0..7, 20..50, COUNT - 3..COUNT] {
            let mut memtable = Memtable::new(&[0; 16], &steps);
            // What is pinned is freed by maintenance, a few keys at a time.
            let pins = Pins::default();
            for n in 0..COUNT {
                memtable.apply(key(1, &n.to_be_bytes()), version(n + 1, Some(Value::Null)), &pins);
            }
            memtable.settle(&pins);
            (0..COUNT).for_each(|_| memtable.put_in_order());
            let kept = memtable.bytes() * (COUNT - (gone.end - gone.start)) / COUNT;
            for n in gone.clone() {
                memtable.apply(key(1, &n.to_be_bytes()), version(COUNT + n, None), &pins);
            }
            memtable.settle(&pins);
            for _ in 0..=COUNT {
                memtable.collect_garbage(1, &pins);
            }
            assert_eq!(memtable.bytes(), kept, "{gone:?} of {COUNT}");
        }
    }
}
