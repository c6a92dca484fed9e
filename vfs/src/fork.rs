//! Whether the caller is a forked child of the process that made something.
//!
//! Invariant: the question costs one load. The C library counts forks in a handler that it calls
//! in each child. Forks that go past the C library (a raw system call) are not seen.

/// When something was made, counted in forks.
#[derive(Clone, Debug)]
pub(crate) struct Birth {
    /// `None` if the handler could not be installed: no fork is seen then.
    #[cfg(unix)]
    guard: Option<forkguard::atfork::Guard>,
}

impl Birth {
    /// Now.
    pub(crate) fn now() -> Self {
        Birth {
            #[cfg(unix)]
            guard: forkguard::atfork::Guard::try_new().ok(),
        }
    }

    /// Whether the process has been forked since, and the caller is in the child.
    pub(crate) fn is_inherited(&self) -> bool {
        #[cfg(unix)]
        return self.guard.clone().is_some_and(|mut guard| guard.detected_fork());
        #[cfg(not(unix))]
        return false;
    }
}
