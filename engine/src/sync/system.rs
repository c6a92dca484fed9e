//! The operating system's locks, atomics and threads: what every production build has.

#![allow(clippy::disallowed_methods)] // this is the substitute that clippy.toml points to

use std::io;
pub(crate) use std::sync::{
    Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic,
};
use std::sync::{LockResult, PoisonError};
pub(crate) use std::thread::{JoinHandle, yield_now};
use std::time::Duration;

pub(super) fn wait_timeout<'a, T>(
    condvar: &Condvar,
    _mutex: &'a Mutex<T>,
    guard: MutexGuard<'a, T>,
    timeout: Duration,
) -> LockResult<MutexGuard<'a, T>> {
    condvar
        .wait_timeout(guard, timeout)
        .map(|(guard, _)| guard)
        .map_err(|poisoned| PoisonError::new(poisoned.into_inner().0))
}

pub(super) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}
