//! An entry of a scan that is read where it stands.

use std::borrow::Cow;
use std::fmt;

use crate::codec::change::NEVER;
use crate::codec::value;
use crate::error::{Error, Result};
use crate::store::{Held, Seen};
use crate::types::{Timestamp, Value, ValueKind, VersionedValue};

/// A value that is borrowed: its kind, and its bytes as they are stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ValueRef<'a> {
    kind: ValueKind,
    bytes: &'a [u8],
}

impl<'a> ValueRef<'a> {
    /// Which variant of [`Value`] it is.
    #[must_use]
    pub fn kind(&self) -> ValueKind {
        self.kind
    }

    /// The bytes of a [`Value::Bytes`]; `None` of any other kind.
    #[must_use]
    pub fn as_bytes(&self) -> Option<&'a [u8]> {
        (self.kind == ValueKind::Bytes).then_some(self.bytes)
    }

    /// The text of a [`Value::String`]; `None` of any other kind.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        let is_text = self.kind == ValueKind::String;
        std::str::from_utf8(self.bytes).ok().filter(|_| is_text)
    }

    /// The value, with bytes of its own.
    ///
    /// Error: [`Error::Corruption`] if it is not what a value of its kind is made of: a program
    /// that is no Runstone has written it, with a checksum that matches.
    pub fn to_value(&self) -> Result<Value> {
        value::decode(self.kind, Cow::Borrowed(self.bytes))
            .map_err(|m| Error::corruption("a stored value", 0, m.expected, m.found))
    }
}

impl fmt::Debug for ValueRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} of {} bytes", self.kind, self.bytes.len())
    }
}

/// An entry of a [`Scan`](crate::Scan), borrowed from what the scan has read: see
/// [`Scan::next_ref`](crate::Scan::next_ref).
#[derive(Clone, Copy, Debug)]
pub struct EntryRef<'a> {
    key: &'a [u8],
    value: ValueRef<'a>,
    version: u64,
    time_ms: u64,
    expiry_ms: u64,
}

impl EntryRef<'_> {
    /// Shows what a lookup by this key holds.
    pub(super) fn show<T>(
        held: Option<Held>,
        key: &[u8],
        read: impl FnOnce(EntryRef<'_>) -> T,
    ) -> Option<T> {
        held.and_then(|held| EntryRef::of(held.seen(key)).map(read))
    }
}

impl<'a> EntryRef<'a> {
    /// Of what a walk has shown; nothing of a tombstone.
    pub(super) fn of(seen: Seen<'a>) -> Option<Self> {
        let (kind, bytes) = seen.value?;
        let value = ValueRef { kind, bytes };
        let (version, time_ms, expiry_ms) =
            (seen.stamp.version, seen.stamp.time_ms, seen.stamp.expiry_ms);
        Some(EntryRef { key: seen.user, value, version, time_ms, expiry_ms })
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        self.key
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> ValueRef<'a> {
        self.value
    }

    /// The version of the commit that wrote it.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The engine's time of that commit.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        Timestamp::from_millis(self.time_ms)
    }

    /// When it expires, if it does: it is gone from this millisecond on.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        (self.expiry_ms != NEVER).then(|| Timestamp::from_millis(self.expiry_ms))
    }

    /// Key and value with bytes of their own.
    ///
    /// Error: that of [`ValueRef::to_value`].
    pub fn to_owned(&self) -> Result<(Vec<u8>, VersionedValue)> {
        let (timestamp, expires_at) = (self.timestamp(), self.expires_at());
        let (value, version) = (self.value.to_value()?, self.version);
        Ok((self.key.to_vec(), VersionedValue { value, version, timestamp, expires_at }))
    }
}
