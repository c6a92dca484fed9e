//! Every call that reaches the disk, in canonical scenarios, under each durability mode.
//!
//! One more sync, one write less, another order: each is a diff here. Calls that make something
//! durable stand in capitals.

use std::path::Path;
use std::sync::Arc;

use runstone::{Database, DurabilityMode, Options, Preallocation, WriteBatch, WriteOptions};
use runstone_sim::disk::CrashKind;
use runstone_vfs::{Access, Vfs, write_all_at};

use crate::dump;
use crate::fixture::{DIR, World, options, own_path, run};
use crate::recorder::{Lines, Recorder};
use crate::settings::check;

/// The modes; their intervals differ from every other time in the scenarios.
const MODES: [DurabilityMode; 3] = [
    DurabilityMode::Strict,
    DurabilityMode::Batched { interval_ms: 50, batch_size: 100 },
    DurabilityMode::Async { interval_ms: 50 },
];

/// Longer than any interval of the modes, shorter than `idle_watermark_ms` in these scenarios.
const PAST_INTERVAL_MS: u64 = 60;

/// A scenario under way: a world whose calls are written down.
struct Scenario {
    world: World,
    lines: Lines,
    options: Options,
    text: String,
}

impl Scenario {
    fn new(mode: DurabilityMode) -> Self {
        let options = Options { idle_watermark_ms: 1000, ..options(mode) };
        Scenario { world: World::new(), lines: Lines::default(), options, text: String::new() }
    }

    fn open(&self) -> Database {
        let disk = Arc::new(self.world.disk.clone());
        let recorder = Recorder::new(disk, Path::new(DIR), self.lines.clone());
        self.world.builder_on(Arc::new(recorder), self.options.clone()).open(DIR).unwrap()
    }

    /// Does something, and writes down under a title what it did to the disk.
    fn step<T>(&mut self, title: &str, act: impl FnOnce(&Self) -> T) -> T {
        self.lines.take();
        let outcome = act(self);
        let lines = self.lines.take();
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(title);
        self.text.push('\n');
        if lines.is_empty() {
            self.text.push_str("  (no call)\n");
        }
        for line in lines {
            self.text.push_str(&line);
            self.text.push('\n');
        }
        outcome
    }

    /// As [`Scenario::step`], for a call whose outcome is part of the trace.
    fn outcome<T: std::fmt::Debug>(
        &mut self,
        title: &str,
        act: impl FnOnce(&Self) -> runstone::Result<T>,
    ) {
        let outcome = self.step(title, act);
        let outcome = match outcome {
            Ok(_) => "  = Ok\n".to_owned(),
            Err(error) => format!("  = error: {error}\n"),
        };
        self.text.push_str(&outcome);
    }
}

/// The snapshot of a scenario under each mode. The names stand here in full, so that a test can
/// find them: one for each mode, in the order of [`MODES`].
fn each_mode(names: [&str; 3], about: &str, play: impl Fn(&mut Scenario)) {
    for (mode, name) in MODES.into_iter().zip(names) {
        let mut scenario = Scenario::new(mode);
        play(&mut scenario);
        check!(name, &format!("{about}; {mode:?}"), &scenario.text);
    }
}

fn submit_eight(db: &Database) {
    let tickets: Vec<_> = (0..8)
        .map(|n| {
            let mut batch = WriteBatch::new();
            batch.put(run(1), format!("submitted {n}"), n);
            db.submit(batch, WriteOptions::default()).unwrap()
        })
        .collect();
    for ticket in tickets {
        ticket.wait().unwrap();
    }
}

#[test]
fn an_ordinary_life_makes_the_documented_calls() {
    let names = ["io_ordinary_strict", "io_ordinary_batched", "io_ordinary_async"];
    each_mode(names, "creation, writes, flush, close, reopen", |s| {
        let db = s.step("creation", Scenario::open);
        s.step("begin run 1", |_| db.begin_run(run(1), [("", ""); 0]).unwrap());
        s.step("one put", |_| db.put(run(1), "key", "value").unwrap());
        s.step("a batch of two puts and a delete", |_| {
            let mut batch = WriteBatch::new();
            batch.put(run(1), "a", 1).put(run(1), "b", 2).delete(run(1), "key");
            db.write(batch).unwrap()
        });
        s.step("eight submitted puts: one group", |_| submit_eight(&db));
        s.step("get, list and a snapshot: no call in any mode", |_| {
            db.get(run(1), "a").unwrap();
            db.list(run(1), "").unwrap();
            db.snapshot().unwrap();
        });
        s.world.clock.advance(PAST_INTERVAL_MS);
        s.step("tick, after the interval", |_| db.tick().unwrap());
        s.step("tick again, at the same moment", |_| db.tick().unwrap());
        s.world.clock.advance(1000);
        s.step("tick, when the log has been idle: a watermark", |_| db.tick().unwrap());
        s.step("one put, then flush", |_| {
            db.put(run(1), "c", 3).unwrap();
            db.flush().unwrap();
        });
        s.step("flush again, with nothing written since", |_| db.flush().unwrap());
        s.step("close", |_| db.close().unwrap());
        let db = s.step("open after a clean close", Scenario::open);
        s.step("the first put after it: a new epoch", |_| db.put(run(1), "d", 4).unwrap());
        s.step("close", |_| db.close().unwrap());
        let db = s.step("open", Scenario::open);
        s.step("close, with nothing written", |_| db.close().unwrap());
    });
}

#[test]
fn preallocation_writes_zeros_ahead_and_a_close_cuts_them_off() {
    let names = ["io_preallocated_strict", "io_preallocated_batched", "io_preallocated_async"];
    each_mode(names, "with preallocate_bytes 1024 of zeros", |s| {
        s.options.preallocate_bytes = 1024;
        s.options.preallocation = Preallocation::Zeros;
        let db = s.open();
        s.step("begin run 1", |_| db.begin_run(run(1), [("", ""); 0]).unwrap());
        s.step("one put: it fits", |_| db.put(run(1), "key", "value").unwrap());
        s.step("flush", |_| db.flush().unwrap());
        s.step("close", |_| db.close().unwrap());
    });
}

#[test]
fn a_full_segment_is_synced_and_named_before_the_next_is_written() {
    let names = ["io_rotation_strict", "io_rotation_batched", "io_rotation_async"];
    each_mode(names, "the put does not fit the segment of 4096 bytes", |s| {
        let db = s.open();
        db.begin_run(run(1), [("", ""); 0]).unwrap();
        db.put(run(1), "big", vec![1; 2500]).unwrap();
        s.step("put of 2500 bytes: rotation", |_| db.put(run(1), "big 2", vec![2; 2500]).unwrap());
        s.step("put of 8000 bytes: a segment of its own", |_| {
            db.put(run(1), "bigger", vec![3; 8000]).unwrap()
        });
        s.step("close", |_| db.close().unwrap());
        s.step("open: all three are read", Scenario::open);
    });
}

#[test]
fn a_torn_tail_is_written_again_into_a_new_segment_before_anything_is_shown() {
    let names = ["io_torn_tail_strict", "io_torn_tail_batched", "io_torn_tail_async"];
    each_mode(names, "killed; the last record lost its last bytes", |s| {
        let db = s.open();
        db.begin_run(run(1), [("", ""); 0]).unwrap();
        db.put(run(1), "a", 1).unwrap();
        db.put(run(1), "b", 2).unwrap();
        s.world.clock.advance(PAST_INTERVAL_MS);
        db.tick().unwrap();
        s.world.disk.crash_now(CrashKind::Process);
        drop(db);
        s.world.disk.restart();
        tear_last_record(&s.world);
        let db = s.step("open after the kill", Scenario::open);
        let report = db.recovery_report();
        s.text.push_str(&format!(
            "  = {} commits replayed, {} of them unproven, {} torn bytes cut off\n",
            report.replayed_commits, report.unproven_commits, report.torn_bytes,
        ));
        s.step("one put", |_| db.put(run(1), "c", 3).unwrap());
        s.step("close", |_| db.close().unwrap());
        s.step("open", Scenario::open);
    });
}

/// Zeroes the last eight bytes of the last record, as if they had never reached the disk.
fn tear_last_record(world: &World) {
    let segment = world.file("000001.log");
    let &(at, len) = dump::records(&segment).last().expect("a record");
    let file = world.disk.open(&own_path("000001.log"), Access::ReadWrite).unwrap();
    let last_used = segment[..at + len].iter().rposition(|byte| *byte != 0).expect("a byte");
    let from = (last_used + 1 - 8) as u64;
    write_all_at(&*file, &[0; 8], from).unwrap();
}

#[test]
fn a_full_disk_is_cut_back_and_the_next_write_tries_again() {
    let names = ["io_full_disk_strict", "io_full_disk_batched", "io_full_disk_async"];
    each_mode(names, "the disk has 64 bytes left, then is freed", |s| {
        let db = s.open();
        db.begin_run(run(1), [("", ""); 0]).unwrap();
        db.flush().unwrap();
        s.world.disk.set_capacity(Some(s.world.disk.used_bytes() + 64));
        s.outcome("put of 300 bytes", |_| db.put(run(1), "a", vec![1; 300]));
        s.world.clock.advance(PAST_INTERVAL_MS);
        s.outcome("tick, after the interval", |_| db.tick());
        s.outcome("put of 1 byte, while the disk is full", |_| db.put(run(1), "b", vec![1]));
        s.outcome("flush, while the disk is full", |_| db.flush());
        s.outcome("close, while the disk is full", |_| db.close());
        s.world.disk.set_capacity(None);
        s.outcome("put of 300 bytes, on a freed disk", |_| db.put(run(1), "c", vec![1; 300]));
        s.outcome("flush", |_| db.flush());
        s.outcome("close", |_| db.close());
    });
}

#[test]
fn a_failed_sync_is_never_tried_again() {
    use runstone_sim::disk::{CallKind, Fault, FaultKind};
    let names = ["io_failed_sync_strict", "io_failed_sync_batched", "io_failed_sync_async"];
    each_mode(names, "one sync of the log fails; the disk is fine again at once", |s| {
        let db = s.open();
        db.begin_run(run(1), [("", ""); 0]).unwrap();
        db.flush().unwrap();
        s.world.disk.fail_nth(CallKind::Sync, 0, Fault::new(FaultKind::Io));
        s.outcome("one put", |_| db.put(run(1), "a", 1));
        s.world.clock.advance(PAST_INTERVAL_MS);
        s.outcome("tick, after the interval", |_| db.tick());
        s.outcome("one more put", |_| db.put(run(1), "b", 2));
        s.outcome("get", |_| db.get(run(1), "a"));
        s.outcome("flush", |_| db.flush());
        s.outcome("close", |_| db.close());
        s.step("open, which recovers", Scenario::open);
    });
}
