//! Smaller operations and plainer options, where they do as well.

use super::{Case, ChangeSpec, Op, Shrinker, changes_of};
use crate::disk::{CrashKind, CrashModel, DiskConfig, When};
use crate::harness::case::{CaseOptions, LevelSpec, ValueSpec};
use crate::harness::steps::StepSpec;

/// The crash models that need no draw, and those that need little.
const PLAIN_MODELS: [CrashModel; 5] = [
    CrashModel::DropAll,
    CrashModel::KeepAll,
    CrashModel::PrefixTornLast,
    CrashModel::AloneLost,
    CrashModel::AloneKept,
];

impl Shrinker<'_> {
    /// Plainer knobs and options.
    pub(super) fn knobs(&mut self) {
        let simpler: &[fn(&mut Case)] = &[
            |case| each_free(case, |_| 0),
            |case| each_free(case, |free| free / 2),
            |case| each_free(case, |free| free / 4),
            |case| case.poisoned_nested.clear(),
            |case| case.later.clear(),
            |case| case.later.truncate(1),
            |case| case.creation.clear(),
            |case| case.creation.truncate(1),
            |case| {
                case.disk = DiskConfig { models: case.disk.models.clone(), ..DiskConfig::plain() }
            },
            |case| {
                let names = case.disk.name_models.clone();
                let models = case.disk.models.clone();
                case.disk = DiskConfig { models, name_models: names, ..DiskConfig::plain() }
            },
            |case| case.options.steps = StepSpec::default(),
            |case| case.options.flush_bytes = u64::MAX,
            |case| case.options.flush_log_bytes = u64::MAX,
            |case| case.options.retention = (u64::MAX, u64::MAX),
            |case| case.options.flush_bytes = case.options.flush_bytes.min(1),
            |case| case.options.table_bytes_max = 1 << 20,
            |case| case.options.block_bytes = (4096, 4096),
            |case| case.options.levels_per_tier = 2,
            |case| case.options.block_cache = 0,
            |case| case.options.manifest_edits = 0,
            |case| case.options.manifest_edits = 32_768,
            |case| case.options.compresses = false,
            |case| case.counts = 0,
            |case| case.counts = case.counts.min(1),
            |case| case.later.iter_mut().for_each(|options| options.compresses = false),
            |case| case.options.open_files_max = 256,
            |case| case.later.iter_mut().for_each(|options| options.open_files_max = 256),
            |case| case.options.other_batch_size = 1024,
            |case| case.options.other_intervals_ms = (100, 100),
            |case| case.options.diligent = false,
            |case| case.options.preallocate_bytes = 0,
            |case| case.options.by_file_system = false,
            |case| case.options.zero_fill = false,
            |case| case.options.segment_bytes = 65_536,
            |case| case.options.pad_to_sector = false,
            |case| case.options.group_commits_max = 64,
            |case| case.options.queue_commits_max = 64,
            |case| case.options.memtable_bytes_max = CaseOptions::AMPLE_MEMTABLE,
            |case| case.options.log_buffer_bytes_max = 65_536,
            |case| case.options.batch_size = 40,
            |case| case.options.mode = 0,
            |case| case.faults_in_recovery = false,
        ];
        for simplify in simpler {
            self.attempt_change(simplify);
        }
    }

    /// Fewer crashes in recoveries, fewer calls before a crash, plain models.
    pub(super) fn simplify_crashes(&mut self) {
        for at in 0..self.best.ops.len() {
            while let Some(Op::Crash { nested, .. }) = self.best.ops.get(at) {
                if nested.is_empty() || self.is_spent() {
                    break;
                }
                let last = nested.len() - 1;
                let gone = [0, last].into_iter().any(|nth| {
                    self.change_crash(at, |crash| {
                        if let Op::Crash { nested, .. } = crash {
                            nested.remove(nth);
                        }
                    })
                });
                if !gone {
                    break;
                }
            }
            let Some(Op::Crash { model, .. }) = self.best.ops.get(at) else { continue };
            if model.is_none() {
                let _ = PLAIN_MODELS.into_iter().any(|plain| {
                    self.change_crash(at, |crash| {
                        if let Op::Crash { model, .. } = crash {
                            *model = Some(plain);
                        }
                    })
                });
            }
            self.change_crash(at, |crash| {
                if let Op::Crash { after_calls, .. } = crash {
                    *after_calls = 0;
                }
            });
        }
    }

    fn change_crash(&mut self, at: usize, change: impl FnOnce(&mut Op)) -> bool {
        self.attempt_change(|case| {
            if let Some(op) = case.ops.get_mut(at) {
                change(op);
            }
        })
    }

    /// Plain values in every operation.
    pub(super) fn simplify_ops(&mut self) {
        let plainer: &[fn(&mut Op)] = &[
            |op| each_value(op, |value| *value = ValueSpec { kind: 0, size: 0, salt: 0 }),
            |op| each_value(op, |value| value.size = 0),
            |op| each_value(op, |value| value.size /= 2),
            |op| each_value(op, |value| value.kind = 8),
            |op| each_value(op, |value| value.salt = 0),
            |op| {
                for change in changes_of(op) {
                    if let ChangeSpec::Put { ttl_ms, .. } = change {
                        *ttl_ms = None;
                    }
                }
            },
            |op| {
                if let Op::Range { bounds, ends, .. } = op {
                    (*bounds, *ends) = (0, 0);
                }
            },
            |op| each_run_and_key(op, |_, key| *key = 0),
            |op| each_run_and_key(op, |run, _| *run = 0),
            |op| {
                for change in changes_of(op) {
                    if let ChangeSpec::Begin { parent, tags, .. } = change {
                        (*parent, *tags) = (None, 0);
                    }
                }
            },
            |op| {
                if let Op::Write { level, .. } | Op::Batch { level, .. } = op {
                    *level = LevelSpec::Default;
                }
            },
            |op| {
                if let Op::Clock { wall_ms, .. } = op {
                    *wall_ms = 0;
                }
            },
            |op| {
                if let Op::FillDisk { free } = op {
                    *free = 0;
                }
            },
            |op| {
                if let Op::Crash { when, kind, rot, .. } = op {
                    (*when, *kind, *rot) = (When::After, CrashKind::Power, 0);
                }
            },
        ];
        for at in 0..self.best.ops.len() {
            for plain in plainer {
                self.change_crash(at, plain);
            }
            self.fewer_calls(at);
        }
    }

    /// The fewest calls before a crash or a fault.
    fn fewer_calls(&mut self, at: usize) {
        let calls = |op: &mut Op| match op {
            Op::Crash { after_calls, .. } | Op::Fault { after_calls, .. } => Some(*after_calls),
            _ => None,
        };
        let Some(now) = self.best.ops.get_mut(at).and_then(calls) else { return };
        for fewer in 1..now.min(16) {
            let done = self.change_crash(at, |op| {
                if let Op::Crash { after_calls, .. } | Op::Fault { after_calls, .. } = op {
                    *after_calls = fewer;
                }
            });
            if done {
                return;
            }
        }
    }
}

/// What a filled disk leaves free: a manifest of two segments needs less than one of twelve, so
/// segments can only go together with what is free.
fn each_free(case: &mut Case, change: impl Fn(u32) -> u32) {
    for op in &mut case.ops {
        if let Op::FillDisk { free } = op {
            *free = change(*free);
        }
    }
}

/// The values that an operation writes.
pub(super) fn each_value(op: &mut Op, change: impl Fn(&mut ValueSpec)) {
    for spec in changes_of(op) {
        match spec {
            ChangeSpec::Put { value, .. } | ChangeSpec::Tagged { value: Some(value), .. } => {
                change(value);
            }
            _ => {}
        }
    }
}

/// The runs and keys that an operation names.
fn each_run_and_key(op: &mut Op, change: impl Fn(&mut u8, &mut u16)) {
    match op {
        Op::Remove { run, key }
        | Op::Get { run, key }
        | Op::List { run, key, .. }
        | Op::OpenScan { run, key, .. } => {
            return change(run, key);
        }
        _ => {}
    }
    for spec in changes_of(op) {
        match spec {
            ChangeSpec::Put { run, key, .. }
            | ChangeSpec::Delete { run, key }
            | ChangeSpec::Tagged { run, key, .. } => change(run, key),
            ChangeSpec::RemoveRange { run, from, to, .. } => {
                change(run, from);
                change(run, to);
            }
            ChangeSpec::Begin { run, .. }
            | ChangeSpec::End { run, .. }
            | ChangeSpec::Drop { run } => change(run, &mut 0),
        }
    }
}
