//! Deleting and putting in such that every other operation keeps its turn.
//!
//! The runner makes a share of its checks by the number of the operation (a look at the files at
//! every fourth, half of the openings with a clock that stands back, …). Without the operations
//! that went, all that follow would have other numbers, and a failure that needs two of those
//! checks would never get shorter. [`Op::Turn`] stands where something went or came in.

use std::ops::Range;

use super::{Case, Op, Shrinker};

/// After so many operations each check but one has had its turn.
const PERIOD: i32 = 8;
/// With how many seeds of the disk a case is tried without the corrections.
const SEEDS: u32 = 6;

/// Takes operations out; those behind them keep their turn.
pub(super) fn cut(ops: &mut Vec<Op>, range: Range<usize>) {
    let at = range.start;
    let by = ops.drain(range).map(|op| op.turns()).fold(0, i32::wrapping_add);
    ops.insert(at, Op::Turn { by });
}

/// Puts an operation in; those behind it keep their turn.
pub(super) fn put(ops: &mut Vec<Op>, at: usize, op: Op) {
    let by = op.turns().wrapping_neg();
    ops.splice(at..at, [op, Op::Turn { by }]);
}

/// Neighbouring corrections as one, and none that corrects nothing.
pub(super) fn tidy(ops: &mut Vec<Op>) {
    ops.dedup_by(|next, before| match (next, before) {
        (Op::Turn { by: more }, Op::Turn { by }) => {
            *by = by.wrapping_add(*more);
            true
        }
        _ => false,
    });
    ops.retain(|op| !matches!(op, Op::Turn { by: 0 }));
}

/// The nearest operation from here on that is no correction.
pub(super) fn next_real(ops: &[Op], from: usize) -> Option<usize> {
    ops.iter().skip(from).position(|op| !matches!(op, Op::Turn { .. })).map(|ahead| from + ahead)
}

impl Shrinker<'_> {
    /// Tries the best case without these operations: those behind them with their turns, and
    /// then without.
    pub(super) fn attempt_without(&mut self, range: Range<usize>) -> bool {
        let mut case = self.best.clone();
        cut(&mut case.ops, range.clone());
        tidy(&mut case.ops);
        if case != self.best && self.try_case(case) {
            return true;
        }
        let mut case = self.best.clone();
        case.ops.drain(range);
        self.attempt(case)
    }

    /// Takes the corrections back: all, each, or what lies beyond a period of each.
    pub(super) fn fewer_turns(&mut self) {
        let is_turn = |op: &Op| matches!(op, Op::Turn { .. });
        if !self.best.ops.iter().any(is_turn) {
            return;
        }
        let reseeds = self.reseeds;
        self.reseeds = reseeds.max(SEEDS);
        self.attempt_change(|case| case.ops.retain(|op| !is_turn(op)));
        self.reseeds = 0;
        self.attempt_change(|case| case.ops.iter_mut().for_each(within_period));
        self.reseeds = reseeds.min(1);
        let mut at = 0;
        while at < self.best.ops.len() && !self.is_spent() {
            let gone = self.best.ops.get(at).is_some_and(is_turn) && {
                self.attempt_change(|case| drop(case.ops.remove(at)))
            };
            at += usize::from(!gone);
        }
        self.reseeds = reseeds;
    }
}

fn within_period(op: &mut Op) {
    if let Op::Turn { by } = op {
        *by = by.rem_euclid(PERIOD);
    }
}

/// The time that passes in an operation passes in another, and the first one goes.
pub(super) fn move_time(case: &mut Case, from: usize, to: usize) {
    let Some(&Op::Clock { wall_ms: wall, passes_ms: passes }) = case.ops.get(from) else { return };
    if let Some(Op::Clock { wall_ms, passes_ms }) = case.ops.get_mut(to) {
        *wall_ms = wall_ms.saturating_add(wall);
        *passes_ms = passes_ms.saturating_add(passes);
        cut(&mut case.ops, from..from + 1);
        tidy(&mut case.ops);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The turn of each operation that is no correction.
    fn turns(ops: &[Op]) -> Vec<(i32, &Op)> {
        let mut turn = 0;
        let mut turns = Vec::new();
        for op in ops {
            if !matches!(op, Op::Turn { .. }) {
                turns.push((turn, op));
            }
            turn += op.turns();
        }
        turns
    }

    fn list(slot: u8) -> Op {
        Op::ReadSnapshot { slot }
    }

    #[test]
    fn what_stays_keeps_its_turn_whatever_goes_or_comes_in() {
        let all: Vec<Op> = (0..9).map(list).collect();
        for begin in 0..9 {
            for end in begin + 1..=9 {
                let mut ops = all.clone();
                cut(&mut ops, begin..end);
                tidy(&mut ops);
                for (turn, op) in turns(&ops) {
                    assert_eq!(*op, list(u8::try_from(turn).expect("a turn")), "{begin}..{end}");
                }
                assert_eq!(turns(&ops).len(), 9 - (end - begin));
            }
            let mut ops = all.clone();
            put(&mut ops, begin, Op::Flush);
            let moved = turns(&ops).into_iter().filter(|(_, op)| **op != Op::Flush);
            assert!(moved.eq(turns(&all)), "{ops:?}");
        }
    }

    #[test]
    fn neighbouring_corrections_become_one_and_none_that_corrects_nothing() {
        let turn = |by| Op::Turn { by };
        let mut ops = vec![turn(1), turn(2), Op::Flush, turn(3), turn(-3), Op::Tick, turn(0)];
        tidy(&mut ops);
        assert_eq!(ops, [turn(3), Op::Flush, Op::Tick]);
    }

    #[test]
    fn time_that_moves_is_not_lost() {
        let clock = |wall_ms, passes_ms| Op::Clock { wall_ms, passes_ms };
        let mut case = crate::harness::generate::generate(1);
        case.ops = vec![clock(5, 10), Op::Flush, clock(-1, 20)];
        move_time(&mut case, 0, 2);
        assert_eq!(case.ops, [Op::Turn { by: 1 }, Op::Flush, clock(4, 30)]);
    }
}
