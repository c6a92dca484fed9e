//! One seed decides everything: the digest of a run is a function of its seed, in this process,
//! in another one, wherever it runs. (`.ci/run` compares debug with release.)
#![allow(clippy::unwrap_used, reason = "a test may panic, also in its helpers")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use runstone_sim::disk::SimVfs;
use runstone_sim::harness::generate::generate;
use runstone_sim::harness::{Case, Op, run, run_seed};
use runstone_vfs::{Access, Vfs};

const SEEDS: u64 = 40;

#[test]
fn a_seed_has_one_digest_and_different_seeds_have_different_ones() {
    let digests: Vec<u64> = (0..SEEDS).map(|seed| run_seed(seed).digest).collect();
    for (seed, digest) in (0..).zip(&digests) {
        assert_eq!(run_seed(seed).digest, *digest, "seed {seed}, run again");
    }
    let distinct: BTreeSet<_> = digests.iter().collect();
    assert_eq!(distinct.len(), digests.len(), "different seeds do different things");
}

/// The digest of a seed, by the binary, as a process of its own.
fn digest_elsewhere(seed: u64, dir: &Path, env: &[(&str, &str)]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_runstone-sim"))
        .args(["digest", &seed.to_string()])
        .current_dir(dir)
        .env_clear()
        .envs(env.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn no_environment_and_no_directory_changes_a_digest() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rich = [
        ("HOME", "/nowhere"),
        ("LANG", "tr_TR.UTF-8"),
        ("TZ", "Pacific/Kiritimati"),
        ("RUST_LOG", "trace"),
        ("RUST_BACKTRACE", "1"),
        ("TMPDIR", "/nowhere"),
        ("COLUMNS", "7"),
    ];
    for seed in [0, 7, 36353, 1 << 40] {
        let here = format!("{:016x}", run_seed(seed).digest);
        assert_eq!(digest_elsewhere(seed, one.path(), &[]), here, "seed {seed}, bare");
        assert_eq!(digest_elsewhere(seed, other.path(), &rich), here, "seed {seed}, rich");
    }
}

/// A disk with a durable file of these bytes.
fn disk_with(bytes: &[u8]) -> SimVfs {
    let disk = SimVfs::new(1);
    let file = disk.create(Path::new("/f")).unwrap();
    file.write_at(bytes, 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk
}

#[test]
fn the_digest_covers_the_bytes_that_are_written() {
    assert_eq!(disk_with(b"one").digest(), disk_with(b"one").digest());
    assert_ne!(disk_with(b"one").digest(), disk_with(b"two").digest());
}

#[test]
fn the_digest_covers_the_bytes_that_are_read() {
    let read = |bit: u64| {
        let disk = disk_with(b"one");
        disk.flip_bit(Path::new("/f"), bit).unwrap();
        let before = disk.digest();
        let mut buf = [0; 3];
        disk.open(Path::new("/f"), Access::Read).unwrap().read_at(&mut buf, 0).unwrap();
        (before, disk.digest())
    };
    let (one, other) = (read(0), read(9));
    assert_eq!(one.0, other.0, "rot itself is no call");
    assert_ne!(one.1, other.1, "what it changed is read");
}

#[test]
fn the_digest_covers_the_names_that_are_listed_and_the_errors() {
    let listed = |name: &str, is_dir: bool| {
        let disk = SimVfs::new(1);
        match is_dir {
            true => disk.create_dir(Path::new(name)).unwrap(),
            false => drop(disk.create(Path::new(name)).unwrap()),
        }
        disk.list(Path::new("/")).unwrap();
        disk.digest()
    };
    let digests = [listed("/a", false), listed("/b", false), listed("/a", true)];
    assert_eq!(BTreeSet::from(digests).len(), 3);

    let failed = |make: bool| {
        let disk = disk_with(b"");
        if make {
            drop(disk.create(Path::new("/f")).unwrap_err());
        } else {
            drop(disk.open(Path::new("/g"), Access::Read).unwrap_err());
        }
        disk.digest()
    };
    assert_ne!(failed(true), failed(false));
}

/// The case of a seed with these corrections before each fifth operation.
fn with_turns(seed: u64, corrections: &[i32]) -> Case {
    let case = generate(seed);
    let mut ops = Vec::new();
    for (at, op) in case.ops.into_iter().enumerate() {
        // A crash that comes first of all is armed before the store is made.
        if at > 5 && at.is_multiple_of(5) {
            ops.extend(corrections.iter().map(|by| Op::Turn { by: *by }));
        }
        ops.push(op);
    }
    Case { ops, ..case }
}

#[test]
fn corrections_of_turns_that_come_to_nothing_change_no_call_and_others_do() {
    let mut moved = 0;
    for seed in 0..20 {
        let plain = run(&generate(seed), false).digest;
        assert_eq!(run(&with_turns(seed, &[3, -3]), false).digest, plain, "seed {seed}");
        let turned = run(&with_turns(seed, &[1]), false);
        assert_eq!(turned.failure, None, "seed {seed}");
        moved += u32::from(turned.digest != plain);
    }
    assert!(moved > 0, "a share of the checks goes by the turn");
}
