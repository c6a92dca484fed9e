//! What stands in a store's directory: its own files, and other people's.
//!
//! Invariants: a file is the store's if its name bears the store's id; whatever else stands there
//! is never removed. A number that such a name bears, be it of a directory, is never taken.

use std::io;
use std::path::Path;
use std::sync::Arc;

use runstone_vfs::{Access, FileKind, Vfs, read_full_at};

use crate::error::{Error, Result};
use crate::log::creation::EMPTY_SEGMENT_BYTES_MAX;
use crate::log::scan::SegmentScan;
use crate::log::segment::HEADER_LEN;
use crate::manifest::Manifest;
use crate::manifest::in_force::InForce;
use crate::names::{OwnName, StoreId};
use crate::place::Place;

/// What stands in a store's directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Files that bear the name of a segment or of a temporary file, in order.
    named: Vec<OwnName>,
    /// The greatest number that a name bears, whatever it names.
    greatest: u64,
    /// Whether there is a file of the manifest's name.
    pub(crate) has_manifest: bool,
    /// How many entries bear no name of a store.
    foreign: u64,
    /// One of them.
    stranger: Option<String>,
}

impl Listing {
    /// Error: [`Error::Io`].
    pub(crate) fn read(dir: &dyn Vfs, path: &Path) -> Result<Self> {
        let entries = dir.list(Path::new(".")).map_err(|e| Error::io("listing", path, e))?;
        let mut listing = Listing::default();
        for entry in entries {
            let own = OwnName::parse(&entry.name);
            if let Some(number) = own.and_then(OwnName::number) {
                listing.greatest = listing.greatest.max(number);
            }
            match own.filter(|_| entry.kind == FileKind::File) {
                Some(OwnName::Lock) => listing.foreign += u64::from(planted!(LockCountsAsForeign)),
                Some(OwnName::Manifest) => listing.has_manifest = true,
                Some(own) => listing.named.push(own),
                None => {
                    sometimes!("listing/name-taken", own.is_some());
                    listing.foreign += 1;
                    listing.note_stranger(&entry.name.to_string_lossy(), entry.kind);
                }
            }
        }
        listing.named.sort_unstable();
        Ok(listing)
    }

    /// Keeps the first stranger in the order of their names. What a new file system holds in its
    /// root is none.
    fn note_stranger(&mut self, name: &str, kind: FileKind) {
        let kind = match kind {
            FileKind::Dir if name == "lost+found" => return,
            FileKind::Dir => "directory",
            FileKind::File => "file",
            FileKind::Other => "special file or link",
        };
        let text = format!("the {kind} {name}");
        if self.stranger.as_ref().is_none_or(|known| text < *known) {
            self.stranger = Some(text);
        }
    }

    /// What stands there that is nobody's store.
    pub(crate) fn stranger(&self) -> Option<&str> {
        self.stranger.as_deref()
    }

    /// Why there is nothing to open: [`Error::NotAStore`] where files of others are, in which a
    /// store would not be made unasked; [`Error::NoStore`].
    pub(crate) fn no_store(&self, path: &Path) -> Error {
        match self.stranger() {
            Some(found) => Error::NotAStore { path: path.to_owned(), found: found.to_owned() },
            None => Error::NoStore { path: path.to_owned() },
        }
    }

    /// A number that no file bears, and none has borne as far as the manifest knows.
    pub(crate) fn next_number(&self, manifest: Option<&Manifest>) -> u64 {
        let borne = if planted!(RepairNotReentrant) { 0 } else { self.greatest };
        manifest.map_or(1, |manifest| manifest.next_file).max(borne + 1)
    }

    /// Refuses a directory without a manifest in which there is a table, or a log that holds
    /// records or may hold them: the manifest was lost, and a new store would hide them.
    ///
    /// Errors: [`Error::Corruption`], [`Error::UnsupportedFormat`], [`Error::Io`].
    pub(crate) fn refuse_lost_manifest(
        &self,
        dir: &dyn Vfs,
        dir_path: &Path,
        step_bytes: u64,
    ) -> Result<()> {
        for own in &self.named {
            let reason = match own {
                OwnName::Segment(..) => holds_records(dir, dir_path, *own, step_bytes)?,
                // No creation has made it.
                OwnName::Table(..) if !planted!(TableWithoutManifestIgnored) => {
                    sometimes!("recovery/table-without-manifest");
                    Some("is a table")
                }
                _ => None,
            };
            if let Some(reason) = reason {
                return Err(Error::corruption(
                    dir_path.join(OwnName::Manifest.file_name()),
                    0,
                    format_args!("a manifest, since {} {reason}", own.file_name()),
                    "no such file",
                ));
            }
        }
        Ok(())
    }

    /// Refuses a manifest that has lost edits at its end: there is a log that none of its own is
    /// behind, and a session has appended to it. No session does before the manifest that names it
    /// is durable, and one that is named no longer has a later one behind it. (What a recovery
    /// writes again into a new log, before its manifest, attests nothing.) Or the lost edit stands
    /// at the beginning of the log that it named, and that of a log in its place.
    ///
    /// Errors: [`Error::Corruption`], [`Error::Io`].
    pub(crate) fn refuse_lost_edit(
        &self,
        place: &Place,
        (manifest, in_force): (&Manifest, &InForce),
        step_bytes: u64,
    ) -> Result<()> {
        planted!(LostEditNotMissed => return Ok(()));
        let last = manifest.segments.last().map_or(0, |last| last.number);
        for own in &self.named {
            let OwnName::Segment(id, number) = *own else { continue };
            if id != manifest.store_id || number <= last {
                continue;
            }
            sometimes!("recovery/segment-behind-the-last");
            let path = place.path(*own);
            let file =
                place.open(*own, Access::Read).map_err(|e| Error::io("opening", &path, e))?;
            let proof = match SegmentScan::open(Arc::clone(&file), &path, None, step_bytes) {
                Ok(mut scan) if (scan.header().store_id, scan.header().number) == (id, number) => {
                    scan.has_appended_record()?.then_some("to which a session has appended")
                }
                // One that was never finished, or no log of that number, or of another program.
                Ok(_) | Err(Error::Corruption { .. } | Error::UnsupportedFormat { .. }) => {
                    let mut beginning = [0; HEADER_LEN];
                    let read = read_full_at(&*file, &mut beginning, 0)
                        .map_err(|e| Error::io("reading", &path, e))?;
                    let beginning = beginning.get(..read).unwrap_or_default();
                    in_force.was_exchanged_with(beginning).then_some("at whose beginning it stands")
                }
                Err(error) => return Err(error),
            };
            if let Some(proof) = proof {
                sometimes!("recovery/lost-edit-refused");
                let name = own.file_name();
                return Err(Error::corruption(
                    place.path(OwnName::Manifest),
                    0,
                    format_args!("an edit that names {name}, {proof}"),
                    "none: it has lost what was written at its end",
                ));
            }
        }
        Ok(())
    }

    /// The files that are of the store of this id and that `counts` does not name, and how many
    /// entries are not the store's.
    pub(crate) fn judge(
        &self,
        place: &Place,
        id: &StoreId,
        counts: impl Fn(u64) -> bool,
    ) -> (Vec<OwnName>, u64) {
        let (mut orphans, mut foreign) = (Vec::new(), self.foreign);
        for own in &self.named {
            match own {
                OwnName::Segment(bears, _)
                | OwnName::Temporary(bears, _)
                | OwnName::Table(bears, _)
                    if bears != id && !planted!(FileOfOtherStoreRemoved) =>
                {
                    sometimes!("recovery/of-another-store");
                    foreign += 1;
                }
                OwnName::Segment(_, number) if counts(*number) && !is_forgotten(place, *own) => {}
                OwnName::Table(_, number) if counts(*number) => {}
                OwnName::Table(..) if planted!(OrphanTableKept) => {}
                OwnName::Table(..) => {
                    sometimes!("recovery/orphan-table");
                    orphans.push(*own);
                }
                OwnName::Segment(..) => {
                    sometimes!("recovery/orphan-segment");
                    orphans.push(*own);
                }
                OwnName::Temporary(..) => {
                    sometimes!("recovery/orphan-temporary");
                    orphans.push(*own);
                }
                OwnName::Manifest | OwnName::Lock => {}
            }
        }
        (orphans, foreign)
    }
}

/// Why a segment may hold records; `None` if it holds none.
///
/// Errors: [`Error::UnsupportedFormat`], [`Error::Io`].
fn holds_records(
    dir: &dyn Vfs,
    dir_path: &Path,
    own: OwnName,
    step_bytes: u64,
) -> Result<Option<&'static str>> {
    sometimes!("recovery/segment-without-manifest");
    let path = dir_path.join(own.file_name());
    let file = dir
        .open(Path::new(&own.file_name()), Access::Read)
        .map_err(|e| Error::io("opening", &path, e))?;
    match SegmentScan::open(Arc::clone(&file), &path, None, step_bytes) {
        Ok(mut scan) => {
            let holds = scan.has_any_record()?;
            sometimes!("recovery/lost-manifest-refused", holds);
            Ok(holds.then_some("holds records"))
        }
        // Without a header no record can be judged. But a creation that was cut short has left no
        // more than a header: what is longer was a log.
        Err(Error::Corruption { .. }) => {
            let length = file.len().map_err(|e| Error::io("reading the length of", &path, e))?;
            sometimes!("recovery/unfinished-creation-without-header");
            Ok((length > EMPTY_SEGMENT_BYTES_MAX)
                .then_some("is longer than a new log, and its header is damaged"))
        }
        Err(error) => Err(error),
    }
}

/// Never, but for a planted bug: a segment that cannot be read now still counts.
fn is_forgotten(place: &Place, name: OwnName) -> bool {
    let read = || -> io::Result<u64> { place.open(name, Access::Read)?.len() };
    let forgets = planted!(ReadErrorForgetsReference);
    forgets && read().is_err()
}
