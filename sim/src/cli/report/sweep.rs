//! The page of a sweep: what is put into it.
//!
//! Each part of the page is a field of the data; a part whose field is absent is not shown.

use std::collections::BTreeMap;

use runstone_sim::disk::{CrashModel, FaultKind};
use runstone_sim::harness::World;
use serde_json::json;

use crate::cli::sweep::{SweepArgs, Swept, sweep};

/// Into how many intervals the time of the sweep is cut.
const INTERVALS: usize = 120;

/// The page, whether any seed failed, and whether the sweep was interrupted.
pub(super) fn page(args: &SweepArgs) -> Result<(String, bool, bool), String> {
    let swept = sweep(args)?;
    let Swept { tally, first, seconds, interrupted } = &swept;
    let failures: Vec<_> = tally
        .failures
        .iter()
        .map(|(seed, failure)| {
            json!({
                "seed": seed,
                "clause": failure.clause,
                "op": failure.op,
                "message": failure.message,
                "report": args.command("report", *seed),
                "shrink": args.command("shrink", *seed),
            })
        })
        .collect();
    let data = json!({
        "first": first,
        "seeds": tally.seeds,
        "seconds": seconds,
        "interrupted": interrupted,
        "run_twice": tally.twice,
        "operations": tally.ops,
        "openings": tally.openings,
        "refusals": tally.refusals,
        "digest": format!("{:016x}", tally.digest),
        "planted": args.planted(),
        "finished": intervals(&tally.finished_ms, *seconds),
        "slowest": tally.slowest,
        "worlds": with_absent(&tally.worlds, World::ALL.map(|world| world.name().to_owned())),
        "crashes": with_absent(&tally.crashes, crash_names()),
        "faults": tally.faults,
        "faults_absent": absent_faults(&tally.faults),
        "events": tally.events,
        "failures": failures,
        "ledger": tally.seen.for_page(),
    });
    let title = match tally.failures.len() {
        0 => format!("Sweep of {} seeds: no breach", tally.seeds),
        n => format!("Sweep of {} seeds: {n} failing", tally.seeds),
    };
    let page = super::page(&title, include_str!("sweep.html"), include_str!("sweep.js"), &data);
    Ok((page, !tally.failures.is_empty(), *interrupted))
}

/// How many seeds were finished in each interval, and how many of them failed.
fn intervals(finished_ms: &[(u32, bool)], seconds: f64) -> Vec<(u64, u64)> {
    let mut intervals = vec![(0, 0); INTERVALS];
    for (ms, failed) in finished_ms {
        let share = f64::from(*ms) / 1000.0 / seconds.max(1e-9);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped to the list
        let at = (share * 120.0) as usize;
        if let Some((seeds, failures)) = intervals.get_mut(at.min(INTERVALS - 1)) {
            *seeds += 1;
            *failures += u64::from(*failed);
        }
    }
    intervals
}

/// The counts, with a zero for what never happened.
fn with_absent<K: ToString + Ord>(
    counts: &BTreeMap<K, u64>,
    names: impl IntoIterator<Item = String>,
) -> BTreeMap<String, u64> {
    let mut all: BTreeMap<String, u64> = names.into_iter().map(|name| (name, 0)).collect();
    all.extend(counts.iter().map(|(name, count)| (name.to_string(), *count)));
    all
}

fn crash_names() -> Vec<String> {
    let mut names: Vec<_> =
        CrashModel::ALL.iter().map(|model| format!("power {model:?}")).collect();
    names.push("process".to_owned());
    names
}

/// Faults that no plan of the sweep had odds for.
fn absent_faults(faults: &BTreeMap<String, (u64, u64)>) -> Vec<String> {
    let names = FaultKind::ALL.iter().map(|kind| format!("{kind:?}"));
    names.filter(|name| !faults.contains_key(name)).collect()
}
