//! How much of each table removals hide.
//!
//! Invariants: a table is *wholly* removed only if each of its keys is hidden from everybody, by a
//! removal that no crash would take back; a table whose removals were all applied when it was
//! written counts for nothing, so that cleaning it ends.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::levels::{Levels, LiveTable};
use crate::removals::{Cover, Removal, Removals};
use crate::store::pins::Pins;

/// A table is cleaned when a tenth of its entries are hidden.
const STALE_SHARE: u64 = 10;

/// How much of a table is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// All of it.
    Whole,
    /// About so many of its entries.
    Entries(u64),
}

/// What is hidden of the tables of some levels, by their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Removed(BTreeMap<u64, Share>);

impl Removed {
    /// Looks at all tables; `upto`: removals behind this version do not count yet.
    ///
    /// Errors: those of a read of an index.
    pub(crate) fn look(
        levels: &Levels,
        removals: &Removals,
        upto: u64,
        pins: &Pins,
    ) -> Result<Self> {
        let mut shares = BTreeMap::new();
        if removals.is_empty() {
            return Ok(Removed(shares));
        }
        for live in levels.tables() {
            let (first, last) = (live.first().run(), live.last().run());
            let mut share = Share::Entries(0);
            for (_, cover) in removals.covers(first..=last) {
                share = share.and(share_of(live, cover, upto, pins)?);
            }
            if share != Share::Entries(0) {
                shares.insert(live.number(), share);
            }
        }
        Ok(Removed(shares))
    }

    /// Whether a table holds nothing that anybody sees.
    pub(crate) fn is_whole(&self, live: &LiveTable) -> bool {
        self.0.get(&live.number()) == Some(&Share::Whole)
    }

    /// Whether so much of a table is hidden that it is written again.
    pub(crate) fn is_stale(&self, live: &LiveTable) -> bool {
        match self.0.get(&live.number()) {
            Some(Share::Whole) => true,
            Some(Share::Entries(hidden)) => {
                hidden.saturating_mul(STALE_SHARE) >= live.table.properties().entries
            }
            None => false,
        }
    }

    /// Whether something of a table is hidden.
    pub(crate) fn holds(&self, live: &LiveTable) -> bool {
        self.0.contains_key(&live.number())
    }

    /// Whether any table is to be written again, or to go.
    pub(crate) fn asks(&self, levels: &Levels) -> bool {
        levels.tables().any(|live| self.is_stale(live))
    }
}

impl Share {
    fn and(self, other: Share) -> Share {
        match (self, other) {
            (Share::Entries(a), Share::Entries(b)) => Share::Entries(a.saturating_add(b)),
            _ => Share::Whole,
        }
    }
}

/// What one run's removals hide of a table.
fn share_of(live: &LiveTable, cover: &Cover, upto: u64, pins: &Pins) -> Result<Share> {
    let (first, last, properties) = (live.first(), live.last(), live.table.properties());
    let (oldest, newest) = properties.versions;
    let (mut hidden, mut covered_to) = (0u64, first.clone());
    for piece in cover.within(first, last) {
        let version = piece.newest(upto);
        if version <= oldest || version <= properties.applied || pins.see(oldest, version) {
            continue;
        }
        if version > newest && piece.from <= covered_to {
            covered_to = piece.to.clone();
        }
        hidden = hidden.saturating_add(live.table.entries_within(&piece.from, &piece.to)?);
    }
    Ok(if covered_to > *last { Share::Whole } else { Share::Entries(hidden) })
}

/// Whether a removal hides nothing of these levels any more.
pub(crate) fn is_spent(removal: &Removal, levels: &Levels) -> bool {
    let version = removal.id.version;
    levels.tables().all(|live| {
        let properties = live.table.properties();
        let overlaps = removal.from <= *live.last() && *live.first() < removal.to;
        !overlaps || properties.versions.0 > version || properties.applied >= version
    })
}
