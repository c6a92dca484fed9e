//! `exhaust --faults`: every single fault at every call of small workloads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use runstone_sim::exhaust::Breach;
use runstone_sim::exhaust::faults::{FaultReport, FaultSearch, FaultTally, Size, fault_scripts};
use runstone_sim::harness::Case;

use super::super::artefact::{Artefact, CASE};
use super::super::shrink::saved;
use super::super::{CommandResult, verdict};
use super::{ExhaustArgs, share};

/// Where the case of a breach is written by default.
const OUT: &str = "fault-breach.json";

pub(super) fn run(args: &ExhaustArgs) -> CommandResult {
    // For the line that says how long it took.
    let start = Instant::now();
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from(OUT));
    let file = Artefact::claim(&out, CASE)?;
    let size = if args.quick { Size::Quick } else { Size::Full };
    args.plant.plant();
    let searches: Result<Vec<FaultSearch>, Breach> =
        fault_scripts(size).into_iter().map(|script| FaultSearch::new(script, size)).collect();
    let searches = match searches {
        Ok(searches) => searches,
        Err(breach) if args.json => {
            out!("{}", serde_json::json!({ "breach": breach_json(&breach, None) }));
            return Ok(verdict(true, false));
        }
        Err(breach) => {
            out!("{breach}");
            return Ok(verdict(true, false));
        }
    };
    let counts = searches.iter().enumerate();
    let all: Vec<(usize, usize)> =
        counts.flat_map(|(at, search)| (0..search.calls()).map(move |nth| (at, nth))).collect();
    let total = Mutex::new((FaultReport::default(), BTreeMap::new()));
    let interrupted = share(args, all.len(), "calls", |nth| {
        let Some((at, call)) = all.get(nth) else { return true };
        let Some(search) = searches.get(*at) else { return true };
        let mut report = search.explore(*call);
        let breach = report.breach.take();
        let broken = breach.is_some();
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        total.0.add(report);
        total.1.extend(breach.map(|breach| (nth, breach)));
        broken
    })?;
    let (report, breaches) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    let first = breaches.into_values().next();
    let seconds = start.elapsed().as_secs_f64();
    if let Some((_, case)) = &first {
        file.write(&saved(case, args.plant.name().as_deref())?)?;
    }
    let found = first.as_ref().map(|(breach, case)| (breach, &**case));
    if args.json {
        print_json(&searches, &report, seconds, found, &out, interrupted);
    } else {
        print_text(args, &searches, &report, seconds, found, &out, interrupted);
    }
    Ok(verdict(first.is_some(), interrupted))
}

fn print_text(
    args: &ExhaustArgs,
    searches: &[FaultSearch],
    report: &FaultReport,
    seconds: f64,
    breach: Option<(&Breach, &Case)>,
    out: &Path,
    interrupted: bool,
) {
    if interrupted {
        out!("interrupted; what was done so far:");
    }
    let FaultTally { runs, effects, .. } = report.total();
    let workloads = searches.len();
    out!(
        "{} faults at {} calls of {workloads} workloads in {seconds:.1} s",
        report.strikes,
        report.calls
    );
    out!("{runs} runs of a call, a fault and a way to go on, {effects} of them with an effect");
    out!("{} runs without a fault beside them", report.controls);
    let head = ("runs", "with effect", "refused", "ended");
    out!("{:<32} {:>9} {:>12} {:>9} {:>9}", "fault", head.0, head.1, head.2, head.3);
    let row = |name: String, tally: &FaultTally| {
        let FaultTally { runs, effects, refused, ended } = tally;
        out!("  {name:<30} {runs:>9} {effects:>12} {refused:>9} {ended:>9}");
    };
    report.kinds.iter().for_each(|(kind, tally)| row(format!("{kind:?}"), tally));
    out!("way to go on");
    report.ways.iter().for_each(|(way, tally)| row((*way).to_owned(), tally));
    out!("digest {:016x}", report.digest);
    match breach {
        None if interrupted => out!("no breach of the contract so far"),
        None => out!("no breach of the contract"),
        Some((breach, _)) => {
            out!("\n{breach}");
            out!("replay it: {}", args.plant.command("replay", out.display(), None));
            out!("shrink it: {}", args.plant.command("shrink", out.display(), None));
        }
    }
}

fn print_json(
    searches: &[FaultSearch],
    report: &FaultReport,
    seconds: f64,
    breach: Option<(&Breach, &Case)>,
    out: &Path,
    interrupted: bool,
) {
    let row = |tally: &FaultTally| {
        serde_json::json!({
            "runs": tally.runs,
            "effects": tally.effects,
            "refused": tally.refused,
            "ended": tally.ended,
        })
    };
    let kinds: BTreeMap<String, _> =
        report.kinds.iter().map(|(kind, tally)| (format!("{kind:?}"), row(tally))).collect();
    let ways: BTreeMap<&str, _> =
        report.ways.iter().map(|(way, tally)| (*way, row(tally))).collect();
    out!(
        "{}",
        serde_json::json!({
            "interrupted": interrupted,
            "seconds": seconds,
            "workloads": searches.len(),
            "calls": report.calls,
            "strikes": report.strikes,
            "total": row(&report.total()),
            "controls": report.controls,
            "kinds": kinds,
            "ways": ways,
            "digest": format!("{:016x}", report.digest),
            "breach": breach.map(|(breach, _)| breach_json(breach, Some(out))),
        })
    );
}

fn breach_json(breach: &Breach, case: Option<&Path>) -> serde_json::Value {
    serde_json::json!({
        "clause": breach.clause,
        "workload": breach.workload,
        "message": breach.message,
        "path": breach.path,
        "case": case,
    })
}
