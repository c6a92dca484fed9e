//! What one power cut takes: the model that chooses, and what it speaks of.

use std::collections::BTreeSet;

use super::config::{CrashModel, NameModel};

/// What the caller asked for instead of a draw.
#[derive(Clone, Debug)]
pub(super) enum Forced {
    /// A model, and the place of the operation that it speaks of.
    Model(CrashModel, Option<u64>),
    /// The places of the operations that are lost; all others are kept.
    Losing(BTreeSet<u64>),
}

/// What holds for all files of one power cut.
pub(super) struct Plan {
    pub(super) model: CrashModel,
    pub(super) names: NameModel,
    /// The operation that `AloneLost` and `AloneKept` speak of, or at which a prefix ends.
    pub(super) pivot: u64,
    /// How much of the pivot a torn write keeps, in parts of 65,536.
    pub(super) part: u64,
    /// What `AloneLost` loses instead of the pivot.
    pub(super) lost: Option<BTreeSet<u64>>,
}

impl Plan {
    /// Whether `AloneLost` loses the operation.
    pub(super) fn loses(&self, seq: u64) -> bool {
        self.lost.as_ref().map_or(seq == self.pivot, |lost| lost.contains(&seq))
    }
}
