//! Random operations against a model that is a few maps.
//!
//! The model knows nothing of logs or memtables: a run is a record and a map of keys to the
//! version, time and expiry of the last write. After each operation the answer is compared,
//! after each reopening everything.
#![allow(clippy::unwrap_used, clippy::expect_used)] // a test that fails says so

#[path = "../common/mod.rs"]
mod common;
mod ops;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{DIR, MODES, START_MS, World, image, memory_of, run, state};
use ops::{Op, batch_of, key, op, standing, value};
use proptest::collection::vec;
use proptest::prelude::*;
use runstone::vfs::MemVfs;
use runstone::{Clock as _, Database, Error, RunStatus, Snapshot, Value, WriteBatch, WriteOptions};

#[derive(Clone, Debug)]
struct Held {
    value: Value,
    version: u64,
    at: u64,
    expiry: Option<u64>,
}

#[derive(Clone, Debug)]
struct Run {
    tag: String,
    status: RunStatus,
    first: u64,
    last: u64,
    created: u64,
    completed: Option<u64>,
    keys: BTreeMap<Vec<u8>, Held>,
}

/// What the database should show.
#[derive(Clone, Debug, Default)]
struct Model {
    version: u64,
    runs: BTreeMap<u8, Run>,
}

#[derive(Debug, PartialEq)]
enum Refusal {
    NotFound,
    Exists,
    Ended,
}

impl Model {
    fn writable(&mut self, owner: u8) -> Result<&mut Run, Refusal> {
        match self.runs.get_mut(&owner) {
            None => Err(Refusal::NotFound),
            Some(run) if run.status != RunStatus::Running => Err(Refusal::Ended),
            Some(run) => Ok(run),
        }
    }

    fn apply(&mut self, op: &Op, version: u64, now: u64) -> Result<(), Refusal> {
        match op {
            Op::Begin(r, tag) => {
                if self.runs.contains_key(r) {
                    return Err(Refusal::Exists);
                }
                let fresh = Run {
                    tag: tag.to_string(),
                    status: RunStatus::Running,
                    first: version,
                    last: version,
                    created: now,
                    completed: None,
                    keys: BTreeMap::new(),
                };
                self.runs.insert(*r, fresh);
            }
            Op::End(r, status) => {
                let run = self.writable(*r)?;
                run.status = RunStatus::ALL[*status];
                (run.completed, run.last) = (Some(now), version);
            }
            Op::Put(r, k, v, ttl, _) => {
                let run = self.writable(*r)?;
                run.last = version;
                let expiry = ttl.filter(|ttl| *ttl < 1 << 40).map(|ttl| now + ttl);
                let held = Held { value: value(*v), version, at: now, expiry };
                run.keys.insert(key(*k), held);
            }
            Op::Remove(r, k) | Op::Delete(r, k) => {
                let run = self.writable(*r)?;
                run.last = version;
                run.keys.remove(&key(*k));
            }
            other => panic!("not a change: {other:?}"),
        }
        Ok(())
    }

    /// All of these changes as one commit, or none.
    fn commit(&mut self, ops: &[Op], now: u64) -> Result<u64, Refusal> {
        let mut next = self.clone();
        next.version += 1;
        let version = next.version;
        for op in ops {
            next.apply(op, version, now)?;
        }
        *self = next;
        Ok(version)
    }

    fn visible(&self, owner: u8, now: u64) -> Vec<(Vec<u8>, Held)> {
        let keys = self.runs.get(&owner).into_iter().flat_map(|run| &run.keys);
        keys.filter(|(_, held)| held.expiry.is_none_or(|expiry| now < expiry))
            .map(|(key, held)| (key.clone(), held.clone()))
            .collect()
    }

    fn compare(&self, db: &Database, now: u64) {
        let shown = state(db);
        assert_eq!(shown.version, self.version);
        assert_eq!(shown.runs.len(), self.runs.len());
        for (n, expected) in &self.runs {
            let (entry, keys) = &shown.runs[&run(*n)];
            assert_eq!(entry.status, expected.status);
            assert_eq!(entry.tags["t"], expected.tag);
            assert_eq!((entry.first_version, entry.last_version), (expected.first, expected.last));
            assert_eq!(entry.created_at.as_millis(), expected.created);
            assert_eq!(entry.completed_at.map(|at| at.as_millis()), expected.completed);
            let expected = self.visible(*n, now);
            assert_eq!(keys.len(), expected.len(), "run {n}");
            for ((key, found), (expected_key, held)) in keys.iter().zip(&expected) {
                assert_eq!((key, &found.value), (expected_key, &held.value));
                assert_eq!((found.version, found.timestamp.as_millis()), (held.version, held.at));
                assert_eq!(found.expires_at.map(|at| at.as_millis()), held.expiry);
            }
        }
        let active = self.runs.iter().filter(|(_, r)| r.status == RunStatus::Running);
        assert_eq!(
            db.list_active_runs().unwrap(),
            active.map(|(n, _)| run(*n)).collect::<Vec<_>>()
        );
    }
}

fn agree(found: Result<u64, Error>, expected: Result<u64, Refusal>) {
    match (found, expected) {
        (Ok(found), Ok(expected)) => assert_eq!(found, expected),
        (Err(Error::RunNotFound { .. }), Err(Refusal::NotFound))
        | (Err(Error::RunExists { .. }), Err(Refusal::Exists))
        | (Err(Error::RunEnded { .. }), Err(Refusal::Ended)) => {}
        (found, expected) => panic!("{found:?} instead of {expected:?}"),
    }
}

struct Trial {
    world: World,
    disk: MemVfs,
    db: Option<Database>,
    model: Model,
    /// The engine's time, as the contract says: it follows the wall clock and never falls.
    now: u64,
    monotonic: u64,
    snapshot: Option<(Snapshot, Model, u64)>,
    flushed: bool,
}

impl Trial {
    fn db(&self) -> &Database {
        self.db.as_ref().unwrap()
    }

    fn time(&mut self) -> u64 {
        let elapsed = u64::try_from(self.world.clock.monotonic().as_millis()).unwrap();
        self.now = self.world.clock.wall_ms().max(self.now + (elapsed - self.monotonic));
        self.monotonic = elapsed;
        self.now
    }

    fn step(&mut self, op: &Op) {
        let now = self.time();
        self.flushed &= matches!(
            op,
            Op::Advance(_)
                | Op::SetWall(_)
                | Op::Snapshot
                | Op::DropSnapshot
                | Op::Tick
                | Op::Refusals(_)
                | Op::Kill
        );
        match op {
            Op::Begin(r, tag) => {
                let found = self.db().begin_run(run(*r), [("t", tag.to_string())]);
                agree(found, self.model.commit(std::slice::from_ref(op), now));
            }
            Op::End(r, status) => {
                let found = self.db().end_run_with(run(*r), RunStatus::ALL[*status]);
                agree(found, self.model.commit(std::slice::from_ref(op), now));
            }
            Op::Put(r, k, v, ttl, level) => {
                let ttl = ttl.map(Duration::from_millis);
                let options = WriteOptions { durability: *level };
                let found = self.db().put_with(run(*r), key(*k), value(*v), ttl, options);
                agree(found, self.model.commit(std::slice::from_ref(op), now));
            }
            Op::Remove(r, k) => {
                let found = self.db().remove(run(*r), key(*k));
                agree(found, self.model.commit(std::slice::from_ref(op), now));
            }
            Op::Delete(r, k) => {
                let before = self.model.visible(*r, now).into_iter();
                let before =
                    before.clone().find(|(found, _)| *found == key(*k)).map(|(_, h)| h.value);
                match self.db().delete(run(*r), key(*k)) {
                    Ok(found) => {
                        assert_eq!(found, before);
                        self.model.commit(std::slice::from_ref(op), now).unwrap();
                    }
                    Err(error) => {
                        agree(Err(error), self.model.commit(std::slice::from_ref(op), now));
                    }
                }
            }
            Op::Batch(ops) => {
                let found = self.db().write(batch_of(ops));
                agree(found, self.model.commit(&standing(ops), now));
            }
            Op::Submit(puts) => {
                let puts: Vec<_> =
                    puts.iter().map(|(r, k, v)| Op::Put(*r, *k, *v, None, None)).collect();
                let tickets: Vec<_> = puts
                    .iter()
                    .map(|put| {
                        let batch = batch_of(std::slice::from_ref(put));
                        self.db().submit(batch, WriteOptions::default()).unwrap()
                    })
                    .collect();
                for (put, ticket) in puts.iter().zip(tickets) {
                    let found = ticket.wait().map(|committed| committed.version);
                    agree(found, self.model.commit(std::slice::from_ref(put), now));
                }
            }
            Op::Advance(ms) => self.world.clock.advance(*ms),
            Op::SetWall(ms) => {
                let wall = self.world.clock.wall_ms().saturating_add_signed(*ms);
                self.world.clock.set_wall(wall);
            }
            Op::Snapshot => {
                self.snapshot = Some((self.db().snapshot().unwrap(), self.model.clone(), now));
            }
            Op::DropSnapshot => self.snapshot = None,
            Op::Flush => {
                self.db().flush().unwrap();
                self.flushed = true;
            }
            Op::Tick => drop(self.db().tick().unwrap()),
            Op::Maintain => drop(self.db().maintain().unwrap()),
            Op::Close(mode) => {
                self.db().close().unwrap();
                self.world.options.durability = MODES[*mode];
                self.reopen(now, true);
            }
            // What the operating system has is all there is; all of it, after a flush.
            Op::Kill if self.flushed => {
                let files = image(&self.disk, DIR);
                drop(self.db.take());
                self.disk = memory_of(&files);
                self.world = self.world.on_disk(self.disk.clone());
                self.reopen(now, false);
            }
            Op::Kill => {}
            Op::Refusals(r) => {
                let db = self.db();
                assert!(matches!(db.put(run(*r), "", 1), Err(Error::InvalidArgument { .. })));
                assert!(matches!(db.get(run(77), "k"), Err(Error::RunNotFound { .. })));
                assert!(matches!(db.write(WriteBatch::new()), Err(Error::InvalidArgument { .. })));
            }
        }
        self.reads();
    }

    fn reopen(&mut self, now: u64, clean: bool) {
        self.db = None;
        let db = self.world.open();
        let report = db.recovery_report();
        if clean {
            assert!(report.clean && report.interrupted_runs.is_empty());
        }
        assert_eq!(report.torn_bytes, 0);
        assert_eq!(report.replayed_commits, self.model.version);
        // C11: time is at least that of the last record; a commit's time is in its record.
        let opened_at = db.storage().now().as_millis();
        let wall = self.world.clock.wall_ms();
        assert!(opened_at >= wall && opened_at <= now.max(wall));
        self.now = opened_at;
        self.db = Some(db);
        self.model.compare(self.db(), opened_at);
    }

    /// Reads of every kind, against the model and against the snapshot's.
    fn reads(&mut self) {
        let now = self.time();
        for n in 0..4u8 {
            let Ok(listed) = self.db().list(run(n), "") else {
                assert!(!self.model.runs.contains_key(&n));
                continue;
            };
            let expected = self.model.visible(n, now);
            let pairs: Vec<_> =
                expected.iter().map(|(k, h)| (k.clone(), h.value.clone())).collect();
            assert_eq!(listed, pairs);
            let with_a: Vec<_> =
                pairs.iter().filter(|(k, _)| k.starts_with(b"a")).cloned().collect();
            assert_eq!(self.db().list(run(n), "a").unwrap(), with_a);
            let mut backward: Vec<_> = self
                .db()
                .scan(run(n), b"a".to_vec()..=vec![0xff])
                .unwrap()
                .rev()
                .map(|item| item.unwrap())
                .map(|(key, found)| (key, found.value))
                .collect();
            backward.reverse();
            let middle = pairs
                .iter()
                .filter(|(k, _)| k.as_slice() >= &b"a"[..] && k.as_slice() <= &[0xff][..]);
            assert_eq!(backward, middle.cloned().collect::<Vec<_>>());
            for k in 0..10 {
                let held = pairs.iter().find(|(found, _)| *found == key(k));
                assert_eq!(self.db().get(run(n), key(k)).unwrap(), held.map(|(_, v)| v.clone()));
                assert_eq!(self.db().exists(run(n), key(k)).unwrap(), held.is_some());
            }
        }
        let Some((snapshot, model, at)) = &self.snapshot else { return };
        assert_eq!(snapshot.version(), model.version);
        for n in model.runs.keys() {
            let expected = model.visible(*n, *at).into_iter();
            let expected: Vec<_> = expected.map(|(key, held)| (key, held.value)).collect();
            assert_eq!(snapshot.list(run(*n), "").unwrap(), expected, "a snapshot never moves");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_operations_answer_as_a_map_would_also_after_reopening(
        ops in vec(op(), 1..80),
        mode in 0usize..3,
        large_segments in any::<bool>(),
    ) {
        let disk = MemVfs::new();
        let world = World::new(disk.clone()).mode(MODES[mode]).with(|options| {
            if !large_segments {
                options.segment_bytes = 512;
            }
        });
        let db = Some(world.open());
        // Time that nobody has asked for may still be anything.
        assert_eq!(db.as_ref().unwrap().storage().now().as_millis(), START_MS);
        let mut trial = Trial {
            world,
            disk,
            db,
            model: Model::default(),
            now: START_MS,
            monotonic: 0,
            snapshot: None,
            flushed: true,
        };
        for op in &ops {
            trial.step(op);
        }
        let now = trial.time();
        trial.model.compare(trial.db(), now);
        trial.db().close().unwrap();
        trial.reopen(now, true);
    }
}
