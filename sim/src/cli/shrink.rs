//! `shrink`: the smallest failing case, as a file that `replay` takes and as a test.
//!
//! The clock of this machine, and Ctrl-C, only end the search; with time enough the same failure
//! always shrinks to the same case.
#![allow(clippy::disallowed_methods)] // the shell of the simulator: a clock

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use runstone_sim::harness::Case;
use runstone_sim::harness::shrink::{self, Shrunk, Size};

use super::artefact::{Artefact, CASE, TEST, TEST_MARK};
use super::long::Ending;
use super::{CaseArgs, CommandResult, Loaded, PLANTED, numbers};

#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    #[command(flatten)]
    case: CaseArgs,
    /// How many runs it may take
    #[arg(long, default_value_t = 40_000, value_parser = numbers::runs())]
    runs: u32,
    /// After how many seconds it ends with the best that it has
    #[arg(long, default_value_t = 25, value_parser = numbers::seconds())]
    seconds: u64,
    /// Where the case is written; the test stands beside it, ending in .rs. A file that shrink
    /// did not write is not replaced
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ShrinkArgs) -> CommandResult {
    // Whatever the machine is busy with, an answer comes within the time.
    let start = Instant::now();
    let Loaded { case, plant } = args.case.load()?;
    let seed = case.seed;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("seed-{seed}.json")));
    let test_path = out.with_extension("rs");
    if out == test_path {
        return Err(format!("{} is where the test stands; give another ending", out.display()));
    }
    let (case_file, test_file) = (Artefact::claim(&out, CASE)?, Artefact::claim(&test_path, TEST)?);
    let ending = Ending::by_ctrl_c()?;
    plant.plant();
    let time = Duration::from_secs(args.seconds);
    let is_over = || ending.is_stopped() || start.elapsed() >= time;
    let Some(shrunk) = shrink::shrink_until(&case, args.runs, &is_over) else {
        if args.json {
            out!("{}", serde_json::json!({ "seed": seed, "clause": null }));
        } else {
            out!("{} does not fail; there is nothing to shrink", args.case.name());
        }
        return Ok(ExitCode::SUCCESS);
    };
    let ended = ended_by(ending.was_asked_for(), is_over());
    let bug = plant.name();
    case_file.write(&saved(&shrunk.case, bug.as_deref())?)?;
    test_file.write(&test(&shrunk, seed, bug.as_deref())?)?;
    let Size { ops, faults, .. } = Size::of(&shrunk.case);
    if args.json {
        out!(
            "{}",
            serde_json::json!({
                "seed": seed,
                "clause": shrunk.failure.clause,
                "message": shrunk.failure.message,
                "operations": ops,
                "faults": faults,
                "runs": shrunk.runs,
                "ended_early": ended,
                "case": out,
                "test": test_path,
            })
        );
    } else {
        if let Some(ended) = ended {
            out!("{ended}; the best so far:");
        }
        out!("{ops} operations and {faults} faults after {} runs:", shrunk.runs);
        for (i, op) in shrunk.case.ops.iter().enumerate() {
            out!("  [{i}] {op:?}");
        }
        out!("{}", shrunk.failure);
        out!("replay it: runstone-sim replay {}", out.display());
        out!("as a test: {}", test_path.display());
    }
    Ok(ExitCode::FAILURE)
}

/// What ended the search before it was done.
fn ended_by(interrupted: bool, is_over: bool) -> Option<&'static str> {
    match (interrupted, is_over) {
        (true, _) => Some("interrupted"),
        (false, true) => Some("the time is over (--seconds)"),
        (false, false) => None,
    }
}

/// The case as JSON, one operation a line, with the bug that it needs.
pub(super) fn saved(case: &Case, bug: Option<&str>) -> Result<String, String> {
    let mut value = serde_json::to_value(case).map_err(|e| e.to_string())?;
    if let (Some(fields), Some(bug)) = (value.as_object_mut(), bug) {
        fields.insert(PLANTED.to_owned(), bug.into());
    }
    let mut lines = Vec::new();
    for (name, field) in value.as_object().into_iter().flatten() {
        lines.push(match field.as_array() {
            Some(items) if !items.is_empty() => {
                let items: Vec<_> = items.iter().map(|item| format!("  {item}")).collect();
                format!("\"{name}\":[\n{}\n]", items.join(",\n"))
            }
            _ => format!("\"{name}\":{field}"),
        });
    }
    Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
}

/// A regression test that holds the case as text. With a planted bug it is one that must keep
/// failing.
fn test(shrunk: &Shrunk, seed: u64, bug: Option<&str>) -> Result<String, String> {
    let (attribute, name, plant, verdict) = match bug {
        None => (
            String::new(),
            format!("seed_{seed}_is_mended"),
            String::new(),
            "    assert_eq!(outcome.failure, None);".to_owned(),
        ),
        Some(bug) => (
            "#[cfg(feature = \"planted\")]\n".to_owned(),
            format!("seed_{seed}_catches_{}", snake(bug)),
            format!("    runstone::planted::plant(Some(runstone::planted::Bug::{bug}));\n"),
            format!(
                "    runstone::planted::plant(None);\n    \
                 assert_eq!(outcome.failure.map(|failure| failure.clause), Some({:?}));",
                shrunk.failure.clause
            ),
        ),
    };
    Ok(format!(
        r##"{TEST_MARK}{seed}: {failure}
{attribute}#[test]
fn {name}() {{
    let case = serde_json::from_str(
        r#"{case}"#,
    )
    .expect("a saved case");
{plant}    let outcome = runstone_sim::harness::run(&case, false);
{verdict}
}}
"##,
        failure = shrunk.failure,
        case = saved(&shrunk.case, bug)?,
    ))
}

/// `NoDataSync` as `no_data_sync`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}
