//! The numbers that the options take, and their bounds: what is beyond would be an overflow, an
//! answer that nobody waits for, or a success that has looked at nothing.

use std::ops::RangeInclusive;

use clap::builder::RangedU64ValueParser;

/// A year.
const SECONDS_MAX: u64 = 365 * 24 * 60 * 60;
/// More than any machine has cores.
const THREADS_MAX: u64 = 4096;

fn within<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> RangedU64ValueParser<T> {
    RangedU64ValueParser::new().range(range)
}

/// How long something may take; not 0, which is no time at all.
pub(super) fn seconds() -> RangedU64ValueParser<u64> {
    within(1..=SECONDS_MAX)
}

/// How many threads; not 0, which do nothing.
pub(super) fn threads() -> RangedU64ValueParser<usize> {
    within(1..=THREADS_MAX)
}

/// How many runs of a case, at least the one that shows the failure.
pub(super) fn runs() -> RangedU64ValueParser<u32> {
    within(1..=u64::from(u32::MAX))
}

/// A bound that may be as large as is liked, but not 0.
pub(super) fn at_least_one() -> RangedU64ValueParser<usize> {
    within(1..=u64::MAX)
}

/// Operations of an exhaustive exploration. There are 11 letters: six would be millions of
/// workloads in each setting.
pub(super) fn exhaust_ops() -> RangedU64ValueParser<usize> {
    within(0..=5)
}

/// Crashes after one another.
pub(super) fn exhaust_depth() -> RangedU64ValueParser<usize> {
    within(1..=16)
}

/// Searches for one bug: more would look at the seeds of the next bug.
#[cfg(feature = "planted")]
pub(super) fn searches(least: u64) -> RangedU64ValueParser<u64> {
    within(least..=2500)
}
