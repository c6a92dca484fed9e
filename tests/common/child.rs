//! A child of the test's process, forked.
//!
//! Invariants: a child ends without a destructor, so that nothing of the parent's is undone in it;
//! one that hangs fails its test; tests that fork take turns with all others that hold a store.
#![allow(clippy::disallowed_methods)] // tests fork, and wait for what they forked

use std::io::{Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fork::{ProcessFork, Signal};

/// How long a child may take: none waits, but the machine may be busy.
pub const CHILD_TIME: Duration = Duration::from_secs(20);

/// A forked child has the descriptors of every test of this process, and so their locks.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forks; what the child tells, which then ends at once, without a destructor or a handler.
pub fn in_child(child: impl FnOnce() -> String) -> String {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let pid = match fork::fork_process().unwrap() {
        ProcessFork::Child => {
            let told = catch_unwind(AssertUnwindSafe(child));
            let told = told.unwrap_or_else(|_| "the child panicked".to_owned());
            let _told = writer.write_all(told.as_bytes());
            let _killed = fork::signal_process(fork::current_process_id(), Signal::KILL);
            unreachable!("killed");
        }
        ProcessFork::Parent(pid) => pid,
    };
    drop(writer);
    let until = Instant::now() + CHILD_TIME;
    while fork::waitpid_nohang(pid.get()).unwrap().is_none() {
        if Instant::now() > until {
            fork::signal_process(pid, Signal::KILL).unwrap();
            fork::waitpid(pid.get()).unwrap();
            panic!("the child hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let mut told = String::new();
    reader.read_to_string(&mut told).unwrap();
    told
}
