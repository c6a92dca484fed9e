//! `shrink`: the smallest failing case, as a file that `replay` takes and as a test.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use runstone_sim::harness::shrink::{self, Shrunk};

use super::{CaseArgs, CommandResult, write};

#[derive(Debug, Args)]
pub(crate) struct ShrinkArgs {
    #[command(flatten)]
    case: CaseArgs,
    /// How many runs it may take
    #[arg(long, default_value_t = 20_000)]
    runs: u32,
    /// Where the case is written; the test stands beside it, ending in .rs
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &ShrinkArgs) -> CommandResult {
    let case = args.case.load()?;
    let seed = case.seed;
    let Some(shrunk) = shrink::shrink(&case, args.runs) else {
        println!("{} does not fail; there is nothing to shrink", args.case.name());
        return Ok(ExitCode::SUCCESS);
    };
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(format!("seed-{seed}.json")));
    let test_path = out.with_extension("rs");
    let text = serde_json::to_string_pretty(&shrunk.case).map_err(|e| e.to_string())?;
    write(&out, &text)?;
    write(&test_path, &test(&shrunk)?)?;
    if args.json {
        println!(
            "{}",
            serde_json::json!({
                "seed": seed,
                "clause": shrunk.failure.clause,
                "message": shrunk.failure.message,
                "operations": shrunk.case.ops.len(),
                "runs": shrunk.runs,
                "case": out,
                "test": test_path,
            })
        );
    } else {
        println!("{} operations after {} runs:", shrunk.case.ops.len(), shrunk.runs);
        for (i, op) in shrunk.case.ops.iter().enumerate() {
            println!("  [{i}] {op:?}");
        }
        println!("{}", shrunk.failure);
        println!("replay it: runstone-sim replay {}", out.display());
        println!("as a test: {}", test_path.display());
    }
    Ok(ExitCode::FAILURE)
}

/// A regression test that holds the case as text.
fn test(shrunk: &Shrunk) -> Result<String, String> {
    let case = serde_json::to_string(&shrunk.case).map_err(|e| e.to_string())?;
    let wrapped = case.replace(",{\"", ",\n{\"");
    Ok(format!(
        r##"/// Seed {seed}: {failure}
#[test]
fn seed_{seed}_is_mended() {{
    let case = serde_json::from_str(
        r#"{wrapped}"#,
    )
    .expect("a saved case");
    assert_eq!(runstone_sim::harness::run(&case, false).failure, None);
}}
"##,
        seed = shrunk.case.seed,
        failure = shrunk.failure,
    ))
}
