//! What a power cut would leave now, without one.
//!
//! A crash of the case ends a session and costs a recovery, so there are few of them. A look is
//! cheap, and comes when something has just been promised: when the manifest has changed, what no
//! crash can take is read from the disk by its layout; whenever a full disk was reported,
//! copies of the disk are cut off, and what is left on them is read. Where a disk rots, an edit
//! that was just made does, on a copy. The case goes on as if nobody had looked.
//!
//! Invariant: nothing here touches the disk of the case, or draws from its streams.

use std::path::Path;

use super::case::World;
use super::runner::Runner;
use super::verdict::Checked;
use super::world::DIR;
use super::written::Written;
use crate::disk::{CallKind, CrashKind, SimVfs};

/// Copies that are cut off for one look.
const COPIES: u64 = 3;

impl Runner<'_> {
    /// Looks, if there is a reason to.
    pub(super) fn look_ahead(&mut self) -> Checked {
        let renames = self.disk.calls_of(CallKind::Rename);
        let is_new = std::mem::replace(&mut self.renames_seen, renames) != renames;
        // The first of a session, which comes from a recovery, and a share of the others.
        let is_due = self.turn.is_multiple_of(4);
        let rots = self.case.world == World::Rot;
        let is_edited = (is_due || rots) && self.is_edited();
        let is_replaced = is_new && (is_due || !self.has_looked) || is_due && is_edited;
        self.has_looked |= is_new;
        let was_full = std::mem::take(&mut self.full_unseen);
        if rots && is_edited {
            return self.new_edit_rots();
        }
        if !self.looks() {
            return Ok(());
        }
        if is_replaced {
            self.promised_is_kept("a new manifest", Written::durable(&self.disk, Path::new(DIR)))?;
        }
        for copy in 0..if was_full { COPIES } else { 0 } {
            let copy = self.copy_cut_off(copy);
            let files = Written::live(&copy, Path::new(DIR));
            self.promised_is_kept("a full disk and a power cut", files)?;
            self.refused_is_gone(files)?;
        }
        Ok(())
    }

    /// Whether the manifest has other edits than when this was asked before.
    fn is_edited(&mut self) -> bool {
        let end = self.files().manifest().map_or(0, |manifest| manifest.end);
        std::mem::replace(&mut self.edits_seen, end) != end
    }

    /// As [`Runner::look_ahead`], when a close has returned.
    pub(super) fn look_at_closed(&self) -> Checked {
        let files = Written::durable(&self.disk, Path::new(DIR));
        if self.looks()
            && let Some(beyond) = files.beyond(self.segment_bytes_max)
        {
            return self.fail("size", format!("{beyond} is not the only one, and ends beyond it"));
        }
        self.look_at("a close")
    }

    /// As [`Runner::look_ahead`], when a flush or an opening has returned.
    pub(super) fn look_at(&self, what: &str) -> Checked {
        if !self.looks() {
            return Ok(());
        }
        self.manifest_is_bounded()?;
        self.promised_is_kept(what, Written::durable(&self.disk, Path::new(DIR)))
    }

    /// The disk as a power cut now may leave it.
    fn copy_cut_off(&self, nth: u64) -> SimVfs {
        let copy = self.disk.fork(self.case.seed ^ self.disk.calls() << 8 ^ nth);
        copy.crash_now(CrashKind::Power);
        copy.restart();
        copy
    }

    /// C1, C5, C11: what is durable, what is attested, and the time that was logged, are in the
    /// files.
    fn promised_is_kept(&self, behind: &str, files: Written<'_>) -> Checked {
        let (floor, version) = self.time_floor;
        // Commits that came later and are promised as well bear their own time.
        let kept = files.kept(version.max(self.durable));
        if let Some(name) = kept.attested_in_vain {
            return self.fail("C5", format!("behind {behind} {name} is shorter than attested"));
        }
        let (last, time_ms) = (kept.last_commit, kept.time_ms);
        if last < self.durable {
            let message =
                format!("behind {behind} commit {last} is the last, not {}", self.durable);
            return self.fail("C1", message);
        }
        if time_ms < floor {
            let message = format!("behind {behind} the time is {time_ms} ms; {floor} was logged");
            return self.fail("C11", message);
        }
        Ok(())
    }

    /// C4: a commit that was refused does not come back.
    fn refused_is_gone(&self, files: Written<'_>) -> Checked {
        let known = self.model.version() + self.unknown.len() as u64;
        match files.last_commit() {
            last if last <= known => Ok(()),
            last => self.fail("C4", format!("commit {last} comes back, and there were {known}")),
        }
    }
}
