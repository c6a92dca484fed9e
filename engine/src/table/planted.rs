//! Planted bugs of tables; compiled with the feature `planted` only.

use super::properties::Part;
use super::reader::{Table, read};
use crate::error::Result;

impl Table {
    /// A part as it stands, whatever its checksum says.
    pub(super) fn unchecked(&self, Part { offset, length }: Part) -> Result<Vec<u8>> {
        read(&*self.file()?, &self.path, offset, length as usize)
    }
}
