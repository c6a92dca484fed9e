//! Which part of a job is next.
//!
//! A table that overlaps nothing in the job moves into the target as it is: what is written in the
//! order of keys is never written again. Else a stretch of keys is merged, from the least that is
//! left. Of the target nothing is touched that lies between.
//!
//! Invariants: a pure function; a stretch begins where no table of the target does so earlier and
//! goes on behind it.

use super::choice::{Job, Rules, is_scattered, is_stale};
use crate::levels::{Level, Levels, LiveTable};
use crate::sync::Arc;
use crate::types::PhysicalKey;

/// A table is worth being a table of its own from this share of the largest on.
const MOVED_SHARE: u64 = 4;

/// A part of a job, which ends with one edit of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// The first tables of this level go into the target.
    Move { level: usize, tables: usize },
    /// These tables of the target go: nobody sees anything of them.
    Drop { numbers: Vec<u64> },
    /// Everything from this key on is merged, up to where two tables have been written; or to the
    /// end, where that is one.
    Merge { from: PhysicalKey, is_one: bool },
    /// There is nothing left to do.
    Nothing,
}

/// Whether a table is so large that it is better left as it is.
pub(super) fn is_worth_its_file(live: &LiveTable, table_bytes_max: u64) -> bool {
    live.bytes().saturating_mul(MOVED_SHARE) >= table_bytes_max
}

/// Whether a table moves as it is, if it overlaps nothing.
fn is_movable(live: &LiveTable, is_lowest: bool, rules: &Rules) -> bool {
    let properties = live.table.properties();
    let holds_garbage = properties.tombstones > 0
        || properties.entries > properties.keys
        || properties.expiries_ms.0 <= rules.floor_ms
        || rules.removed.holds(live);
    is_worth_its_file(live, rules.table_bytes_max) && !(is_lowest && holds_garbage)
}

fn first_of(level: &Level) -> Option<&PhysicalKey> {
    level.tables.first().map(LiveTable::first)
}

/// The part that is next.
pub(crate) fn plan(levels: &Levels, job: &Job, rules: &Rules) -> Unit {
    let Some(target) = levels.0.get(job.target) else { return Unit::Nothing };
    if job.is_cleaning() {
        let whole = target.tables.iter().filter(|live| rules.removed.is_whole(live));
        let numbers: Vec<_> = whole.map(LiveTable::number).collect();
        if !numbers.is_empty() {
            sometimes!("compaction/removed-table-dropped");
            return Unit::Drop { numbers };
        }
        let is_lowest = job.is_lowest(levels);
        let mut tables = target.tables.iter();
        let stale =
            tables.find(|live| rules.removed.is_stale(live) || is_lowest && is_stale(live, rules));
        if let Some(live) = stale {
            return Unit::Merge { from: live.first().clone(), is_one: false };
        }
        let first = first_of(target).filter(|_| is_scattered(levels, rules));
        return first
            .map_or(Unit::Nothing, |first| Unit::Merge { from: first.clone(), is_one: true });
    }
    let joining = levels.0.get(job.highest..job.target).unwrap_or_default();
    let firsts = joining.iter().enumerate();
    let least = firsts.filter_map(|(nth, level)| Some((first_of(level)?, nth))).min();
    let Some((least, nth)) = least else { return Unit::Nothing };
    let is_lowest = job.is_lowest(levels);
    let moves = |live: &&LiveTable| {
        is_movable(live, is_lowest, rules) && !overlaps_others(joining, nth, target, live)
    };
    let tables = joining.get(nth).map(|level| level.tables.iter().take_while(moves).count());
    if let Some(tables) = tables.filter(|tables| *tables > 0) {
        sometimes!("compaction/tables-moved");
        return Unit::Move { level: job.highest + nth, tables };
    }
    // The target's table over that key is written again whole.
    let over = target.tables.get(target.tables.partition_point(|live| live.last() < least));
    let over = over.filter(|_| !planted!(TargetNotReachedInto));
    let from = over.map_or(least, |live| live.first().min(least));
    sometimes!("compaction/target-table-reached-into", from < least);
    Unit::Merge { from: from.clone(), is_one: false }
}

/// Whether a table of one level of a job overlaps what is in the others.
fn overlaps_others(joining: &[Arc<Level>], own: usize, target: &Level, live: &LiveTable) -> bool {
    let (first, last) = (live.first(), live.last());
    let others = joining.iter().enumerate().filter(|(nth, _)| *nth != own);
    others.filter_map(|(_, level)| first_of(level)).any(|other| other <= last)
        || !planted!(MovedIntoOverlap)
            && target
                .tables
                .get(target.tables.partition_point(|other| other.last() < first))
                .is_some_and(|other| other.first() <= last)
}
