//! The moment that is walked, and whom violations are told to.
//!
//! Invariant: all of a view is of one moment: while it is taken nothing is committed, flushed or
//! merged.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::log::record::End;
use crate::manifest::Manifest;
use crate::manifest::in_force::InForce;
use crate::names::OwnName;
use crate::place::Place;
use crate::removals::Removals;
use crate::runs::saved::Census;
use crate::store::Pin;
use crate::store::layers::Below;
use crate::sync::Arc;

/// Where the log ends, as its writer or its reader knows it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogEnd {
    /// Where the last record ends that the last segment has whole.
    pub(crate) at: End,
    /// How far that segment was synced, by this opening; no record of it may claim more.
    pub(crate) synced: Option<u64>,
    /// The version of that record; `None` if more was published than was written.
    pub(crate) version: Option<u64>,
}

/// What an opening for reading only has found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) manifest: Manifest,
    pub(crate) in_force: InForce,
    /// Where the log ends.
    pub(crate) end: End,
}

/// The moment that is walked.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) manifest: Manifest,
    pub(crate) in_force: InForce,
    /// `None` if a failure has left it open which manifest is in force, and how far the log goes.
    pub(crate) log: Option<LogEnd>,
    pub(crate) below: Arc<Below>,
    pub(crate) removals: Arc<Removals>,
    /// What is known of runs in memory.
    pub(crate) census: Census,
    /// What readers see, and keep seeing while this lives.
    pub(crate) pin: Pin,
    /// How much of the log is read at once.
    pub(crate) read_bytes: u64,
}

/// What has become of the moment's files since.
pub(crate) trait Since {
    /// Whether this manifest is in force still, with no edit behind those in it.
    fn is_in_force(&self, in_force: &InForce) -> bool;
    /// Whether the manifest in force names a file of this number.
    fn names(&self, number: u64) -> bool;
}

/// Nothing is written: of a database that is opened for reading.
pub(crate) struct Still;

impl Since for Still {
    fn is_in_force(&self, _in_force: &InForce) -> bool {
        true
    }

    fn names(&self, _number: u64) -> bool {
        true
    }
}

/// Whom violations are told to, and where they are looked for.
pub(super) struct Walk<'a> {
    pub(super) view: &'a View,
    pub(super) place: &'a Place,
    pub(super) since: &'a dyn Since,
    pub(super) tell: &'a mut dyn FnMut(Error),
    /// A table does not read as it should, and that was told: what follows of it is not.
    pub(super) is_damaged: bool,
}

impl Walk<'_> {
    /// A violation of which nothing more is known than that the manifest leads to it.
    pub(super) fn wrong(&mut self, expected: impl ToString, found: impl ToString) {
        let path = self.manifest_path();
        (self.tell)(Error::corruption(path, 0, expected.to_string(), found.to_string()));
    }

    pub(super) fn manifest_path(&self) -> PathBuf {
        self.place.path(OwnName::Manifest)
    }

    /// A read of tables failed: tells of damage, unless all of that was told when each table was
    /// walked by itself; whatever else stopped it ends the walk.
    pub(super) fn unread(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Corruption { .. } if self.is_damaged => Ok(()),
            error => {
                self.is_damaged = true;
                self.told(error)
            }
        }
    }

    /// Tells of damage; whatever else stopped a read ends the walk.
    pub(super) fn told(&mut self, error: Error) -> Result<()> {
        match error {
            Error::Corruption { .. } => {
                (self.tell)(error);
                Ok(())
            }
            other => Err(other),
        }
    }
}
