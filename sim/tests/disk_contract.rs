//! Without faults the simulated disk is one more file system: the contract of the `Vfs` trait,
//! check by check, and side by side with the real disk under the same random calls.
//!
//! What is found on the simulated disk is worth something only if its plain behaviour is the
//! real one's.
#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

use std::path::Path;

use runstone_sim::disk::SimVfs;
use runstone_sim::rng::Rng;
use runstone_vfs::contract::Check;
use runstone_vfs::contract::script::{Tally, compare};
use runstone_vfs::{OsVfs, Vfs};

fn on_the_simulated_disk(check: Check) {
    check.run(&SimVfs::new(1), Path::new("/"));
}

mod contract {
    runstone_vfs::contract_tests!(super::on_the_simulated_disk);
}

/// Fifty scripts of 2,000 calls, each in an empty directory of its own: names, handles and
/// locks pile up within a script, so a few long ones would mostly meet what is taken.
const SCRIPTS: u64 = 50;
const THREADS: usize = 5;
const CALLS: u64 = 2_000;

/// Each method of the two traits, and how it may end on a disk without faults.
const METHODS: [(&str, &str); 20] = [
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

fn script(seed: u64) -> Tally {
    let dir = tempfile::tempdir().unwrap();
    let sim = SimVfs::new(seed);
    let (real, simulated): (&dyn Vfs, &dyn Vfs) = (&OsVfs::new(), &sim);
    let mut rng = Rng::from_seed(seed);
    let sides = ((real, dir.path()), (simulated, Path::new("/")));
    match compare(sides.0, sides.1, CALLS, &mut || rng.next_u64()) {
        Ok(tally) => tally,
        Err(difference) => panic!("script {seed}: the real disk is left: {difference}"),
    }
}

#[test]
fn real_and_simulated_disk_agree_on_100_000_random_calls() {
    let mut total = Tally::new();
    // Most of the time goes into waiting for the real disk's syncs, so the scripts share it.
    std::thread::scope(|scope| {
        let tallies: Vec<_> = (0..SCRIPTS)
            .take(THREADS)
            .map(|first| {
                let mine = (first..SCRIPTS).step_by(THREADS);
                scope.spawn(|| mine.flat_map(script).collect::<Vec<_>>())
            })
            .collect();
        for (what, count) in tallies.into_iter().flat_map(|thread| thread.join().unwrap()) {
            *total.entry(what).or_default() += count;
        }
    });
    assert_eq!(total.values().sum::<u64>(), 100_000);
    // Agreement means little unless every method got through, and every refusal was met.
    let labels = |method| -> Vec<&str> {
        total.keys().filter(|(of, _)| *of == method).map(|(_, label)| label.as_str()).collect()
    };
    for (method, expected) in METHODS {
        let found = labels(method);
        for label in expected.split(' ') {
            assert!(found.contains(&label), "{method} was never {label}: {total:#?}");
        }
    }
}
