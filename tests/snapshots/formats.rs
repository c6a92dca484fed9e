//! On-disk formats: an annotated dump of everything that the engine writes into files.

use std::time::Duration;

use runstone::{
    Compression, Database, DurabilityMode, EventEntry, Namespace, Options, RunOptions, RunStatus,
    StateMachineEntry, Timestamp, TraceEntry, Value, WriteBatch,
};

use crate::dump;
use crate::fixture::{START_MS, World, options, run};
use crate::manifest_dump;
use crate::settings::check;
use crate::table_dump;

const STRICT: DurabilityMode = DurabilityMode::Strict;

/// A database with run 1 begun, so that the next record is the one of interest.
fn with_run() -> (World, Database) {
    let world = World::new();
    let db = world.open(options(STRICT));
    db.begin_run(run(1), [("", ""); 0]).unwrap();
    (world, db)
}

/// The dump of the last record of the first segment.
fn last_record(world: &World) -> String {
    let segment = world.file("000001.log");
    let place = *dump::records(&segment).last().expect("a record");
    dump::record(&segment, place)
}

#[test]
fn the_lock_file_of_a_store_reads_as_documented() {
    let world = World::new();
    drop(world.open(options(STRICT)));
    check!(
        "format_lock_file",
        "runstone.lock after the creation of a store",
        &dump::lock_file(&world.file("runstone.lock")),
    );
}

#[test]
fn the_manifest_of_a_fresh_store_reads_as_documented() {
    let world = World::new();
    let _db = world.open(options(STRICT));
    check!(
        "format_manifest_fresh",
        "runstone.manifest after the creation of a store: epoch 1, one open segment with only a header",
        &manifest_dump::manifest(&world.file("runstone.manifest")),
    );
}

#[test]
fn the_manifest_of_a_cleanly_closed_store_reads_as_documented() {
    let (world, db) = with_run();
    db.close().unwrap();
    check!(
        "format_manifest_clean",
        "runstone.manifest after a clean close: the attested length is the log's end",
        &manifest_dump::manifest(&world.file("runstone.manifest")),
    );
}

#[test]
fn the_manifest_with_two_segments_reads_as_documented() {
    let (world, db) = with_run();
    for n in 0..2 {
        db.put(run(1), format!("big {n}"), vec![n; 2500]).unwrap();
    }
    check!(
        "format_manifest_two_segments",
        "runstone.manifest after a rotation: the first segment ends at its attested length",
        &manifest_dump::manifest(&world.file("runstone.manifest")),
    );
}

/// Two runs; a key with a prefix in common, one that expires, one deleted, one large value.
fn with_a_table() -> World {
    let world = World::new();
    let db = world.open(Options { flush_bytes: 1, extent_bytes_min: 300, ..options(STRICT) });
    db.begin_run(run(1), [("task", "demo")]).unwrap();
    db.begin_run(run(2), [("", ""); 0]).unwrap();
    db.put(run(1), "step/1", "first").unwrap();
    db.put_with_ttl(run(1), "step/2", 7, Some(Duration::from_secs(60))).unwrap();
    db.maintain().unwrap();
    // What is deleted now is in a table: it takes a tombstone.
    db.delete(run(1), "step/1").unwrap();
    db.put(run(1), "step/3", true).unwrap();
    db.put(run(2), "large", vec![0; 300]).unwrap();
    db.maintain().unwrap();
    world
}

#[test]
fn a_table_reads_as_documented() {
    let world = with_a_table();
    check!(
        "format_table",
        "The second table of a store: a tombstone, values, an extent, and a run's record",
        &table_dump::table(&world.file("000007.table")),
    );
}

#[test]
fn a_table_of_compressed_blocks_reads_as_documented() {
    let world = World::new();
    let options = Options { flush_bytes: 1, block_bytes: 300, ..options(STRICT) };
    let db = world.open(Options { compression: Compression::Lz4, ..options });
    db.begin_run(run(1), [("task", "demo")]).unwrap();
    for step in 1..4 {
        db.put(run(1), format!("step/{step}"), "the same again, ".repeat(8)).unwrap();
    }
    db.maintain().unwrap();
    let name = world.names().into_iter().find(|name| name.ends_with(".table")).unwrap();
    check!(
        "format_table_compressed",
        "The first table of a store: a block whose values are alike, and others, compressed",
        &table_dump::table(&world.file(&name)),
    );
}

#[test]
fn the_manifest_with_tables_reads_as_documented() {
    let world = with_a_table();
    check!(
        "format_manifest_tables",
        "runstone.manifest after two flushes: the newer level first, and no segment before them",
        &manifest_dump::manifest(&world.file("runstone.manifest")),
    );
}

#[test]
fn the_manifest_in_the_middle_of_a_merge_reads_as_documented() {
    let world = World::new();
    let (flush_bytes, table_bytes_max, levels_per_tier) = (1, 1900, 2);
    let options = Options { flush_bytes, table_bytes_max, levels_per_tier, ..options(STRICT) };
    let db = world.open(options);
    db.begin_run(run(1), [("", ""); 0]).unwrap();
    for (keys, bytes) in [("acegikmo", 200), ("bn", 2)] {
        for key in keys.as_bytes().chunks(1) {
            db.put(run(1), key, vec![7; bytes]).unwrap();
        }
        // The second time: a flush, and the first table of the merge, that of the reserved space.
        db.maintain().unwrap();
    }
    check!(
        "format_manifest_merging",
        "runstone.manifest in a merge of two levels: what is left of the upper one joins the lower",
        &manifest_dump::manifest(&world.file("runstone.manifest")),
    );
}

#[test]
fn the_segment_header_reads_as_documented() {
    let world = World::new();
    let _db = world.open(options(STRICT));
    check!(
        "format_segment_header",
        "The first 72 bytes of runstone-ID-000001.log",
        &dump::segment_header(&world.file("000001.log")),
    );
}

#[test]
fn a_commit_with_one_put_reads_as_documented() {
    let (world, db) = with_run();
    db.put(run(1), "key", "value").unwrap();
    check!("format_record_put", "put(run 1, \"key\", \"value\")", &last_record(&world));
}

#[test]
fn a_commit_with_an_expiring_put_reads_as_documented() {
    let (world, db) = with_run();
    db.put_with_ttl(run(1), "key", 7, Some(Duration::from_secs(60))).unwrap();
    check!(
        "format_record_put_expiring",
        "put_with_ttl(run 1, \"key\", 7, 60 s): the expiry is absolute",
        &last_record(&world),
    );
}

#[test]
fn a_commit_with_a_delete_reads_as_documented() {
    let (world, db) = with_run();
    db.delete(run(1), "key").unwrap();
    check!("format_record_delete", "delete(run 1, \"key\")", &last_record(&world));
}

#[test]
fn a_commit_that_begins_a_run_reads_as_documented() {
    let (world, db) = with_run();
    let begin = RunOptions::default()
        .namespace(Namespace::new("acme", "mailer", "writer", run(2)))
        .parent(run(1))
        .tags([("attempt", "2"), ("task", "demo")]);
    db.begin_run_with(run(2), begin).unwrap();
    check!(
        "format_record_begin_run",
        "begin_run_with(run 2, namespace, parent run 1, two tags)",
        &last_record(&world),
    );
}

#[test]
fn a_commit_that_ends_a_run_reads_as_documented() {
    let (world, db) = with_run();
    db.end_run_with(run(1), RunStatus::Failed).unwrap();
    check!("format_record_end_run", "end_run_with(run 1, failed)", &last_record(&world));
}

#[test]
fn a_commit_that_drops_a_run_reads_as_documented() {
    let (world, db) = with_run();
    db.end_run(run(1)).unwrap();
    db.drop_run(run(1)).unwrap();
    check!("format_record_drop_run", "drop_run(run 1)", &last_record(&world));
}

#[test]
fn a_commit_that_removes_ranges_reads_as_documented() {
    let (world, db) = with_run();
    let mut batch = WriteBatch::new();
    batch.remove_range(run(1), "a"..="b").remove_range::<&str, _>(run(1), "x"..);
    db.write(batch).unwrap();
    check!(
        "format_record_remove_range",
        "remove_range(run 1, \"a\"..=\"b\"), remove_range(run 1, \"x\"..)",
        &last_record(&world),
    );
}

#[test]
fn a_commit_that_counts_keys_reads_as_documented() {
    let (world, db) = with_run();
    let mut batch = WriteBatch::new();
    batch.begin_run_with(run(2), RunOptions::default().count_keys(true));
    batch.put(run(2), "a", 1).end_run(run(2), RunStatus::Completed);
    db.write(batch).unwrap();
    check!(
        "format_record_key_count",
        "The begin of run 2 with count_keys, a put, and its end: none at its begin, one before its end",
        &last_record(&world),
    );
}

#[test]
fn a_table_of_removals_reads_as_documented() {
    let world = World::new();
    let db = world.open(Options { flush_bytes: 1, ..options(STRICT) });
    db.begin_run(run(1), [("", ""); 0]).unwrap();
    db.put(run(1), "step/1", "first").unwrap();
    db.maintain().unwrap();
    db.remove_range(run(1), "step/"..).unwrap();
    db.maintain().unwrap();
    let name = world.names().into_iter().filter(|name| name.ends_with(".table")).max().unwrap();
    check!(
        "format_table_removal",
        "The second table of a store: a run's record, and a removal of a range of its keys",
        &table_dump::table(&world.file(&name)),
    );
}

#[test]
fn a_batch_over_two_runs_reads_as_documented() {
    let (world, db) = with_run();
    db.begin_run(run(2), [("", ""); 0]).unwrap();
    let mut batch = WriteBatch::new();
    batch.put(run(1), "a", true).put(run(1), "b", ()).delete(run(2), "c");
    batch.end_run(run(2), RunStatus::Completed);
    db.write(batch).unwrap();
    check!(
        "format_record_batch",
        "A batch: two puts in run 1, then a delete and the end of run 2; one record, one version",
        &last_record(&world),
    );
}

#[test]
fn a_watermark_record_reads_as_documented() {
    let (world, db) = with_run();
    world.clock.advance(1000);
    db.tick().unwrap();
    check!(
        "format_record_watermark",
        "What an idle log gets after a sync: its synced offset is its own offset",
        &last_record(&world),
    );
}

#[test]
fn a_clock_floor_record_reads_as_documented() {
    let (world, db) = with_run();
    world.clock.advance(1000);
    db.flush().unwrap();
    check!(
        "format_record_clock_floor",
        "What a flush logs: the engine's time, without a version of its own",
        &last_record(&world),
    );
}

#[test]
fn a_padding_record_reads_as_documented() {
    let world = World::new();
    let mut options = options(STRICT);
    options.pad_to_sector = true;
    let db = world.open(options);
    db.begin_run(run(1), [("", ""); 0]).unwrap();
    check!(
        "format_record_padding",
        "With pad_to_sector: fills the group's last 512-byte sector",
        &last_record(&world),
    );
}

#[test]
fn every_kind_of_value_reads_as_documented() {
    let (world, db) = with_run();
    let at = Timestamp::from_millis(START_MS);
    let metadata = db.get_run(run(1)).unwrap().expect("begun");
    let values: [Value; 10] = [
        ().into(),
        true.into(),
        (-2).into(),
        0.5.into(),
        "grün".into(),
        vec![0, 1, 2].into(),
        EventEntry { sequence: 9, event_type: "sent".into(), payload: vec![1, 2], timestamp: at }
            .into(),
        StateMachineEntry { state: "idle".into(), version: 4, updated_at: at }.into(),
        TraceEntry {
            trace_id: "t2".into(),
            parent_id: Some("t1".into()),
            trace_type: "call".into(),
            content: vec![0xff],
            timestamp: at,
        }
        .into(),
        metadata.into(),
    ];
    let mut batch = WriteBatch::new();
    for (n, value) in (0..).zip(values) {
        batch.put(run(1), [b'a' + n], value);
    }
    db.write(batch).unwrap();
    check!("format_values", "One batch with a value of every kind", &last_record(&world));
}

#[test]
fn a_whole_segment_is_a_header_and_records_back_to_back() {
    let (world, db) = with_run();
    db.put(run(1), "k", 1).unwrap();
    db.close().unwrap();
    let segment = world.file("000001.log");
    let end = dump::records(&segment).last().map(|(at, len)| at + len);
    assert_eq!(end, Some(segment.len()), "a clean close cuts the file to its records");
    assert!(dump::all_records(&segment).contains("clock floor"), "a close logs the clock floor");
}
