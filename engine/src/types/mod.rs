//! The data model: runs, namespaces, keys, values. Pure data, no I/O.
//!
//! Invariant: every enum that reaches the disk has a hand-assigned tag byte, given here and
//! never derived, so that formats can evolve.

mod key;
mod physical_key;
mod run;
mod time;
mod value;

pub use key::{Key, Namespace, ParseRunIdError, RunId, TypeTag};
pub(crate) use physical_key::PhysicalKey;
pub use run::{Retention, RunMetadataEntry, RunStatistics, RunStatus};
pub use time::Timestamp;
pub use value::{EventEntry, StateMachineEntry, TraceEntry, Value, ValueKind, VersionedValue};
