//! The harness: from a seed to a verdict.
//!
//! ```text
//! seed -> generate -> Case (options, disk, faults, operations) -> run -> Outcome
//!                                                      engine on SimVfs | model + oracle
//! ```
//! - [`case`]: everything that a run depends on, as data, so that it can be shrunk and saved.
//! - [`generate`]: the swarm: which features, sizes, faults and crashes a seed has.
//! - [`model`]: the reference model of runs and keys: a history of commits.
//! - [`oracle`]: what the crash contract permits, clause by clause.
//! - [`runner`]: runs a case, operation by operation.
//! - [`shrink`]: the fewest operations and faults that still fail.

pub mod case;
pub mod generate;
pub mod model;
pub mod oracle;
pub mod runner;
pub mod shrink;
mod world;

pub use case::{Case, Op, World};
pub use runner::{Failure, Outcome, run, run_seed};
