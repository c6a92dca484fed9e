//! What becomes of a run that would not end, or that panics: a failure with a seed.
//!
//! A simulation has one thread, so nobody else can end a loop of the engine. The disk serves a
//! bounded number of calls for each operation and then takes the thread back
//! ([`crate::disk::SimVfs::limit_calls`]);
//! the engine's marks and phases are steps, which are bounded likewise
//! ([`runstone::marks::limit_steps`]). Both unwind. A loop that makes neither a call nor a step
//! is left to the clock of the command line, which names the seed.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use runstone::marks::{Endless, limit_steps};

use crate::disk::Hang;

/// The most calls that an operation may make of its disk: an opening of many small files, whose
/// steps are small, makes some thousands.
pub(super) const CALLS_MAX: u64 = 200_000;
/// The most steps that the engine may make in a case.
const STEPS_MAX: u64 = 50_000_000;

/// Why a run did not end by itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It made more calls, or more steps, than it may.
    Endless,
    /// It panicked, with this message.
    Panicked(String),
}

/// Runs something within bounds.
pub(super) fn bounded<T>(run: impl FnOnce() -> T) -> Result<T, Ended> {
    limit_steps(Some(STEPS_MAX));
    // What is broken by a panic is not looked at any more.
    let outcome = catch_unwind(AssertUnwindSafe(run));
    limit_steps(None);
    outcome.map_err(reason)
}

fn reason(payload: Box<dyn Any + Send>) -> Ended {
    if payload.is::<Hang>() || payload.is::<Endless>() {
        return Ended::Endless;
    }
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    Ended::Panicked(text.unwrap_or_else(|| "without a message".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_its_message_and_a_hang_is_told_from_it() {
        assert_eq!(bounded(|| 7), Ok(7));
        let panicked = bounded(|| {
            assert!(std::hint::black_box(false), "so it was");
        });
        assert_eq!(panicked, Err(Ended::Panicked("so it was".to_owned())));
        let hung = bounded(|| std::panic::resume_unwind(Box::new(Hang)));
        assert_eq!(hung, Err::<(), _>(Ended::Endless));
    }
}
