//! No more files are open than may be, the one that was read longest ago is closed, and what was
//! closed is opened again as the same.

use std::path::PathBuf;

use proptest::prelude::*;
use runstone_vfs::{DirEntry, FileSystem, LockKind, MemVfs, Stat, VfsLock, write_all_at};

use super::*;
use crate::sync::AtomicUsize;

/// Of no lock.
const LOCK_ID: FileId = FileId { device: 0, inode: 0 };

fn name(nth: usize) -> String {
    format!("/{nth}")
}

fn path(nth: usize) -> PathBuf {
    PathBuf::from(name(nth))
}

/// So many files in memory, each of which holds its number.
fn files(count: usize) -> MemVfs {
    let vfs = MemVfs::new();
    vfs.create(&Path::new("/").join(LOCK)).unwrap();
    for nth in 0..count {
        let file = vfs.create(&path(nth)).unwrap();
        write_all_at(&*file, &[u8::try_from(nth).unwrap()], 0).unwrap();
    }
    vfs
}

fn tables(vfs: &MemVfs, count: usize, open_max: usize) -> (Arc<Handles>, Vec<TableFile>) {
    let dir = vfs.open_dir(Path::new("/")).unwrap();
    let lock = dir.stat(Path::new(LOCK)).unwrap().id;
    let handles = Arc::new(Handles::new(dir, lock, open_max));
    let open =
        |nth| TableFile::new(&handles, name(nth), vfs.open(&path(nth), Access::Read).unwrap());
    let tables = (0..count).map(open).collect();
    (handles, tables)
}

fn is_open(table: &TableFile) -> bool {
    table.slot.file.read().is_some()
}

fn number(table: &TableFile, nth: usize) -> Result<u8> {
    let mut bytes = [0];
    let file = table.get(&path(nth), |_| Ok(()))?;
    runstone_vfs::read_full_at(&*file, &mut bytes, 0).unwrap();
    Ok(bytes[0])
}

proptest! {
    #[test]
    fn each_read_gets_its_own_file_and_no_more_are_open_than_may_be(
        count in 1..8usize,
        open_max in 0..6usize,
        reads in prop::collection::vec((0..8usize, any::<bool>()), 0..60),
    ) {
        let vfs = files(count);
        let (handles, tables) = tables(&vfs, count, open_max);
        let mut tables: Vec<_> = tables.into_iter().map(Some).collect();
        for (nth, drops) in reads {
            let Some(table) = tables.get(nth).and_then(Option::as_ref) else { continue };
            prop_assert_eq!(usize::from(number(table, nth).unwrap()), nth);
            prop_assert!(is_open(table));
            if drops && nth % 2 == 0 {
                tables[nth] = None;
            }
            let open = tables.iter().flatten().filter(|table| is_open(table)).count();
            prop_assert!(open <= open_max.max(1));
            prop_assert_eq!(handles.ring.lock().open.len(), open);
        }
        drop(tables);
        prop_assert_eq!(handles.ring.lock().open.len(), 0);
    }
}

#[test]
fn the_file_that_was_not_read_is_closed_before_those_that_were() {
    let vfs = files(4);
    let (_handles, tables) = tables(&vfs, 4, 3);
    let open = |tables: &[TableFile]| tables.iter().map(is_open).collect::<Vec<_>>();
    assert_eq!(open(&tables), [false, true, true, true]);
    number(&tables[1], 1).unwrap();
    number(&tables[3], 3).unwrap();
    number(&tables[0], 0).unwrap();
    assert_eq!(open(&tables), [true, true, false, true]);
}

#[test]
fn what_is_held_stays_open_and_is_read_when_its_name_is_gone() {
    let vfs = files(3);
    let (handles, tables) = tables(&vfs, 3, 1);
    tables[0].hold(&path(0));
    number(&tables[1], 1).unwrap();
    for nth in 0..3 {
        vfs.remove(&path(nth)).unwrap();
    }
    assert_eq!(number(&tables[0], 0).unwrap(), 0);
    assert_eq!(number(&tables[1], 1).unwrap(), 1, "it was open");
    assert!(number(&tables[2], 2).unwrap_err().is_corruption(), "it is gone");
    handles.leave();
    assert!(matches!(number(&tables[2], 2), Err(Error::Closed)));
}

#[test]
fn what_is_gone_with_its_store_is_displaced() {
    for replaced in [false, true] {
        let vfs = files(2);
        let (_handles, tables) = tables(&vfs, 2, 1);
        let lock = Path::new("/").join(LOCK);
        vfs.remove(&path(0)).unwrap();
        vfs.remove(&lock).unwrap();
        // A file of the same number would be the same.
        let _other = replaced.then(|| (vfs.create(&path(5)), vfs.create(&lock)));
        let error = number(&tables[0], 0).unwrap_err();
        assert!(matches!(error, Error::Displaced { .. }), "{error}");
    }
}

#[test]
fn what_is_not_the_same_any_more_is_not_kept() {
    let vfs = files(2);
    let (handles, tables) = tables(&vfs, 2, 1);
    let refused = tables[0].get(&path(0), |_| Err(Error::invalid("another")));
    assert!(refused.is_err() && !is_open(&tables[0]));
    let ring = handles.ring.lock();
    assert_eq!((ring.open.len(), ring.coming), (0, 0));
}

/// A directory in which nothing can be opened, for want of descriptors.
#[derive(Debug)]
struct Full(AtomicUsize);

#[rustfmt::skip]
impl Vfs for Full {
    fn open(&self, _: &Path, _: Access) -> io::Result<File> {
        match self.0.fetch_sub(1, Ordering::AcqRel) {
            0 => unreachable!("no more is asked for"),
            1 => files(1).open(&path(0), Access::Read),
            // EMFILE
            _ => Err(io::Error::from_raw_os_error(24)),
        }
    }
    fn is_inherited(&self) -> bool { false }
    fn open_dir(&self, _: &Path) -> io::Result<Arc<dyn Vfs>> { unreachable!() }
    fn stat(&self, _: &Path) -> io::Result<Stat> { unreachable!() }
    fn file_system(&self) -> FileSystem { unreachable!() }
    fn create(&self, _: &Path) -> io::Result<File> { unreachable!() }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> { unreachable!() }
    fn link(&self, _: &Path, _: &Path) -> io::Result<()> { unreachable!() }
    fn remove(&self, _: &Path) -> io::Result<()> { unreachable!() }
    fn remove_dir(&self, _: &Path) -> io::Result<()> { unreachable!() }
    fn list(&self, _: &Path) -> io::Result<Vec<DirEntry>> { unreachable!() }
    fn create_dir(&self, _: &Path) -> io::Result<()> { unreachable!() }
    fn sync_dir(&self, _: &Path) -> io::Result<()> { unreachable!() }
    fn lock(&self, _: &Path, _: LockKind) -> io::Result<Box<dyn VfsLock>> { unreachable!() }
}

#[test]
fn a_file_for_which_there_is_no_descriptor_is_opened_when_there_is_one() {
    let handles = Arc::new(Handles::new(Arc::new(Full(AtomicUsize::new(3))), LOCK_ID, 1));
    let (_none, tables) = tables(&files(1), 1, 1);
    let table = TableFile { handles, name: name(0), slot: Arc::default() };
    for _ in 0..2 {
        let error = table.get(&path(0), |_| Ok(())).unwrap_err();
        assert!(matches!(error, Error::Io { .. }) && error.is_retryable(), "{error}");
    }
    assert_eq!(number(&table, 0).unwrap(), 0);
    drop(tables);
}
