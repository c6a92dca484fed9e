//! A program that embeds the engine, is killed in the middle of its writes, and recovers.
//!
//! `cargo run -p runstone --example kill_and_recover`
//!
//! It starts itself again as a child. The child writes, and prints each key once its put is
//! acknowledged; the parent kills it with SIGKILL, opens the store, prints the recovery report,
//! and checks that every key that it had seen acknowledged is there.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use runstone::{Database, RunId, RunStatus, Value};

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// The run, known to parent and child.
const RUN: RunId = RunId::from_bytes([0x42; 16]);
/// The child is killed when this many puts have been acknowledged.
const KILL_AFTER: u64 = 200;

fn main() -> Outcome {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [role, path] if role == "child" => write_until_killed(Path::new(path)),
        _ => kill_and_recover(),
    }
}

/// The child: writes until it is killed.
fn write_until_killed(path: &Path) -> Outcome {
    let db = Database::open(path)?;
    db.begin_run(RUN, [("task", "count")])?;
    let mut out = io::stdout().lock();
    for n in 0i64.. {
        db.put(RUN, format!("key {n:06}"), n)?;
        // Acknowledged: under the default mode it is durable now. Only then is it printed.
        writeln!(out, "{n}")?;
        out.flush()?;
    }
    Ok(())
}

/// The parent.
fn kill_and_recover() -> Outcome {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("store");

    // 1. A child that writes.
    let mut child = Command::new(std::env::current_exe()?)
        .arg("child")
        .arg(&path)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().ok_or("a piped stdout")?).lines();
    let mut acknowledged = 0;
    for line in lines.by_ref() {
        acknowledged = line?.parse::<i64>()? + 1;
        if acknowledged as u64 >= KILL_AFTER {
            break;
        }
    }

    // 2. SIGKILL: no destructor runs, nothing is flushed. What it had printed meanwhile counts.
    child.kill()?;
    child.wait()?;
    for line in lines {
        // The last line may be torn, like any write of a killed process.
        if let Ok(n) = line?.parse::<i64>() {
            acknowledged = acknowledged.max(n + 1);
        }
    }
    println!("killed after {acknowledged} acknowledged puts");

    // 3. Open: this recovers.
    let db = Database::open(&path)?;
    println!("{:#?}", db.recovery_report());

    // 4. Everything acknowledged is there; nothing is there that was never written.
    for n in 0..acknowledged {
        let key = format!("key {n:06}");
        assert_eq!(db.get(RUN, &key)?, Some(Value::Int(n)), "{key} was acknowledged");
    }
    let found = db.list(RUN, "key ")?.len() as i64;
    assert!(found == acknowledged || found == acknowledged + 1, "one put was in flight at most");
    println!("{found} keys recovered, {acknowledged} of them acknowledged");

    // 5. The interrupted run is the application's to resume or to end.
    assert_eq!(db.recovery_report().interrupted_runs, [RUN]);
    db.end_run_with(RUN, RunStatus::Failed)?;
    db.close()?;
    Ok(())
}
