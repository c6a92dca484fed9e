//! All syncs of the log pass here, one at a time; a failure poisons.
//!
//! Invariants:
//! 1. At most one sync runs at a time. An operating system reports a lost write once: were two
//!    syncs to run at once, one could take the error and the other acknowledge the loss.
//! 2. After a failed sync none is ever tried again; nothing more is acknowledged.
//! 3. `synced` only says what a sync that returned Ok had covered.

use std::sync::Arc as StdArc;

use runstone_vfs::VfsFile;

use crate::error::{Error, Result};
use crate::sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering};

/// Whether the database may still write, and if not, why.
#[derive(Debug, Default)]
pub(crate) struct Health {
    poisoned: AtomicBool,
    reason: Mutex<Option<StdArc<str>>>,
}

impl Health {
    /// Forbids every further write. The first reason stays.
    pub(crate) fn poison(&self, error: &Error) -> StdArc<str> {
        sometimes!("gate/poisoned-again", self.is_poisoned());
        sometimes!("gate/poisoned", !self.is_poisoned());
        let mut reason = self.reason.lock();
        let reason = reason.get_or_insert_with(|| error.reason().into());
        self.poisoned.store(true, Ordering::Release);
        StdArc::clone(reason)
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Error: [`Error::Poisoned`].
    pub(crate) fn check(&self) -> Result<()> {
        if !self.is_poisoned() {
            return Ok(());
        }
        sometimes!("gate/refused-as-poisoned");
        let reason = self.reason.lock().clone().unwrap_or_else(|| "unknown".into());
        Err(Error::Poisoned { reason })
    }
}

/// What a sync covers.
#[derive(Debug)]
pub(crate) struct SyncPoint {
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
        if planted!(MarkedSyncedTooEarly) {
            self.synced.fetch_max(point.written, Ordering::AcqRel);
            self.synced_batched.fetch_max(point.batched, Ordering::AcqRel);
        }
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
        if planted!(StaleCounterPublished) && self.synced() > 0 {
            return;
        }
        self.synced.store(synced, Ordering::Release);
    }

    /// Syncs, unless the point lies in an older segment (which was synced when it ended).
    ///
    /// Error: [`Error::Poisoned`], if this sync or an earlier one failed.
    pub(crate) fn sync(&self, point: &SyncPoint, health: &Health) -> Result<()> {
        let mut gate = Some(self.segment.lock());
        let current = gate.as_deref().copied();
        if planted!(SyncBesideGate) {
            gate = None;
        }
        health.check().inspect_err(|_| sometimes!("gate/sync-after-a-failed-one"))?;
        if current != Some(point.segment) || planted!(NoDataSync) {
            sometimes!("gate/point-in-an-older-segment");
            return Ok(());
        }
        if planted!(CutNotSynced) && point.written <= self.synced() {
            return Ok(());
        }
        let synced = match point.file.sync() {
            Err(_) if planted!(SyncRetriedAfterFailure) => point.file.sync(),
            Err(e) if planted!(FailedSyncForgotten) => {
                return Err(Error::DiskFull { what: e.to_string() });
            }
            synced => synced,
        };
        if let Err(e) = synced {
            sometimes!("gate/sync-failed");
            health.poison(&Error::io("syncing", &*point.path, e));
            return health.check();
        }
        self.synced.fetch_max(point.written, Ordering::AcqRel);
        self.synced_batched.fetch_max(point.batched, Ordering::AcqRel);
        drop(gate);
        Ok(())
    }
}
