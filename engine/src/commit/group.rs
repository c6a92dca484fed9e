//! The commits that share a write, a sync and an outcome, and the answers to them.

use std::collections::VecDeque;

use super::admission::Overlay;
use super::counting::Counted;
use super::queue::{Changes, Committed, Pending, Reply};
use crate::error::{Error, Result};
use crate::options::Level;
use crate::types::VersionedValue;

/// An accepted commit.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) version: u64,
    /// Its engine time: members that came later may have a later one.
    pub(crate) time_ms: u64,
    pub(crate) changes: Changes,
    pub(crate) previous: Option<Box<VersionedValue>>,
    pub(crate) reply: Reply,
}

/// The commits that share a write, a sync and an outcome.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) accepted: Vec<Accepted>,
    /// Refusals are answered only when the group has its outcome.
    pub(crate) refused: Vec<(Reply, Error)>,
    pub(crate) overlay: Overlay,
    pub(crate) counted: Counted,
    pub(crate) level: Option<Level>,
    pub(crate) batched: u64,
}

/// The outcomes of a group, which are told when the writer's lock is free again.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// That of the leader's own request.
    pub(crate) own: Option<Result<Committed>>,
    pub(crate) others: Vec<(Reply, Result<Committed>)>,
}

impl Answers {
    pub(crate) fn add(&mut self, reply: Reply, outcome: Result<Committed>) {
        if reply.is_own() {
            self.own = Some(outcome);
        } else {
            self.others.push((reply, outcome));
        }
    }

    /// The same error for everybody: the group, the refused, and those who wait.
    pub(crate) fn all(group: &mut Group, pending: &mut VecDeque<Pending>, error: &Error) -> Self {
        let accepted = group.accepted.drain(..).map(|accepted| accepted.reply);
        let refused = group.refused.drain(..).map(|(reply, _)| reply);
        let waiting = pending.drain(..).map(|pending| pending.reply);
        let mut answers = Answers::default();
        for reply in accepted.chain(refused).chain(waiting) {
            answers.add(reply, Err(error.clone()));
        }
        answers
    }
}
