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

/// The ledger of one disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) watch: Option<Watch>,
    pub(super) sites: Sites,
    operation: u64,
    /// How many calls of each site the operation has made.
    made: BTreeMap<(u8, CallKind, u8), u8>,
    /// Where the call that is being served stands.
    at: Option<Site>,
}

impl Ledger {
    /// A call begins.
    pub(super) fn begin(&mut self, call: CallKind, path: &str) {
        let Some(watch) = self.watch else { return };
        let ((operation, phase), file) = ((watch.moment)(), (watch.file)(path));
        if operation != self.operation {
            self.operation = operation;
            self.made.clear();
        }
        let made = self.made.entry((phase, call, file)).or_default();
        *made = (*made + 1).min(NTH_MAX);
        let place = Site { phase, call, file, nth: *made };
        self.sites.entry(place).or_default().calls += 1;
        self.at = Some(place);
    }

    /// Something could have struck this call, or did.
    pub(super) fn note(&mut self, hazard: Hazard, struck: bool) {
        let Some(happened) = self.at.and_then(|at| self.sites.get_mut(&at)) else { return };
        let reach = happened.hazards.entry(hazard).or_default();
        if struck { reach.injected += 1 } else { reach.reached += 1 }
    }
}
