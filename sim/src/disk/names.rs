//! What calls on names do to the disk: the semantics of the `Vfs` trait,
//! and faults of a directory's sync.

use runstone_vfs::{Access, DirEntry, FileId, FileKind, LockKind, Stat};
use std::io;

use super::dir::{At, Body, DirNode, NameChange, Place};
use super::faults::{Fault, SyncFlavour, io_error};
use super::inode::FileNode;
use super::kind::FaultKind;
use super::state::{Disk, Outcome, fail};

impl Disk {
    pub(super) fn open(&mut self, path: At<'_>, access: Access) -> Outcome<u64> {
        let node = self.tree.find(path)?;
        self.tree.file(node)?;
        if self.read_only && access == Access::ReadWrite {
            return fail(io::ErrorKind::ReadOnlyFilesystem);
        }
        Ok((node, node))
    }

    pub(super) fn open_dir(&mut self, path: At<'_>) -> Outcome<u64> {
        let node = self.tree.find(path)?;
        self.tree.dir(node)?;
        Ok((node, node))
    }

    pub(super) fn stat(&mut self, path: At<'_>) -> Outcome<Stat> {
        let node = self.tree.find(path)?;
        let is_dir = self.tree.node(node)?.is_dir();
        let kind = if is_dir { FileKind::Dir } else { FileKind::File };
        Ok((Stat { id: FileId { device: 0, inode: node }, kind }, node))
    }

    /// Where a new name would be.
    fn vacant(&self, path: At<'_>) -> io::Result<(u64, String)> {
        match self.tree.locate(path)? {
            Place::Entry { dir, name, node: None } => Ok((dir, name)),
            Place::Entry { .. } | Place::Dir(_) => fail(io::ErrorKind::AlreadyExists),
        }
    }

    /// The entry of an existing name; a place without a last name is busy.
    fn taken(&self, path: At<'_>) -> io::Result<(u64, String, u64)> {
        match self.tree.locate(path)? {
            Place::Entry { dir, name, node: Some(node) } => Ok((dir, name, node)),
            Place::Entry { .. } => fail(io::ErrorKind::NotFound),
            Place::Dir(_) => fail(io::ErrorKind::ResourceBusy),
        }
    }

    /// A full disk takes no new names.
    fn need_room(&self) -> io::Result<()> {
        if self.is_full() { fail(io::ErrorKind::StorageFull) } else { Ok(()) }
    }

    pub(super) fn create(&mut self, path: At<'_>) -> Outcome<u64> {
        let (dir, name) = self.vacant(path)?;
        self.need_room()?;
        let node = self.tree.add(Body::File(FileNode::default()));
        let seq = self.next_seq();
        self.tree.change(seq, NameChange::Create, vec![(dir, name, Some(node))])?;
        Ok((node, node))
    }

    pub(super) fn create_dir(&mut self, path: At<'_>) -> Outcome<()> {
        let (dir, name) = self.vacant(path)?;
        self.need_room()?;
        let node = self.tree.add(Body::Dir(DirNode::default()));
        let seq = self.next_seq();
        self.tree.change(seq, NameChange::Mkdir, vec![(dir, name, Some(node))])?;
        Ok(((), node))
    }

    /// The file of this name; directories are neither linked nor renamed.
    fn file_entry(&self, path: At<'_>) -> io::Result<(u64, String, u64)> {
        match self.tree.locate(path)? {
            Place::Dir(_) => fail(io::ErrorKind::IsADirectory),
            Place::Entry { node: None, .. } => fail(io::ErrorKind::NotFound),
            Place::Entry { dir, name, node: Some(node) } => {
                self.tree.file(node)?;
                Ok((dir, name, node))
            }
        }
    }

    pub(super) fn link(&mut self, from: At<'_>, to: At<'_>) -> Outcome<()> {
        let (_, _, node) = self.file_entry(from)?;
        let (dir, name) = self.vacant(to)?;
        self.need_room()?;
        let seq = self.next_seq();
        self.tree.change(seq, NameChange::Link, vec![(dir, name, Some(node))])?;
        Ok(((), node))
    }

    pub(super) fn rename(&mut self, from: At<'_>, to: At<'_>) -> Outcome<()> {
        let (from_dir, from_name, node) = self.file_entry(from)?;
        let Place::Entry { dir: to_dir, name: to_name, node: target } = self.tree.locate(to)?
        else {
            return fail(io::ErrorKind::IsADirectory);
        };
        if target == Some(node) {
            return Ok(((), node));
        }
        if let Some(target) = target {
            self.tree.file(target)?;
        }
        let seq = self.next_seq();
        let effects = vec![(from_dir, from_name, None), (to_dir, to_name, Some(node))];
        self.tree.change(seq, NameChange::Rename, effects)?;
        self.tree.sweep();
        Ok(((), node))
    }

    pub(super) fn remove(&mut self, path: At<'_>) -> Outcome<()> {
        let (dir, name, node) = match self.taken(path) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                return fail(io::ErrorKind::IsADirectory);
            }
            taken => taken?,
        };
        if self.tree.node(node)?.is_dir() {
            return fail(io::ErrorKind::IsADirectory);
        }
        let seq = self.next_seq();
        self.tree.change(seq, NameChange::Remove, vec![(dir, name, None)])?;
        self.tree.sweep();
        Ok(((), node))
    }

    pub(super) fn remove_dir(&mut self, path: At<'_>) -> Outcome<()> {
        let (dir, name, node) = self.taken(path)?;
        if !self.tree.dir(node)?.live.is_empty() {
            return fail(io::ErrorKind::DirectoryNotEmpty);
        }
        let seq = self.next_seq();
        self.tree.change(seq, NameChange::Rmdir, vec![(dir, name, None)])?;
        self.tree.sweep();
        Ok(((), node))
    }

    pub(super) fn list(&mut self, path: At<'_>) -> Outcome<Vec<DirEntry>> {
        let node = self.tree.find(path)?;
        let mut entries: Vec<DirEntry> = vec![];
        for (name, &child) in &self.tree.dir(node)?.live {
            let is_dir = self.tree.node(child)?.is_dir();
            let kind = if is_dir { FileKind::Dir } else { FileKind::File };
            entries.push(DirEntry { name: name.into(), kind });
        }
        if self.config.list_shuffled {
            self.rng.shuffle(&mut entries);
        }
        for entry in &entries {
            self.trace.digest.bytes(entry.name.as_encoded_bytes());
            self.trace.digest.u8(u8::from(entry.kind == FileKind::Dir));
        }
        let count = entries.len() as u64;
        Ok((entries, count))
    }

    pub(super) fn sync_dir(&mut self, path: At<'_>, fault: Option<Fault>) -> Outcome<()> {
        let id = self.tree.find(path)?;
        let (files_first, dirs_first) =
            (self.config.names_need_synced_files, self.config.names_need_synced_dirs);
        let dir = self.tree.dir_mut(id)?;
        let report_late = std::mem::take(&mut dir.late_error);
        match fault.map(|fault| (fault.kind, fault)) {
            Some((FaultKind::SyncLies, _)) if !report_late => {
                self.count("sync_lied", 1);
                Ok(((), 0))
            }
            Some((FaultKind::SyncLate, _)) if !report_late => {
                dir.late_error = true;
                let doomed = self.tree.doom_dir(id);
                self.count("name_doomed", doomed);
                Ok(((), 0))
            }
            None if report_late => {
                if self.config.reported_error_dooms.hit(&mut self.rng) {
                    let doomed = self.tree.doom_dir(id);
                    self.count("name_doomed", doomed);
                } else {
                    self.tree.sync_dir(id, files_first, dirs_first);
                }
                Err(io_error())
            }
            None => {
                self.tree.sync_dir(id, files_first, dirs_first);
                self.tree.sweep();
                Ok(((), 0))
            }
            Some((_, fault)) => {
                if fault.flavour != SyncFlavour::Harmless {
                    let doomed = self.tree.doom_dir(id);
                    self.count("name_doomed", doomed);
                }
                Err(fault.error())
            }
        }
    }

    pub(super) fn lock(&mut self, path: At<'_>, kind: LockKind) -> Outcome<(u64, u64)> {
        let node = self.tree.find(path)?;
        self.tree.file(node)?;
        let token = self.locks.take(node, kind)?;
        Ok(((node, token), node))
    }
}
