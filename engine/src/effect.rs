//! What a logged change does: to the store, or to the runs, or to both.
//!
//! The one place where a change becomes state; the commit path and recovery both use it, so
//! that what is recovered is what was live.

use crate::codec::change::{Change, NEVER};
use crate::removals::{Removal, RemovalId};
use crate::runs::RunChange;
use crate::store::Applied;
use crate::store::version::Version;
use crate::types::{PhysicalKey, RunId};

/// What one logged change does.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A key has a new version.
    Key(Applied),
    /// A run begins or ends.
    Run(RunChange),
    /// A range of keys is removed.
    Remove(Removal),
    /// A run is dropped, and all its keys are removed.
    Drop(RunChange, Removal),
    /// So many keys the run holds now, if they are counted.
    Count(RunId, Option<u64>),
}

/// One logged change, as the store and the runs take it; it is the `nth` of its commit.
pub(crate) fn effect(change: Change, nth: u32, version: u64, time_ms: u64) -> Effect {
    let id = RemovalId { version, nth };
    match change {
        Change::Put { key, value, expiry_ms } => Effect::Key(Applied {
            key,
            version: Version { version, time_ms, expiry_ms, value: Some(value) },
        }),
        Change::Delete { key } => Effect::Key(Applied {
            key,
            version: Version { version, time_ms, expiry_ms: NEVER, value: None },
        }),
        Change::RemoveRange { from, to } => Effect::Remove(Removal { id, time_ms, from, to }),
        Change::BeginRun { run, begin } => {
            Effect::Run(RunChange::Begin { run, begin, version, time_ms })
        }
        Change::EndRun { run, status } => {
            Effect::Run(RunChange::End { run, status, version, time_ms })
        }
        Change::KeyCount { run, keys } => Effect::Count(run, keys),
        Change::DropRun { run } => {
            let (from, to) = PhysicalKey::bounds_of(run);
            let change = RunChange::Drop { run, version, time_ms };
            Effect::Drop(change, Removal { id, time_ms, from, to })
        }
    }
}
