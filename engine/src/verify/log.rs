//! The log: every segment that the manifest names, record by record, up to its end.
//!
//! A segment that has ended counts as far as the manifest attests it; the last one as far as its
//! writer knows that it was written, so that damage is told from what was never written. Behind
//! that stands filler, which nothing reads.
//!
//! Invariants: reads one step at a time; nothing of a segment that a flush has made superfluous
//! meanwhile is a violation if it is gone.

use std::path::Path;

use super::view::{LogEnd, Walk};
use crate::codec::change;
use crate::error::{Error, Result};
use crate::log::record::{RecordHead, RecordKind};
use crate::log::scan::{Next, Record, SegmentScan};
use crate::log::segment::SEGMENT_HEADER_BYTES;
use crate::manifest::SegmentEntry;
use crate::names::OwnName;
use crate::recovery::judge::{check_attested, open_segment};

/// What was read last.
#[derive(Clone, Copy, Debug)]
struct Last {
    version: u64,
    time_ms: u64,
    /// Everything up to here was read: the next commit has the next version.
    is_whole: bool,
}

/// Reads all segments.
///
/// Errors: [`Error::Io`], [`Error::UnsupportedFormat`].
pub(super) fn walk(walk: &mut Walk<'_>) -> Result<()> {
    let manifest = &walk.view.manifest;
    let flushed = manifest.flushed;
    let mut last = Last { version: flushed.version, time_ms: flushed.time_ms, is_whole: true };
    let mut epoch = 0;
    for entry in &manifest.segments {
        let path = walk.place.path(OwnName::Segment(manifest.store_id, entry.number));
        let end = match walk.view.log {
            Some(end) if entry.open => end.at.at,
            _ => entry.attested.at,
        };
        let opened = open_segment(walk.place, manifest, entry, Some(end), walk.view.read_bytes);
        let scan = match opened {
            Ok(scan) => scan,
            Err(error) => {
                last.is_whole = false;
                if walk.since.names(entry.number) {
                    walk.told(error)?;
                }
                continue;
            }
        };
        let header = scan.header().epoch;
        if header < epoch || header > manifest.epoch {
            let expected = format!("a log file of epoch {epoch} to {}", manifest.epoch);
            let found = format!("one of epoch {header}");
            (walk.tell)(Error::corruption(&*path, 56, expected, found));
        }
        epoch = epoch.max(header);
        segment(walk, scan, entry, &path, &mut last)?;
    }
    Ok(())
}

/// Reads one segment to its end.
fn segment(
    walk: &mut Walk<'_>,
    mut scan: SegmentScan,
    entry: &SegmentEntry,
    path: &Path,
    last: &mut Last,
) -> Result<()> {
    let end = walk.view.log.filter(|_| entry.open);
    let (mut synced, mut is_sound) = (0, true);
    let mut before = scan.read();
    if let Err(error) = check_attested(before, before, entry, path) {
        walk.told(error)?;
    }
    loop {
        match scan.next()? {
            Next::Record(record) => {
                let limit = end.and_then(|end| end.synced);
                let wrong = look(&record, last, synced, limit);
                synced = record.head.synced.max(synced);
                let at = record.before.at;
                for (expected, found) in wrong {
                    (walk.tell)(Error::corruption(path, at, expected, found));
                }
                let read = scan.read();
                if is_sound && let Err(error) = check_attested(before, read, entry, path) {
                    walk.told(error)?;
                }
                before = read;
            }
            Next::End => break,
            Next::Stop(stop) => {
                let (at, upto) = (scan.position(), scan.file_end());
                let expected = format!("an intact record, since the log was written up to {upto}");
                (walk.tell)(Error::corruption(path, at, expected, stop.found));
                (is_sound, last.is_whole) = (false, false);
                match scan.go_behind_damage() {
                    Ok(Some(_)) => before = scan.read(),
                    Ok(None) => return Ok(()),
                    Err(error) => return walk.told(error),
                }
            }
        }
    }
    if let Some(LogEnd { at, version, .. }) = end.filter(|_| is_sound) {
        if scan.read() != at {
            let expected = format!("the last record that was written, of checksum {:08x}", at.link);
            let found = format!("another, of {:08x}", scan.read().link);
            (walk.tell)(Error::corruption(path, before.at, expected, found));
        }
        if version.is_some_and(|version| version != last.version) && last.is_whole {
            let expected = format!("a log that ends with version {}", version.unwrap_or(0));
            (walk.tell)(Error::corruption(
                path,
                at.at,
                expected,
                format!("version {}", last.version),
            ));
        }
    }
    Ok(())
}

/// What is wrong with an intact record: what was expected, and what was found.
fn look(
    record: &Record<'_>,
    last: &mut Last,
    synced_before: u64,
    synced_max: Option<u64>,
) -> Vec<(String, String)> {
    let RecordHead { kind, version, time_ms, synced } = record.head;
    let mut wrong = Vec::new();
    let is_commit = kind == RecordKind::Commit;
    let expected = last.version.saturating_add(u64::from(is_commit));
    let is_next = if last.is_whole { version == expected } else { version >= expected };
    if !is_next || time_ms < last.time_ms {
        wrong.push((
            format!("a record of version {expected} at {} ms or later", last.time_ms),
            format!("one of version {version} at {time_ms} ms"),
        ));
    }
    *last = Last { version, time_ms, is_whole: true };
    // What a segment is made with attests nothing.
    let is_of_log = synced == 0 || synced >= SEGMENT_HEADER_BYTES;
    if synced > record.before.at || !is_of_log || synced < synced_before {
        let at = record.before.at;
        wrong.push((
            format!("a record that attests {synced_before} bytes or more, and {at} at most"),
            format!("one that attests {synced}"),
        ));
    }
    if let Some(max) = synced_max.filter(|max| synced > *max) {
        let found = format!("one that attests {synced}");
        wrong.push((format!("a record that attests what was synced, {max} bytes at most"), found));
    }
    match kind {
        RecordKind::Commit => {
            if let Err(m) = change::decode(record.payload) {
                wrong.push((m.expected.to_owned(), m.found));
            }
        }
        RecordKind::Watermark | RecordKind::ClockFloor | RecordKind::Padding => {
            if record.payload.iter().any(|byte| *byte != 0) {
                let found = "other bytes in it".to_owned();
                wrong.push(("a record that holds no change".to_owned(), found));
            }
        }
    }
    wrong
}
