//! The legal states of a disk after a crash, stated apart from the simulated disk.
//!
//! [`History`] takes what happened ([`Event`]) and answers one question: is this [`Image`] one
//! that a crash may leave, and if not, which rule of the fault model forbids it, and where? It
//! shares no code with [`SimVfs`](crate::disk::SimVfs), chooses nothing and draws nothing. Every
//! rule is a predicate over the operations since the last state that was wholly durable.
//!
//! # The statement
//! Number the operations of a file from 1; 0 is what is durable for certain. An image of the
//! file after a **power cut** is legal if there is a version `j` of its size and for each sector
//! a version `k` of its bytes, such that
//! - D1, D5: `j` is no older than the last operation that a successful sync covered, and `k` no
//!   older than the last write to that sector that one covered; the sync must have started after
//!   the operation returned;
//! - D2: the sector holds what memory held after operation `k`, newer bytes implying older ones;
//! - D3: or a leading part of write `k`, if the sectors of the same write before it hold it too;
//! - S1: the size is that after operation `j`, whatever the `k`; or it ends inside the extending
//!   write `j`, if the bytes of that write below the end are there;
//! - S2: a sector without bytes of any version reads zeros; it may hold anything if a write to it
//!   was lost and it had no older version, or if it was preallocated and never written;
//! - S3: every truncation up to `j` has removed what was older than it, and a truncation after
//!   `j` only what was in memory when version `k` was made;
//! - F1: what a failed sync, or failed background writeback, would have covered is *doomed*: no
//!   later sync covers it, and it may be gone at any moment, also from memory. So may the first
//!   write after the failure (F2), and a write or resize that returned an error.
//!
//! Names are legal if there is a subset of the changes of names, applied in order, with
//! - N1, N3: every change whose directories have all been synced since, its inodes having been
//!   synced before, is in the subset, and older changes of the same name are void;
//! - N2: any subset of the others, in all directories;
//! - N4: a rename is in it with both its effects; or the source has stayed beside the target;
//! - N5: a file without a name that is back may hold what a file made later may hold;
//! - V: a name that no call ever used may lead to something unknown.
//!
//! After a **kill** of the process (P) nothing is lost: `j` and `k` are the last operation, every
//! change of names is in the subset; the call under way had its effect, none, or, for a write, a
//! leading part of it.
//!
//! In the world D4 one sector that an unsynced write touched may hold anything.
//!
//! # What it is not
//! It accepts a superset in two places. Which flavour a failed sync has (F2) is not known from
//! the trace, so all of them are accepted. And each sector with doomed operations is judged by
//! itself: whether two sectors fell back at the same moment is not asked.

mod content;
mod event;
mod file;
mod history;
mod names;
mod sector;

use std::fmt;

pub use event::{Event, Image, Ino, Name, Synced};
pub use history::History;

/// The rules that an image can break.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the rule of that name in the fault model")]
pub enum Rule {
    D1,
    D2,
    D3,
    S1,
    S2,
    S3,
    N1,
    N2,
    N4,
    F1,
    P,
    V,
}

/// Why an image is not legal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Illegal {
    /// The rule that forbids it.
    pub rule: Rule,
    /// The file or directory.
    pub ino: Ino,
    /// Where in it, and what is wrong.
    pub what: String,
}

impl Illegal {
    pub(crate) fn new(rule: Rule, ino: Ino, what: impl Into<String>) -> Illegal {
        Illegal { rule, ino, what: what.into() }
    }
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} forbids inode {}: {}", self.rule, self.ino, self.what)
    }
}

/// What of the fault model is switched on beside the rules that always hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    /// D4: one sector that an unsynced write touched is garbage.
    pub garbage_sector: bool,
    /// S2 narrowed: what was lost, or never written, reads zeros or this byte throughout.
    pub garbage: Option<u8>,
    /// D3 narrowed: no write is torn inside a sector.
    pub untorn: bool,
}
