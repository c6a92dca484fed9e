//! The levels as they are when a part of a job is done.
//!
//! Invariants: pure functions; no key that counts is lost, none counts twice; levels that have
//! become empty are gone.

use super::choice::Job;
use crate::levels::{Level, Levels, LiveTable};
use crate::sync::Arc;
use crate::types::PhysicalKey;

/// The levels behind a merge of everything between two keys; to the end if there is no second one.
pub(crate) fn merged(
    levels: &Levels,
    job: &Job,
    from: &PhysicalKey,
    upto: Option<&PhysicalKey>,
    made: Vec<LiveTable>,
) -> Levels {
    let mut made = Some(made);
    edited(levels, job, |nth, tables| {
        let before = tables.iter().take_while(|live| live.last() < from).cloned();
        let behind = tables.iter().filter_map(|live| match upto {
            None => None,
            Some(upto) if live.last() < upto => None,
            Some(_) if live.last() < from => None,
            Some(upto) if live.first() >= upto => Some(live.clone()),
            Some(upto) => {
                sometimes!("compaction/bound-raised");
                planted!(BoundNotRaised => return Some(live.clone()));
                planted!(BoundRaisedTooFar => return Some(live.raised_to(&upto.successor())));
                Some(live.raised_to(upto))
            }
        });
        match (nth == job.target, made.take()) {
            (true, made) => before.chain(made.into_iter().flatten()).chain(behind).collect(),
            (false, kept) => {
                made = kept;
                before.chain(behind).collect()
            }
        }
    })
}

/// The levels behind a move of the first tables of a level into the target.
pub(crate) fn moved(levels: &Levels, job: &Job, level: usize, count: usize) -> Levels {
    let tables = levels.0.get(level).map(|level| level.tables.iter().take(count).cloned());
    let tables: Vec<_> = tables.into_iter().flatten().collect();
    edited(levels, job, |nth, old| match nth {
        nth if nth == level => old.iter().skip(count).cloned().collect(),
        nth if nth == job.target => {
            // Tables of the target may stand between them.
            let mut tables = [old, &tables].concat();
            tables.sort_by(|a, b| a.first().cmp(b.first()));
            tables
        }
        _ => old.to_vec(),
    })
}

/// The levels without these tables of the target.
pub(crate) fn dropped(levels: &Levels, job: &Job, numbers: &[u64]) -> Levels {
    edited(levels, job, |_, old| {
        let kept = old.iter().filter(|live| !numbers.contains(&live.number()));
        kept.cloned().collect()
    })
}

/// The levels with others in the place of those of a job.
fn edited(
    levels: &Levels,
    job: &Job,
    mut tables: impl FnMut(usize, &[LiveTable]) -> Vec<LiveTable>,
) -> Levels {
    let stretch = job.highest..=job.target;
    let mut next = Vec::new();
    for (nth, level) in levels.0.iter().enumerate() {
        if !stretch.contains(&nth) {
            next.push(Arc::clone(level));
            continue;
        }
        // Of that tier they are from the first edit on, so that others may follow above.
        let (joins, tier) = (nth != job.target, job.tier);
        let tables = tables(nth, &level.tables);
        // The target goes last: a stretch that ends before all is merged has written something.
        if !tables.is_empty() {
            next.push(Arc::new(Level { tier, joins, tables }));
        }
    }
    Levels(next)
}
