//! Looks up a key in a table.
//!
//! What is found is lent where it stands: in a block that is kept, under the lock of its slot. To
//! count a reference instead would be to wait for the block's memory before anything of it is read.
//! Who takes more than a look copies, or holds the block.
//!
//! Invariant: no file is read under the lock of a slot.

use std::borrow::Cow;
use std::sync::Arc;

use super::block::{Block, Content, Found, Stamp};
use super::properties::Properties;
use super::reader::{Row, Table, malformed};
use crate::codec::Malformed;
use crate::codec::value::{self, Stored};
use crate::error::Result;
use crate::types::{PhysicalKey, ValueKind};

/// A version of a key, lent from where it stands.
#[derive(Debug)]
pub(crate) struct Lent<'a> {
    pub(crate) stamp: Stamp,
    /// `None` for a tombstone. The bytes are a lookup's own if they were read for it alone.
    pub(crate) value: Option<(ValueKind, Cow<'a, [u8]>)>,
    /// The block that the value stands in, if it is in one.
    pub(crate) block: Option<&'a Arc<[u8]>>,
}

impl Lent<'_> {
    /// The version with bytes of its own.
    ///
    /// Error: [`Malformed`] if the value is none of its kind.
    pub(crate) fn into_row(self) -> std::result::Result<Row, Malformed> {
        let value = self.value.map(|(kind, bytes)| Stored::checked(kind, bytes)).transpose()?;
        Ok(Row { stamp: self.stamp, value })
    }
}

/// Which version of a key is looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) key: &'a PhysicalKey,
    /// At most this one.
    pub(crate) version: u64,
    /// A large value is read; else it is shown as empty.
    pub(crate) value: bool,
}

/// What a block says of a key.
enum Searched<T> {
    Looked(T),
    /// The value lies in an extent: its kind, and where.
    Extent(Stamp, ValueKind, (u64, usize)),
    InTheNext,
    Nothing,
}

fn search<T>(
    bytes: &Arc<[u8]>,
    wanted: Wanted<'_>,
    hash: u64,
    look: &impl Fn(Lent<'_>) -> std::result::Result<T, Malformed>,
) -> std::result::Result<Searched<T>, Malformed> {
    let entry = match Block::new(bytes)?.find(wanted.key, hash, wanted.version)? {
        Found::Entry(entry) => entry,
        Found::InTheNext => return Ok(Searched::InTheNext),
        Found::Nothing => return Ok(Searched::Nothing),
    };
    let stamp = entry.stamp();
    let lent = match entry.content {
        Content::Tombstone => None,
        Content::Value { kind, bytes } => Some((value::kind(kind)?, Cow::Borrowed(bytes))),
        Content::Extent { kind, offset, length } => {
            let kind = value::kind(kind)?;
            if wanted.value {
                let part = (offset, usize::try_from(length).unwrap_or(usize::MAX));
                return Ok(Searched::Extent(stamp, kind, part));
            }
            Some((kind, Cow::Borrowed(&[][..])))
        }
    };
    look(Lent { stamp, value: lent, block: Some(bytes) }).map(Searched::Looked)
}

impl Table {
    /// Looks at the newest version of a key that is at most the one that is wanted; `None` if there
    /// is none. `look` is called at most once, perhaps under the lock of a slot: it reads nothing
    /// of a table.
    ///
    /// Errors: [`Error::Corruption`](crate::Error::Corruption), also for what `look` cannot read;
    /// [`Error::Io`](crate::Error::Io).
    pub(crate) fn look<T>(
        &self,
        wanted: Wanted<'_>,
        look: &impl Fn(Lent<'_>) -> std::result::Result<T, Malformed>,
    ) -> Result<Option<T>> {
        let key = wanted.key;
        let Properties { first, last, .. } = self.properties();
        if key < first || key > last || planted!(LastKeyNotRead) && key == last {
            return Ok(None);
        }
        let hash = self.hasher().hash(key);
        if !self.ask_filter(hash)? {
            return Ok(None);
        }
        let root = self.root(true)?;
        let index = self.index(root.bytes())?;
        let below = index.below(key);
        // The key may stand in the last block that begins below it, and goes on in those that
        // begin with it.
        let first = below.saturating_sub(1);
        for nth in first..index.len() {
            if nth >= below && !index.begins_with(nth, key) {
                break;
            }
            let search = |bytes: &Arc<[u8]>| search(bytes, wanted, hash, look);
            let searched = match root.with(nth, search) {
                Some(searched) => searched,
                None => search(&self.kept_block(&root, &index, nth)?.1),
            };
            let offset = || index.place(nth).map_or(self.data_end(), |place| place.offset);
            match searched.map_err(|m| malformed(self.path(), offset())(m))? {
                Searched::Looked(looked) => return Ok(Some(looked)),
                Searched::Extent(stamp, kind, part) => {
                    let value = Some((kind, Cow::Owned(self.extent(part)?)));
                    let looked = look(Lent { stamp, value, block: None });
                    return looked.map(Some).map_err(malformed(self.path(), part.0));
                }
                Searched::InTheNext => {}
                Searched::Nothing if nth < below => {}
                Searched::Nothing => break,
            }
        }
        Ok(None)
    }

    /// The newest version of a key that is at most this one.
    ///
    /// Errors: as [`Table::look`].
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn get(&self, key: &PhysicalKey, version: u64) -> Result<Option<Row>> {
        self.look(Wanted { key, version, value: true }, &|lent| lent.into_row())
    }
}
