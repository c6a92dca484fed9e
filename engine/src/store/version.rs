//! One version of a key, and all that there are of it.

use std::borrow::Cow;

use crate::codec::value::Stored;
use crate::table::block::Stamp;
use crate::table::lookup::Lent;
use crate::table::reader::Row;

/// One version of a key; a tombstone if it has no value.
#[derive(Clone, Debug)]
pub(crate) struct Version {
    pub(crate) version: u64,
    pub(crate) time_ms: u64,
    pub(crate) expiry_ms: u64,
    pub(crate) value: Option<Stored>,
}

impl From<Row> for Version {
    fn from(Row { stamp: Stamp { version, time_ms, expiry_ms }, value }: Row) -> Self {
        Version { version, time_ms, expiry_ms, value }
    }
}

impl Version {
    pub(super) fn stamp(&self) -> Stamp {
        let Version { version, time_ms, expiry_ms, .. } = *self;
        Stamp { version, time_ms, expiry_ms }
    }

    /// How long its value is, in bytes.
    pub(crate) fn value_len(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.bytes().len())
    }

    /// It, where it stands.
    pub(super) fn lend(&self) -> Lent<'_> {
        let value = self.value.as_ref();
        let value = value.map(|value| (value.kind(), Cow::Borrowed(value.bytes())));
        Lent { stamp: self.stamp(), value, block: None }
    }
}

/// The versions of one key.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(super) newest: Version,
    /// Superseded versions that a pin sees, newest first.
    #[allow(clippy::box_collection)] // most chains have none: 8 bytes, not 24
    pub(super) older: Option<Box<Vec<Version>>>,
}

impl Chain {
    /// The version that is the newest at `version`.
    pub(super) fn at(&self, version: u64) -> Option<&Version> {
        if self.newest.version <= version {
            return Some(&self.newest);
        }
        self.older.as_deref()?.iter().find(|older| older.version <= version)
    }

    /// All of them, the newest first.
    pub(crate) fn versions(&self) -> impl Iterator<Item = &Version> + Clone {
        let older = self.older.iter().flat_map(|older| older.iter());
        std::iter::once(&self.newest).chain(older)
    }

    /// Whether there is more than one.
    pub(crate) fn is_several(&self) -> bool {
        self.older.is_some()
    }

    /// Whether nobody can see anything of it any more.
    pub(super) fn is_gone(&self) -> bool {
        self.newest.value.is_none() && self.older.is_none()
    }
}
