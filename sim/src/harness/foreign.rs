//! A file that is not the store's, in the store's directory.
//!
//! It must be left alone (C12). In half of the cases it is a log of another store, whole, with
//! the same options: blocks of it, where a crash leaves garbage, are the records that are
//! hardest to tell from the store's own.

use std::io;
use std::path::Path;
use std::sync::Arc;

use runstone::{Database, Error};
use runstone_vfs::{Access, MemVfs, Vfs, read_full_at};

use super::case::{Case, run_id};
use super::guard::bounded;
use super::world::{DIR, SimClock, SimEntropy};
use crate::rng::Rng;

/// In one case of so many there is such a file.
const FOREIGN_ONE_IN: u64 = 4;
/// How many commits the other store has.
const COMMITS: u8 = 12;

/// What the file of a case holds; nothing if it has none.
///
/// The engine runs for it: its marks are for the caller to drop.
pub(super) fn content(case: &Case, wall_ms: u64) -> Vec<u8> {
    if !case.seed.is_multiple_of(FOREIGN_ONE_IN) {
        return Vec::new();
    }
    let plain = b"not the store's".to_vec();
    if case.seed.is_multiple_of(2 * FOREIGN_ONE_IN) {
        return plain;
    }
    let other = bounded(|| other_store(case, wall_ms).ok());
    other.ok().flatten().unwrap_or(plain)
}

/// The first log of a store with the options of a case.
fn other_store(case: &Case, wall_ms: u64) -> Result<Vec<u8>, Error> {
    let vfs: Arc<dyn Vfs> = Arc::new(MemVfs::new());
    // Of the same stream, turned round: ids that are as random as the store's, and not its own.
    let mut rng = Rng::from_seed(!case.seed);
    let db = Database::builder()
        .options(case.options.engine())
        .vfs(vfs.clone())
        .clock(Arc::new(SimClock::new(wall_ms)))
        .entropy(Arc::new(SimEntropy::new(Rng::from_seed(rng.next_u64()))))
        .open(DIR)?;
    let run = run_id(0);
    db.begin_run(run, [("of", "another")])?;
    for key in 0..COMMITS {
        let value = vec![key; usize::try_from(rng.below(600)).unwrap_or(0)];
        db.put(run, [key], value)?;
    }
    db.close()?;
    let read = || -> io::Result<Vec<u8>> {
        let logs = vfs.list(Path::new(DIR))?.into_iter().map(|entry| entry.name);
        let name = logs.filter(|name| name.to_string_lossy().ends_with(".log")).min();
        let name = name.ok_or(io::ErrorKind::NotFound)?;
        let file = vfs.open(&Path::new(DIR).join(name), Access::Read)?;
        let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(0)];
        let n = read_full_at(&*file, &mut bytes, 0)?;
        bytes.truncate(n);
        Ok(bytes)
    };
    Ok(read().unwrap_or_default())
}
