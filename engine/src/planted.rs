//! Known bugs, planted by choice, to measure what the simulator sees.
//!
//! Compiled only with the feature `planted`, which production builds do not have: without it
//! this module is absent and each planted place is a constant `false`. A bug is active for the
//! current thread only, so that simulations on other threads are not disturbed.

use std::cell::Cell;

/// A planted bug: the mechanism of one that a real engine had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A recovery appends behind a torn record; what follows is lost at the next one.
    AppendAfterTornTail,
    /// Directories are never synced.
    NoDirectorySync,
    /// The log is never synced.
    NoDataSync,
    /// Checksums of records are not compared.
    ChecksumNotChecked,
    /// A durable commit is acknowledged, and synced some time later.
    AcknowledgedBeforeDurable,
    /// A failed sync is tried again, and its success believed.
    SyncRetriedAfterFailure,
    /// Versions begin at 1 again after an opening.
    VersionResetOnOpen,
    /// A recovery applies a batch without its last change.
    HalfBatchApplied,
    /// A torn tail is taken for damage.
    TornTailFatal,
    /// A segment is ended without a sync.
    RotationWithoutSync,
    /// The new manifest is renamed before it is synced.
    ManifestNotSynced,
    /// A recovery goes on in the old segment and believes its tail.
    TailTrusted,
    /// A read error is taken for the end of the log.
    ReadErrorEndsLog,
    /// After a full disk the version of the commit that failed stays taken.
    VersionKeptAfterFullDisk,
    /// A recovery forgets when keys expire.
    ExpiryNotReplayed,
    /// After a recovery the engine's time is that of the wall clock.
    ClockNotFloored,
    /// A close says "clean" without a sync of the log.
    CloseWithoutSync,
    /// A failed sync is reported and then forgotten: writing goes on.
    FailedSyncForgotten,
}

impl Bug {
    /// All bugs.
    pub const ALL: [Bug; 18] = [
        Bug::AppendAfterTornTail,
        Bug::NoDirectorySync,
        Bug::NoDataSync,
        Bug::ChecksumNotChecked,
        Bug::AcknowledgedBeforeDurable,
        Bug::SyncRetriedAfterFailure,
        Bug::VersionResetOnOpen,
        Bug::HalfBatchApplied,
        Bug::TornTailFatal,
        Bug::RotationWithoutSync,
        Bug::ManifestNotSynced,
        Bug::TailTrusted,
        Bug::ReadErrorEndsLog,
        Bug::VersionKeptAfterFullDisk,
        Bug::ExpiryNotReplayed,
        Bug::ClockNotFloored,
        Bug::CloseWithoutSync,
        Bug::FailedSyncForgotten,
    ];
}

thread_local! {
    static ACTIVE: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug for the current thread, or none.
pub fn plant(bug: Option<Bug>) {
    ACTIVE.set(bug);
}

/// Whether the bug is planted in the current thread.
pub(crate) fn is_planted(bug: Bug) -> bool {
    ACTIVE.get() == Some(bug)
}
