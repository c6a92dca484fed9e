//! A data block: entries in order, and how one is found in it.
//!
//! ```text
//! offset   bytes  field
//!      0       2  number of entries n, at least 1
//!      2       2  number of sections s, at least 1
//!      4       8  the least version of an entry
//!     12       8  the least engine time of one, in milliseconds
//!     20    22*s  sections, each the entries of one run and type tag:
//!                  16  run id
//!                   1  type tag
//!                   1  length of the prefix that its user keys share
//!                   2  where that prefix stands, from the front of the block
//!                   2  where the section ends: number of entries up to there
//!  +22*s       n  the mark of each entry, a byte of its key's hash
//!     +n     2*n  where each entry begins, from the front of the block
//!   +2*n          prefixes
//!                 entries:
//!                   1  flags: 1 tombstone, 2 expires, 4 its value lies in an extent
//!                      varint  length k of the user key behind the prefix
//!                      varint  version, above the least
//!                      varint  engine time, above the least
//!                      varint  if it expires: by how much that is behind its time, modulo 2^64
//!                   1  unless it is a tombstone: the kind of its value
//!                      varint  of an extent: its offset in the file
//!                      varint  of an extent: the length of the value
//!                   k  the user key behind the prefix
//!                      the value, up to the next entry, if there is one and it lies here
//! ```
//! Integers are little-endian, varints as in `codec`. Entries are in the order of their keys; those
//! of one key stand together, the newest first, and may go on in the next block.
//!
//! A lookup compares marks, which lie side by side, and decodes only entries whose mark is the
//! key's: one of 256 that are not, beside the one that is.
//!
//! Invariants: a reader never reads outside its bytes, whatever they are; what it cannot read is
//! [`Malformed`]. An entry begins below 64 KiB, and only the last may end above.

use std::cmp::Ordering;

use super::hash::{KeyHasher, mark};
use crate::codec::change::NEVER;
use crate::codec::{Malformed, Reader};
use crate::options::BLOCK_BYTES_MAX;
use crate::types::PhysicalKey;

/// Bytes before the sections.
pub(super) const HEAD_BYTES: usize = 20;
pub(super) const SECTION_BYTES: usize = 22;

/// What an entry counts for beside key and value, until it is encoded.
pub(super) const ENTRY_BYTES: usize = 15;
/// By how much it can be longer than that.
pub(super) const ENTRY_BYTES_MORE: usize = 33;

// At the largest size at which a block is ended, with its fields at their longest, each entry
// begins below 64 KiB.
const _: () = assert!(BLOCK_BYTES_MAX + BLOCK_BYTES_MAX / ENTRY_BYTES * ENTRY_BYTES_MORE < 1 << 16);

pub(super) const TOMBSTONE: u8 = 1;
pub(super) const EXPIRES: u8 = 2;
pub(super) const EXTENT: u8 = 4;

/// What an entry says of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content<'a> {
    /// There is nothing.
    Tombstone,
    /// A value, by its kind and bytes.
    Value { kind: u8, bytes: &'a [u8] },
    /// A value that lies in an extent of `length` bytes at `offset` of the file.
    Extent { kind: u8, offset: u64, length: u64 },
}

impl Content<'_> {
    /// How long its value is, in bytes.
    pub(crate) fn value_len(&self) -> usize {
        match *self {
            Content::Tombstone => 0,
            Content::Value { bytes, .. } => bytes.len(),
            Content::Extent { length, .. } => usize::try_from(length).unwrap_or(usize::MAX),
        }
    }
}

/// One version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub(crate) run: u128,
    pub(crate) tag: u8,
    /// The user key, in two parts.
    pub(crate) user: (&'a [u8], &'a [u8]),
    pub(crate) version: u64,
    pub(crate) time_ms: u64,
    /// [`NEVER`] if it does not expire.
    pub(crate) expiry_ms: u64,
    pub(crate) content: Content<'a>,
}

impl<'a> Entry<'a> {
    /// Its key.
    pub(crate) fn key(&self) -> PhysicalKey {
        let (prefix, rest) = self.user;
        PhysicalKey::from_parts(self.run, self.tag, prefix, rest)
    }

    /// The parts of its key.
    pub(crate) fn name(&self) -> (u128, u8, (&'a [u8], &'a [u8])) {
        (self.run, self.tag, self.user)
    }

    pub(crate) fn stamp(&self) -> Stamp {
        let Entry { version, time_ms, expiry_ms, .. } = *self;
        Stamp { version, time_ms, expiry_ms }
    }

    /// Whether it is of the same key as another of its block.
    pub(crate) fn has_key_of(&self, other: &Entry<'_>) -> bool {
        let ((prefix, rest), (other_prefix, other_rest)) = (self.user, other.user);
        // Keys side by side differ at their ends.
        rest.last() == other_rest.last()
            && rest == other_rest
            && (self.run, self.tag, prefix) == (other.run, other.tag, other_prefix)
    }

    /// Compares its key with one of the same run, of which tag and user key are these.
    pub(crate) fn cmp_rank(&self, tag: u8, user: &[u8]) -> Ordering {
        self.tag.cmp(&tag).then_with(|| cmp_user(self.user, user))
    }

    /// Compares its key with another.
    pub(crate) fn cmp_key(&self, key: &PhysicalKey) -> Ordering {
        let of_section = (self.run, self.tag).cmp(&(key.numbers().0, key.tag_byte()));
        of_section.then_with(|| cmp_user(self.user, key.user_key()))
    }
}

/// Compares bytes, eight at a time: keys are short, and a call costs as much as they do.
#[inline]
fn cmp_bytes(a: &[u8], b: &[u8]) -> Ordering {
    let ((a_words, a_rest), (b_words, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a_words.iter().zip(b_words) {
        if a != b {
            return u64::from_be_bytes(*a).cmp(&u64::from_be_bytes(*b));
        }
    }
    if a_words.len() != b_words.len() {
        let same = 8 * a_words.len().min(b_words.len());
        return a.get(same..).cmp(&b.get(same..));
    }
    for (a, b) in a_rest.iter().zip(b_rest) {
        if a != b {
            return a.cmp(b);
        }
    }
    a_rest.len().cmp(&b_rest.len())
}

/// Compares a user key in two parts with another.
#[inline]
pub(crate) fn cmp_user((prefix, rest): (&[u8], &[u8]), key: &[u8]) -> Ordering {
    match key.split_at_checked(prefix.len()) {
        Some((front, back)) => cmp_bytes(prefix, front).then_with(|| cmp_bytes(rest, back)),
        // The key is shorter than the prefix.
        None => cmp_bytes(prefix, key).then(Ordering::Greater),
    }
}

/// Which version of a key, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) version: u64,
    pub(crate) time_ms: u64,
    /// [`NEVER`] if it does not expire.
    pub(crate) expiry_ms: u64,
}

/// The entries of one run and type tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    run: u128,
    tag: u8,
    /// Where the prefix stands.
    prefix: (usize, usize),
    /// The entries from one up to another.
    first: usize,
    end: usize,
}

impl Section {
    /// Whether it has the entry of this number.
    pub(super) fn has(&self, index: usize) -> bool {
        (self.first..self.end).contains(&index)
    }
}

/// Where a section ends.
fn section_end(fields: &[u8; SECTION_BYTES]) -> usize {
    let [.., low, high] = *fields;
    usize::from(u16::from_le_bytes([low, high]))
}

/// What the head of a block says, once it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// How many entries and sections there are.
    len: usize,
    sections: usize,
    version: u64,
    time_ms: u64,
}

impl Layout {
    /// How many entries there are.
    pub(super) fn len(self) -> usize {
        self.len
    }

    fn marks_at(self) -> usize {
        HEAD_BYTES + self.sections * SECTION_BYTES
    }

    fn offsets_at(self) -> usize {
        self.marks_at() + self.len
    }
}

/// A block that is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block<'a> {
    bytes: &'a [u8],
    layout: Layout,
}

impl<'a> Block<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let len = usize::from(u16::from_le_bytes(reader.array("a number of entries")?));
        let sections = usize::from(u16::from_le_bytes(reader.array("a number of sections")?));
        let version = reader.u64("the least version")?;
        let time_ms = reader.u64("the least time")?;
        reader.take(sections * SECTION_BYTES, "the sections of a block")?;
        reader.take(len, "a mark for each entry of a block")?;
        reader.take(2 * len, "an offset for each entry of a block")?;
        let block = Block { bytes, layout: Layout { len, sections, version, time_ms } };
        let last = sections.checked_sub(1).and_then(|last| block.section(last));
        if len == 0 || last.is_none_or(|last| last.end != len) {
            return Err(Malformed::new("a block whose sections hold its entries", "other numbers"));
        }
        Ok(block)
    }

    /// The same block once more, whose head was read.
    pub(super) fn again(bytes: &'a [u8], layout: Layout) -> Self {
        Block { bytes, layout }
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    pub(super) fn len(&self) -> usize {
        self.layout.len
    }

    fn sections(&self) -> &'a [[u8; SECTION_BYTES]] {
        let bytes = self.bytes.get(HEAD_BYTES..self.layout.marks_at()).unwrap_or_default();
        bytes.as_chunks().0
    }

    /// The marks of its entries.
    fn marks(&self) -> &'a [u8] {
        self.bytes.get(self.layout.marks_at()..self.layout.offsets_at()).unwrap_or_default()
    }

    fn section(&self, nth: usize) -> Option<Section> {
        let sections = self.sections();
        let fields = sections.get(nth)?;
        let before = nth.checked_sub(1).and_then(|before| sections.get(before));
        let (run, rest) = fields.split_first_chunk::<16>()?;
        let [tag, length, low, high, ..] = *rest else { return None };
        let at = usize::from(u16::from_le_bytes([low, high]));
        let prefix = (at, at + usize::from(length));
        self.bytes.get(prefix.0..prefix.1)?;
        let (first, end) = (before.map_or(0, section_end), section_end(fields));
        Some(Section { run: u128::from_be_bytes(*run), tag, prefix, first, end })
    }

    /// The section of an entry.
    pub(super) fn section_of(&self, index: usize) -> Result<Section, Malformed> {
        let nth = self.sections().partition_point(|fields| section_end(fields) <= index);
        self.section(nth).ok_or_else(|| Malformed::new("an entry of a section", "none"))
    }

    /// The section of a run and tag; or else where its entries would stand.
    fn section_with(&self, run: u128, tag: u8) -> Result<Section, usize> {
        let nth = self.sections().partition_point(|fields| {
            let (found, rest) = fields.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
            (u128::from_be_bytes(*found), rest.first().copied().unwrap_or(0)) < (run, tag)
        });
        match self.section(nth) {
            Some(section) if (section.run, section.tag) == (run, tag) => Ok(section),
            Some(section) => Err(section.first),
            None => Err(self.len()),
        }
    }

    /// Where an entry begins and ends.
    #[inline(always)]
    fn span(&self, index: usize) -> Result<&'a [u8], Malformed> {
        let at = self.layout.offsets_at() + 2 * index;
        let offset = |at: usize| {
            self.bytes.get(at..).and_then(<[u8]>::first_chunk).map(|b| u16::from_le_bytes(*b))
        };
        let from = offset(at).filter(|_| index < self.len()).map(usize::from);
        let to = if index + 1 < self.len() { offset(at + 2).map(usize::from) } else { None };
        let to = to.unwrap_or(self.bytes.len());
        let span = from.and_then(|from| self.bytes.get(from..to));
        span.ok_or_else(|| Malformed::new("an entry inside its block", "one outside"))
    }

    /// The entry of this number.
    pub(super) fn entry(&self, index: usize) -> Result<Entry<'a>, Malformed> {
        self.entry_in(&self.section_of(index)?, index)
    }

    /// The entry of this number, which is of this section.
    #[inline(always)]
    pub(super) fn entry_in(&self, section: &Section, index: usize) -> Result<Entry<'a>, Malformed> {
        let mut reader = Reader::new(self.span(index)?);
        let flags = reader.u8("the flags of an entry")?;
        let user_len = reader.varint("the length of a key")?;
        let version = reader.varint("a version")?;
        let time_ms = reader.varint("a time")?;
        let least = self.layout;
        let stamp = least.version.checked_add(version).zip(least.time_ms.checked_add(time_ms));
        let (version, time_ms) =
            stamp.ok_or_else(|| Malformed::new("a version and a time", "more than 2^64"))?;
        let expiry_ms = match flags & EXPIRES {
            0 => NEVER,
            _ => time_ms.wrapping_add(reader.varint("an expiry")?),
        };
        let content = match flags & !EXPIRES {
            TOMBSTONE => Content::Tombstone,
            0 => Content::Value { kind: reader.u8("a kind of value")?, bytes: &[] },
            EXTENT => Content::Extent {
                kind: reader.u8("a kind of value")?,
                offset: reader.varint("the offset of an extent")?,
                length: reader.varint("the length of an extent")?,
            },
            _ => return Err(Malformed::new("the flags of an entry", flags)),
        };
        let user_len = usize::try_from(user_len).unwrap_or(usize::MAX);
        let rest = reader.take(user_len, "the key of an entry")?;
        let left = reader.rest();
        let content = match content {
            Content::Value { kind, .. } => Content::Value { kind, bytes: left },
            other if left.is_empty() => other,
            _ => {
                return Err(Malformed::new("the end of an entry", format!("{} bytes", left.len())));
            }
        };
        let Section { run, tag, prefix, .. } = *section;
        let prefix = self.bytes.get(prefix.0..prefix.1).unwrap_or_default();
        let user = (prefix, rest);
        Ok(Entry { run, tag, user, version, time_ms, expiry_ms, content })
    }

    /// The entry of this number, which is of this section, if it is as most are: its value, if it
    /// has one, stands here. What cannot be read so is read by [`Block::entry_in`], which says why.
    #[inline(always)]
    pub(super) fn quick_entry(&self, section: &Section, index: usize) -> Option<Entry<'a>> {
        let (flags, rest) = self.span(index).ok()?.split_first()?;
        let (user_len, rest) = quick_varint(rest)?;
        let (version, rest) = quick_varint(rest)?;
        let (time_ms, mut rest) = quick_varint(rest)?;
        let version = self.layout.version.checked_add(version)?;
        let time_ms = self.layout.time_ms.checked_add(time_ms)?;
        let mut expiry_ms = NEVER;
        if flags & EXPIRES != 0 {
            let (by, behind) = quick_varint(rest)?;
            (expiry_ms, rest) = (time_ms.wrapping_add(by), behind);
        }
        let user_len = usize::try_from(user_len).ok()?;
        let content;
        match flags & !EXPIRES {
            0 => {
                let (kind, behind) = rest.split_first()?;
                let bytes = behind.get(user_len..)?;
                (content, rest) = (Content::Value { kind: *kind, bytes }, behind);
            }
            TOMBSTONE if rest.len() == user_len => content = Content::Tombstone,
            _ => return None,
        }
        let Section { run, tag, prefix, .. } = *section;
        let user = (self.bytes.get(prefix.0..prefix.1)?, rest.get(..user_len)?);
        Some(Entry { run, tag, user, version, time_ms, expiry_ms, content })
    }

    /// The newest entry of a key that is at most of this version, or where the block ends if all
    /// that it holds of the key up to there are newer.
    pub(super) fn find(
        &self,
        key: &PhysicalKey,
        hash: u64,
        version: u64,
    ) -> Result<Found<'a>, Malformed> {
        let ((run, _), tag, user) = (key.numbers(), key.tag_byte(), key.user_key());
        let Ok(section) = self.section_with(run, tag) else { return Ok(Found::Nothing) };
        let wanted = mark(hash);
        let marks = self.marks().get(section.first..section.end).unwrap_or_default();
        let mut newer = false;
        for (index, _) in marks.iter().enumerate().filter(|(_, mark)| **mark == wanted) {
            let entry = self.entry_in(&section, section.first + index)?;
            if cmp_user(entry.user, user) == Ordering::Equal {
                if entry.version <= version {
                    return Ok(Found::Entry(entry));
                }
                newer = section.first + index + 1 == self.len();
            }
        }
        Ok(if newer { Found::InTheNext } else { Found::Nothing })
    }

    /// Whether everything in it is as a writer makes it: each entry readable, in order, under its
    /// mark. A lookup does without: it believes the checksum.
    pub(super) fn check(&self, hasher: KeyHasher) -> Result<(), Malformed> {
        let mut before: Option<(PhysicalKey, u64)> = None;
        for index in 0..self.len() {
            let entry = self.entry(index)?;
            let key = entry.key();
            let is_in_order = before.is_none_or(|(last, version)| match last.cmp(&key) {
                Ordering::Less => true,
                Ordering::Equal => entry.version < version,
                Ordering::Greater => false,
            });
            if !is_in_order {
                return Err(Malformed::new("entries in order", format!("{key:?} out of it")));
            }
            if self.marks().get(index) != Some(&mark(hasher.hash(&key))) {
                return Err(Malformed::new("the mark of a key", format!("another at {key:?}")));
            }
            before = Some((key, entry.version));
        }
        Ok(())
    }

    /// How many entries have a key below this one.
    pub(super) fn lower_bound(&self, key: &PhysicalKey) -> Result<usize, Malformed> {
        let ((run, _), tag, user) = (key.numbers(), key.tag_byte(), key.user_key());
        let section = match self.section_with(run, tag) {
            Ok(section) => section,
            Err(at) => return Ok(at),
        };
        let (mut low, mut high) = (section.first, section.end);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry_in(&section, middle)?;
            match cmp_user(entry.user, user) {
                Ordering::Less => low = middle + 1,
                _ => high = middle,
            }
        }
        Ok(low)
    }
}

/// A varint of up to three bytes.
#[inline(always)]
fn quick_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    if *first < 0x80 {
        return Some((u64::from(*first), rest));
    }
    let low = u64::from(first & 0x7f);
    let (second, rest) = rest.split_first()?;
    if *second < 0x80 {
        return Some((low | u64::from(*second) << 7, rest)).filter(|_| *second > 0);
    }
    let low = low | u64::from(second & 0x7f) << 7;
    let (third, rest) = rest.split_first()?;
    Some((low | u64::from(*third) << 14, rest)).filter(|_| (1..0x80).contains(third))
}

/// What a block says of a key at a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    Entry(Entry<'a>),
    /// Newer ones only, up to the block's end: the next block may go on.
    InTheNext,
    Nothing,
}
