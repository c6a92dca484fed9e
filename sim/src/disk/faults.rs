//! What fails: faults drawn from a plan, scripted one by one, or taken from an explicit list.
//!
//! Every injected fault is recorded with the number of its call and with all that was drawn
//! for it. That list, given back as [`FaultMode::Listed`], repeats the faults exactly, and a
//! shrinker may delete entries one by one.

use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::call::CallKind;
use super::config::Odds;
use super::kind::FaultKind;

use crate::rng::Rng;

/// What a failed sync leaves behind (rules F1, F2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SyncFlavour {
    /// F1, as Linux does it: reads see the new bytes, no later sync saves them, and an
    /// eviction brings the old ones back.
    Doomed,
    /// Reads fall back to what is durable at once.
    Reverted,
    /// The size is kept and durable, and its data is lost at once.
    SizeKept,
    /// F1 switched off: nothing is doomed, and a later sync saves all. A kind disk.
    Harmless,
}

/// A fault with all that was drawn for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What happens.
    pub kind: FaultKind,
    /// How much of a write or read takes place, in parts of 65,536; for other calls, at
    /// least half means "with effect".
    pub part: u16,
    /// What it leaves behind, if it fails a sync.
    pub flavour: SyncFlavour,
}

impl Fault {
    /// A fault with effect (`part` at its greatest), failed syncs dooming what they cover.
    pub const fn new(kind: FaultKind) -> Fault {
        Fault { kind, part: u16::MAX, flavour: SyncFlavour::Doomed }
    }

    /// The same without effect.
    #[must_use]
    pub const fn without_effect(self) -> Fault {
        Fault { part: 0, ..self }
    }

    /// The same with another flavour of failed sync.
    #[must_use]
    pub const fn flavour(self, flavour: SyncFlavour) -> Fault {
        Fault { flavour, ..self }
    }

    /// Whether a call other than a read or write takes place although it fails.
    pub(super) fn has_effect(self) -> bool {
        self.part >= 1 << 15
    }

    /// How many of `len` bytes take place, between `min` and `max`.
    pub(super) fn share(self, len: u64, min: u64, max: u64) -> u64 {
        (((len + 1) * u64::from(self.part)) >> 16).clamp(min, max.max(min))
    }

    /// The error that the caller sees.
    pub(super) fn error(self) -> io::Error {
        match self.kind {
            FaultKind::Interrupted => io::ErrorKind::Interrupted.into(),
            FaultKind::NoSpace => io::ErrorKind::StorageFull.into(),
            FaultKind::Quota => io::ErrorKind::QuotaExceeded.into(),
            FaultKind::ReadOnly | FaultKind::Unwritable => io::ErrorKind::ReadOnlyFilesystem.into(),
            FaultKind::Denied => io::ErrorKind::PermissionDenied.into(),
            FaultKind::FileSize => io::ErrorKind::FileTooLarge.into(),
            FaultKind::OutOfFiles => io::Error::from_raw_os_error(OUT_OF_FILES),
            _ => io_error(),
        }
    }
}

/// What the operating system that this runs on calls too many open files.
const OUT_OF_FILES: i32 = if cfg!(windows) { 4 } else { 24 };

/// A device error.
pub(super) fn io_error() -> io::Error {
    io::Error::other("simulated input/output error")
}

/// A fault that was injected at a call; a list of these can be replayed and pruned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    /// The number of the call, from 0.
    pub call: u64,
    /// Its kind. For the reader; a replay goes by the number.
    pub kind: CallKind,
    /// What was injected.
    pub fault: Fault,
}

/// The odds of every fault for every kind of call. The default is no fault at all.
///
/// ```
/// use runstone_sim::disk::{CallKind, FaultKind, FaultPlan, Odds};
///
/// let plan = FaultPlan::none()
///     .with(CallKind::Sync, FaultKind::Io, Odds::one_in(100))
///     .with(CallKind::Write, FaultKind::Short, Odds::one_in(20));
/// assert!(plan.is_active());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FaultPlan {
    /// For each kind of call, the odds of each fault; their sum is at most a whole.
    pub odds: BTreeMap<CallKind, BTreeMap<FaultKind, Odds>>,
    /// The weight of each flavour of failed sync.
    pub flavours: BTreeMap<SyncFlavour, u32>,
    /// F3: after a device error everything answers `ReadOnlyFilesystem`.
    pub read_only_after_error: Odds,
}

impl Default for FaultPlan {
    fn default() -> FaultPlan {
        FaultPlan {
            odds: BTreeMap::new(),
            flavours: BTreeMap::from([(SyncFlavour::Doomed, 1)]),
            read_only_after_error: Odds::NEVER,
        }
    }
}

impl FaultPlan {
    /// No fault.
    pub fn none() -> FaultPlan {
        FaultPlan::default()
    }

    /// Every fault of a disk that keeps its word (worlds `lying` and "late" excepted), with
    /// the same odds for each fault of each kind of call.
    pub fn all(odds: Odds) -> FaultPlan {
        let mut plan = FaultPlan { read_only_after_error: Odds::one_in(16), ..FaultPlan::none() };
        for call in CallKind::ALL {
            for kind in [
                FaultKind::Interrupted,
                FaultKind::Short,
                FaultKind::NoSpace,
                FaultKind::Quota,
                FaultKind::Io,
                FaultKind::BadSectorOnce,
                FaultKind::BackgroundFails,
            ] {
                if kind.suits(call) {
                    plan = plan.with(call, kind, odds);
                }
            }
        }
        plan
    }

    /// The world `lying`: syncs that say Ok and do nothing (rule F4).
    #[must_use]
    pub fn lying(self, odds: Odds) -> FaultPlan {
        self.with(CallKind::Sync, FaultKind::SyncLies, odds).with(
            CallKind::SyncDir,
            FaultKind::SyncLies,
            odds,
        )
    }

    /// The world of errors that are reported one sync late (rule F2).
    #[must_use]
    pub fn late(self, odds: Odds) -> FaultPlan {
        self.with(CallKind::Sync, FaultKind::SyncLate, odds).with(
            CallKind::SyncDir,
            FaultKind::SyncLate,
            odds,
        )
    }

    /// This plan with the odds of one fault at one kind of call. Odds for a fault that does
    /// not suit the call are ignored.
    #[must_use]
    pub fn with(mut self, call: CallKind, fault: FaultKind, odds: Odds) -> FaultPlan {
        self.odds.entry(call).or_default().insert(fault, odds);
        self
    }

    /// This plan with one flavour of failed sync only.
    #[must_use]
    pub fn flavour(mut self, flavour: SyncFlavour) -> FaultPlan {
        self.flavours = BTreeMap::from([(flavour, 1)]);
        self
    }

    /// Whether any fault has any odds.
    pub fn is_active(&self) -> bool {
        self.odds.values().flat_map(BTreeMap::values).any(|&odds| odds > Odds::NEVER)
    }

    fn draw(&self, call: CallKind, rng: &mut Rng) -> Option<FaultKind> {
        let odds = self.odds.get(&call)?;
        let mut rest = rng.next_u64() >> 48;
        for (&kind, &Odds(odds)) in odds {
            if rest < u64::from(odds) {
                return kind.suits(call).then_some(kind);
            }
            rest -= u64::from(odds);
        }
        None
    }
}

/// Where faults come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FaultMode {
    /// Drawn, from the faults stream.
    Drawn(FaultPlan),
    /// These and no others, by the number of the call (a replay, a shrinker).
    Listed(Vec<Injected>),
}

/// How often a fault could have been injected, and how often it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reach {
    /// Calls that the plan gave the fault odds for.
    pub reached: u64,
    /// Calls that it was injected into.
    pub injected: u64,
}

/// What happened on a disk: how often each rule was exercised.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Stats {
    /// Calls of each kind.
    pub calls: BTreeMap<CallKind, u64>,
    /// Each fault.
    pub faults: BTreeMap<FaultKind, Reach>,
    /// Everything else that the disk did, by name: `power_cut`, `sector_lost`, …
    pub events: BTreeMap<String, u64>,
}

/// A sync that failed, or said Ok and had failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedSync {
    /// The number of the call.
    pub call: u64,
    /// The file or directory, as the caller named it.
    pub path: String,
    /// Whether it was a directory.
    pub is_dir: bool,
    /// Whether its error is reported by the next sync only (rule F2).
    pub late: bool,
    /// What it has left behind. The entries of a directory know one flavour only.
    pub flavour: SyncFlavour,
}

/// Draws, lists and records faults.
#[derive(Clone, Debug)]
pub(super) struct Faults {
    pub(super) mode: FaultMode,
    pub(super) enabled: bool,
    pub(super) injected: Vec<Injected>,
    scripted: Vec<(CallKind, u64, Fault)>,
    scripted_at: Vec<(u64, Fault)>,
    /// How many rare calls come before the one, how many calls then, and what strikes.
    behind_rare: Vec<(u64, u64, Fault)>,
    /// From which call on, and what strikes the first that it suits.
    awaiting: Vec<(u64, Fault)>,
    rng: Rng,
}

/// What a call has to suffer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Verdict {
    /// The fault of this call.
    pub(super) fault: Option<Fault>,
    /// The disk is read-only from after this call on.
    pub(super) then_read_only: bool,
}

impl Faults {
    pub(super) fn new(plan: FaultPlan, rng: Rng) -> Faults {
        let mode = FaultMode::Drawn(plan);
        Faults {
            mode,
            enabled: true,
            injected: vec![],
            scripted: vec![],
            scripted_at: vec![],
            behind_rare: vec![],
            awaiting: vec![],
            rng,
        }
    }

    /// Fails the `n`th call of a kind from now on, from 0.
    pub(super) fn script(&mut self, call: CallKind, n: u64, fault: Fault) {
        self.scripted.push((call, n, fault));
    }

    /// Fails the call of this number.
    pub(super) fn script_at(&mut self, call: u64, fault: Fault) {
        self.scripted_at.push((call, fault));
    }

    /// Fails the first call that the fault suits, so many calls behind the `nth` rare one.
    pub(super) fn script_behind_rare(&mut self, nth: u64, behind: u64, fault: Fault) {
        self.behind_rare.push((nth, behind, fault));
    }

    /// Counts a rare call towards the faults that wait for one.
    pub(super) fn count_rare(&mut self, index: u64) {
        let Faults { behind_rare, awaiting, .. } = self;
        behind_rare.retain_mut(|(left, behind, fault)| match left.checked_sub(1) {
            Some(fewer) => {
                *left = fewer;
                true
            }
            None => {
                awaiting.push((index + *behind, *fault));
                false
            }
        });
    }

    pub(super) fn reseed(&mut self, rng: Rng) {
        self.rng = rng;
    }

    /// Decides what happens to a call, and records it.
    pub(super) fn decide(&mut self, index: u64, call: CallKind, stats: &mut Stats) -> Verdict {
        let mut verdict = Verdict::default();
        let scripted = if self.enabled { self.take_scripted(call) } else { None };
        if let FaultMode::Listed(list) = &self.mode {
            for entry in list.iter().filter(|entry| entry.call == index) {
                if entry.fault.kind == FaultKind::ReadOnly {
                    verdict.then_read_only = true;
                } else if entry.fault.kind.suits(call) {
                    verdict.fault = Some(entry.fault);
                }
            }
        } else if self.enabled {
            self.draw(call, &mut verdict, stats);
        }
        let strikes =
            |at: u64, fault: &Fault| self.enabled && at == index && fault.kind.suits(call);
        let at = self.scripted_at.iter().filter(|(at, fault)| strikes(*at, fault));
        let at: Vec<Fault> = at.map(|(_, fault)| *fault).collect();
        let is_due = |(from, fault): &(u64, Fault)| *from <= index && fault.kind.suits(call);
        let due = self.awaiting.iter().position(|entry| self.enabled && is_due(entry));
        let awaited = due.map(|due| self.awaiting.remove(due).1);
        for fault in scripted.into_iter().chain(at).chain(awaited) {
            if fault.kind == FaultKind::ReadOnly {
                verdict.then_read_only = true;
            } else {
                verdict.fault = Some(fault);
            }
        }
        let gives_up = verdict.then_read_only.then_some(Fault::new(FaultKind::ReadOnly));
        for fault in verdict.fault.into_iter().chain(gives_up) {
            self.injected.push(Injected { call: index, kind: call, fault });
            stats.faults.entry(fault.kind).or_default().injected += 1;
        }
        verdict
    }

    /// The faults that may strike a call of a kind now.
    pub(super) fn possible(&self, call: CallKind) -> impl Iterator<Item = FaultKind> {
        let drawn = match &self.mode {
            FaultMode::Drawn(plan) if self.enabled => plan.odds.get(&call),
            _ => None,
        };
        drawn.into_iter().flat_map(BTreeMap::keys).copied()
    }

    fn take_scripted(&mut self, call: CallKind) -> Option<Fault> {
        let mut due = None;
        self.scripted.retain_mut(|(kind, left, fault)| {
            if *kind != call {
                return true;
            }
            if *left == 0 {
                due = Some(*fault);
                return false;
            }
            *left -= 1;
            true
        });
        due
    }

    fn draw(&mut self, call: CallKind, verdict: &mut Verdict, stats: &mut Stats) {
        let FaultMode::Drawn(plan) = &self.mode else { return };
        let Some(odds) = plan.odds.get(&call) else { return };
        for &kind in odds.keys() {
            stats.faults.entry(kind).or_default().reached += 1;
        }
        let Some(kind) = plan.draw(call, &mut self.rng) else { return };
        if kind == FaultKind::ReadOnly {
            verdict.then_read_only = true;
            return;
        }
        let part = u16::try_from(self.rng.next_u64() >> 48).unwrap_or(u16::MAX);
        let weights: Vec<u32> = plan.flavours.values().copied().collect();
        let flavour = self.rng.weighted(&weights);
        let flavour = flavour.and_then(|i| plan.flavours.keys().nth(i).copied());
        let flavour = flavour.unwrap_or(SyncFlavour::Doomed);
        verdict.fault = Some(Fault { kind, part, flavour });
        let gives_up = plan.read_only_after_error.hit(&mut self.rng);
        verdict.then_read_only = kind == FaultKind::Io && gives_up;
    }
}
