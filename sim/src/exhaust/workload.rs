//! The workloads: every sequence of a few operations over a small alphabet.
//!
//! The engine is deterministic, so the crash points inside the first operations of a sequence
//! are those of a shorter sequence. Each sequence is therefore explored in its last operation
//! only, and all sequences up to a length together cover every crash point of the longest.

use std::fmt;

use crate::harness::case::{CaseOptions, ChangeSpec, LevelSpec, LimitSpec, ValueSpec};
use crate::harness::steps::StepSpec;

/// The bytes of a value whose record is at most one sector.
const SMALL: u32 = 32;
/// The bytes of a value whose record is longer than one sector, and at most two.
const WIDE: u32 = 480;

/// One operation of the alphabet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Letter {
    /// A put at the level of the database, of at most one sector.
    Put,
    /// The same, of two sectors.
    PutWide,
    /// A put that is durable when it returns.
    DurablePut,
    /// The same, of two sectors.
    DurablePutWide,
    /// A delete of a key that exists.
    Delete,
    /// A batch of two puts and a delete.
    Batch,
    /// Begins a run.
    Begin,
    /// Ends a run.
    End,
    /// Makes everything durable.
    Flush,
    /// A put with a time to live, and the clock beyond it.
    Expire,
    /// Closes and opens again.
    Reopen,
    /// A step of maintenance: where memtables are flushed, it flushes one.
    Maintain,
}

impl Letter {
    /// The alphabet, but for what only some settings ask for.
    pub const ALL: [Letter; 11] = [
        Letter::Put,
        Letter::PutWide,
        Letter::DurablePut,
        Letter::DurablePutWide,
        Letter::Delete,
        Letter::Batch,
        Letter::Begin,
        Letter::End,
        Letter::Flush,
        Letter::Expire,
        Letter::Reopen,
    ];

    /// What it does, as the `nth` operation (from 0) of a workload.
    pub(super) fn steps(self, nth: u8) -> Vec<Step> {
        let salt = 100 + u32::from(nth);
        let put = |key, size| ChangeSpec::Put {
            run: 1,
            key,
            value: ValueSpec { kind: 8, size, salt },
            ttl_ms: None,
        };
        let write = |change, level| vec![Step::Commit { changes: vec![change], level }];
        match self {
            Letter::Put => write(put(0, SMALL), LevelSpec::Default),
            Letter::PutWide => write(put(1, WIDE), LevelSpec::Default),
            Letter::DurablePut => write(put(0, SMALL), LevelSpec::Strict),
            Letter::DurablePutWide => write(put(1, WIDE), LevelSpec::Strict),
            Letter::Delete => write(ChangeSpec::Delete { run: 1, key: 0 }, LevelSpec::Default),
            Letter::Batch => vec![Step::Commit {
                changes: vec![put(2, SMALL), put(0, SMALL), ChangeSpec::Delete { run: 1, key: 1 }],
                level: LevelSpec::Default,
            }],
            Letter::Begin => {
                let begin = ChangeSpec::Begin { run: 3 + nth, parent: Some(1), tags: 1 };
                write(begin, LevelSpec::Default)
            }
            Letter::End => write(ChangeSpec::End { run: 2, status: 0 }, LevelSpec::Default),
            Letter::Flush => vec![Step::Flush],
            Letter::Expire => {
                let put = ChangeSpec::Put {
                    run: 1,
                    key: 4,
                    value: ValueSpec { kind: 8, size: SMALL, salt },
                    ttl_ms: Some(1000),
                };
                let commit = Step::Commit { changes: vec![put], level: LevelSpec::Default };
                vec![commit, Step::Clock { passes_ms: 1500 }]
            }
            Letter::Reopen => vec![Step::Close, Step::Open],
            Letter::Maintain => vec![Step::Maintain],
        }
    }
}

/// A part of an operation; what is promised changes between parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Open,
    Close,
    Flush,
    Maintain,
    Commit { changes: Vec<ChangeSpec>, level: LevelSpec },
    Clock { passes_ms: u64 },
}

/// How the store stands before the first operation: made anew, with two runs and a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Start {
    /// It is not there: the only operation is its creation.
    Nothing,
    /// In the session that made it.
    Created,
    /// Closed, and opened again.
    Reopened,
}

/// The options of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// Writes are handed to the operating system at once, and synced later.
    Batched,
    /// Writes wait in memory.
    Async,
    /// Writes are durable when they return.
    Strict,
    /// As `Batched`, padded to sectors.
    Padded,
    /// As `Batched`, with segments so small that most commits begin a new one.
    Rotating,
    /// As `Batched`, with the log preallocated two sectors at a time.
    Preallocated,
    /// As `Batched`, and each step of maintenance flushes the memtable to tables, of one key each.
    Flushing,
}

impl Setting {
    /// All settings.
    pub const ALL: [Setting; 7] = [
        Setting::Batched,
        Setting::Async,
        Setting::Strict,
        Setting::Padded,
        Setting::Rotating,
        Setting::Preallocated,
        Setting::Flushing,
    ];

    /// The alphabet of its workloads.
    fn letters(self) -> Vec<Letter> {
        let more = if self == Setting::Flushing { &[Letter::Maintain][..] } else { &[] };
        [&Letter::ALL[..], more].concat()
    }

    /// The name, as the command line takes it.
    pub fn name(self) -> &'static str {
        match self {
            Setting::Batched => "batched",
            Setting::Async => "async",
            Setting::Strict => "strict",
            Setting::Padded => "padded",
            Setting::Rotating => "rotating",
            Setting::Preallocated => "preallocated",
            Setting::Flushing => "flushing",
        }
    }

    pub(super) fn options(self) -> CaseOptions {
        CaseOptions {
            mode: match self {
                Setting::Async => 2,
                Setting::Strict => 0,
                _ => 1,
            },
            batch_size: 64,
            interval_ms: 60_000,
            other_batch_size: 1024,
            other_intervals_ms: (60_000, 60_000),
            segment_bytes: if self == Setting::Rotating { 512 } else { 64 << 10 },
            preallocate_bytes: if self == Setting::Preallocated { 1024 } else { 0 },
            zero_fill: false,
            by_file_system: false,
            pad_to_sector: self == Setting::Padded,
            memtable_bytes_max: CaseOptions::AMPLE_MEMTABLE,
            flush_bytes: if self == Setting::Flushing { 1 } else { u64::MAX },
            retention: (u64::MAX, u64::MAX),
            flush_log_bytes: u64::MAX,
            block_bytes: (4096, 4096),
            levels_per_tier: 2,
            block_cache: 0,
            open_files_max: 256,
            compresses: false,
            // A run has some keys of its own: a flush makes two tables, not one for each of them.
            table_bytes_max: if self == Setting::Flushing { 1500 } else { 1 << 20 },
            log_buffer_bytes_max: 1 << 20,
            group_commits_max: 16,
            queue_commits_max: 16,
            diligent: false,
            // A manifest of a sector has room for two edits: some are followed by a replacement.
            manifest_edits: 0,
            steps: StepSpec::default(),
            limits: LimitSpec::default(),
            snapshots_max: 4096,
        }
    }
}

/// One workload: how it starts, and its operations, the last of which is explored.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workload {
    /// The engine's options.
    pub setting: Setting,
    /// The store before the first operation.
    pub start: Start,
    /// The operations.
    pub letters: Vec<Letter>,
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} {:?}", self.setting.name(), self.start, self.letters)
    }
}

/// Every workload of up to so many operations in one setting, the shortest first; the
/// creation of the store is the first.
pub fn workloads(setting: Setting, ops_max: usize) -> Vec<Workload> {
    let mut all = vec![Workload { setting, start: Start::Nothing, letters: vec![] }];
    let mut longest: Vec<Vec<Letter>> = vec![vec![]];
    for _ in 0..ops_max {
        let longer = |letters: &Vec<Letter>| {
            let letters = letters.clone();
            setting
                .letters()
                .into_iter()
                .map(move |letter| [letters.as_slice(), &[letter]].concat())
        };
        longest = longest.iter().flat_map(longer).collect();
        for start in [Start::Created, Start::Reopened] {
            let with =
                |letters: &Vec<Letter>| Workload { setting, start, letters: letters.clone() };
            all.extend(longest.iter().map(with));
        }
    }
    all
}
