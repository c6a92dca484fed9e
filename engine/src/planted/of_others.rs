//! Mechanisms of bugs that other engines had, planted in this one.
//!
//! Invariant: they come before our own, in the order of their ids.

/// Hands them to a macro, in front of others.
macro_rules! with_bugs_of_others {
    ($bugs:ident! $($own:tt)*) => {
        $bugs! {
            M01 ManifestDirectoryNotSynced
                "The directory is not synced after the new manifest got its name."
            M02 UnlinkBeforeRenameDurable
                "An opening removes the files of before while the manifest's rename is not yet durable."
            M04 RotationWithoutSync
                "A segment is ended without a sync."
            M05 HalfBatchApplied
                "A recovery applies a batch without its last change."
            M06 SegmentNotSynced
                "The manifest names a new segment whose content was never synced."
            M07 CloseWithoutSync
                "A close says `clean` without a sync of the log."
            M08 AppendAfterTornTail
                "A recovery appends behind a torn record; what follows is lost at the next one."
            M10 WriteErrorSwallowed
                "A failed write of the log is taken for one that succeeded; the next sync returns Ok."
            M11 TornTailFatal
                "A torn tail is taken for damage."
            M13 StaleRecordsBehindTail
                "A recovery goes on in the old segment; records of its earlier life stay behind the end."
            M16 RepairNotReentrant
                "A recovery takes the number of a file that a recovery before it has left."
            M17 AttestedBeforeSynced
                "A close attests the log's length before the log is synced."
            M18 ReplayBoundaryTooLate
                "A recovery takes one record more for proven than it is, and does not write it again."
            M19 VersionResetOnOpen
                "Versions begin at 1 again after an opening."
            M21 SyncRetriedAfterFailure
                "A failed sync is tried again, and its success believed."
            M22 CloseIgnoresFailedSync
                "A close says `clean` although its sync of the log failed."
            M24 AppendAfterFailedWrite
                "After a full disk the log goes on behind what was written in part."
            M25 ManifestOverwritten
                "A new manifest is written over the one in force."
            M26 RenameErrorBelieved
                "A rename of the manifest that returns an error is believed not to have happened."
            M27 SegmentDroppedTooEarly
                "A recovery drops the old segment while it holds a proven record."
            M28 FenceCollected
                "Maintenance removes the lock file: a second owner locks another one."
            M29 StaleCounterPublished
                "After a rotation the new segment's records attest a length of the old segment."
            M30 TombstoneDroppedEarly
                "A tombstone is dropped while the value that it hides is still held."
            M31 NewSegmentReclaimed
                "A new segment counts as unreferenced although the manifest names it by now."
            M33 MergeSkipsAtABorder
                "A merge goes on behind the key at which its last stretch ended."
            M35 TimeGoesBackwards
                "The engine's time follows a wall clock that is set back."
            M36 ChecksumNotChecked
                "Checksums of records are written and not compared."
            M37 LengthOnlyValidation
                "Of what the manifest attests only the length is compared: damage below it ends the log."
            M39 MisdirectedRecordAccepted
                "Neither place nor order of a record is compared: one from elsewhere passes."
            M40 MarkedSyncedTooEarly
                "A sync that was only asked for counts as done."
            M42 BufferDroppedOnFullDisk
                "A full disk drops the commits that wait in the log's buffer."
            M43 ReadErrorForgetsReference
                "A file whose header cannot be read for a moment counts as unreferenced."
            M46 SegmentSyncedInPart
                "A new segment is synced before its records are written."
            M47 AcknowledgedBeforeDurable
                "A durable commit is acknowledged, and synced some time later."
            M48 FreshReadInWrongOrder
                "Of several fresh versions of a key the oldest is read."
            $($own)*
        }
    };
}
