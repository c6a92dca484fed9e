//! Whose the memory of a handle is.

/// Whose the memory is.
pub(crate) trait Home: Send + Sync + std::fmt::Debug {
    /// Whether it is a copy, in a child of the process that made it: there any lock in it may be
    /// held by a thread that the child does not have.
    fn is_inherited(&self) -> bool;
}
