//! Which runs a listing shows, and where it goes on.
//!
//! Invariant: every listing has one order, by the time of the begin and then by the id, so that a
//! cursor of one listing means the same place in every other.

use std::fmt;
use std::ops::Bound;
use std::str::FromStr;

use super::keys::Index;
use crate::error::{Error, Result};
use crate::types::{PhysicalKey, RunId, RunMetadataEntry, RunStatus, Timestamp};

/// A place in the order in which runs are listed: by the time of their begin, then by their id.
///
/// As text it is the time in milliseconds, a dash, and the id, so that a page of a listing can name
/// the next one.
///
/// ```
/// use runstone::{RunCursor, RunId, Timestamp};
/// let cursor = RunCursor { created_at: Timestamp::from_millis(5), run_id: RunId::new() };
/// assert_eq!(cursor.to_string().parse::<RunCursor>()?, cursor);
/// assert!("yesterday".parse::<RunCursor>().is_err());
/// # Ok::<(), runstone::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunCursor {
    /// The engine's time of the run's begin.
    pub created_at: Timestamp,
    /// The run.
    pub run_id: RunId,
}

impl From<&RunMetadataEntry> for RunCursor {
    /// The place of a run that was listed.
    fn from(entry: &RunMetadataEntry) -> Self {
        RunCursor { created_at: entry.created_at, run_id: entry.run_id }
    }
}

impl fmt::Display for RunCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.created_at.as_millis(), self.run_id)
    }
}

impl FromStr for RunCursor {
    type Err = Error;

    /// Error: [`Error::InvalidArgument`] for what is no cursor.
    fn from_str(text: &str) -> Result<Self> {
        let wrong =
            || Error::invalid(format!("`{text}` is no cursor: a time, a dash and a run id"));
        let (time, run) = text.split_once('-').ok_or_else(wrong)?;
        let created_at = Timestamp::from_millis(time.parse().map_err(|_| wrong())?);
        Ok(RunCursor { created_at, run_id: run.parse().map_err(|_| wrong())? })
    }
}

/// Which runs a listing shows; each part that is set must hold.
///
/// The listing reads the index of one part, the parent's before a tag's before a status's, between
/// the bounds of time; of those runs it looks at the records for the other parts.
///
/// ```
/// use runstone::{RunFilter, RunStatus};
/// let failed_nightlies = RunFilter {
///     status: Some(RunStatus::Failed),
///     tag: Some(("kind".into(), "nightly".into())),
///     ..RunFilter::default()
/// };
/// assert_ne!(failed_nightlies, RunFilter::default());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only runs of this status.
    pub status: Option<RunStatus>,
    /// Only runs with this tag of this value.
    pub tag: Option<(String, String)>,
    /// Only runs that were begun from this one.
    pub parent: Option<RunId>,
    /// Only runs that began at this time or later.
    pub created_from: Option<Timestamp>,
    /// Only runs that began before this time.
    pub created_before: Option<Timestamp>,
    /// Only runs behind this place: the last of the page before.
    pub after: Option<RunCursor>,
    /// Only runs before this place: for who pages backwards.
    pub before: Option<RunCursor>,
}

impl RunFilter {
    /// The keys to read, of the index that fits best.
    pub(crate) fn bounds(&self) -> (Bound<PhysicalKey>, Bound<PhysicalKey>) {
        let index = match (self.parent, &self.tag, self.status) {
            (Some(parent), ..) => Index::Child(parent),
            (None, Some((name, value)), _) => Index::Tag(name, value),
            (None, None, Some(status)) => Index::Status(status),
            (None, None, None) => Index::Created,
        };
        let place = |cursor: RunCursor| index.key(cursor.created_at, cursor.run_id);
        let from = index.from(self.created_from.unwrap_or_default());
        // What stands at the end of time may have begun before: the records tell.
        let to = match self.created_before {
            Some(at) if at.as_millis() < super::keys::TIME_MAX => index.from(at),
            _ => index.end(),
        };
        let from = match self.after.map(place) {
            Some(after) if planted!(CursorShownAgain) => Bound::Included(after),
            Some(after) if after >= from => Bound::Excluded(after),
            _ => Bound::Included(from),
        };
        let to = self.before.map(place).map_or(to.clone(), |before| before.min(to));
        let is_empty = match &from {
            Bound::Included(from) | Bound::Excluded(from) => *from >= to,
            Bound::Unbounded => false,
        };
        let from = if is_empty { Bound::Included(to.clone()) } else { from };
        (from, Bound::Excluded(to))
    }

    /// Whether a run belongs to the listing.
    pub(crate) fn passes(&self, entry: &RunMetadataEntry) -> bool {
        let tag = |(name, value): &(String, String)| entry.tags.get(name) == Some(value);
        self.status.is_none_or(|status| entry.status == status)
            && self.tag.as_ref().is_none_or(tag)
            && self.parent.is_none_or(|parent| entry.parent_run_id == Some(parent))
            && self.created_from.is_none_or(|from| entry.created_at >= from)
            && self.created_before.is_none_or(|before| entry.created_at < before)
    }
}
