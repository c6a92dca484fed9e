//! What a lookup holds of a value while a caller reads it.
//!
//! Invariant: no lock is held meanwhile, so the caller may call the database.

use std::borrow::Cow;
use std::ops::Range;

use super::window::Seen;
use crate::sync::Arc;
use crate::table::block::Stamp;
use crate::types::{TypeTag, ValueKind};

/// A version of a key, held where it stands if that is a block of a table.
#[derive(Debug)]
pub(crate) struct Held {
    stamp: Stamp,
    kind: ValueKind,
    bytes: Bytes,
}

#[derive(Debug)]
enum Bytes {
    InBlock(Arc<[u8]>, Range<usize>),
    Own(Vec<u8>),
}

/// Where a part of some bytes stands in them.
fn place(whole: &[u8], part: &[u8]) -> Option<Range<usize>> {
    let at = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let place = at..at.checked_add(part.len())?;
    (place.end <= whole.len()).then_some(place)
}

impl Held {
    pub(super) fn new(
        stamp: Stamp,
        (kind, bytes): (ValueKind, Cow<'_, [u8]>),
        block: Option<&Arc<[u8]>>,
    ) -> Self {
        let bytes = match (block, bytes) {
            (Some(block), Cow::Borrowed(bytes)) => match place(block, bytes) {
                Some(place) => Bytes::InBlock(Arc::clone(block), place),
                None => Bytes::Own(bytes.to_vec()),
            },
            (_, bytes) => Bytes::Own(bytes.into_owned()),
        };
        Held { stamp, kind, bytes }
    }

    /// It, under the user key that it was looked for by.
    pub(crate) fn seen<'a>(&'a self, user: &'a [u8]) -> Seen<'a> {
        let bytes = match &self.bytes {
            Bytes::InBlock(block, place) => block.get(place.clone()).unwrap_or_default(),
            Bytes::Own(bytes) => bytes,
        };
        let (tag, value) = (TypeTag::KV.to_byte(), Some((self.kind, bytes)));
        Seen { tag, prefix: &[], user, stamp: self.stamp, value }
    }
}
