//! Which levels are merged.
//!
//! Lazy leveling (Dayan and Idreos, "Dostoevsky", SIGMOD 2018): a tier collects some levels before
//! they become one of the next, and only the lowest level is kept as one. When a tier that is full
//! has a fair share of the lowest level's bytes, it *sweeps*: it and all below it are merged into
//! the lowest. `docs/decisions/0017` has the figures.
//!
//! Invariants: a pure function of the levels and the rules; what has begun goes on, the highest
//! first, since the highest levels are small and each costs a read; a job is a stretch of
//! neighbouring levels, of which only the lowest may be the target of another that has begun.

use super::removed::Removed;
use crate::levels::{Level, Levels, LiveTable};
use crate::store::pins::ReadPoint;
use crate::sync::Arc;

/// A tier sweeps when so many times its bytes reach the lowest level's.
const SWEEP_RATIO: u64 = 4;
/// Of an idle store, the levels above the lowest have at most a tenth of its bytes, and of its
/// entries: each may hide one below that is much longer.
const IDLE_SHARE: u64 = 10;
/// More than an entry takes in a table beside its value and three times its key, and more than what
/// a table has beside entries and keys.
const ENTRY_BYTES_MAX: u64 = 192;
const PARTS_BYTES_MAX: u64 = 1024;
/// A table is cleaned when a tenth of its entries are of no use.
const STALE_SHARE: u64 = 10;

/// What decides beside the levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// So many levels of a tier become one.
    pub(crate) levels_per_tier: usize,
    /// Nothing is written at the moment.
    pub(crate) is_idle: bool,
    /// What expired at or before this stays gone, whatever happens.
    pub(crate) floor_ms: u64,
    /// The least version of a pin, and the least time of one.
    pub(crate) oldest_pins: Option<ReadPoint>,
    /// What removals hide of the tables.
    pub(crate) removed: Removed,
    /// A table is ended before it is longer than this.
    pub(crate) table_bytes_max: u64,
}

/// Levels that become one: from the highest down to the target, which may be the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) highest: usize,
    pub(crate) target: usize,
    /// The tier of the outcome.
    pub(crate) tier: u32,
}

impl Job {
    /// Whether there is nothing below it.
    pub(crate) fn is_lowest(&self, levels: &Levels) -> bool {
        self.target + 1 == levels.0.len()
    }

    /// Whether it cleans one level, and joins none.
    pub(crate) fn is_cleaning(&self) -> bool {
        self.highest == self.target
    }
}

/// What is merged next, if anything is.
pub(crate) fn choose(levels: &Levels, rules: &Rules) -> Option<Job> {
    let mut at = 0;
    while let Some(level) = levels.0.get(at) {
        if level.joins {
            return Some(begun(levels, at));
        }
        let is_target = at.checked_sub(1).and_then(|above| levels.0.get(above));
        if is_target.is_some_and(|above| above.joins) {
            at += 1;
            continue;
        }
        let is_same = |other: &&Arc<Level>| other.tier == level.tier && !other.joins;
        let count = levels.0.iter().skip(at).take_while(is_same).count();
        let below = levels.0.get(at + count);
        // What has begun below, and is of this tier, comes first: tiers ascend.
        let must_wait = below.is_some_and(|below| below.joins && below.tier <= level.tier);
        if count >= rules.levels_per_tier && !must_wait {
            return Some(full_tier(levels, at, count));
        }
        at += count.max(1);
    }
    let removed = removed(levels, rules);
    let idle = removed.or_else(|| idle_sweep(levels, rules));
    idle.or_else(|| cleaning(levels, rules)).or_else(|| joined(levels, rules))
}

/// The lowest level of which a table holds much that was removed, if no merge has begun there.
fn removed(levels: &Levels, rules: &Rules) -> Option<Job> {
    let is_stale = |level: &Level| level.tables.iter().any(|live| rules.removed.is_stale(live));
    let is_free = |nth: usize, level: &Level| {
        let above = nth.checked_sub(1).and_then(|nth| levels.0.get(nth));
        !level.joins && above.is_none_or(|above| !above.joins)
    };
    let found = levels.0.iter().enumerate().rev();
    let (nth, level) = found.into_iter().find(|(nth, l)| is_free(*nth, l) && is_stale(l))?;
    sometimes!("compaction/removed-chosen");
    Some(Job { highest: nth, target: nth, tier: level.tier })
}

/// The job whose highest level this is.
fn begun(levels: &Levels, highest: usize) -> Job {
    let joining = levels.0.iter().skip(highest).take_while(|level| level.joins).count();
    let target = highest + joining;
    Job { highest, target, tier: levels.0.get(target).map_or(0, |level| level.tier) }
}

fn bytes(levels: &[Arc<Level>]) -> u64 {
    levels.iter().map(|level| level.bytes()).sum()
}

fn entries(level: &Level) -> u64 {
    level.tables.iter().map(|live| live.table.properties().entries).sum()
}

/// Whether everything fits into one table, whatever is left out and however it is compressed.
fn fits_one(levels: &Levels, rules: &Rules) -> bool {
    let bytes = levels.tables().map(|live| {
        let properties = live.table.properties();
        let keys = properties.key_bytes.saturating_mul(3);
        let entries = properties.entries.saturating_mul(ENTRY_BYTES_MAX);
        let ends = properties.first.user_key().len() as u64;
        keys.saturating_add(entries).saturating_add(properties.value_bytes).saturating_add(ends)
    });
    bytes.fold(PARTS_BYTES_MAX, u64::saturating_add) <= rules.table_bytes_max
}

fn full_tier(levels: &Levels, highest: usize, count: usize) -> Job {
    let (tier, lowest) = (levels.0.get(highest).map_or(0, |level| level.tier), levels.0.len() - 1);
    let target = highest + count - 1;
    let (full, below) = levels.0.get(highest..).unwrap_or_default().split_at(count);
    let in_job = below.iter().any(|level| level.joins);
    let is_large =
        below.last().is_some_and(|last| bytes(full).saturating_mul(SWEEP_RATIO) >= last.bytes());
    match below.last() {
        Some(last) if is_large && !in_job => {
            sometimes!("compaction/sweep-chosen");
            Job { highest, target: lowest, tier: last.tier.max(tier + 1) }
        }
        _ => {
            sometimes!("compaction/tier-chosen");
            Job { highest, target, tier: tier + 1 }
        }
    }
}

/// All levels, if the store is idle and those above the lowest hold a fair share, or all of it is
/// small.
fn idle_sweep(levels: &Levels, rules: &Rules) -> Option<Job> {
    let (lowest, above) = levels.0.split_last()?;
    if !rules.is_idle || above.is_empty() || above.iter().any(|level| level.joins) {
        return None;
    }
    let count = above.iter().map(|level| entries(level)).fold(0, u64::saturating_add);
    let is_worth_it = bytes(above).saturating_mul(IDLE_SHARE) > lowest.bytes()
        || count.saturating_mul(IDLE_SHARE) > entries(lowest)
        || fits_one(levels, rules);
    if !is_worth_it || planted!(IdleStoreNotSwept) {
        return None;
    }
    sometimes!("compaction/idle-sweep-chosen");
    Some(Job { highest: 0, target: above.len(), tier: lowest.tier })
}

/// The lowest level, if a table of it holds what is of no use.
fn cleaning(levels: &Levels, rules: &Rules) -> Option<Job> {
    let (lowest, above) = levels.0.split_last()?;
    let is_free = above.last().is_none_or(|level| !level.joins);
    if !is_free || !lowest.tables.iter().any(|live| is_stale(live, rules)) {
        return None;
    }
    sometimes!("compaction/cleaning-chosen");
    Some(Job { highest: above.len(), target: above.len(), tier: lowest.tier })
}

/// The only level, if the store is idle and one table would do.
fn joined(levels: &Levels, rules: &Rules) -> Option<Job> {
    let only = levels.0.first().filter(|_| is_scattered(levels, rules))?;
    sometimes!("compaction/join-chosen");
    Some(Job { highest: 0, target: 0, tier: only.tier })
}

/// Whether there are several tables on one level, and one would do.
pub(super) fn is_scattered(levels: &Levels, rules: &Rules) -> bool {
    let [only] = &levels.0[..] else { return false };
    rules.is_idle && only.tables.len() > 1 && fits_one(levels, rules)
}

/// Whether so much of a table of the lowest level is of no use, and of no use to a pin, that it is
/// written again. What expires goes when half of the time is over in which it all does, so that
/// what remains is halved each time.
pub(super) fn is_stale(live: &LiveTable, rules: &Rules) -> bool {
    let properties = live.table.properties();
    if rules.oldest_pins.is_some_and(|pin| pin.version <= properties.versions.1) {
        return false;
    }
    let (earliest, latest) = properties.expiries_ms;
    let floor_ms = rules.oldest_pins.map_or(rules.floor_ms, |pin| pin.now_ms.min(rules.floor_ms));
    let expires = latest > 0 && earliest + latest.saturating_sub(earliest) / 2 <= floor_ms;
    let superseded = properties.entries.saturating_sub(properties.keys);
    let useless = superseded.saturating_add(properties.tombstones);
    expires
        || useless > 0
            && !planted!(SupersededNotCleaned)
            && useless.saturating_mul(STALE_SHARE) >= properties.entries
}
