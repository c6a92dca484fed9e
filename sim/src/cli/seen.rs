//! What a sweep has seen: crash-and-recover cycles, the ledger, and the marks of the engine.

use std::path::PathBuf;

use clap::Args;
use runstone_sim::disk::NTH_MAX;
use runstone_sim::harness::ledger::{Cell, Ledger, Summary, hazard_names};
use runstone_sim::harness::{Outcome, marks};

use super::artefact::{Artefact, LEDGER};

/// How many empty cells are printed.
const EMPTY_SHOWN: usize = 12;

#[derive(Debug, Default, Args)]
pub(crate) struct SeenArgs {
    /// Writes every cell of the ledger to this file, as JSON; a file that is no ledger is not
    /// replaced
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Fails if a mark of the engine is never reached, but for the known exceptions
    #[arg(long)]
    all_marks: bool,
    /// Fails if there are fewer crash-and-recover cycles
    #[arg(long, value_name = "N", default_value_t = 0)]
    cycles_min: u64,
}

impl SeenArgs {
    /// The file that was asked for, tried before the work.
    pub(crate) fn claim(&self) -> Result<Option<Artefact>, String> {
        self.ledger.as_deref().map(|path| Artefact::claim(path, LEDGER)).transpose()
    }
}

/// What all seeds have seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    ledger: Ledger,
    marks: Vec<u64>,
    recoveries: u64,
}

impl Seen {
    /// Adds what one seed has seen.
    pub(crate) fn add(&mut self, outcome: &Outcome) {
        self.ledger.add(&outcome.sites);
        marks::add(&mut self.marks, &outcome.marks);
        self.recoveries += outcome.recoveries;
    }

    /// Writes the file that was asked for.
    pub(crate) fn write(&self, ledger: Option<Artefact>) -> Result<(), String> {
        let Some(file) = ledger else { return Ok(()) };
        let cells: Vec<_> = self.ledger.cells().collect();
        let text = serde_json::to_string_pretty(&cells).map_err(|e| e.to_string())?;
        file.write(&(text + "\n"))
    }

    /// What was asked for and not seen; a sweep with any of it fails.
    pub(crate) fn missing(&self, args: &SeenArgs) -> Vec<String> {
        let mut missing = Vec::new();
        if self.recoveries < args.cycles_min {
            let (found, wanted) = (self.recoveries, args.cycles_min);
            missing.push(format!("{found} crash-and-recover cycles, not {wanted}"));
        }
        if args.all_marks {
            let unreached = marks::unreached(&self.marks).into_iter();
            missing.extend(unreached.map(|name| format!("the mark {name} was never reached")));
            for name in marks::reached_exceptions(&self.marks) {
                missing.push(format!("the mark {name} was reached: it is no exception any more"));
            }
        }
        missing
    }

    pub(crate) fn print(&self) {
        out!("{} crash-and-recover cycles", self.recoveries);
        let Summary { sites, cells, reached, activated } = self.ledger.summary();
        out!(
            "ledger: {sites} sites, {cells} cells: {activated} activated, {} reached in vain, {} \
             never possible",
            reached - activated,
            cells - reached
        );
        let empty = self.ledger.empty();
        let shown: Vec<_> =
            empty.iter().filter(|cell| cell.reached > 0).take(EMPTY_SHOWN).collect();
        out!("the most reached of {} empty cells (all: --ledger FILE):", empty.len());
        for cell in shown {
            out!("  {cell}");
        }
        let (all, unreached) = (marks::NAMES.len(), marks::unreached(&self.marks));
        let reached = self.marks.iter().filter(|count| **count > 0).count();
        out!(
            "marks: {reached} of {all} reached, {} known to be out of reach; never reached: {}",
            marks::EXCEPTIONS.len(),
            if unreached.is_empty() { "none".to_owned() } else { unreached.join(", ") }
        );
    }

    /// The ledger and the marks for a page: for each row (a phase, a call and a kind of file)
    /// its cells, each the number of its hazard, its position, and how often it was made,
    /// reached and activated.
    pub(crate) fn for_page(&self) -> serde_json::Value {
        let hazards = hazard_names();
        let cells: Vec<_> = self.ledger.cells().collect();
        let row = |cell: &Cell| (cell.phase.clone(), cell.call.clone(), cell.file.clone());
        let rows = cells.chunk_by(|a, b| row(a) == row(b)).map(|cells| {
            let cell = |cell: &Cell| {
                let hazard = hazards.iter().position(|name| *name == cell.hazard);
                serde_json::json!([hazard, cell.nth, cell.calls, cell.reached, cell.activated])
            };
            let named = cells.first().map(row);
            serde_json::json!([named, cells.iter().map(cell).collect::<Vec<_>>()])
        });
        serde_json::json!({
            "hazards": hazards,
            "last_position": NTH_MAX,
            "summary": self.ledger.summary(),
            "rows": rows.collect::<Vec<_>>(),
            "cycles": self.recoveries,
            "marks": marks::NAMES.len(),
            "marks_reached": self.marks.iter().filter(|count| **count > 0).count(),
            "marks_unreached": marks::unreached(&self.marks),
            "marks_excepted": marks::EXCEPTIONS,
        })
    }

    /// What is printed, for machines: with every mark and every empty cell.
    pub(crate) fn json(&self) -> serde_json::Value {
        let counts = marks::NAMES.iter().zip(&self.marks);
        let counts: serde_json::Map<_, _> =
            counts.map(|(name, count)| ((*name).to_owned(), (*count).into())).collect();
        serde_json::json!({
            "cycles": self.recoveries,
            "ledger": self.ledger.summary(),
            "empty_cells": self.ledger.empty(),
            "marks": counts,
            "marks_unreached": marks::unreached(&self.marks),
        })
    }
}
