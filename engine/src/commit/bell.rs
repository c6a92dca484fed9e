//! What wakes a thread that does the upkeep, if there is one.
//!
//! Invariant: a ring between two waits is not lost.

use std::time::Duration;

use crate::sync::{AtomicBool, Condvar, Mutex, Ordering};

#[derive(Debug, Default)]
struct BellState {
    rung: bool,
    parked: bool,
    /// Parked until it is rung.
    idle: bool,
    stopped: bool,
}

/// Wakes the background thread. Ringing costs one load if there is none.
#[derive(Debug, Default)]
pub(crate) struct Bell {
    attended: AtomicBool,
    state: Mutex<BellState>,
    changed: Condvar,
}

impl Bell {
    /// From now on somebody listens.
    pub(crate) fn attend(&self) {
        self.attended.store(true, Ordering::Release);
    }

    /// Whether somebody listens.
    pub(crate) fn is_attended(&self) -> bool {
        self.attended.load(Ordering::Acquire)
    }

    /// Something has become due, or due earlier.
    pub(crate) fn ring(&self) {
        if !self.attended.load(Ordering::Acquire) {
            return;
        }
        let mut state = self.state.lock();
        state.rung = !planted!(BellUnheard) || state.parked;
        if state.parked {
            self.changed.notify_one();
        }
    }

    /// There is something to do that does not hurry: whoever wakes by itself will see it.
    pub(crate) fn ring_if_idle(&self) {
        if self.is_attended() && self.state.lock().idle {
            self.ring();
        }
    }

    pub(crate) fn stop(&self) {
        self.attended.store(false, Ordering::Release);
        self.state.lock().stopped = true;
        self.changed.notify_one();
    }

    /// Waits until rung, stopped, or the time is over; `false` if stopped.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> bool {
        let mut state = self.state.lock();
        if !state.rung && !state.stopped {
            (state.parked, state.idle) = (true, timeout.is_none());
            state = match timeout {
                Some(timeout) => self.changed.wait_timeout(&self.state, state, timeout),
                None => self.changed.wait(state),
            };
            (state.parked, state.idle) = (false, false);
        }
        state.rung = false;
        !state.stopped
    }
}
