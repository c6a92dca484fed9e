//! Calls that nothing disturbs: the harness's own looks at what the program under test shows.
//!
//! Invariants: such calls are served, counted and traced as any; no fault is drawn for them, no bad
//! sector fails them, and a crash that is due at one strikes the next that may be disturbed.

use super::SimVfs;

/// Nothing disturbs the calls of a disk while this lives.
#[derive(Debug)]
#[must_use]
pub(crate) struct Undisturbed {
    disk: SimVfs,
    was_undisturbed: bool,
}

impl SimVfs {
    /// Lets nothing disturb the calls until the guard is dropped.
    pub(crate) fn undisturbed(&self) -> Undisturbed {
        let was_undisturbed = std::mem::replace(&mut self.disk().is_undisturbed, true);
        Undisturbed { disk: self.clone(), was_undisturbed }
    }
}

impl Drop for Undisturbed {
    fn drop(&mut self) {
        self.disk.disk().is_undisturbed = self.was_undisturbed;
    }
}
