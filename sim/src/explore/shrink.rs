//! Reducing a violation: a crash between calls rather than in one, no crash in the recovery if
//! it does without, and the fewest lost operations.

use super::state::{Broken, CrashState, Stopped, Subject, Survives};
use crate::disk::{CrashPoint, When};
use crate::rng::Rng;

/// How many small seeds are tried instead of the one that was found.
const SMALL_SEEDS: u64 = 64;
/// How many random sets of lost operations are tried for a state that was drawn.
const SETS: u64 = 64;

struct Shrinker<'a, S> {
    subject: &'a Subject<'a, S>,
    best: Broken,
}

/// The same violation with less.
pub(super) fn shrink<S: Default>(
    subject: &Subject<'_, S>,
    state: CrashState,
    message: String,
) -> Broken {
    let mut shrinker = Shrinker { subject, best: (state, message) };
    let state = shrinker.best.0.clone();
    if state.recovery.is_some() {
        shrinker.try_state(CrashState { recovery: None, ..state });
    }
    shrinker.leave_the_call();
    shrinker.name_the_lost();
    shrinker.lose_less();
    shrinker.take_a_small_seed();
    shrinker.best
}

impl<S: Default> Shrinker<'_, S> {
    fn try_state(&mut self, state: CrashState) -> bool {
        let stopped = self.subject.stop_at(state.point, state.part);
        self.try_stopped(&stopped, state)
    }

    fn try_stopped(&mut self, stopped: &Stopped<S>, state: CrashState) -> bool {
        match self.subject.judge(stopped, &state).0 {
            Ok(()) => false,
            Err(message) => {
                self.best = (state, message);
                true
            }
        }
    }

    /// A drawn state as an explicit list of what is lost, where whole operations will do.
    fn name_the_lost(&mut self) {
        let Survives::Drawn { seed, .. } = self.best.0.survives else { return };
        let stopped = self.subject.stop_at(self.best.0.point, self.best.0.part);
        let pending = stopped.disk.pending_operations();
        let mut rng = Rng::from_seed(seed);
        for _ in 0..SETS {
            let lost = (0..pending).filter(|_| rng.coin()).collect();
            let state = CrashState { survives: Survives::AllBut(lost), ..self.best.0.clone() };
            if self.try_stopped(&stopped, state) {
                return;
            }
        }
    }

    /// A drawn state from a small seed reads better.
    fn take_a_small_seed(&mut self) {
        let Survives::Drawn { model, seed } = self.best.0.survives else { return };
        let stopped = self.subject.stop_at(self.best.0.point, self.best.0.part);
        for seed in 0..SMALL_SEEDS.min(seed) {
            let survives = Survives::Drawn { model, seed };
            if self.try_stopped(&stopped, CrashState { survives, ..self.best.0.clone() }) {
                return;
            }
        }
    }

    /// Keeps operation after operation, as long as it fails.
    fn lose_less(&mut self) {
        let stopped = self.subject.stop_at(self.best.0.point, self.best.0.part);
        let mut at = 0;
        while let Survives::AllBut(lost) = &self.best.0.survives {
            if at >= lost.len() {
                return;
            }
            let mut fewer = lost.clone();
            fewer.remove(at);
            let state = CrashState { survives: Survives::AllBut(fewer), ..self.best.0.clone() };
            if !self.try_stopped(&stopped, state) {
                at += 1;
            }
        }
    }

    /// A crash before or after the call is easier to think of than one inside it.
    fn leave_the_call(&mut self) {
        if self.best.0.point.when != When::Inside {
            return;
        }
        for when in [When::Before, When::After] {
            let point = CrashPoint { when, ..self.best.0.point };
            let state = CrashState { point, part: 0, ..self.best.0.clone() };
            if self.try_state(state) {
                return;
            }
        }
    }
}
