//! Which bug is active in the current thread.

use std::cell::Cell;

use super::Bug;

thread_local! {
    static ACTIVE: Cell<Option<Bug>> = const { Cell::new(None) };
}

/// Plants a bug for the current thread, or none.
pub fn plant(bug: Option<Bug>) {
    ACTIVE.set(bug);
}

/// Whether the bug is planted in the current thread.
pub(crate) fn is_planted(bug: Bug) -> bool {
    ACTIVE.get() == Some(bug)
}
