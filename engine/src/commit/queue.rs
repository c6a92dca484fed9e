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
use crate::sync::{Arc, AtomicU8, Condvar, Mutex, Ordering};
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

    /// Inserts changes, each before that of a place; the places ascend.
    pub(crate) fn insert(&mut self, more: Vec<(usize, Change)>) {
        let old = match std::mem::replace(self, Changes::Many(Vec::new())) {
            Changes::One(change) => vec![change],
            Changes::Many(changes) => changes,
        };
        let mut all = Vec::with_capacity(old.len() + more.len());
        let (mut more, mut old) = (more.into_iter().peekable(), old.into_iter());
        for place in 0.. {
            while let Some((_, change)) = more.next_if(|(at, _)| *at <= place) {
                all.push(change);
            }
            let Some(change) = old.next() else { break };
            all.push(change);
        }
        *self = Changes::Many(all);
    }

    /// Gives the changes away, in their order.
    pub(crate) fn for_each(self, mut take: impl FnMut(Change)) {
        match self {
            Changes::One(change) => take(change),
            Changes::Many(changes) => changes.into_iter().for_each(take),
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
    /// The same, beside that, where tables are below when it is committed.
    pub(crate) tombstone_bytes_max: u64,
    /// Whether it may use the memtable's reserve: deletes and run ends only.
    pub(crate) may_use_reserve: bool,
    /// Whether it begins a run whose keys are counted.
    pub(crate) counts_keys: bool,
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
    Answered(Result<Committed>),
    Promoted,
}

/// What becomes of a request whose thread waits at once.
pub(crate) enum Turn {
    /// The thread leads, with its own request in hand.
    Lead(Request),
    /// The thread leads; its request waits behind others, that were submitted before.
    LeadFor(Arc<TicketState>),
    /// Another leads; the ticket will carry the outcome.
    Follow(Arc<TicketState>),
}

impl TicketState {
    /// For a thread that waits at once.
    fn of_a_waiter() -> Self {
        let slot = Slot { waiting: true, ..Slot::default() };
        TicketState { slot: Mutex::new(slot), changed: Condvar::default() }
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.slot.lock().answered
    }

    pub(crate) fn take(&self) -> Option<Result<Committed>> {
        self.slot.lock().outcome.take()
    }

    pub(crate) fn wait(&self) -> Woken {
        let mut slot = self.slot.lock();
        loop {
            // The lead first: somebody else may have answered the thread that was just told to
            // lead, and the lead must be handed on all the same.
            sometimes!("queue/promoted", slot.promoted);
            let forgets = planted!(LeadForgotten) && slot.outcome.is_some();
            if !forgets && std::mem::take(&mut slot.promoted) {
                return Woken::Promoted;
            }
            if slot.answered {
                return Woken::Answered(slot.outcome.take().unwrap_or_else(|| Err(taken_before())));
            }
            slot.parked = true;
            sometimes!("queue/waits-for-its-outcome");
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

fn taken_before() -> Error {
    Error::invalid("the outcome of this ticket was taken before")
}

/// The obligation to answer a request; dropping it unanswered answers "outcome unknown".
#[derive(Debug)]
pub(crate) struct Reply {
    /// `None` once it is answered, and if the request is the leader's own: its thread waits
    /// for no ticket.
    ticket: Option<Arc<TicketState>>,
}

impl Reply {
    /// Answers a ticket; gives the outcome back if it is the leader's own.
    pub(crate) fn answer(mut self, outcome: Result<Committed>) -> Option<Result<Committed>> {
        match self.ticket.take() {
            Some(ticket) => {
                ticket.answer(outcome);
                None
            }
            None => Some(outcome),
        }
    }

    pub(crate) fn is_own(&self) -> bool {
        self.ticket.is_none()
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            sometimes!("queue/dropped-unanswered");
            ticket.answer(Err(Error::OutcomeUnknown {
                reason: "the thread that committed it stopped".into(),
            }));
        }
    }
}

/// A request on its way to an outcome.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) request: Request,
    pub(crate) reply: Reply,
}

impl Pending {
    /// The leader's own.
    pub(crate) fn own(request: Request) -> Self {
        Pending { request, reply: Reply { ticket: None } }
    }
}

/// Somebody leads.
const LEADING: u8 = 1;
/// Requests wait in the queue.
const WAITING: u8 = 2;
/// No request is taken any more.
const CLOSED: u8 = 4;
/// A step has requests in its hands that have no version yet, and may put them back.
const HELD: u8 = 8;

/// The queue of commits.
///
/// A thread that meets nobody takes the lead and leaves it by one exchange each, without the
/// lock. Invariants of the flags: `WAITING` is set if and only if `pending` is not empty, and
/// changes, like `CLOSED`, under the lock only; `LEADING` is taken or left without the lock only
/// while it is the only flag. So under the lock, with something waiting, `LEADING` stands still.
/// Of `HELD` and `WAITING` the new one is set before the old one is cleared: from its submission
/// until it has its version a request keeps a flag up, and no later one overtakes it.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    flags: AtomicU8,
    pending: Mutex<VecDeque<Pending>>,
}

fn add(pending: &mut VecDeque<Pending>, request: Request, ticket: &Arc<TicketState>) {
    sometimes!("queue/behind-others", !pending.is_empty());
    let reply = Reply { ticket: Some(Arc::clone(ticket)) };
    pending.push_back(Pending { request, reply });
}

impl Queue {
    /// Whether nobody leads, nothing waits, and the queue is open.
    pub(crate) fn is_idle(&self) -> bool {
        self.flags.load(Ordering::Acquire) == 0
            || (planted!(QueueOvertaken) && !self.is(LEADING | HELD | CLOSED))
    }

    /// Adds a request whose thread will wait at once, or lets it lead.
    ///
    /// Error: [`Error::Closed`].
    pub(crate) fn enter(&self, request: Request) -> Result<Turn> {
        if self.exchange(0, LEADING) {
            return Ok(Turn::Lead(request));
        }
        // A ticket is made before the lock is taken, so that many threads queue up quickly.
        let ticket = Arc::new(TicketState::of_a_waiter());
        let mut pending = self.pending.lock();
        if self.is(CLOSED) {
            sometimes!("queue/closed-while-waiting");
            return Err(Error::Closed);
        }
        // What was submitted before comes first, be it by the same thread.
        if pending.is_empty() && self.exchange(0, LEADING) {
            sometimes!("queue/lead-taken-under-the-lock");
            return Ok(Turn::Lead(request));
        }
        add(&mut pending, request, &ticket);
        // A leader that has just left did not see it.
        if self.set(WAITING) & LEADING == 0 {
            self.set(LEADING);
            sometimes!("queue/leads-for-earlier-ones");
            return Ok(Turn::LeadFor(ticket));
        }
        sometimes!("queue/follows-a-leader");
        Ok(Turn::Follow(ticket))
    }

    fn exchange(&self, from: u8, to: u8) -> bool {
        self.flags.compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn is(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Acquire) & flag != 0
    }

    /// Returns the flags as they were.
    fn set(&self, flag: u8) -> u8 {
        self.flags.fetch_or(flag, Ordering::AcqRel)
    }

    fn clear(&self, flag: u8) {
        self.flags.fetch_and(!flag, Ordering::AcqRel);
    }

    /// Adds a request whose thread does not wait.
    ///
    /// Error: [`Error::Closed`].
    pub(crate) fn push(&self, request: Request) -> Result<Arc<TicketState>> {
        let ticket = Arc::new(TicketState::default());
        let mut pending = self.pending.lock();
        if self.is(CLOSED) {
            sometimes!("queue/closed-when-submitted");
            return Err(Error::Closed);
        }
        add(&mut pending, request, &ticket);
        self.set(WAITING);
        Ok(ticket)
    }

    /// A thread wants to wait for a ticket that was pushed before: `true` if it leads now.
    pub(crate) fn join(&self, ticket: &TicketState) -> bool {
        let _pending = self.pending.lock();
        if self.set(LEADING) & LEADING == 0 {
            return true;
        }
        ticket.slot.lock().waiting = true;
        false
    }

    /// Takes the lead if something waits and nobody leads; says how much waits then.
    pub(crate) fn lead_idle(&self) -> Option<usize> {
        let pending = self.pending.lock();
        if pending.is_empty() || self.set(LEADING) & LEADING != 0 {
            return None;
        }
        Some(pending.len())
    }

    /// Ends a lead: hands it to the first waiting thread, if there is one.
    pub(crate) fn hand_over(&self) {
        if !self.exchange(LEADING, 0) {
            sometimes!("queue/lead-handed-over");
            planted!(LeadDropped => return self.clear(LEADING));
            self.promote_one(&self.pending.lock());
        }
    }

    /// The first thread that waits leads from now on; nobody, if none waits.
    fn promote_one(&self, pending: &VecDeque<Pending>) {
        self.set(LEADING);
        let mut waiting = pending.iter().flat_map(|pending| &pending.reply.ticket);
        if !waiting.any(|ticket| ticket.promote()) {
            sometimes!("queue/nobody-to-lead");
            self.clear(LEADING);
        }
    }

    /// Takes everything that waits, into an empty queue whose room is used again.
    pub(crate) fn take(&self, into: &mut VecDeque<Pending>) {
        debug_assert!(into.is_empty());
        if self.is(WAITING) {
            let mut pending = self.pending.lock();
            std::mem::swap(&mut *pending, into);
            if !planted!(Overtaken) {
                self.set(HELD);
            }
            self.clear(WAITING);
        }
    }

    /// Ends a step: what it took has its version, or does not fit and is put back, in front.
    pub(crate) fn put_back(&self, rest: &mut VecDeque<Pending>) {
        if rest.is_empty() {
            if self.is(HELD) {
                self.clear(HELD);
            }
            return;
        }
        sometimes!("queue/rest-put-back");
        let mut pending = self.pending.lock();
        rest.append(&mut pending);
        std::mem::swap(&mut *pending, rest);
        let before = self.set(WAITING);
        self.clear(HELD);
        // A step that nobody led may have held them while the last leader handed over.
        if before & LEADING == 0 {
            self.promote_one(&pending);
        }
    }

    pub(crate) fn len(&self) -> usize {
        if self.is(WAITING) { self.pending.lock().len() } else { 0 }
    }

    pub(crate) fn set_closed(&self, closed: bool) {
        let _pending = self.pending.lock();
        if closed {
            self.set(CLOSED);
        } else {
            self.clear(CLOSED);
        }
    }
}
