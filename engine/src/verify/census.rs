//! What the tables say of runs and removals, as of the last flush.
//!
//! All levels together are the state of one version, the flushed one: of each key of the reserved
//! space the newest that they hold. The census of that version must say of the records how many
//! there are of each status, and which are active; the removals must be those that are in force.
//!
//! Invariant: holds the active runs of that version, as memory did then.

use std::collections::BTreeMap;

use super::view::Walk;
use crate::codec::Malformed;
use crate::flush::{Saved, decode_saved};
use crate::removals::{Removal, RemovalId};
use crate::runs::keys;
use crate::runs::saved::{Activity, Counts, SavedRun};
use crate::table::reader::Row;
use crate::types::{PhysicalKey, RunId, RunStatus};

/// A run that was active.
#[derive(Debug)]
struct Active {
    first_version: u64,
    activity: Option<Activity>,
}

/// What the tables say of runs and removals.
#[derive(Debug, Default)]
pub(super) struct InTables {
    /// How many records there are of each status.
    counts: Counts,
    /// The runs of those that are active, and what the census says of each.
    active: BTreeMap<RunId, Active>,
    /// How many there are by the census of the flushed version.
    census: Option<Counts>,
    /// Runs that the census takes for active, and that are not.
    strangers: Vec<RunId>,
    /// How many removals are in force.
    removals: usize,
}

impl InTables {
    /// The newest of a key of the reserved space, in the order of the keys.
    ///
    /// Error: what no such key has.
    pub(super) fn note(
        &mut self,
        key: &PhysicalKey,
        row: Row,
        walk: &mut Walk<'_>,
    ) -> Result<(), Malformed> {
        let [_, removals, indexes] = &keys::borders();
        if key < removals {
            return self.note_record(key, row);
        }
        // The indexes are judged where all of them are read.
        if key >= indexes {
            return Ok(());
        }
        let flushed = walk.view.manifest.flushed.version;
        match decode_saved(key.clone(), row)? {
            Saved::Counts(version, counts) if version == flushed => self.census = Some(counts),
            Saved::Active(version, run, activity) if version == flushed => {
                self.note_activity(run, activity);
            }
            // Those of other flushes were superseded.
            Saved::Counts(..) | Saved::Active(..) => {}
            Saved::Removal(removal) => self.note_removal(&removal, walk),
            Saved::Erased(_) => {}
        }
        Ok(())
    }

    fn note_record(&mut self, key: &PhysicalKey, row: Row) -> Result<(), Malformed> {
        let run = run_of_record(key)?;
        let Some(stored) = row.value else {
            return Err(Malformed::new("a record of each run for ever", "a deleted one"));
        };
        let SavedRun { entry, .. } = SavedRun::decode(run, &stored)?;
        self.counts.note(None, entry.status);
        if entry.status.is_active() {
            let first_version = entry.first_version;
            self.active.insert(run, Active { first_version, activity: None });
        }
        Ok(())
    }

    fn note_activity(&mut self, run: RunId, activity: Activity) {
        match self.active.get_mut(&run) {
            Some(active) => active.activity = Some(activity),
            None => self.strangers.push(run),
        }
    }

    fn note_removal(&mut self, removal: &Removal, walk: &mut Walk<'_>) {
        let known = &walk.view.removals;
        match known.get(removal.id) {
            Some(known) if known == removal => self.removals += 1,
            None if known.is_forgotten(removal.id) => {}
            known => {
                let RemovalId { version, nth } = removal.id;
                let found = format!("{removal:?}, not {known:?}");
                walk.wrong(format!("removal {nth} of version {version} as in force"), found);
            }
        }
    }

    /// When all of them were read.
    pub(super) fn judge(&self, walk: &mut Walk<'_>) {
        let flushed = walk.view.manifest.flushed.version;
        match self.census {
            None => {
                let found = "none".to_owned();
                walk.wrong(format!("a census of version {flushed} in the tables"), found);
            }
            Some(census) => differ(walk, "census of the tables", self.counts, census),
        }
        for run in &self.strangers {
            let found = format!("run {run}, which is not active");
            walk.wrong("a census of active runs", found);
        }
        for (run, Active { first_version, activity }) in &self.active {
            let expected =
                || format!("what run {run} had done by version {flushed}, in the census");
            match activity {
                None => walk.wrong(expected(), "nothing of it"),
                Some(activity) => {
                    let versions = *first_version..=flushed;
                    if !versions.contains(&activity.last_version) || activity.tally.is_short(1) {
                        walk.wrong(expected(), format!("{activity:?}"));
                    }
                }
            }
        }
        let removals = walk.view.removals.iter();
        let saved = removals.filter(|removal| removal.id.version <= flushed).count();
        if saved != self.removals {
            let found = format!("{} of them", self.removals);
            walk.wrong(format!("the {saved} removals in force in the tables"), found);
        }
    }
}

/// The run whose record stands under a key.
pub(super) fn run_of_record(key: &PhysicalKey) -> Result<RunId, Malformed> {
    match keys::run_of(key) {
        Some(run) if keys::record(run) == *key => Ok(run),
        _ => Err(Malformed::new("the id of a run as the key of its record", "another key")),
    }
}

/// Tells of each status of which there are more or fewer runs than the records show.
pub(super) fn differ(walk: &mut Walk<'_>, whose: &str, records: Counts, told: Counts) {
    for status in RunStatus::ALL {
        let (records, told) = (records.of(status), told.of(status));
        if records != told {
            let expected = format!("{records} runs of status {} in the {whose}", status.as_str());
            walk.wrong(expected, told.to_string());
        }
    }
}
