//! What an opening may show: the clauses of the crash contract, for one recovered store.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use runstone::{Database, WriteOptions};
use runstone_vfs::{Access, Vfs, read_full_at};

use super::lazy::LazyVfs;
use super::session::{DIR, Promise, WALL_BACK_MS, batch};
use super::{Breach, Checked};
use crate::disk::CrashKind;
use crate::harness::case::{ChangeSpec, LevelSpec, run_id};
use crate::harness::oracle;

/// Checks what a recovery shows; returns its version.
///
/// `allowed` are the versions that a single recovery could have reached, if this is the
/// second or a later one.
pub(super) fn check_shown(
    db: &Database,
    promise: &Promise,
    kind: CrashKind,
    allowed: Option<&BTreeSet<u64>>,
) -> Checked<u64> {
    let version = db.storage().version();
    let now = db.storage().now().as_millis();
    // C2, C3, C4: the effect of a prefix, with the versions that were returned.
    let Some(history) = promise.history(version) else {
        let message = format!("version {version} of {} is shown", promise.longest);
        return Err(Breach::new("C2", message));
    };
    oracle::compare(db, history, now).map_err(|message| Breach::new("C2", message))?;
    // C1, C13: no shorter than was promised.
    let (floor, clause) = match kind {
        CrashKind::Process if promise.written > promise.durable => (promise.written, "C13"),
        _ => (promise.durable, "C1"),
    };
    if version < floor {
        let message = format!("version {version} is recovered, but {floor} was promised");
        return Err(Breach::new(clause, message));
    }
    // C8: convergence.
    if let Some(allowed) = allowed.filter(|allowed| !allowed.contains(&version)) {
        let message = format!("version {version}, where a single recovery reaches {allowed:?}");
        return Err(Breach::new("C8", message));
    }
    // C11: time does not go back behind what was recovered, or flushed.
    let floor = history.time_ms().max(promise.time_floor).max(WALL_BACK_MS);
    if now < floor || now > promise.time_max.max(WALL_BACK_MS) {
        let message = format!("time is {now}, not from {floor} to {}", promise.time_max);
        return Err(Breach::new("C11", message));
    }
    // C4: no epoch twice.
    let report = db.recovery_report();
    let epoch = report.epoch + u64::from(report.clean && !report.created);
    if epoch <= promise.epoch_max {
        let message = format!("epoch {epoch} is given again, after {}", promise.epoch_max);
        return Err(Breach::new("C4", message));
    }
    if report.created && promise.durable > 0 {
        return Err(Breach::new("C1", "the store was made anew"));
    }
    let mut interrupted: Vec<_> = history.active_runs().into_iter().map(run_id).collect();
    interrupted.sort_unstable();
    if report.clean {
        interrupted.clear();
    }
    if report.interrupted_runs != interrupted {
        let message = format!("interrupted runs {:?}", report.interrupted_runs);
        return Err(Breach::new("report", message));
    }
    Ok(version)
}

/// C10, C12: maintenance drains, nothing is left behind, and a durable write is accepted.
pub(super) fn check_usable(db: &Database, vfs: &LazyVfs, promise: &Promise) -> Checked {
    let mut drained = false;
    for _ in 0..64 {
        let report = db.maintain().map_err(|e| Breach::new("C10", format!("maintenance: {e}")))?;
        drained = report.left == 0;
        if drained {
            break;
        }
    }
    if !drained {
        return Err(Breach::new("C10", "maintenance does not drain"));
    }
    let version = db.storage().version();
    let mut history = promise.history(version).cloned().unwrap_or_default();
    let probe = [ChangeSpec::Begin { run: 9, parent: None, tags: 0 }];
    let options = WriteOptions { durability: LevelSpec::Strict.level() };
    let due = history.commit(&probe, db.storage().now().as_millis());
    match db.write_with(batch(&probe), options) {
        Ok(version) if version == due => {}
        outcome => return Err(Breach::new("C10", format!("a write gave {outcome:?}, not {due}"))),
    }
    let image = image(vfs).map_err(|e| Breach::new("C12", e))?;
    oracle::leaks(&image, Path::new(DIR)).map_err(|message| Breach::new("C12", message))
}

/// The manifest, and the heads of the files of the store's naming.
fn image(vfs: &LazyVfs) -> std::io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut image = BTreeMap::new();
    for entry in vfs.list(Path::new(DIR))? {
        let path = Path::new(DIR).join(&entry.name);
        let file = vfs.open(&path, Access::Read)?;
        // The header of a segment; the whole of a manifest.
        let is_segment = path.extension().is_some_and(|kind| kind == "log");
        let length = if is_segment { 64 } else { file.len()? };
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let n = read_full_at(&*file, &mut bytes, 0)?;
        bytes.truncate(n);
        image.insert(path, bytes);
    }
    Ok(image)
}
