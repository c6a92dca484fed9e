//! The records of runs against everything else that is known of them: the indexes, the counts,
//! what active runs have done, and their data.
//!
//! Read as a snapshot reads, at the point of the view, through memtables and tables.
//!
//! Invariant: holds one chunk of a scan and one record at a time.

use std::ops::Bound;

use super::census::{differ, run_of_record};
use super::levels::known;
use super::view::Walk;
use crate::codec::change::NEVER;
use crate::codec::value::Stored;
use crate::error::Result;
use crate::runs::keys;
use crate::runs::saved::{self, Counts, SavedRun, Tally};
use crate::store::RangeIter;
use crate::table::block::Stamp;
use crate::types::{PhysicalKey, RunId, RunStatus, TypeTag, ValueKind};

/// A key of the reserved space, with its value.
type Found = (PhysicalKey, Stamp, Stored);

/// Reads the records and the indexes.
///
/// Errors: [`Error::Io`].
pub(super) fn walk(walk: &mut Walk<'_>) -> Result<()> {
    let store = walk.view.pin.store();
    store.put_in_order(false);
    store.put_in_order(true);
    let [records, removals, indexes] = keys::borders();
    let (mut counts, mut active) = (Counts::default(), 0);
    let is_whole = scan(walk, records, removals, |walk, found| {
        if let Some(SavedRun { entry, .. }) = record(walk, found)? {
            counts.note(None, entry.status);
            active += usize::from(entry.status.is_active());
        }
        Ok(())
    })?;
    if is_whole && !walk.is_damaged {
        differ(walk, "memory", counts, walk.view.census.counts);
        if active != walk.view.census.active.len() {
            let expected = format!("{active} active runs in memory");
            walk.wrong(expected, walk.view.census.active.len());
        }
    }
    scan(walk, indexes, PhysicalKey::reserved(u8::MAX, &[]), index)?;
    let mut last = None;
    while let Some(run) = walk.view.pin.store().next_run_in_memory(last) {
        known(walk, run)?;
        last = Some(run);
    }
    Ok(())
}

/// Visits the keys of the reserved space between two; whether all could be read.
fn scan(
    walk: &mut Walk<'_>,
    from: PhysicalKey,
    to: PhysicalKey,
    mut visit: impl FnMut(&mut Walk<'_>, Found) -> Result<()>,
) -> Result<bool> {
    let pin = walk.view.pin.store().pin_again(&walk.view.pin)?;
    let mut iter = RangeIter::new(pin, Bound::Included(from), Bound::Excluded(to));
    let space = iter.run();
    while let Some(next) = iter.step(false) {
        let found = match next {
            Ok(seen) => {
                let key = seen.key(space);
                let (kind, bytes) = seen.value.unwrap_or((ValueKind::Null, &[]));
                (key, seen.stamp, Stored::from_disk(kind.to_byte(), bytes))
            }
            Err(error) => {
                walk.unread(error)?;
                return Ok(false);
            }
        };
        match found {
            (key, stamp, Ok(stored)) => visit(walk, (key, stamp, stored))?,
            (key, _, Err(m)) => walk.wrong(m.expected, format!("{} at {key:?}", m.found)),
        }
    }
    Ok(true)
}

/// Judges a record; `None` if it is none.
fn record(walk: &mut Walk<'_>, (key, stamp, stored): Found) -> Result<Option<SavedRun>> {
    let decoded = run_of_record(&key).and_then(|run| SavedRun::decode(run, &stored));
    let saved = match decoded {
        Ok(saved) => saved,
        Err(m) => {
            walk.wrong(m.expected, format!("{} at {key:?}", m.found));
            walk.is_damaged = true;
            return Ok(None);
        }
    };
    let run = saved.entry.run_id;
    if let Some(expected) = unfit(&saved, stamp) {
        walk.wrong(format!("of run {run} {expected}"), format!("{saved:?} in {stamp:?}"));
    }
    // By what it is found, and whom it names.
    let named = saved.entry.parent_run_id.map(keys::record);
    for wanted in keys::indexes(&saved.entry).into_iter().chain(named) {
        let store = walk.view.pin.store();
        match store.contains(&wanted, Some(walk.view.pin.point())) {
            Ok(true) => {}
            Ok(false) => walk.wrong(format!("the key {wanted:?}, for run {run}"), "none"),
            Err(error) => walk.unread(error)?,
        }
    }
    let tally = match saved.entry.status.is_active() {
        false => Some(saved.tally),
        true => activity(walk, run, saved.entry.first_version),
    };
    if let Some(tally) = tally {
        data(walk, run, saved.entry.status, tally)?;
    }
    Ok(Some(saved))
}

/// What a record does not have that all have.
fn unfit(SavedRun { entry, tally }: &SavedRun, stamp: Stamp) -> Option<&'static str> {
    let status = entry.status;
    let is_dropped = status == RunStatus::Dropped;
    let is_over = !status.is_active();
    let is_at = |at: Option<crate::types::Timestamp>, is_due: bool| at.is_some() == is_due;
    let ascends = [Some(entry.created_at), entry.completed_at, entry.dropped_at];
    let ascends = ascends.into_iter().flatten().is_sorted();
    let others = 1 + u64::from(is_over) + u64::from(is_dropped);
    let checks = [
        (stamp.expiry_ms == NEVER, "a record that stays"),
        (
            entry.first_version <= entry.last_version && entry.last_version == stamp.version,
            "the versions of its begin and of its last change",
        ),
        (is_over || entry.first_version == stamp.version, "the record of its begin"),
        (
            is_at(entry.completed_at, is_over) && is_at(entry.dropped_at, is_dropped) && ascends,
            "times of begin, end and drop, as its status has them",
        ),
        (tally.last_ms == stamp.time_ms, "the time of its last change"),
        (!tally.is_short(others), "as many changes as puts, deletes, begin, end and drop"),
    ];
    checks.into_iter().find(|(holds, _)| !holds).map(|(_, expected)| expected)
}

/// What memory knows of an active run.
fn activity(walk: &mut Walk<'_>, run: RunId, first_version: u64) -> Option<Tally> {
    let active = &walk.view.census.active;
    let nth = active.binary_search_by(|(other, _)| other.cmp(&run)).ok();
    let found = nth.and_then(|nth| active.get(nth)).map(|(_, activity)| *activity);
    let Some(activity) = found else {
        walk.wrong(format!("run {run} among the active ones in memory"), "no such run");
        return None;
    };
    let versions = first_version..=walk.view.pin.point().version;
    if !versions.contains(&activity.last_version) || activity.tally.is_short(1) {
        let expected = format!("what run {run} has done since version {first_version}");
        walk.wrong(expected, format!("{activity:?}"));
    }
    Some(activity.tally)
}

/// Holds what is shown of a run's keys against what was counted.
fn data(walk: &mut Walk<'_>, run: RunId, status: RunStatus, tally: Tally) -> Result<()> {
    let (mut live, mut bytes, mut keys) = (0, 0, 0);
    let (store, point) = (walk.view.pin.store(), walk.view.pin.point());
    let surveyed = store.survey(run, point, |seen| {
        let value = seen.value.map_or(0, |(_, value)| value.len());
        live += 1;
        keys += u64::from(seen.tag == TypeTag::KV.to_byte());
        bytes += (seen.prefix.len() + seen.user.len() + value) as u64;
    });
    if let Err(error) = surveyed {
        return walk.unread(error);
    }
    let is_dropped = status == RunStatus::Dropped;
    if is_dropped && live > 0 {
        walk.wrong(format!("no key of run {run}, which was dropped"), format!("{live} keys"));
    } else if live > tally.puts || bytes > tally.bytes {
        let expected = format!("at most {} keys of {} bytes of run {run}", tally.puts, tally.bytes);
        walk.wrong(expected, format!("{live} keys of {bytes} bytes"));
    } else if let Some(kept) = tally.keys.filter(|kept| *kept != keys && !is_dropped) {
        walk.wrong(format!("{kept} plain keys of run {run}, as was counted"), keys);
    }
    Ok(())
}

/// Judges a key of an index.
fn index(walk: &mut Walk<'_>, (key, _, stored): Found) -> Result<()> {
    let (store, point) = (walk.view.pin.store(), walk.view.pin.point());
    let read = keys::run_of(&key).map(|run| saved::read(store, run, Some(point))).transpose();
    let saved = match read {
        Ok(saved) => saved.flatten(),
        Err(error) => return walk.unread(error),
    };
    let leads = saved.is_some_and(|saved| keys::indexes(&saved.entry).contains(&key));
    if !leads || stored.kind() != ValueKind::Null {
        walk.wrong("index keys of which each leads to a record that has it", format!("{key:?}"));
    }
    Ok(())
}
