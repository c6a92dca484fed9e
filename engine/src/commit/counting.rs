//! How many keys a run holds, where its begin has asked for that.
//!
//! The leader looks whether each key of a commit is there, and logs what comes out beside the
//! changes; replay believes the log. `docs/decisions/0026` says why.
//!
//! Invariants: only plain keys count; what the commits before it in a group have changed, a commit
//! finds as if it were published; one that is refused leaves nothing here.

use std::collections::BTreeMap;

use super::admission::Known;
use super::queue::{Changes, Request};
use crate::codec::change::{Change, NEVER};
use crate::error::Result;
use crate::types::{PhysicalKey, RunId, TypeTag};

/// What commits that are not published change of runs whose keys are counted.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    keys: BTreeMap<RunId, Option<u64>>,
    is_there: BTreeMap<PhysicalKey, bool>,
    /// What is to be logged, each before the change of that place.
    notes: Vec<(usize, Change)>,
}

impl Counted {
    /// What a request changes of runs whose keys are counted, behind these.
    ///
    /// Errors: those of a read from tables.
    pub(super) fn behind(&self, request: &Request, known: Known<'_>) -> Result<Counted> {
        if !request.counts_keys && self.keys.is_empty() && !known.runs.counts_keys() {
            return Ok(Counted::default());
        }
        let mut count = Count { known, earlier: self, own: Counted::default() };
        count.commit(request.changes.as_slice())?;
        sometimes!("counting/counted", !count.own.keys.is_empty());
        Ok(count.own)
    }

    /// Adds what is to be logged to the changes of the commit.
    pub(super) fn note_in(&mut self, changes: &mut Changes) {
        if !self.notes.is_empty() {
            changes.insert(std::mem::take(&mut self.notes));
        }
    }

    /// A commit behind these was accepted.
    pub(super) fn accept(&mut self, mut commit: Counted) {
        self.keys.append(&mut commit.keys);
        self.is_there.append(&mut commit.is_there);
    }
}

/// One commit, as it is counted.
struct Count<'a> {
    known: Known<'a>,
    earlier: &'a Counted,
    own: Counted,
}

impl Count<'_> {
    /// How many keys a run has before the next change, if they are counted.
    fn keys(&self, run: RunId) -> Option<u64> {
        let here = self.own.keys.get(&run).or_else(|| self.earlier.keys.get(&run));
        here.copied().unwrap_or_else(|| self.known.runs.keys_of(&run))
    }

    fn is_there(&self, key: &PhysicalKey) -> Result<bool> {
        let earlier = || self.earlier.is_there.get(key).filter(|_| !planted!(CountIgnoresItsGroup));
        match self.own.is_there.get(key).or_else(earlier) {
            Some(is_there) => Ok(*is_there),
            None => {
                planted!(CountSeesMemoryOnly => return self.known.store.is_in_memory(key));
                self.known.store.contains(key, None)
            }
        }
    }

    /// A plain key is put or deleted.
    fn change(&mut self, key: &PhysicalKey, is_put: bool) -> Result<()> {
        let Some(keys) = self.keys(key.run()) else { return Ok(()) };
        let was_there = self.is_there(key)?;
        let keys = match (was_there, is_put) {
            (false, true) => keys + 1,
            (true, false) => keys.saturating_sub(1),
            (false, false) if planted!(AbsentKeyCounted) => keys.saturating_sub(1),
            _ => keys,
        };
        self.own.keys.insert(key.run(), Some(keys));
        self.own.is_there.insert(key.clone(), is_put);
        Ok(())
    }

    /// It can no longer be told how many keys a run holds.
    fn give_up(&mut self, run: RunId) {
        if self.keys(run).is_some() {
            sometimes!("counting/given-up");
            self.own.keys.insert(run, None);
        }
    }

    /// What is logged of a run before the change of a place, if it has changed.
    fn note(&mut self, place: usize, run: RunId, before: Option<u64>) {
        let keys = self.keys(run);
        if keys != before && !planted!(CountNotLogged) {
            self.own.notes.push((place, Change::KeyCount { run, keys }));
        }
    }

    /// What was logged of a run before this commit, or with its begin.
    fn before(&self, run: RunId, begun: &BTreeMap<RunId, Option<u64>>) -> Option<u64> {
        match begun.get(&run).or_else(|| self.earlier.keys.get(&run)) {
            Some(keys) => *keys,
            None => self.known.runs.keys_of(&run),
        }
    }

    fn commit(&mut self, changes: &[Change]) -> Result<()> {
        let mut begun = BTreeMap::new();
        for (place, change) in changes.iter().enumerate() {
            match change {
                Change::KeyCount { run, keys } => {
                    begun.insert(*run, *keys);
                    self.own.keys.insert(*run, *keys);
                }
                Change::Put { key, expiry_ms, .. } if key.tag_byte() == PLAIN => {
                    if *expiry_ms == NEVER || planted!(CountedThoughItExpires) {
                        self.change(key, true)?;
                    } else {
                        self.give_up(key.run());
                    }
                }
                Change::Delete { key } if key.tag_byte() == PLAIN => self.change(key, false)?,
                Change::RemoveRange { from, .. } if from.tag_byte() == PLAIN => {
                    planted!(CountKeptOverRange => continue);
                    self.give_up(from.run());
                }
                // Nothing is said of a run behind its end.
                Change::EndRun { run, .. } => {
                    let before = self.before(*run, &begun);
                    self.note(place, *run, before);
                    begun.insert(*run, self.keys(*run));
                }
                _ => {}
            }
        }
        let runs: Vec<_> = self.own.keys.keys().copied().collect();
        for run in runs {
            let before = self.before(run, &begun);
            self.note(changes.len(), run, before);
        }
        Ok(())
    }
}

const PLAIN: u8 = TypeTag::KV.to_byte();
