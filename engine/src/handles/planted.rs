//! Planted bugs of the open files of tables; compiled with the feature `planted` only.

use super::{File, Room, TableFile};
use crate::sync::Arc;

impl TableFile {
    /// Keeps a file, and takes for it the one that was opened before.
    pub(super) fn put_amiss(&self, room: Room<'_>, file: File) -> File {
        let last = self.handles.ring.lock().open.back().map(Arc::clone);
        let last = last.and_then(|slot| slot.file.read().clone());
        self.put(room, last.unwrap_or(file))
    }
}
