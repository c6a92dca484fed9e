//! Locks, atomics and threads of the engine.
//!
//! The one place that names them, over one of two backends: the operating system's, or (feature
//! `explore`, tests only) a schedule explorer's. A lock whose holder panicked stays usable: what
//! it guards is made consistent before each unlock, or the database is poisoned; one panic must
//! not bring every other thread down.

#[cfg(feature = "explore")]
#[path = "sync/explored.rs"]
mod backend;
#[cfg(not(feature = "explore"))]
#[path = "sync/system.rs"]
mod backend;

use std::io;
pub(crate) use std::sync::Arc;
use std::sync::{PoisonError, TryLockError};
use std::time::Duration;

pub(crate) use backend::atomic::{
    AtomicBool, AtomicI64, AtomicU8, AtomicU64, AtomicUsize, Ordering,
};
pub(crate) use backend::{JoinHandle, MutexGuard, yield_now};

/// Starts a thread.
///
/// Error: the operating system's.
pub(crate) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    backend::spawn(name, work)
}

/// A mutual exclusion lock.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(backend::Mutex<T>);

impl<T> Mutex<T> {
    pub(crate) const fn new(value: T) -> Self {
        Mutex(backend::Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock, if it is free.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(guard)) => Some(guard.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// A lock for many readers or one writer.
#[derive(Debug, Default)]
pub(crate) struct RwLock<T>(backend::RwLock<T>);

impl<T> RwLock<T> {
    pub(crate) const fn new(value: T) -> Self {
        RwLock(backend::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> backend::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> backend::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A condition to wait for. A wait may end although nobody has rung.
#[derive(Debug, Default)]
pub(crate) struct Condvar(backend::Condvar);

impl Condvar {
    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).unwrap_or_else(PoisonError::into_inner)
    }

    /// `mutex` is the guard's.
    pub(crate) fn wait_timeout<'a, T>(
        &self,
        mutex: &'a Mutex<T>,
        guard: MutexGuard<'a, T>,
        timeout: Duration,
    ) -> MutexGuard<'a, T> {
        backend::wait_timeout(&self.0, &mutex.0, guard, timeout)
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }
}
