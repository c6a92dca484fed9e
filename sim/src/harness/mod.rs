//! The harness: from a seed to a verdict.
//!
//! ```text
//! seed -> generate -> Case (options, disk, faults, operations) -> run -> Outcome
//!                                                      engine on SimVfs | model + oracle
//! ```
//! - [`case`]: everything that a run depends on, as data, so that it can be shrunk and saved.
//! - [`steps`]: how much of it the engine does at once.
//! - [`generate`]: the swarm: which features, sizes, faults and crashes a seed has; `workload`:
//!   the operations. [`values`]: what their numbers stand for.
//! - [`model`]: the reference model of runs and keys: a history of commits.
//! - [`oracle`]: what the crash contract permits, clause by clause.
//! - [`runner`]: runs a case, operation by operation: `perform` (what an operation does),
//!   `views` (what readers see), `judge` (what a commit may come to), `promises` (what holds
//!   from then on), `peek` (what a power cut would leave now), `stopping` (closing, crashing,
//!   opening), `verify` (what an opening may show), `finish` (what holds at the end), `foreign`
//!   (what must be left alone), `ahead` (what the log is extended with).
//! - `memory`: what is in memory is counted, and within its shares; `space`: what the files take.
//! - `blame`: which failure an error is blamed on.
//! - [`around`]: what others do to the store's directory, on a copy of the disk.
//! - `watch` (every image that the disk leaves is a legal one, in a share of the seeds) and
//!   `failed_syncs` (which cells of the failed-sync matrix were reached).
//! - [`recorded`]: a run with the images of the disk at every moment, for a page.
//! - [`ledger`] and [`marks`]: where faults and crashes struck, which branches were taken.
//! - `guard`: a run that would not end, or that panics, is a failure as any other.
//! - [`shrink`]: the fewest operations and faults that still fail.
//! - [`weak`]: weaker harnesses, to see what each idea of this one buys.

mod ahead;
pub mod around;
mod blame;
pub mod case;
mod decay;
mod failed_syncs;
mod figures;
mod finish;
mod foreign;
mod foreign_left;
mod found;
mod full_disk;
pub mod generate;
mod guard;
mod judge;
pub mod ledger;
mod listings;
mod manifest;
pub mod marks;
mod memory;
pub mod model;
mod open_scan;
mod options;
pub mod oracle;
mod peek;
mod perform;
mod promises;
pub mod recorded;
mod retention;
pub mod runner;
pub mod shrink;
mod space;
pub mod steps;
mod stopping;
pub mod values;
pub mod verdict;
mod verify;
mod views;
mod watch;
pub mod weak;
mod workload;
pub(crate) mod world;
pub(crate) mod written;

pub use case::{Case, Op, World};
pub use runner::{Outcome, run, run_seed};
pub use verdict::Failure;
