//! Known bugs, planted by choice, to measure what the simulator sees.
//!
//! Compiled only with the feature `planted`, which production builds do not have.

/// A planted bug, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted(u8);

impl Planted {
    /// The bug of this number; 0 is none.
    #[must_use]
    pub const fn from_number(number: u8) -> Self {
        Planted(number)
    }
}
