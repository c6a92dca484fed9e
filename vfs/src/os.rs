//! Placeholder.
/// The real file system.
#[derive(Debug)]
pub struct OsVfs;
