//! `shrink`: the smallest failing case, as a file that `replay` takes and as a test.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use runstone_sim::harness::shrink::{self, Shrunk, Size};

use super::{CaseArgs, CommandResult, Loaded, PLANTED, write};

#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    #[command(flatten)]
    case: CaseArgs,
    /// How many runs it may take
    #[arg(long, default_value_t = 40_000)]
    runs: u32,
    /// Where the case is written; the test stands beside it, ending in .rs
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ShrinkArgs) -> CommandResult {
    let Loaded { case, plant } = args.case.load()?;
    plant.plant();
    let seed = case.seed;
    let Some(shrunk) = shrink::shrink(&case, args.runs) else {
        if args.json {
            out!("{}", serde_json::json!({ "seed": seed, "clause": null }));
        } else {
            out!("{} does not fail; there is nothing to shrink", args.case.name());
        }
        return Ok(ExitCode::SUCCESS);
    };
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("seed-{seed}.json")));
    let test_path = out.with_extension("rs");
    let bug = plant.name();
    write(&out, &text(&shrunk, bug.as_deref())?)?;
    write(&test_path, &test(&shrunk, seed, bug.as_deref())?)?;
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
                "case": out,
                "test": test_path,
            })
        );
    } else {
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

/// The case as JSON, one operation a line, with the bug that it needs.
fn text(shrunk: &Shrunk, bug: Option<&str>) -> Result<String, String> {
    let mut value = serde_json::to_value(&shrunk.case).map_err(|e| e.to_string())?;
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
        r##"/// Shrunk from seed {seed}: {failure}
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
        case = text(shrunk, bug)?,
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
