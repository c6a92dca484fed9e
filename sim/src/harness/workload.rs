//! The operations of a seed: which there are, how often, on what.
//!
//! Invariant: it knows nothing of outcomes, so that the same numbers give the same operations
//! whatever the store answers; `active` and `begun` are guesses.

mod bursts;

use std::collections::VecDeque;

use super::case::RUNS;
use super::case::{
    CaseOptions, ChangeSpec, KEYS, LevelSpec, NAMED, Op, TAGGED_KEYS, VALUE_BYTES_MAX, ValueSpec,
};
use crate::rng::Rng;

/// The keys that operations name at first; `generate/breadth.rs` puts others in their place.
const OLD_KEYS: u16 = 24;

/// The weights of a seed's operations.
pub(super) struct Workload {
    weights: [u32; 21],
    /// The runs that may be begun, and those that probably are active.
    runs: u8,
    begun: u8,
    active: Vec<u8>,
    keys: u16,
    big_values: bool,
    odd_keys: bool,
    ttl: bool,
    levels: bool,
    /// Whether ranges of keys are removed, and runs dropped.
    removes: bool,
    /// The runs that probably have ended.
    ended: Vec<u8>,
    /// Whether there is little memory.
    tight: bool,
    /// What comes next, if that is settled.
    burst: VecDeque<Op>,
}

impl Workload {
    pub(super) fn new(swarm: &mut Rng, options: &CaseOptions) -> Self {
        //                  put del rem bat sub stp tck mnt fls get lst snp clk ful reo beg end
        let base: [u32; 21] =
            //                                              range, scan, its next keys, facade
            [30, 8, 3, 6, 8, 4, 4, 2, 3, 4, 5, 5, 4, 1, 3, 5, 2, 2, 1, 3, 3];
        let mut weights = [0; 21];
        for (weight, base) in weights.iter_mut().zip(base) {
            *weight = match swarm.below(8) {
                0 | 1 => 0,
                2 => base * 4,
                3 => base * 8,
                _ => base,
            };
        }
        // Without puts and runs nothing happens.
        weights[0] = weights[0].max(10);
        weights[15] = weights[15].max(3);
        if options.may_be_full() {
            weights[0] *= 2;
        }
        Workload {
            weights,
            runs: pick(swarm, &[1, 3, RUNS, RUNS]),
            begun: 1,
            active: vec![0],
            keys: pick(swarm, &[3, 10, KEYS, KEYS]).min(OLD_KEYS),
            big_values: swarm.chance(1, 3),
            odd_keys: swarm.chance(1, 3),
            ttl: swarm.coin(),
            levels: swarm.chance(1, 3),
            removes: swarm.coin(),
            ended: Vec::new(),
            tight: options.may_be_full(),
            burst: VecDeque::new(),
        }
    }

    pub(super) fn ops(&mut self, rng: &mut Rng, count: usize) -> Vec<Op> {
        let mut ops = vec![Op::Write {
            change: ChangeSpec::Begin { run: 0, parent: None, tags: 1 },
            level: LevelSpec::Default,
        }];
        if self.tight {
            // Before memory is full, and refuses what comes next by itself.
            self.burst = self.submitted(self.crowd(rng), rng);
        }
        while ops.len() < count {
            ops.push(self.op(rng));
        }
        ops
    }

    fn op(&mut self, rng: &mut Rng) -> Op {
        if let Some(op) = self.burst.pop_front() {
            return op;
        }
        if self.weights[4] > 0 && rng.chance(1, if self.tight { 20 } else { 40 }) {
            self.burst = self.group(rng);
        }
        if self.weights[13] > 0 && rng.chance(1, 40) {
            self.burst = self.full_disk(rng);
        }
        if rng.chance(1, 45) {
            self.burst = self.timers(rng);
        }
        if self.ttl && rng.chance(1, 60) {
            self.burst = self.expired(rng);
        }
        let level = self.level(rng);
        match rng.weighted(&self.weights).unwrap_or(0) {
            0 => Op::Write { change: self.put(rng), level },
            1 => Op::Write { change: self.removal(rng), level: LevelSpec::Default },
            2 => Op::Remove { run: self.run(rng), key: self.key(rng) },
            3 => Op::Batch { changes: self.changes(rng), level },
            4 => Op::Submit { changes: self.changes(rng), level },
            5 => match rng.below(4) {
                0 => Op::Wait,
                1 => self.late_step(rng),
                _ => Op::Step,
            },
            6 => Op::Tick,
            7 => Op::Maintain,
            8 => Op::Flush,
            9 => Op::Get { run: self.run(rng), key: self.key(rng) },
            10 => Op::List {
                run: self.run(rng),
                key: self.key(rng),
                len: byte(rng, 4),
                ends: bits(rng),
            },
            11 => match rng.below(3) {
                0 => Op::Snapshot,
                1 => Op::DropSnapshot { slot: byte(rng, 4) },
                _ => Op::ReadSnapshot { slot: byte(rng, 4) },
            },
            12 => Op::Clock {
                wall_ms: match rng.below(6) {
                    0 => -i64::try_from(rng.below(100_000)).unwrap_or(0),
                    1 if rng.chance(1, 20) => 2 * 366 * 24 * 3600 * 1000,
                    1 => i64::try_from(rng.below(100_000)).unwrap_or(0),
                    _ => 0,
                },
                passes_ms: u32::try_from(pick(rng, &[0, 1, 5, 7, 50, 60, 2000])).unwrap_or(0),
            },
            13 => match rng.coin() {
                true => Op::FillDisk { free: u32::try_from(rng.below(2000)).unwrap_or(0) },
                false => Op::FreeDisk,
            },
            14 => match rng.below(4) {
                0 => Op::DropReopen,
                1 => Op::OpenTwice,
                _ => Op::Reopen,
            },
            15 => Op::Write { change: self.begin(rng), level: LevelSpec::Default },
            16 => Op::Write { change: self.end(rng), level: LevelSpec::Default },
            17 => Op::Range {
                run: self.run(rng),
                from: self.key(rng),
                to: self.key(rng),
                bounds: byte(rng, 9),
                ends: bits(rng),
            },
            18 => Op::OpenScan { run: self.run(rng), key: self.key(rng), len: byte(rng, 3) },
            19 => Op::Advance { slot: byte(rng, 4), steps: byte(rng, 8), ends: bits(rng) },
            _ => Op::Kv { change: self.facade(rng) },
        }
    }

    /// What the facade takes: bytes and deletes.
    fn facade(&self, rng: &mut Rng) -> ChangeSpec {
        if rng.chance(1, 3) {
            return self.delete(rng);
        }
        match self.put(rng) {
            ChangeSpec::Put { run, key, value, ttl_ms } => {
                ChangeSpec::Put { run, key, value: ValueSpec { kind: 8, ..value }, ttl_ms }
            }
            other => other,
        }
    }

    /// A new run, or any: one that exists is refused, one that a crash took begins again.
    fn begin(&mut self, rng: &mut Rng) -> ChangeSpec {
        let is_new = self.begun < self.runs && rng.chance(2, 3);
        let run = if is_new { self.begun } else { byte(rng, u64::from(self.runs)) };
        if is_new {
            self.begun += 1;
            self.active.push(run);
        }
        let parent = rng.chance(1, 3).then(|| self.run(rng));
        ChangeSpec::Begin { run, parent, tags: self.tags(rng) }
    }

    fn tags(&self, rng: &mut Rng) -> u8 {
        let tags = pick(rng, &[0, 1, 2, 3, 13, 20, 24, 38]);
        // Names of its own, of which one in a few may be too long.
        if rng.chance(1, 4) { NAMED + pick(rng, &[tags, 21, 24, 25]) } else { tags }
    }

    /// Ends a run, but as a rule not the last that could be written to.
    fn end(&mut self, rng: &mut Rng) -> ChangeSpec {
        if self.removes && rng.coin() {
            return self.drop_run(rng);
        }
        let run = self.run(rng);
        let is_last = self.active.len() <= 1;
        if is_last && !rng.chance(1, 20) {
            // One that was never begun, or has ended: refused.
            return ChangeSpec::End { run: RUNS - 1, status: byte(rng, 3) };
        }
        self.active.retain(|active| *active != run);
        self.ended.push(run);
        ChangeSpec::End { run, status: byte(rng, 3) }
    }

    /// Drops a run that has ended, or any: one that is active is refused.
    fn drop_run(&mut self, rng: &mut Rng) -> ChangeSpec {
        let any = byte(rng, u64::from(self.runs));
        let ended = rng.pick(&self.ended).copied();
        ChangeSpec::Drop { run: if rng.chance(4, 5) { ended.unwrap_or(any) } else { any } }
    }

    fn remove_range(&self, rng: &mut Rng) -> ChangeSpec {
        let (run, from, to) = (self.run(rng), self.key(rng), self.key(rng));
        ChangeSpec::RemoveRange { run, from, to, bounds: byte(rng, 9) }
    }

    fn level(&self, rng: &mut Rng) -> LevelSpec {
        if !self.levels {
            return LevelSpec::Default;
        }
        pick(rng, &[LevelSpec::Default, LevelSpec::Async, LevelSpec::Batched, LevelSpec::Strict])
    }

    /// An active run as a rule; now and then any.
    fn run(&self, rng: &mut Rng) -> u8 {
        let any = byte(rng, u64::from(self.runs));
        let active = rng.pick(&self.active).copied();
        if rng.chance(14, 15) { active.unwrap_or(any) } else { any }
    }

    fn key(&self, rng: &mut Rng) -> u16 {
        match u16::from(byte(rng, u64::from(self.keys))) {
            // The keys that are refused are rare, or nothing would be written.
            key @ (12 | 13) if !self.odd_keys || rng.chance(3, 4) => key - 10,
            key => key,
        }
    }

    fn value(&self, rng: &mut Rng) -> ValueSpec {
        let limit = u64::try_from(VALUE_BYTES_MAX).unwrap_or(0);
        let size = match rng.below(if self.big_values { 12 } else { 6 }) {
            0 => 0,
            1 => 1,
            2..=5 => rng.below(60),
            6..=8 => rng.range(400..=700),
            9 => limit,
            10 => limit + 1,
            _ => rng.below(limit),
        };
        ValueSpec {
            kind: byte(rng, 14),
            size: u32::try_from(size).unwrap_or(0),
            salt: u32::try_from(rng.below(1 << 32)).unwrap_or(0),
        }
    }

    fn put(&self, rng: &mut Rng) -> ChangeSpec {
        let ttl_ms = match rng.below(8) {
            _ if !self.ttl => None,
            // Some expire at the very moment at which somebody looks.
            0 | 1 => Some(pick(rng, &[0, 1, 5, 7, 50, 60])),
            2 => Some(rng.range(1..=3000)),
            _ => None,
        };
        ChangeSpec::Put { run: self.run(rng), key: self.key(rng), value: self.value(rng), ttl_ms }
    }

    /// Now and then a range of keys.
    fn removal(&self, rng: &mut Rng) -> ChangeSpec {
        if self.removes && rng.chance(1, 4) { self.remove_range(rng) } else { self.delete(rng) }
    }

    fn delete(&self, rng: &mut Rng) -> ChangeSpec {
        ChangeSpec::Delete { run: self.run(rng), key: self.key(rng) }
    }

    fn changes(&mut self, rng: &mut Rng) -> Vec<ChangeSpec> {
        if rng.chance(1, 8) {
            return self.dense(rng);
        }
        let count = pick(rng, &[1, 1, 1, 2, 3, 5, 0]);
        (0..count)
            .map(|_| match rng.below(20) {
                0 => self.begin(rng),
                1 if rng.coin() => self.end(rng),
                2..=5 => self.removal(rng),
                6 | 7 => ChangeSpec::Tagged {
                    run: self.run(rng),
                    tag: byte(rng, 4),
                    key: u16::from(byte(rng, u64::from(TAGGED_KEYS))),
                    value: rng.chance(3, 4).then(|| self.value(rng)),
                },
                _ => self.put(rng),
            })
            .collect()
    }
}

/// Which end each step of a scan takes: as a rule mixed, now and then always the same.
fn bits(rng: &mut Rng) -> u32 {
    match rng.below(8) {
        0 => 0,
        1 => u32::MAX,
        _ => u32::try_from(rng.below(1 << 32)).unwrap_or(0),
    }
}

pub(super) fn byte(rng: &mut Rng, below: u64) -> u8 {
    u8::try_from(rng.below(below)).unwrap_or(0)
}

pub(super) fn pick<T: Copy>(rng: &mut Rng, items: &[T]) -> T {
    // Every list here has items.
    let index = rng.index(items.len());
    items[index]
}
