//! The whole life of a store: a run begins, writes, ends; the program stops, and reads it again.
//!
//! `cargo run -p runstone --example quickstart`

use std::time::Duration;

use runstone::{Database, KVStore, RunFilter, RunId, RunStatus, Value, WriteBatch};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let path = dir.path().join("store");

    // 1. Open. By default a write is durable when it is acknowledged.
    let db = Database::open(&path)?;
    println!("created: {}", db.recovery_report().created);

    // 2. All data belongs to a run. The caller makes its id.
    let run = RunId::new();
    db.begin_run(run, [("task", "demo")])?;

    // 3. Write: single keys, keys that expire, batches that take effect as one.
    let version = db.put(run, "greeting", "hello")?;
    println!("the put is commit {version}");
    db.put_with_ttl(run, "lease", 1, Some(Duration::from_secs(3600)))?;
    let mut batch = WriteBatch::new();
    batch.put(run, "step/1", true).put(run, "step/2", 0.5).delete(run, "nothing");
    db.write(batch)?;

    // 4. Read: one key, a prefix, or a moment that stays as it is.
    let before = db.snapshot()?;
    db.put(run, "greeting", "good bye")?;
    assert_eq!(before.get(run, "greeting")?, Some(Value::from("hello")));
    assert_eq!(db.get(run, "greeting")?, Some(Value::from("good bye")));
    assert_eq!(db.list(run, "step/")?.len(), 2);
    assert!(db.get_versioned(run, "lease")?.is_some_and(|lease| lease.expires_at.is_some()));
    drop(before);

    // 5. Bytes in, bytes out, for those who bring their own encoding.
    let kv = KVStore::new(db.clone());
    kv.put(run, "raw", [1, 2, 3])?;
    assert_eq!(kv.get(run, "raw")?, Some(vec![1, 2, 3]));

    // 6. End the run, and close. A run that has ended can be read for ever, never written.
    db.end_run_with(run, RunStatus::Completed)?;
    assert!(db.put(run, "late", 1).is_err());
    db.close()?;

    // 7. Open again: everything is there.
    let db = Database::open(&path)?;
    let report = db.recovery_report();
    println!("clean: {}, commits replayed: {}", report.clean, report.replayed_commits);
    for entry in db.runs(RunFilter::default())? {
        let entry = entry?;
        let (first, last) = (entry.first_version, entry.last_version);
        println!(
            "run {} {}: versions {first} to {last}, {:?}",
            entry.run_id, entry.status, entry.tags
        );
    }
    for item in db.scan(run, "g"..)? {
        let (key, found) = item?;
        println!(
            "{} = {:?} (version {})",
            String::from_utf8_lossy(&key),
            found.value,
            found.version
        );
    }
    Ok(())
}
