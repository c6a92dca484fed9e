//! Marks count, phases nest, and a loop without end is ended.

use super::*;

#[test]
fn a_mark_is_counted_under_its_name_until_it_is_taken() {
    let _before = take();
    sometimes!("gate/poisoned");
    sometimes!("gate/poisoned", 1 + 1 == 2);
    sometimes!("gate/poisoned", 1 + 1 == 3);
    let taken = take();
    let reached: Vec<_> = NAMES.iter().zip(&taken).filter(|(_, n)| **n > 0).collect();
    assert_eq!(reached, [(&"gate/poisoned", &2)]);
    assert!(take().iter().all(|count| *count == 0));
}

#[test]
fn a_loop_that_makes_no_call_ends_when_its_steps_are_used_up() {
    limit_steps(Some(1000));
    let payload = std::panic::catch_unwind(|| {
        loop {
            sometimes!("gate/poisoned-again");
        }
    });
    let payload = payload.unwrap_err();
    limit_steps(None);
    assert!(payload.is::<Endless>());
    sometimes!("gate/poisoned-again");
    let at = NAMES.iter().position(|name| *name == "gate/poisoned-again").unwrap();
    assert_eq!(take()[at], 1001);
}

#[test]
fn phases_nest_and_only_an_outermost_one_begins_an_operation() {
    let start = moment();
    {
        phase!(Commit);
        assert_eq!(moment(), Moment { operation: start.operation + 1, phase: Phase::Commit });
        {
            phase!(Rotation);
            assert_eq!(moment().phase, Phase::Rotation);
        }
        assert_eq!(moment(), Moment { operation: start.operation + 1, phase: Phase::Commit });
    }
    assert_eq!(moment(), Moment { operation: start.operation + 1, phase: Phase::Outside });
}
