//! Compaction as the pipeline's steps: what is chosen, merged bit by bit, and put in force.
//!
//! 1. What is next is chosen from the levels as they are. Tables that move need no more than an
//!    edit. Else a merge begins, and goes on by bounded steps without any lock that others want.
//! 2. When a stretch has ended, its tables are synced, with their names.
//! 3. Under the writer's lock one manifest names them and no longer what they replace; then readers
//!    turn to them. Files go when nobody reads them any more.
//!
//! Invariants: one merge at a time; while it goes on a flush may put a level on top, and nothing
//! else changes; one that fails has changed nothing and is chosen anew.

use std::collections::BTreeSet;

use super::compactor::Compactor;
use super::pipeline::Pipeline;
use super::writer::Writer;
use crate::codec::Malformed;
use crate::compaction::choice::{Job, Rules, choose};
use crate::compaction::edit;
use crate::compaction::merge::{Around, Floor, Merge};
use crate::compaction::removed::Removed;
use crate::compaction::unit::{self, Unit};
use crate::error::Result;
use crate::failure::WriteFailure;
use crate::levels::{Levels, LiveTable};
use crate::manifest::Flushed;
use crate::names::OwnName;
use crate::removals::Removals;
use crate::store::layers::Below;
use crate::sync::{Arc, MutexGuard, Ordering};

/// The outcome of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    /// There is more to do at once.
    pub(super) more: bool,
    /// How many tables wait until nobody reads them.
    pub(super) retired: usize,
}

impl Pipeline {
    /// Whether there is something to merge, now or when nothing is written for a while.
    pub(crate) fn wants_compaction(&self) -> bool {
        self.compacting.load(Ordering::Relaxed) || self.has_compaction()
    }

    fn has_compaction(&self) -> bool {
        let removals = self.store.removals();
        let durable = match removals.is_empty() {
            true => 0,
            false => self.writer.lock_for_upkeep().journal.flushed().version,
        };
        // What the time would do is left to when the time comes.
        let removals = self.durable_removals(removals, durable);
        let floor = Floor { version: durable, time_ms: 0, removals };
        let levels = &self.store.below().levels;
        let rules = self.rules(levels, &floor, true);
        // What cannot be read now may want it.
        rules.map_or(true, |rules| choose(levels, &rules).is_some())
    }

    /// What stays as it is, whatever happens.
    pub(super) fn floor(&self, writer: &Writer) -> Floor {
        let Flushed { version, time_ms } = writer.journal.flushed();
        let time_ms =
            if planted!(MergeExpiresByNow) { self.store.clock().now_ms() } else { time_ms };
        let removals = self.durable_removals(self.store.removals(), version);
        Floor { version, time_ms, removals }
    }

    /// Those that no crash takes back, as if there were no others. Of two that overlap a cover
    /// keeps the newer one, and a crash may undo that: a merge that asked it would keep what the
    /// older one hides, and its tables would say that the older one was applied.
    pub(super) fn durable_removals(&self, removals: Arc<Removals>, durable: u64) -> Arc<Removals> {
        planted!(MergeAsksAllRemovals => return removals);
        let mut last = self.removals_in_tables.lock();
        let forgets = removals.forgets();
        let is_known = last
            .as_ref()
            .filter(|(version, known)| *version == durable && known.forgets() == forgets);
        if let Some((_, known)) = is_known {
            return Arc::clone(known);
        }
        let pins = self.store.pins();
        let known = removals.upto(durable, |old, new| pins.see(old, new));
        let is_all = Arc::ptr_eq(&known, &removals);
        sometimes!("compact/removals-that-a-crash-takes-back", !is_all);
        // All of them are not held here: they would be copied at the next change.
        *last = (!is_all).then(|| (durable, Arc::clone(&known)));
        known
    }

    /// Errors: those of a read of an index.
    fn rules(&self, levels: &Levels, floor: &Floor, is_idle: bool) -> Result<Rules> {
        let pins = self.store.pins();
        Ok(Rules {
            levels_per_tier: self.options.levels_per_tier,
            is_idle,
            floor_ms: floor.time_ms,
            oldest_pins: pins.oldest(),
            removed: Removed::look(levels, &floor.removals, floor.version, pins)?,
            table_bytes_max: self.table_bytes_max(),
        })
    }

    /// One bounded step.
    ///
    /// Errors: a full disk, or a file that cannot be made or read: everything is as before, and it
    /// is chosen anew; or that which poisoned.
    pub(super) fn compact(&self) -> Result<Progress> {
        let mut lock = self.compactor.lock();
        let compactor = &mut *lock;
        self.release_retired(compactor);
        let stepped = self.step_merge(compactor);
        // What has been replaced is read by nobody any more, most often.
        self.release_retired(compactor);
        let retired = compactor.retired.len();
        let merging = compactor.merge.is_some();
        let levels = &self.store.below().levels;
        let flushed = levels.0.iter().take_while(|level| level.tier == 0 && !level.joins).count();
        self.pace.note_levels(flushed, self.options.levels_per_tier);
        self.compacting.store(merging || retired > 0, Ordering::Relaxed);
        Ok(Progress { more: stepped?, retired })
    }

    /// Returns whether there is more to do at once.
    fn step_merge(&self, compactor: &mut Compactor) -> Result<bool> {
        let version = self.store.version();
        let is_idle = self.seen_version.swap(version, Ordering::Relaxed) == version;
        let mut merge = match compactor.merge.take() {
            Some(merge) => merge,
            None => match self.begin_merge(compactor, is_idle)? {
                Begun::Nothing => return Ok(false),
                Begun::Moved => return Ok(true),
                Begun::Merge(merge) => merge,
            },
        };
        // What is written next is not to go into another's file.
        let owned = self.writer.lock_for_upkeep().journal.check();
        let numbers = || self.writer.lock_for_upkeep().journal.take_number();
        let around = Around { place: &self.place, numbers: &numbers, pins: self.store.pins() };
        let stepped = owned.and_then(|()| merge.step(self.options.steps.merge_bytes, around));
        let outcome = match stepped {
            Ok(false) => {
                sometimes!("compact/goes-on-in-another-step");
                compactor.merge = Some(merge);
                return Ok(true);
            }
            Ok(true) => merge.finish(&self.place),
            Err(failure) => Err(failure),
        };
        let mut lock = self.writer.lock_for_upkeep();
        let writer = &mut *lock;
        let (tables, upto) = match outcome {
            Ok(done) => done,
            Err(failure) => {
                sometimes!("compact/merge-failed");
                planted!(UnopenedTablePoisons => return self.end_for(failure));
                self.health.check()?;
                self.abandon(writer, failure, &mut merge)?;
                return Ok(false);
            }
        };
        let before = self.store.below();
        let levels = &before.levels;
        // Flushes may have put levels on top.
        let begun = merge.job;
        let target = levels.0.len().saturating_sub(1 + merge.levels_below);
        let highest = (target + begun.highest).saturating_sub(begun.target);
        let job = Job { highest, target, ..begun };
        let made = tables.into_iter().map(LiveTable::whole).collect();
        let next = edit::merged(levels, &job, &merge.from, upto.as_ref(), made);
        drop(merge);
        planted!(FlushLostByMerge => return self.forget(writer, compactor, next, [begun, job]));
        sometimes!("compact/flushed-meanwhile", highest > begun.highest);
        sometimes!("compact/merged");
        self.put_in_force(writer, compactor, &before, next)?;
        Ok(true)
    }

    fn begin_merge(&self, compactor: &mut Compactor, is_idle: bool) -> Result<Begun> {
        if self.store.below().levels.is_empty() {
            return Ok(Begun::Nothing);
        }
        let mut lock = self.writer.lock_for_upkeep();
        let writer = &mut *lock;
        // A flush on another thread may have put a level on top while this waited for the lock.
        let before = self.store.below();
        let levels = &before.levels;
        let floor = self.floor(writer);
        let rules = self.rules(levels, &floor, is_idle)?;
        let Some(job) = choose(levels, &rules) else { return Ok(Begun::Nothing) };
        // The epoch that is in the tables is durable before they are.
        self.prepare(writer)?;
        let plan = self.table_plan(writer);
        match unit::plan(levels, &job, &rules) {
            Unit::Nothing => Ok(Begun::Nothing),
            Unit::Move { level, tables } => {
                let next = edit::moved(levels, &job, level, tables);
                self.put_in_force(writer, compactor, &before, next)?;
                Ok(Begun::Moved)
            }
            Unit::Drop { numbers } => {
                let next = edit::dropped(levels, &job, &numbers);
                self.put_in_force(writer, compactor, &before, next)?;
                Ok(Begun::Moved)
            }
            Unit::Merge { from, is_one } => {
                drop(lock);
                sometimes!("compact/merge-begun");
                Merge::new(levels, job, from, floor, plan)
                    .map(|merge| Begun::Merge(Box::new(merge.into_one(is_one))))
            }
        }
    }

    /// `before`: what is in force, and `next` was made of. What is missing in it, and was put there
    /// by another thread, would be lost.
    pub(super) fn put_in_force(
        &self,
        writer: &mut Writer,
        compactor: &mut Compactor,
        before: &Arc<Below>,
        next: Levels,
    ) -> Result<()> {
        if !Arc::ptr_eq(before, &self.store.below()) {
            let found = "others, of before the lock";
            return Err(self.wrong_levels(&Malformed::new("levels made of those in force", found)));
        }
        let kept: BTreeSet<_> = next.tables().map(LiveTable::number).collect();
        let gone = before.levels.tables().filter(|live| !kept.contains(&live.number()));
        let gone: Vec<_> = gone.map(|live| Arc::clone(&live.table)).collect();
        planted!(InputsRemovedFirst => self.remove_tables(&gone));
        self.install(writer, next, None, |levels| self.store.merged(levels))?;
        compactor.retired.extend(gone);
        Ok(())
    }

    /// Hands files over for removal that nobody reads any more.
    fn release_retired(&self, compactor: &mut Compactor) {
        if compactor.retired.is_empty() || planted!(RetiredKept) {
            return;
        }
        let (free, read): (Vec<_>, _) =
            compactor.retired.drain(..).partition(|table| Arc::strong_count(table) == 1);
        sometimes!("compact/table-still-read", !read.is_empty());
        compactor.retired = read;
        let mut writer = self.writer.lock_for_upkeep();
        let id = writer.journal.store_id();
        let names = free.iter().map(|table| OwnName::Table(id, table.header().number)).collect();
        writer.journal.put_orphans(names);
        self.note_leftovers(&writer);
    }

    /// What a merge has made is of no use.
    fn abandon(&self, writer: &mut Writer, failure: WriteFailure, merge: &mut Merge) -> Result<()> {
        // They are removed behind a look at whose directory it is.
        if !planted!(MergeOutputKept) {
            writer.journal.put_orphans(merge.take_left());
        }
        self.guard(Err(failure))
    }

    /// Ends compaction, before a close: what was begun is left undone.
    /// While the outcome is held, nothing begins.
    pub(super) fn end_compaction(&self) -> MutexGuard<'_, Compactor> {
        let mut lock = self.compactor.lock();
        let Compactor { merge, retired, .. } = std::mem::take(&mut *lock);
        let mut writer = self.writer.lock_for_upkeep();
        if let Some(mut merge) = merge {
            sometimes!("compact/ended-by-a-close");
            writer.journal.put_orphans(merge.take_left());
        }
        // Whoever reads one at this moment goes on with it.
        retired.iter().filter(|table| Arc::strong_count(table) > 1).for_each(|table| table.hold());
        let id = writer.journal.store_id();
        let names = retired.iter().map(|table| OwnName::Table(id, table.header().number)).collect();
        writer.journal.put_orphans(names);
        drop(writer);
        lock
    }
}

/// How a merge begins.
enum Begun {
    Nothing,
    /// Tables have moved; there may be more to do.
    Moved,
    Merge(Box<Merge>),
}
