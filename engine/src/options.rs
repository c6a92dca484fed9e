//! Every option and limit, in one place.
//!
//! Invariants, checked by [`Options::validate`] before anything is opened: what is admitted at
//! the door fits into every later stage (a batch into a record, a record into the memtable's
//! share of the memory), and every buffer, queue and loop has a bound that stands here.

use std::time::Duration;

pub use crate::durability::{DurabilityMode, Level, WriteOptions};
use crate::error::{Error, Result};
use crate::memory::Shares;
use crate::preallocation::Preallocation;
pub use crate::retention::RetentionPolicy;

/// What is admitted at the door, the same in every durability mode. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest user key. Empty keys are always refused.
    pub key_bytes_max: usize,
    /// The longest encoded value.
    pub value_bytes_max: usize,
    /// The largest batch: its keys and encoded values, and 64 bytes for each change.
    pub batch_bytes_max: usize,
    /// The most tags of a run.
    pub tags_max: usize,
    /// The longest tag name, tag value, tenant, application or agent.
    pub name_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            key_bytes_max: 16 << 10,
            value_bytes_max: 8 << 20,
            batch_bytes_max: 12 << 20,
            tags_max: 64,
            name_bytes_max: 1 << 10,
        }
    }
}

/// How much is done in one step, before the next read, write or lock. Sizes are in bytes.
///
/// Larger steps take fewer calls and more memory; smaller ones keep others waiting for less
/// long. No value changes what is stored, recovered or listed.
///
/// ```
/// use runstone::{Database, Options, RunId, Steps};
/// let dir = tempfile::tempdir()?;
/// let steps = Steps { scan_entries_first: 1, scan_entries_max: 1, ..Steps::default() };
/// let options = Options { steps, ..Options::default() };
/// let db = Database::builder().options(options).open(dir.path())?;
/// let run = RunId::new();
/// db.begin_run(run, runstone::NO_TAGS)?;
/// db.put(run, "a", 1)?;
/// db.put(run, "b", 2)?;
/// assert_eq!(db.scan::<&str, _>(run, ..)?.count(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// How much of the log an opening reads at once. A larger record is read whole.
    pub read_bytes: u64,
    /// When an opening writes a tail of the log again, it writes when it holds this much.
    pub rewrite_bytes: usize,
    /// The most entries that an iterator reads ahead at first; each next time twice as many.
    pub scan_entries_first: usize,
    /// The most entries that an iterator ever reads ahead.
    pub scan_entries_max: usize,
    /// An iterator reads no further ahead when its values reach this size.
    pub scan_bytes_max: usize,
    /// The most keys that an iterator passes under one lock, visible or not.
    pub scan_visits_max: usize,
    /// The most keys in a row that an iterator steps over in a table since a range was removed,
    /// before it looks for the end of the range instead.
    pub scan_removed_max: usize,
    /// The most new keys that a walk in order sorts under one lock, before it begins.
    pub sort_keys_max: usize,
    /// The most keys of sorted runs that it merges under the same lock, and the longest run that
    /// merges make.
    pub merge_keys_max: usize,
    /// The most keys that a step of maintenance frees of what expired, and the most that it
    /// visits for what was superseded.
    pub maintain_keys_max: usize,
    /// The most records of ended runs that are remembered, beside those that a group of commits
    /// needs; at most 1024.
    pub remembered_runs_max: usize,
    /// About how much of its tables a step of maintenance merges, and how much of a memtable it
    /// flushes.
    pub merge_bytes: usize,
}

impl Default for Steps {
    fn default() -> Self {
        Steps {
            read_bytes: 256 << 10,
            rewrite_bytes: 1 << 20,
            scan_entries_first: 16,
            scan_entries_max: 256,
            scan_bytes_max: 256 << 10,
            scan_visits_max: 4096,
            scan_removed_max: 8,
            sort_keys_max: 1 << 14,
            merge_keys_max: 1 << 18,
            maintain_keys_max: 1024,
            remembered_runs_max: 64,
            merge_bytes: 4 << 20,
        }
    }
}

impl Steps {
    /// Checks that every step gets on, and that no buffer passes what a record may take.
    fn validate(&self) -> Result<()> {
        let counts = [
            (self.scan_entries_first, "steps.scan_entries_first must be at least 1"),
            (self.scan_bytes_max, "steps.scan_bytes_max must be at least 1"),
            (self.scan_visits_max, "steps.scan_visits_max must be at least 1"),
            (self.sort_keys_max, "steps.sort_keys_max must be at least 1"),
            (self.merge_keys_max, "steps.merge_keys_max must be at least 1"),
            (self.maintain_keys_max, "steps.maintain_keys_max must be at least 1"),
            (self.merge_bytes, "steps.merge_bytes must be at least 1"),
        ];
        let rules = [
            (self.remembered_runs_max <= 1024, "steps.remembered_runs_max must be at most 1024"),
            (self.read_bytes >= 1, "steps.read_bytes must be at least 1"),
            (self.read_bytes <= RECORD_BYTES_MAX, "steps.read_bytes must be at most 1 GiB"),
            (self.rewrite_bytes >= 1, "steps.rewrite_bytes must be at least 1"),
            (
                self.rewrite_bytes as u64 <= RECORD_BYTES_MAX,
                "steps.rewrite_bytes must be at most 1 GiB",
            ),
            (
                self.scan_entries_first <= self.scan_entries_max,
                "steps.scan_entries_max must be at least scan_entries_first",
            ),
        ];
        let counts = counts.into_iter().map(|(count, what)| (count >= 1, what));
        first_broken(counts.chain(rules))
    }
}

/// How blocks of tables are compressed; what stands in a store already is read whatever it is.
///
/// ```
/// use runstone::{Compression, Database, Options, RunId};
/// let dir = tempfile::tempdir()?;
/// let options = Options { compression: Compression::Lz4, ..Options::default() };
/// let db = Database::builder().options(options).open(dir.path())?;
/// # db.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// They stand as they are.
    #[default]
    None,
    /// LZ4, where it saves an eighth of a block. A block in memory takes what it takes without.
    /// Values of [`Options::extent_bytes_min`] or more are not compressed.
    Lz4,
}

/// All options of a database. Sizes are in bytes, times in milliseconds.
///
/// Usually set through [`Database::builder`](crate::Database::builder). No number is dangerous:
/// one that the engine cannot work with is refused by [`Options::validate`], by its name; the
/// largest of a limit, an interval or a size that is not refused means "no limit".
///
/// A store may be opened with other options each time; what is promised holds for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// When commits are acknowledged.
    pub durability: DurabilityMode,
    /// What is admitted.
    pub limits: Limits,
    /// Which runs are kept that have ended; all of them by default.
    pub retention: RetentionPolicy,
    /// How much is done in one step.
    pub steps: Steps,
    /// The memory that the database may use, for all that grows with its data; 256 MiB by default.
    /// [`Options::shares`] tells how it is shared: three eighths for memtables and the records of
    /// runs, an eighth for what flushes, merges and iterators hold, the rest for the cache of
    /// filters, indexes and blocks. The process takes up to 32 MiB more, for code, threads and
    /// buffers of fixed size. [`u64::MAX`] means no limit.
    ///
    /// The memtables' share is a budget: a put beyond it waits for the flush in progress where a
    /// thread does the upkeep, and is [`Error::MemtableFull`] else. It must be at least twice what
    /// one batch may have. What is recovered may exceed it: an opening never refuses a store for
    /// its size, also if the store was written with a larger number. Then nothing is put until
    /// there is room again.
    ///
    /// Deletes and ends of runs have a reserve, so that there is always a way out: together they
    /// may use a sixteenth of that budget, or 4 KiB if that is more, beyond the budget or what
    /// the opening found, whichever is larger. So memory stays bounded by that. The end of a run
    /// takes no memory and is never refused for it; a delete frees what it deletes as soon as no
    /// snapshot and no iterator reads it. Over tables it leaves a tombstone, up to the next flush.
    ///
    /// The cache takes nothing beyond its share: what has no room is read again each time. No
    /// iterator fails for want of memory; many that are open at once read less ahead.
    pub memory_bytes_max: u64,
    /// A memtable of so many bytes is flushed to tables by maintenance, and the log of its commits
    /// goes; 64 MiB by default, and never more than a third of the memtables' share of
    /// `memory_bytes_max`. [`u64::MAX`] means never: all data stays in memory, as far as that
    /// share goes, and all of the log is kept.
    pub flush_bytes: u64,
    /// A memtable is also flushed when the ended segments of its log have so many bytes, or are as
    /// many as that is segments, but at least four: what is written over and over takes little
    /// memory and much of the log, which each opening reads. 128 MiB by default; [`u64::MAX`] means
    /// never, and so it does if `flush_bytes` is that.
    pub flush_log_bytes: u64,
    /// Each flush puts a level of tables on top of others; so many levels of a size become one.
    /// More of them means that less is written and more is read.
    pub levels_per_tier: usize,
    /// A table is ended before it is longer than this, unless one key alone makes it so; nor is it
    /// longer than an eighth of `memory_bytes_max`, or 1 MiB if that is more.
    pub table_bytes_max: u64,
    /// A block of a table is ended when it has so many bytes, at most 16 KiB: what a get reads from
    /// the disk.
    pub block_bytes: usize,
    /// The cache takes no more than this of its share of `memory_bytes_max`; all of it by default.
    /// 0 reads each filter, index and block from the operating system's cache each time.
    pub cache_bytes_max: u64,
    /// The most files of tables that are open at once, at least 1; 256 by default. A table whose
    /// file is closed is opened again when it is read, which costs some ten microseconds. Beside
    /// them a database has at most eight files open: its lock, its log, its manifest, and tables
    /// that are being written. Threads that read at the same time may have one more each, and what
    /// snapshots and iterators read when a database is closed stays open until they are gone.
    pub open_files_max: usize,
    /// How blocks of tables are compressed that are written from now on; see [`Compression`].
    pub compression: Compression,
    /// A value of at least so many bytes stands in a table on its own, beside the blocks: who looks
    /// for another key does not read it.
    pub extent_bytes_min: usize,
    /// A log segment is ended when the next record would pass this size. A larger record
    /// gets a segment of its own. Where this process may write shorter files only (`ulimit -f`, as
    /// it is at the opening), a segment ends before that size, and a larger record is refused.
    pub segment_bytes: u64,
    /// The log file is extended by this much ahead of the records; 0 switches it off. Where there
    /// is no room for it, the records are written alone.
    pub preallocate_bytes: u64,
    /// What it is extended with: where a file is overwritten in place, a sync that changes neither
    /// its size nor its places is cheaper. By default the file system decides.
    pub preallocation: Preallocation,
    /// The manifest, which names the files of the store, is written whole when a session begins,
    /// and each change behind it as an edit, with one write and one sync. It is written whole again
    /// when the edits have so many bytes, or twice as many as the whole had if that is more; edits
    /// take multiples of 512 bytes. At most 16 MiB.
    pub manifest_edit_bytes: u64,
    /// Pads each group to 512-byte sectors, so that no append ever touches a sector that
    /// holds durable records. Costs space; survives a disk that ruins the sector it writes. A
    /// segment that was not padded before is not appended to.
    pub pad_to_sector: bool,
    /// The most bytes of asynchronous commits that wait in memory before they are handed to
    /// the operating system.
    pub log_buffer_bytes_max: u64,
    /// The most commits of one group.
    pub group_commits_max: usize,
    /// A group is cut when its records reach this size.
    pub group_bytes_max: u64,
    /// The most commits that wait; a submission beyond it works the queue off first.
    pub queue_commits_max: usize,
    /// The most snapshots and iterators alive at once.
    pub snapshots_max: usize,
    /// For writes at [`Level::Batched`] in a database of another mode: the longest wait.
    pub batched_interval_ms: u64,
    /// For writes at [`Level::Batched`] in a database of another mode: the batch size.
    pub batched_size: u64,
    /// For writes at [`Level::Async`] in a database of another mode: the longest wait.
    pub async_interval_ms: u64,
    /// The log counts as idle this long after its last sync, and gets a watermark record; one that
    /// meets a full disk is tried again after a period of maintenance.
    pub idle_watermark_ms: u64,
    /// The period of background maintenance (expiry, freeing of superseded versions).
    pub maintenance_interval_ms: u64,
    /// An opening that finds the wall clock further ahead of the log than this reports it.
    pub clock_jump_report_ms: u64,
    /// Creates the directory and the store if they are missing. Without it, an opening of what is
    /// not there is refused ([`Error::NoStore`]), and changes nothing.
    pub create_if_missing: bool,
    /// Creates a store also in a directory that holds files of other programs. Without it, such a
    /// directory is refused ([`Error::NotAStore`]), and nothing is made in it. An existing store is
    /// opened whatever lies beside it.
    pub create_among_others: bool,
    /// How many threads do what is due; 2 by default. One does everything; of two, one syncs the
    /// log while the other flushes and merges; of three, flushes and merges have a thread each.
    /// More have nothing to do, and are not started. With 0 the caller must call `tick` and
    /// `maintain` when they are due, or `Batched` and `Async` commits are synced only by later
    /// writes.
    ///
    /// What fails in a thread is tried again after a period of maintenance, if that can help; what
    /// poisons is told by every later write, and by `close`.
    pub background_threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            durability: DurabilityMode::Strict,
            limits: Limits::default(),
            retention: RetentionPolicy::default(),
            steps: Steps::default(),
            memory_bytes_max: 256 << 20,
            flush_bytes: 64 << 20,
            flush_log_bytes: 128 << 20,
            levels_per_tier: 4,
            table_bytes_max: 32 << 20,
            block_bytes: 4 << 10,
            cache_bytes_max: u64::MAX,
            open_files_max: 256,
            compression: Compression::None,
            extent_bytes_min: 4 << 10,
            segment_bytes: 32 << 20,
            preallocate_bytes: 1 << 20,
            preallocation: Preallocation::Auto,
            manifest_edit_bytes: 32 << 10,
            pad_to_sector: false,
            log_buffer_bytes_max: 1 << 20,
            group_commits_max: 1024,
            group_bytes_max: 4 << 20,
            queue_commits_max: 4096,
            snapshots_max: 4096,
            batched_interval_ms: 100,
            batched_size: 1024,
            async_interval_ms: 100,
            idle_watermark_ms: 20,
            maintenance_interval_ms: 1000,
            clock_jump_report_ms: 366 * 24 * 3600 * 1000,
            create_if_missing: true,
            create_among_others: false,
            background_threads: 2,
        }
    }
}

/// No smaller share holds a run and some keys.
const MEMTABLES_BYTES_MIN: u64 = 4 << 10;

/// The bytes that one change adds to a batch's size, beside its key and value. A change and what is
/// counted of its run take no more in a record: 39 and 25 bytes.
pub(crate) const CHANGE_OVERHEAD_BYTES: usize = 64;
/// The most bytes that any record may have: lengths on disk are checked against it.
pub(crate) const RECORD_BYTES_MAX: u64 = 1 << 30;
/// The most room for edits that a small manifest has.
pub(crate) const MANIFEST_EDIT_BYTES_MAX: u64 = 16 << 20;
/// No block of a table is ended at a larger size: each of its entries begins below 64 KiB.
pub(crate) const BLOCK_BYTES_MAX: usize = 16 << 10;
/// The smallest segment: a header and one small record.
pub(crate) const SEGMENT_BYTES_MIN: u64 = 512;

impl Options {
    /// Checks the relations between the options.
    ///
    /// Error: [`Error::InvalidArgument`] names the first that does not hold.
    pub fn validate(&self) -> Result<()> {
        let limits = &self.limits;
        let change_bytes = limits
            .key_bytes_max
            .saturating_add(limits.value_bytes_max)
            .saturating_add(CHANGE_OVERHEAD_BYTES);
        let name_bytes = limits.name_bytes_max;
        let run_bytes = limits
            .tags_max
            .saturating_mul(name_bytes.saturating_mul(2).saturating_add(16))
            .saturating_add(name_bytes.saturating_mul(4))
            .saturating_add(512);
        let rules = [
            (limits.key_bytes_max >= 1, "key_bytes_max must be at least 1"),
            (
                change_bytes <= limits.batch_bytes_max,
                "batch_bytes_max must hold 64 bytes, key_bytes_max and value_bytes_max together",
            ),
            (
                (limits.batch_bytes_max as u64) < RECORD_BYTES_MAX / 4,
                "batch_bytes_max must be below 256 MiB",
            ),
            (
                self.shares().memtables >= MEMTABLES_BYTES_MIN,
                "memory_bytes_max must be at least 10923: three eighths of it are for memtables, and a run takes some thousand bytes",
            ),
            (
                limits.batch_bytes_max as u64 <= self.shares().memtables / 2,
                "memory_bytes_max must have a memtables' share, three eighths of it, of at least twice batch_bytes_max",
            ),
            (
                run_bytes <= limits.batch_bytes_max,
                "batch_bytes_max must hold the record of a run with tags_max tags, whose names and values have name_bytes_max bytes each, and four more such names",
            ),
            (self.table_bytes_max >= 1, "table_bytes_max must be at least 1"),
            (self.table_bytes_max <= RECORD_BYTES_MAX, "table_bytes_max must be at most 1 GiB"),
            (self.flush_bytes >= 1, "flush_bytes must be at least 1"),
            (self.flush_log_bytes >= 1, "flush_log_bytes must be at least 1"),
            (self.levels_per_tier >= 2, "levels_per_tier must be at least 2"),
            (self.block_bytes >= 1, "block_bytes must be at least 1"),
            (self.block_bytes <= BLOCK_BYTES_MAX, "block_bytes must be at most 16 KiB"),
            (self.open_files_max >= 1, "open_files_max must be at least 1"),
            (self.extent_bytes_min >= 1, "extent_bytes_min must be at least 1"),
            (self.segment_bytes >= SEGMENT_BYTES_MIN, "segment_bytes must be at least 512"),
            (self.segment_bytes <= RECORD_BYTES_MAX, "segment_bytes must be at most 1 GiB"),
            (
                self.manifest_edit_bytes <= MANIFEST_EDIT_BYTES_MAX,
                "manifest_edit_bytes must be at most 16 MiB",
            ),
            (self.group_commits_max >= 1, "group_commits_max must be at least 1"),
            (self.queue_commits_max >= 1, "queue_commits_max must be at least 1"),
            (self.snapshots_max >= 1, "snapshots_max must be at least 1"),
            (
                self.policy().batch_size >= 1,
                "the batch size of Batched durability (batch_size, batched_size) must be at least 1",
            ),
            (
                self.log_buffer_bytes_max <= RECORD_BYTES_MAX,
                "log_buffer_bytes_max must be at most 1 GiB",
            ),
            (
                self.maintenance_interval_ms >= 1,
                "maintenance_interval_ms must be at least 1: a thread would never rest",
            ),
        ];
        first_broken(rules)?;
        self.steps.validate()
    }

    /// How the memory is shared.
    #[must_use]
    pub fn shares(&self) -> Shares {
        Shares::new(self.memory_bytes_max, self.flush_bytes, self.cache_bytes_max)
    }

    /// The intervals and sizes that hold for this database.
    pub(crate) fn policy(&self) -> SyncPolicy {
        let mut policy = SyncPolicy {
            batch_size: self.batched_size,
            batched_interval: Duration::from_millis(self.batched_interval_ms),
            async_interval: Duration::from_millis(self.async_interval_ms),
        };
        match self.durability {
            DurabilityMode::Strict => {}
            DurabilityMode::Batched { interval_ms, batch_size } => {
                policy.batch_size = batch_size;
                policy.batched_interval = Duration::from_millis(interval_ms);
            }
            DurabilityMode::Async { interval_ms } => {
                policy.async_interval = Duration::from_millis(interval_ms);
            }
        }
        policy
    }
}

/// Error: what the first rule that does not hold says.
fn first_broken(rules: impl IntoIterator<Item = (bool, &'static str)>) -> Result<()> {
    match rules.into_iter().find(|(holds, _)| !holds) {
        Some((_, what)) => Err(Error::invalid(what)),
        None => Ok(()),
    }
}

/// When unsynced commits must be synced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SyncPolicy {
    pub(crate) batch_size: u64,
    pub(crate) batched_interval: Duration,
    pub(crate) async_interval: Duration,
}

impl SyncPolicy {
    /// The most commits that count towards a batch and are not synced.
    pub(crate) fn unsynced_max(&self) -> u64 {
        self.batch_size.saturating_mul(2)
    }
}

#[cfg(test)]
mod tests;
