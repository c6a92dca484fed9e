//! What is counted of an active run with each of its changes.
//!
//! Invariants: one thread at a time changes a counter, under the writer's lock, and together with
//! what it counts; how many keys a run holds is said by the log, and never worked out here.

use super::saved::{Activity, Tally};
use super::{HotRun, RunTracker};
use crate::codec::change::{decode_keys, encode_keys};
use crate::sync::{Arc, AtomicU64, Ordering};
use crate::types::RunId;

/// What each change of a run moves.
#[derive(Debug)]
pub(super) struct Counters {
    last_version: AtomicU64,
    changes: AtomicU64,
    puts: AtomicU64,
    deletes: AtomicU64,
    bytes: AtomicU64,
    last_ms: AtomicU64,
    /// One more than how many keys it holds; 0 if they are not counted.
    keys: AtomicU64,
}

/// What a change does to a run, as it is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Touch {
    /// A key has a value; the bytes of both.
    Put(u64),
    Delete,
    /// A range is removed, or the run ends.
    Other,
}

/// Only one thread at a time does this, under the writer's lock.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).saturating_add(n), Ordering::Release);
}

impl Counters {
    pub(super) fn new(Activity { last_version, tally }: Activity) -> Arc<Self> {
        let Tally { changes, puts, deletes, bytes, last_ms, keys } = tally;
        let keys = encode_keys(keys);
        let [last_version, changes, puts, deletes, bytes, last_ms, keys] =
            [last_version, changes, puts, deletes, bytes, last_ms, keys].map(AtomicU64::new);
        Arc::new(Counters { last_version, changes, puts, deletes, bytes, last_ms, keys })
    }

    pub(super) fn touch(&self, version: u64, time_ms: u64, touch: Touch) {
        self.last_version.store(version, Ordering::Release);
        self.last_ms.store(time_ms, Ordering::Release);
        add(&self.changes, 1);
        match touch {
            Touch::Put(bytes) => {
                add(&self.puts, 1);
                add(&self.bytes, bytes);
            }
            Touch::Delete => add(&self.deletes, 1),
            Touch::Other => {}
        }
    }

    fn keys(&self) -> Option<u64> {
        decode_keys(self.keys.load(Ordering::Acquire))
    }

    fn set_keys(&self, keys: Option<u64>) {
        self.keys.store(encode_keys(keys), Ordering::Release);
    }

    pub(super) fn activity(&self) -> Activity {
        let load = |counter: &AtomicU64| counter.load(Ordering::Acquire);
        let tally = Tally {
            changes: load(&self.changes),
            puts: load(&self.puts),
            deletes: load(&self.deletes),
            bytes: load(&self.bytes),
            last_ms: load(&self.last_ms),
            keys: self.keys(),
        };
        Activity { last_version: load(&self.last_version), tally }
    }
}

impl RunTracker {
    /// Whether the keys of any run are counted, or were since the opening.
    pub(crate) fn counts_keys(&self) -> bool {
        self.inner.counts.load(Ordering::Acquire)
    }

    pub(super) fn note_counts(&self, keys: Option<u64>) {
        if keys.is_some() {
            self.inner.counts.store(true, Ordering::Release);
        }
    }

    /// How many keys an active run holds, if they are counted.
    pub(crate) fn keys_of(&self, run: &RunId) -> Option<u64> {
        self.inner.runs.read().active.get(run)?.counters.keys()
    }

    /// So many keys an active run holds now, or they are no longer counted.
    pub(crate) fn set_keys(&self, run: RunId, keys: Option<u64>, hot: &mut HotRun) {
        self.note_counts(keys);
        match hot.0.as_ref().filter(|(id, _)| *id == run) {
            Some((_, counters)) => counters.set_keys(keys),
            None => {
                if let Some(found) = self.inner.runs.read().active.get(&run) {
                    found.counters.set_keys(keys);
                }
            }
        }
    }
}
