//! Runstone: an embedded, run-scoped key-value storage engine.
//!
//! All data belongs to a *run* (an agent's execution, a job, a session): a run begins, writes,
//! ends, and can be read for ever after. All I/O goes through [`vfs::Vfs`], so that the engine
//! is tested by seeded crash simulation (crate `runstone-sim`).
//!
//! ```
//! use runstone::{Database, RunId, Value};
//! let dir = tempfile::tempdir()?;
//! let db = Database::open(dir.path())?;
//! let run = RunId::new();
//! db.begin_run(run, [("task", "demo")])?;
//! db.put(run, "answer", 42)?;
//! assert_eq!(db.get(run, "answer")?, Some(Value::Int(42)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it is not
//! No network, no SQL, no transactions over several calls (a [`WriteBatch`] is atomic), no
//! async runtime, no C code. At this stage all data must fit the memtable's budget; the log
//! keeps everything and is read at opening.
//!
//! # Map
//! [`Database`] is the door; [`KVStore`] a facade in bytes; [`Options`] every limit;
//! [`Error`] what to do when a call fails. `docs/architecture.md` tells how it works inside,
//! `docs/durability.md` what survives which crash.
#![forbid(unsafe_code)]

/// Whether a planted bug (one of these) is active; a constant `false` in every build but
/// calibrations. `planted!(Bug => what)` does what it does instead, and is nothing there.
#[cfg(feature = "planted")]
macro_rules! planted {
    ($($bug:ident)|+ => $does:expr) => {
        if planted!($($bug)|+) {
            $does;
        }
    };
    ($($bug:ident)|+) => {
        $(crate::planted::is_planted(crate::planted::Bug::$bug))||+
    };
}
#[cfg(not(feature = "planted"))]
macro_rules! planted {
    ($($bug:ident)|+ => $does:expr) => {};
    ($($bug:ident)|+) => {
        false
    };
}

/// Counts that a branch was taken, in simulations; nothing in every other build.
#[cfg(feature = "marks")]
macro_rules! sometimes {
    ($name:literal) => {{
        const INDEX: usize = crate::marks::index($name);
        crate::marks::hit(INDEX)
    }};
    ($name:literal, $condition:expr) => {
        if $condition {
            sometimes!($name)
        }
    };
}
#[cfg(not(feature = "marks"))]
macro_rules! sometimes {
    ($($mark:tt)*) => {
        ()
    };
}

/// Says what the engine is about from here to the end of the block, in simulations.
#[cfg(feature = "marks")]
macro_rules! phase {
    ($phase:ident) => {
        let _phase = crate::marks::enter(crate::marks::Phase::$phase);
    };
}
#[cfg(not(feature = "marks"))]
macro_rules! phase {
    ($phase:ident) => {};
}

mod batch;
mod cache;
mod clock;
mod codec;
mod commit;
mod compaction;
mod database;
mod durability;
mod effect;
mod error;
mod failure;
mod flush;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handles;
mod home;
mod kv;
mod levels;
mod lock_file;
mod log;
mod manifest;
#[cfg(feature = "marks")]
pub mod marks;
mod memory;
mod names;
mod options;
mod place;
#[cfg(feature = "planted")]
pub mod planted;
mod preallocation;
mod recovery;
mod removals;
mod retention;
mod runs;
mod seal;
mod series;
mod shell;
mod store;
mod sync;
mod table;
mod types;
mod verify;

pub use batch::{NO_TAGS, RunOptions, WriteBatch};
pub use clock::{Clock, Entropy};
pub use commit::queue::Committed;
pub use database::{
    Builder, Database, EntryRef, MaintainReport, RecoveryReport, RunIter, Scan, Snapshot, Ticket,
    ValueRef,
};
pub use error::{Error, Result};
pub use kv::{KVBatch, KVScan, KVStore};
pub use memory::{Memory, Shares};
pub use options::{
    Compression, DurabilityMode, Level, Limits, Options, RetentionPolicy, Steps, WriteOptions,
};
pub use preallocation::Preallocation;
pub use runs::{RunCursor, RunFilter, RunTracker};
pub use runstone_vfs as vfs;
pub use store::UnifiedStore;
pub use types::{
    EventEntry, Key, Namespace, ParseRunIdError, Retention, RunId, RunMetadataEntry, RunStatistics,
    RunStatus, StateMachineEntry, Timestamp, TraceEntry, TypeTag, Value, ValueKind, VersionedValue,
};
