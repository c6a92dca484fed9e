//! The register: every real bug of the collection, and where it stands in this engine.
//!
//! Invariant: no row is silently left out. A row is planted by its mechanism, or waits for a
//! part of the engine that does not exist yet, or cannot exist here, with the reason; then the
//! nearest mechanism that is possible stands in.

use runstone::planted::Bug;

/// Where a real bug stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Planted, by its mechanism.
    Planted(Bug),
    /// What it needs does not exist yet; what stands in for it until then.
    Waiting(&'static str, Bug),
    /// It cannot exist here, for this reason; what stands in for it.
    Impossible(&'static str, Bug),
}

impl Standing {
    /// The planted bug that shows the mechanism, or the nearest to it.
    pub fn bug(self) -> Bug {
        match self {
            Standing::Planted(bug) | Standing::Waiting(_, bug) | Standing::Impossible(_, bug) => {
                bug
            }
        }
    }
}

/// A real bug.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its id in the collection.
    pub id: &'static str,
    /// What went wrong, in short.
    pub title: &'static str,
    /// Who had it.
    pub source: &'static str,
    /// Where it stands.
    pub standing: Standing,
}

const fn row(
    id: &'static str,
    title: &'static str,
    source: &'static str,
    standing: Standing,
) -> Row {
    Row { id, title, source, standing }
}

/// Every real bug of the collection.
pub const ROWS: &[Row] = &[
    row(
        "M01",
        "the directory of CURRENT is not synced after the rename",
        "RocksDB 7.7.0, PR 10573",
        Standing::Planted(Bug::ManifestDirectoryNotSynced),
    ),
    row(
        "M02",
        "a rename is not ordered before an unlink",
        "LevelDB #195 (ALICE)",
        Standing::Planted(Bug::UnlinkBeforeRenameDurable),
    ),
    row(
        "M04",
        "the old log is not synced while a newer one is",
        "LevelDB #193; RocksDB PR 12489",
        Standing::Planted(Bug::RotationWithoutSync),
    ),
    row(
        "M05",
        "a partial batch is applied",
        "LevelDB #251; LazyFS leveldb-6",
        Standing::Planted(Bug::HalfBatchApplied),
    ),
    row(
        "M06",
        "the manifest names a file that was not synced",
        "horaedb #394, LevelDB #333",
        Standing::Planted(Bug::SegmentNotSynced),
    ),
    row(
        "M07",
        "the log is not synced at close",
        "RocksDB PR 12556",
        Standing::Planted(Bug::CloseWithoutSync),
    ),
    row(
        "M08",
        "appends follow a torn record",
        "cqlite #1390; rocksdb-js PR 751",
        Standing::Planted(Bug::AppendAfterTornTail),
    ),
    row(
        "M10",
        "a write error is discarded, a later sync says Ok",
        "fjall #304",
        Standing::Planted(Bug::WriteErrorSwallowed),
    ),
    row(
        "M11",
        "a truncated record aborts every opening",
        "mysticeti #219, doltlite PR 510, VelesDB PR 1011, fedimint PR 8614",
        Standing::Planted(Bug::TornTailFatal),
    ),
    row(
        "M12",
        "stale records of a recycled log are read as new",
        "RocksDB 9.2.0, PR 12918; pebble PR 580",
        Standing::Waiting("recycling of segments", Bug::StaleRecordsBehindTail),
    ),
    row(
        "M13",
        "a record of two incarnations of the log is accepted",
        "pebble PR 543",
        Standing::Impossible(
            "a record is one piece under one checksum, and names the one before it",
            Bug::StaleRecordsBehindTail,
        ),
    ),
    row(
        "M16",
        "a repair works once; a second crash cannot be opened",
        "RocksDB 6.8.0, PR 6313; 6.6.0, #5856",
        Standing::Planted(Bug::RepairNotReentrant),
    ),
    row(
        "M17",
        "a length is durable before the file has it",
        "redb PR 1276",
        Standing::Planted(Bug::AttestedBeforeSynced),
    ),
    row(
        "M18",
        "a replay's boundary is recorded too far on",
        "SlateDB PR 1625",
        Standing::Planted(Bug::ReplayBoundaryTooLate),
    ),
    row(
        "M19",
        "sequence numbers begin again after a recovery",
        "Typhon #712; RocksDB 11.0.0",
        Standing::Planted(Bug::VersionResetOnOpen),
    ),
    row(
        "M21",
        "a failed sync is tried again and believed",
        "WT-4045, yugabyte #33816, redb PR 312, turso #2091 and PR 3077",
        Standing::Planted(Bug::SyncRetriedAfterFailure),
    ),
    row(
        "M22",
        "a close goes on although its sync failed",
        "ArcadeDB #4934",
        Standing::Planted(Bug::CloseIgnoresFailedSync),
    ),
    row(
        "M24",
        "a file is appended to after an append that failed",
        "RocksDB 6.8.0, #6316 and PR 6331",
        Standing::Planted(Bug::AppendAfterFailedWrite),
    ),
    row(
        "M25",
        "a new manifest overwrites the live one",
        "RocksDB 6.8.0",
        Standing::Planted(Bug::ManifestOverwritten),
    ),
    row(
        "M26",
        "a rename fails for its caller and has happened",
        "RocksDB 6.21.0",
        Standing::Planted(Bug::RenameErrorBelieved),
    ),
    row(
        "M27",
        "a log is dropped while it is needed",
        "RocksDB 7.2.0, 7.3.0, 6.16.0",
        Standing::Planted(Bug::SegmentDroppedTooEarly),
    ),
    row(
        "M28",
        "collection removes the file that fences a stale writer",
        "SlateDB #1622, #352",
        Standing::Planted(Bug::FenceCollected),
    ),
    row(
        "M29",
        "a counter of before the log's reset is published",
        "turso #7744; SQLite 3.7.0 to 3.51.2",
        Standing::Planted(Bug::StaleCounterPublished),
    ),
    row(
        "M30",
        "a tombstone is dropped above its value",
        "badger #2143, turbodb #94",
        Standing::Planted(Bug::TombstoneDroppedEarly),
    ),
    row(
        "M31",
        "a new file that no metadata names yet is reclaimed",
        "ShardStore #14; badger #926, #1991",
        Standing::Planted(Bug::NewSegmentReclaimed),
    ),
    row(
        "M33",
        "a compaction that resumes skips entries at a boundary",
        "SlateDB #1769",
        Standing::Planted(Bug::MergeSkipsAtABorder),
    ),
    row(
        "M35",
        "a clock that is set back makes times wrong",
        "RocksDB, WAL_ttl_seconds",
        Standing::Planted(Bug::TimeGoesBackwards),
    ),
    row(
        "M36",
        "checksums are written and not compared",
        "turso #6517",
        Standing::Planted(Bug::ChecksumNotChecked),
    ),
    row(
        "M37",
        "an index is believed if its length fits",
        "commonware #4260",
        Standing::Planted(Bug::LengthOnlyValidation),
    ),
    row(
        "M39",
        "a valid record in the wrong place is accepted",
        "TigerBeetle PR 2711",
        Standing::Planted(Bug::MisdirectedRecordAccepted),
    ),
    row(
        "M40",
        "a tail is marked synced too early",
        "RocksDB 7.7.0, 7.6.0",
        Standing::Planted(Bug::MarkedSyncedTooEarly),
    ),
    row(
        "M42",
        "a retryable error drops buffered bytes",
        "RocksDB PR 12995",
        Standing::Planted(Bug::BufferDroppedOnFullDisk),
    ),
    row(
        "M43",
        "a read error is taken for `not referenced`",
        "ShardStore #5",
        Standing::Planted(Bug::ReadErrorForgetsReference),
    ),
    row(
        "M46",
        "a copied log is synced in part",
        "RocksDB 9.4.0",
        Standing::Planted(Bug::SegmentSyncedInPart),
    ),
    row(
        "M47",
        "a commit is acknowledged before it is durable",
        "BDB PR 55; etcd #16596",
        Standing::Planted(Bug::AcknowledgedBeforeDurable),
    ),
    row(
        "M48",
        "a merge is not stable for equal keys",
        "TigerBeetle PR 2412",
        Standing::Planted(Bug::FreshReadInWrongOrder),
    ),
];
