//! Iteration over a range of keys of one run.
//!
//! Invariants: the iterator owns its pin, so it sees one version and one time for life,
//! whatever is written meanwhile; it is lazy, reading a bounded chunk at a time under the
//! store's read lock (`Steps` in the options); the two ends meet and never pass each other.

use std::ops::Bound;

use super::Pin;
use super::through::{Ahead, run_of, starts_in_reserve};
use super::window::{ITEM_BYTES, Seen, Window};
use crate::cache::Pinned;
use crate::error::{Error, Result};
use crate::types::{PhysicalKey, RunId};

/// The visible entries of a range, from both ends.
#[derive(Debug)]
pub(crate) struct RangeIter {
    pin: Pin,
    run: RunId,
    /// What has not been read into a window yet.
    from: Bound<PhysicalKey>,
    to: Bound<PhysicalKey>,
    front: Window,
    back: Window,
    /// What was read of memtables beyond that, in the direction in which was read last.
    ahead: Ahead,
    read_backward: bool,
    /// Why no more was read; told when the end is reached that was read up to there.
    error: Option<Error>,
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
        let bounds = (from.as_ref(), to.as_ref());
        pin.store().put_in_order(starts_in_reserve(bounds));
        let run = run_of(bounds);
        let pinned = Pinned::new(&pin.store().inner.cache);
        RangeIter {
            held: [0; 2],
            pinned,
            pin,
            run,
            from,
            to,
            front: Window::default(),
            back: Window::default(),
            ahead: Ahead::of_keys(0),
            read_backward: false,
            error: None,
            chunk_entries: 0,
            exhausted: false,
            failed: false,
        }
    }

    /// The run of whose keys it is.
    pub(crate) fn run(&self) -> RunId {
        self.run
    }

    /// What it reads at.
    pub(crate) fn pin(&self) -> &Pin {
        &self.pin
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
        let is_turned = std::mem::replace(&mut self.read_backward, backward) != backward;
        if is_turned && !planted!(AheadKeptForTheOtherEnd) {
            // It may hold what the other end has taken meanwhile.
            self.ahead = Ahead::of_keys(0);
        }
        self.ahead.set_keys_max(entries_max);
        let mut last = None;
        let chunk = if backward { &mut self.back } else { &mut self.front };
        chunk.clear();
        let bounds = (self.from.as_ref(), self.to.as_ref());
        let (point, run) = (self.pin.point(), self.run);
        let walked =
            self.pin.store().walk(bounds, point, (backward, &mut self.ahead), |seen, is_shown| {
                visits += 1;
                if skips && !backward {
                    skips = false;
                    return true;
                }
                if is_shown {
                    chunk.push(seen);
                    bytes += seen.value.map_or(0, |(_, value)| value.len());
                }
                let more = chunk.len() < entries_max
                    && bytes < bytes_max
                    && visits < steps.scan_visits_max;
                if !more {
                    last = Some(seen.key(run));
                }
                held += (ITEM_BYTES + seen.prefix.len() + seen.user.len()) as u64;
                more
            });
        // This end had nothing left.
        let held = held + bytes as u64;
        self.held = if backward { [self.held[0], held] } else { [held, self.held[1]] };
        match &last {
            Some(_) if planted!(AheadVisitedAgain) => {}
            Some(last) => self.ahead.go_behind(last, backward),
            None => self.ahead = Ahead::of_keys(0),
        }
        self.pinned.set(self.held.iter().sum::<u64>() + self.ahead.held_bytes());
        if let Err(error) = walked {
            sometimes!("iter/read-failed");
            self.error = Some(error);
            last = None;
        }
        sometimes!("iter/chunk-without-entries", last.is_some() && self.near(backward).is_empty());
        planted!(EmptyChunkEndsScan => if self.near(backward).is_empty() { last = None });
        match last {
            None => self.exhausted = true,
            Some(last) if backward => self.to = Bound::Excluded(last),
            Some(last) => self.from = Bound::Excluded(last),
        }
    }

    /// The next entry from one end. It can be read until the next one is taken.
    pub(crate) fn step(&mut self, backward: bool) -> Option<Result<Seen<'_>>> {
        if self.failed {
            return None;
        }
        while self.near(backward).is_empty() && !self.exhausted {
            self.fill(backward);
        }
        if self.near(backward).is_empty() {
            if let Some(error) = self.error.take() {
                self.failed = true;
                return Some(Err(error));
            }
            // What the other end has read ahead lies beyond all that is unread.
            let far = if backward { &mut self.front } else { &mut self.back };
            sometimes!("iter/ends-meet", !far.is_empty());
            return far.pop_last().map(Ok);
        }
        let near = if backward { &mut self.back } else { &mut self.front };
        near.pop_first().map(Ok)
    }

    fn near(&self, backward: bool) -> &Window {
        if backward { &self.back } else { &self.front }
    }
}
