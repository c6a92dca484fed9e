//! How much of each table removals hide, or stands before the key from which on it counts.
//!
//! Invariants: a table is *wholly* removed only if each of its keys is hidden from everybody, by a
//! removal that no crash would take back; a table whose removals were all applied when it was
//! written, and that counts as a whole, counts for nothing here, so that cleaning it ends.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::levels::{Levels, LiveTable};
use crate::removals::{Cover, Removal, Removals};
use crate::store::pins::Pins;

/// A table is cleaned when a tenth of its entries are hidden, or a twelfth of its bytes: with what
/// an idle store has above the lowest level, a tenth of it, that is a fifth of what counts.
const STALE_SHARE: u64 = 10;
const STALE_BYTES_SHARE: u64 = 12;

/// How much of a table is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// All of it.
    Whole,
    /// About so many of its entries, and at most so many of its bytes.
    Part { entries: u64, bytes: u64 },
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
        for live in levels.tables() {
            if removals.is_empty() && live.from.is_none() {
                continue;
            }
            let (first, last) = (live.first().run(), live.last().run());
            let mut share = before(live)?;
            for (_, cover) in removals.covers(first..=last) {
                share = share.and(share_of(live, cover, upto, pins)?);
            }
            if share != Share::NONE {
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
            Some(_) if planted!(RemovedKept) => false,
            Some(Share::Whole) => true,
            Some(Share::Part { entries, bytes }) => {
                let table = &live.table;
                entries.saturating_mul(STALE_SHARE) >= table.properties().entries
                    || bytes.saturating_mul(STALE_BYTES_SHARE) >= table.data_bytes()
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
    const NONE: Share = Share::Part { entries: 0, bytes: 0 };

    fn and(self, other: Share) -> Share {
        match (self, other) {
            (Share::Part { entries, bytes }, Share::Part { entries: more, bytes: longer }) => {
                let (entries, bytes) = (entries.saturating_add(more), bytes.saturating_add(longer));
                Share::Part { entries, bytes }
            }
            _ => Share::Whole,
        }
    }
}

/// What was merged into a lower level, and stands here still.
fn before(live: &LiveTable) -> Result<Share> {
    let Some(from) = &live.from else { return Ok(Share::NONE) };
    let (entries, bytes) = live.table.within(&live.table.properties().first, from)?;
    sometimes!("compaction/part-of-a-table-counts");
    Ok(Share::Part { entries, bytes })
}

/// What one run's removals hide of a table.
fn share_of(live: &LiveTable, cover: &Cover, upto: u64, pins: &Pins) -> Result<Share> {
    let (first, last, properties) = (live.first(), live.last(), live.table.properties());
    let (oldest, newest) = properties.versions;
    let (mut hidden, mut covered_to) = (Share::NONE, first.clone());
    for piece in cover.within(first, last) {
        let version = piece.newest(upto);
        if version <= oldest || version <= properties.applied || pins.see(oldest, version) {
            continue;
        }
        if version > newest && piece.from <= covered_to {
            covered_to = piece.to.clone();
        }
        let (entries, bytes) = live.table.within(&piece.from, &piece.to)?;
        hidden = hidden.and(Share::Part { entries, bytes });
    }
    Ok(if covered_to > *last { Share::Whole } else { hidden })
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
