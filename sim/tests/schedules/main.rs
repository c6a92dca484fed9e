//! The commit path under a schedule explorer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod explorer;
use runstone::*;
use std::sync::Arc;

#[test]
fn thin() {
    let start = std::time::Instant::now();
    let seen = explorer::explore(0..20000, |_tape| {
        let db = Database::builder()
            .background(false)
            .vfs(Arc::new(runstone::vfs::MemVfs::new()))
            .open("/memory")
            .map_err(|e| e.to_string())?;
        let run = RunId::from_bytes([1; 16]);
        db.begin_run(run, NO_TAGS).map_err(|e| e.to_string())?;
        let threads: Vec<_> = (0..2i64)
            .map(|t| {
                let db = db.clone();
                shuttle::thread::spawn(move || [0, 1].map(|n| db.put(run, "k", t * 2 + n).unwrap()))
            })
            .collect();
        let mut all: Vec<u64> = threads.into_iter().flat_map(|t| t.join().unwrap()).collect();
        all.sort();
        if all != [2, 3, 4, 5] {
            return Err(format!("{all:?}"));
        }
        Ok(())
    });
    println!("{seen:?} {:?}", start.elapsed());
    assert_eq!(seen.failure, None);
}
