//! Iteration over a range of keys of one run.
//!
//! Invariants: the iterator owns its pin, so it sees one version and one time for life,
//! whatever is written meanwhile; it is lazy, reading a bounded chunk at a time under the
//! store's read lock (`Steps` in the options); the two ends meet and never pass each other.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::Bound;

use super::version::Version;
use super::{Pin, expires_at, unreadable};
use crate::cache::Pinned;
use crate::error::Result;
use crate::types::{PhysicalKey, Timestamp, VersionedValue};

/// A key with its value.
pub(crate) type RangeItem = (PhysicalKey, VersionedValue);

/// The visible entries of a range, from both ends.
#[derive(Debug)]
pub(crate) struct RangeIter {
    pin: Pin,
    /// What has not been read into a buffer yet.
    from: Bound<PhysicalKey>,
    to: Bound<PhysicalKey>,
    front: VecDeque<Result<RangeItem>>,
    back: VecDeque<Result<RangeItem>>,
    /// The most entries of the chunk that was read last; 0 before the first.
    chunk_entries: usize,
    exhausted: bool,
    failed: bool,
    /// How many bytes were read ahead, at the front and at the back.
    held: [u64; 2],
    pinned: Pinned,
}

impl RangeIter {
    pub(crate) fn new(pin: Pin, from: Bound<PhysicalKey>, to: Bound<PhysicalKey>) -> Self {
        // What is added later, the pin does not see.
        pin.store().put_in_order();
        let pinned = Pinned::new(&pin.store().inner.cache);
        RangeIter {
            held: [0; 2],
            pinned,
            pin,
            from,
            to,
            front: VecDeque::new(),
            back: VecDeque::new(),
            chunk_entries: 0,
            exhausted: false,
            failed: false,
        }
    }

    /// Reads the next chunk from one end of what is left.
    fn fill(&mut self, backward: bool) {
        let steps = self.pin.store().inner.steps;
        sometimes!("iter/second-chunk", self.chunk_entries > 0);
        // Who reads little gets little; who reads on is spared the steps.
        let entries_max = match self.chunk_entries {
            0 => steps.scan_entries_first,
            last => last.saturating_mul(2).min(steps.scan_entries_max),
        };
        self.chunk_entries = entries_max;
        // Who finds the reserve in use gets on one by one.
        let reserve_left = usize::try_from(self.pinned.reserve_left()).unwrap_or(usize::MAX);
        let bytes_max = steps.scan_bytes_max.min(reserve_left);
        let (mut bytes, mut held, mut visits) = (0, 0, 0);
        let mut skips = planted!(ResumedScanSkips) && !matches!(self.from, Bound::Included(_));
        let mut last = None;
        let mut chunk = VecDeque::new();
        let bounds = (self.from.as_ref(), self.to.as_ref());
        let point = self.pin.point();
        let walked = self.pin.store().walk(bounds, point, backward, |key, version| {
            visits += 1;
            if skips && !backward {
                skips = false;
                return true;
            }
            let size = version.as_ref().and_then(|version| version.value.as_ref());
            bytes += size.map_or(0, |value| value.bytes().len());
            let is_shown = usize::from(size.is_some());
            let more = chunk.len() + is_shown < entries_max
                && bytes < bytes_max
                && visits < steps.scan_visits_max;
            if !more {
                last = Some(key.clone().into_owned());
            }
            held += (size_of::<Result<RangeItem>>() + key.user_key().len()) as u64;
            chunk.extend(version.and_then(|version| item(key, version)));
            more
        });
        // This end had nothing left.
        let held = held + bytes as u64;
        self.held = if backward { [self.held[0], held] } else { [held, self.held[1]] };
        self.pinned.set(self.held.iter().sum());
        if let Err(error) = walked {
            sometimes!("iter/read-failed");
            chunk.push_back(Err(error));
            last = None;
        }
        sometimes!("iter/chunk-without-entries", last.is_some() && chunk.is_empty());
        planted!(EmptyChunkEndsScan => if chunk.is_empty() { last = None });
        match last {
            None => self.exhausted = true,
            Some(last) if backward => self.to = Bound::Excluded(last),
            Some(last) => self.from = Bound::Excluded(last),
        }
        if backward {
            self.back.append(&mut chunk);
        } else {
            self.front.append(&mut chunk);
        }
    }

    fn step(&mut self, backward: bool) -> Option<Result<RangeItem>> {
        loop {
            if self.failed {
                return None;
            }
            let (near, far) = match backward {
                false => (&mut self.front, &mut self.back),
                true => (&mut self.back, &mut self.front),
            };
            // What the other end has read ahead lies beyond all that is unread.
            let item = match near.pop_front() {
                Some(item) => Some(item),
                None if self.exhausted => {
                    sometimes!("iter/ends-meet", !far.is_empty());
                    far.pop_back()
                }
                None => {
                    self.fill(backward);
                    continue;
                }
            };
            self.failed = matches!(item, Some(Err(_)));
            return item;
        }
    }
}

/// A version as a reader gets it: what was read for it alone is moved, what others read is copied.
fn item(key: Cow<'_, PhysicalKey>, version: Cow<'_, Version>) -> Option<Result<RangeItem>> {
    let (timestamp, expires_at) = (Timestamp::from_millis(version.time_ms), expires_at(&version));
    let number = version.version;
    let value = match version {
        Cow::Borrowed(version) => version.value.as_ref()?.to_value(),
        Cow::Owned(version) => version.value?.into_value(),
    };
    Some(match value {
        Ok(value) => {
            let value = VersionedValue { value, version: number, timestamp, expires_at };
            Ok((key.into_owned(), value))
        }
        Err(m) => Err(unreadable(&key, m)),
    })
}

impl Iterator for RangeIter {
    type Item = Result<RangeItem>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(false)
    }
}

impl DoubleEndedIterator for RangeIter {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(true)
    }
}
