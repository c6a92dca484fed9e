//! The names of a file system in memory: a tree of directories.
//!
//! Invariant: each entry is paid for with [`ENTRY_BYTES`] of the file system's [`Space`] while
//! it is in the tree. Each directory has a number, which is never given again, so that a handle
//! finds it under whichever name; a directory that was removed has none. Paths are resolved as the
//! operating system does it: `.` and repeated slashes mean nothing, `..` is the parent of a
//! directory that must exist (the root is its own), and a relative path starts at a directory of
//! the caller's choice.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use super::file::Inode;
use super::space::Space;
use crate::{DirEntry, FileKind};

/// What one entry costs: a name of up to [`NAME_BYTES_MAX`] bytes, and its bookkeeping.
pub(super) const ENTRY_BYTES: u64 = 512;
/// The longest name, as on the usual real file systems.
const NAME_BYTES_MAX: usize = 255;

/// The number of the root directory.
pub(super) const ROOT: u64 = 1;

/// The directories, by their numbers.
#[derive(Debug)]
pub(super) struct Tree {
    dirs: BTreeMap<u64, Dir>,
}

#[derive(Debug)]
struct Dir {
    entries: BTreeMap<OsString, Node>,
    parent: u64,
}

#[derive(Debug)]
enum Node {
    File(Arc<Inode>),
    Dir(u64),
}

impl Node {
    fn kind(&self) -> FileKind {
        match self {
            Node::File(_) => FileKind::File,
            Node::Dir(_) => FileKind::Dir,
        }
    }
}

/// What a path leads to: a directory without a last name, or a name in one, which may be free.
enum Place<'p> {
    Dir(u64),
    Entry(u64, &'p OsStr),
}

impl Default for Tree {
    fn default() -> Self {
        let root = Dir { entries: BTreeMap::new(), parent: ROOT };
        Tree { dirs: BTreeMap::from([(ROOT, root)]) }
    }
}

/// A path, and the directory that it starts at if it is relative.
#[derive(Clone, Copy)]
pub(super) struct At<'p>(pub(super) u64, pub(super) &'p Path);

impl Tree {
    /// The file at `path`. Errors: `NotFound`, `NotADirectory`, `IsADirectory`.
    pub(super) fn file(&self, at: At<'_>) -> io::Result<&Arc<Inode>> {
        match self.locate(at)? {
            Place::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
            Place::Entry(dir, name) => match self.dir(dir)?.entries.get(name) {
                Some(Node::File(inode)) => Ok(inode),
                Some(Node::Dir(_)) => Err(io::ErrorKind::IsADirectory.into()),
                None => Err(io::ErrorKind::NotFound.into()),
            },
        }
    }

    /// The number of the directory at `path`. Errors: `NotFound`, `NotADirectory`.
    pub(super) fn find_dir(&self, at: At<'_>) -> io::Result<u64> {
        match self.locate(at)? {
            Place::Dir(dir) => Ok(dir),
            Place::Entry(dir, name) => self.step(dir, name),
        }
    }

    /// What is at `path`: the number of a directory, or a file. Errors: `NotFound`,
    /// `NotADirectory`.
    pub(super) fn find(&self, at: At<'_>) -> io::Result<Result<u64, &Arc<Inode>>> {
        match self.file(at) {
            Ok(inode) => Ok(Err(inode)),
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => self.find_dir(at).map(Ok),
            Err(error) => Err(error),
        }
    }

    /// Gives `inode` a new name. Errors: `AlreadyExists`, `NotFound`, `NotADirectory`,
    /// `StorageFull`.
    pub(super) fn add_file(
        &mut self,
        space: &Space,
        at: At<'_>,
        inode: Arc<Inode>,
    ) -> io::Result<()> {
        self.add(space, at, Node::File(inode)).map(drop)
    }

    /// Makes an empty directory with a number of its own. Errors as [`Tree::add_file`].
    pub(super) fn add_dir(&mut self, space: &Space, at: At<'_>, number: u64) -> io::Result<()> {
        let parent = self.add(space, at, Node::Dir(number))?;
        self.dirs.insert(number, Dir { entries: BTreeMap::new(), parent });
        Ok(())
    }

    /// Returns the directory that holds the new name.
    fn add(&mut self, space: &Space, at: At<'_>, node: Node) -> io::Result<u64> {
        let Place::Entry(parent, name) = self.locate(at)? else {
            return Err(io::ErrorKind::AlreadyExists.into());
        };
        let dir = self.dir_mut(parent)?;
        if dir.entries.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        space.take(ENTRY_BYTES)?;
        dir.entries.insert(name.to_owned(), node);
        Ok(parent)
    }

    /// Moves a file to another name, over the file that has it. If both names are one file
    /// already, nothing changes. Errors: `NotFound`, `NotADirectory`, `IsADirectory`.
    pub(super) fn rename(&mut self, space: &Space, from: At<'_>, to: At<'_>) -> io::Result<()> {
        let inode = Arc::clone(self.file(from)?);

        // Put the new name, which may fail.
        let Place::Entry(to_dir, to_name) = self.locate(to)? else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        let dir = self.dir_mut(to_dir)?;
        match dir.entries.get(to_name) {
            Some(Node::Dir(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Node::File(old)) if Arc::ptr_eq(old, &inode) => return Ok(()),
            Some(Node::File(_)) => space.give(ENTRY_BYTES),
            None => {}
        }
        dir.entries.insert(to_name.to_owned(), Node::File(inode));

        // Take the old one away, which was found above. Its cost goes on for the new one.
        if let Place::Entry(from_dir, from_name) = self.locate(from)? {
            self.dir_mut(from_dir)?.entries.remove(from_name);
        }
        Ok(())
    }

    /// Removes the name of a file. Errors: `NotFound`, `NotADirectory`, `IsADirectory`.
    pub(super) fn remove_file(&mut self, space: &Space, at: At<'_>) -> io::Result<()> {
        self.file(at)?;
        self.take_out(space, at)
    }

    /// Removes an empty directory. Errors: `NotFound`, `NotADirectory`, `DirectoryNotEmpty`,
    /// `ResourceBusy` for one without a last name.
    pub(super) fn remove_dir(&mut self, space: &Space, at: At<'_>) -> io::Result<()> {
        let Place::Entry(parent, name) = self.locate(at)? else {
            return Err(io::ErrorKind::ResourceBusy.into());
        };
        let number = self.step(parent, name)?;
        if !self.dir(number)?.entries.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.take_out(space, at)?;
        self.dirs.remove(&number);
        Ok(())
    }

    fn take_out(&mut self, space: &Space, at: At<'_>) -> io::Result<()> {
        if let Place::Entry(dir, name) = self.locate(at)?
            && self.dir_mut(dir)?.entries.remove(name).is_some()
        {
            space.give(ENTRY_BYTES);
        }
        Ok(())
    }

    /// The entries of a directory, in byte order. Errors: `NotFound`, `NotADirectory`.
    pub(super) fn list(&self, at: At<'_>) -> io::Result<Vec<DirEntry>> {
        let dir = self.dir(self.find_dir(at)?)?;
        let entry =
            |(name, node): (&OsString, &Node)| DirEntry { name: name.clone(), kind: node.kind() };
        Ok(dir.entries.iter().map(entry).collect())
    }

    /// Follows a path up to its last name.
    fn locate<'p>(&self, At(start, path): At<'p>) -> io::Result<Place<'p>> {
        if path.as_os_str().is_empty() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut dir = if path.has_root() { ROOT } else { start };
        self.dir(dir)?;
        let mut last = None;
        for component in path.components() {
            if let (Component::Normal(_) | Component::ParentDir, Some(name)) = (component, last) {
                dir = self.step(dir, name)?;
                last = None;
            }
            match component {
                Component::Normal(name) if name.len() > NAME_BYTES_MAX => {
                    return Err(io::ErrorKind::InvalidFilename.into());
                }
                Component::Normal(name) => last = Some(name),
                Component::ParentDir => dir = self.dir(dir)?.parent,
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        Ok(match last {
            Some(name) => Place::Entry(dir, name),
            None => Place::Dir(dir),
        })
    }

    /// The number of a directory in another.
    fn step(&self, dir: u64, name: &OsStr) -> io::Result<u64> {
        match self.dir(dir)?.entries.get(name) {
            Some(Node::Dir(number)) => Ok(*number),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn dir(&self, number: u64) -> io::Result<&Dir> {
        self.dirs.get(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn dir_mut(&mut self, number: u64) -> io::Result<&mut Dir> {
        self.dirs.get_mut(&number).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
