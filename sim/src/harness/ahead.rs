//! What the log is extended with ahead of its records: as reported, and as the files show.
//!
//! Invariant: what must be chosen comes from the documented table
//! ([`CaseOptions::ahead_on`](super::case::CaseOptions::ahead_on)), never from the engine.

use runstone::{Preallocation, RecoveryReport};

use super::case::CaseOptions;
use super::runner::Runner;
use super::verdict::Checked;

impl Runner<'_> {
    /// What a session with these options must write ahead.
    pub(super) fn ahead_of(&self, options: &CaseOptions) -> Preallocation {
        options.ahead_on(self.disk.config().file_system)
    }

    /// A report names the file system, and what is written ahead there.
    pub(super) fn ahead_is_told(
        &self,
        report: &RecoveryReport,
        expected: Preallocation,
    ) -> Checked {
        let told = (report.file_system, report.preallocation);
        let expected = (self.disk.config().file_system, expected);
        match told == expected {
            true => Ok(()),
            false => self.fail("report", format!("ahead of the log {told:?}, not {expected:?}")),
        }
    }

    /// Where nothing is to be written ahead, the last segment ends with its last record, if no
    /// fault has left anything behind it.
    pub(super) fn nothing_stands_ahead_in_vain(&self) -> Checked {
        let is_disturbed =
            !self.disk.injected().is_empty() || self.may_be_full() || self.disk.cut_is_owed();
        if self.ahead_of(self.options()) != Preallocation::Off || is_disturbed || !self.is_strict()
        {
            return Ok(());
        }
        match self.files().behind_records() {
            Some(0) | None => Ok(()),
            Some(bytes) => {
                self.fail("figures", format!("{bytes} bytes stand ahead of the log in vain"))
            }
        }
    }
}
