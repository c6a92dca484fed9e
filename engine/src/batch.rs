//! Batches: several changes that are committed as one.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::time::Duration;

use crate::codec::body::RunBegin;
use crate::codec::change::{Change, NEVER};
use crate::codec::value::Stored;
use crate::error::{Error, Result};
use crate::options::{CHANGE_OVERHEAD_BYTES, Limits};
use crate::types::{Namespace, PhysicalKey, Retention, RunId, RunStatus, TypeTag, Value};

/// Changes of any number of runs and kinds that take effect together: after a crash, and for
/// every reader, all of them or none. A batch takes one version.
///
/// The last write to a key wins when the batch is built. Changes are judged in the order in
/// which they were added: a run may be begun, written and ended in one batch.
///
/// ```
/// use runstone::{Database, RunId, RunStatus, WriteBatch};
/// let db = Database::in_memory()?;
/// let run = RunId::new();
/// let mut batch = WriteBatch::new();
/// batch.begin_run(run, [("kind", "import")]);
/// batch.put(run, "rows", 3).put(run, "state", "done");
/// batch.end_run(run, RunStatus::Completed);
/// let version = db.write(batch)?;
/// assert_eq!(db.get_run(run)?.expect("begun").last_version, version);
/// # Ok::<(), runstone::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct WriteBatch {
    /// In order; a write that a later one superseded is `None`.
    changes: Vec<Option<Change>>,
    places: BTreeMap<PhysicalKey, usize>,
    /// The first mistake, reported when the batch is submitted.
    mistake: Option<Error>,
}

impl WriteBatch {
    /// An empty batch. An empty batch cannot be committed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of changes; a key counts once.
    #[must_use]
    pub fn len(&self) -> usize {
        let counts = |change: &&Change| !matches!(change, Change::KeyCount { .. });
        self.changes.iter().flatten().filter(counts).count()
    }

    /// Whether there is no change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sets a plain key; without a TTL, so an older one is cleared.
    pub fn put(&mut self, run: RunId, key: impl AsRef<[u8]>, value: impl Into<Value>) -> &mut Self {
        self.put_tagged(run, TypeTag::KV, key, value, None)
    }

    /// Sets a plain key that expires after `ttl`, rounded up to a millisecond; `None` means
    /// never, and a zero TTL is refused when the batch is committed.
    pub fn put_with_ttl(
        &mut self,
        run: RunId,
        key: impl AsRef<[u8]>,
        value: impl Into<Value>,
        ttl: Option<Duration>,
    ) -> &mut Self {
        self.put_tagged(run, TypeTag::KV, key, value, ttl)
    }

    /// Sets a key of any kind but [`TypeTag::RunMetadata`].
    pub fn put_tagged(
        &mut self,
        run: RunId,
        tag: TypeTag,
        key: impl AsRef<[u8]>,
        value: impl Into<Value>,
        ttl: Option<Duration>,
    ) -> &mut Self {
        match ttl_ms(ttl) {
            Ok(expiry_ms) => {
                let key = self.key(run, tag, key.as_ref());
                self.write(Change::Put { key, value: Stored::from(value.into()), expiry_ms });
            }
            Err(error) => self.note(error),
        }
        self
    }

    /// Deletes a plain key, without reading it.
    pub fn delete(&mut self, run: RunId, key: impl AsRef<[u8]>) -> &mut Self {
        self.delete_tagged(run, TypeTag::KV, key)
    }

    /// Deletes a key of any kind but [`TypeTag::RunMetadata`].
    pub fn delete_tagged(&mut self, run: RunId, tag: TypeTag, key: impl AsRef<[u8]>) -> &mut Self {
        let key = self.key(run, tag, key.as_ref());
        self.write(Change::Delete { key });
        self
    }

    /// Begins a run in its default namespace.
    pub fn begin_run<N: Into<String>, V: Into<String>>(
        &mut self,
        run: RunId,
        tags: impl IntoIterator<Item = (N, V)>,
    ) -> &mut Self {
        self.begin_run_with(run, RunOptions::default().tags(tags))
    }

    /// Begins a run.
    pub fn begin_run_with(&mut self, run: RunId, options: RunOptions) -> &mut Self {
        match options.into_changes(run) {
            Ok((begin, count)) => {
                self.changes.push(Some(begin));
                self.changes.extend(count.map(Some));
            }
            Err(error) => self.note(error),
        }
        self
    }

    /// Ends a run. A status that is still active is refused when the batch is committed.
    pub fn end_run(&mut self, run: RunId, status: RunStatus) -> &mut Self {
        if let Err(error) = check_end(status) {
            self.note(error);
        }
        self.changes.push(Some(Change::EndRun { run, status }));
        self
    }

    /// Drops a run that has ended, as [`Database::drop_run`](crate::Database::drop_run) does.
    pub fn drop_run(&mut self, run: RunId) -> &mut Self {
        let (from, to) = PhysicalKey::bounds_of(run);
        self.supersede(&from, &to);
        self.changes.push(Some(Change::DropRun { run }));
        self
    }

    /// Removes a range of plain keys, as
    /// [`Database::remove_range`](crate::Database::remove_range) does. What this batch puts there
    /// behind it stays.
    pub fn remove_range<K: AsRef<[u8]>, R: RangeBounds<K>>(
        &mut self,
        run: RunId,
        range: R,
    ) -> &mut Self {
        let (from, to) = key_range(run, &range);
        // An empty range removes nothing, and is logged as one that holds no key.
        if from < to {
            self.supersede(&from, &to);
            self.changes.push(Some(Change::RemoveRange { from, to }));
        } else {
            self.note(Error::invalid(EMPTY_RANGE));
        }
        self
    }

    /// What the batch has written between two keys is superseded.
    fn supersede(&mut self, from: &PhysicalKey, to: &PhysicalKey) {
        let inside: Vec<_> =
            self.places.range(from..to).map(|(key, at)| (key.clone(), *at)).collect();
        for (key, at) in inside {
            self.places.remove(&key);
            if let Some(place) = self.changes.get_mut(at) {
                *place = None;
            }
        }
    }

    fn key(&mut self, run: RunId, tag: TypeTag, user: &[u8]) -> PhysicalKey {
        if tag == TypeTag::RunMetadata {
            self.note(Error::wrong_tag(tag));
        }
        PhysicalKey::new(run, tag, user)
    }

    fn write(&mut self, change: Change) {
        let (Change::Put { key, .. } | Change::Delete { key }) = &change else { return };
        let superseded = self.places.insert(key.clone(), self.changes.len());
        if let Some(place) = superseded.and_then(|at| self.changes.get_mut(at)) {
            *place = None;
        }
        self.changes.push(Some(change));
    }

    fn note(&mut self, mistake: Error) {
        self.mistake.get_or_insert(mistake);
    }

    /// The changes, checked against the limits, with the batch's size in bytes.
    pub(crate) fn into_changes(self, limits: &Limits) -> Result<(Vec<Change>, u64)> {
        if let Some(mistake) = self.mistake {
            return Err(mistake);
        }
        let changes: Vec<_> = self.changes.into_iter().flatten().collect();
        if changes.is_empty() {
            return Err(Error::invalid("an empty batch; add a change"));
        }
        let mut bytes = 0;
        for change in &changes {
            bytes += check(change, limits)?;
        }
        limit("batch bytes", limits.batch_bytes_max, bytes)?;
        Ok((changes, bytes as u64))
    }
}

const EMPTY_RANGE: &str = "an empty range of keys; its end must be above its beginning";

/// Whether a run ends as this.
///
/// Error: [`Error::InvalidArgument`].
pub(crate) fn check_end(status: RunStatus) -> Result<()> {
    if status.is_end() {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "a run cannot end as {status}; end it as completed, failed or cancelled, and drop it then"
    )))
}

/// A range of plain keys as a change. Error: [`Error::InvalidArgument`] for one that holds no key.
pub(crate) fn remove_range<K: AsRef<[u8]>, R: RangeBounds<K>>(
    run: RunId,
    range: &R,
) -> Result<Change> {
    let (from, to) = key_range(run, range);
    if from < to { Ok(Change::RemoveRange { from, to }) } else { Err(Error::invalid(EMPTY_RANGE)) }
}

/// The least key of a range of plain keys, and the least behind it.
pub(crate) fn key_range<K: AsRef<[u8]>, R: RangeBounds<K>>(
    run: RunId,
    range: &R,
) -> (PhysicalKey, PhysicalKey) {
    let key = |key: &K| PhysicalKey::new(run, TypeTag::KV, key.as_ref());
    let from = match range.start_bound() {
        Bound::Included(start) => key(start),
        Bound::Excluded(start) => key(start).successor(),
        Bound::Unbounded => PhysicalKey::new(run, TypeTag::KV, &[]),
    };
    let to = match range.end_bound() {
        Bound::Included(end) => key(end).successor(),
        Bound::Excluded(end) => key(end),
        Bound::Unbounded => PhysicalKey::end_of(run, TypeTag::KV),
    };
    (from, to)
}

/// The one admission check: sizes, in every mode and for every way in. Returns the most bytes
/// that the change takes in a record.
pub(crate) fn check(change: &Change, limits: &Limits) -> Result<usize> {
    let any_key_bytes = |key: &PhysicalKey| match key.user_key().len() {
        0 => Err(Error::invalid("an empty key; keys have at least one byte")),
        len => Ok(len),
    };
    let key_bytes = |key: &PhysicalKey| {
        let len = any_key_bytes(key)?;
        limit("key bytes", limits.key_bytes_max, len).map(|()| len)
    };
    if matches!(change, Change::KeyCount { .. }) {
        // What is said of the change that it stands beside has room for it.
        return Ok(0);
    }
    Ok(CHANGE_OVERHEAD_BYTES
        + match change {
            Change::Put { key, value, .. } => {
                let key = key_bytes(key)?;
                limit("value bytes", limits.value_bytes_max, value.bytes().len())?;
                key + value.bytes().len()
            }
            // A session with a larger limit may have put it: the way out stays open.
            Change::Delete { key } => any_key_bytes(key)?,
            Change::EndRun { .. } | Change::DropRun { .. } | Change::KeyCount { .. } => 0,
            Change::RemoveRange { from, to } => {
                // The successor of the longest key is a byte longer.
                let (from, to) = (from.user_key().len(), to.user_key().len());
                let bound_bytes_max = limits.key_bytes_max.saturating_add(1);
                limit("bytes of a bound of a range", bound_bytes_max, from.max(to))?;
                from + to
            }
            Change::BeginRun { begin, .. } => {
                let names = [
                    ("tenant bytes", begin.namespace.tenant()),
                    ("application bytes", begin.namespace.app()),
                    ("agent bytes", begin.namespace.agent()),
                ];
                let mut bytes = 128;
                for (what, name) in names {
                    limit(what, limits.name_bytes_max, name.len())?;
                    bytes += name.len();
                }
                limit("tags", limits.tags_max, begin.tags.len())?;
                for (name, value) in &begin.tags {
                    limit("tag name bytes", limits.name_bytes_max, name.len())?;
                    limit("tag value bytes", limits.name_bytes_max, value.len())?;
                    bytes += name.len() + value.len() + 16;
                }
                bytes
            }
        })
}

fn limit(what: &'static str, limit: usize, actual: usize) -> Result<()> {
    if actual <= limit {
        return Ok(());
    }
    Err(Error::LimitExceeded { what, limit: limit as u64, actual: actual as u64 })
}

/// A time to live in milliseconds, rounded up; [`NEVER`] for none, or for one beyond the end
/// of time.
///
/// Error: [`Error::InvalidArgument`] for zero.
pub(crate) fn ttl_ms(ttl: Option<Duration>) -> Result<u64> {
    match ttl {
        None => Ok(NEVER),
        Some(Duration::ZERO) => Err(Error::invalid(
            "a time to live of zero; give at least a nanosecond, or none at all",
        )),
        Some(ttl) => Ok(u64::try_from(ttl.as_nanos().div_ceil(1_000_000)).unwrap_or(NEVER)),
    }
}

/// No tags, for a run that needs none.
///
/// ```
/// use runstone::{Database, NO_TAGS, RunId};
/// let db = Database::in_memory()?;
/// db.begin_run(RunId::new(), NO_TAGS)?;
/// # Ok::<(), runstone::Error>(())
/// ```
pub const NO_TAGS: [(&str, &str); 0] = [];

/// How a run begins.
///
/// ```
/// use runstone::{Database, Namespace, RunId, RunOptions};
/// let db = Database::in_memory()?;
/// let (parent, child) = (RunId::new(), RunId::new());
/// db.begin_run(parent, runstone::NO_TAGS)?;
/// let options = RunOptions::default()
///     .namespace(Namespace::new("acme", "mailer", "writer", child))
///     .parent(parent)
///     .tags([("attempt", "2")]);
/// db.begin_run_with(child, options)?;
/// assert_eq!(db.get_run(child)?.expect("begun").parent_run_id, Some(parent));
/// # Ok::<(), runstone::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct RunOptions {
    namespace: Option<Namespace>,
    parent: Option<RunId>,
    tags: BTreeMap<String, String>,
    counts_keys: bool,
}

impl RunOptions {
    /// Whom the run belongs to; its run id must be that of the run. The default is
    /// [`Namespace::default_for`].
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// The run that this one is begun from. It must exist, whatever its status.
    pub fn parent(mut self, parent: RunId) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Adds tags; of two with the same name the later counts.
    pub fn tags<N: Into<String>, V: Into<String>>(
        mut self,
        tags: impl IntoIterator<Item = (N, V)>,
    ) -> Self {
        self.tags.extend(tags.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// Counts the keys of the run with each commit, so that
    /// [`Database::count`](crate::Database::count) takes the same time however many there are. Off
    /// by default.
    ///
    /// For that each put and delete first looks whether its key is there, as
    /// [`Database::exists`](crate::Database::exists) does, while it holds up other commits: for keys
    /// that are new or in memory that is fast; for those that stand in tables it may read a block,
    /// and where that fails, so does the commit, and changes nothing. Beside that a commit takes
    /// some ten bytes more in the log for each such run.
    ///
    /// It ends for good with the first put of a key with a time to live, and the first
    /// `remove_range`: neither says how many keys are gone, and when.
    ///
    /// ```
    /// use runstone::{Database, RunId, RunOptions};
    /// let db = Database::in_memory()?;
    /// let run = RunId::new();
    /// db.begin_run_with(run, RunOptions::default().count_keys(true))?;
    /// db.put(run, "key", 1)?;
    /// db.put(run, "key", 2)?;
    /// assert_eq!(db.run_statistics(run)?.expect("begun").keys, Some(1));
    /// # Ok::<(), runstone::Error>(())
    /// ```
    pub fn count_keys(mut self, counts: bool) -> Self {
        self.counts_keys = counts;
        self
    }

    /// The changes that begin a run.
    pub(crate) fn into_changes(self, run: RunId) -> Result<(Change, Option<Change>)> {
        let count = self.counts_keys.then_some(Change::KeyCount { run, keys: Some(0) });
        let begin = Box::new(self.into_begin(run)?);
        Ok((Change::BeginRun { run, begin }, count))
    }

    fn into_begin(self, run: RunId) -> Result<RunBegin> {
        let namespace = self.namespace.unwrap_or_else(|| Namespace::default_for(run));
        if namespace.run() != run {
            return Err(Error::invalid(format!(
                "the namespace is that of run {}, but run {run} is to begin; make one for that",
                namespace.run()
            )));
        }
        Ok(RunBegin {
            namespace,
            parent: self.parent,
            forked_from: None,
            retention: Retention::Latest,
            tags: self.tags,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t06_a_fraction_of_a_millisecond_is_rounded_up_and_zero_is_refused() {
        assert_eq!(ttl_ms(Some(Duration::from_nanos(1))).unwrap(), 1);
        assert_eq!(ttl_ms(Some(Duration::from_millis(900))).unwrap(), 900);
        assert_eq!(ttl_ms(Some(Duration::from_micros(1001))).unwrap(), 2);
        assert_eq!(ttl_ms(Some(Duration::MAX)).unwrap(), NEVER);
        assert_eq!(ttl_ms(None).unwrap(), NEVER);
        assert!(ttl_ms(Some(Duration::ZERO)).is_err());
    }

    #[test]
    fn the_last_write_to_a_key_wins_and_takes_the_later_place() {
        let run = RunId::from_bytes([1; 16]);
        let mut batch = WriteBatch::new();
        batch.put(run, "a", 1).put(run, "b", 2).delete(run, "a");
        assert_eq!(batch.len(), 2);
        let (changes, _) = batch.into_changes(&Limits::default()).unwrap();
        assert!(matches!(&changes[0], Change::Put { key, .. } if key.user_key() == b"b"));
        assert!(matches!(&changes[1], Change::Delete { key } if key.user_key() == b"a"));
    }

    #[test]
    fn t30_sizes_are_admitted_at_the_limit_and_refused_one_beyond() {
        let run = RunId::from_bytes([1; 16]);
        let limits = Limits {
            key_bytes_max: 10,
            value_bytes_max: 20,
            batch_bytes_max: 10 + 20 + CHANGE_OVERHEAD_BYTES,
            ..Limits::default()
        };
        let try_put = |key: usize, value: usize| {
            let mut batch = WriteBatch::new();
            batch.put(run, vec![b'k'; key], vec![0; value]);
            batch.into_changes(&limits).map(|_| ())
        };
        assert!(try_put(10, 20).is_ok() && try_put(1, 0).is_ok());
        assert!(matches!(try_put(11, 0), Err(Error::LimitExceeded { what: "key bytes", .. })));
        assert!(matches!(try_put(1, 21), Err(Error::LimitExceeded { what: "value bytes", .. })));
        // What a session with larger limits has put can be deleted.
        let mut batch = WriteBatch::new();
        batch.delete(run, vec![b'k'; 30]);
        assert!(batch.into_changes(&limits).is_ok());
        assert!(matches!(try_put(0, 1), Err(Error::InvalidArgument { .. })));
        let mut two = WriteBatch::new();
        two.put(run, vec![b'k'; 10], vec![0; 20]).put(run, "x", 1);
        assert!(matches!(
            two.into_changes(&limits),
            Err(Error::LimitExceeded { what: "batch bytes", .. })
        ));
    }
}
