//! All syncs of the log pass here, one at a time; a failure poisons.
//!
//! Invariants:
//! 1. At most one sync runs at a time. An operating system reports a lost write once: were two
//!    syncs to run at once, one could take the error and the other acknowledge the loss.
//! 2. After a failed sync none is ever tried again; nothing more is acknowledged.
//! 3. `synced` only says what a sync that returned Ok had covered, while the store owned its
//!    directory.

use runstone_vfs::VfsFile;

use crate::error::{Error, Result};
use crate::place::Place;
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};

/// Whether the database may still write, and if not, why.
#[derive(Debug, Default)]
pub(crate) struct Health {
    poisoned: AtomicBool,
    /// What every writer is told.
    error: Mutex<Option<Error>>,
}

impl Health {
    /// Forbids every further write, and says what every writer is told from now on. The first
    /// reason stays.
    pub(crate) fn poison(&self, cause: &Error) -> Error {
        sometimes!("gate/poisoned-again", self.is_poisoned());
        sometimes!("gate/poisoned", !self.is_poisoned());
        let mut error = self.error.lock();
        let error = error.get_or_insert_with(|| match cause {
            Error::Displaced { .. } => cause.clone(),
            _ => Error::Poisoned { reason: cause.reason().into() },
        });
        self.poisoned.store(true, Ordering::Release);
        error.clone()
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Errors: [`Error::Poisoned`], or [`Error::Displaced`].
    pub(crate) fn check(&self) -> Result<()> {
        if !self.is_poisoned() {
            return Ok(());
        }
        sometimes!("gate/refused-as-poisoned");
        match self.error.lock().clone() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// What a sync covers.
#[derive(Debug)]
pub(crate) struct SyncPoint {
    pub(crate) place: Arc<Place>,
    pub(crate) file: Arc<dyn VfsFile>,
    pub(crate) path: Arc<std::path::Path>,
    /// The segment's number.
    pub(crate) segment: u64,
    /// How far it had been written when the sync was asked for.
    pub(crate) written: u64,
    /// How many commits that count towards a batch had been written by then, ever.
    pub(crate) batched: u64,
}

/// The one passage for syncs of the log.
#[derive(Debug, Default)]
pub(crate) struct SyncGate {
    /// The segment that is current; held for as long as a sync runs.
    segment: Mutex<u64>,
    synced: AtomicU64,
    synced_batched: AtomicU64,
    asked: Mutex<Option<SyncPoint>>,
}

impl SyncGate {
    /// How far the current segment is known to be synced.
    pub(crate) fn synced(&self) -> u64 {
        self.synced.load(Ordering::Acquire)
    }

    /// How many commits that count towards a batch are synced, ever.
    pub(crate) fn synced_batched(&self) -> u64 {
        self.synced_batched.load(Ordering::Acquire)
    }

    /// Asks for a sync by the next tick, which then need not wait for the writer's lock. A
    /// later point replaces one that nobody has taken yet.
    pub(crate) fn ask(&self, point: SyncPoint) {
        sometimes!("gate/asked-point-replaced", self.asked.lock().is_some());
        planted!(MarkedSyncedTooEarly => self.note_synced(&point));
        *self.asked.lock() = Some(point);
    }

    /// What was asked for, once.
    pub(crate) fn take_asked(&self) -> Option<SyncPoint> {
        self.asked.lock().take()
    }

    /// Waits for a sync in progress.
    pub(crate) fn wait_for_running(&self) {
        drop(self.segment.lock());
    }

    /// Another segment is written from now on, synced up to `synced`.
    pub(crate) fn switch_to(&self, segment: u64, synced: u64) {
        let mut current = self.segment.lock();
        *current = segment;
        planted!(StaleCounterPublished => if self.synced() > 0 { return });
        self.synced.store(synced, Ordering::Release);
    }

    /// Syncs, unless the point lies in an older segment (which was synced when it ended).
    ///
    /// Errors: [`Error::Poisoned`], if this sync or an earlier one failed; [`Error::Displaced`] if
    /// the directory is another's; [`Error::Io`] if it cannot be told whose it is. The last poisons
    /// nothing and marks nothing as synced: the sync did its work, and may be asked for again.
    pub(crate) fn sync(&self, point: &SyncPoint, health: &Health) -> Result<()> {
        let gate = self.segment.lock();
        let current = *gate;
        let gate = (!planted!(SyncBesideGate)).then_some(gate);
        health.check().inspect_err(|_| sometimes!("gate/sync-after-a-failed-one"))?;
        if current != point.segment || planted!(NoDataSync) {
            sometimes!("gate/point-in-an-older-segment");
            return Ok(());
        }
        planted!(CutNotSynced => if point.written <= self.synced() { return Ok(()) });
        let again = |e| if planted!(SyncRetriedAfterFailure) { point.file.sync() } else { Err(e) };
        if let Err(e) = point.file.sync().or_else(again) {
            planted!(FailedSyncForgotten => return Err(Error::DiskFull { what: e.to_string() }));
            sometimes!("gate/sync-failed");
            health.poison(&Error::io("syncing", &*point.path, e));
            return health.check();
        }
        // What a second owner could not know of is not durable: it reads the log once, when it
        // has the lock; and what the manifest by its name does not lead to is lost to the next
        // opening. Asked behind the write, the answer covers it.
        match point.place.check() {
            Ok(()) => {}
            Err(lost @ Error::Displaced { .. }) => {
                sometimes!("gate/not-the-owner");
                return Err(health.poison(&lost));
            }
            Err(unseen) => {
                sometimes!("gate/owner-not-seen");
                return Err(unseen);
            }
        }
        self.note_synced(point);
        drop(gate);
        Ok(())
    }

    fn note_synced(&self, point: &SyncPoint) {
        self.synced.fetch_max(point.written, Ordering::AcqRel);
        self.synced_batched.fetch_max(point.batched, Ordering::AcqRel);
    }
}
