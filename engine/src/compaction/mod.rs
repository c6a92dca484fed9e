//! Compaction: levels become fewer, and what nobody can see goes.
//!
//! - [`choice`]: which levels are merged, a pure function of the levels.
//! - [`unit`]: which part of them is next: tables that move as they are, or a stretch of keys.
//! - [`merge`]: such a stretch becomes tables, in bounded steps; [`sieve`] says what is left out.
//! - [`edit`]: the levels as they are then.
//!
//! Invariants: a merge reads what never changes, and writes what nothing names; its outcome counts
//! when the manifest names it, all at once. So a crash, a failure or an end in the middle loses a
//! stretch of work of two tables, and nothing else.

pub(crate) mod choice;
pub(crate) mod edit;
pub(crate) mod merge;
pub(crate) mod removed;
mod sieve;
#[cfg(test)]
mod tests;
pub(crate) mod unit;
