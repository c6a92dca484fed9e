//! Known bugs, planted by choice, to measure what the simulator sees.
//!
//! Compiled only with the feature `planted`, which production builds do not have: without it
//! this module is absent and each planted place is a constant `false`. A bug is active for the
//! current thread only, so that simulations on other threads are not disturbed.
//!
//! Invariants: an id is never given to another bug, and never changes. `M` and a number: the
//! mechanism of a bug that a real engine had, whose name and source the register of the
//! simulator tells. `R` and a number: one of our own thinking. `S` and a number: a race among
//! threads.

#[macro_use]
mod macros;
#[macro_use]
mod of_others;
#[macro_use]
mod of_tables;
#[macro_use]
mod races;
mod active;

pub(crate) use active::is_planted;
pub use active::plant;

with_bugs_of_others! { with_bugs_of_tables!
    R01 NoDirectorySync
        "Directories are never synced."
    R02 NoDataSync
        "The log is never synced."
    R03 ManifestNotSynced
        "The new manifest is renamed before it is synced."
    R04 TailTrusted
        "A recovery goes on in the old segment and believes its tail."
    R05 ReadErrorEndsLog
        "A read error is taken for the end of the log."
    R06 VersionKeptAfterFullDisk
        "After a full disk the version of the commit that failed stays taken."
    R07 ExpiryNotReplayed
        "A recovery forgets when keys expire."
    R08 ClockNotFloored
        "After a recovery the engine's time is that of the wall clock."
    R09 FailedSyncForgotten
        "A failed sync is reported and then forgotten: writing goes on."
    R10 ManifestUnlinkedBeforeRename
        "The old manifest is removed before the new one gets its name."
    R11 EpochNotDurable
        "An opening's epoch, and that it writes, is not made durable before its first commit."
    R12 LockNotTaken
        "The directory is not locked."
    R13 SnapshotTimeMoves
        "A snapshot fixes a version and no time."
    R14 SupersededFreedEarly
        "A superseded version is freed although a snapshot sees it."
    R15 DeleteIgnoresItsGroup
        "A delete returns the value of before its group, not of just before it."
    R16 MergeLosesTheRest
        "When two runs of the order are merged, the rest of one is lost."
    R17 ResumedScanSkips
        "A scan that goes on after its first chunk skips a key."
    R18 OrphansKept
        "Files that nothing names are never removed."
    R19 UnsyncedAttested
        "Records attest what was written as if it had been synced."
    R20 ExpiryOffByOne
        "A key is still there at the very moment at which it expires."
    R21 SegmentNameNotSynced
        "The manifest names a new segment whose name was never made durable."
    R22 PublishedThoughFailed
        "A commit whose write or sync failed is shown all the same."
    R23 RefusalTakesVersion
        "A commit that is refused takes a version."
    R24 PrefixRunsOn
        "A listing of a prefix runs past its end."
    R25 FailedWriteForgotten
        "A failed write is reported and then forgotten: writing goes on."
    R26 ParentsNotSynced
        "The directories above a new store are not synced."
    R27 ForeignFileRemoved
        "An opening removes files that are not the store's."
    R28 FullDiskForgotten
        "The retry of a write that met a full disk forgets that, though it meets it again."
    R29 DueMomentReplaced
        "A commit of a higher level puts off the sync that is due for an earlier one."
    R30 RetryUnscheduled
        "A tick that met a full disk is never tried again."
    R31 SyncCountsAsFlush
        "A strict commit counts as a flush: no clock floor is logged after it."
    R32 FloorNotWrittenAgain
        "A recovery does not write the clock floors of the unproven tail again."
    R33 RecordCutByReadStep
        "A record that is longer than a step of reading is taken for torn."
    R34 LockFileNotSynced
        "A new lock file is not synced."
    R35 NotesCountAsUnproven
        "A recovery counts records without a commit as unproven commits."
    R36 CutNotSynced
        "A log that was cut back after a full disk is not synced again."
    R37 BatchLimitOffByOne
        "One commit more than twice the batch size is unsynced."
    R38 OrphansForgotten
        "Maintenance that fails forgets the files that nothing names."
    R39 QueueOvertaken
        "A commit that finds the writer free overtakes those that wait in the queue."
    R40 EmptyChunkEndsScan
        "A scan ends at the first chunk in which it sees no entry."
    R41 SnapshotReadsPresent
        "Whether a key exists is answered to a snapshot from the newest version."
    R42 FreshHidesPinned
        "A fresh change that a snapshot does not see hides the older version that it does."
    R43 NoteNotPadded
        "Clock floors and watermarks do not end at a sector, though the options ask for it."
    R44 BatchSyncUnattested
        "The sync of a full batch is never attested by an idle log."
    R45 PoisonedKeepsLock
        "A close that fails for good keeps the database open, and its lock."
    R46 ActiveOverItsEnd
        "A run counts as active behind its end in the same group."
    R47 OneSortStep
        "A walk in order puts one step of the new keys in order, and misses the rest."
    R48 GroupMemoryForgotten
        "Commits of one group do not count the memory of those before them."
    R49 PinnedForgotten
        "A superseded version that a snapshot sees when maintenance comes is never freed."
    R50 FloorOnlyIfDirty
        "Maintenance of a log that was flushed frees what expired, and logs no time."
    R51 FacadeGoesOn
        "A scan of the facade goes on from its other end after it has failed."
    R52 TimeOfNoteLost
        "A recovery forgets a time that only a watermark bears, though it has shown it."
    R53 RefusedTimeLogged
        "The time of a commit that was refused counts as logged."
    R54 LeftReplaced
        "Maintenance reports what is left of its last part only."
    R55 RotationIgnoresBuffer
        "Records that wait in the buffer do not count towards the size of their segment."
    R56 TickCommitsOneGroup
        "A tick commits one group of what nobody waits for, and leaves the rest."
    R57 RefusedStaysInOverlay
        "A run that a refused batch would have begun counts as begun for the rest of its group."
    R58 LateTimeLogged
        "The time that was read for a late comer counts as logged, though the group left it out."
    R59 ShownAfterCloseForgotten
        "A close logs no time for what a snapshot that outlives it may show as expired."
    R70 FloorNotLoggedWhenShown
        "A flush or close logs no time for what was only shown as expired."
    R71 ShownByScanForgotten
        "What a scan passes over as expired does not count as shown."
    R72 ShownByExistsForgotten
        "What is said not to exist, since it has expired, does not count as shown."
    R73 ShownAtAPinForgotten
        "What has expired for a read of a snapshot does not count as shown."
    R74 ShownReplaced
        "Of what was shown as expired only the last counts, not the latest."
    R75 ReadOnlySessionLogsNoFloor
        "A close of a session that wrote nothing logs no time for what it has shown as expired."
    R76 ClockAheadUnreported
        "An opening does not report that the log's time is ahead of the wall clock."
    R77 LateComersBearGroupTime
        "What joins a group while it is encoded bears the time that was read before it came."
    R78 GroupShownAtItsLastTime
        "All of a group is shown with the time of the last of it."
    R79 ShownByGetForgotten
        "What a get does not find, since it has expired, does not count as shown."
    R80 ResumedUnpadded
        "A session that pads goes on in a sector that one without padding has left."
    R81 RepairUnpadded
        "A recovery does not pad the segment that it makes, though the options ask for it."
    R82 LargeRecordEndsLog
        "A record beyond 64 KiB is taken for the end of the log."
    R83 TtlTruncated
        "A time to live counts modulo 32 bits of milliseconds."
    R84 TtlWraps
        "A time to live beyond the end of time comes round to the past."
    R85 PrefixEndSkipsFF
        "The end of a prefix that ends with 0xff is that of all keys."
    R86 EndNotCounted
        "A run's end is none of its changes."
    R87 LockCountsAsForeign
        "The lock file is reported as one that is not the store's."
    R88 DeletedKeysCounted
        "Keys that are gone and not released count as held."
    R89 SnapshotsMaxOffByOne
        "One snapshot more than the limit is admitted."
    R90 TornBytesCountZeros
        "A report of a torn tail counts the zeros that were preallocated."
    R91 ReplayedBytesOfPayload
        "A report of what was read counts payloads alone."
    R92 JumpNotReported
        "A wall clock that has jumped ahead is not reported."
    R93 RemovedNotReported
        "An opening does not report the files that it removed."
    R94 ExpiredNotReported
        "Maintenance does not report what it freed because it had expired."
    R95 DamagedHeadEndsLog
        "A record whose head is damaged is the end of the log, wherever it stands."
    R96 ProofBehindIgnored
        "What a record behind a damaged one proves is not looked for."
    R97 ManifestNotChecked
        "The manifest's checksum is written and not compared."
    R98 ReserveForgotten
        "Deletes and ends of runs have no more memory than puts."
    R100 OwnerNotChecked
        "Nobody looks whether the lock file is still the one that is locked."
    R101 ForeignManifestReplaced
        "A manifest is replaced though it is not the one that was last written."
    R102 ForkUnseen
        "A forked child uses and closes its copy of the handle as if it were its own."
    R103 MadeAmongOthers
        "A store is made in a directory that holds files of other programs."
    R104 FileOfOtherStoreRemoved
        "Files of other stores are removed."
    R110 PreallocationRefuses
        "Room that could not be reserved ahead refuses a commit that would fit."
    R111 CutForgotten
        "What a full disk left of a record, and did not let be cut off, is forgotten."
    R112 WholeRecordLeft
        "A whole record that a full disk refused stays in the file if it cannot be cut off."
    R113 ZerosLeftBehind
        "Zeros that were written ahead until the disk was full are forgotten."
    R114 RemovalBlamedOnTheCall
        "A store that is removed in the middle of a step says which call met it, not that it was removed."
    R115 ManifestLookedAtOnlyWhenReplaced
        "A manifest that somebody replaces while the store is open is not missed before the next one."
    R121 SecondReaderRefused
        "A reader takes the lock of a writer."
    R122 TakenTemporaryRefused
        "A manifest is not written if the name of its temporary file is taken."
    R123 ChildCloses
        "A forked child that drops its copy of the handle closes the store."
    R124 TakenNumberRefused
        "A segment is not made if the name of the next number is taken."
    R125 LockOnlyLookedFor
        "Any file of the lock's name is taken for the one that is locked."
    R126 ManifestOnlyLookedAt
        "A manifest that somebody has written into is taken for the one in force."
    R130 RefusedFilePoisons
        "A segment's file that could not be made ends all writing."
    R131 DeniedMayPass
        "An error that stays until somebody mends it counts as one that can pass."
    R132 UnmeasuredUncut
        "After a full disk nothing is cut off if the length of the log cannot be told."
    R133 UnseenLeftoverForgotten
        "A file that nothing names and that cannot be looked at counts as gone."
    R134 FailedLookPoisons
        "A look at the directory that fails before anything is written ends all writing."
    R140 FileSystemNotAsked
        "Auto writes zeros ahead on every file system."
    R141 ZerosThoughOff
        "Zeros are written ahead also where nothing was chosen."
    R143 AttestedLinkNotChecked
        "Which records the manifest attests is not compared, only how far they reach."
    R144 FullFlushPassedOver
        "A flush on a full disk succeeds though commits wait in memory, or a floor is owed."
    R145 FileSizeNotChecked
        "What the process may write of a file is not asked before a write."
    R150 TableWithoutManifestIgnored
        "A directory without a manifest in which there are tables is taken for empty."
    R151 TableNotSynced
        "The manifest names a table whose content was never synced."
    R152 TableNamesNotSynced
        "The manifest names tables whose names were never synced."
    R153 SegmentsTrimmedFirst
        "Segments are removed before the manifest is durable that names the tables of their commits."
    R154 TombstoneOverTablesDropped
        "A tombstone goes though an older version is in a table."
    R155 TablesInWrongOrder
        "An opening reads the oldest table first."
    R156 ExpiryLostAtFlush
        "What is in a table never expires."
    R157 TimeLostAtFlush
        "What is in a table does not know when it was committed."
    R158 FilterMissesLastKey
        "The filter of a table says no for its last key."
    R159 RunsNotFlushed
        "A flush leaves out the records of runs."
}
