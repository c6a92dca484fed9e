//! Faults and crashes, put beside the operation that they struck.
//!
//! A fault that is drawn, or listed by the number of its call, strikes another call as soon as
//! an operation before it is deleted; so does a crash that is armed many calls ahead.

use super::{Case, Op, Shrinker};
use crate::disk::{FaultMode, FaultPlan, Injected};

impl Shrinker {
    /// No fault if that will do; else each as an operation before the one that it struck, and
    /// those of the first opening as a list.
    pub(super) fn name_faults(&mut self, injected: &[Injected]) {
        if matches!(&self.best.faults, FaultMode::Drawn(plan) if !plan.is_active()) {
            return;
        }
        self.reseeds = 3;
        let without = self.attempt_change(|case| case.faults = FaultMode::Drawn(FaultPlan::none()));
        self.reseeds = 0;
        if without {
            return;
        }
        let first = self.starts.first().copied().unwrap_or(u64::MAX);
        let opening: Vec<Injected> =
            injected.iter().copied().filter(|hit| hit.call < first).collect();
        let mut ops = Vec::with_capacity(self.best.ops.len() + injected.len());
        for (at, op) in self.best.ops.iter().enumerate() {
            let start = self.starts.get(at).copied().unwrap_or(u64::MAX);
            let end = self.starts.get(at + 1).copied().unwrap_or(u64::MAX);
            for hit in injected.iter().filter(|hit| (start..end).contains(&hit.call)) {
                let after_calls = u32::try_from(hit.call - start).unwrap_or(u32::MAX);
                ops.push(Op::Fault { after_calls, fault: hit.fault });
            }
            ops.push(op.clone());
        }
        let named = Case { faults: FaultMode::Listed(opening), ops, ..self.best.clone() };
        if !self.try_case(named) {
            // The same by the numbers of the calls, which always repeats.
            let listed = FaultMode::Listed(injected.to_vec());
            self.attempt_change(|case| case.faults = listed);
        }
        self.drop_listed();
    }

    /// Listed faults go one by one.
    fn drop_listed(&mut self) {
        let mut at = 0;
        while let FaultMode::Listed(list) = &self.best.faults {
            if at >= list.len() || self.is_spent() {
                return;
            }
            let mut fewer = list.clone();
            fewer.remove(at);
            let gone = self.attempt_change(|case| case.faults = FaultMode::Listed(fewer));
            at += usize::from(!gone);
        }
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
        case.ops.insert(struck, crash);
        case.ops.remove(at);
        Some(case)
    }
}
