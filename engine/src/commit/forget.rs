//! Removals go when they hide nothing any more.
//!
//! A removal that is in tables is spent when no table holds anything older in its range: each was
//! written with it applied, or is newer. One that is not in tables is spent when nothing is below
//! the memtable, and that is free of what it hid. The next flush erases the record of the first
//! kind; a crash before it brings the removal back, which hides nothing, and is forgotten again.
//!
//! Invariant: what a removal hid has left the levels, for every reader that begins from now on,
//! before it is forgotten.

use super::pipeline::Pipeline;
use crate::compaction::removed::is_spent;
use crate::error::Result;
use crate::removals::{Removal, RemovalId};

impl Pipeline {
    /// Forgets removals that are spent, and frees what removals hide in the memtable. Returns how
    /// many keys were freed, and how many removals are left to be applied to it.
    ///
    /// Errors: that which poisoned.
    pub(super) fn apply_removals(&self) -> Result<(usize, usize)> {
        // Of what is removed from now on, what is left tells nothing.
        let removals = self.store.removals();
        let (freed, left) = self.store.purge_removed(self.options.steps.maintain_keys_max);
        if removals.is_empty() {
            return Ok((freed, left));
        }
        // Nothing is flushed meanwhile.
        let writer = self.writer.lock_for_upkeep();
        self.health.check()?;
        let durable = writer.journal.flushed().version;
        let spent: Vec<RemovalId> = {
            let below = self.store.below();
            let is_alone = below.is_empty() && left == 0;
            let is_spent = |removal: &&Removal| match removal.id.version <= durable {
                true => is_spent(removal, &below.levels) || planted!(RemovalForgottenEarly),
                false => is_alone && removal.id.version <= self.store.version(),
            };
            removals.iter().filter(is_spent).map(|removal| removal.id).collect()
        };
        if !spent.is_empty() {
            sometimes!("forget/removal-forgotten");
            self.store.forget_removals(&spent);
            let unsaved: Vec<_> = spent.into_iter().filter(|id| id.version > durable).collect();
            self.store.note_erased(&unsaved);
        }
        Ok((freed, left))
    }
}
