//! The storage: what is published, and who reads it at which point.
//!
//! [`UnifiedStore`] maps keys to versions, in order: a memtable that recovery rebuilds from the
//! log, and sorted tables underneath. Keys of the reserved space have a memtable of their own, so
//! that what is counted and freed is what programs have written. It knows neither log nor runs.
//!
//! Invariants: a group of commits is applied and published under one write lock, so readers
//! see it whole or not at all; versions are published in order; a reader never waits for a
//! sync, only for the time that a group takes to be applied in memory.

mod entries;
mod freeing;
mod held;
mod index;
mod iter;
pub(crate) mod layers;
mod level_walk;
mod lookup;
pub(crate) mod memtable;
mod order;
pub(crate) mod pins;
#[cfg(feature = "planted")]
mod planted;
mod purge;
mod slab;
mod survey;
mod through;
mod upkeep;
pub(crate) mod version;
mod window;

pub(crate) use held::Held;
pub(crate) use iter::RangeIter;
use layers::{Below, Frozen, Layers};
use memtable::Memtable;
use pins::{Pins, ReadPoint};
use version::Version;
pub(crate) use window::Seen;

use crate::cache::Cache;
use crate::clock::EngineClock;
use crate::error::{Error, Result};
use crate::home::Home;
use crate::levels::Levels;
use crate::options::{Options, Steps};
use crate::removals::{Removal, Removals};
use crate::sync::{Arc, AtomicBool, AtomicU64, Ordering, RwLock};
use crate::types::{Key, PhysicalKey, Timestamp, VersionedValue};

/// One change of the store, ready to be applied.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) key: PhysicalKey,
    pub(crate) version: Version,
}

/// The memtable while a group is applied to it, and what is removed from it and all below.
#[derive(Debug)]
pub(crate) struct Applying<'a> {
    memtable: &'a mut Memtable,
    records: &'a mut Memtable,
    removals: &'a mut Arc<Removals>,
    pins: &'a Pins,
}

impl Applying<'_> {
    pub(crate) fn apply(&mut self, Applied { key, version }: Applied) {
        self.memtable.apply(key, version, self.pins);
    }

    /// Applies a change of the reserved space.
    pub(crate) fn apply_record(&mut self, Applied { key, version }: Applied) {
        self.records.apply(key, version, self.pins);
    }

    pub(crate) fn remove(&mut self, removal: Removal) {
        self.memtable.note_removal(&removal);
        Arc::make_mut(self.removals).insert(removal, |old, new| self.pins.see(old, new));
    }
}

/// The published data of all runs. Clones share it.
///
/// Public to read; every change goes through the log, by [`Database`](crate::Database).
///
/// In a forked child of the process that opened the database there is nothing to read: any lock may
/// be held for ever by a thread that the child does not have. There [`UnifiedStore::get`] is
/// [`Error::Forked`], the counts are 0, and [`UnifiedStore::version`] is that of the fork.
#[derive(Clone, Debug)]
pub struct UnifiedStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layers: RwLock<Layers>,
    /// These are set under the memtable's lock, and may be read without it.
    published: AtomicU64,
    bytes: AtomicU64,
    /// Those of them that a flush frees.
    flushable: AtomicU64,
    over_tables: AtomicBool,
    pins: Pins,
    pins_max: usize,
    steps: Steps,
    /// What of tables is in memory.
    cache: Arc<Cache>,
    clock: EngineClock,
    /// The greatest expiry, in engine time, of what a reader was told has expired; 0 if none was.
    shown_ms: AtomicU64,
}

impl UnifiedStore {
    pub(crate) fn new(
        (Frozen { memtable, records }, levels, removals): (Frozen, Levels, Removals),
        published: u64,
        clock: EngineClock,
        (home, cache): (Arc<dyn Home>, Arc<Cache>),
        options: &Options,
    ) -> Self {
        let (below, removals) = (Arc::new(Below { frozen: None, levels }), Arc::new(removals));
        let layers = Layers { memtable, records, below, removals };
        UnifiedStore {
            inner: Arc::new(Inner {
                published: AtomicU64::new(published),
                bytes: AtomicU64::new(layers.bytes()),
                flushable: AtomicU64::new(layers.flushable_bytes()),
                over_tables: AtomicBool::new(!layers.below.is_empty()),
                layers: RwLock::new(layers),
                pins: Pins::of(home),
                pins_max: options.snapshots_max,
                steps: options.steps,
                cache,
                clock,
                shown_ms: AtomicU64::new(0),
            }),
        }
    }

    /// The version of the newest published commit; 0 before the first.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.inner.published.load(Ordering::Acquire)
    }

    /// The memory that keys and values take, in bytes, with their places in the maps.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.figure(Memtable::bytes) + self.figure_of_removals()
    }

    /// The memory that removals take; 0 in a forked child.
    fn figure_of_removals(&self) -> u64 {
        if self.inner.pins.is_inherited() { 0 } else { self.removals().bytes() }
    }

    /// The same, or a little more, at the cost of one load.
    pub(crate) fn memory_bytes_max(&self) -> u64 {
        self.inner.bytes.load(Ordering::Acquire)
    }

    /// What of that a flush frees: not what removals take, which stay while they hide anything.
    pub(crate) fn flushable_bytes_max(&self) -> u64 {
        self.inner.flushable.load(Ordering::Acquire)
    }

    /// A figure of the memtable; that of an empty one in a forked child.
    fn figure<T: Default>(&self, read: impl FnOnce(&Memtable) -> T) -> T {
        match self.inner.pins.is_inherited() {
            true => T::default(),
            false => self.settled(read),
        }
    }

    /// Reads the memtable when nothing in it is fresh.
    fn settled<T>(&self, read: impl FnOnce(&Memtable) -> T) -> T {
        self.settled_of(false, read)
    }

    /// The same, or that of the reserved space.
    fn settled_of<T>(&self, is_reserved: bool, read: impl FnOnce(&Memtable) -> T) -> T {
        let layers = self.inner.layers.read();
        let memtable = layers.memtable_of(is_reserved);
        if memtable.is_settled() {
            return read(memtable);
        }
        sometimes!("store/reader-settles");
        drop(layers);
        self.change_of(is_reserved, |memtable, pins| {
            memtable.settle(pins);
            read(memtable)
        })
    }

    /// The number of keys in the memtable, of all runs, with those that have expired and not yet
    /// been freed, and tombstones over tables. Keys in tables are not counted.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.figure(Memtable::len)
    }

    /// The number of keys in the memtable that hold superseded versions, which snapshots still see
    /// or which maintenance has not yet freed.
    #[must_use]
    pub fn superseded_key_count(&self) -> usize {
        self.figure(Memtable::garbage_len)
    }

    /// The engine's time now: it never goes backwards, whatever the wall clock does.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.inner.clock.now_ms())
    }

    /// The newest published version of a key, if it is there and has not expired.
    ///
    /// The key's namespace is not compared: a run belongs to one namespace, and the run id
    /// says which. Error: [`Error::Forked`].
    ///
    /// ```
    /// use runstone::{Database, Key, Namespace, RunId, Value};
    /// let db = Database::in_memory()?;
    /// let run = RunId::new();
    /// db.begin_run(run, runstone::NO_TAGS)?;
    /// db.put(run, "k", 7)?;
    /// let key = Key::new_kv(Namespace::default_for(run), "k");
    /// assert_eq!(db.storage().get(&key)?.expect("just put").value, Value::Int(7));
    /// # Ok::<(), runstone::Error>(())
    /// ```
    pub fn get(&self, key: &Key) -> Result<Option<VersionedValue>> {
        if self.inner.pins.is_inherited() {
            return Err(Error::Forked);
        }
        self.read(&PhysicalKey::new(key.run(), key.type_tag(), key.user_key()), None)
    }

    pub(crate) fn pins(&self) -> &Pins {
        &self.inner.pins
    }

    pub(crate) fn clock(&self) -> &EngineClock {
        &self.inner.clock
    }

    /// A reader is told that what expired then has expired: from the next flush on, that stays so
    /// ([`UnifiedStore::shown_ms`]). Most reads raise nothing, and then write nothing.
    fn note_shown(&self, expired_ms: u64) {
        planted!(ShownReplaced => self.replace_shown(expired_ms));
        if expired_ms > self.inner.shown_ms.load(Ordering::Acquire) {
            sometimes!("store/shown-as-expired");
            self.inner.shown_ms.fetch_max(expired_ms, Ordering::AcqRel);
        }
    }

    /// The greatest engine time, in milliseconds, that must be in the log for all to stay gone
    /// that a reader was told has expired.
    pub(crate) fn shown_ms(&self) -> u64 {
        self.inner.shown_ms.load(Ordering::Acquire)
    }

    /// Whether a snapshot or iterator takes for expired what has expired behind this time: it may
    /// be read, and show that, when the store has been closed.
    pub(crate) fn pins_may_show(&self, behind_ms: u64) -> bool {
        let pinned = self.inner.pins.latest_ms();
        pinned.is_some_and(|pinned| {
            self.settled(|memtable| memtable.expires_within(behind_ms, pinned))
                || self.below().may_expire_within(behind_ms, pinned)
        })
    }

    /// Pins the present: everything published so far, at this time.
    ///
    /// Error: [`Error::LimitExceeded`] if `snapshots_max` pins are alive.
    pub(crate) fn pin(&self) -> Result<Pin> {
        // No group is half applied, and no version freed, while this lock is held.
        let early = planted!(SnapshotBeforeLock).then(|| self.version());
        let _layers = self.inner.layers.read();
        let version = early.unwrap_or_else(|| self.version());
        self.pin_at(ReadPoint { version, now_ms: self.inner.clock.now_ms() })
    }

    /// Reads what is published together with groups, while none is half applied.
    pub(crate) fn between_groups<T>(&self, read: impl FnOnce() -> T) -> T {
        let _layers = self.inner.layers.read();
        read()
    }

    /// Pins a point that is pinned already.
    pub(crate) fn pin_at(&self, point: ReadPoint) -> Result<Pin> {
        self.pin_within(point, self.inner.pins_max)
    }

    fn pin_within(&self, point: ReadPoint, limit: usize) -> Result<Pin> {
        match self.inner.pins.add(point, limit) {
            Ok(id) => Ok(Pin { store: self.clone(), point, id }),
            Err(alive) => Err(Error::LimitExceeded {
                what: "snapshots and iterators alive",
                limit: limit as u64,
                actual: alive as u64 + 1,
            }),
        }
    }

    /// Applies a group and publishes it up to `version`. `apply` runs under the write lock,
    /// also for what must become visible together with the group.
    pub(crate) fn publish(&self, version: u64, apply: impl FnOnce(&mut Applying<'_>)) {
        planted!(PublishedBeforeApplied => self.inner.published.store(version, Ordering::Release));
        let mut layers = self.inner.layers.write();
        let Layers { memtable, records, removals, .. } = &mut *layers;
        apply(&mut Applying { memtable, records, removals, pins: &self.inner.pins });
        debug_assert!(version >= self.version(), "versions are published in order");
        self.inner.published.store(version, Ordering::Release);
        self.note_bytes(&layers);
    }

    /// Changes the memtable, and accounts for it.
    fn change<T>(&self, change: impl FnOnce(&mut Memtable, &Pins) -> T) -> T {
        self.change_of(false, change)
    }

    /// The same, or that of the reserved space.
    fn change_of<T>(&self, is_reserved: bool, change: impl FnOnce(&mut Memtable, &Pins) -> T) -> T {
        let mut layers = self.inner.layers.write();
        let Layers { memtable, records, .. } = &mut *layers;
        let memtable = if is_reserved { records } else { memtable };
        let outcome = change(memtable, &self.inner.pins);
        self.note_bytes(&layers);
        outcome
    }

    fn note_bytes(&self, layers: &Layers) {
        self.inner.bytes.store(layers.bytes(), Ordering::Release);
        self.inner.flushable.store(layers.flushable_bytes(), Ordering::Release);
    }
}

/// A read point that stays readable while this lives.
#[derive(Debug)]
pub(crate) struct Pin {
    store: UnifiedStore,
    point: ReadPoint,
    id: u64,
}

impl Pin {
    pub(crate) fn point(&self) -> ReadPoint {
        planted!(SnapshotTimeMoves => return self.point_now());
        self.point
    }

    pub(crate) fn store(&self) -> &UnifiedStore {
        &self.store
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.store.inner.pins.remove(self.point, self.id);
    }
}
