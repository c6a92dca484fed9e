//! Planted bugs of the store; compiled with the feature `planted` only.

use super::Pin;
use super::memtable::Memtable;
use super::pins::ReadPoint;
use super::version::{Chain, Version};
use crate::types::PhysicalKey;

impl Memtable {
    /// A fresh version of the key hides what is under the key: the oldest fresh one, or the
    /// newest.
    pub(super) fn misread(&self, key: &PhysicalKey, version: u64) -> Option<&Version> {
        let mut fresh = self.fresh.iter().filter(|fresh| fresh.key == *key);
        let oldest = planted!(FreshReadInWrongOrder);
        match if oldest { fresh.next() } else { fresh.next_back() } {
            Some(fresh) => Some(&fresh.version).filter(|fresh| fresh.version <= version),
            None => {
                let slot = self.entries.find(key, self.entries.hash(key))?;
                self.entries.get(slot)?.chain.at(version)
            }
        }
    }
}

impl Chain {
    /// A tombstone goes, and what it hid is the newest.
    pub(super) fn drop_tombstone(&mut self, older: &[Version]) {
        if let (None, [hidden]) = (&self.newest.value, older) {
            self.newest = hidden.clone();
        }
    }
}

impl Pin {
    /// The version that was pinned, at the present time.
    pub(super) fn point_now(&self) -> ReadPoint {
        ReadPoint { now_ms: self.store.inner.clock.now_ms(), ..self.point }
    }
}

impl super::UnifiedStore {
    /// Whether a key is there, by what no table holds.
    pub(crate) fn is_in_memory(&self, key: &PhysicalKey) -> crate::error::Result<bool> {
        let levels = &self.below().levels;
        let flushed = levels.tables().map(|live| live.table.properties().versions.1).max();
        let found = self.read(key, None)?;
        Ok(found.is_some_and(|found| Some(found.version) > flushed))
    }

    /// Only what was shown last counts.
    pub(super) fn replace_shown(&self, expired_ms: u64) {
        if expired_ms > 0 {
            self.inner.shown_ms.store(expired_ms, crate::sync::Ordering::Release);
        }
    }
}
