//! Whether a segment is the one that the manifest names, and whether its end is one.
//!
//! Invariants: only reads; what cannot be told from damage is refused, never passed over.

use std::io;
use std::path::Path;

use runstone_vfs::Access;

use crate::error::{Error, Result};
use crate::log::record::{End, NotIntact};
use crate::log::scan::SegmentScan;
use crate::log::segment::hex;
use crate::manifest::{Manifest, SegmentEntry};
use crate::names::OwnName;
use crate::place::Place;

/// Opens a segment that the manifest names, up to an end or to that of the file, and compares what
/// it says of itself.
///
/// Errors: [`Error::Corruption`] if it is missing, damaged or another; [`Error::Io`].
pub(crate) fn open_segment(
    place: &Place,
    manifest: &Manifest,
    entry: &SegmentEntry,
    end: Option<u64>,
    step_bytes: u64,
) -> Result<SegmentScan> {
    let name = OwnName::Segment(manifest.store_id, entry.number);
    let path = &place.path(name);
    let file = match place.open(name, Access::Read) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            sometimes!("recovery/segment-missing");
            return Err(Error::corruption(
                path,
                0,
                "a log file, which the manifest names",
                "no such file",
            ));
        }
        Err(e) => return Err(Error::io("opening", path, e)),
    };
    let scan = SegmentScan::open(file, path, end, step_bytes)?;
    let header = scan.header();
    if header.store_id != manifest.store_id {
        sometimes!("recovery/segment-of-other-store");
        return Err(Error::corruption(
            path,
            16,
            format_args!("a log file of this store (id {})", hex(&manifest.store_id)),
            format_args!("one of another store (id {})", hex(&header.store_id)),
        ));
    }
    if header.number != entry.number || header.salt != entry.salt {
        sometimes!("recovery/segment-of-other-number");
        return Err(Error::corruption(
            path,
            32,
            format_args!("log file {}, made as {}", entry.number, hex(&entry.salt)),
            format_args!(
                "another or an older log file of this store: {}, made as {}",
                header.number,
                hex(&header.salt)
            ),
        ));
    }
    if scan.file_end() < entry.attested.at {
        sometimes!("recovery/segment-too-short");
        return Err(Error::corruption(
            path,
            scan.file_end(),
            format_args!("at least the {} bytes that the manifest vouches for", entry.attested.at),
            format_args!("the end of the file after {} bytes", scan.file_end()),
        ));
    }
    Ok(scan)
}

/// Whether the records up to the attested length are those that the manifest was written behind;
/// `before` and `read` are where the record that was read last begins and ends.
pub(crate) fn check_attested(
    before: End,
    read: End,
    entry: &SegmentEntry,
    path: &Path,
) -> Result<()> {
    let End { at, link } = entry.attested;
    if read.at < at || before.at > at || (read.at > at && before.at == at) {
        return Ok(());
    }
    if read == entry.attested || planted!(AttestedLinkNotChecked) {
        return Ok(());
    }
    sometimes!("recovery/attested-records-are-others");
    let found = match read.at == at {
        true => format!("other records, of which the last has {:08x}", read.link),
        false => format!("other records, of which one ends at {}", read.at),
    };
    Err(Error::corruption(
        path,
        before.at,
        format_args!(
            "the records up to {at} that the manifest vouches for, of which the last has the checksum {link:08x}"
        ),
        found,
    ))
}

/// Whether a record that is not intact is the end of the log; otherwise the error.
pub(super) fn judge_stop(
    scan: &mut SegmentScan,
    path: &Path,
    entry: &SegmentEntry,
    stop: NotIntact,
    last_version: u64,
) -> Result<()> {
    let at = scan.position();
    planted!(TornTailFatal => return Err(Error::corruption(path, at, "an intact record", stop.found)));
    planted!(DamagedHeadEndsLog => if !stop.found.contains("checksum") { return Ok(()) });
    if at < entry.attested.at {
        planted!(LengthOnlyValidation => return Ok(()));
        sometimes!("recovery/damage-below-attested");
        return Err(Error::corruption(
            path,
            at,
            format_args!(
                "an intact record, since the manifest vouches for the first {} bytes",
                entry.attested.at
            ),
            stop.found,
        ));
    }
    let found = scan.find_proof_behind(last_version)?;
    if let Some((proof, synced)) = found.filter(|_| !planted!(ProofBehindIgnored)) {
        sometimes!("recovery/damage-proven-by-later-record");
        return Err(Error::corruption(
            path,
            at,
            format_args!(
                "an intact record, since a later one, at {proof}, says that the first {synced} bytes had reached the disk"
            ),
            stop.found,
        ));
    }
    Ok(())
}
