//! The workloads that faults strike: one for each thing that an engine does to its disk.
//!
//! Each is a few operations of the harness, on a store with two runs and a key. The full size runs
//! all of them under other options too.

use crate::harness::case::{CaseOptions, ChangeSpec, LevelSpec, Op, ValueSpec};
use crate::harness::steps::StepSpec;

use crate::disk::{CallKind, CrashKind, When};
use crate::exhaust::workload::Setting;

/// A workload that faults strike.
#[derive(Clone, Debug)]
pub struct Script {
    /// Its name, and that of its options.
    pub name: String,
    /// The options of the first session.
    pub options: CaseOptions,
    /// Options that operations may choose.
    pub later: Vec<CaseOptions>,
    /// The operations.
    pub ops: Vec<Op>,
    /// Whether faults strike the creation of the store.
    pub strikes_creation: bool,
    /// The first call of this kind in this operation fails by itself.
    pub fails_first: Option<(usize, CallKind)>,
    /// Whether there is no room for a cut on a full disk.
    pub cut_needs_room: bool,
}

const RUN: u8 = 1;

fn value(size: u32, salt: u32) -> ValueSpec {
    ValueSpec { kind: 8, size, salt }
}

fn put(key: u16, size: u32, level: LevelSpec) -> Op {
    let value = value(size, u32::from(key));
    Op::Write { change: ChangeSpec::Put { run: RUN, key, value, ttl_ms: None }, level }
}

fn expiring(key: u16, ttl_ms: u64) -> Op {
    let change = ChangeSpec::Put { run: RUN, key, value: value(16, 9), ttl_ms: Some(ttl_ms) };
    Op::Write { change, level: LevelSpec::Default }
}

fn change(change: ChangeSpec) -> Op {
    Op::Write { change, level: LevelSpec::Default }
}

fn begin(run: u8) -> Op {
    change(ChangeSpec::Begin { run, parent: None, tags: 0 })
}

fn end(run: u8) -> Op {
    change(ChangeSpec::End { run, status: 0 })
}

fn delete(key: u16) -> Op {
    change(ChangeSpec::Delete { run: RUN, key })
}

fn passes(passes_ms: u32) -> Op {
    Op::Clock { wall_ms: 0, passes_ms }
}

fn crash(kind: CrashKind) -> Op {
    Op::Crash { after_calls: 0, when: When::Before, kind, model: None, nested: vec![], rot: 0 }
}

fn batch(key: u16) -> Vec<ChangeSpec> {
    let put = |key| ChangeSpec::Put { run: RUN, key, value: value(24, 3), ttl_ms: None };
    vec![put(key), ChangeSpec::Delete { run: RUN, key: 0 }, put(key + 1)]
}

fn submit(key: u16, level: LevelSpec) -> Op {
    Op::Submit { changes: batch(key), level }
}

/// What goes on behind a fault, whatever the workload was: every kind of step once.
pub(super) fn more() -> Vec<Op> {
    vec![
        put(14, 40, LevelSpec::Default),
        delete(14),
        Op::Batch { changes: batch(15), level: LevelSpec::Strict },
        passes(100_000),
        Op::Tick,
        Op::Maintain,
        put(17, 40, LevelSpec::Async),
        Op::Flush,
        Op::Get { run: RUN, key: 0 },
        Op::Reopen,
        put(18, 300, LevelSpec::Default),
        Op::Get { run: RUN, key: 17 },
    ]
}

/// The same, only as much as shows that it goes on.
pub(super) fn little_more() -> Vec<Op> {
    vec![put(14, 40, LevelSpec::Default), put(15, 40, LevelSpec::Strict)]
}

impl Script {
    fn new(name: &str, setting: Setting, ops: Vec<Op>) -> Script {
        let founding = [begin(0), begin(RUN), put(0, 16, LevelSpec::Strict)];
        Script {
            name: format!("{name} ({})", setting.name()),
            options: setting.options(),
            later: vec![],
            ops: founding.into_iter().chain(ops).collect(),
            strikes_creation: false,
            fails_first: None,
            cut_needs_room: false,
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Script)) -> Script {
        change(&mut self);
        self
    }

    /// The operations that make the store, which every script has; where others strike from.
    pub(super) const FOUNDING: usize = 3;
}

const STRICT: LevelSpec = LevelSpec::Strict;
const ASYNC: LevelSpec = LevelSpec::Async;
const DEFAULT: LevelSpec = LevelSpec::Default;

/// The workloads, each under the options that it is about.
pub(super) fn scripts() -> Vec<Script> {
    let script = Script::new;
    let unclean =
        |kind| vec![put(1, 40, DEFAULT), put(2, 400, STRICT), put(3, 40, DEFAULT), crash(kind)];
    let rotation = || vec![put(1, 300, DEFAULT), put(2, 300, DEFAULT), put(3, 300, STRICT)];
    let full = |free| {
        vec![
            put(1, 40, DEFAULT),
            Op::FillDisk { free },
            put(2, 100, DEFAULT),
            put(3, 100, STRICT),
            Op::Flush,
            Op::FreeDisk,
            put(4, 100, DEFAULT),
            Op::Flush,
        ]
    };
    vec![
        script("creation", Setting::Batched, vec![]).with(|script| {
            script.strikes_creation = true;
            script.ops.truncate(2);
        }),
        script("creation", Setting::Padded, vec![]).with(|script| {
            script.strikes_creation = true;
            script.ops.truncate(1);
        }),
        script("a session begins", Setting::Strict, vec![Op::Reopen, put(1, 40, DEFAULT)]),
        script(
            "commits",
            Setting::Batched,
            vec![put(1, 40, DEFAULT), put(2, 600, STRICT), delete(1), begin(2), end(2)],
        ),
        script(
            "batched",
            Setting::Batched,
            vec![
                put(1, 40, DEFAULT),
                put(2, 40, ASYNC),
                passes(70_000),
                Op::Tick,
                Op::Flush,
                passes(70_000),
                Op::Tick,
            ],
        ),
        script(
            "full batches",
            Setting::Batched,
            vec![
                put(1, 40, DEFAULT),
                put(2, 40, DEFAULT),
                put(3, 40, DEFAULT),
                put(4, 40, DEFAULT),
                Op::Tick,
                passes(2000),
                Op::Tick,
            ],
        )
        .with(|script| script.options.batch_size = 2),
        script(
            "asynchronous",
            Setting::Async,
            vec![
                put(1, 40, DEFAULT),
                put(2, 40, DEFAULT),
                passes(70_000),
                Op::Tick,
                put(3, 40, DEFAULT),
                put(4, 40, STRICT),
            ],
        ),
        script(
            "a group",
            Setting::Batched,
            vec![
                submit(1, DEFAULT),
                submit(3, ASYNC),
                submit(5, STRICT),
                Op::Step,
                submit(7, DEFAULT),
                Op::Wait,
            ],
        ),
        script("rotation", Setting::Rotating, rotation()),
        script("rotation", Setting::Rotating, rotation()).with(|script| {
            script.name = "rotation (rotating, asynchronous)".to_owned();
            script.options.mode = 2;
        }),
        script("rotation", Setting::Preallocated, rotation()).with(|script| {
            script.name = "rotation (preallocated, zeros)".to_owned();
            script.options.segment_bytes = 1024;
            script.options.zero_fill = true;
        }),
        script("rotation", Setting::Padded, rotation()).with(|script| {
            script.name = "rotation (padded, preallocated)".to_owned();
            script.options.segment_bytes = 1536;
            script.options.preallocate_bytes = 512;
        }),
        script(
            "preallocation",
            Setting::Preallocated,
            vec![put(1, 40, DEFAULT), put(2, 1200, STRICT), Op::Flush],
        ),
        script(
            "a close",
            Setting::Batched,
            vec![put(1, 40, DEFAULT), Op::Reopen, Op::Reopen, Op::DropReopen],
        ),
        script(
            "a close",
            Setting::Preallocated,
            vec![put(1, 40, ASYNC), Op::DropReopen, put(2, 40, DEFAULT)],
        ),
        script(
            "tables",
            Setting::Flushing,
            vec![
                put(1, 40, DEFAULT),
                put(2, 600, DEFAULT),
                Op::Maintain,
                delete(1),
                Op::Get { run: RUN, key: 2 },
                Op::Maintain,
                put(1, 40, STRICT),
                Op::Reopen,
            ],
        ),
        script(
            "recovery of tables",
            Setting::Flushing,
            [vec![put(1, 40, DEFAULT), Op::Maintain], unclean(CrashKind::Power)].concat(),
        ),
        script(
            "a full disk, part of a table",
            Setting::Flushing,
            vec![
                put(1, 40, DEFAULT),
                Op::FillDisk { free: 1400 },
                Op::Maintain,
                put(2, 40, STRICT),
                Op::FreeDisk,
                Op::Maintain,
            ],
        ),
        script("recovery from a kill", Setting::Batched, unclean(CrashKind::Process)),
        script("recovery from a power cut", Setting::Padded, unclean(CrashKind::Power)),
        script("recovery from a kill", Setting::Rotating, unclean(CrashKind::Process)),
        script("recovery in small steps", Setting::Async, unclean(CrashKind::Process)).with(
            |script| {
                script.options.steps =
                    StepSpec { read_bytes: 128, rewrite_bytes: 128, ..StepSpec::default() };
                script.options.mode = 1;
            },
        ),
        script(
            "what a recovery leaves",
            Setting::Rotating,
            [
                unclean(CrashKind::Process),
                vec![
                    Op::Maintain,
                    put(4, 40, STRICT),
                    Op::Reopen,
                    put(5, 40, DEFAULT),
                    Op::Maintain,
                ],
            ]
            .concat(),
        )
        .with(|script| script.fails_first = Some((Script::FOUNDING + 3, CallKind::Remove))),
        script(
            "what a session leaves",
            Setting::Batched,
            vec![
                Op::Reopen,
                put(1, 40, DEFAULT),
                Op::Maintain,
                Op::Reopen,
                Op::Maintain,
                put(2, 40, STRICT),
                Op::Maintain,
            ],
        )
        .with(|script| script.fails_first = Some((Script::FOUNDING + 1, CallKind::Remove))),
        script(
            "strays are found by a clean opening",
            Setting::Batched,
            vec![Op::Reopen, put(1, 40, DEFAULT), Op::Reopen, Op::Maintain, Op::Maintain],
        )
        .with(|script| script.fails_first = Some((Script::FOUNDING + 2, CallKind::Remove))),
        script(
            "expiry",
            Setting::Batched,
            vec![
                expiring(1, 1000),
                passes(1500),
                Op::Get { run: RUN, key: 1 },
                Op::Maintain,
                Op::Flush,
                Op::Reopen,
            ],
        ),
        script(
            "expiry that was only shown",
            Setting::Strict,
            vec![
                expiring(1, 1000),
                Op::Reopen,
                passes(1500),
                Op::Get { run: RUN, key: 1 },
                Op::Reopen,
            ],
        ),
        script(
            "deletes",
            Setting::Batched,
            vec![
                put(1, 40, DEFAULT),
                delete(1),
                Op::Remove { run: RUN, key: 0 },
                Op::Batch { changes: batch(2), level: STRICT },
                Op::Maintain,
                Op::Maintain,
                end(RUN),
            ],
        ),
        script("a full disk, no byte free", Setting::Batched, full(0)),
        script("a full disk, part of a record", Setting::Async, full(60)),
        script("a full disk, part of a segment", Setting::Rotating, full(90)).with(|script| {
            script.ops.insert(Script::FOUNDING + 1, put(5, 200, DEFAULT));
        }),
        script("a full disk, no room for a cut", Setting::Strict, full(60)).with(|script| {
            script.cut_needs_room = true;
        }),
        script(
            "a full disk, at a close",
            Setting::Batched,
            vec![
                put(1, 40, ASYNC),
                Op::FillDisk { free: 70 },
                Op::Reopen,
                Op::FreeDisk,
                Op::Reopen,
            ],
        ),
        script(
            "a second opening",
            Setting::Batched,
            vec![put(1, 40, DEFAULT), Op::OpenTwice, put(2, 40, DEFAULT)],
        ),
        script(
            "other options",
            Setting::Batched,
            vec![
                put(1, 40, DEFAULT),
                Op::Options { set: 1 },
                Op::Reopen,
                put(2, 40, DEFAULT),
                Op::Options { set: 0 },
                Op::Reopen,
                put(3, 40, STRICT),
            ],
        )
        .with(|script| {
            script.later = vec![CaseOptions { segment_bytes: 1024, ..Setting::Padded.options() }]
        }),
    ]
}

/// All of them under every setting beside their own.
pub(super) fn scripts_in_all_settings() -> Vec<Script> {
    let mut all = scripts();
    for setting in Setting::ALL {
        all.extend(scripts().into_iter().map(|script| {
            let options = setting.options();
            let name = format!("{} under {}", script.name, setting.name());
            Script { name, options, ..script }
        }));
    }
    all
}
