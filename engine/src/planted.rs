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
mod races;
mod active;

pub(crate) use active::is_planted;
pub use active::plant;

with_bugs_of_others! { with_races!
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
    R160 FlushedAsOfInstall
        "The manifest says that all is in tables that is committed by when it is written."
    R161 TrimmedAsOfInstall
        "All segments go that are ended by when the manifest is written, flushed or not."
    R162 FrozenNotRead
        "A get does not look into the memtable that is being flushed."
    R163 OrphanTableKept
        "A table that the manifest does not name stays for ever."
    R164 TablesOfFailedEditDeleted
        "A failed manifest takes its new tables with it, though it may be durable."
    R165 BlockNotChecked
        "The checksums of a table's parts are written and not compared."
    R166 OnlyNewestFlushed
        "A flush leaves out the versions that only a snapshot sees."
    R167 WalkBeyondCut
        "A walk over several levels goes on where one of them was read only so far."
    R168 FlushedTimeForgotten
        "A recovery forgets the engine time that the tables have reached."
    R169 LastKeyNotRead
        "The range of a table ends before its last key."
    R170 BackwardStopsAtABlock
        "A walk backwards over a table ends at the beginning of a block."
    R171 TableIgnoresPin
        "A walk of a snapshot sees what is newer in a table."
    R172 ExpiredUncovers
        "What has expired in memory is freed, and uncovers an older version in a table."
    R173 TablesOfFailedFlushKept
        "Tables of a flush that did not end are forgotten."
    R174 SegmentsNotTrimmed
        "Segments whose commits are in tables stay until the next opening."
    R175 FrozenForgotten
        "A memtable whose flush has failed is not flushed again."
    R176 BoundForgottenByGet
        "A get finds what was merged out of a table."
    R177 BoundForgottenByScan
        "A walk finds what was merged out of a table."
    R178 BoundForgottenBackward
        "A walk backwards finds what was merged out of a table."
    R179 MergeIgnoresPins
        "A merge leaves out what a snapshot sees."
    R180 TombstoneDroppedAbove
        "A merge leaves out tombstones though there is something below."
    R181 MovedIntoOverlap
        "A table moves into a level that it overlaps."
    R182 BoundNotRaised
        "What was merged out of a table goes on counting."
    R183 BoundRaisedTooFar
        "A table that is merged in part loses the first key that is left."
    R184 InputsRemovedFirst
        "Tables are removed before the manifest that replaces them is in force."
    R185 RetiredKept
        "Tables that were merged stay until the next opening."
    R186 FlushLostByMerge
        "A merge forgets the levels that were flushed meanwhile."
    R187 ExpiredUncoversBelow
        "A merge leaves out what has expired, and uncovers an older version."
    R188 MergeExpiresByNow
        "A merge leaves out what has expired by a time that no crash would leave."
    R189 BoundNotInManifest
        "The manifest names a table that was merged in part as a whole one."
    R190 KeyInTwoTables
        "The versions of a key are split between two tables."
    R191 TargetNotReachedInto
        "A merge begins in the middle of a table of the target, and loses what is before."
    R192 MergeOutputKept
        "Tables of a merge that failed are forgotten."
    R193 RemovalForgottenByTables
        "A get finds in a table what a removal hides."
    R194 RemovalForgottenByMemtable
        "A get finds in memory what a removal hides."
    R195 RemovalForgottenByScan
        "A walk finds what a removal hides."
    R196 RemovalSeenTooEarly
        "A walk of a snapshot misses what was removed behind it."
    R197 RemovalIgnoresPins
        "What is removed is freed in memory though a snapshot sees it."
    R198 RemovalHidesLaterPuts
        "What is written behind a removal is freed with what was before."
    R199 RemovalNotReplayed
        "A recovery passes over the removals in the log."
    R200 RemovalNotFlushed
        "A flush writes no removals, and their segments go."
    R202 RemovalForgottenEarly
        "A removal is forgotten while a table holds what it hides."
    R203 KeptCountsAsApplied
        "A table that keeps for a snapshot what is removed says that it does not."
    R205 DroppedTwice
        "A run that was dropped can be dropped again."
    R206 ActiveRunDropped
        "A run that is active can be dropped."
    R207 LongLogNotFlushed
        "Only the size of a memtable says when it is flushed, and a log of overwrites grows."
    R210 EditNotSynced
        "An edit of the manifest is not synced."
    R211 EditsNeverFolded
        "The manifest is never written whole again: its edits grow without end."
    R212 EditBehindPart
        "After a full disk an edit is written behind the part of another."
    R213 RefusedEditLeft
        "An edit that met a full disk is refused, and what was written of it stays."
    R214 DamagedEditEndsManifest
        "A damaged edit in the middle is taken for the end of the manifest."
    R216 BoundLostInEdit
        "An edit that is read raises no bound."
    R217 EditAppliedTwice
        "An edit that is read is applied twice."
    R218 FailedManifestTakesTheOldOne
        "A new manifest that cannot be synced takes the good one with it."
    R219 LostEditNotMissed
        "A manifest that has lost its last edits is believed, whatever stands beside it."
    R220 FilterOfAnotherTable
        "The filter of one table is taken for that of the next."
    R221 BlockInAnothersSlot
        "A block is kept in the place of the one before it."
    R222 FilterNotChecked
        "The checksum of a filter is not compared."
    R223 ReadBeforeRoom
        "Nothing is given up to make room for what is read."
    R224 ReleasedTwice
        "What is given up is released twice."
    R225 IndexStaysCharged
        "An index that is given up, or goes with its table, stays charged."
    R226 BlocksOfAnIndexStayCharged
        "Blocks that are given up with their index stay charged."
    R227 FilterStaysCharged
        "The filter of a table that goes stays charged."
    R228 PutIntoAGoneIndex
        "A block is kept by an index that was given up to make room for it."
    R229 StaysPinned
        "What is not held any more stays pinned."
    R230 FailedEditBelievedLost
        "An edit whose sync has failed is believed not to be in force."
    R231 EditIntoAnyManifest
        "An edit is appended without a look at whose manifest it is."
    R240 HandlesNotClosed
        "No file of a table is closed to open another."
    R241 HandleOutlivesTable
        "The file of a table that is gone stays open."
    R242 HandleOfAnotherTable
        "A file that is opened again is that of the table that was opened before it."
    R243 NotHeldForPins
        "At a close no files are kept for the snapshots that outlive it."
    R244 UnopenedTablePoisons
        "A merge that cannot read one of its tables ends all writing."
    R245 SkipsWhatIsNewer
        "A walk past what was removed skips what was written behind the removal."
    R246 SkippedTooFar
        "A walk past what was removed skips the key behind it."
    R247 SkipsBackTooFar
        "A walk backwards past what was removed skips the table that it begins in."
    R248 CompressedLengthCharged
        "A block in the cache is charged what it has on disk, compressed."
    R250 OldIndexKept
        "A run that ends or is dropped stays in the index of the status that it had."
    R251 OldCensusRead
        "An opening takes runs for active that a census before the last one names."
    R252 LastCensusDropped
        "A merge leaves out the census of the last flush."
    R253 CountsForgotten
        "An opening does not take up how many runs there are of each status."
    R254 ActivityForgotten
        "An opening takes up an active run without what it has done."
    R255 ListingReadsPresent
        "A listing shows records as they are now, not as of its moment."
    R256 FilterNotAsked
        "A listing shows all that its index leads to."
    R257 CursorShownAgain
        "A page begins with the last run of the page before."
    R258 EndedRunsNotLookedUp
        "A run that is not in memory is taken for one that never was."
    R259 SnapshotAsksNewestRecord
        "A snapshot asks the newest record of a run whether it can be read."
    R260 OneRunTooMany
        "The retention drops one run more than it may."
    R261 RetentionPassesAMoment
        "The retention passes over runs that ended at the moment of the last it dropped."
    R262 OlderShownInABlock
        "A scan shows the versions of a key that stand side by side in a block, one after the other."
    R263 OldestShownBackward
        "A scan from the end shows the oldest version of a key that stands in the block."
    R264 LimitForgottenInABlock
        "A scan that was alone in a block goes on in it beyond the next key of another level."
    R265 AheadKeptForTheOtherEnd
        "What a scan has read ahead of a memtable at one end counts at the other, too."
    R266 AheadVisitedAgain
        "A scan visits again what it had read ahead of a memtable and has shown from a table."
    R267 BeginNotCounted
        "The record that a begin writes does not count it."
    R268 DroppedStaysEnded
        "A run that is dropped stays in the index of the runs that have ended."
    R269 FlushedTimeTooEarly
        "The manifest says of a flush an earlier time than that of its last commit."
    R270 AttestationFalls
        "Every third commit attests nothing, though those before it attest what was synced."
    R271 IdleStoreNotSwept
        "An idle store keeps what is above its lowest level, however much that is."
    R272 RemovedKept
        "What removals hide of tables stays there until another merge comes by."
    R273 SupersededNotCleaned
        "A table of the lowest level is never cleaned of what is superseded or deleted."
    R274 CountIgnoresItsGroup
        "Whether a key is counted is asked of what is published, not of the commits before in its group."
    R275 AbsentKeyCounted
        "A delete of a key that is not there counts as one less."
    R276 CountNotLogged
        "How many keys a run holds is not logged."
    R277 CountedThoughItExpires
        "A put with a time to live is counted as one without."
    R278 CountKeptOverRange
        "How many keys a run holds is still told when a range of them was removed."
    R279 CountSeesMemoryOnly
        "Whether a key is counted is asked of memory, not of tables."
    R280 FlushGoesOnAfterAFailure
        "A flush of which a step failed, or that a close ended, goes on behind what is gone."
    R281 FlushStepLosesAKey
        "A flush that goes on in another step leaves out the key at which the last one ended."
    R282 FlushStepSplitsAKey
        "A step of a flush ends between two versions of a key, and the next goes on behind it."
    R283 HeldOfThePresent
        "A value that is read where it stands is the newest, whatever snapshot asks for it."
    R284 TombstonesNotCharged
        "What tombstones take in memory over tables is not charged."
}
