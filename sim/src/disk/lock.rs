//! Advisory locks on files, as `flock` gives them: by inode, never by name or process.

use std::collections::BTreeMap;
use std::io;

use runstone_vfs::LockKind;

/// The locks that are held.
#[derive(Clone, Debug, Default)]
pub(super) struct Locks {
    held: BTreeMap<u64, Vec<(u64, LockKind)>>,
    next: u64,
}

impl Locks {
    /// Takes a lock on a node; returns the token that releases it.
    pub(super) fn take(&mut self, node: u64, kind: LockKind) -> io::Result<u64> {
        let holders = self.held.entry(node).or_default();
        let alone = kind == LockKind::Exclusive;
        if holders.iter().any(|(_, held)| alone || *held == LockKind::Exclusive) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.next += 1;
        holders.push((self.next, kind));
        Ok(self.next)
    }

    /// Releases a lock.
    pub(super) fn release(&mut self, node: u64, token: u64) {
        if let Some(holders) = self.held.get_mut(&node) {
            holders.retain(|(held, _)| *held != token);
            if holders.is_empty() {
                self.held.remove(&node);
            }
        }
    }

    /// Releases every lock: their holders are dead. Tokens are not used again.
    pub(super) fn clear(&mut self) {
        self.held.clear();
    }
}
