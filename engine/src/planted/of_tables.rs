//! Bugs of our own thinking in what came with tables: those from R160 on.
//!
//! Invariant: they stand behind our first ones, in the order of their ids.

/// Hands them to the last list, behind others.
macro_rules! with_bugs_of_tables {
    ($($others:tt)*) => { with_races! { $($others)*
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
    R285 KeyBeginsWhereItStands
        "A key begins in the table that is written, whether all its versions fit there or not."
    R286 MergeAsksAllRemovals
        "A merge asks removals, too, that a crash may take back, and behind which older ones hide."
    R287 RefusedStaysRecalled
        "The record of a run that a refused drop has looked up stays in memory."
    } };
}
