//! The same names under a schedule explorer: every call is a point at which the explorer may
//! let another thread run, and it chooses which.
//!
//! Compiled only with the feature `explore`. It works only inside an execution of the explorer
//! (`shuttle`); all threads are then continuations on one thread of the system. Explored is
//! sequential consistency: a weaker `Ordering` counts as `SeqCst`.

use std::io;
use std::sync::LockResult;
use std::time::Duration;

use shuttle::rand::RngCore;
pub(crate) use shuttle::sync::{
    Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
};
pub(crate) use shuttle::thread::{JoinHandle, yield_now};

/// Waits with a timeout: the timeout strikes after any number of other threads' steps.
///
/// A wait may end without a ring, and one that ends for a ring looks to its caller like one that
/// ended in time; so to let go, to yield as often as the explorer draws, and to take the lock
/// again is all that a caller can meet. Who waits without a timeout waits for a ring indeed.
pub(super) fn wait_timeout<'a, T>(
    _condvar: &Condvar,
    mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    _timeout: Duration,
) -> LockResult<MutexGuard<'a, T>> {
    drop(guard);
    loop {
        yield_now();
        // The explorer's own stream: the schedule draws it, and repeats it.
        if shuttle::rand::thread_rng().next_u64().is_multiple_of(4) {
            return mutex.lock();
        }
    }
}

pub(super) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    shuttle::thread::Builder::new().name(name.to_owned()).spawn(work)
}
