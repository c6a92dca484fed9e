//! What the threads of a schedule did and saw, in the order in which it happened.
//!
//! Invariants: stamps rise with every event, so that "returned before the other was invoked"
//! can be told; the history's lock is never held while another thread runs. What a write sets
//! a key to is the write's own number, so that a reader tells whose value it saw.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use runstone::Level;

/// The keys of a program.
pub(crate) const KEYS: [&str; 3] = ["a", "b", "c"];

/// What is visible: for each key that is there, the write and the version.
pub(crate) type State = BTreeMap<usize, (usize, u64)>;

/// What is known of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Perhaps committed.
    Unknown,
    /// Committed, as this version.
    Version(u64),
    /// Certainly not committed.
    Refused,
}

#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// The keys that it sets (`true`) or deletes.
    pub(crate) changes: Vec<(usize, bool)>,
    pub(crate) level: Level,
    pub(crate) submitted: bool,
    pub(crate) invoked: u64,
    /// When its place in the order was fixed as far as its thread knows: submitted, or answered.
    pub(crate) placed: Option<u64>,
    /// When it was answered, and the time on the clock.
    pub(crate) answered: Option<(u64, u64)>,
    pub(crate) fate: Fate,
    /// For a delete that asked: what it says was visible just before.
    pub(crate) previous: Option<Option<usize>>,
}

/// What a reader saw.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) invoked: u64,
    /// The version of a snapshot; without one it is a read of one key.
    pub(crate) version: Option<u64>,
    /// For each key that was looked at, what was there.
    pub(crate) seen: BTreeMap<usize, Option<(usize, u64)>>,
}

/// What makes earlier commits durable.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Barrier {
    /// A flush that returned Ok.
    Flush { invoked: u64 },
    /// A close that returned Ok.
    Close { invoked: u64 },
    /// A tick that returned Ok, and the time on the clock when it was called.
    Tick { invoked: u64, ms: u64 },
}

#[derive(Debug, Default)]
pub(crate) struct History {
    stamp: u64,
    pub(crate) writes: Vec<Write>,
    pub(crate) looks: Vec<Look>,
    pub(crate) barriers: Vec<Barrier>,
    /// What must not have happened.
    pub(crate) faults: Vec<String>,
}

impl History {
    pub(crate) fn stamp(&mut self) -> u64 {
        self.stamp += 1;
        self.stamp
    }

    /// Notes that a write begins; returns its number.
    pub(crate) fn invoke(
        &mut self,
        changes: Vec<(usize, bool)>,
        level: Level,
        submitted: bool,
    ) -> usize {
        let invoked = self.stamp();
        self.writes.push(Write {
            changes,
            level,
            submitted,
            invoked,
            placed: None,
            answered: None,
            fate: Fate::Unknown,
            previous: None,
        });
        self.writes.len() - 1
    }

    /// Whether a close returned Ok.
    pub(crate) fn is_closed(&self) -> bool {
        self.barriers.iter().any(|barrier| matches!(barrier, Barrier::Close { .. }))
    }
}

/// The history, shared by the threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(Arc<Mutex<History>>);

impl Record {
    pub(crate) fn lock(&self) -> MutexGuard<'_, History> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
