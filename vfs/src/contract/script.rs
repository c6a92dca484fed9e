//! Random calls with comparable outcomes, to run two implementations side by side.
//!
//! The world is small, so that calls meet: ten paths two directories deep, and six files and
//! four locks that stay open over renames and removals, and positions around the edges of sectors
//! and pages. The same numbers give the same calls, and the same calls give equal outcomes on
//! every implementation without faults:
//! - short reads and writes are continued, since how much one call does is free;
//! - listings are sorted, since their order is free;
//! - where preallocation is `Unsupported`, the file is extended instead.
//!
//! Only an implementation with a limit may differ, by a full disk.
//!
//! ```
//! use std::path::Path;
//! use runstone_vfs::{MemVfs, contract::script};
//!
//! let (left, right) = (MemVfs::new(), MemVfs::new());
//! let mut state = 1_u64;
//! let mut numbers = || {
//!     state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
//!     state ^ (state >> 29)
//! };
//! let root = Path::new("/");
//! let tally = script::compare((&left, root), (&right, root), 1000, &mut numbers).unwrap();
//! assert_eq!(tally.values().sum::<u64>(), 1000);
//! ```

mod compare;
mod draw;

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use crate::{
    Access, DirEntry, LockKind, Vfs, VfsFile, VfsLock, read_full_at, write_all_at,
    write_all_vectored_at,
};

pub use compare::{Difference, Tally, compare, dump};
pub use draw::random_call;

/// How many files and how many locks a script holds open at most.
const FILE_SLOTS: usize = 6;
const LOCK_SLOTS: usize = 4;

/// One call of a [`Vfs`] or of an open file. Paths are relative to the script's root, and the
/// empty one is the root itself; slots (six for files, four for locks) hold what earlier calls
/// opened. `close` and `unlock` drop it. `fill` chooses the bytes that are written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the method of its name, with its arguments")]
pub enum Call {
    Open { path: &'static str, access: Access, slot: usize },
    Create { path: &'static str, slot: usize },
    Rename { from: &'static str, to: &'static str },
    Link { from: &'static str, to: &'static str },
    Remove { path: &'static str },
    RemoveDir { path: &'static str },
    List { path: &'static str },
    CreateDir { path: &'static str },
    SyncDir { path: &'static str },
    Lock { path: &'static str, kind: LockKind, slot: usize },
    Unlock { slot: usize },
    Close { slot: usize },
    Read { slot: usize, pos: u64, len: usize },
    Write { slot: usize, pos: u64, len: usize, fill: u8 },
    WriteVectored { slot: usize, pos: u64, lens: [usize; 3], fill: u8 },
    Sync { slot: usize },
    SetLen { slot: usize, len: u64 },
    Allocate { slot: usize, pos: u64, len: u64 },
    Len { slot: usize },
    IsEmpty { slot: usize },
}

/// What a call did, in a form that two implementations share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeded and has nothing to tell.
    Done,
    /// The slot was empty, so there was nothing to call.
    EmptySlot,
    /// It failed.
    Failed(io::ErrorKind),
    /// The bytes that were read.
    Bytes(Vec<u8>),
    /// A size in bytes.
    Size(u64),
    /// Whether the file is empty.
    Empty(bool),
    /// The entries of a directory, sorted.
    Entries(Vec<DirEntry>),
}

impl Outcome {
    /// `ok`, the kind of the error, or `no handle`: for counting.
    pub fn label(&self) -> String {
        match self {
            Outcome::Failed(kind) => format!("{kind:?}"),
            Outcome::EmptySlot => "no handle".to_owned(),
            _ => "ok".to_owned(),
        }
    }
}

/// The files and locks that a script holds open.
#[derive(Debug, Default)]
pub struct Handles {
    files: [Option<Arc<dyn VfsFile>>; FILE_SLOTS],
    locks: [Option<Box<dyn VfsLock>>; LOCK_SLOTS],
}

impl Call {
    /// The name of the method.
    pub fn method(&self) -> &'static str {
        match self {
            Call::Open { .. } => "open",
            Call::Create { .. } => "create",
            Call::Rename { .. } => "rename",
            Call::Link { .. } => "link",
            Call::Remove { .. } => "remove",
            Call::RemoveDir { .. } => "remove_dir",
            Call::List { .. } => "list",
            Call::CreateDir { .. } => "create_dir",
            Call::SyncDir { .. } => "sync_dir",
            Call::Lock { .. } => "lock",
            Call::Unlock { .. } => "unlock",
            Call::Close { .. } => "close",
            Call::Read { .. } => "read_at",
            Call::Write { .. } => "write_at",
            Call::WriteVectored { .. } => "write_vectored_at",
            Call::Sync { .. } => "sync",
            Call::SetLen { .. } => "set_len",
            Call::Allocate { .. } => "allocate",
            Call::Len { .. } => "len",
            Call::IsEmpty { .. } => "is_empty",
        }
    }
}

/// Does one call below `root`. A call that opens something replaces what its slot held, if it
/// succeeds.
///
/// # Panics
/// If a slot is beyond those that there are.
pub fn apply(vfs: &dyn Vfs, root: &Path, state: &mut Handles, call: &Call) -> Outcome {
    try_apply(vfs, root, state, call).unwrap_or_else(|error| Outcome::Failed(error.kind()))
}

fn try_apply(vfs: &dyn Vfs, root: &Path, state: &mut Handles, call: &Call) -> io::Result<Outcome> {
    let at = |path: &str| if path.is_empty() { root.to_owned() } else { root.join(path) };
    match *call {
        Call::Open { path, access, slot } => {
            state.files[slot] = Some(vfs.open(&at(path), access)?);
        }
        Call::Create { path, slot } => state.files[slot] = Some(vfs.create(&at(path))?),
        Call::Rename { from, to } => vfs.rename(&at(from), &at(to))?,
        Call::Link { from, to } => vfs.link(&at(from), &at(to))?,
        Call::Remove { path } => vfs.remove(&at(path))?,
        Call::RemoveDir { path } => vfs.remove_dir(&at(path))?,
        Call::List { path } => {
            let mut entries = vfs.list(&at(path))?;
            entries.sort();
            return Ok(Outcome::Entries(entries));
        }
        Call::CreateDir { path } => vfs.create_dir(&at(path))?,
        Call::SyncDir { path } => vfs.sync_dir(&at(path))?,
        Call::Lock { path, kind, slot } => state.locks[slot] = Some(vfs.lock(&at(path), kind)?),
        Call::Unlock { slot } => {
            return Ok(match state.locks[slot].take() {
                Some(_) => Outcome::Done,
                None => Outcome::EmptySlot,
            });
        }
        Call::Close { slot } => {
            return Ok(match state.files[slot].take() {
                Some(_) => Outcome::Done,
                None => Outcome::EmptySlot,
            });
        }
        Call::Read { slot, .. }
        | Call::Write { slot, .. }
        | Call::WriteVectored { slot, .. }
        | Call::Sync { slot }
        | Call::SetLen { slot, .. }
        | Call::Allocate { slot, .. }
        | Call::Len { slot }
        | Call::IsEmpty { slot } => {
            return match &state.files[slot] {
                Some(file) => apply_to_file(&**file, call),
                None => Ok(Outcome::EmptySlot),
            };
        }
    }
    Ok(Outcome::Done)
}

/// The calls of an open file; the others were dealt with.
fn apply_to_file(file: &dyn VfsFile, call: &Call) -> io::Result<Outcome> {
    match *call {
        Call::Read { pos, len, .. } => {
            let mut bytes = vec![0; len];
            let n = read_full_at(file, &mut bytes, pos)?;
            bytes.truncate(n);
            return Ok(Outcome::Bytes(bytes));
        }
        Call::Write { pos, len, fill, .. } => write_all_at(file, &pattern(fill, len), pos)?,
        Call::WriteVectored { pos, lens, fill, .. } => {
            let parts = lens.map(|len| pattern(fill, len));
            let mut bufs = parts.each_ref().map(|part| IoSlice::new(part));
            write_all_vectored_at(file, &mut bufs, pos)?;
        }
        Call::Sync { .. } => file.sync()?,
        Call::SetLen { len, .. } => file.set_len(len)?,
        Call::Allocate { pos, len, .. } => match file.allocate(pos, len) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                file.set_len(file.len()?.max(pos + len))?;
            }
            done => done?,
        },
        Call::Len { .. } => return Ok(Outcome::Size(file.len()?)),
        Call::IsEmpty { .. } => return Ok(Outcome::Empty(file.is_empty()?)),
        _ => {}
    }
    Ok(Outcome::Done)
}

/// `len` bytes that tell which write and which place they are from.
fn pattern(fill: u8, len: usize) -> Vec<u8> {
    (0..=u8::MAX).cycle().map(|i| i.wrapping_mul(3) ^ fill).take(len).collect()
}
