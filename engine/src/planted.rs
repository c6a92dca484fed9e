//! Known bugs, planted by choice, to measure what the simulator sees.
//!
//! Compiled only with the feature `planted`, which production builds do not have.

/// A set of planted bugs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted(u64);
