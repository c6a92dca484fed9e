//! What the leader asks of published state before it accepts a commit.
//!
//! Invariant: nothing is changed, but for memory that is freed if that is what makes room.

use super::admission::{Budget, Known, Overlay, fits_a_file};
use super::group::Accepted;
use super::pipeline::Pipeline;
use super::queue::{Changes, Request};
use crate::codec::change::{Change, NEVER};
use crate::error::{Error, Result};
use crate::store::pins::ReadPoint;
use crate::types::{PhysicalKey, Timestamp, VersionedValue};

impl Pipeline {
    /// Judges a request; frees memory, once, if that is what it takes.
    pub(super) fn admit(
        &self,
        overlay: &mut Overlay,
        request: &Request,
        budget: &mut Budget,
        collected: &mut bool,
    ) -> Result<()> {
        fits_a_file(request, &self.place)?;
        let known = self.known();
        let verdict = overlay.admit(request, known, *budget);
        if matches!(verdict, Err(Error::MemtableFull { .. })) && !*collected {
            sometimes!("judge/memory-collected-for-room");
            *collected = true;
            self.store.collect_garbage(self.options.group_commits_max);
            self.store.collect_records(self.options.group_commits_max);
            *budget = self.budget();
            overlay.note_new_budget();
            return overlay.admit(request, known, *budget);
        }
        verdict
    }

    /// What is published.
    pub(super) fn known(&self) -> Known<'_> {
        Known { runs: &self.runs, store: &self.store }
    }

    pub(super) fn budget(&self) -> Budget {
        Budget {
            used: self.store.memory_bytes_max() + self.runs.memory_bytes(),
            max: self.shares.memtables,
            at_opening: self.memory_at_opening,
        }
    }

    /// What a delete that wants to know finds; `earlier` are the commits of its group.
    pub(super) fn previous(
        &self,
        earlier: &[Accepted],
        changes: &Changes,
        want_previous: bool,
        now_ms: u64,
    ) -> Result<Option<Box<VersionedValue>>> {
        match changes.as_slice() {
            [Change::Delete { key }] if want_previous => {
                Ok(self.visible_before(earlier, key, now_ms)?.map(Box::new))
            }
            _ => Ok(None),
        }
    }

    fn visible_before(
        &self,
        earlier: &[Accepted],
        key: &PhysicalKey,
        now_ms: u64,
    ) -> Result<Option<VersionedValue>> {
        for accepted in earlier.iter().rev().filter(|_| !planted!(DeleteIgnoresItsGroup)) {
            for change in accepted.changes.as_slice().iter().rev() {
                match change {
                    Change::Put { key: put, value, expiry_ms } if put == key => {
                        sometimes!("judge/delete-of-its-groups-put");
                        if *expiry_ms <= now_ms {
                            return Ok(None);
                        }
                        let value = value.to_value().map_err(|m| {
                            Error::corruption("a commit in memory", 0, m.expected, m.found)
                        })?;
                        return Ok(Some(VersionedValue {
                            value,
                            version: accepted.version,
                            timestamp: Timestamp::from_millis(accepted.time_ms),
                            expires_at: (*expiry_ms != NEVER)
                                .then(|| Timestamp::from_millis(*expiry_ms)),
                        }));
                    }
                    Change::Delete { key: deleted } if deleted == key => return Ok(None),
                    Change::RemoveRange { from, to } if from <= key && key < to => {
                        sometimes!("judge/delete-of-what-its-group-removed");
                        return Ok(None);
                    }
                    _ => {}
                }
            }
        }
        self.store.read(key, Some(ReadPoint { version: u64::MAX, now_ms }))
    }
}
