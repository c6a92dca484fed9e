//! The sometimes marks of the engine, as a sweep counts them, and those that no sweep reaches.
//!
//! Invariant: every exception has a reason, is a mark, and is never reached; one that is reached
//! is none.

pub use runstone::marks::{NAMES, take};

/// Marks that the simulator cannot reach, and why.
pub const EXCEPTIONS: &[(&str, &str)] = &[];

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
