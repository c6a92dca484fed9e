//! Which call comes next: weights, paths, positions and lengths.
//!
//! Invariant: every choice is a bounded draw over the caller's numbers, so that the same numbers
//! give the same calls on every machine and with every version of every library. A change here
//! changes what every recorded seed does.

use super::{Call, FILE_SLOTS, LOCK_SLOTS};
use crate::{Access, FILE_BYTES_MAX, LockKind};

/// The paths of the script, below its root. Any of them may come to be a file or a directory,
/// so the longer ones may lead through a file, or through nothing.
const PATHS: [&str; 10] = ["f", "g", "a", "b", "a/f", "a/g", "b/f", "a/c", "a/c/f", "a/c/g"];
/// Positions and sizes where implementations have their edges, in bytes.
const EDGES: [u64; 14] =
    [0, 1, 2, 511, 512, 513, 1024, 4095, 4096, 4097, 8191, 8193, 12_288, 20_000];

/// A random call. `next_u64` gives uniformly distributed numbers; how many are used depends on
/// the call.
pub fn random_call(next_u64: &mut dyn FnMut() -> u64) -> Call {
    let mut draw = Draw { next_u64 };
    match draw.below(200) {
        0..16 => Call::Open { path: draw.path(), access: draw.access(), slot: draw.file() },
        16..36 => Call::Create { path: draw.path(), slot: draw.file() },
        36..48 => Call::Rename { from: draw.path(), to: draw.path() },
        48..56 => Call::Link { from: draw.path(), to: draw.path() },
        56..64 => Call::Remove { path: draw.path() },
        64..70 => Call::RemoveDir { path: draw.path() },
        70..78 => Call::List { path: draw.dir() },
        78..90 => Call::CreateDir { path: draw.path() },
        90 => Call::SyncDir { path: draw.dir() },
        91..99 => Call::Lock { path: draw.path(), kind: draw.lock_kind(), slot: draw.lock() },
        99..103 => Call::Unlock { slot: draw.lock() },
        103 => Call::Close { slot: draw.file() },
        104..135 => Call::Read { slot: draw.file(), pos: draw.pos(), len: draw.len() },
        135..159 => {
            Call::Write { slot: draw.file(), pos: draw.pos(), len: draw.len(), fill: draw.byte() }
        }
        159..171 => Call::WriteVectored {
            slot: draw.file(),
            pos: draw.pos(),
            lens: [draw.len(), draw.len(), draw.len()],
            fill: draw.byte(),
        },
        171 => Call::Sync { slot: draw.file() },
        172..182 => Call::SetLen { slot: draw.file(), len: draw.pos() },
        182..188 => Call::Allocate { slot: draw.file(), pos: draw.pos(), len: draw.len() as u64 },
        188..196 => Call::Len { slot: draw.file() },
        _ => Call::IsEmpty { slot: draw.file() },
    }
}

/// Bounded draws from a source of numbers.
struct Draw<'a> {
    next_u64: &'a mut dyn FnMut() -> u64,
}

impl Draw<'_> {
    /// A number below `bound`, by the high half of a product.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from((self.next_u64)()) * u128::from(bound)) >> 64) as u64
    }

    fn index(&mut self, bound: u64) -> usize {
        usize::try_from(self.below(bound)).unwrap_or_default()
    }

    fn path(&mut self) -> &'static str {
        PATHS[self.index(PATHS.len() as u64)]
    }

    /// A path, or the root itself.
    fn dir(&mut self) -> &'static str {
        if self.below(4) == 0 { "" } else { self.path() }
    }

    fn file(&mut self) -> usize {
        self.index(FILE_SLOTS as u64)
    }

    fn lock(&mut self) -> usize {
        self.index(LOCK_SLOTS as u64)
    }

    fn access(&mut self) -> Access {
        if self.below(4) == 0 { Access::Read } else { Access::ReadWrite }
    }

    fn lock_kind(&mut self) -> LockKind {
        if self.below(2) == 0 { LockKind::Shared } else { LockKind::Exclusive }
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or_default()
    }

    /// A position or size up to 20 KiB, often at an edge, seldom beyond all files.
    fn pos(&mut self) -> u64 {
        match self.below(64) {
            0 => FILE_BYTES_MAX + 1 + self.below(3),
            1..32 => EDGES[self.index(EDGES.len() as u64)],
            _ => self.below(20 << 10),
        }
    }

    /// A length up to 8 KiB, often at an edge.
    fn len(&mut self) -> usize {
        if self.below(2) == 0 {
            usize::try_from(EDGES[self.index(11)]).unwrap_or_default()
        } else {
            self.index(700)
        }
    }
}
