//! Names by absolute path, for platforms without `openat`. Tests compile it everywhere, and run the
//! contract through it.
//!
//! Invariant: the path of a directory is made absolute when it is opened, so that a changed working
//! directory means nothing. A directory that is renamed or replaced is not followed: whoever
//! writes asks for the identity of its files first.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::id_of;
use crate::{Access, DirEntry, FileKind, FileSystem, Stat};

/// A directory that names are relative to.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Absolute; `None` is the working directory, whichever that is at the time of the call.
    dir: Option<PathBuf>,
}

impl Names {
    /// Relative to the working directory of the process.
    pub(super) const fn of_process() -> Self {
        Names { dir: None }
    }

    fn path(&self, path: &Path) -> io::Result<PathBuf> {
        match &self.dir {
            _ if path.as_os_str().is_empty() => Err(io::ErrorKind::NotFound.into()),
            Some(dir) => Ok(dir.join(path)),
            None => Ok(path.to_owned()),
        }
    }

    pub(super) fn open_dir(&self, path: &Path) -> io::Result<Self> {
        let path = fs::canonicalize(self.path(path)?)?;
        match fs::metadata(&path)?.is_dir() {
            true => Ok(Names { dir: Some(path) }),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// Nobody is asked.
    pub(super) fn file_system(&self) -> FileSystem {
        FileSystem::Unknown
    }

    /// Opens an existing file, and never a directory.
    pub(super) fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        let path = self.path(path)?;
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::ReadWrite)
            .open(&path)
            .map_err(|error| name_the_directory(error, &path))?;
        if file.metadata()?.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Ok(file)
    }

    pub(super) fn create(&self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).create_new(true).open(self.path(path)?)
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        refuse_directory(&from)?;
        fs::rename(from, &to).map_err(|error| name_the_directory(error, &to))
    }

    pub(super) fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        refuse_directory(&from)?;
        fs::hard_link(from, to)
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        let path = self.path(path)?;
        fs::remove_file(&path).map_err(|error| name_the_directory(error, &path))
    }

    pub(super) fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(self.path(path)?)
    }

    pub(super) fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::create_dir(self.path(path)?)
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.path(path)?)? {
            let entry = entry?;
            let kind = match entry.file_type() {
                Ok(found) => kind(found),
                // It was removed since the directory was read.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            entries.push(DirEntry { name: entry.file_name(), kind });
        }
        Ok(entries)
    }

    /// Directories cannot be synced on Windows.
    pub(super) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = self.path(path)?;
        if !fs::metadata(&path)?.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        #[cfg(unix)]
        File::open(path)?.sync_all()?;
        Ok(())
    }

    pub(super) fn stat(&self, path: &Path) -> io::Result<Stat> {
        let found = fs::symlink_metadata(self.path(path)?)?;
        Ok(Stat { id: id_of(&found), kind: kind(found.file_type()) })
    }
}

fn kind(found: fs::FileType) -> FileKind {
    match found {
        found if found.is_file() => FileKind::File,
        found if found.is_dir() => FileKind::Dir,
        _ => FileKind::Other,
    }
}

/// Fails if `path` is a directory, or does not exist.
fn refuse_directory(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path)?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(()),
    }
}

/// Turns a refusal that stems from `path` being a directory into `IsADirectory`: on Windows most
/// calls on one are "access denied".
fn name_the_directory(error: io::Error, path: &Path) -> io::Error {
    let refused =
        matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::DirectoryNotEmpty);
    if refused && fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
        return io::ErrorKind::IsADirectory.into();
    }
    error
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test that fails says so

    use super::*;

    #[test]
    fn each_call_goes_to_the_absolute_path_of_the_directory_that_was_opened() {
        let temporary = tempfile::tempdir().unwrap();
        let all = Names::of_process();
        all.create_dir(&temporary.path().join("d")).unwrap();
        let dir = all.open_dir(&temporary.path().join("d/../d")).unwrap();
        assert_eq!(dir.file_system(), FileSystem::Unknown);
        let (a, b, sub) = (Path::new("a"), Path::new("b"), Path::new("sub"));
        let id = id_of(&dir.create(a).unwrap().metadata().unwrap());
        dir.rename(a, b).unwrap();
        dir.link(b, a).unwrap();
        dir.create_dir(sub).unwrap();
        assert_eq!(dir.stat(a).unwrap(), Stat { id, kind: FileKind::File });
        assert_eq!(dir.stat(sub).unwrap().kind, FileKind::Dir);
        assert_eq!(dir.list(Path::new(".")).unwrap().len(), 3);
        assert_eq!(fs::read_dir(temporary.path().join("d")).unwrap().count(), 3);
        for refused in [dir.remove(sub), dir.rename(b, sub), dir.link(sub, Path::new("c"))] {
            assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::IsADirectory);
        }
        let kind = |refused: io::Error| refused.kind();
        assert_eq!(
            dir.open(sub, Access::Read).map_err(kind).err(),
            Some(io::ErrorKind::IsADirectory)
        );
        assert_eq!(dir.open_dir(b).map_err(kind).err(), Some(io::ErrorKind::NotADirectory));
        assert_eq!(dir.sync_dir(b).map_err(kind), Err(io::ErrorKind::NotADirectory));
        assert_eq!(dir.open_dir(Path::new("")).map_err(kind).err(), Some(io::ErrorKind::NotFound));
        dir.sync_dir(Path::new(".")).unwrap();
        dir.remove(a).unwrap();
        dir.remove(b).unwrap();
        dir.remove_dir(sub).unwrap();
    }
}
