//! What waits to be committed, who leads, and the tickets that carry the outcomes.
//!
//! Invariants: at most one thread leads; a request is in the queue, with the leader, or
//! answered; every request is answered exactly once, also if the leader panics (then with
//! "outcome unknown"). A thread that leads is done when its own request is answered, and hands
//! over to one that waits, if there is one.

use std::collections::VecDeque;

use crate::codec::change::Change;
use crate::error::{Error, Result};
use crate::options::Level;
use crate::sync::{Arc, Condvar, Mutex};
use crate::types::VersionedValue;

/// The changes of one commit; most have one.
#[derive(Debug)]
pub(crate) enum Changes {
    One(Change),
    Many(Vec<Change>),
}

impl Changes {
    pub(crate) fn as_slice(&self) -> &[Change] {
        match self {
            Changes::One(change) => std::slice::from_ref(change),
            Changes::Many(changes) => changes,
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Change] {
        match self {
            Changes::One(change) => std::slice::from_mut(change),
            Changes::Many(changes) => changes,
        }
    }
}

impl IntoIterator for Changes {
    type Item = Change;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Change>, std::vec::IntoIter<Change>>;

    fn into_iter(self) -> Self::IntoIter {
        match self {
            Changes::One(change) => Some(change).into_iter().chain(Vec::new()),
            Changes::Many(changes) => None.into_iter().chain(changes),
        }
    }
}

/// The commit as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// Its version.
    pub version: u64,
    /// For a delete that asked for it: what was visible just before it.
    pub previous: Option<Box<VersionedValue>>,
}

/// A commit that waits.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) changes: Changes,
    pub(crate) level: Level,
    pub(crate) want_previous: bool,
    /// The most bytes that its record's payload can have.
    pub(crate) payload_bytes_max: u64,
    /// The most bytes that it can add in memory.
    pub(crate) memory_bytes_max: u64,
    /// Whether it may use the memtable's reserve: deletes and run ends only.
    pub(crate) may_use_reserve: bool,
    pub(crate) reply: Reply,
}

#[derive(Debug, Default)]
struct Slot {
    outcome: Option<Result<Committed>>,
    answered: bool,
    /// A thread sleeps on the condition variable.
    parked: bool,
    /// A thread waits for this outcome and would lead if asked.
    waiting: bool,
    promoted: bool,
}

/// The place where an outcome is put and waited for.
#[derive(Debug, Default)]
pub(crate) struct TicketState {
    slot: Mutex<Slot>,
    changed: Condvar,
}

/// What a waiting thread woke up for.
pub(crate) enum Woken {
    Answered,
    Promoted,
}

impl TicketState {
    pub(crate) fn is_answered(&self) -> bool {
        self.slot.lock().answered
    }

    pub(crate) fn take(&self) -> Option<Result<Committed>> {
        self.slot.lock().outcome.take()
    }

    pub(crate) fn wait(&self) -> Woken {
        let mut slot = self.slot.lock();
        loop {
            if slot.answered {
                return Woken::Answered;
            }
            if std::mem::take(&mut slot.promoted) {
                return Woken::Promoted;
            }
            slot.parked = true;
            slot = self.changed.wait(slot);
            slot.parked = false;
        }
    }

    fn answer(&self, outcome: Result<Committed>) {
        let mut slot = self.slot.lock();
        if slot.answered {
            return;
        }
        slot.outcome = Some(outcome);
        slot.answered = true;
        let parked = slot.parked;
        drop(slot);
        if parked {
            self.changed.notify_one();
        }
    }

    fn promote(&self) -> bool {
        let mut slot = self.slot.lock();
        if !slot.waiting || slot.answered {
            return false;
        }
        slot.promoted = true;
        self.changed.notify_one();
        true
    }
}

/// The obligation to answer a request; dropping it unanswered answers "outcome unknown".
#[derive(Debug)]
pub(crate) struct Reply(Arc<TicketState>);

impl Reply {
    pub(crate) fn new(ticket: &Arc<TicketState>) -> Self {
        Reply(Arc::clone(ticket))
    }

    pub(crate) fn answer(self, outcome: Result<Committed>) {
        self.0.answer(outcome);
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        // An answered ticket ignores it.
        if !self.0.is_answered() {
            self.0.answer(Err(Error::OutcomeUnknown {
                reason: "the thread that committed it stopped".into(),
            }));
        }
    }
}

#[derive(Debug, Default)]
struct State {
    pending: VecDeque<Request>,
    leading: bool,
    closed: bool,
}

/// The queue of commits.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
}

impl Queue {
    /// Adds a request. `waits` says that its thread will wait at once; the answer, that it
    /// leads. `false` with `waits` means: wait for the ticket.
    ///
    /// Error: [`Error::Closed`].
    pub(crate) fn push(&self, request: Request, waits: bool) -> Result<bool> {
        let mut state = self.state.lock();
        if state.closed {
            let Request { reply, .. } = request;
            reply.answer(Err(Error::Closed));
            return Err(Error::Closed);
        }
        let lead = waits && !state.leading;
        if lead {
            state.leading = true;
        } else if waits {
            request.reply.0.slot.lock().waiting = true;
        }
        state.pending.push_back(request);
        Ok(lead)
    }

    /// A thread wants to wait for a ticket that was pushed before: `true` if it leads now.
    pub(crate) fn join(&self, ticket: &TicketState) -> bool {
        let mut state = self.state.lock();
        if !state.leading {
            state.leading = true;
            return true;
        }
        ticket.slot.lock().waiting = true;
        false
    }

    /// Ends a lead: hands it to the first waiting thread, if there is one.
    pub(crate) fn hand_over(&self) {
        let mut state = self.state.lock();
        state.leading = state.pending.iter().any(|request| request.reply.0.promote());
    }

    /// Takes everything that waits.
    pub(crate) fn take(&self) -> VecDeque<Request> {
        std::mem::take(&mut self.state.lock().pending)
    }

    /// Puts back what did not fit, in front.
    pub(crate) fn put_back(&self, mut rest: VecDeque<Request>) {
        if rest.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        rest.append(&mut state.pending);
        state.pending = rest;
    }

    pub(crate) fn len(&self) -> usize {
        self.state.lock().pending.len()
    }

    pub(crate) fn set_closed(&self, closed: bool) {
        self.state.lock().closed = closed;
    }
}
