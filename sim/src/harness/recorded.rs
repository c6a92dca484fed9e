//! A run with everything that a page shows of it: the trace, and the images at every moment.
//!
//! Invariant: the verdict and the digest are those of [`run`](super::run).

use super::case::Case;
use super::runner::{Outcome, Runner};
use crate::disk::Moment;

/// A run, recorded.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// What it came to, with its trace.
    pub outcome: Outcome,
    /// What changed on the disk, moment by moment.
    pub moments: Vec<Moment>,
}

/// Runs a case and records it.
///
/// ```
/// use runstone_sim::harness::{generate::generate, recorded::run_recorded, run};
///
/// let case = generate(10);
/// let recorded = run_recorded(&case);
/// assert_eq!(recorded.outcome.digest, run(&case, false).digest);
/// assert!(recorded.moments.len() > 100);
/// ```
pub fn run_recorded(case: &Case) -> Recorded {
    let runner = Runner::new(case, true);
    let disk = runner.disk.clone();
    disk.record_moments();
    let outcome = runner.finish_run();
    Recorded { outcome, moments: disk.take_moments() }
}
