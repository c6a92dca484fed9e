//! How a run ends: the breach of the contract, and what the last stop of the store guarantees.

/// A breach of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The clause of the contract, or what else was broken.
    pub clause: &'static str,
    /// The operation at which it showed.
    pub op: usize,
    /// The first difference.
    pub message: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at operation {}: {}", self.clause, self.op, self.message)
    }
}

/// Why a run ends before its last operation.
pub(super) enum Stop {
    /// The store refused to open, in a world where that is right.
    Refused,
    /// Nobody waits for the outcome any more.
    Late,
    /// The contract was broken.
    Failed(Failure),
}

pub(super) type Checked<T = ()> = Result<T, Stop>;

/// What the last stop of the store guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// `close` returned Ok.
    Clean,
    /// The process ended, one way or another; no power cut.
    Process,
    /// The power was cut.
    Power,
}
