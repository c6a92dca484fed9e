//! The command line, end to end: what each command prints, writes, and exits with.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may panic, also in its helpers"
)]

#[path = "../../tests/snapshots/settings.rs"]
mod settings;

use std::path::Path;
use std::process::{Command, Output};

use runstone_sim::harness::generate::generate;
use settings::check;

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runstone-sim"));
    command.env_remove("RUST_BACKTRACE");
    command
}

/// What a call came to.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Ended {
        Ended {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn call(args: &str) -> Ended {
    command().args(args.split_whitespace()).output().unwrap().into()
}

fn call_in(dir: &Path, args: &str) -> Ended {
    command().current_dir(dir).args(args.split_whitespace()).output().unwrap().into()
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e} in {text}"))
}

// ----- help -----

fn help(args: &str) -> String {
    let ended = call(args);
    assert_eq!(ended.code, Some(0), "{}", ended.err);
    // On Windows the program's name has an extension.
    ended.out.replace(".exe", "")
}

#[test]
fn the_help_tells_what_there_is() {
    let about = "What the command line of the simulator offers.";
    check!("cli_help", about, help("--help"));
    check!("cli_help_sweep", about, help("sweep --help"));
    check!("cli_help_replay", about, help("replay --help"));
    check!("cli_help_shrink", about, help("shrink --help"));
    check!("cli_help_exhaust", about, help("exhaust --help"));
    check!("cli_help_report", about, help("report --help"));
    check!("cli_help_digest", about, help("digest --help"));
}

// ----- what succeeds -----

#[test]
fn a_sweep_counts_seeds_crashes_and_faults() {
    let ended = call("sweep --seeds 0..50");
    assert_eq!(ended.code, Some(0), "{}", ended.out);
    assert!(ended.out.starts_with("50 seeds from 0 in "), "{}", ended.out);
    let parts = [", 4 run twice", "operations", "worlds:", "  strict ", "crashes:", "  process "];
    for part in parts.into_iter().chain(["faults:", " reached", "no breach of the contract"]) {
        assert!(ended.out.contains(part), "{part} in {}", ended.out);
    }
}

#[test]
fn a_sweep_for_machines_is_json_and_does_not_depend_on_the_number_of_threads() {
    let one = json(&call("sweep --seeds 100..130 --threads 1 --json").out);
    let three = json(&call("sweep --seeds 100..130 --threads 3 --json").out);
    assert_eq!(one["seeds"], 30);
    assert_eq!(one["first"], 100);
    assert_eq!(one["interrupted"], false);
    assert_eq!(one["failures"], serde_json::json!([]));
    assert!(one["seeds_per_second"].as_f64().unwrap() > 0.0);
    for field in ["run_twice", "operations", "openings", "digest", "worlds", "crashes"] {
        assert!(!one[field].is_null(), "{field}");
        assert_eq!(one[field], three[field], "{field}");
    }
    assert_eq!((&one["faults"], &one["events"]), (&three["faults"], &three["events"]));
}

#[test]
fn a_sweep_stays_in_the_world_it_was_told() {
    let report = json(&call("sweep --seeds 0..20 --world lying --json").out);
    assert_eq!(report["worlds"], serde_json::json!({ "lying": 20 }));
}

#[test]
fn a_replay_tells_each_operation_and_a_brief_one_no_call() {
    let brief = call("replay 0 --brief");
    assert_eq!(brief.code, Some(0));
    assert!(brief.out.starts_with("seed 0 in the world "), "{}", brief.out);
    let verdict = brief.out.split("no breach in ").nth(1).expect("a verdict");
    let operations: usize = verdict.split(' ').next().unwrap().parse().unwrap();
    assert!(operations > 200, "200 operations and some crashes: {operations}");
    assert!(brief.out.contains(&format!("\n[{}] ", operations - 1)), "{}", brief.out);
    let full = call("replay 0");
    let calls = |text: &str| text.lines().filter(|line| line.starts_with("      #")).count();
    assert!(calls(&full.out) > 200);
    assert_eq!(calls(&brief.out), 0);
    let digest = json(&call("digest 0 --json").out)["digest"].as_str().unwrap().to_owned();
    assert_eq!(call("digest 0").out.trim(), digest);
    assert!(full.out.contains(&format!("digest {digest}")), "a trace changes nothing");
    let report = json(&call("replay 0 --json").out);
    assert_eq!(report["digest"], digest);
    assert!(report["failure"].is_null());
    assert!(report["trace"].as_array().unwrap().len() > 400);
}

#[test]
fn a_reader_who_has_seen_enough_ends_the_program_without_a_complaint() {
    use std::io::Read;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_runstone-sim"))
        .args(["replay", "0"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    child.stdout.take().unwrap().read_exact(&mut first).unwrap();
    // The pipe is closed here; the trace is longer than any pipe holds.
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn a_saved_case_is_the_seed_that_it_was_saved_from() {
    let dir = tempfile::tempdir().unwrap();
    let case = serde_json::to_string(&generate(5)).unwrap();
    std::fs::write(dir.path().join("case.json"), case).unwrap();
    assert_eq!(call_in(dir.path(), "replay case.json").code, Some(0));
    assert_eq!(call_in(dir.path(), "digest case.json").out, call("digest 5").out);
}

#[test]
fn a_passing_seed_is_not_shrunk_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let ended = call_in(dir.path(), "shrink 3");
    assert_eq!(ended.code, Some(0));
    assert!(ended.out.contains("3 does not fail; there is nothing to shrink"), "{}", ended.out);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn an_exhaustive_exploration_counts_what_it_did_whatever_the_number_of_threads() {
    let args = "exhaust --settings batched,padded --ops 1 --depth 1 --deeper 0 --json --threads";
    let (one, three) =
        (json(&call(&format!("{args} 1")).out), json(&call(&format!("{args} 3")).out));
    assert_eq!((&one["workloads"], &one["breach"]), (&46.into(), &serde_json::Value::Null));
    for field in ["workloads", "levels", "distinct_states", "distinct_seen", "breach"] {
        assert_eq!(one[field], three[field], "{field}");
    }
    let text = call("exhaust --settings batched --ops 0 --depth 1 --deeper 0");
    assert_eq!(text.code, Some(0), "{}", text.out);
    let parts = ["operations, at most: batched 0", "crash 1:", "points cut off", "no breach"];
    for part in parts {
        assert!(text.out.contains(part), "{part} in {}", text.out);
    }
}

#[cfg(feature = "planted")]
#[test]
fn an_exhaustive_exploration_of_an_engine_with_a_bug_ends_with_1_and_the_path_to_it() {
    let ended = call("exhaust --settings batched --ops 1 --depth 1 --plant NoDataSync");
    assert_eq!(ended.code, Some(1), "{}", ended.out);
    for part in ["BREACH of C1 in batched", "  power cut\n", "  files "] {
        assert!(ended.out.contains(part), "{part} in {}", ended.out);
    }
}

// ----- mistakes -----

#[test]
fn a_mistake_ends_with_2_and_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("broken.json"), "{\"seed\": 1,").unwrap();
    std::fs::write(dir.path().join("other.json"), "{\"seed\": 1}").unwrap();
    let mistakes = [
        ("sweep --seeds 12", "give FIRST..END, as in 0..10000"),
        ("sweep --seeds a..9", "give FIRST..END, as in 0..10000"),
        ("sweep --seeds 9..9", "END is the first that is not run"),
        ("sweep --seeds 0..9 --seconds 3", "cannot be used with"),
        ("sweep --world wet", "there are strict, lying, garbage-sector, rot"),
        ("replay 1 --world wet", "there are strict, lying, garbage-sector, rot"),
        ("replay missing.json", "give a number, or a file that shrink wrote"),
        ("shrink missing.json", "give a number, or a file that shrink wrote"),
        ("digest -- -1", "give a number, or a file that shrink wrote"),
        ("replay broken.json", "is not a saved case"),
        ("replay other.json", "missing field"),
        ("replay broken.json --world rot", "a saved case has its world"),
        ("exhaust --settings wet", "there are batched, async, strict, padded, rotating"),
        ("sweep --seconds 0", "0 is not in 1..=31536000"),
        ("sweep --seconds 18446744073709551615", "is not in 1..=31536000"),
        ("sweep --threads 0", "0 is not in 1..=4096"),
        ("sweep --threads 18446744073709551615", "is not in 1..=4096"),
        ("sweep --failures 0", "0 is not in 1..="),
        ("sweep --seeds 0..1 --cycles-min -1", "unexpected argument"),
        ("report --sweep --seconds 0", "0 is not in 1..=31536000"),
        ("report --sweep --seconds 18446744073709551615", "is not in 1..=31536000"),
        ("exhaust --ops 18446744073709551615", "is not in 0..=5"),
        ("exhaust --depth 0", "0 is not in 1..=16"),
        ("exhaust --depth 18446744073709551615", "is not in 1..=16"),
        ("exhaust --states 0", "0 is not in 1..="),
        ("exhaust --threads 0", "0 is not in 1..=4096"),
        ("exhaust --threads 18446744073709551615", "is not in 1..=4096"),
        ("shrink 3 --runs 0", "0 is not in 1..=4294967295"),
        ("shrink 3 --runs 18446744073709551615", "is not in 1..=4294967295"),
        ("shrink 3 --seconds 0", "0 is not in 1..=31536000"),
        ("shrink 3 --seconds 18446744073709551615", "is not in 1..=31536000"),
        ("dance", "unrecognized subcommand"),
        ("", "Usage: runstone-sim"),
    ];
    for (args, message) in mistakes {
        let ended = call_in(dir.path(), args);
        assert_eq!(ended.code, Some(2), "{args}: {}", ended.out);
        assert_eq!(ended.out, "", "{args}: nothing but the message");
        assert!(ended.err.contains(message), "{args}: {message} in {}", ended.err);
    }
}

#[cfg(not(feature = "planted"))]
#[test]
fn a_build_without_planted_bugs_refuses_a_case_that_needs_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut case = serde_json::to_value(generate(5)).unwrap();
    case["planted"] = "NoDataSync".into();
    std::fs::write(dir.path().join("case.json"), case.to_string()).unwrap();
    let ended = call_in(dir.path(), "replay case.json");
    assert_eq!(ended.code, Some(2));
    assert!(ended.err.contains("build with --features planted"), "{}", ended.err);
    assert_eq!(call("sweep --seeds 0..1 --plant NoDataSync").code, Some(2));
}

#[test]
fn numbers_as_large_as_there_are_mean_no_limit_where_there_is_one_to_lift() {
    let greatest = u64::MAX;
    let runs = [
        format!("sweep --seeds 0..2 --failures {greatest}"),
        format!("digest {greatest}"),
        format!("exhaust --settings strict --ops 0 --depth 1 --deeper 0 --states {greatest}"),
        format!("exhaust --settings strict --ops 0 --depth 1 --deeper {greatest}"),
    ];
    for args in runs {
        let ended = call(&args);
        assert_eq!(ended.code, Some(0), "{args}: {}", ended.err);
    }
    let ended = call(&format!("sweep --seeds 0..2 --cycles-min {greatest}"));
    assert_eq!(ended.code, Some(1), "so many cycles were not made");
}

#[test]
fn the_greatest_seed_is_the_last_one_and_none_begins_again_at_0() {
    let report =
        call("sweep --seeds 18446744073709551614..18446744073709551615 --threads 4 --json");
    assert_eq!(json(&report.out)["seeds"], 1, "{}", report.err);
}

// ----- files that are written -----

#[test]
fn a_file_of_somebody_else_is_never_replaced_and_one_of_the_same_kind_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::create_dir(path("folder")).unwrap();
    let written = [
        ("report 3 --out", "page.html"),
        ("shrink 3 --out", "case.json"),
        ("sweep --seeds 0..2 --ledger", "cells.json"),
    ];
    for (args, name) in written {
        std::fs::write(path(name), "a letter").unwrap();
        let ended = call_in(dir.path(), &format!("{args} {name}"));
        assert_eq!(ended.code, Some(2), "{args}: {}", ended.out);
        let told = format!("{name} exists and is not a");
        assert!(ended.err.contains(&told) && ended.err.contains("left as it is"), "{}", ended.err);
        assert_eq!(std::fs::read_to_string(path(name)).unwrap(), "a letter", "{args}");
        let ended = call_in(dir.path(), &format!("{args} folder"));
        assert_eq!(ended.code, Some(2), "{args}: {}", ended.out);
        assert!(ended.err.contains("is a directory"), "{}", ended.err);
        // An empty one holds nothing to lose; then it is our own.
        std::fs::write(path(name), "").unwrap();
        for _ in 0..2 {
            let ended = call_in(dir.path(), &format!("{args} {name}"));
            assert_eq!(ended.code, Some(0), "{args}: {}", ended.err);
        }
    }
    // The default name is no exception, nor the test beside a case.
    std::fs::write(path("report-3.html"), "<html>mine</html>").unwrap();
    assert_eq!(call_in(dir.path(), "report 3").code, Some(2));
    assert_eq!(std::fs::read_to_string(path("report-3.html")).unwrap(), "<html>mine</html>");
    std::fs::write(path("main.rs"), "fn main() {}").unwrap();
    assert_eq!(call_in(dir.path(), "shrink 3 --out main.json").code, Some(2));
    assert_eq!(std::fs::read_to_string(path("main.rs")).unwrap(), "fn main() {}");
    assert!(!path("main.json").exists(), "nothing is left of what was not done");
    assert_eq!(call_in(dir.path(), "shrink 3 --out main.rs").code, Some(2));
}

#[test]
fn a_path_that_cannot_be_written_is_told_before_the_work() {
    let dir = tempfile::tempdir().unwrap();
    // The work would take years.
    for args in [
        "sweep --seeds 0..1000000000000 --ledger missing/cells.json",
        "report --sweep --seeds 0..1000000000000 --out missing/page.html",
    ] {
        let ended = call_in(dir.path(), args);
        assert_eq!(ended.code, Some(2), "{args}");
        assert!(ended.err.contains("cannot be written"), "{}", ended.err);
        assert!(!ended.err.contains("seeds from"), "{}", ended.err);
    }
    assert_eq!(call_in(dir.path(), "shrink 3 --out missing/case.json").code, Some(2));
}

// ----- Ctrl-C -----

#[cfg(unix)]
#[test]
fn ctrl_c_and_a_request_to_end_end_a_sweep_with_a_summary_and_not_with_0() {
    interrupted_by("-INT");
    interrupted_by("-TERM");
}

#[cfg(unix)]
fn interrupted_by(signal: &str) {
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;

    let mut child = command()
        .args(["sweep", "--seeds", "0..1000000000", "--threads", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The line is printed once Ctrl-C is caught.
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "seeds from 0; Ctrl-C ends the sweep with a summary\n");
    let kill = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let mut out = String::new();
    child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{out}");
    assert!(out.starts_with("interrupted; what was done so far:\n"), "{out}");
    assert!(
        out.contains("seeds from 0 in ") && out.contains("no breach of the contract so far"),
        "{out}"
    );
}

// ----- a failing seed, in a build with planted bugs -----

#[cfg(feature = "planted")]
#[test]
fn a_failing_seed_is_repeated_shrunk_and_becomes_a_test() {
    use runstone::planted::{Bug, plant};
    use runstone_sim::harness::{Case, run};

    let dir = tempfile::tempdir().unwrap();
    let swept = call("sweep --seeds 0..4000 --failures 1 --threads 1 --plant NoDataSync --json");
    assert_eq!(swept.code, Some(1), "{}", swept.out);
    let failures = json(&swept.out)["failures"].clone();
    let (seed, clause) = (failures[0]["seed"].to_string(), failures[0]["clause"].clone());
    let repeat = failures[0]["replay"].as_str().unwrap();
    let (_, args) = repeat.split_once(" -- ").unwrap();
    assert_eq!(args, format!("replay {seed} --plant NoDataSync"));
    let text = call("sweep --seeds 0..4000 --failures 1 --threads 1 --plant NoDataSync");
    assert_eq!(text.code, Some(1));
    assert!(text.out.contains(repeat), "{}", text.out);

    // The command that it printed repeats it, and says how to go on.
    let replayed = call(&format!("{args} --brief"));
    assert_eq!(replayed.code, Some(1), "{}", replayed.out);
    assert!(replayed.out.contains("BREACH of "), "{}", replayed.out);
    assert!(replayed.out.contains(&format!("shrink {seed} --plant NoDataSync")));

    let shrink = format!("shrink {seed} --plant NoDataSync --out small.json --json");
    let shrunk = call_in(dir.path(), &shrink);
    assert_eq!(shrunk.code, Some(1), "{}", shrunk.err);
    let shrunk = json(&shrunk.out);
    assert_eq!(shrunk["clause"], clause);
    assert!(shrunk["operations"].as_u64().unwrap() < 20, "{shrunk}");

    // The saved case names the bug, so it needs no option.
    let replayed = json(&call_in(dir.path(), "replay small.json --json").out);
    assert_eq!(replayed["failure"]["clause"], clause);

    // So does the test, which holds the same case.
    let test = std::fs::read_to_string(dir.path().join("small.rs")).unwrap();
    assert!(test.contains(&format!("fn seed_{seed}_catches_no_data_sync()")), "{test}");
    assert!(test.contains("plant(Some(runstone::planted::Bug::NoDataSync))"), "{test}");
    assert!(test.contains(&format!("Some({clause})")), "{test}");
    let (_, rest) = test.split_once("r#\"").unwrap();
    let case: Case = serde_json::from_str(rest.split_once("\"#").unwrap().0).unwrap();
    plant(Some(Bug::NoDataSync));
    let failure = run(&case, false).failure;
    plant(None);
    assert_eq!(serde_json::json!(failure.unwrap().clause), clause);
    assert_eq!(run(&case, false).failure, None, "without the bug it passes");

    assert!(call("sweep --plant Nothing").err.contains("no bug is named \"Nothing\"; there are "));
}
