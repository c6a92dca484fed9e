//! How many bytes a [`MemVfs`](super::MemVfs) holds, and how many it may hold.
//!
//! Invariant: the bytes in use never exceed the limit; whoever took bytes gives them back when
//! what they were taken for is dropped.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// A budget of bytes, shared by all files and directories of one file system.
#[derive(Debug)]
pub(super) struct Space {
    used: AtomicU64,
    max: Option<u64>,
}

impl Space {
    /// A budget of `max` bytes, or an unlimited one.
    pub(super) fn new(max: Option<u64>) -> Self {
        Space { used: AtomicU64::new(0), max }
    }

    /// Takes `bytes`, all or none. Errors: `StorageFull`.
    pub(super) fn take(&self, bytes: u64) -> io::Result<()> {
        let taken = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(bytes).filter(|&used| self.max.is_none_or(|max| used <= max))
        });
        match taken {
            Ok(_) => Ok(()),
            Err(_) => Err(io::ErrorKind::StorageFull.into()),
        }
    }

    /// Gives back bytes that were taken.
    pub(super) fn give(&self, bytes: u64) {
        let before = self.used.fetch_sub(bytes, Ordering::Relaxed);
        assert!(before >= bytes, "more space was given back than was taken");
    }

    /// Whether there is a limit, so that a reservation means something.
    pub(super) fn is_limited(&self) -> bool {
        self.max.is_some()
    }

    /// The bytes in use.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_reached_but_never_passed() {
        let space = Space::new(Some(10));
        space.take(9).unwrap();
        assert_eq!(space.take(2).unwrap_err().kind(), io::ErrorKind::StorageFull);
        space.take(1).unwrap();
        space.give(4);
        space.take(4).unwrap();
        assert_eq!(space.used(), 10);
    }
}
