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
    /// Race: what a step has taken from the queue keeps no flag up.
    Overtaken,
    /// Race: a tick does not see what a full batch asked for while it waited for the writer.
    AskUnseen,
    /// Race: a thread that was told to lead and was answered meanwhile forgets the lead.
    LeadForgotten,
    /// Race: a leader picks the version before it has the writer's lock.
    VersionOutsideLock,
    /// Race: a group is published before it is logged.
    PublishedBeforeLogged,
    /// Race: a group's version is published before its changes are applied.
    PublishedBeforeApplied,
    /// Race: a snapshot picks its version before it has the memtable's lock.
    SnapshotBeforeLock,
    /// Race: a leader leaves although somebody waits, and tells nobody.
    LeadDropped,
    /// Race: a close does not look again for what a leader put back.
    ClosedInHaste,
    /// Race: a sync runs beside another one.
    SyncBesideGate,
    /// Race: a ring between two waits of the background thread is lost.
    BellUnheard,
}

impl Bug {
    /// All bugs that one thread meets.
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

    /// The races among threads: one thread never meets them, a schedule explorer does (feature
    /// `explore`).
    pub const RACES: [Bug; 11] = [
        Bug::Overtaken,
        Bug::AskUnseen,
        Bug::LeadForgotten,
        Bug::VersionOutsideLock,
        Bug::PublishedBeforeLogged,
        Bug::PublishedBeforeApplied,
        Bug::SnapshotBeforeLock,
        Bug::LeadDropped,
        Bug::ClosedInHaste,
        Bug::SyncBesideGate,
        Bug::BellUnheard,
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
