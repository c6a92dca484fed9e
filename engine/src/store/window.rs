//! Entries that were read ahead, side by side in one buffer.
//!
//! A walk passes each entry as it stands where it stands ([`Seen`]); whoever keeps some copies keys
//! and values behind each other into a [`Window`], which allocates for none of them and is used
//! again for the next ones.
//!
//! Invariant: all keys of a window are of one run, which whoever fills it knows.

use std::cmp::Ordering;

use super::version::Version;
use crate::codec::change::NEVER;
use crate::table::block::{Stamp, cmp_user};
use crate::types::{PhysicalKey, RunId, ValueKind};

/// A version of a key, borrowed from where it stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    pub(crate) tag: u8,
    /// What the user key has in common with those beside it; most often nothing is told of that.
    pub(crate) prefix: &'a [u8],
    /// The user key behind that.
    pub(crate) user: &'a [u8],
    pub(crate) stamp: Stamp,
    /// `None` for a tombstone.
    pub(crate) value: Option<(ValueKind, &'a [u8])>,
}

impl<'a> Seen<'a> {
    pub(super) fn of(key: &'a PhysicalKey, version: &'a Version) -> Self {
        let value = version.value.as_ref().map(|value| (value.kind(), value.bytes()));
        Seen {
            tag: key.tag_byte(),
            prefix: &[],
            user: key.user_key(),
            stamp: version.stamp(),
            value,
        }
    }

    /// A key of which there is nothing at a version.
    pub(super) fn nothing(key: &'a PhysicalKey) -> Self {
        let stamp = Stamp { version: 0, time_ms: 0, expiry_ms: NEVER };
        Seen { tag: key.tag_byte(), prefix: &[], user: key.user_key(), stamp, value: None }
    }

    /// Compares its key with one of the same run.
    pub(super) fn cmp_rank(&self, rank: Rank<'_>) -> Ordering {
        self.tag.cmp(&rank.tag).then_with(|| cmp_user((self.prefix, self.user), rank.user))
    }

    pub(crate) fn key(&self, run: RunId) -> PhysicalKey {
        let run = u128::from_be_bytes(*run.as_bytes());
        PhysicalKey::from_parts(run, self.tag, self.prefix, self.user)
    }

    /// Whether a reader sees a value at this time.
    pub(super) fn is_visible(&self, now_ms: u64) -> bool {
        let now_ms = now_ms - u64::from(planted!(ExpiryOffByOne)).min(now_ms);
        self.value.is_some() && now_ms < self.stamp.expiry_ms
    }

    /// Of one that is not visible: when it expired; 0 for a tombstone.
    pub(super) fn expired_ms(&self) -> u64 {
        if self.value.is_some() { self.stamp.expiry_ms } else { 0 }
    }
}

/// By what keys of one run are in order: most comparisons end at the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank<'a> {
    pub(super) tag: u8,
    /// The first bytes of the user key, big-endian, with zeros behind it.
    pub(super) head: u128,
    pub(super) user: &'a [u8],
}

impl<'a> Rank<'a> {
    /// Of a key that no other comes before in the direction of a walk.
    pub(super) fn before_all(backward: bool) -> Self {
        Rank { tag: if backward { u8::MAX } else { 0 }, head: 0, user: &[] }
    }

    pub(super) fn new(tag: u8, user: &'a [u8]) -> Self {
        Rank { tag, head: head_of(user), user }
    }
}

fn head_of(user: &[u8]) -> u128 {
    if let Some(head) = user.first_chunk() {
        return u128::from_be_bytes(*head);
    }
    let mut head = [0; 16];
    for (to, from) in head.iter_mut().zip(user) {
        *to = *from;
    }
    u128::from_be_bytes(head)
}

/// Where an entry of a window stands.
#[derive(Clone, Copy, Debug)]
struct Item {
    at: usize,
    user_len: usize,
    value_len: usize,
    stamp: Stamp,
    tag: u8,
    kind: Option<ValueKind>,
}

/// What an entry takes beside its key and value, in bytes.
pub(super) const ITEM_BYTES: usize = size_of::<Item>();

/// Entries, taken from both ends.
#[derive(Debug, Default)]
pub(super) struct Window {
    bytes: Vec<u8>,
    items: Vec<Item>,
    /// The items that are left lie between.
    front: usize,
    back: usize,
}

impl Window {
    /// Empties it, and keeps its room.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.items.clear();
        (self.front, self.back) = (0, 0);
    }

    /// Adds an entry behind the others. Nothing was taken from the back since it was empty.
    pub(super) fn push(&mut self, seen: &Seen<'_>) {
        let Seen { tag, prefix, user, stamp, value } = *seen;
        let (at, value_bytes) = (self.bytes.len(), value.map_or(&[][..], |(_, bytes)| bytes));
        if !prefix.is_empty() {
            self.bytes.extend_from_slice(prefix);
        }
        self.bytes.extend_from_slice(user);
        self.bytes.extend_from_slice(value_bytes);
        let (user_len, value_len) = (prefix.len() + user.len(), value_bytes.len());
        let kind = value.map(|(kind, _)| kind);
        self.items.push(Item { at, user_len, value_len, stamp, tag, kind });
        self.back = self.items.len();
    }

    fn seen(&self, item: &Item) -> Option<Seen<'_>> {
        let Item { at, user_len, value_len, stamp, tag, kind } = *item;
        let both = self.bytes.get(at..at + user_len + value_len)?;
        let (user, value) = both.split_at_checked(user_len)?;
        Some(Seen { tag, prefix: &[], user, stamp, value: kind.map(|kind| (kind, value)) })
    }

    /// How many are left.
    pub(super) fn len(&self) -> usize {
        self.back - self.front
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that it takes, in bytes, but for room that is not used.
    pub(super) fn held_bytes(&self) -> u64 {
        (self.bytes.len() + self.items.len() * ITEM_BYTES) as u64
    }

    pub(super) fn first(&self) -> Option<Seen<'_>> {
        self.items.get(self.front..self.back)?.first().and_then(|item| self.seen(item))
    }

    /// The key of the first.
    pub(super) fn rank(&self) -> Option<Rank<'_>> {
        let Item { at, user_len, tag, .. } = *self.items.get(self.front..self.back)?.first()?;
        Some(Rank::new(tag, self.bytes.get(at..at + user_len)?))
    }

    /// Takes the first, which stays readable until the window is cleared.
    pub(super) fn pop_first(&mut self) -> Option<Seen<'_>> {
        let nth = self.front;
        self.front += usize::from(nth < self.back);
        self.items.get(nth..self.back)?.first().and_then(|item| self.seen(item))
    }

    /// Takes the last, likewise.
    pub(super) fn pop_last(&mut self) -> Option<Seen<'_>> {
        let nth = self.back.checked_sub(1).filter(|nth| *nth >= self.front)?;
        self.back = nth;
        self.items.get(nth).and_then(|item| self.seen(item))
    }
}

/// One entry with room of its own, which is used again for the next.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) run: u128,
    tag: u8,
    user: Vec<u8>,
    head: u128,
    stamp: Stamp,
    kind: Option<ValueKind>,
    value: Vec<u8>,
}

impl Default for Held {
    fn default() -> Self {
        let stamp = Stamp { version: 0, time_ms: 0, expiry_ms: NEVER };
        Held { run: 0, tag: 0, user: Vec::new(), head: 0, stamp, kind: None, value: Vec::new() }
    }
}

impl Held {
    /// Puts another in its place.
    pub(super) fn set(
        &mut self,
        name: (u128, u8, (&[u8], &[u8])),
        stamp: Stamp,
        value: Option<(ValueKind, &[u8])>,
    ) {
        self.set_key(name);
        self.stamp = stamp;
        self.kind = value.map(|(kind, _)| kind);
        self.value.clear();
        self.value.extend_from_slice(value.map_or(&[], |(_, bytes)| bytes));
    }

    /// Its key becomes another; what it says of that is of no use any more.
    pub(super) fn set_key(&mut self, (run, tag, user): (u128, u8, (&[u8], &[u8]))) {
        (self.run, self.tag) = (run, tag);
        self.user.clear();
        self.user.extend_from_slice(user.0);
        self.user.extend_from_slice(user.1);
        self.head = head_of(&self.user);
    }

    pub(super) fn rank(&self) -> Rank<'_> {
        Rank { tag: self.tag, head: self.head, user: &self.user }
    }

    /// Whether its key is this one.
    pub(super) fn is_of(&self, (run, tag, (front, rest)): (u128, u8, (&[u8], &[u8]))) -> bool {
        // Keys side by side differ at their ends.
        self.user.len() == front.len() + rest.len()
            && self.user.ends_with(rest)
            && self.user.starts_with(front)
            && (self.run, self.tag) == (run, tag)
    }

    pub(super) fn seen(&self) -> Seen<'_> {
        let value = self.kind.map(|kind| (kind, &*self.value));
        Seen { tag: self.tag, prefix: &[], user: &self.user, stamp: self.stamp, value }
    }
}
