//! Going on after a clean close, in the segment in which it ended.

use runstone_vfs::Access;

use crate::error::{Error, Result};
use crate::log::creation::Place;
use crate::log::segment::SegmentHeader;
use crate::log::writer::LogWriter;
use crate::manifest::Manifest;
use crate::names::OwnName;
use crate::options::Options;
use crate::recovery::Listing;

/// After a clean close: goes on where it ended. Nothing is written before the first commit.
pub(super) fn resume(
    place: &Place,
    mut manifest: Manifest,
    listing: &Listing,
    options: &Options,
) -> Result<(Manifest, LogWriter)> {
    manifest.next_file = listing.next_number(Some(&manifest));
    let Some(last) = manifest.segments.last() else {
        return Err(Error::corruption(&place.dir, 0, "a manifest with a segment", "one without"));
    };
    let path = place.path(OwnName::Segment(last.number));
    let file = place.vfs.open(&path, Access::ReadWrite);
    let file = file.map_err(|e| Error::io("opening", &path, e))?;
    let length = file.len().map_err(|e| Error::io("reading the length of", &path, e))?;
    let header = SegmentHeader {
        store_id: manifest.store_id,
        salt: last.salt,
        number: last.number,
        epoch: manifest.epoch,
    };
    let writer = LogWriter::new(file, &path, &header, last.attested, length, options);
    Ok((manifest, writer))
}
