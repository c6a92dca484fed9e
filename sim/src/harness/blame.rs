//! What an error is blamed on: which failures may end all writing, which may refuse an opening,
//! and what the error tells its caller to do.
//!
//! Invariant: an error without a failure that explains it is a breach, however many failures came
//! before it.

use runstone::Error;

use super::runner::Runner;
use super::verdict::Checked;
use crate::disk::{CallKind, FaultKind, Injected};

/// Failures that are told later than they happen, or for ever.
pub(super) fn lasts(hit: &Injected) -> bool {
    matches!(
        hit.fault.kind,
        FaultKind::BackgroundFails
            | FaultKind::SyncLate
            | FaultKind::SyncLies
            | FaultKind::ReadOnly
    )
}

/// C6: failures after which nothing may be written: of a sync, of a cut, and of a write or a
/// rename that may have left anything. What changed nothing ends nothing.
fn ends_writing(hit: &Injected) -> bool {
    let kind = hit.fault.kind;
    match hit.kind {
        CallKind::Sync | CallKind::SyncDir | CallKind::SetLen => true,
        CallKind::Write | CallKind::Allocate => {
            !kind.is_full_disk() && !matches!(kind, FaultKind::Interrupted | FaultKind::Short)
        }
        CallKind::Rename => kind == FaultKind::Io,
        _ => false,
    }
}

impl Runner<'_> {
    pub(super) fn may_be_full(&self) -> bool {
        self.disk.config().capacity.is_some()
            || self.disk.injected().iter().any(|hit| hit.fault.kind.is_full_disk())
    }

    /// C6: what could not be reserved ahead is no reason to refuse what would fit.
    pub(super) fn needed_the_room(&self, error: &Error) -> Checked {
        match self.disk.full_refusals() > self.refusals_before_op {
            true => Ok(()),
            false => self.fail("C6", format!("refused for what it only reserves: {error}")),
        }
    }

    /// Whether a call of this operation was refused before it could change anything that counts:
    /// a file that could not be made, found or looked at.
    pub(super) fn met_a_refusal(&self) -> bool {
        let injected = self.disk.injected();
        let gave_up = injected.iter().any(|hit| hit.fault.kind == FaultKind::ReadOnly);
        let hits = injected.get(self.faults_before_op..).unwrap_or_default();
        let harmless = |kind: CallKind| {
            !kind.changes() || matches!(kind, CallKind::Create | CallKind::Link | CallKind::Rename)
        };
        gave_up || hits.iter().any(|hit| harmless(hit.kind))
    }

    /// An answer after which nothing more is written has a failure that ends writing.
    pub(super) fn expect_fault(
        &mut self,
        clause: &'static str,
        error: &Error,
        crashed: bool,
    ) -> Checked {
        self.told.1 += 1;
        self.tells_what_to_do(error, self.faults_before_op)?;
        if crashed || self.writing_may_end() {
            return Ok(());
        }
        self.fail(clause, format!("nothing had failed that ends writing, but: {error}"))
    }

    fn writing_may_end(&self) -> bool {
        let injected = self.disk.injected();
        if !self.is_strict() {
            return !injected.is_empty() || self.disk.config().capacity.is_some();
        }
        // A failure of an earlier session may be reported only now.
        let here = injected.get(self.faults_before..).unwrap_or_default();
        injected.iter().any(lasts)
            || here.iter().any(|hit| ends_writing(hit) || self.hides_the_owner(hit))
            || self.case.disk.cut_needs_room && self.disk.config().capacity.is_some()
    }

    /// Whose directory a sync has just written to cannot be told: that is as if it had failed.
    fn hides_the_owner(&self, hit: &Injected) -> bool {
        hit.kind == CallKind::Stat && self.disk.failed_behind_sync(hit.call)
    }

    /// An answer after which everything is as before: it says whether it can pass.
    pub(super) fn was_told(&mut self, error: &Error) -> Checked {
        self.told.0 += 1;
        self.tells_what_to_do(error, self.faults_before_op)
    }

    /// An opening that fails has met a failure of its own, or one that lasts.
    pub(super) fn may_refuse_to_open(
        &mut self,
        error: &Error,
        hits_before: usize,
    ) -> Checked<bool> {
        let injected = self.disk.injected();
        let hits = injected.get(hits_before..).unwrap_or_default();
        let is_full = self.disk.config().capacity.is_some();
        let stays = |hit: &Injected| lasts(hit) || hit.fault.kind == FaultKind::BadSectorForever;
        let may_fail = match error {
            _ if !self.is_strict() => is_full || !injected.is_empty(),
            Error::DiskFull { .. } => {
                is_full || hits.iter().any(|hit| hit.fault.kind.is_full_disk())
            }
            _ => is_full || !hits.is_empty() || injected.iter().any(stays),
        };
        self.told.0 += 1;
        self.tells_what_to_do(error, hits_before)?;
        Ok(may_fail)
    }

    /// Where one failure explains an error, the error says whether that can pass by itself, and
    /// of a full disk what was used up.
    fn tells_what_to_do(&self, error: &Error, hits_before: usize) -> Checked {
        let injected = self.disk.injected();
        let hits = injected.get(hits_before..).unwrap_or_default();
        let gave_up = injected.iter().any(|hit| hit.fault.kind == FaultKind::ReadOnly);
        let only = match hits {
            _ if !self.is_strict() || self.disk.is_crashed() => None,
            [hit] if !gave_up || hit.fault.kind == FaultKind::ReadOnly => Some(hit.fault.kind),
            _ => None,
        };
        let can_pass = match (error, only) {
            (Error::DiskFull { .. }, _) => true,
            (Error::Io { .. }, Some(kind)) => {
                !matches!(kind, FaultKind::Denied | FaultKind::Unwritable | FaultKind::ReadOnly)
            }
            (
                Error::OutcomeUnknown { .. } | Error::Poisoned { .. } | Error::Displaced { .. },
                _,
            ) => false,
            _ => return Ok(()),
        };
        if error.is_retryable() != can_pass {
            let message = format!("{only:?} can pass: {can_pass}, and the answer was: {error}");
            return self.fail("retry", message);
        }
        let cause = match only {
            Some(FaultKind::NoSpace) => "a lack of space",
            Some(FaultKind::Quota) => "a disk quota",
            Some(FaultKind::FileSize) => "the largest size of a file",
            _ => return Ok(()),
        };
        let is_full = matches!(error, Error::DiskFull { .. });
        match is_full && self.disk.config().capacity.is_none() && !error.to_string().contains(cause)
        {
            true => self.fail("message", format!("it was {cause}, and the answer was: {error}")),
            false => Ok(()),
        }
    }
}
