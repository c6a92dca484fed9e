//! What listings of runs must show: each filter, both ways, and page by page.
//!
//! Invariant: the expected listing is made by looking at every run, so an index that has lost one,
//! kept one, or put one elsewhere is seen.

use runstone::{
    Error, RunCursor, RunFilter, RunIter, RunMetadataEntry, RunStatus, Snapshot, Timestamp,
};

use super::case::run_id;
use super::model::Model;
use super::model::named_runs;

/// Filters of each kind, and some of two parts, about these runs.
pub(crate) fn all_filters(entries: &[RunMetadataEntry]) -> Vec<RunFilter> {
    let none = RunFilter::default();
    let mut filters = vec![none.clone()];
    filters.extend(RunStatus::ALL.map(|status| RunFilter { status: Some(status), ..none.clone() }));
    let tagged = entries.iter().find_map(|entry| entry.tags.first_key_value());
    let tag = tagged.map(|(name, value)| (name.clone(), value.clone()));
    let parent = entries.iter().find_map(|entry| entry.parent_run_id);
    let (first, last) = (entries.first(), entries.last());
    if let Some(tag) = tag {
        filters.push(RunFilter { tag: Some(tag.clone()), ..none.clone() });
        let status = first.map(|entry| entry.status);
        filters.push(RunFilter { tag: Some(tag), status, ..none.clone() });
    }
    if parent.is_some() {
        filters.push(RunFilter { parent, ..none.clone() });
        let status = last.map(|entry| entry.status);
        filters.push(RunFilter { parent, status, ..none.clone() });
    }
    if let Some(entry) = entries.get(entries.len() / 2) {
        let at = entry.created_at;
        let next = Timestamp::from_millis(at.as_millis().saturating_add(1));
        filters.push(RunFilter { created_from: Some(at), ..none.clone() });
        filters.push(RunFilter { created_before: Some(at), ..none.clone() });
        let status = Some(entry.status);
        let (created_from, created_before) = (Some(at), Some(next));
        filters.push(RunFilter { status, created_from, created_before, ..none.clone() });
        let cursor = Some(RunCursor::from(entry));
        filters.push(RunFilter { after: cursor, ..none.clone() });
        filters.push(RunFilter { before: cursor, status, ..none });
    }
    filters
}

/// Whether a run belongs to a listing.
fn passes(filter: &RunFilter, entry: &RunMetadataEntry) -> bool {
    let tag = |(name, value): &(String, String)| entry.tags.get(name) == Some(value);
    let cursor = RunCursor::from(entry);
    filter.status.is_none_or(|status| entry.status == status)
        && filter.tag.as_ref().is_none_or(tag)
        && filter.parent.is_none_or(|parent| entry.parent_run_id == Some(parent))
        && filter.created_from.is_none_or(|from| entry.created_at >= from)
        && filter.created_before.is_none_or(|before| entry.created_at < before)
        && filter.after.is_none_or(|after| cursor > after)
        && filter.before.is_none_or(|before| cursor < before)
}

/// Listings of all filters, against all the runs that there are.
pub(crate) fn compare_listings(
    mut entries: Vec<RunMetadataEntry>,
    list: impl Fn(RunFilter) -> Result<RunIter, Error>,
) -> Result<(), String> {
    entries.sort_unstable_by_key(|entry| RunCursor::from(entry));
    for (nth, filter) in all_filters(&entries).into_iter().enumerate() {
        let wanted: Vec<_> = entries.iter().filter(|entry| passes(&filter, entry)).collect();
        let mut listed = list(filter.clone()).map_err(|e| e.to_string())?;
        let (mut front, mut back) = (Vec::new(), Vec::new());
        loop {
            let from_behind = (front.len() + back.len() + nth) % 3 == 0;
            let next = if from_behind { listed.next_back() } else { listed.next() };
            let Some(entry) = next.transpose().map_err(|e| e.to_string())? else { break };
            if from_behind { back.push(entry) } else { front.push(entry) }
        }
        back.reverse();
        front.append(&mut back);
        if !front.iter().eq(wanted.iter().copied()) {
            return Err(format!("runs with {filter:?}: {front:?}, not {wanted:?}"));
        }
    }
    Ok(())
}

/// The runs of a snapshot: each record, and the listings.
pub(crate) fn compare_snapshot_runs(
    snapshot: &Snapshot,
    model: &Model,
    version: u64,
) -> Result<(), String> {
    for run in named_runs(model) {
        let expected = model.run_entry_at(run, version);
        let found = snapshot.get_run(run_id(run)).map_err(|e| e.to_string())?;
        if expected != found {
            return Err(format!("run {run} of a snapshot: record {found:?}, not {expected:?}"));
        }
    }
    let entries = model.runs().filter_map(|run| model.run_entry_at(run, version)).collect();
    compare_listings(entries, |filter| snapshot.runs(filter))
}
