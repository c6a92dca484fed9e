//! What the engine is about, and for the how manieth time.

/// What the engine is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing of the engine runs.
    #[default]
    Outside,
    /// An opening: the directory, the lock, the manifest, and files that nothing names.
    Opening,
    /// The log is read.
    Replay,
    /// What an unclean stop left is made durable.
    Repair,
    /// A new store is made.
    Creation,
    /// An opening for reading only.
    Reading,
    /// An opening's epoch is made durable, before its first commit.
    Session,
    /// A group of commits, or a lone one.
    Commit,
    /// A segment is ended, and another begun.
    Rotation,
    /// An explicit flush.
    Flush,
    /// What is due: syncs and watermark records.
    Tick,
    /// A step of maintenance.
    Maintenance,
    /// A close.
    Close,
    /// Keys are read from tables.
    Lookup,
    /// Tables are merged.
    Merge,
}

impl Phase {
    /// All phases, in their order.
    pub const ALL: [Phase; 14] = [
        Phase::Outside,
        Phase::Opening,
        Phase::Replay,
        Phase::Repair,
        Phase::Creation,
        Phase::Reading,
        Phase::Session,
        Phase::Commit,
        Phase::Rotation,
        Phase::Flush,
        Phase::Tick,
        Phase::Maintenance,
        Phase::Close,
        Phase::Lookup,
    ];
}

/// What the engine is about in the current thread, and for the how manieth time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// How many outermost phases have begun: two calls of one number belong to one operation.
    pub operation: u64,
    /// The innermost phase.
    pub phase: Phase,
}
