//! The walk over every byte of an open database: which moment it is of.

use super::Database;
use crate::commit::pipeline::Pipeline;
use crate::error::{Error, Result};
use crate::manifest::in_force::InForce;
use crate::verify::verify;
use crate::verify::view::{Found, LogEnd, Since, Still, View};

impl Since for Pipeline {
    fn is_in_force(&self, in_force: &InForce) -> bool {
        self.writer.lock_for_upkeep().journal.in_force().1.is_same(in_force)
    }

    fn names(&self, number: u64) -> bool {
        self.writer.lock_for_upkeep().journal.in_force().0.names(number)
    }
}

impl Database {
    /// Walks every byte of every file of the store, and holds what they say against each other:
    /// - the manifest: each of its bytes, and that it says what this database has in force;
    /// - the log: headers, checksums, links, versions and times that ascend, attested lengths, and
    ///   that each commit decodes;
    /// - the tables: checksums, order, ranges, counts, filters against keys;
    /// - the levels: that of each key the higher level holds the newer versions, and none that the
    ///   manifest does not know of;
    /// - the runs: records against the indexes by which they are listed, counts, what active runs
    ///   have done, and that no key is of a run that never began, or that was dropped.
    ///
    /// `tell` hears of each violation, an [`Error::Corruption`] with file and offset (those of the
    /// manifest, where a violation has no place of its own). The walk is of the moment of the call:
    /// commits and reads go on meanwhile. It changes nothing, and also walks a database that was
    /// opened for reading only. What lies behind the last record of the log, and the lock file, no
    /// opening reads, and neither does it. Where a failed write or sync has poisoned the database,
    /// nobody knows which manifest is in force and how far the log goes: then the log is walked as
    /// far as the manifest attests it.
    ///
    /// What was written and not synced yet may be gone, where a disk has failed to keep it and will
    /// say so at the next sync: that is told, too.
    ///
    /// It costs three reads of each table and one of the log, and a look at the record of each run;
    /// it holds a block of each level in memory.
    ///
    /// ```
    /// use runstone::Database;
    /// let db = Database::in_memory()?;
    /// let mut violations = 0;
    /// db.verify(|_| violations += 1)?;
    /// assert_eq!(violations, 0);
    /// # Ok::<(), runstone::Error>(())
    /// ```
    ///
    /// Errors: [`Error::Io`], and the walk ends there; [`Error::UnsupportedFormat`], likewise;
    /// [`Error::Closed`].
    pub fn verify(&self, tell: impl FnMut(Error)) -> Result<()> {
        self.check_open()?;
        let core = &*self.core;
        match (&core.pipeline, &core.found) {
            (Some(pipeline), _) => {
                verify(&self.view_of_writer(pipeline)?, &core.place, &**pipeline, tell)
            }
            (None, Some(found)) => verify(&self.view_of_reader(found)?, &core.place, &Still, tell),
            (None, None) => Ok(()),
        }
    }

    /// The present, between two commits.
    fn view_of_writer(&self, pipeline: &Pipeline) -> Result<View> {
        let core = &*self.core;
        let writer = pipeline.writer.lock_for_upkeep();
        let (manifest, in_force) = writer.journal.in_force();
        let log = writer.journal.log();
        let end = LogEnd {
            at: log.written(),
            synced: Some(pipeline.gate.synced()),
            version: (log.buffered() == 0).then_some(writer.last_version),
        };
        Ok(View {
            manifest: manifest.clone(),
            in_force: in_force.clone(),
            log: (!pipeline.health.is_poisoned()).then_some(end),
            below: core.store.below(),
            removals: core.store.removals(),
            census: core.runs.census(),
            pin: core.store.pin_anyway()?,
            read_bytes: core.options.steps.read_bytes,
        })
    }

    /// What the opening has found.
    fn view_of_reader(&self, found: &Found) -> Result<View> {
        let core = &*self.core;
        let version = Some(core.store.version());
        Ok(View {
            manifest: found.manifest.clone(),
            in_force: found.in_force.clone(),
            log: Some(LogEnd { at: found.end, synced: None, version }),
            below: core.store.below(),
            removals: core.store.removals(),
            census: core.runs.census(),
            pin: core.store.pin_anyway()?,
            read_bytes: core.options.steps.read_bytes,
        })
    }
}

#[cfg(test)]
mod tests;
