//! Operations that come together: what shows only if one follows the other at once.
//!
//! Invariant: as of all operations, nothing here knows of outcomes.

use std::collections::VecDeque;

use super::super::case::RUNS;
use super::super::case::{ChangeSpec, LevelSpec, Op, ValueSpec};
use super::{Workload, byte, pick};
use crate::disk::{CrashKind, When};
use crate::rng::Rng;

impl Workload {
    /// Commits about each other that come into one group, as far as groups go here.
    pub(super) fn group(&mut self, rng: &mut Rng) -> VecDeque<Op> {
        let changes = match rng.below(6) {
            0 | 1 => self.around_an_end(rng),
            2 | 3 if self.tight => self.crowd(rng),
            _ => self.dense(rng),
        };
        self.submitted(changes, rng)
    }

    /// Each change as a commit, and what brings them into one group.
    pub(super) fn submitted(&self, changes: Vec<ChangeSpec>, rng: &mut Rng) -> VecDeque<Op> {
        let target = changes.iter().rev().find_map(put_to);
        let is_crowd = changes.len() > 5;
        // One each, or as batches: if one of those is refused, nothing of it holds for the next.
        let size = pick(rng, &[1, 1, 2]);
        let mut ops: VecDeque<Op> = changes
            .chunks(size)
            .map(|changes| Op::Submit { changes: changes.to_vec(), level: self.level(rng) })
            .collect();
        // Who stops or flushes takes along what waits.
        let ending = match rng.below(4) {
            0 => Op::Reopen,
            1 => Op::DropReopen,
            2 => Op::Flush,
            _ => Op::Maintain,
        };
        ops.push_back(match (rng.below(7), target) {
            (0, _) => Op::Write { change: self.put(rng), level: self.level(rng) },
            (1 | 2, Some((run, key))) => {
                let change = ChangeSpec::Delete { run, key };
                Op::Write { change, level: LevelSpec::Default }
            }
            (3, _) => Op::Wait,
            (4, _) => Op::Tick,
            (5, _) => ending,
            _ if rng.coin() => self.late_step(rng),
            _ => Op::Step,
        });
        if is_crowd {
            // Nothing else waits: of many commits that may have been refused each subset counts.
            ops.push_front(Op::Step);
        }
        ops
    }

    /// A step that one more comes to when it has begun.
    pub(super) fn late_step(&self, rng: &mut Rng) -> Op {
        let passes_ms = u32::try_from(pick(rng, &[1, 5, 60])).unwrap_or(1);
        // Now and then it is refused, and its time is in no record.
        let change = match rng.below(3) {
            0 => ChangeSpec::Delete { run: RUNS - 1, key: 0 },
            _ => self.put(rng),
        };
        Op::LateStep { changes: vec![change], level: self.level(rng), passes_ms }
    }

    /// A key that has expired when the step is over that commits it, and is freed at once.
    fn expired_when_committed(&self, rng: &mut Rng) -> VecDeque<Op> {
        let (run, key, value) = (self.run(rng), self.key(rng), self.value(rng));
        let put = ChangeSpec::Put { run, key, value, ttl_ms: Some(pick(rng, &[1, 5])) };
        let submit = Op::Submit { changes: vec![put], level: self.level(rng) };
        VecDeque::from([submit, self.late_step(rng), Op::Maintain])
    }

    /// A disk that is full for a moment, and has room again.
    pub(super) fn full_disk(&mut self, rng: &mut Rng) -> VecDeque<Op> {
        let room = if rng.coin() { 60 } else { 800 };
        let free = u32::try_from(rng.below(room)).unwrap_or(0);
        let mut ops = VecDeque::new();
        // The first that a session does, or in the middle of one, with commits that wait.
        let waiting = if rng.coin() { 0 } else { rng.range(1..=2) };
        if waiting == 0 {
            ops.push_back(Op::Reopen);
        }
        ops.extend((0..waiting).map(|_| Op::Write { change: self.put(rng), level: unsynced(rng) }));
        ops.push_back(Op::FillDisk { free });
        match rng.below(4) {
            0 | 1 => ops.push_back(Op::Maintain),
            2 => {
                let passes_ms = u32::try_from(pick(rng, &[20, 100, 1000])).unwrap_or(0);
                ops.extend([Op::Clock { wall_ms: 0, passes_ms }, Op::Tick]);
            }
            _ => {}
        }
        let (full, after) = (rng.range(1..=4), rng.range(1..=4));
        ops.extend((0..full).map(|_| self.upkeep(rng)));
        ops.push_back(Op::FreeDisk);
        ops.extend((0..after).map(|_| self.upkeep(rng)));
        if rng.coin() {
            ops.push_back(Op::Maintain);
        }
        ops
    }

    /// Commits of every level, and little time between them.
    pub(super) fn timers(&mut self, rng: &mut Rng) -> VecDeque<Op> {
        let levels = [LevelSpec::Async, LevelSpec::Batched, LevelSpec::Default, LevelSpec::Strict];
        let count = rng.range(4..=8);
        let mut ops: VecDeque<Op> = (0..count)
            .map(|_| match rng.below(5) {
                0 => Op::Tick,
                1 | 2 => {
                    let passes_ms = u32::try_from(pick(rng, &[1, 5, 19, 60])).unwrap_or(0);
                    Op::Clock { wall_ms: 0, passes_ms }
                }
                _ => Op::Write { change: self.put(rng), level: pick(rng, &levels) },
            })
            .collect();
        ops.push_back(Op::Tick);
        // A time that no commit has: that of a flush, or of a commit that is refused before the log
        // is idle.
        let passes_ms = u32::try_from(rng.range(1..=100)).unwrap_or(1);
        let passes = Op::Clock { wall_ms: 0, passes_ms };
        match rng.below(5) {
            0 | 1 => ops.extend([passes, Op::Flush]),
            2 | 3 => {
                let waits = Op::Write { change: self.put(rng), level: pick(rng, &levels) };
                let refused = Op::Remove { run: RUNS - 1, key: 0 };
                ops.extend([waits, passes, refused, Op::Tick]);
                if rng.coin() {
                    ops.push_back(stop(rng));
                }
            }
            _ => {}
        }
        ops
    }

    /// Keys that expire when all is flushed, one behind the other, and somebody who is told so, in
    /// a session that writes nothing else.
    pub(super) fn expired(&mut self, rng: &mut Rng) -> VecDeque<Op> {
        if rng.chance(1, 4) {
            return self.expired_when_committed(rng);
        }
        let (run, keys) = (self.run(rng), [self.key(rng), self.key(rng)]);
        let ttls = [pick(rng, &[1, 5, 7]), pick(rng, &[5, 20])];
        let mut ops: VecDeque<Op> = VecDeque::new();
        for (key, ttl_ms) in keys.into_iter().zip(ttls) {
            let (value, ttl_ms) = (self.value(rng), Some(ttl_ms));
            let change = ChangeSpec::Put { run, key, value, ttl_ms };
            ops.push_back(Op::Write { change, level: self.level(rng) });
            // The log may know a time at which the first has expired, and the second has not.
            let passes_ms = 8;
            ops.extend(rng.coin().then_some(Op::Clock { wall_ms: 0, passes_ms }));
        }
        ops.push_back(pick(rng, &[Stop::Flush, Stop::Flush, Stop::Reopen]).op());
        ops.push_back(Op::Clock { wall_ms: 0, passes_ms: 30 });
        // The later one first, as often as not.
        let [first, second] = if rng.coin() { keys } else { [keys[1], keys[0]] };
        for key in [first, second].into_iter().take(pick(rng, &[1, 2, 2])) {
            match rng.below(6) {
                0 => ops.push_back(Op::List { run, key, len: byte(rng, 3), ends: 1 }),
                1 => {
                    let (from, to, bounds, ends) = (key, key, 4, 0);
                    ops.push_back(Op::Range { run, from, to, bounds, ends });
                }
                2 | 3 => {
                    // Of four at most, the newest is the first or the second that is left.
                    ops.extend([const { Op::DropSnapshot { slot: 0 } }; 3]);
                    ops.push_back(Op::Snapshot);
                    // It outlives its session.
                    ops.extend(rng.coin().then_some(Op::Reopen));
                    ops.push_back(Op::ReadSnapshot { slot: 1 });
                }
                _ => ops.push_back(Op::Get { run, key }),
            }
        }
        let stops = [Stop::Flush, Stop::Reopen, Stop::Reopen, Stop::DropReopen];
        ops.push_back(pick(rng, &stops).op());
        ops
    }

    /// What meets a full disk, and what should go on when it has room again.
    fn upkeep(&mut self, rng: &mut Rng) -> Op {
        match rng.below(9) {
            0 => Op::Flush,
            1 | 2 => Op::Maintain,
            7 => Op::Write { change: self.put(rng), level: unsynced(rng) },
            3 => Op::Tick,
            4 | 5 => {
                let passes_ms = u32::try_from(pick(rng, &[1, 20, 100, 2000])).unwrap_or(0);
                Op::Clock { wall_ms: 0, passes_ms }
            }
            6 => Op::Reopen,
            _ => Op::Write { change: self.put(rng), level: self.level(rng) },
        }
    }

    /// Changes that are about each other: two runs, perhaps parent and child, and two keys.
    pub(super) fn dense(&mut self, rng: &mut Rng) -> Vec<ChangeSpec> {
        let old = self.run(rng);
        let new = if self.begun < self.runs { self.begun } else { byte(rng, u64::from(self.runs)) };
        let keys = [self.key(rng), self.key(rng)];
        let may_end = self.active.len() > 1 && rng.chance(1, 3);
        let count = pick(rng, &[1, 2, 3, 4, 5]);
        (0..count)
            .map(|_| {
                let run = pick(rng, &[old, old, new]);
                let (key, value) = (pick(rng, &keys), self.value(rng));
                match rng.below(8) {
                    0 | 1 if self.runs > 1 => {
                        let parent = pick(rng, &[None, Some(old), Some(new)]);
                        let any = byte(rng, u64::from(self.runs));
                        let run = pick(rng, &[new, new, any]);
                        ChangeSpec::Begin { run, parent, tags: self.tags(rng) }
                    }
                    2 if may_end => {
                        self.active.retain(|active| *active != run);
                        ChangeSpec::End { run, status: byte(rng, 3) }
                    }
                    3 => ChangeSpec::Delete { run, key },
                    _ => ChangeSpec::Put { run, key, value, ttl_ms: None },
                }
            })
            .collect()
    }

    /// Values that do not fit into memory together, where each of them would.
    pub(super) fn crowd(&self, rng: &mut Rng) -> Vec<ChangeSpec> {
        let run = self.run(rng);
        let size = pick(rng, &[700, 1400, 1400, 1400]);
        (0..pick(rng, &[6, 10, 10, 10]))
            .map(|key| {
                let value = ValueSpec { kind: 8, size, ..self.value(rng) };
                ChangeSpec::Put { run, key, value, ttl_ms: None }
            })
            .collect()
    }

    /// A run is written to, ended, and written to: what comes behind the end is refused.
    fn around_an_end(&mut self, rng: &mut Rng) -> Vec<ChangeSpec> {
        let run = self.run(rng);
        let around = |workload: &Self, rng: &mut Rng| match rng.below(4) {
            0 => ChangeSpec::Delete { run, key: workload.key(rng) },
            _ => {
                let (key, value) = (workload.key(rng), workload.value(rng));
                ChangeSpec::Put { run, key, value, ttl_ms: None }
            }
        };
        let mut changes = vec![around(self, rng)];
        if rng.chance(1, 4) {
            // A run is begun in a batch that is refused, and then written to.
            let new = RUNS - 1;
            let begin = ChangeSpec::Begin { run: new, parent: None, tags: 0 };
            let ended = ChangeSpec::End { run: new - 1, status: 0 };
            let put = ChangeSpec::Put { run: new, key: 0, value: self.value(rng), ttl_ms: None };
            return vec![begin, ended, put, around(self, rng)];
        }
        if self.active.len() > 1 {
            self.active.retain(|active| *active != run);
            changes.push(ChangeSpec::End { run, status: byte(rng, 3) });
        }
        changes.push(around(self, rng));
        changes
    }
}

/// Who makes it stay so.
#[derive(Clone, Copy)]
enum Stop {
    Flush,
    Reopen,
    DropReopen,
}

impl Stop {
    fn op(self) -> Op {
        match self {
            Stop::Flush => Op::Flush,
            Stop::Reopen => Op::Reopen,
            Stop::DropReopen => Op::DropReopen,
        }
    }
}

/// A crash at once.
fn stop(rng: &mut Rng) -> Op {
    let kind = pick(rng, &[CrashKind::Power, CrashKind::Process]);
    let (when, model, nested) = (When::Before, None, Vec::new());
    Op::Crash { after_calls: 0, when, kind, model, nested, rot: 0 }
}

/// The run and the key of a put.
fn put_to(change: &ChangeSpec) -> Option<(u8, u16)> {
    match *change {
        ChangeSpec::Put { run, key, .. } => Some((run, key)),
        _ => None,
    }
}

/// A level whose commits wait for a sync.
fn unsynced(rng: &mut Rng) -> LevelSpec {
    pick(rng, &[LevelSpec::Async, LevelSpec::Batched])
}
