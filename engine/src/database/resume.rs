//! Going on after a clean close, in the segment in which it ended.

use runstone_vfs::Access;

use crate::error::{Error, Result};
use crate::log::segment::SegmentHeader;
use crate::log::writer::LogWriter;
use crate::manifest::Manifest;
use crate::names::OwnName;
use crate::options::Options;
use crate::place::Place;
use crate::recovery::Replay;
use crate::recovery::listing::Listing;

/// After a clean close: goes on where it ended. Nothing is written before the first commit.
pub(super) fn resume(
    place: &Place,
    mut manifest: Manifest,
    listing: &Listing,
    replay: &Replay,
    options: &Options,
) -> Result<(Manifest, LogWriter)> {
    manifest.next_file = listing.next_number(Some(&manifest));
    let Some(last) = manifest.segments.last() else {
        let path = place.path(OwnName::Manifest);
        return Err(Error::corruption(path, 0, "a manifest with a segment", "one without"));
    };
    let name = OwnName::Segment(manifest.store_id, last.number);
    let path = place.path(name);
    let file = place.open(name, Access::ReadWrite);
    let file = file.map_err(|e| Error::io("opening for writing", &path, e))?;
    let length = file.len().map_err(|e| Error::io("reading the length of", &path, e))?;
    let header = SegmentHeader {
        store_id: manifest.store_id,
        salt: last.salt,
        number: last.number,
        epoch: manifest.epoch,
    };
    let mut writer = LogWriter::new(file, &path, &header, last.attested, length, options);
    if replay.proven_in_last > 0 {
        writer.holds_records();
    }
    Ok((manifest, writer))
}
