//! Faults that a test, or an operation of a case, aims at a call.
//!
//! Invariant: they draw nothing, and strike beside whatever else is drawn or listed.

use super::SimVfs;
use super::call::CallKind;
use super::faults::Fault;

/// Faults that are aimed.
impl SimVfs {
    /// Fails the `n`th call of a kind from now on (from 0), once, beside any other fault.
    pub fn fail_nth(&self, call: CallKind, n: u64, fault: Fault) {
        self.disk().faults.script(call, n, fault);
    }

    /// Fails the call of this number, if the fault suits it, beside any other fault.
    pub fn fail_call(&self, call: u64, fault: Fault) {
        self.disk().faults.script_at(call, fault);
    }

    /// Fails a call behind the `nth` rare one from now on (from 0; one that changes names, sizes
    /// or directories): the first that the fault suits, so many calls after it or later, once.
    pub fn fail_behind_rare(&self, nth: u64, behind: u64, fault: Fault) {
        self.disk().faults.script_behind_rare(nth, behind, fault);
    }
}
