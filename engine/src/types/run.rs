//! The record of a run.

use std::collections::BTreeMap;
use std::fmt;

use super::key::{Namespace, RunId};
use super::time::Timestamp;

/// Where a run stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RunStatus {
    /// Begun and not ended: it accepts writes.
    Running,
    /// Ended well.
    Completed,
    /// Ended with a failure.
    Failed,
    /// Ended before its time.
    Cancelled,
    /// Dropped, after it had ended: its keys are gone, and only its record is left.
    Dropped,
}

impl RunStatus {
    /// Every status, in the order of their bytes.
    pub const ALL: [RunStatus; 5] = [
        RunStatus::Running,
        RunStatus::Completed,
        RunStatus::Failed,
        RunStatus::Cancelled,
        RunStatus::Dropped,
    ];

    /// The name: `running`, `completed`, `failed`, `cancelled` or `dropped`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            RunStatus::Running => "running",
            RunStatus::Completed => "completed",
            RunStatus::Failed => "failed",
            RunStatus::Cancelled => "cancelled",
            RunStatus::Dropped => "dropped",
        }
    }

    /// Whether a run of this status accepts writes.
    #[must_use]
    pub const fn is_active(self) -> bool {
        matches!(self, RunStatus::Running)
    }

    /// Whether a run ends as this, and keeps its keys.
    #[must_use]
    pub const fn is_end(self) -> bool {
        !matches!(self, RunStatus::Running | RunStatus::Dropped)
    }

    /// The byte on disk.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            RunStatus::Running => 1,
            RunStatus::Completed => 2,
            RunStatus::Failed => 3,
            RunStatus::Cancelled => 4,
            RunStatus::Dropped => 5,
        }
    }

    /// The status of this byte, if there is one.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(RunStatus::Running),
            2 => Some(RunStatus::Completed),
            3 => Some(RunStatus::Failed),
            4 => Some(RunStatus::Cancelled),
            5 => Some(RunStatus::Dropped),
            _ => None,
        }
    }
}

impl fmt::Display for RunStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which versions of a run's keys are kept for reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Retention {
    /// The latest, and what snapshots still see.
    #[default]
    Latest,
}

impl Retention {
    /// The byte on disk. 2 is reserved for keeping the whole history.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Retention::Latest => 1,
        }
    }

    /// The retention of this byte, if there is one.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Retention::Latest),
            _ => None,
        }
    }
}

/// Everything recorded of a run.
///
/// ```
/// use runstone::{Database, RunId, RunStatus};
/// let db = Database::in_memory()?;
/// let run = RunId::new();
/// let version = db.begin_run(run, [("task", "demo")])?;
/// let entry = db.get_run(run)?.expect("just begun");
/// assert_eq!((entry.status, entry.first_version), (RunStatus::Running, version));
/// assert_eq!(entry.tags["task"], "demo");
/// # Ok::<(), runstone::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunMetadataEntry {
    /// The run.
    pub run_id: RunId,
    /// Whom it belongs to, for life.
    pub namespace: Namespace,
    /// The run that it was begun from, if any.
    pub parent_run_id: Option<RunId>,
    /// The run whose data it started from; reserved, always `None` as yet.
    pub forked_from: Option<RunId>,
    /// Where it stands.
    pub status: RunStatus,
    /// The engine's time of its begin record.
    pub created_at: Timestamp,
    /// The engine's time of its end record.
    pub completed_at: Option<Timestamp>,
    /// The engine's time of the commit that dropped it.
    pub dropped_at: Option<Timestamp>,
    /// The version of its begin record.
    pub first_version: u64,
    /// The version of its own last change: live while it is active, then that of its end, or of
    /// the commit that dropped it.
    pub last_version: u64,
    /// What the caller wrote on it.
    pub tags: BTreeMap<String, String>,
    /// Which versions are kept.
    pub retention: Retention,
}

/// What a run has done, counted with each change; see
/// [`Database::run_statistics`](crate::Database::run_statistics).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunStatistics {
    /// All changes: puts, deletes, removals of ranges, its begin, its end, and its being dropped.
    pub changes: u64,
    /// Keys that were given a value, each as often as it was.
    pub puts: u64,
    /// Keys that were deleted, whether they were there or not; removals of ranges are not counted.
    pub deletes: u64,
    /// The bytes of keys and values that were put, as they are stored.
    pub bytes_put: u64,
    /// The version of its last change.
    pub last_version: u64,
    /// The engine's time of its last change.
    pub last_change: Timestamp,
    /// How many keys it holds, if they are counted: see
    /// [`RunOptions::count_keys`](crate::RunOptions::count_keys).
    pub keys: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_status_reads_back_from_its_byte_and_has_its_name() {
        for status in RunStatus::ALL {
            assert_eq!(RunStatus::from_byte(status.to_byte()), Some(status));
        }
        assert_eq!((0..=255).filter(|b| RunStatus::from_byte(*b).is_some()).count(), 5);
        let names: Vec<_> = RunStatus::ALL.iter().map(|s| s.as_str()).collect();
        assert_eq!(names, ["running", "completed", "failed", "cancelled", "dropped"]);
    }

    #[test]
    fn only_a_running_run_is_active() {
        let active: Vec<_> = RunStatus::ALL.into_iter().filter(|s| s.is_active()).collect();
        assert_eq!(active, [RunStatus::Running]);
        let ends: Vec<_> = RunStatus::ALL.into_iter().filter(|s| s.is_end()).collect();
        assert_eq!(ends, [RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled]);
    }
}
