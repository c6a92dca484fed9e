//! What a logged change does: to the store, or to the runs.
//!
//! The one place where a change becomes state; the commit path and recovery both use it, so
//! that what is recovered is what was live.

use crate::codec::change::{Change, NEVER};
use crate::runs::RunChange;
use crate::store::Applied;
use crate::store::version::Version;

/// One logged change, as the store or the runs take it.
pub(crate) fn effect(
    change: Change,
    version: u64,
    time_ms: u64,
) -> std::result::Result<Applied, RunChange> {
    match change {
        Change::Put { key, value, expiry_ms } => Ok(Applied {
            key,
            version: Version { version, time_ms, expiry_ms, value: Some(value) },
        }),
        Change::Delete { key } => Ok(Applied {
            key,
            version: Version { version, time_ms, expiry_ms: NEVER, value: None },
        }),
        Change::BeginRun { run, begin } => Err(RunChange::Begin { run, begin, version, time_ms }),
        Change::EndRun { run, status } => Err(RunChange::End { run, status, version, time_ms }),
    }
}
