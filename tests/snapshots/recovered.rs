//! Scripted crashes: the script, what the crash took, and what is recovered.
//!
//! Each script has at most twenty operations and runs on a simulated disk whose crash model is
//! fixed, so that the loss can be told in advance.

use std::fmt::Write as _;
use std::time::Duration;

use runstone::{
    Database, DurabilityMode, Namespace, RunFilter, RunMetadataEntry, RunOptions, RunStatus,
    WriteBatch,
};
use runstone_sim::disk::{CallKind, CrashKind, CrashModel, Fault, FaultKind};
use runstone_vfs::{Access, Vfs, write_all_at};

use crate::dump;
use crate::fixture::{START_MS, World, options, own_path, report_text, run};
use crate::settings::check;

/// The operations of one script at most.
const OPERATIONS_MAX: usize = 20;

/// A script under way.
struct Script {
    world: World,
    operations: usize,
    text: String,
}

impl Script {
    fn new() -> Self {
        Script { world: World::new(), operations: 0, text: "script\n".to_owned() }
    }

    /// One operation and its outcome.
    fn operation<T: std::fmt::Debug>(&mut self, what: &str, outcome: runstone::Result<T>) {
        self.operations += 1;
        assert!(self.operations <= OPERATIONS_MAX, "a script stays readable");
        let outcome = match outcome {
            Ok(value) => format!("{value:?}"),
            Err(error) => format!("error: {error}"),
        };
        writeln!(self.text, "{:>4}  {what:<52} {outcome}", self.operations).unwrap();
    }

    fn note(&mut self, note: &str) {
        writeln!(self.text, "      -- {note}").unwrap();
    }

    fn crash(&mut self, kind: CrashKind, model: Option<CrashModel>) {
        match model {
            Some(model) => self.world.disk.crash_with(model, None),
            None => self.world.disk.crash_now(kind),
        }
        let report = self.world.disk.crash_report().expect("it crashed");
        // The number of calls is the I/O traces' to pin, not this snapshot's.
        let text = report.to_string();
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let first = first.split(" after ").next().unwrap_or(first);
        writeln!(self.text, "\n{first}; lost").unwrap();
        self.text.push_str(if report.lost_anything() { rest } else { "  nothing\n" });
    }

    /// Starts again: what the next opening finds and shows.
    fn recover(&mut self, mode: DurabilityMode) -> Database {
        self.world.disk.restart();
        let db = self.world.open(options(mode));
        self.text.push_str("\nrecovered\n");
        self.text.push_str(&state(&db));
        self.text.push_str("\nreport\n");
        self.text.push_str(&report_text(db.recovery_report()));
        db
    }
}

/// Milliseconds since the scenario's start.
fn since_start(ms: u64) -> String {
    format!("+{} ms", ms - START_MS)
}

fn run_text(entry: &RunMetadataEntry) -> String {
    let RunMetadataEntry {
        run_id,
        namespace,
        parent_run_id,
        forked_from,
        status,
        created_at,
        completed_at,
        dropped_at,
        first_version,
        last_version,
        tags,
        retention,
    } = entry;
    let completed = completed_at.map_or("-".to_owned(), |at| since_start(at.as_millis()));
    let dropped =
        dropped_at.map_or(String::new(), |at| format!(", dropped {}", since_start(at.as_millis())));
    let parent = parent_run_id.map_or("-".to_owned(), |run| run.to_string());
    assert_eq!(*forked_from, None, "reserved");
    let (tenant, app, agent) = (namespace.tenant(), namespace.app(), namespace.agent());
    format!(
        "  run {run_id}: {status}, versions {first_version} to {last_version}\n\
         \x20   namespace {tenant}/{app}/{agent}, parent {parent}, retention {retention:?}\n\
         \x20   created {}, completed {completed}{dropped}, tags {tags:?}\n",
        since_start(created_at.as_millis()),
    )
}

/// Everything that a reader can see.
fn state(db: &Database) -> String {
    let mut text = String::new();
    writeln!(text, "  last version {}", db.storage().version()).unwrap();
    for entry in db.runs(RunFilter::default()).unwrap() {
        text.push_str(&run_text(&entry));
        for item in db.scan_prefix(entry.run_id, "").unwrap() {
            let (key, found) = item.unwrap();
            let key = String::from_utf8_lossy(&key).into_owned();
            let value = format!("{:?}", found.value);
            write!(text, "    {key:<12} {value:<22} version {}", found.version).unwrap();
            write!(text, ", written {}", since_start(found.timestamp.as_millis())).unwrap();
            if let Some(at) = found.expires_at {
                write!(text, ", expires {}", since_start(at.as_millis())).unwrap();
            }
            text.push('\n');
        }
    }
    text
}

#[test]
fn a_power_cut_under_batched_loses_a_suffix_and_nothing_else() {
    let mode = DurabilityMode::Batched { interval_ms: 50, batch_size: 100 };
    let mut s = Script::new();
    let db = s.world.open(options(mode));
    let begin = RunOptions::default()
        .namespace(Namespace::new("acme", "mailer", "writer", run(1)))
        .tags([("task", "demo")]);
    s.operation("begin run 1, tagged", db.begin_run_with(run(1), begin));
    s.operation("put a = 1", db.put(run(1), "a", 1));
    s.operation(
        "put b = 2, for 10 s",
        db.put_with_ttl(run(1), "b", 2, Some(Duration::from_secs(10))),
    );
    s.world.clock.advance(10);
    s.operation("put a = 3", db.put(run(1), "a", 3));
    s.operation("delete b", db.delete(run(1), "b"));
    s.operation(
        "put b = \"again\", for 5 s",
        db.put_with_ttl(run(1), "b", "again", Some(Duration::from_secs(5))),
    );
    s.world.clock.advance(50);
    s.operation("tick, 60 ms after the start: syncs", db.tick());
    s.operation("put c = 4", db.put(run(1), "c", 4));
    let begin = RunOptions::default().parent(run(1));
    s.operation("begin run 2, a child of run 1", db.begin_run_with(run(2), begin));
    let mut batch = WriteBatch::new();
    batch.put(run(2), "x", 5).delete(run(1), "a").end_run(run(1), RunStatus::Completed);
    s.operation("batch: put x in run 2, delete a, end run 1", db.write(batch));
    s.crash(CrashKind::Power, Some(CrashModel::DropAll));
    drop(db);
    s.recover(mode);
    check!(
        "recovered_power_cut_batched",
        "Batched: the sync of the tick covers operations 1 to 6; the power cut takes the rest",
        &s.text,
    );
}

#[test]
fn what_a_killed_process_left_in_the_page_cache_is_durable_once_it_is_shown() {
    let mode = DurabilityMode::Batched { interval_ms: 50, batch_size: 100 };
    let mut s = Script::new();
    let db = s.world.open(options(mode));
    s.operation("begin run 1", db.begin_run(run(1), [("attempt", "1")]));
    s.operation("flush", db.flush());
    s.operation("put a = 1", db.put(run(1), "a", 1));
    let mut batch = WriteBatch::new();
    batch.put(run(1), "b", 2).begin_run(run(2), [("", ""); 0]).put(run(2), "b", vec![7, 7]);
    s.operation("batch: put b, begin run 2, put b there", db.write(batch));
    s.operation("end run 2 as failed", db.end_run_with(run(2), RunStatus::Failed));
    s.operation("put c = 3", db.put(run(1), "c", 3));
    s.crash(CrashKind::Process, None);
    drop(db);
    s.world.disk.restart();
    cut_into_last_record(&s.world);
    s.note("the write of put c was under way: its last 8 bytes are missing");
    let db = s.recover(mode);
    s.text.push_str("\nscript, continued\n");
    s.operation("get a, from the recovered store", db.get(run(1), "a"));
    s.crash(CrashKind::Power, Some(CrashModel::DropAll));
    drop(db);
    s.recover(mode);
    check!(
        "recovered_kill_then_power_cut",
        "Killed with unsynced commits and a torn one; recovered; then the power fails: what the \
         first recovery showed is there again",
        &s.text,
    );
}

/// Takes the last eight bytes from the log file.
fn cut_into_last_record(world: &World) {
    let segment = world.file("000001.log");
    let &(at, len) = dump::records(&segment).last().expect("a record");
    let file = world.disk.open(&own_path("000001.log"), Access::ReadWrite).unwrap();
    let last_used = segment[..at + len].iter().rposition(|byte| *byte != 0).expect("a byte");
    write_all_at(&*file, &[0; 8], (last_used + 1 - 8) as u64).unwrap();
    file.sync().unwrap();
}

#[test]
fn a_failed_sync_poisons_and_loses_only_what_was_not_acknowledged() {
    let mode = DurabilityMode::Strict;
    let mut s = Script::new();
    let db = s.world.open(options(mode));
    s.operation("begin run 1", db.begin_run(run(1), [("", ""); 0]));
    s.operation("put a = 1", db.put(run(1), "a", 1));
    s.operation("put gone, for 1 s", {
        db.put_with_ttl(run(1), "gone", 2, Some(Duration::from_secs(1)))
    });
    s.operation("put kept, for 60 s", {
        db.put_with_ttl(run(1), "kept", 3, Some(Duration::from_secs(60)))
    });
    s.world.clock.advance(2000);
    s.operation("end run 1, 2 s after the start", db.end_run(run(1)));
    s.operation("begin run 2", db.begin_run(run(2), [("", ""); 0]));
    s.world.disk.fail_nth(CallKind::Sync, 0, Fault::new(FaultKind::Io));
    s.note("the next sync fails");
    s.operation("put b = 4 in run 2", db.put(run(2), "b", 4));
    s.operation("get b in run 2", db.get(run(2), "b"));
    s.operation("put c = 5 in run 2", db.put(run(2), "c", 5));
    s.operation("get a in run 1", db.get(run(1), "a"));
    s.operation("close", db.close());
    s.crash(CrashKind::Power, Some(CrashModel::DropAll));
    drop(db);
    s.recover(mode);
    check!(
        "recovered_failed_sync",
        "Strict: a sync fails, the database is poisoned, the power fails; every acknowledged \
         commit is there, the key that had expired is not",
        &s.text,
    );
}
