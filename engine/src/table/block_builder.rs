//! Puts a data block together: see [`super::block`] for its layout.
//!
//! Invariant: entries are added in the order in which they stand; a block that is ended at its size
//! ([`BLOCK_BYTES_MAX`](crate::options::BLOCK_BYTES_MAX) at most) has all of them begin below 64 KiB.

use super::block::{
    Content, ENTRY_BYTES, ENTRY_BYTES_MORE, EXPIRES, EXTENT, HEAD_BYTES, SECTION_BYTES, Stamp,
    TOMBSTONE,
};
use super::hash::{KeyHasher, mark};
use crate::codec::change::NEVER;
use crate::codec::put_varint;
use crate::types::PhysicalKey;

/// Puts a block together.
#[derive(Debug)]
pub(super) struct BlockBuilder {
    hasher: KeyHasher,
    /// The keys and values of the entries.
    bytes: Vec<u8>,
    entries: Vec<Pending>,
    size: usize,
}

/// An entry that waits to be encoded; its user key and value stand in `bytes`, one behind the
/// other, from `at`.
#[derive(Clone, Copy, Debug)]
struct Pending {
    run: u128,
    tag: u8,
    mark: u8,
    at: usize,
    user_len: usize,
    value_len: usize,
    version: u64,
    time_ms: u64,
    expiry_ms: u64,
    content: PendingContent,
}

#[derive(Clone, Copy, Debug)]
enum PendingContent {
    Tombstone,
    Value { kind: u8 },
    Extent { kind: u8, offset: u64, length: u64 },
}

impl BlockBuilder {
    pub(super) fn new(hasher: KeyHasher) -> Self {
        BlockBuilder { hasher, bytes: Vec::new(), entries: Vec::new(), size: HEAD_BYTES }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// About how long the block would be.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// The most that it would be long.
    pub(super) fn bytes_max(&self) -> usize {
        self.size + self.entries.len() * ENTRY_BYTES_MORE
    }

    /// Adds an entry behind all others. Returns the hash of its key.
    pub(super) fn add(&mut self, key: &PhysicalKey, stamp: Stamp, content: Content<'_>) -> u64 {
        let ((run, _), tag, user) = (key.numbers(), key.tag_byte(), key.user_key());
        let hash = self.hasher.hash(key);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(user);
        let (content, value_len) = match content {
            Content::Tombstone => (PendingContent::Tombstone, 0),
            Content::Value { kind, bytes } => {
                self.bytes.extend_from_slice(bytes);
                (PendingContent::Value { kind }, bytes.len())
            }
            Content::Extent { kind, offset, length } => {
                (PendingContent::Extent { kind, offset, length }, 0)
            }
        };
        let is_new = self.entries.last().is_none_or(|last| (last.run, last.tag) != (run, tag));
        self.size += user.len() + value_len + ENTRY_BYTES;
        self.size += if is_new { SECTION_BYTES } else { 0 };
        let Stamp { version, time_ms, expiry_ms } = stamp;
        let user_len = user.len();
        self.entries.push(Pending {
            run,
            tag,
            mark: mark(hash),
            at,
            user_len,
            value_len,
            version,
            time_ms,
            expiry_ms,
            content,
        });
        hash
    }

    fn user(&self, entry: &Pending) -> &[u8] {
        self.bytes.get(entry.at..entry.at + entry.user_len).unwrap_or_default()
    }

    fn value(&self, entry: &Pending) -> &[u8] {
        let from = entry.at + entry.user_len;
        self.bytes.get(from..from + entry.value_len).unwrap_or_default()
    }

    /// Appends the block to `out`, and begins the next.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) {
        let start = out.len();
        let least = |field: fn(&Pending) -> u64| self.entries.iter().map(field).min().unwrap_or(0);
        let (version, time_ms) = (least(|entry| entry.version), least(|entry| entry.time_ms));
        let sections: Vec<&[Pending]> =
            self.entries.chunk_by(|a, b| (a.run, a.tag) == (b.run, b.tag)).collect();
        let prefixes: Vec<usize> = sections.iter().map(|section| self.prefix(section)).collect();
        put_u16(out, self.entries.len());
        put_u16(out, sections.len());
        out.extend_from_slice(&version.to_le_bytes());
        out.extend_from_slice(&time_ms.to_le_bytes());
        // The prefixes stand behind what comes next: sections, marks and offsets.
        let (count, mut end) = (self.entries.len(), 0);
        let mut prefix_at = out.len() - start + SECTION_BYTES * sections.len() + 3 * count;
        for (section, prefix) in sections.iter().zip(&prefixes) {
            end += section.len();
            if let Some(first) = section.first() {
                out.extend_from_slice(&first.run.to_be_bytes());
                out.extend_from_slice(&[first.tag, u8::try_from(*prefix).unwrap_or(u8::MAX)]);
                put_u16(out, prefix_at);
                put_u16(out, end);
                prefix_at += prefix;
            }
        }
        out.extend(self.entries.iter().map(|entry| entry.mark));
        let mut offsets = out.len();
        out.resize(offsets + 2 * count, 0);
        for (section, prefix) in sections.iter().zip(&prefixes) {
            let user = section.first().map_or(&[][..], |first| self.user(first));
            out.extend_from_slice(user.get(..*prefix).unwrap_or_default());
        }
        for (section, prefix) in sections.iter().zip(&prefixes) {
            for entry in *section {
                let at = out.len() - start;
                debug_assert!(at <= usize::from(u16::MAX));
                if let Some(field) = out.get_mut(offsets..offsets + 2) {
                    field.copy_from_slice(&u16::try_from(at).unwrap_or(u16::MAX).to_le_bytes());
                }
                offsets += 2;
                self.put_entry(out, entry, *prefix, (version, time_ms));
            }
        }
        self.bytes.clear();
        self.entries.clear();
        self.size = HEAD_BYTES;
    }

    /// How long the prefix is that the keys of a section share.
    fn prefix(&self, section: &[Pending]) -> usize {
        // In order, what the first and the last share all share.
        let (Some(first), Some(last)) = (section.first(), section.last()) else { return 0 };
        let pairs = self.user(first).iter().zip(self.user(last));
        pairs.take_while(|(a, b)| a == b).count().min(usize::from(u8::MAX))
    }

    fn put_entry(
        &self,
        out: &mut Vec<u8>,
        entry: &Pending,
        prefix: usize,
        (version, time_ms): (u64, u64),
    ) {
        let expires = entry.expiry_ms != NEVER;
        let mut flags = if expires { EXPIRES } else { 0 };
        flags |= match entry.content {
            PendingContent::Tombstone => TOMBSTONE,
            PendingContent::Value { .. } => 0,
            PendingContent::Extent { .. } => EXTENT,
        };
        let rest = self.user(entry).get(prefix..).unwrap_or_default();
        out.push(flags);
        put_varint(out, rest.len() as u64);
        put_varint(out, entry.version - version);
        put_varint(out, entry.time_ms - time_ms);
        if expires {
            put_varint(out, entry.expiry_ms.wrapping_sub(entry.time_ms));
        }
        match entry.content {
            PendingContent::Tombstone => {}
            PendingContent::Value { kind } => out.push(kind),
            PendingContent::Extent { kind, offset, length } => {
                out.push(kind);
                put_varint(out, offset);
                put_varint(out, length);
            }
        }
        out.extend_from_slice(rest);
        out.extend_from_slice(self.value(entry));
    }
}

fn put_u16(out: &mut Vec<u8>, n: usize) {
    debug_assert!(n <= usize::from(u16::MAX));
    out.extend_from_slice(&u16::try_from(n).unwrap_or(u16::MAX).to_le_bytes());
}
