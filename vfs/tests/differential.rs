//! The real disk and the disk in memory, side by side under the same random calls.
#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

use std::path::Path;

use runstone_vfs::contract::script::{Tally, compare, random_call};
use runstone_vfs::{MemVfs, OsVfs, Vfs};

const SEEDS: u64 = 50;
const CALLS_PER_SEED: u64 = 2_000;

/// SplitMix64: a full-period mixer, good enough to choose calls and fixed for ever.
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed;
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// 100,000 calls; a failure names its seed.
fn run_all_seeds() -> Tally {
    let mut total = Tally::new();
    for seed in 0..SEEDS {
        let dir = tempfile::tempdir().unwrap();
        let (os, mem): (&dyn Vfs, &dyn Vfs) = (&OsVfs::new(), &MemVfs::new());
        let (os, mem) = ((os, dir.path()), (mem, Path::new("/")));
        match compare(os, mem, CALLS_PER_SEED, &mut numbers(seed)) {
            Ok(tally) => {
                for (what, count) in tally {
                    *total.entry(what).or_default() += count;
                }
            }
            Err(difference) => panic!("seed {seed}, {difference}"),
        }
    }
    total
}

#[test]
fn real_and_memory_disk_agree_on_100_000_random_calls() {
    let total = run_all_seeds();
    assert_eq!(total.values().sum::<u64>(), 100_000);

    // The comparison means little unless every method got through, and was refused for every
    // reason it has.
    let expected = [
        ("open", "ok NotFound IsADirectory NotADirectory"),
        ("create", "ok NotFound AlreadyExists NotADirectory"),
        ("rename", "ok NotFound IsADirectory NotADirectory"),
        ("link", "ok NotFound IsADirectory AlreadyExists NotADirectory"),
        ("remove", "ok NotFound IsADirectory NotADirectory"),
        ("remove_dir", "ok NotFound NotADirectory DirectoryNotEmpty"),
        ("list", "ok NotFound NotADirectory"),
        ("create_dir", "ok NotFound AlreadyExists NotADirectory"),
        ("sync_dir", "ok NotFound NotADirectory"),
        ("lock", "ok NotFound IsADirectory NotADirectory WouldBlock"),
        ("unlock", "ok"),
        ("close", "ok"),
        ("read_at", "ok InvalidInput"),
        ("write_at", "ok InvalidInput PermissionDenied"),
        ("write_vectored_at", "ok InvalidInput PermissionDenied"),
        ("sync", "ok"),
        ("set_len", "ok InvalidInput PermissionDenied"),
        ("allocate", "ok InvalidInput PermissionDenied"),
        ("len", "ok"),
        ("is_empty", "ok"),
    ];
    for (method, labels) in expected {
        for label in labels.split(' ') {
            let count = total.get(&(method, label.to_owned())).copied().unwrap_or_default();
            assert!(count >= 5, "{method} was {label} only {count} times: {total:#?}");
        }
    }
}

/// A recorded seed is worth something only while it means the same calls. Changing this number
/// declares every recorded seed of a script void.
#[test]
fn the_same_numbers_give_the_same_calls_for_ever() {
    let mut next = numbers(7);
    let mut digest = 0xCBF2_9CE4_8422_2325_u64;
    for _ in 0..10_000 {
        for byte in format!("{:?};", random_call(&mut next)).bytes() {
            digest = (digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
    assert_eq!(digest, 0x6136_A6A3_DB13_688F, "{digest:#018X}");
}

/// The calibration: a disk with one planted defect must be told from a sound one.
#[test]
fn a_planted_defect_is_found() {
    use runstone_vfs::{Access, DirEntry, FileSystem, LockKind, Stat, VfsFile, VfsLock};
    use std::io;
    use std::sync::Arc;

    /// Renaming does not free the old name.
    #[derive(Debug)]
    struct Forgetful(MemVfs);

    impl Vfs for Forgetful {
        fn open_dir(&self, path: &Path) -> io::Result<Arc<dyn Vfs>> {
            self.0.open_dir(path)
        }
        fn stat(&self, path: &Path) -> io::Result<Stat> {
            self.0.stat(path)
        }
        fn is_inherited(&self) -> bool {
            self.0.is_inherited()
        }

        fn file_system(&self) -> FileSystem {
            self.0.file_system()
        }
        fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn VfsFile>> {
            self.0.open(path, access)
        }
        fn create(&self, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
            self.0.create(path)
        }
        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.0.rename(from, to)?;
            match self.0.link(to, from) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
                _ => Ok(()),
            }
        }
        fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.0.link(from, to)
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            self.0.remove(path)
        }
        fn remove_dir(&self, path: &Path) -> io::Result<()> {
            self.0.remove_dir(path)
        }
        fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
            self.0.list(path)
        }
        fn create_dir(&self, path: &Path) -> io::Result<()> {
            self.0.create_dir(path)
        }
        fn sync_dir(&self, path: &Path) -> io::Result<()> {
            self.0.sync_dir(path)
        }
        fn lock(&self, path: &Path, kind: LockKind) -> io::Result<Box<dyn VfsLock>> {
            self.0.lock(path, kind)
        }
    }

    let found = (0..5).any(|seed| {
        let (sound, broken) = (MemVfs::new(), Forgetful(MemVfs::new()));
        let root = Path::new("/");
        compare((&sound, root), (&broken, root), 500, &mut numbers(seed)).is_err()
    });
    assert!(found, "no seed noticed that renaming does not free the old name");
}
