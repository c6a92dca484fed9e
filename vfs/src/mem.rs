//! Placeholder.
/// Files in memory.
#[derive(Debug)]
pub struct MemVfs;
