//! The engine's options, as a case chooses them.
//!
//! Invariant: options that were saved before one of them was a choice mean what they meant then.

use runstone::vfs::FileSystem;
use runstone::{
    Compression, DurabilityMode, Level, Limits, Options, Preallocation, RetentionPolicy,
};
use serde::{Deserialize, Serialize};

use super::steps::StepSpec;
use super::values::{BATCH_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};

/// The sizes that are admitted, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitSpec {
    /// The longest key.
    pub key_bytes: usize,
    /// The longest value.
    pub value_bytes: usize,
    /// The largest batch.
    pub batch_bytes: usize,
}

impl Default for LimitSpec {
    fn default() -> Self {
        LimitSpec {
            key_bytes: KEY_BYTES_MAX,
            value_bytes: VALUE_BYTES_MAX,
            batch_bytes: BATCH_BYTES_MAX,
        }
    }
}

fn blocks() -> (usize, usize) {
    (Options::default().block_bytes, Options::default().extent_bytes_min)
}

fn cache() -> u64 {
    64 << 20
}

fn files() -> usize {
    Options::default().open_files_max
}

/// The number of which memtables have so many bytes.
fn number_for(memtables: u64) -> u64 {
    (memtables * 8).div_ceil(3)
}

fn manifest_edits() -> u64 {
    Options::default().manifest_edit_bytes
}

fn levels_per_tier() -> usize {
    Options::default().levels_per_tier
}

fn snapshots() -> usize {
    4096
}

/// The engine's options that a case chooses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CaseOptions {
    /// 0 strict, 1 batched, 2 asynchronous.
    pub mode: u8,
    /// For batched: the batch size.
    pub batch_size: u64,
    /// For batched and asynchronous, in milliseconds.
    pub interval_ms: u64,
    /// For batched commits in another mode: the batch size.
    #[serde(default = "other_batch")]
    pub other_batch_size: u64,
    /// For levels that are not the mode's, in milliseconds: batched, then asynchronous.
    #[serde(default = "other_intervals")]
    pub other_intervals_ms: (u64, u64),
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Bytes of preallocation.
    pub preallocate_bytes: u64,
    /// Whether preallocation writes zeros.
    pub zero_fill: bool,
    /// Whether the file system decides that, and whether there is any.
    #[serde(default)]
    pub by_file_system: bool,
    /// Whether groups are padded to sectors.
    pub pad_to_sector: bool,
    /// The memtables' share of the memory, three eighths of that; a small one refuses puts.
    pub memtable_bytes_max: u64,
    /// A memtable of so many bytes is flushed.
    #[serde(default = "never")]
    pub flush_bytes: u64,
    /// How long ended runs are kept, in milliseconds, and how many.
    #[serde(default = "for_ever")]
    pub retention: (u64, u64),
    /// See [`Options::flush_log_bytes`].
    #[serde(default = "never")]
    pub flush_log_bytes: u64,
    /// The most bytes of a table.
    #[serde(default = "long")]
    pub table_bytes_max: u64,
    /// Bytes of a block of a table, and of a value that stands on its own.
    #[serde(default = "blocks")]
    pub block_bytes: (usize, usize),
    /// So many levels of tables become one.
    #[serde(default = "levels_per_tier")]
    pub levels_per_tier: usize,
    /// The most bytes of filters, indexes and blocks in memory.
    #[serde(default = "cache")]
    pub block_cache: u64,
    /// Bytes of edits that a small manifest may gather.
    #[serde(default = "manifest_edits")]
    pub manifest_edits: u64,
    /// The most files of tables that are open.
    #[serde(default = "files")]
    pub open_files_max: usize,
    /// Whether blocks of tables are compressed.
    #[serde(default)]
    pub compresses: bool,
    /// Bytes of asynchronous commits in memory.
    pub log_buffer_bytes_max: u64,
    /// Commits of a group.
    pub group_commits_max: usize,
    /// Commits in the queue.
    pub queue_commits_max: usize,
    /// Whether due steps are made after every operation.
    pub diligent: bool,
    /// How much the engine does at once.
    #[serde(default)]
    pub steps: StepSpec,
    /// What is admitted.
    #[serde(default)]
    pub limits: LimitSpec,
    /// The most snapshots and scans at once; at least [`CaseOptions::OWN_PINS`] more than one.
    #[serde(default = "snapshots")]
    pub snapshots_max: usize,
}

impl CaseOptions {
    /// The smallest memtable that never refuses in a simulation.
    pub const AMPLE_MEMTABLE: u64 = 64 << 20;

    /// How many scans a comparison may have open at once.
    pub const OWN_PINS: usize = 3;

    /// Whether the memtable may refuse a put.
    pub fn may_be_full(&self) -> bool {
        self.memtable_bytes_max < Self::AMPLE_MEMTABLE
    }

    /// Whether memtables are flushed to tables.
    pub fn flushes(&self) -> bool {
        self.flush_bytes < u64::MAX
    }

    /// The durability mode.
    pub fn durability(&self) -> DurabilityMode {
        match self.mode {
            0 => DurabilityMode::Strict,
            1 => DurabilityMode::Batched {
                interval_ms: self.interval_ms,
                batch_size: self.batch_size,
            },
            _ => DurabilityMode::Async { interval_ms: self.interval_ms },
        }
    }

    /// After how many milliseconds a commit of this level must be durable, if due steps are
    /// made.
    pub fn interval_ms(&self, level: Level) -> u64 {
        match (level, self.mode) {
            (Level::Strict, _) => 0,
            (Level::Batched, 1) | (Level::Async, 2) => self.interval_ms,
            (Level::Batched, _) => self.other_intervals_ms.0,
            (Level::Async, _) => self.other_intervals_ms.1,
        }
    }

    /// How many batched commits make a batch.
    pub fn policy_batch_size(&self) -> u64 {
        if self.mode == 1 { self.batch_size } else { self.other_batch_size }
    }

    /// What the log must be extended with on a file system, by the documented table.
    pub fn ahead_on(&self, file_system: FileSystem) -> Preallocation {
        use FileSystem::{Ext, Overlay, Xfs};
        match (self.preallocate_bytes, self.by_file_system) {
            (0, _) => Preallocation::Off,
            (_, true) if matches!(file_system, Ext | Xfs | Overlay) => Preallocation::Zeros,
            (_, true) => Preallocation::Off,
            (_, false) => self.engine().preallocation,
        }
    }

    /// All options, for the engine.
    pub fn engine(&self) -> Options {
        Options {
            durability: self.durability(),
            limits: Limits {
                key_bytes_max: self.limits.key_bytes,
                value_bytes_max: self.limits.value_bytes,
                batch_bytes_max: self.limits.batch_bytes,
                tags_max: 3,
                name_bytes_max: 24,
            },
            snapshots_max: self.snapshots_max,
            batched_size: self.other_batch_size,
            batched_interval_ms: self.other_intervals_ms.0,
            async_interval_ms: self.other_intervals_ms.1,
            segment_bytes: self.segment_bytes,
            preallocate_bytes: self.preallocate_bytes,
            preallocation: match (self.by_file_system, self.zero_fill) {
                (true, _) => Preallocation::Auto,
                (false, true) => Preallocation::Zeros,
                (false, false) => Preallocation::Reserved,
            },
            pad_to_sector: self.pad_to_sector,
            memory_bytes_max: number_for(self.memtable_bytes_max),
            flush_bytes: self.flush_bytes,
            flush_log_bytes: self.flush_log_bytes,
            retention: RetentionPolicy {
                ended_ms_max: self.retention.0,
                ended_runs_max: self.retention.1,
            },
            table_bytes_max: self.table_bytes_max,
            block_bytes: self.block_bytes.0,
            extent_bytes_min: self.block_bytes.1,
            levels_per_tier: self.levels_per_tier,
            manifest_edit_bytes: self.manifest_edits,
            cache_bytes_max: self.block_cache,
            open_files_max: self.open_files_max,
            compression: if self.compresses { Compression::Lz4 } else { Compression::None },
            log_buffer_bytes_max: self.log_buffer_bytes_max,
            group_commits_max: self.group_commits_max,
            queue_commits_max: self.queue_commits_max,
            steps: self.steps.steps(),
            // A crash may leave strays in a directory in which no store is as yet.
            create_among_others: true,
            background_threads: 0,
            ..Options::default()
        }
    }
}

fn long() -> u64 {
    1 << 20
}

fn for_ever() -> (u64, u64) {
    (u64::MAX, u64::MAX)
}

fn never() -> u64 {
    u64::MAX
}

fn other_batch() -> u64 {
    1024
}

fn other_intervals() -> (u64, u64) {
    (100, 100)
}
