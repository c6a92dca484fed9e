//! Planted bugs of the log; compiled with the feature `planted` only.

use std::io;

use runstone_vfs::is_disk_full;

use super::writer::{LogWriter, SECTOR_BYTES};
use crate::error::Error;
use crate::failure::WriteFailure;
use crate::names::OwnName;
use crate::place::Place;
use crate::seal::Seal;

impl LogWriter {
    /// A failed write is taken for one that succeeded.
    pub(super) fn swallow(&mut self, outcome: io::Result<()>) -> Result<(), WriteFailure> {
        self.conclude(outcome.or_else(|e| if is_disk_full(&e) { Err(e) } else { Ok(()) }), 0)
    }

    /// After a full disk the log goes on behind what was written in part.
    pub(super) fn go_on_behind(&mut self, outcome: io::Result<()>) -> Result<(), WriteFailure> {
        match outcome {
            Err(e) if is_disk_full(&e) => {
                let length = self.file.len().unwrap_or(self.written.at);
                self.written.at = self.written.at.max(length.next_multiple_of(8));
                self.allocated = self.allocated.max(self.written.at);
                self.end.at = self.written.at + self.buffered();
                Err(WriteFailure::Refused(Error::io_or_full("writing", &*self.path, e)))
            }
            outcome => self.conclude(outcome, 0),
        }
    }

    /// A failed write is reported as one that may be tried again.
    pub(super) fn forget(&mut self, outcome: io::Result<()>) -> Result<(), WriteFailure> {
        match outcome {
            Err(e) if !is_disk_full(&e) => {
                Err(WriteFailure::Refused(Error::DiskFull { what: e.to_string() }))
            }
            outcome => self.conclude(outcome, 0),
        }
    }
}

/// A file that could not be made ends all writing.
pub(super) fn poisons<T>(
    place: &Place,
    name: OwnName,
    error: io::Error,
) -> Result<T, WriteFailure> {
    Err(WriteFailure::Failed(Error::io("creating", place.path(name), error)))
}

impl Seal {
    /// Whether a record was written at the same place of another sector.
    pub(super) fn moved(self, bytes: &[u8], offset: u64) -> bool {
        let covered = bytes.get(4..).unwrap_or_default();
        let stored = bytes.first_chunk().map_or(0, |first| u32::from_le_bytes(*first));
        let mut places = (0..128).map(|sector| offset % SECTOR_BYTES + sector * SECTOR_BYTES);
        places.any(|place| place != offset && self.checksum(place, covered) == stored)
    }
}
