//! The speed requirements, each as a ratio to a baseline that does the same work without an
//! engine.
//!
//! ```text
//! cargo bench -p runstone --bench speed                 all of them
//! cargo bench -p runstone --bench speed -- strict get   those whose name has one of these words
//! ```
//!
//! Absolute times say little on a shared machine, so engine and baseline take turns (engine,
//! baseline, engine, baseline, …), each pair gives one ratio, and the median is held against
//! the target. Where the disk matters, each turn has a fresh directory below the build
//! directory (`--dir` names another). `--json` prints one line for each requirement.
//! `--side engine` and `--side baseline` run one side only, under a profiler, and judge nothing.
//! A run id has 16 bytes, a key 16, a value 100.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark measures with the real clock, starts the threads that write, and its \
              baselines use plain files; it is no part of the engine"
)]

mod committer;
mod counting;
mod harness;
mod memory;
mod replay;
mod strict;
mod unsynced;

use std::process::ExitCode;

use harness::{Report, Settings, Tried};

/// A requirement: its name, and what measures it.
type Requirement = (&'static str, fn(&Settings) -> Tried<Report>);

const REQUIREMENTS: [Requirement; 9] = [
    ("strict-1", strict::one_thread),
    ("strict-8", strict::eight_threads),
    ("strict-64", strict::sixty_four_threads),
    ("batched", unsynced::batched),
    ("async", unsynced::asynchronous),
    ("get", memory::get),
    ("log-bytes", replay::log_bytes),
    ("replay", replay::replay),
    ("replay-memory", replay::memory),
];

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Returns whether every target was met.
fn run() -> Tried<bool> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [role, rest @ ..] = arguments.as_slice()
        && role == replay::CHILD
    {
        return replay::child(rest).map(|()| true);
    }
    let settings = Settings::parse(&mut arguments)?;
    let is_asked = |name: &str| arguments.is_empty() || arguments.iter().any(|a| name.contains(a));
    let asked: Vec<_> = REQUIREMENTS.iter().filter(|(name, _)| is_asked(name)).collect();
    if asked.is_empty() {
        return Err(format!("no requirement is called {arguments:?}").into());
    }
    let mut all_met = true;
    for (name, measure) in asked {
        let report = measure(&settings).map_err(|error| format!("{name}: {error}"))?;
        if settings.both_sides() {
            println!("{}", if settings.json { report.json(name) } else { report.text(name) });
            all_met &= report.is_met();
        }
    }
    Ok(all_met || settings.smoke)
}
