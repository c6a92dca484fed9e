//! Faults and crashes, put beside the operation that they struck.
//!
//! A fault that is drawn, or listed by the number of its call, strikes another call as soon as
//! an operation before it is deleted; so does a crash that is armed many calls ahead.

use super::turns::{cut, put, tidy};
use super::{Case, FAULTS_WANTED, Op, Shrinker};
use crate::disk::{Fault, FaultMode, FaultPlan, Injected};

/// With how many seeds of the disk faults are taken from drawn to named.
const NAMING_SEEDS: u32 = 16;
/// With how many a case is tried with no fault, and with one.
const FAULTS_SEEDS: u32 = 6;
/// Up to how many faults every pair is tried.
const PAIRS_FAULTS_MAX: usize = 24;

impl Shrinker<'_> {
    /// No fault if that will do; else each as an operation before the one that it struck, and
    /// those of the first opening as a list.
    pub(super) fn name_faults(&mut self) {
        if matches!(&self.best.faults, FaultMode::Drawn(plan) if !plan.is_active()) {
            return;
        }
        self.reseeds = NAMING_SEEDS;
        let without = self.attempt_change(|case| case.faults = FaultMode::Drawn(FaultPlan::none()));
        let named = without || self.attempt(self.named());
        self.reseeds = 0;
        if !named {
            // The same by the numbers of the calls, which always repeats.
            let listed = FaultMode::Listed(self.injected.clone());
            self.attempt_change(|case| case.faults = listed);
        }
    }

    /// Faults that are still listed by the numbers of their calls, as operations: what does not
    /// repeat in a long case may in a short one.
    pub(super) fn rename_faults(&mut self) {
        let first = self.starts.first().copied().unwrap_or(u64::MAX);
        if let FaultMode::Listed(list) = &self.best.faults
            && list.iter().any(|hit| hit.call >= first)
        {
            self.attempt(self.named());
        }
    }

    fn named(&self) -> Case {
        let first = self.starts.first().copied().unwrap_or(u64::MAX);
        let opening: Vec<Injected> =
            self.injected.iter().copied().filter(|hit| hit.call < first).collect();
        let mut ops = Vec::with_capacity(self.best.ops.len() + self.injected.len());
        for (at, op) in self.best.ops.iter().enumerate() {
            let start = self.starts.get(at).copied().unwrap_or(u64::MAX);
            let end = self.starts.get(at + 1).copied().unwrap_or(u64::MAX);
            if matches!(op, Op::Fault { .. }) {
                ops.push(Op::Turn { by: 1 });
            } else {
                for hit in self.injected.iter().filter(|hit| (start..end).contains(&hit.call)) {
                    let after_calls = u32::try_from(hit.call - start).unwrap_or(u32::MAX);
                    let end = ops.len();
                    put(&mut ops, end, Op::Fault { after_calls, fault: hit.fault });
                }
                ops.push(op.clone());
            }
        }
        tidy(&mut ops);
        Case { faults: FaultMode::Listed(opening), ops, ..self.best.clone() }
    }

    /// Fewer faults: none, one, two, then without one after the other.
    pub(super) fn fewer_faults(&mut self) {
        let all = self.faults();
        if all.is_empty() {
            return;
        }
        let reseeds = self.reseeds;
        self.reseeds = reseeds.max(FAULTS_SEEDS);
        let mut done = self.attempt(self.with_faults(&[]));
        if all.len() > 1 {
            done |= (0..all.len()).any(|one| self.attempt(self.with_faults(&[one])));
        }
        self.reseeds = reseeds.min(2);
        if !done && all.len() > FAULTS_WANTED && all.len() <= PAIRS_FAULTS_MAX {
            let pairs = (0..all.len()).flat_map(|a| (a + 1..all.len()).map(move |b| [a, b]));
            done = pairs.into_iter().any(|pair| self.attempt(self.with_faults(&pair)));
        }
        if !done {
            let mut at = 0;
            while at < self.faults().len() && !self.is_spent() {
                let rest: Vec<usize> = (0..self.faults().len()).filter(|nth| *nth != at).collect();
                at += usize::from(!self.attempt(self.with_faults(&rest)));
            }
        }
        self.reseeds = reseeds;
    }

    /// The faults of the best case: first those of the list, then those that are operations.
    fn faults(&self) -> Vec<Fault> {
        let listed = match &self.best.faults {
            FaultMode::Listed(list) => list.as_slice(),
            FaultMode::Drawn(_) => &[],
        };
        let named = self.best.ops.iter().filter_map(|op| match op {
            Op::Fault { fault, .. } => Some(*fault),
            _ => None,
        });
        listed.iter().map(|hit| hit.fault).chain(named).collect()
    }

    /// The best case with these of its faults and no others.
    fn with_faults(&self, kept: &[usize]) -> Case {
        let mut case = self.best.clone();
        let mut nth = 0;
        let mut is_kept = || {
            nth += 1;
            kept.contains(&(nth - 1))
        };
        if let FaultMode::Listed(list) = &mut case.faults {
            list.retain(|_| is_kept());
        }
        for at in 0..case.ops.len() {
            if matches!(case.ops.get(at), Some(Op::Fault { .. })) && !is_kept() {
                cut(&mut case.ops, at..at + 1);
            }
        }
        tidy(&mut case.ops);
        case
    }

    /// A crash stands before the operation that it struck.
    pub(super) fn settle_crashes(&mut self) {
        let mut at = 0;
        while at < self.best.ops.len() {
            if let Some(case) = self.settled(at) {
                self.try_case(case);
            }
            at += 1;
        }
    }

    fn settled(&self, at: usize) -> Option<Case> {
        let Some(Op::Crash { after_calls, when, kind, model, nested, rot }) = self.best.ops.get(at)
        else {
            return None;
        };
        let &(struck, calls) = self.strikes.iter().find(|(op, _)| *op >= at)?;
        let start = *self.starts.get(struck)?;
        if struck <= at + 1 || *after_calls == 0 {
            return None;
        }
        // The call that it struck was counted.
        let left = u32::try_from(calls.checked_sub(start + 1)?).ok()?;
        let mut case = self.best.clone();
        let crash = Op::Crash {
            // None would be "now": the call is the first, and before it is the same.
            after_calls: left.max(1),
            when: *when,
            kind: *kind,
            model: *model,
            nested: nested.clone(),
            rot: *rot,
        };
        put(&mut case.ops, struck, crash);
        cut(&mut case.ops, at..at + 1);
        tidy(&mut case.ops);
        Some(case)
    }
}
