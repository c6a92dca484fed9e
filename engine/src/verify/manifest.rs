//! The manifest: its bytes, and what they say against what is in force.
//!
//! Invariants: every byte up to the last edit is decoded; behind it stand the zeros that were
//! synced before it; of a manifest that an opening has only read, every byte is as it was read.

use super::view::Walk;
use crate::error::{Error, Result};
use crate::levels::LiveTable;
use crate::log::segment::hex;
use crate::manifest::{LevelEntry, Manifest, TableEntry, file};
use crate::table::properties::TableHeader;

/// Where two differ: what was expected, and what was found.
type Difference = Option<(String, String)>;

/// Reads the file again, and compares.
///
/// Errors: [`Error::Io`].
pub(super) fn walk(walk: &mut Walk<'_>) -> Result<()> {
    let view = walk.view;
    if let Some((expected, found)) = levels_differ(walk) {
        walk.wrong(expected, found);
    }
    let path = walk.manifest_path();
    let in_force = &view.in_force;
    let read = in_force.read_again(&path);
    // What was put in force since is another session's moment, and its length another.
    let is_same = walk.since.is_in_force(in_force) && view.log.is_some();
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(Error::Corruption { .. }) if !is_same => return Ok(()),
        Err(error) => return walk.told(error),
    };
    if let Some(known) = in_force.found_bytes().filter(|_| is_same) {
        let other = bytes.iter().zip(known).position(|(found, known)| found != known);
        if let Some(at) = other {
            let found = "another byte";
            let expected = "the byte of the manifest that the opening has read";
            (walk.tell)(Error::corruption(&*path, at as u64, expected, found));
        }
    }
    // Edits that were appended since stand behind these.
    let end = in_force.edits_end().map_or(bytes.len(), offset);
    let (whole, behind) = bytes.split_at_checked(end).unwrap_or((&bytes, &[]));
    match file::read(whole, &path) {
        Ok((found, _)) if is_same => {
            if let Some((expected, found)) = differ(&view.manifest, &found) {
                walk.wrong(expected, found);
            }
        }
        Ok(_) => {}
        Err(error) => walk.told(error)?,
    }
    if let Some(nth) = behind.iter().position(|byte| *byte != 0).filter(|_| is_same) {
        let expected = "zeros behind the last edit of the manifest";
        (walk.tell)(Error::corruption(&*path, (end + nth) as u64, expected, "other bytes"));
    }
    Ok(())
}

fn offset(at: u64) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

/// What a manifest says that is not in force.
fn differ(known: &Manifest, found: &Manifest) -> Difference {
    let of = |what: &str, known: String, found: String| {
        (known != found)
            .then(|| (format!("a manifest of {what} {known}"), format!("{what} {found}")))
    };
    let number =
        |what: &str, known: u64, found: u64| of(what, known.to_string(), found.to_string());
    let flushed = (&known.flushed, &found.flushed);
    of("store", hex(&known.store_id), hex(&found.store_id))
        .or_else(|| number("epoch", known.epoch, found.epoch))
        .or_else(|| of("a clean close:", known.clean.to_string(), found.clean.to_string()))
        .or_else(|| number("flushed version", flushed.0.version, flushed.1.version))
        .or_else(|| number("flushed time", flushed.0.time_ms, flushed.1.time_ms))
        // Numbers are taken in memory first.
        .or_else(|| {
            let found = known.next_file.max(found.next_file);
            number("next number at most", known.next_file, found)
        })
        .or_else(|| {
            let lengths = (known.segments.len(), found.segments.len());
            number("log files:", lengths.0 as u64, lengths.1 as u64)
        })
        .or_else(|| {
            let mut pairs = known.segments.iter().zip(&found.segments);
            let (known, found) = pairs.find(|(known, found)| known != found)?;
            of("log file", format!("{known:?}"), format!("{found:?}"))
        })
        .or_else(|| entries_differ(&known.levels, &found.levels))
}

fn entries_differ(known: &[LevelEntry], found: &[LevelEntry]) -> Difference {
    let of = |known: String, found: String| (known != found).then_some((known, found));
    let count = |entries: &[LevelEntry]| format!("a manifest of {} levels", entries.len());
    of(count(known), count(found)).or_else(|| {
        let (known, found) = known.iter().zip(found).find(|(known, found)| known != found)?;
        of(format!("the level {known:?}"), format!("{found:?}"))
    })
}

/// Whether the levels that are read are those that the manifest names.
fn levels_differ(walk: &Walk<'_>) -> Difference {
    let (levels, named) = (&walk.view.below.levels, &walk.view.manifest.levels);
    if let Err(m) = levels.check() {
        return Some((m.expected.to_owned(), m.found));
    }
    if levels.0.len() != named.len() {
        return Some((
            format!("{} levels, as the manifest says", named.len()),
            levels.0.len().to_string(),
        ));
    }
    let is_named = |(live, entry): (&LiveTable, &TableEntry)| {
        let TableHeader { store_id, salt, number, epoch } = *live.table.header();
        let told = (entry.file_bytes, entry.checksum);
        let header = (salt, number, epoch) == (entry.salt, entry.number, entry.epoch);
        header
            && live.table.told() == told
            && live.from == entry.from
            && store_id == walk.view.manifest.store_id
    };
    for (nth, (level, entry)) in levels.0.iter().zip(named).enumerate() {
        let is_same = (level.tier, level.joins, level.tables.len())
            == (entry.tier, entry.joins, entry.tables.len());
        if !is_same || !level.tables.iter().zip(&entry.tables).all(is_named) {
            let expected = format!("level {nth} as the manifest names it: {entry:?}");
            return Some((expected, "other tables, or other bounds".to_owned()));
        }
    }
    let epoch = walk.view.manifest.epoch;
    let late = walk.view.manifest.tables().find(|table| table.epoch > epoch);
    late.map(|table| {
        let found = format!("table {} of epoch {}", table.number, table.epoch);
        (format!("tables of epoch {epoch} at most"), found)
    })
}
