//! The index of a table: the first key of each data block, and where the block stands.
//!
//! ```text
//! offset   bytes  field
//!      0       4  number of blocks b, at least 1
//!      4       4  number of runs r, at least 1
//!      8    20*r  runs, in order: the first keys of how many blocks are of this run or before it
//!                  16  run id
//!                   4  number of blocks
//!  +20*r     8*b  the head of each first key: type tag and seven bytes of the user key
//!   +8*b    16*b  the place of each block:
//!                   4  offset in the file
//!                   4  length, without its frame
//!                   4  where its tail ends, in the tails
//!                   1  how many bytes of the user key are in the head
//!                   3  how long it was before it was compressed; zeros if it is not
//!  +16*b          tails: what of each user key is behind the head
//! ```
//! Integers are little-endian, run ids and heads as the store compares them: as big-endian bytes.
//!
//! A search compares numbers that lie side by side, and looks at tails only on ties.
//!
//! Invariant: a reader never reads outside its bytes, whatever they are.

use std::cmp::Ordering;

use super::frame::FRAME_BYTES;
use crate::codec::{Malformed, Reader};
use crate::types::PhysicalKey;

const RUN_BYTES: usize = 20;
const PLACE_BYTES: usize = 16;

/// Puts an index together.
#[derive(Debug, Default)]
pub(super) struct IndexBuilder {
    runs: Vec<(u128, u32)>,
    heads: Vec<u8>,
    places: Vec<u8>,
    tails: Vec<u8>,
    blocks: u32,
}

fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl IndexBuilder {
    /// How long it is so far.
    pub(super) fn bytes(&self) -> usize {
        8 + self.runs.len() * RUN_BYTES + self.heads.len() + self.places.len() + self.tails.len()
    }

    /// Adds a block behind all others.
    pub(super) fn add(&mut self, first: &PhysicalKey, offset: u32, length: usize, raw: u32) {
        let (run, head) = first.numbers();
        let front = first.user_key().len().min(PhysicalKey::HEAD_BYTES);
        self.blocks += 1;
        match self.runs.last_mut() {
            Some((last, blocks)) if *last == run => *blocks = self.blocks,
            _ => self.runs.push((run, self.blocks)),
        }
        self.heads.extend_from_slice(&head.to_be_bytes());
        self.tails.extend_from_slice(first.user_key().get(front..).unwrap_or_default());
        for field in [offset, to_u32(length), to_u32(self.tails.len()), to_u32(front) | raw << 8] {
            self.places.extend_from_slice(&field.to_le_bytes());
        }
    }

    pub(super) fn finish(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.blocks.to_le_bytes());
        out.extend_from_slice(&to_u32(self.runs.len()).to_le_bytes());
        for (run, blocks) in self.runs {
            out.extend_from_slice(&run.to_be_bytes());
            out.extend_from_slice(&blocks.to_le_bytes());
        }
        out.extend_from_slice(&self.heads);
        out.extend_from_slice(&self.places);
        out.extend_from_slice(&self.tails);
    }
}

/// An index that is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Index<'a> {
    runs: &'a [[u8; RUN_BYTES]],
    heads: &'a [[u8; 8]],
    places: &'a [[u8; PLACE_BYTES]],
    tails: &'a [u8],
}

/// Where a block stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockPlace {
    pub(super) offset: u64,
    pub(super) length: usize,
    /// How long it was before it was compressed; 0 if it is not.
    pub(super) raw: usize,
}

impl BlockPlace {
    /// How many bytes it has in memory.
    pub(super) fn decoded(self) -> usize {
        if self.raw == 0 || planted!(CompressedLengthCharged) { self.length } else { self.raw }
    }

    /// Where it ends, with its frame.
    pub(super) fn end(self) -> u64 {
        self.offset.saturating_add((self.length + FRAME_BYTES) as u64)
    }
}

fn split_run(fields: &[u8; RUN_BYTES]) -> (u128, usize) {
    let (run, blocks) = fields.split_first_chunk::<16>().unwrap_or((&[0; 16], &[]));
    let blocks = blocks.first_chunk().copied().map_or(0, u32::from_le_bytes);
    (u128::from_be_bytes(*run), blocks as usize)
}

impl<'a> Index<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let blocks = reader.u32("a number of blocks")? as usize;
        let runs = reader.u32("a number of runs")? as usize;
        let take = |reader: &mut Reader<'a>, count: usize, each: usize| {
            let length = count.checked_mul(each);
            let length = length.ok_or_else(|| Malformed::new("a number of blocks", count))?;
            reader.take(length, "the fields of an index")
        };
        let (runs, _) = take(&mut reader, runs, RUN_BYTES)?.as_chunks();
        let (heads, _) = take(&mut reader, blocks, 8)?.as_chunks();
        let (places, _) = take(&mut reader, blocks, PLACE_BYTES)?.as_chunks();
        let index = Index { runs, heads, places, tails: reader.rest() };
        if blocks == 0 || runs.last().is_none_or(|last| split_run(last).1 != blocks) {
            return Err(Malformed::new("an index whose runs hold its blocks", "other numbers"));
        }
        Ok(index)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// How many blocks an index of so many bytes may have.
    pub(super) fn len_max(bytes: usize) -> usize {
        bytes / (8 + PLACE_BYTES)
    }

    /// Offset, length, end of the tail, bytes in the head, length before it was compressed.
    fn fields(&self, block: usize) -> Option<[usize; 5]> {
        let (fields, _) = self.places.get(block)?.as_chunks::<4>();
        let [offset, length, tail, front] = fields else { return None };
        let [front, raw @ ..] = *front;
        let raw = u32::from_le_bytes([raw[0], raw[1], raw[2], 0]) as usize;
        let [offset, length, tail] =
            [offset, length, tail].map(|field| u32::from_le_bytes(*field) as usize);
        Some([offset, length, tail, front.into(), raw])
    }

    pub(super) fn place(&self, block: usize) -> Option<BlockPlace> {
        let [offset, length, .., raw] = self.fields(block)?;
        Some(BlockPlace { offset: offset as u64, length, raw })
    }

    /// The first key of a block, behind its head.
    fn tail(&self, block: usize) -> (usize, &'a [u8]) {
        let Some([.., end, front, _]) = self.fields(block) else { return (0, &[]) };
        let from = match block.checked_sub(1).and_then(|before| self.fields(before)) {
            Some([.., from, _, _]) => from,
            None => 0,
        };
        (front, self.tails.get(from..end).unwrap_or_default())
    }

    /// The first key of a block.
    pub(super) fn first_key(&self, block: usize) -> Result<PhysicalKey, Malformed> {
        let nth = self.runs.partition_point(|fields| split_run(fields).1 <= block);
        let run = self.runs.get(nth).map(|fields| split_run(fields).0);
        let head = self.heads.get(block);
        let (front, tail) = self.tail(block);
        let parts = run.zip(head).and_then(|(run, head)| {
            let (tag, user) = head.split_first()?;
            let (front, rest) = user.split_at_checked(front)?;
            let is_whole =
                rest.iter().all(|byte| *byte == 0) && (rest.is_empty() || tail.is_empty());
            is_whole.then(|| PhysicalKey::from_parts(run, *tag, front, tail))
        });
        parts.ok_or_else(|| Malformed::new("the first key of a block", "one that none has"))
    }

    /// Whether everything in it is as a writer makes it: keys in order, and blocks one behind the
    /// other.
    pub(super) fn check(&self) -> Result<(), Malformed> {
        let bad = |what| Err(Malformed::new("an index in order", what));
        let (mut last, mut end, mut tails) = (None, 0, 0);
        let runs = self.runs.iter().map(split_run).collect::<Vec<_>>();
        if !runs.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1)
            || runs.first().is_none_or(|r| r.1 == 0)
        {
            return bad("runs out of order");
        }
        for block in 0..self.len() {
            let first = self.first_key(block)?;
            let Some([offset, length, tail, ..]) = self.fields(block) else {
                return bad("no place");
            };
            // Versions of one key may fill several blocks.
            if last.is_some_and(|last| last > first) || offset < end || tail < tails {
                return bad("blocks out of order");
            }
            (last, end, tails) = (Some(first), offset.saturating_add(length), tail);
        }
        if tails != self.tails.len() {
            return bad("more bytes than its keys have");
        }
        Ok(())
    }

    /// The blocks whose first key is of this run.
    fn blocks_of(&self, run: u128) -> std::ops::Range<usize> {
        let nth = self.runs.partition_point(|fields| split_run(fields).0 < run);
        let before = nth.checked_sub(1).and_then(|before| self.runs.get(before));
        let first = before.map_or(0, |fields| split_run(fields).1);
        match self.runs.get(nth).map(split_run) {
            Some((found, end)) if found == run => first..end.min(self.len()),
            _ => first..first,
        }
    }

    /// A block's first key, compared with a key of the same run.
    fn cmp_in_run(&self, block: usize, key: &PhysicalKey) -> Ordering {
        let (_, head) = key.numbers();
        let found = self.heads.get(block).copied().map_or(0, u64::from_be_bytes);
        found.cmp(&head).then_with(|| {
            let user = key.user_key();
            let front = user.len().min(PhysicalKey::HEAD_BYTES);
            self.tail(block).cmp(&(front, user.get(front..).unwrap_or_default()))
        })
    }

    /// How many blocks have a first key below this one.
    pub(super) fn below(&self, key: &PhysicalKey) -> usize {
        let of_run = self.blocks_of(key.numbers().0);
        let (mut low, mut high) = (of_run.start, of_run.end);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.cmp_in_run(middle, key) {
                Ordering::Less => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    /// Whether a block begins with this key.
    pub(super) fn begins_with(&self, block: usize, key: &PhysicalKey) -> bool {
        let of_run = self.blocks_of(key.numbers().0);
        of_run.contains(&block) && self.cmp_in_run(block, key) == Ordering::Equal
    }
}
