//! The ledger of a sweep: which faults and crashes struck where, and which never did.
//!
//! A *cell* is a call kind, on a kind of file, at its position in the operation, in a phase of
//! the engine, and something that can go wrong there. The cells are those of the sites that were
//! reached: what the engine does nowhere is no gap. A cell is *reached* if its fault could have
//! struck, and *activated* if it did; an *empty* cell was never activated.
//!
//! Invariant: ledgers add up in any order to the same one.

use std::fmt;

use runstone::marks;
use serde::{Deserialize, Serialize};

use crate::disk::{CrashKind, FaultKind, Hazard, NTH_MAX, Reach, Site, Sites, Watch, When};

/// The kinds of files that are told apart.
const FILES: [&str; 7] =
    ["directory", "lock", "manifest", "temporary", "segment", "other", "table"];

/// Tells a disk what the engine of this thread is about.
pub(super) const WATCH: Watch = Watch { moment, file };

fn moment() -> (u64, u8) {
    let marks::Moment { operation, phase } = marks::moment();
    (operation, phase as u8)
}

fn file(path: &str) -> u8 {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name {
        "runstone.lock" => 1,
        "runstone.manifest" => 2,
        _ if name.ends_with(".tmp") => 3,
        _ if name.ends_with(".log") => 4,
        _ if name.ends_with(".table") => 6,
        _ if name.contains('.') => 5,
        _ => 0,
    }
}

/// What happened where, in all seeds of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    sites: Sites,
}

/// A cell of the ledger, as it is printed and saved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// The phase of the engine.
    pub phase: String,
    /// The kind of the call.
    pub call: String,
    /// The kind of the file.
    pub file: String,
    /// The how manieth such call of its operation; 4 for that and later ones.
    pub nth: u8,
    /// What can go wrong.
    pub hazard: String,
    /// Calls that were made there.
    pub calls: u64,
    /// Calls that it could have struck.
    pub reached: u64,
    /// Calls that it struck.
    pub activated: u64,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell { phase, call, file, nth, hazard, calls, reached, .. } = self;
        let more = if *nth == NTH_MAX { "+" } else { "" };
        write!(
            f,
            "{phase:<12} {call:<10} {file:<10} {nth}{more:<2} {hazard:<22} {reached} of {calls} calls"
        )
    }
}

/// How many cells there are, and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Calls of one kind, on one kind of file, at one position, in one phase.
    pub sites: u64,
    /// What can go wrong at them.
    pub cells: u64,
    /// Those that could have been activated.
    pub reached: u64,
    /// Those that were.
    pub activated: u64,
}

impl Ledger {
    /// Adds what happened on one disk.
    pub fn add(&mut self, sites: &Sites) {
        for (site, happened) in sites {
            let all = self.sites.entry(*site).or_default();
            all.calls += happened.calls;
            for (hazard, reach) in &happened.hazards {
                let sum = all.hazards.entry(*hazard).or_default();
                sum.reached += reach.reached;
                sum.injected += reach.injected;
            }
        }
    }

    /// Every cell, in the order of phases, calls, files, positions and hazards.
    pub fn cells(&self) -> impl Iterator<Item = Cell> {
        self.sites.iter().flat_map(|(site, happened)| {
            hazards(*site).map(move |hazard| {
                let reach = happened.hazards.get(&hazard).copied().unwrap_or_default();
                let Reach { reached, injected } = reach;
                let is_crash = matches!(hazard, Hazard::Crash(..));
                // A crash may strike any call; a scripted fault strikes without odds.
                let reached = if is_crash { happened.calls } else { reached.max(injected) };
                let phase = marks::Phase::ALL.get(usize::from(site.phase));
                Cell {
                    phase: phase.map_or_else(String::new, |phase| format!("{phase:?}")),
                    call: site.call.name().to_owned(),
                    file: FILES.get(usize::from(site.file)).copied().unwrap_or("?").to_owned(),
                    nth: site.nth,
                    hazard: name(hazard),
                    calls: happened.calls,
                    reached,
                    activated: injected,
                }
            })
        })
    }

    /// The cells that were never activated, the most reached first, and among equals those with
    /// the most calls.
    #[must_use]
    pub fn empty(&self) -> Vec<Cell> {
        let mut empty: Vec<_> = self.cells().filter(|cell| cell.activated == 0).collect();
        empty.sort_by_key(|cell| std::cmp::Reverse((cell.reached, cell.calls)));
        empty
    }

    /// How many cells there are.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let mut summary = Summary { sites: self.sites.len() as u64, ..Summary::default() };
        for cell in self.cells() {
            summary.cells += 1;
            summary.reached += u64::from(cell.reached > 0);
            summary.activated += u64::from(cell.activated > 0);
        }
        summary
    }
}

/// Everything that can go wrong somewhere.
fn all_hazards() -> impl Iterator<Item = Hazard> {
    let faults = FaultKind::ALL.into_iter().map(Hazard::Fault);
    let crashes = [CrashKind::Power, CrashKind::Process].into_iter().flat_map(|kind| {
        [When::Before, When::Inside, When::After].map(|when| Hazard::Crash(kind, when))
    });
    faults.chain([Hazard::DiskFull]).chain(crashes)
}

/// What can go wrong at a site.
fn hazards(site: Site) -> impl Iterator<Item = Hazard> {
    all_hazards().filter(move |hazard| match hazard {
        Hazard::Fault(fault) => fault.suits(site.call),
        Hazard::DiskFull => site.call.takes_room(),
        Hazard::Crash(..) => true,
    })
}

/// The names of everything that can go wrong, in the order of the cells of a site.
#[must_use]
pub fn hazard_names() -> Vec<String> {
    all_hazards().map(name).collect()
}

fn name(hazard: Hazard) -> String {
    match hazard {
        Hazard::Fault(kind) => format!("{kind:?}"),
        Hazard::DiskFull => "DiskFull".to_owned(),
        Hazard::Crash(kind, when) => format!("{kind:?}{when:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{CallKind, Happened};

    fn sites(calls: u64, struck: u64) -> Sites {
        let site = Site { phase: 7, call: CallKind::Sync, file: 4, nth: 1 };
        let mut happened = Happened { calls, ..Happened::default() };
        let reach = Reach { reached: 9, injected: struck };
        happened.hazards.insert(Hazard::Fault(FaultKind::Io), reach);
        Sites::from([(site, happened)])
    }

    #[test]
    fn ledgers_add_up_and_an_empty_cell_is_one_that_was_never_activated() {
        let mut ledger = Ledger::default();
        ledger.add(&sites(10, 0));
        let io = |cell: &Cell| cell.hazard == "Io";
        assert!(ledger.empty().iter().any(io));
        ledger.add(&sites(5, 2));
        assert!(!ledger.empty().iter().any(io));
        let cell = ledger.cells().find(io).unwrap();
        assert_eq!((cell.calls, cell.reached, cell.activated), (15, 18, 2));
        assert_eq!((cell.phase.as_str(), cell.file.as_str()), ("Commit", "segment"));
        let Summary { sites, cells, reached, activated } = ledger.summary();
        assert_eq!((sites, activated), (1, 1));
        // Six kinds of crashes may strike any call; of the faults of a sync one had odds.
        assert_eq!(reached, 7);
        assert_eq!(
            cells,
            6 + FaultKind::ALL.iter().filter(|f| f.suits(CallKind::Sync)).count() as u64
        );
    }

    #[test]
    fn every_file_of_a_store_is_of_its_kind() {
        let of = |path: &str| FILES[usize::from(file(path))];
        assert_eq!(of("/data/store/runstone.manifest"), "manifest");
        assert_eq!(of("/data/store/runstone.lock"), "lock");
        assert_eq!(of("/data/store/000012.log"), "segment");
        assert_eq!(of("/data/store/000013.tmp"), "temporary");
        assert_eq!((of("/data/store"), of("/")), ("directory", "directory"));
        assert_eq!(of("/data/store/notes.txt"), "other");
    }
}
