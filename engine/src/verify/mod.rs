//! Walks every byte of every file of an open store, and holds what the files say against each
//! other and against what the open database has in force.
//!
//! A read believes what stands under a checksum, and sees only what it asks for. Here nothing is
//! believed: the [`manifest`], the [`log`], every table by itself ([`Table::verify`]), the levels
//! over each other ([`levels`]), and the records of runs against all that was written of them
//! ([`runs`]). What is wrong is told piece by piece, and the walk goes on behind it where it can.
//!
//! It walks one moment ([`View`]), taken under the writer's lock: the manifest and the end of the
//! log as they are in force then, the levels, and a read point that stays readable. What is
//! written later is not looked at; a segment that a flush makes superfluous meanwhile, and that is
//! gone, is no violation.
//!
//! Invariants: changes nothing, on disk or in what readers are shown later; holds one step of the
//! log, or one block of each level, or one chunk of a scan in memory at a time, beside the manifest
//! and what is kept of active runs and removals; the same store is told of in the same words.

mod census;
mod levels;
mod log;
mod manifest;
mod runs;
pub(crate) mod view;

use view::{Since, View, Walk};

use crate::error::{Error, Result};
use crate::place::Place;
#[cfg(doc)]
use crate::table::reader::Table;

/// Walks all of it; `tell` hears of each violation.
///
/// Errors: [`Error::Io`], [`Error::Displaced`]; the walk ends there.
pub(crate) fn verify(
    view: &View,
    place: &Place,
    since: &dyn Since,
    mut tell: impl FnMut(Error),
) -> Result<()> {
    phase!(Lookup);
    let mut walk = Walk { view, place, since, tell: &mut tell, is_damaged: false };
    manifest::walk(&mut walk)?;
    log::walk(&mut walk)?;
    for live in view.below.levels.tables() {
        live.table.verify(|error| {
            walk.is_damaged = true;
            (walk.tell)(error);
        })?;
    }
    levels::walk(&mut walk)?;
    runs::walk(&mut walk)
}
