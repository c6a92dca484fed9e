//! The names of a file system in memory: a tree of directories.
//!
//! Invariant: each entry is paid for with [`ENTRY_BYTES`] of the file system's [`Space`] while
//! it is in the tree. Paths are resolved as the operating system does it: `.` and repeated
//! slashes mean nothing, `..` is the parent of a directory that must exist (the root is its
//! own), and a relative path starts at the root.

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

/// The root directory.
#[derive(Debug, Default)]
pub(super) struct Tree {
    root: Dir,
}

#[derive(Debug, Default)]
struct Dir {
    entries: BTreeMap<OsString, Node>,
}

#[derive(Debug)]
enum Node {
    File(Arc<Inode>),
    Dir(Dir),
}

impl Node {
    fn kind(&self) -> FileKind {
        match self {
            Node::File(_) => FileKind::File,
            Node::Dir(_) => FileKind::Dir,
        }
    }
}

impl Tree {
    /// The file at `path`. Errors: `NotFound`, `NotADirectory`, `IsADirectory`.
    pub(super) fn file(&self, path: &Path) -> io::Result<&Arc<Inode>> {
        match self.find(&self.resolve(path)?)? {
            Found::Node(Node::File(inode)) => Ok(inode),
            Found::Node(Node::Dir(_)) | Found::Root => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// Gives `inode` a new name. Errors: `AlreadyExists`, `NotFound`, `NotADirectory`,
    /// `StorageFull`.
    pub(super) fn add_file(
        &mut self,
        space: &Space,
        path: &Path,
        inode: Arc<Inode>,
    ) -> io::Result<()> {
        self.add(space, path, Node::File(inode))
    }

    /// Makes an empty directory. Errors as [`Tree::add_file`].
    pub(super) fn add_dir(&mut self, space: &Space, path: &Path) -> io::Result<()> {
        self.add(space, path, Node::Dir(Dir::default()))
    }

    fn add(&mut self, space: &Space, path: &Path, node: Node) -> io::Result<()> {
        let names = self.resolve(path)?;
        let Some((name, dir)) = self.parent_mut(&names)? else {
            return Err(io::ErrorKind::AlreadyExists.into());
        };
        if dir.entries.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        space.take(ENTRY_BYTES)?;
        dir.entries.insert(name.to_owned(), node);
        Ok(())
    }

    /// Moves a file to another name, over the file that has it. If both names are one file
    /// already, nothing changes. Errors: `NotFound`, `NotADirectory`, `IsADirectory`.
    pub(super) fn rename(&mut self, space: &Space, from: &Path, to: &Path) -> io::Result<()> {
        let inode = Arc::clone(self.file(from)?);
        let from = self.resolve(from)?;
        let to = self.resolve(to)?;

        // Put the new name, which may fail.
        let Some((name, dir)) = self.parent_mut(&to)? else {
            return Err(io::ErrorKind::IsADirectory.into());
        };
        match dir.entries.get(name) {
            Some(Node::Dir(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Node::File(old)) if Arc::ptr_eq(old, &inode) => return Ok(()),
            Some(Node::File(_)) => space.give(ENTRY_BYTES),
            None => {}
        }
        dir.entries.insert(name.to_owned(), Node::File(inode));

        // Take the old one away, which was found above. Its cost goes on for the new one.
        if let Some((name, dir)) = self.parent_mut(&from)? {
            dir.entries.remove(name);
        }
        Ok(())
    }

    /// Removes the name of a file. Errors: `NotFound`, `NotADirectory`, `IsADirectory`.
    pub(super) fn remove_file(&mut self, space: &Space, path: &Path) -> io::Result<()> {
        self.file(path)?;
        self.take_out(space, path)
    }

    /// Removes an empty directory. Errors: `NotFound`, `NotADirectory`, `DirectoryNotEmpty`,
    /// `ResourceBusy` for the root.
    pub(super) fn remove_dir(&mut self, space: &Space, path: &Path) -> io::Result<()> {
        let names = self.resolve(path)?;
        if names.is_empty() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        if !self.dir(&names)?.entries.is_empty() {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        self.take_out(space, path)
    }

    fn take_out(&mut self, space: &Space, path: &Path) -> io::Result<()> {
        let names = self.resolve(path)?;
        if let Some((name, dir)) = self.parent_mut(&names)? {
            dir.entries.remove(name);
            space.give(ENTRY_BYTES);
        }
        Ok(())
    }

    /// The entries of a directory, in byte order. Errors: `NotFound`, `NotADirectory`.
    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let dir = self.dir(&self.resolve(path)?)?;
        let entry =
            |(name, node): (&OsString, &Node)| DirEntry { name: name.clone(), kind: node.kind() };
        Ok(dir.entries.iter().map(entry).collect())
    }

    /// The names from the root to `path`, without `.` and `..`.
    fn resolve(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let mut names = Vec::new();
        for component in path.components() {
            match component {
                Component::Normal(name) if name.len() > NAME_BYTES_MAX => {
                    return Err(io::ErrorKind::InvalidFilename.into());
                }
                Component::Normal(name) => names.push(name.to_owned()),
                Component::ParentDir => {
                    self.dir(&names)?;
                    names.pop();
                }
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        Ok(names)
    }

    fn find(&self, names: &[OsString]) -> io::Result<Found<'_>> {
        let Some((name, parents)) = names.split_last() else {
            return Ok(Found::Root);
        };
        match self.dir(parents)?.entries.get(name) {
            Some(node) => Ok(Found::Node(node)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn dir(&self, names: &[OsString]) -> io::Result<&Dir> {
        names.iter().try_fold(&self.root, |dir, name| match dir.entries.get(name) {
            Some(Node::Dir(dir)) => Ok(dir),
            Some(Node::File(_)) => Err(io::ErrorKind::NotADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        })
    }

    /// The last name and the directory that holds it, or may hold it; none for the root.
    fn parent_mut<'n>(
        &mut self,
        names: &'n [OsString],
    ) -> io::Result<Option<(&'n OsStr, &mut Dir)>> {
        let Some((name, parents)) = names.split_last() else {
            return Ok(None);
        };
        let dir = parents.iter().try_fold(&mut self.root, |dir, name| {
            match dir.entries.get_mut(name) {
                Some(Node::Dir(dir)) => Ok(dir),
                Some(Node::File(_)) => Err(io::Error::from(io::ErrorKind::NotADirectory)),
                None => Err(io::ErrorKind::NotFound.into()),
            }
        })?;
        Ok(Some((name, dir)))
    }
}

/// What a path leads to.
enum Found<'t> {
    Root,
    Node(&'t Node),
}
