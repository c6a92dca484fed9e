//! A whole file of a manifest: a snapshot, and the edits that count.
//!
//! The edits that count are those that follow, one behind the other, from the snapshot on. The
//! first that is not intact is where they end: its write, or the sync behind it, did not return Ok.
//! No edit is written before the sync of the one before has returned Ok, into zeros that were
//! synced with the snapshot. So an intact edit anywhere behind, or one that does not follow, proves
//! that what stands before it was durable: then it is damage. So it is where an edit stands in the
//! place of another: no write cut short leaves that. The beginning of another file of a
//! store may be what a power cut leaves of a sector, or what a disk brought that exchanged two: it
//! is told, and judged beside the other files ([`crate::recovery::listing`]).
//!
//! Invariants: only reads; nothing is passed over; what cannot be told from damage is refused.

use std::path::Path;

use super::edit::Edit;
use super::frame::{self, EDIT_ALIGN, Position};
use super::{Manifest, Snapshot};
use crate::codec::Malformed;
use crate::error::{Error, Result};
use crate::names::StoreId;

/// How many times the length of a file the search for later edits may checksum.
const SEARCH_WORK_FACTOR: usize = 16;

/// Reads a whole file: what the manifest says, and where its edits end, if the beginning of
/// another file of a store stands there.
///
/// Errors: [`Error::Corruption`] with file and offset, or [`Error::UnsupportedFormat`].
pub(crate) fn read(bytes: &[u8], file: &Path) -> Result<(Manifest, Option<Position>)> {
    let Snapshot { mut manifest, salt, checksum, bytes: length } = Snapshot::decode(bytes, file)?;
    let mut next = Position::behind(length as u64, checksum, salt);
    let begins = offset(next.at);
    let gap = bytes.get(length..begins.min(bytes.len())).unwrap_or_default();
    if let Some(nth) = gap.iter().position(|byte| *byte != 0) {
        sometimes!("manifest/bytes-behind-the-snapshot");
        let at = (length + nth) as u64;
        return Err(Error::corruption(file, at, "zeros behind a manifest's snapshot", "others"));
    }
    loop {
        let at = offset(next.at);
        let bad =
            |expected: &str, found: String| Err(Error::corruption(file, next.at, expected, found));
        let record = match frame::decode(&manifest.store_id, bytes, at) {
            Ok(record) => record,
            Err(_) if planted!(DamagedEditEndsManifest) => return Ok((manifest, None)),
            Err(stop) => match later(&manifest.store_id, &next.salt, bytes, at) {
                Later::None => {
                    sometimes!("manifest/torn-edit", holds_more_than_zeros(bytes, at));
                    let is_file = frame::begins_a_file(bytes, at);
                    sometimes!("manifest/another-file-in-it", is_file);
                    return Ok((manifest, is_file.then_some(next)));
                }
                Later::Edit(later) => {
                    sometimes!("manifest/damaged-edit");
                    let expected =
                        format!("an intact edit, since a later one was written at {later}");
                    return bad(&expected, stop.found);
                }
                Later::Exchanged(found, place) => {
                    return bad(
                        "each edit where it was written",
                        format!("that of {place} at {found}"),
                    );
                }
                Later::TooMany => {
                    sometimes!("manifest/search-given-up");
                    let found = "neither, and more bytes that look like edits than can be checked";
                    return bad("an intact edit, or the end of them", found.to_owned());
                }
            },
        };
        let found = (record.salt, record.sequence, record.link);
        if found != (next.salt, next.sequence, next.link) {
            sometimes!("manifest/edit-of-another-past");
            return bad(
                "an edit that was written behind what stands before it",
                format!("edit {} of another file or another past", record.sequence),
            );
        }
        let malformed = |m: Malformed| Error::corruption(file, next.at, m.expected, m.found);
        let edit = Edit::decode(record.edit).map_err(malformed)?;
        planted!(EditAppliedTwice => manifest = edit.apply(&manifest).map_err(malformed)?);
        manifest = edit.apply(&manifest).map_err(malformed)?;
        sometimes!("manifest/edit-read");
        next = Position {
            at: next.at + record.total_bytes,
            sequence: next.sequence + 1,
            link: record.checksum,
            ..next
        };
    }
}

#[cfg(feature = "marks")]
fn holds_more_than_zeros(bytes: &[u8], from: usize) -> bool {
    bytes.get(from..).is_some_and(|rest| rest.iter().any(|byte| *byte != 0))
}

/// What stands behind an edit that is not intact.
enum Later {
    None,
    /// An intact edit, at this offset.
    Edit(usize),
    /// At the first offset, an edit that was written at the second.
    Exchanged(usize, usize),
    /// More that looks like edits than can be judged in reasonable time.
    TooMany,
}

fn later(store_id: &StoreId, salt: &[u8; 16], bytes: &[u8], torn_at: usize) -> Later {
    let step = offset(EDIT_ALIGN);
    let mut work = SEARCH_WORK_FACTOR * (bytes.len().saturating_sub(torn_at)) + (1 << 20);
    let told = |at: usize| frame::told_bytes(bytes, at);
    let places = (torn_at..bytes.len()).step_by(step);
    for at in places.clone().skip(1) {
        let Some(told) = told(at) else { continue };
        let Some(left) = work.checked_sub(told) else { return Later::TooMany };
        work = left;
        if frame::decode(store_id, bytes, at).is_ok() {
            return Later::Edit(at);
        }
    }
    let begun: Vec<_> = places.clone().filter_map(|at| Some((at, told(at)?))).collect();
    let last = begun.last().map_or(torn_at, |(at, _)| *at);
    for (at, told) in &begun {
        for place in places.clone().take_while(|place| *place <= last) {
            let Some(left) = work.checked_sub(*told) else { return Later::None };
            work = left;
            if place != *at && frame::was_written_at(store_id, salt, bytes, *at, place) {
                return Later::Exchanged(*at, place);
            }
        }
    }
    Later::None
}

fn offset(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}
