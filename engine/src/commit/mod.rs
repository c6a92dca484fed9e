//! The commit path: from a batch to a published version.
//!
//! ```text
//! submit --> queue --> step (one leader) --------------------------------------> tickets
//!                      admit -> encode -> one write -> one sync -> apply+publish
//! ```
//! - [`queue`]: what waits, who leads, and the tickets that carry outcomes.
//! - [`admission`]: the preconditions, judged against published state and the group so far; `judge`
//!   asks for that state.
//! - [`journal`]: the manifest and the segment that is written.
//! - [`gate`]: all syncs, one at a time, and the poison that a failed one leaves.
//! - [`schedule`]: what becomes due when.
//! - [`lead`]: which thread leads, and for how long.
//! - [`pipeline`]: the leader's steps for one [`group`], in the order that the disk sees them.
//! - `counting`: how many keys a run holds, where that is kept.
//! - `failure`: what is left when one of them fails.
//! - [`flush`]: from a memtable to a table; [`compact`]: from tables to fewer; [`pace`]: how
//!   writers
//!   wait for both.
//! - [`writer`]: what those steps change, under one lock.
//! - [`upkeep`]: what is due without a commit; [`bell`]: what wakes the thread for it;
//!   [`troubles`]: what that has met.

pub(crate) mod admission;
pub(crate) mod bell;
pub(crate) mod compact;
mod compactor;
mod counting;
mod failure;
pub(crate) mod flush;
mod forget;
mod frozen;
pub(crate) mod gate;
pub(crate) mod group;
pub(crate) mod journal;
mod judge;
pub(crate) mod lead;
pub(crate) mod pace;
mod pacing;
pub(crate) mod pipeline;
#[cfg(feature = "planted")]
mod planted;
pub(crate) mod queue;
mod retain;
pub(crate) mod schedule;
pub(crate) mod troubles;
pub(crate) mod upkeep;
pub(crate) mod writer;
