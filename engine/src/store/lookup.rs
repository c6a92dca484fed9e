//! Reads of one key.
//!
//! Invariant: what is looked at under a lock is copied or held before anybody else is called; a
//! reader who is told that something has expired is remembered ([`UnifiedStore::note_shown`]).

use std::borrow::Cow;

use super::layers::unreadable;
use super::pins::ReadPoint;
use super::version::Version;
use super::{Held, UnifiedStore};
use crate::codec::change::NEVER;
use crate::codec::{Malformed, value};
#[cfg(doc)]
use crate::error::Error;
use crate::error::Result;
use crate::sync::Arc;
use crate::table::block::Stamp;
use crate::table::lookup::{Lent, Wanted};
use crate::types::{PhysicalKey, Timestamp, Value, ValueKind, VersionedValue};

impl UnifiedStore {
    /// The newest version of a key, or that at a point.
    pub(crate) fn read(
        &self,
        key: &PhysicalKey,
        point: Option<ReadPoint>,
    ) -> Result<Option<VersionedValue>> {
        self.with_visible(key, point, |stamp, (kind, bytes), _block| {
            let Stamp { version, time_ms, expiry_ms } = stamp;
            Ok(VersionedValue {
                value: value::decode(kind, bytes)?,
                version,
                timestamp: Timestamp::from_millis(time_ms),
                expires_at: (expiry_ms != NEVER).then(|| Timestamp::from_millis(expiry_ms)),
            })
        })
    }

    /// The value alone: as [`UnifiedStore::read`], and cheaper.
    pub(crate) fn read_value(
        &self,
        key: &PhysicalKey,
        point: Option<ReadPoint>,
    ) -> Result<Option<Value>> {
        self.with_visible(key, point, |_, (kind, bytes), _block| value::decode(kind, bytes))
    }

    /// The same, held where it stands if that is a block of a table.
    pub(crate) fn hold(&self, key: &PhysicalKey, point: Option<ReadPoint>) -> Result<Option<Held>> {
        let point = point.filter(|_| !planted!(HeldOfThePresent));
        self.with_visible(key, point, |stamp, value, block| Ok(Held::new(stamp, value, block)))
    }

    fn with_visible<T>(
        &self,
        key: &PhysicalKey,
        point: Option<ReadPoint>,
        make: impl Fn(
            Stamp,
            (ValueKind, Cow<'_, [u8]>),
            Option<&Arc<[u8]>>,
        ) -> std::result::Result<T, Malformed>,
    ) -> Result<Option<T>> {
        let version = point.map_or(u64::MAX, |point| point.version);
        self.with_newest(Wanted { key, version, value: true }, &|lent| {
            let Some(lent) = lent else { return Ok(None) };
            if !self.is_visible(&lent, point) {
                if !planted!(ShownByGetForgotten) {
                    self.note_hidden(&lent, point);
                }
                return Ok(None);
            }
            sometimes!("store/read-at-a-pin", point.is_some());
            let Lent { stamp, value, block } = lent;
            value.map(|value| make(stamp, value, block)).transpose()
        })
    }

    /// Looks at the newest version of a key that is at most the one that is wanted, be it a
    /// tombstone or expired. `look` may be called under a lock: it calls nothing of the store but
    /// its clock.
    ///
    /// Errors: those of a read from tables; [`Error::Corruption`] for what `look` cannot read.
    fn with_newest<T>(
        &self,
        wanted: Wanted<'_>,
        look: &impl Fn(Option<Lent<'_>>) -> std::result::Result<T, Malformed>,
    ) -> Result<T> {
        let Wanted { key, version, .. } = wanted;
        let layers = self.inner.layers.read();
        let found = layers.memtable_of(key.is_reserved()).newest_at(key, version);
        let removed = layers.removals.newest(key, version);
        if found.is_some() || layers.below.is_empty() {
            sometimes!("store/removed-in-memory", found.is_some_and(|f| f.version < removed));
            let is_there = |found: &&Version| found.version >= removed;
            let found = found.filter(|f| is_there(f) || planted!(RemovalForgottenByMemtable));
            return look(found.map(Version::lend)).map_err(unreadable(key));
        }
        let below = Arc::clone(&layers.below);
        drop(layers);
        below.look(wanted, removed, look)
    }

    /// Whether a version is there at a point, or now. The clock is asked only if it matters.
    fn is_visible(&self, lent: &Lent<'_>, point: Option<ReadPoint>) -> bool {
        let now_ms = || point.map_or_else(|| self.inner.clock.now_ms(), |point| point.now_ms);
        let expiry_ms = lent.stamp.expiry_ms;
        lent.value.is_some() && (expiry_ms == NEVER || now_ms() < expiry_ms)
    }

    /// A reader is told that there is nothing, for a version that is not visible.
    fn note_hidden(&self, lent: &Lent<'_>, point: Option<ReadPoint>) {
        if lent.value.is_some() && (!planted!(ShownAtAPinForgotten) || point.is_none()) {
            self.note_shown(lent.stamp.expiry_ms);
        }
    }

    /// Whether a key is visible.
    ///
    /// Errors: those of a read from tables.
    pub(crate) fn contains(&self, key: &PhysicalKey, point: Option<ReadPoint>) -> Result<bool> {
        let pinned = point.filter(|_| !planted!(SnapshotReadsPresent));
        let version = pinned.map_or(u64::MAX, |point| point.version);
        self.with_newest(Wanted { key, version, value: false }, &|lent| {
            let Some(lent) = lent else { return Ok(false) };
            let is_visible = self.is_visible(&lent, point);
            if !is_visible && !planted!(ShownByExistsForgotten) {
                self.note_hidden(&lent, point);
            }
            Ok(is_visible)
        })
    }
}
