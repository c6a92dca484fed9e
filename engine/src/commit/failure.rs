//! When a step fails: what a full disk leaves as it was, and what poisons.
//!
//! Invariant: after a full disk neither a record nor a version is left of what was refused, and
//! what was published before waits in the buffer or is in the file, in order.

use std::time::Duration;

use super::pipeline::Pipeline;
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::failure::WriteFailure;

impl Pipeline {
    /// What is left of a group whose write failed, and what its members are told.
    pub(super) fn undo(
        &self,
        writer: &mut Writer,
        before: u64,
        mark: usize,
        failure: WriteFailure,
    ) -> Error {
        match self.place.blamed(failure) {
            WriteFailure::Refused(error) => {
                sometimes!("failure/undone-by-full-disk");
                // Neither record nor version stays; what was published before does.
                writer.journal.writer().truncate_to(mark);
                if !planted!(VersionKeptAfterFullDisk) {
                    writer.last_version = before;
                }
                writer.disk_full = writer.journal.log().buffered() > 0;
                self.attest_later();
                error
            }
            WriteFailure::Failed(error) => {
                sometimes!("failure/outcome-unknown");
                match self.health.poison(&error) {
                    Error::Poisoned { reason } => Error::OutcomeUnknown { reason },
                    displaced => displaced,
                }
            }
        }
    }

    /// What met a full disk may have synced the log when it cut it back, or before; or it was to
    /// attest a sync. The full disk is no reason to leave the doubt for good, nor to hurry.
    fn attest_later(&self) {
        let retry = Duration::from_millis(self.options.maintenance_interval_ms);
        let anew = self.schedule.note_synced(self.store.clock().monotonic().saturating_add(retry));
        sometimes!("failure/attested-later-for-a-full-disk", anew);
        if anew {
            self.bell.ring();
        }
    }

    /// A full disk is an error to report; any other failure poisons.
    pub(crate) fn guard(&self, outcome: std::result::Result<(), WriteFailure>) -> Result<()> {
        match outcome.map_err(|failure| self.place.blamed(failure)) {
            Ok(()) => Ok(()),
            Err(WriteFailure::Refused(error)) => {
                self.attest_later();
                Err(error)
            }
            Err(WriteFailure::Failed(error)) => {
                self.health.poison(&error);
                self.health.check()
            }
        }
    }
}
