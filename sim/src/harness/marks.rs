//! The sometimes marks of the engine, as a sweep counts them, and those that no sweep reaches.
//!
//! Invariant: every exception has a reason, is a mark, and is never reached; one that is reached
//! is none.

pub use runstone::marks::{NAMES, take};

/// Marks that the simulator cannot reach, and why.
pub const EXCEPTIONS: &[(&str, &str)] = &[
    ("builder/orphan-already-gone", ANOTHER_PROGRAM),
    ("compact/table-still-read", THREADS),
    ("compaction/versions-out-of-order", "takes a damaged block whose checksum fits"),
    ("entrance/parent-not-ours", "takes a second user; the simulated disk knows no users"),
    ("gate/point-in-an-older-segment", THREADS),
    ("gate/sync-after-a-failed-one", THREADS),
    ("lead/panicked", PANIC),
    (
        "manifest/edit-of-another-past",
        "takes two lives of one file; a test of the engine mixes them",
    ),
    ("manifest/later-format", LATER),
    ("manifest/no-room-by-a-limit", LARGE),
    (
        "manifest/search-given-up",
        "takes bytes that were made for it; a test of the engine makes them",
    ),
    ("manifest/too-long", LARGE),
    ("pipeline/closed", THREADS),
    ("queue/closed-when-submitted", THREADS),
    ("queue/closed-while-waiting", THREADS),
    ("queue/dropped-unanswered", PANIC),
    ("queue/follows-a-leader", THREADS),
    ("queue/lead-taken-under-the-lock", THREADS),
    ("queue/promoted", THREADS),
    ("queue/waits-for-its-outcome", THREADS),
    ("recovery/version-out-of-order", "takes a damaged record whose checksum fits"),
    ("scan/file-shrank-while-counted", ANOTHER_PROGRAM),
    ("scan/file-shrank-while-read", ANOTHER_PROGRAM),
    ("scan/search-given-up", "takes bytes that were made for it; `tests/refusals.rs` makes them"),
    ("segment/later-format", LATER),
    ("upkeep/others-were-first", THREADS),
];
const THREADS: &str = "takes two threads; a simulation has one";
const PANIC: &str = "takes a panic of the engine, which is a failure of the seed";
const LATER: &str = "no version of the engine writes a later format; unit tests forge one";
const LARGE: &str =
    "takes more data than a case of 200 operations has; tests of the engine have it";
const ANOTHER_PROGRAM: &str = "takes another program that changes the files meanwhile";

/// The marks that were never reached, without the exceptions.
#[must_use]
pub fn unreached(counts: &[u64]) -> Vec<&'static str> {
    of(counts, |count, excepted| count == 0 && !excepted)
}

/// The exceptions that were reached all the same, and so are none.
#[must_use]
pub fn reached_exceptions(counts: &[u64]) -> Vec<&'static str> {
    of(counts, |count, excepted| count > 0 && excepted)
}

fn of(counts: &[u64], wanted: impl Fn(u64, bool) -> bool) -> Vec<&'static str> {
    let is_excepted = |name: &str| EXCEPTIONS.iter().any(|(excepted, _)| *excepted == name);
    let counted = NAMES.iter().zip(counts);
    counted
        .filter(|(name, count)| wanted(**count, is_excepted(name)))
        .map(|(name, _)| *name)
        .collect()
}

/// Adds the counts of one run to those of others.
pub fn add(all: &mut Vec<u64>, counts: &[u64]) {
    all.resize(NAMES.len(), 0);
    for (sum, count) in all.iter_mut().zip(counts) {
        *sum += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exception_is_a_mark_and_has_a_reason() {
        for (name, reason) in EXCEPTIONS {
            assert!(NAMES.contains(name), "{name} is no mark");
            assert!(reason.len() > 10, "{name} has no reason");
        }
    }

    #[test]
    fn a_mark_without_a_count_is_unreached_and_counts_add_up() {
        let mut all = Vec::new();
        assert_eq!(unreached(&vec![1; NAMES.len()]), Vec::<&str>::new());
        add(&mut all, &vec![0; NAMES.len()]);
        assert_eq!(unreached(&all).len(), NAMES.len() - EXCEPTIONS.len());
        add(&mut all, &vec![2; NAMES.len()]);
        assert!(unreached(&all).is_empty() && all.iter().all(|count| *count == 2));
        assert_eq!(reached_exceptions(&all).len(), EXCEPTIONS.len());
    }
}
