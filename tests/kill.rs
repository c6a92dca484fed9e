//! C13: a child process on the real disk, killed with SIGKILL at random moments.
//!
//! The child reports each acknowledged write over a pipe, after it was acknowledged. What the
//! next opening shows is a prefix of the child's commit order; under `Strict` and `Batched` it
//! holds everything that was reported.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so
#![allow(clippy::disallowed_methods)] // tests start processes and wait for them

mod common;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use common::{NO_TAGS, run};
use runstone::{Database, DurabilityMode, Value};

const DIR_VAR: &str = "RUNSTONE_TEST_KILL_DIR";
const MODE_VAR: &str = "RUNSTONE_TEST_KILL_MODE";
const ROUNDS: u64 = 50;

const MODES: [(&str, DurabilityMode); 3] = [
    ("strict", DurabilityMode::Strict),
    ("batched", DurabilityMode::Batched { interval_ms: 3, batch_size: 40 }),
    ("async", DurabilityMode::Async { interval_ms: 3 }),
];

/// The value of the `n`th commit of the run: its own number, and some bytes to make it odd.
fn value(n: u64) -> Vec<u8> {
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.resize(8 + usize::try_from(n * 37 % 400).unwrap(), n.to_le_bytes()[0]);
    bytes
}

/// Not a test of its own: what the killed process does, until it is killed.
#[test]
fn child_that_writes_until_it_is_killed() {
    let Ok(dir) = std::env::var(DIR_VAR) else { return };
    let mode = std::env::var(MODE_VAR).unwrap();
    let (_, mode) = MODES.into_iter().find(|(name, _)| *name == mode).unwrap();
    let db = Database::builder().durability(mode).segment_bytes(16 << 10).open(dir).unwrap();
    let mut out = std::io::stdout().lock();
    let mut say = |what: &str, n: u64| {
        writeln!(out, "{what} {n}").unwrap();
        out.flush().unwrap();
    };
    say("open", db.storage().version());
    if db.get_run(run(1)).unwrap().is_none() {
        db.begin_run(run(1), NO_TAGS).unwrap();
        say("acknowledged", 1);
    }
    loop {
        let n = db.storage().version() + 1;
        let version = if n.is_multiple_of(5) {
            let mut batch = runstone::WriteBatch::new();
            batch.put(run(1), "last", value(n)).put(run(1), format!("{n:08}"), value(n));
            db.write(batch).unwrap()
        } else {
            db.put(run(1), format!("{n:08}"), value(n)).unwrap()
        };
        assert_eq!(version, n);
        say("acknowledged", n);
    }
}

/// What the child said until it died.
#[derive(Default)]
struct Told {
    opened_at: Option<u64>,
    acknowledged: u64,
}

fn start(dir: &Path, mode: &str) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_that_writes_until_it_is_killed", "--nocapture"])
        .env(DIR_VAR, dir)
        .env(MODE_VAR, mode)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// Lets a child work for a while, from its start or from when it has opened, kills it, and
/// reads what it had said.
fn kill_after(dir: &Path, mode: &str, wait_until_open: bool, pause: Duration) -> Told {
    let (mut child, mut out) = start(dir, mode);
    let mut first = String::new();
    while wait_until_open && !first.contains("open ") {
        assert!(out.read_line(&mut first).unwrap() > 0, "the child opens");
    }
    std::thread::sleep(pause);
    child.kill().unwrap();
    child.wait().unwrap();
    let mut told = Told::default();
    for line in first.lines().map(|line| Ok(line.to_owned())).chain(out.lines()) {
        // The last line may be torn, and the harness adds some of its own.
        let line: std::io::Result<String> = line;
        let Ok(line) = line else { break };
        let Some((what, n)) = line.rsplit_once(' ') else { continue };
        let Ok(n) = n.parse() else { continue };
        match what.rsplit(' ').next() {
            Some(what) if what.ends_with("open") => told.opened_at = Some(n),
            Some("acknowledged") => told.acknowledged = told.acknowledged.max(n),
            _ => {}
        }
    }
    told
}

/// All commits up to the version, whole, and nothing else.
fn check(db: &Database) -> u64 {
    let version = db.storage().version();
    let runs = db.list_active_runs().unwrap();
    if version == 0 {
        assert_eq!(runs, []);
        return 0;
    }
    assert_eq!(runs, [run(1)]);
    let mut expected: Vec<_> =
        (2..=version).map(|n| (format!("{n:08}").into_bytes(), Value::Bytes(value(n)))).collect();
    let last_batch = version - version % 5;
    if last_batch >= 5 {
        expected.push((b"last".to_vec(), Value::Bytes(value(last_batch))));
    }
    assert!(db.list(run(1), "").unwrap() == expected, "not the commits up to {version}");
    version
}

fn survives(mode: &'static str, all_acknowledged: bool) {
    let dir = tempfile::tempdir().unwrap();
    let (mut killed_working, mut told_more, mut last, mut epoch) = (0, 0, 0, 0);
    for round in 0..ROUNDS {
        let pause = Duration::from_micros(2_000 + (round * 7_919) % 40_000);
        let told = kill_after(dir.path(), mode, round % 3 != 0, pause);
        if let Some(version) = told.opened_at {
            assert_eq!(version, last, "the child opened at what the last check saw");
            killed_working += 1;
        }
        told_more += u64::from(told.acknowledged > last);
        let db = Database::open(dir.path()).unwrap();
        let report = db.recovery_report();
        assert!(report.torn_bytes == 0 || !report.clean);
        let version = check(&db);
        assert!(version >= last, "what an opening has shown stays");
        if all_acknowledged {
            assert!(version >= told.acknowledged, "{mode}: {version} of {}", told.acknowledged);
        }
        if version > last && version > 0 {
            assert!(!report.clean);
            assert_eq!(report.interrupted_runs, [run(1)]);
        }
        assert!(report.epoch >= epoch);
        (last, epoch) = (version, report.epoch);
        // Every other time it is closed, so that the child goes on after both.
        if round % 2 == 0 {
            db.close().unwrap();
        }
    }
    assert!(killed_working > ROUNDS / 2, "the child was killed too early: {killed_working}");
    assert!(told_more > ROUNDS / 3, "it told of writes before it was killed: {told_more}");
    assert!(last > 10, "it had time to write: {last}");
}

#[test]
fn t27_c13_everything_acknowledged_under_strict_survives_a_kill() {
    survives("strict", true);
}

#[test]
fn c13_everything_acknowledged_under_batched_survives_a_kill() {
    survives("batched", true);
}

#[test]
fn c13_a_prefix_of_what_was_acknowledged_under_async_survives_a_kill() {
    survives("async", false);
}

#[test]
fn t27_a_kill_at_any_moment_of_the_very_first_session_leaves_a_store_that_opens() {
    for round in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("first");
        let told = kill_after(&path, "strict", false, Duration::from_micros(500 * round));
        let db = Database::open(&path).unwrap();
        assert!(check(&db) >= told.acknowledged);
        if db.get_run(run(1)).unwrap().is_none() {
            db.begin_run(run(1), NO_TAGS).unwrap();
        }
        db.end_run(run(1)).unwrap();
    }
}
