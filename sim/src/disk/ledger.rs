//! Where faults and crashes struck: which call, of which file, in which phase of the program.
//!
//! The disk knows calls and faults; what the program is about, and what kind of file a path is,
//! it asks a [`Watch`]. Kept only for a disk that has one; it changes nothing that the disk does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::call::CallKind;
use super::faults::Reach;
use super::kind::FaultKind;
use super::report::{CrashKind, When};

/// What the ledger asks about the program.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    /// A number that grows with each operation of the program, and its phase.
    pub moment: fn() -> (u64, u8),
    /// What kind of file a path is.
    pub file: fn(&str) -> u8,
}

/// The last position that is told apart: this one and all later ones.
pub const NTH_MAX: u8 = 4;

/// A site where something can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Site {
    /// The phase of the program, as its [`Watch`] numbers them.
    pub phase: u8,
    /// The kind of the call.
    pub call: CallKind,
    /// The kind of the file, as the [`Watch`] numbers them.
    pub file: u8,
    /// The how manieth such call of its operation, from 1; [`NTH_MAX`] for that and later ones.
    pub nth: u8,
}

/// What can go wrong at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Hazard {
    /// An injected fault.
    Fault(FaultKind),
    /// The disk's capacity was used up.
    DiskFull,
    /// A crash before, inside or after the call.
    Crash(CrashKind, When),
}

/// What happened at a place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// Calls that were made there.
    pub calls: u64,
    /// Of each hazard but crashes, how often it could have struck; of each, how often it did.
    pub hazards: BTreeMap<Hazard, Reach>,
}

/// What happened everywhere.
pub type Sites = BTreeMap<Site, Happened>;

/// A kind of call on a kind of file, in a phase of the program.
type Cell = (u8, CallKind, u8);

/// The ledger of one disk.
///
/// It is asked at every call, so what happened stands in a list, in the order in which it was
/// first reached. The cell of a call is looked for among the few of its operation.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) watch: Option<Watch>,
    happened: Vec<(Site, Happened)>,
    /// Where in that list the sites of a cell stand, the first call's first.
    places: BTreeMap<Cell, [Option<usize>; NTH_MAX as usize]>,
    operation: u64,
    /// How many calls of each cell the operation has made.
    made: Vec<(Cell, u8)>,
    /// Where in the list the call stands that is being served.
    at: Option<usize>,
}

impl Ledger {
    /// What happened everywhere.
    pub(super) fn sites(&self) -> Sites {
        self.happened.iter().cloned().collect()
    }

    /// A call begins.
    pub(super) fn begin(&mut self, call: CallKind, path: &str) {
        let Some(watch) = self.watch else { return };
        let ((operation, phase), file) = ((watch.moment)(), (watch.file)(path));
        if operation != self.operation {
            self.operation = operation;
            self.made.clear();
        }
        let cell = (phase, call, file);
        let nth = match self.made.iter_mut().find(|(made, _)| *made == cell) {
            Some((_, nth)) => {
                *nth = (*nth + 1).min(NTH_MAX);
                *nth
            }
            None => {
                self.made.push((cell, 1));
                1
            }
        };
        let Ledger { happened, places, .. } = self;
        let places = places.entry(cell).or_default();
        let Some(place) = places.get_mut(usize::from(nth) - 1) else { return };
        let at = *place.get_or_insert_with(|| {
            happened.push((Site { phase, call, file, nth }, Happened::default()));
            happened.len() - 1
        });
        if let Some((_, happened)) = happened.get_mut(at) {
            happened.calls += 1;
        }
        self.at = Some(at);
    }

    /// Something could have struck this call, or did.
    pub(super) fn note(&mut self, hazard: Hazard, struck: bool) {
        let Some((_, happened)) = self.at.and_then(|at| self.happened.get_mut(at)) else { return };
        let reach = happened.hazards.entry(hazard).or_default();
        if struck { reach.injected += 1 } else { reach.reached += 1 }
    }
}
