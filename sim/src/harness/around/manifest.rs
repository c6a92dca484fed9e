//! Somebody puts another manifest into the store's directory.
//!
//! Invariant: nothing is written into it.

use std::path::Path;

use runstone::{Database, Error};
use runstone_vfs::{Access, Vfs, write_all_at};

use super::Excursion;
use super::trip::{MANIFEST, Trip, same, same_files};
use crate::disk::NameEvent;
use crate::harness::world::DIR;

impl Excursion {
    pub(super) fn manifest_replaced(&self) -> Trip {
        let db = self.owner(DIR)?;
        self.open("/other").and_then(|db| self.work_and_close(&db))?;
        let name = Path::new(DIR).join(MANIFEST);
        let other = self.disk.read_whole(&Path::new("/other").join(MANIFEST), false);
        let other = other.ok_or(("harness", "another store has no manifest".to_owned()))?;
        if self.late.is_some() && !self.twist(6) {
            return self.manifest_overwritten(db, &name, other);
        }
        self.be_busy(&db)?;
        if self.twist(6) {
            self.outside(|disk| disk.remove(&name))?;
            self.put_file(&name, &other)?;
        } else {
            self.outside(|disk| {
                let file = disk.open(&name, Access::ReadWrite)?;
                file.set_len(0)?;
                write_all_at(&*file, &other, 0)?;
                file.sync()
            })?;
        }
        let others = self.below(DIR);
        match self.twist(6) {
            true => self.is_displaced(&db)?,
            // By its name it is the same file: only a close reads it again.
            false => {
                let closed = db.close();
                if !matches!(closed, Err(Error::Displaced { .. })) {
                    let message = format!("a close over another manifest answered {closed:?}");
                    return Err(("owner", message));
                }
            }
        }
        drop(db);
        same("the other manifest", &self.disk.read_whole(&name, false), &Some(other))?;
        match self.twist(6) {
            true => Ok(()),
            // Nothing is written before it is asked whose directory it is.
            false => same_files(&self.below(DIR), &others),
        }
    }

    /// In the middle of its work: nothing is written into the other manifest.
    fn manifest_overwritten(&self, db: Database, name: &Path, other: Vec<u8>) -> Trip {
        let id = || self.outside(|disk| disk.open(name, Access::Read)?.id());
        let event = NameEvent::Overwrite { path: name.to_owned(), content: other.clone() };
        let before = id()?;
        self.strike(&db, event)?.is_whole_or_displaced()?;
        let closed = db.close();
        drop(db);
        // Where it was replaced, that was before, or behind the last look at it.
        if id()? != before {
            return Ok(());
        }
        if !matches!(closed, Err(Error::Displaced { .. })) {
            return Err(("owner", format!("a close over another manifest answered {closed:?}")));
        }
        same("the other manifest", &self.disk.read_whole(name, false), &Some(other))
    }
}
