//! Who leads: a thread commits its own request and what else waits, and hands over.
//!
//! Invariants: at most one thread leads, but for a step that somebody makes on purpose; a lead
//! ends when the leader's own request is answered; a panic of the leader poisons the database,
//! answers its group, and leaves the lead to another.

use super::gate::Health;
use super::pipeline::Pipeline;
use super::queue::{Committed, Pending, Queue, Request, TicketState, Turn, Woken};
use super::writer::Writer;
use crate::error::{Error, Result};
use crate::options::Level;
use crate::sync::{Arc, MutexGuard, yield_now};

/// Poisons if the thread panics, so that a bug in a step cannot be followed by a write.
struct PanicGuard<'a>(&'a Health);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            sometimes!("lead/panicked");
            self.0.poison(&Error::invalid("a thread panicked while it committed"));
        }
    }
}

/// Hands the lead over, also if the leader panics.
pub(crate) struct Lead<'a>(pub(crate) &'a Queue);

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.0.hand_over();
    }
}

impl Pipeline {
    /// Commits and waits for the outcome.
    pub(crate) fn commit(&self, request: Request) -> Result<Committed> {
        self.keep_pace(&request);
        // A sync is worth a group, for those who come while it is encoded; a write alone is not.
        // Who comes meanwhile leads, and waits for the writer.
        if request.level < Level::Strict
            && self.queue.is_idle()
            && let Some(writer) = self.writer.try_lock()
        {
            sometimes!("lead/needs-no-lead");
            return self.step_alone(writer, request);
        }
        match self.queue.enter(request)? {
            Turn::Lead(request) => {
                let _lead = Lead(&self.queue);
                let (_, outcome) = self.step_with(Some(request));
                outcome.unwrap_or_else(|| {
                    let reason = "its group was committed without an answer for it".into();
                    Err(Error::OutcomeUnknown { reason })
                })
            }
            Turn::LeadFor(ticket) => self.lead_for(&ticket),
            Turn::Follow(ticket) => self.follow(&ticket),
        }
    }

    /// Adds a commit to the queue without waiting; works off a full queue first.
    pub(crate) fn enqueue(&self, request: Request) -> Result<Arc<TicketState>> {
        self.keep_pace(&request);
        while self.queue.len() >= self.options.queue_commits_max {
            sometimes!("lead/full-queue-worked-off");
            self.step();
        }
        let ticket = self.queue.push(request)?;
        self.bell.ring();
        Ok(ticket)
    }

    /// Waits for a ticket, leading if nobody does.
    pub(crate) fn wait(&self, ticket: &TicketState) -> Result<Committed> {
        if !ticket.is_answered() && self.queue.join(ticket) {
            return self.lead_for(ticket);
        }
        self.follow(ticket)
    }

    fn follow(&self, ticket: &TicketState) -> Result<Committed> {
        match ticket.wait() {
            Woken::Answered(outcome) => outcome,
            Woken::Promoted => self.lead_for(ticket),
        }
    }

    fn lead_for(&self, ticket: &TicketState) -> Result<Committed> {
        let _lead = Lead(&self.queue);
        while !ticket.is_answered() {
            sometimes!("lead/steps-for-others-first");
            // Who steps on purpose may hold the request, and answers it or puts it back soon.
            if self.step() == 0 {
                yield_now();
            }
        }
        loop {
            // It was perhaps told to lead before it did of itself.
            if let Woken::Answered(outcome) = ticket.wait() {
                return outcome;
            }
        }
    }

    /// Commits one group of what waits; returns how many requests were answered.
    pub(crate) fn step(&self) -> usize {
        self.step_with(None).0
    }

    /// Commits a request that met no other; it needs no lead.
    fn step_alone(
        &self,
        mut writer: MutexGuard<'_, Writer>,
        request: Request,
    ) -> Result<Committed> {
        let _guard = PanicGuard(&self.health);
        let outcome = self.commit_alone(&mut writer, request);
        self.note_leftovers(&writer);
        outcome
    }

    /// Commits one group: the leader's own request, if it has one in hand, and what waits.
    /// Returns how many requests got their outcome, and that of the leader's own.
    fn step_with(&self, own: Option<Request>) -> (usize, Option<Result<Committed>>) {
        let early = planted!(VersionOutsideLock).then(|| self.store.version());
        let mut writer = self.writer.lock();
        writer.last_version = early.unwrap_or(writer.last_version);
        let mut pending = std::mem::take(&mut writer.pending);
        match own {
            Some(request) => pending.push_back(Pending::own(request)),
            None => self.queue.take(&mut pending),
        }
        if pending.is_empty() {
            sometimes!("lead/nothing-to-do");
            writer.pending = pending;
            return (0, None);
        }
        let guard = PanicGuard(&self.health);
        let answers = self.commit_group(&mut writer, &mut pending);
        self.queue.put_back(&mut pending);
        writer.pending = pending;
        self.note_leftovers(&writer);
        drop(guard);
        drop(writer);
        let answered = answers.others.len() + usize::from(answers.own.is_some());
        for (reply, outcome) in answers.others {
            reply.answer(outcome);
        }
        (answered, answers.own)
    }
}
