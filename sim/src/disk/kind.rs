//! The kinds of faults, and which calls each can meet.

use serde::{Deserialize, Serialize};

use super::call::CallKind;

/// A fault, without its drawn details: what [`FaultPlan`](super::FaultPlan) gives odds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// `Interrupted`, without effect (reads and writes).
    Interrupted,
    /// Fewer bytes than asked for, at least one (reads and writes).
    Short,
    /// `StorageFull`. A write has perhaps written some bytes; a sync that fails with it is
    /// a failed sync.
    NoSpace,
    /// `QuotaExceeded`, likewise.
    Quota,
    /// A device error, with or without effect. On a sync: a failed sync (F1).
    Io,
    /// The sectors of this read are unreadable once; on the next try they are not.
    BadSectorOnce,
    /// One sector of this read is unreadable until it is written again.
    BadSectorForever,
    /// F4 (world `lying`): the sync says Ok and does nothing; a later one saves all.
    SyncLies,
    /// F2 (world "late"): the sync fails, says Ok, and the next one of the file reports it.
    SyncLate,
    /// F2: after this write, background writeback of the file fails; the next sync reports
    /// it, once.
    BackgroundFails,
    /// F3: the device gives up: from now on every change is `ReadOnlyFilesystem`.
    ReadOnly,
    /// `EMFILE`: no descriptor is left for what this call would open. Without effect.
    OutOfFiles,
    /// `PermissionDenied`: this call may not look at, open or change a name. Without effect.
    Denied,
    /// `ReadOnlyFilesystem` for this call on a name alone. Without effect.
    Unwritable,
    /// `FileTooLarge`: as [`FaultKind::NoSpace`] of a write or an allocation.
    FileSize,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [FaultKind; 15] = [
        FaultKind::Interrupted,
        FaultKind::Short,
        FaultKind::NoSpace,
        FaultKind::Quota,
        FaultKind::Io,
        FaultKind::BadSectorOnce,
        FaultKind::BadSectorForever,
        FaultKind::SyncLies,
        FaultKind::SyncLate,
        FaultKind::BackgroundFails,
        FaultKind::ReadOnly,
        FaultKind::OutOfFiles,
        FaultKind::Denied,
        FaultKind::Unwritable,
        FaultKind::FileSize,
    ];

    /// Whether the fault makes sense for calls of a kind.
    pub fn suits(self, call: CallKind) -> bool {
        let is_sync = matches!(call, CallKind::Sync | CallKind::SyncDir);
        match self {
            FaultKind::Interrupted | FaultKind::Short => {
                matches!(call, CallKind::Read | CallKind::Write)
            }
            FaultKind::NoSpace | FaultKind::Quota => {
                call.changes() && !matches!(call, CallKind::Remove | CallKind::RemoveDir)
            }
            FaultKind::Io => true,
            FaultKind::BadSectorOnce | FaultKind::BadSectorForever => call == CallKind::Read,
            FaultKind::SyncLies | FaultKind::SyncLate => is_sync,
            FaultKind::BackgroundFails => call == CallKind::Write,
            FaultKind::ReadOnly => call.changes(),
            FaultKind::OutOfFiles => call.opens(),
            FaultKind::Denied => call.opens() || call.changes_a_name() || call == CallKind::Stat,
            // A file that is there is opened for reading as a rule; a lock may want to write.
            FaultKind::Unwritable => call.changes_a_name() || call == CallKind::Lock,
            FaultKind::FileSize => matches!(call, CallKind::Write | CallKind::Allocate),
        }
    }

    /// Whether it says that the disk is full.
    pub fn is_full_disk(self) -> bool {
        matches!(self, FaultKind::NoSpace | FaultKind::Quota | FaultKind::FileSize)
    }
}
