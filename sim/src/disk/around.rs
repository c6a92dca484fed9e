//! What other programs do to the names of a disk, and who asks: not part of the trait
//! [`runstone_vfs::Vfs`], since the engine never does it.
//!
//! Invariant: names change as they do by calls: at once in what is seen, and durably as rules N1
//! and N2 say.

use std::io;
use std::path::Path;

use super::SimVfs;
use super::call::CallKind;
use super::dir::{At, Body, NameChange, Place};
use super::outside::NameEvent;
use super::state::Disk;

impl Disk {
    fn entry(&self, path: &Path) -> io::Result<(u64, String, Option<u64>)> {
        match self.tree.locate(At::root(path))? {
            Place::Entry { dir, name, node } => Ok((dir, name, node)),
            Place::Dir(_) => Err(io::ErrorKind::ResourceBusy.into()),
        }
    }

    fn remove_entry(&mut self, dir: u64, name: String, node: u64) -> io::Result<()> {
        let below = match &self.tree.node(node)?.body {
            Body::File(_) => None,
            Body::Dir(below) => Some(below.live.clone()),
        };
        let change = if below.is_some() { NameChange::Rmdir } else { NameChange::Remove };
        for (name, child) in below.unwrap_or_default() {
            self.remove_entry(node, name, child)?;
        }
        let seq = self.next_seq();
        self.tree.change(seq, change, vec![(dir, name, None)])
    }
}

impl Disk {
    fn happen(&mut self, event: &NameEvent) -> io::Result<()> {
        match event {
            NameEvent::Move { from, to } => {
                let (from_dir, from_name, node) = self.entry(from)?;
                let node = node.ok_or(io::ErrorKind::NotFound)?;
                let (to_dir, to_name, taken) = self.entry(to)?;
                if taken.is_some() {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                let seq = self.next_seq();
                let effects = vec![(from_dir, from_name, None), (to_dir, to_name, Some(node))];
                self.tree.change(seq, NameChange::Rename, effects)
            }
            NameEvent::Remove(path) => {
                let (dir, name, node) = self.entry(path)?;
                self.remove_entry(dir, name, node.ok_or(io::ErrorKind::NotFound)?)?;
                self.tree.sweep();
                Ok(())
            }
            NameEvent::Overwrite { path, content } => {
                let (.., node) = self.entry(path)?;
                let node = node.ok_or(io::ErrorKind::NotFound)?;
                self.tree.file_mut(node)?.settle(content.clone());
                Ok(())
            }
        }
    }

    /// What another program does before the call of this number and kind, if it is due. Between a
    /// look at a file and the write behind it nobody can tell that another has come: there, nothing
    /// is copied over one.
    pub(super) fn happen_before(&mut self, call: u64, kind: CallKind) {
        let is_apart = matches!(kind, CallKind::Sync | CallKind::SyncDir) || kind.changes_a_name();
        let is_due = |(due, event): &mut (u64, NameEvent)| {
            *due <= call && (is_apart || !matches!(event, NameEvent::Overwrite { .. }))
        };
        if let Some((_, event)) = self.happens.take_if(is_due) {
            // A name that is not there any more leaves nothing to do.
            let _done = self.happen(&event);
        }
    }
}

impl SimVfs {
    /// Does this to a name now. What is open stays open.
    ///
    /// Errors: `NotFound`, and `AlreadyExists` for a new name that is taken.
    pub fn happen(&self, event: &NameEvent) -> io::Result<()> {
        self.disk().happen(event)
    }

    /// Does this to a name before one of the next calls: between two of an operation.
    pub fn happen_after(&self, calls: u64, event: NameEvent) {
        let mut disk = self.disk();
        disk.happens = Some((disk.calls.saturating_add(calls), event));
    }

    /// What was to be done before a call that has not come; it will not be done any more.
    pub fn has_not_happened(&self) -> Option<NameEvent> {
        self.disk().happens.take().map(|(_, event)| event)
    }

    /// Renames a directory or a file; what is open in it stays open.
    ///
    /// Errors: `NotFound`, and `AlreadyExists` for a new name that is taken.
    pub fn move_dir(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.happen(&NameEvent::Move { from: from.to_owned(), to: to.to_owned() })
    }

    /// Removes a directory with all that it holds; what is open stays open.
    ///
    /// Error: `NotFound`.
    pub fn remove_tree(&self, path: &Path) -> io::Result<()> {
        self.happen(&NameEvent::Remove(path.to_owned()))
    }

    /// Which process calls from now on: directories that another has opened are inherited.
    pub fn set_process(&self, process: u64) {
        self.disk().process = process;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test that fails says so

    use runstone_vfs::{Access, Vfs, write_all_at};

    use super::*;
    use crate::disk::{CrashKind, DiskConfig};

    fn disk() -> SimVfs {
        let vfs = SimVfs::new(1);
        vfs.create_dir(Path::new("/a")).unwrap();
        let file = vfs.create(Path::new("/a/file")).unwrap();
        write_all_at(&*file, b"1", 0).unwrap();
        file.sync().unwrap();
        vfs.sync_dir(Path::new("/a")).unwrap();
        vfs.sync_dir(Path::new("/")).unwrap();
        vfs
    }

    #[test]
    fn an_open_directory_follows_its_move_and_ends_with_its_removal() {
        let vfs = disk();
        let open = vfs.open_dir(Path::new("/a")).unwrap();
        vfs.move_dir(Path::new("/a"), Path::new("/b")).unwrap();
        vfs.create_dir(Path::new("/a")).unwrap();
        open.create(Path::new("more")).unwrap();
        assert!(vfs.stat(Path::new("/b/more")).is_ok() && vfs.stat(Path::new("/a/more")).is_err());
        vfs.remove_tree(Path::new("/b")).unwrap();
        let gone = open.stat(Path::new("file")).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        assert!(open.create(Path::new("again")).is_err());
        assert!(vfs.list(Path::new("/a")).unwrap().is_empty());
    }

    #[test]
    fn a_move_is_durable_by_a_sync_of_the_directories_and_not_before() {
        for is_synced in [false, true] {
            let vfs = disk();
            vfs.set_config(DiskConfig::plain());
            vfs.move_dir(Path::new("/a"), Path::new("/b")).unwrap();
            if is_synced {
                vfs.sync_dir(Path::new("/")).unwrap();
            }
            vfs.crash_now(CrashKind::Power);
            vfs.restart();
            let at = if is_synced { "/b/file" } else { "/a/file" };
            assert!(vfs.open(Path::new(at), Access::Read).is_ok(), "synced: {is_synced}");
        }
    }

    #[test]
    fn another_process_inherits_what_was_open_and_opens_its_own() {
        let vfs = disk();
        let open = vfs.open_dir(Path::new("/a")).unwrap();
        assert!(!open.is_inherited());
        vfs.set_process(1);
        assert!(open.is_inherited());
        assert!(!vfs.open_dir(Path::new("/a")).unwrap().is_inherited());
        vfs.set_process(0);
        assert!(!open.is_inherited());
    }
}
