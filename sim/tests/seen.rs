//! What a sweep says it has seen: cycles, the ledger and the marks, for people and for machines.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::process::{Command, Output};

use runstone_sim::harness::marks::{EXCEPTIONS, NAMES};
use serde_json::Value;

fn sweep(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runstone-sim"));
    command.arg("sweep").args(args).output().unwrap()
}

fn seen(args: &[&str]) -> Value {
    let output = sweep(&[args, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["seen"].clone()
}

#[test]
fn what_a_sweep_has_seen_does_not_depend_on_the_number_of_threads() {
    let one = seen(&["--seeds", "0..60", "--threads", "1"]);
    let three = seen(&["--seeds", "0..60", "--threads", "3"]);
    assert_eq!(one, three);
    assert_eq!(one["marks"].as_object().unwrap().len(), NAMES.len());
    assert!(one["marks"]["recovery/torn-tail-cut"].as_u64().unwrap() > 0, "{one}");
    assert!(one["cycles"].as_u64().unwrap() > 60);
    let count = |field: &str| one["ledger"][field].as_u64().unwrap();
    assert!(count("cells") > count("reached") && count("reached") > count("activated"));
    let empty = one["empty_cells"].as_array().unwrap().len() as u64;
    assert_eq!(empty, count("cells") - count("activated"));
}

#[test]
fn a_sweep_that_has_not_seen_what_was_asked_for_fails_and_says_what_is_missing() {
    let few = sweep(&["--seeds", "0..5", "--cycles-min", "1000000"]);
    assert_eq!(few.status.code(), Some(1));
    let text = String::from_utf8(few.stderr).unwrap();
    assert!(text.contains("missing: ") && text.contains("cycles, not 1000000"), "{text}");

    let unmarked = sweep(&["--seeds", "0..5", "--all-marks"]);
    assert_eq!(unmarked.status.code(), Some(1));
    let text = String::from_utf8(unmarked.stderr).unwrap();
    assert!(text.contains("missing: the mark recovery/segment-too-short was never reached"));
    for (exception, _) in EXCEPTIONS {
        assert!(!text.contains(exception), "{exception} is known to be out of reach");
    }
}

#[test]
fn the_ledger_is_written_with_every_cell() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cells.json");
    let output = sweep(&["--seeds", "0..20", "--ledger", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for part in [" crash-and-recover cycles", "ledger: ", " empty cells", "marks: "] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let cells: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let find = |phase: &str, call: &str, file: &str, hazard: &str| {
        let is = |cell: &Value, field: &str, value: &str| cell[field] == value;
        cells.iter().find(|cell| {
            is(cell, "phase", phase)
                && is(cell, "call", call)
                && is(cell, "file", file)
                && is(cell, "hazard", hazard)
                && cell["nth"] == 1
        })
    };
    let sync = find("Commit", "sync", "segment", "PowerInside").expect("a commit syncs the log");
    assert_eq!(sync["reached"], sync["calls"], "a crash may strike any call");
    for (phase, call, file) in [
        ("Creation", "create", "segment"),
        ("Replay", "read", "segment"),
        ("Repair", "rename", "temporary"),
        ("Rotation", "sync", "segment"),
        ("Close", "sync", "temporary"),
        ("Opening", "list", "directory"),
    ] {
        assert!(find(phase, call, file, "Io").is_some(), "{phase} {call} {file}");
    }
    let outside = cells.iter().find(|cell| cell["phase"] == "Outside");
    assert!(outside.is_none(), "a call that belongs to no phase: {outside:?}");
}
