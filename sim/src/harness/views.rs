//! What readers see: listings, ranges, scans that stay open, snapshots, the facade.
//!
//! Invariant: a scan and a snapshot show what was there when they were taken, whatever is
//! committed, expires or is freed while they are open.

use std::collections::VecDeque;
use std::ops::RangeBounds;

use runstone::{Error, KVScan, KVStore, Scan, Snapshot, Value};

use super::case::{CaseOptions, ChangeSpec, KEYS, bound, key_bytes, run_id};
use super::listings::compare_snapshot_runs;
use super::model::{Readable, Revision, named_runs};
use super::open_scan::OpenScan;
use super::oracle;
use super::runner::Runner;
use super::verdict::Checked;

/// How many scans stay open at once.
const SCANS_MAX: usize = 4;

impl Runner<'_> {
    pub(super) fn list(&mut self, run: u8, key: u16, len: u8, ends: u32) -> Checked {
        let bytes = key_bytes(key);
        let prefix = bytes.get(..usize::from(len)).unwrap_or(&bytes);
        let what = format!("list of run {run}, prefix {}", prefix.escape_ascii());
        let opened = self.db()?.scan_prefix(run_id(run), prefix);
        let Some(scan) = self.opened(run, &what, opened)? else { return Ok(()) };
        let expected = self.model.list(run, prefix, self.model.version(), self.now_ms());
        let outcome = walk(scan, &expected, ends, &what);
        self.require("read", outcome)?;
        if ends.is_multiple_of(4) {
            let outcome = compare_facade(self.db()?, run, prefix, &expected);
            self.require("read", outcome)?;
        }
        self.note_shown(self.expired_now(run, |key| key.starts_with(prefix)));
        self.count(run)
    }

    /// How many keys a run holds, now and at a snapshot.
    fn count(&mut self, run: u8) -> Checked {
        if self.case.counts == 0 || self.model.readable(run) != Readable::Yes {
            return Ok(());
        }
        let expected = self.model.list(run, b"", self.model.version(), self.now_ms()).len();
        let outcome = oracle::compare_count(run, expected, Some(self.db()?.count(run_id(run))));
        self.require("read", outcome)?;
        self.note_shown(self.expired_now(run, |_| true));
        let Some((snapshot, version, now, _)) = self.snapshots.last() else { return Ok(()) };
        if self.model.readable_at(run, *version) != Readable::Yes {
            return Ok(());
        }
        let expected = self.model.list(run, b"", *version, *now).len();
        let outcome = oracle::compare_count(run, expected, Some(snapshot.count(run_id(run))));
        let expired_ms = self.model.expired_ms(run, |_| true, *version, *now);
        self.require("snapshot", outcome)?;
        self.note_shown(expired_ms);
        Ok(())
    }

    /// The greatest expiry of what a reader of these keys is told now has expired.
    fn expired_now(&self, run: u8, is_read: impl Fn(&[u8]) -> bool) -> u64 {
        self.model.expired_ms(run, is_read, self.model.version(), self.now_ms())
    }

    /// A scan of a run that there is; `None` if it was rightly refused.
    fn opened(&self, run: u8, what: &str, opened: Result<Scan, Error>) -> Checked<Option<Scan>> {
        match opened {
            Ok(scan) if self.model.readable(run) == Readable::Yes => Ok(Some(scan)),
            Err(error) if self.model.readable(run).refuses(&error) => Ok(None),
            Ok(_) => self.fail("read", format!("{what}: a run was read that is not there")),
            Err(error) => self.fail("read", format!("{what} failed: {error}")),
        }
    }

    pub(super) fn range(&mut self, run: u8, from: u16, to: u16, bounds: u8, ends: u32) -> Checked {
        let (first, last) = (key_bytes(from), key_bytes(to));
        let range = (bound(&first, bounds), bound(&last, bounds / 3));
        let what = format!("range {range:?} of run {run}");
        let opened = self.db()?.scan::<&[u8], _>(run_id(run), range);
        let Some(scan) = self.opened(run, &what, opened)? else { return Ok(()) };
        let expected = self.model.range(run, range, self.model.version(), self.now_ms());
        let outcome = walk(scan, &expected, ends, &what);
        let outcome = outcome.and_then(|()| {
            let kv = KVStore::new(self.db.clone().ok_or("")?);
            let scan = kv.scan::<&[u8], _>(run_id(run), range).map_err(|e| e.to_string())?;
            walk_facade(scan, &expected, ends, &what)
        });
        self.require("read", outcome)?;
        let is_read = |key: &[u8]| range.contains(key);
        self.note_shown(self.expired_now(run, is_read));
        // The same of a snapshot, in its time.
        let Some((snapshot, version, now, _)) = self.snapshots.last() else { return Ok(()) };
        let readable = self.model.readable_at(run, *version);
        if readable != Readable::Yes {
            let refused = snapshot.scan::<&[u8], _>(run_id(run), range);
            let outcome = match refused {
                Err(error) if readable.refuses(&error) => Ok(()),
                refused => Err(format!("{what}: {:?}, though {readable:?}", refused.err())),
            };
            return self.require("snapshot", outcome);
        }
        let expected = self.model.range(run, range, *version, *now);
        let outcome = match snapshot.scan::<&[u8], _>(run_id(run), range) {
            Ok(scan) => walk(scan, &expected, ends, &what),
            Err(error) => Err(format!("{what}: {error}")),
        };
        let expired_ms = self.model.expired_ms(run, is_read, *version, *now);
        self.require("snapshot", outcome)?;
        self.note_shown(expired_ms);
        Ok(())
    }

    /// Begins a scan that stays open.
    pub(super) fn open_scan(&mut self, run: u8, key: u16, len: u8) -> Checked {
        let bytes = key_bytes(key);
        let prefix = bytes.get(..usize::from(len)).unwrap_or(&bytes);
        let what = format!("scan of run {run} since version {}", self.model.version());
        let opened = self.db()?.scan_prefix(run_id(run), prefix);
        let Some(scan) = self.opened(run, &what, opened)? else { return Ok(()) };
        let expected = self.model.list(run, prefix, self.model.version(), self.now_ms());
        let left = expected.into_iter().map(|(key, found)| (key.to_vec(), found.clone())).collect();
        let expired_ms = self.expired_now(run, |key| key.starts_with(prefix));
        if self.scans.len() < SCANS_MAX && self.has_pins_left() {
            let session = self.openings;
            self.scans.push(OpenScan { scan, what, session, left, expired_ms });
        }
        Ok(())
    }

    /// The snapshots of this session; those of earlier ones read what was then.
    pub(super) fn own_snapshots(&self) -> impl Iterator<Item = &(Snapshot, u64, u64, u64)> {
        self.snapshots.iter().filter(|(.., session)| *session == self.openings)
    }

    /// How many snapshots and scans of this session are open.
    pub(super) fn pins(&self) -> usize {
        let scans = self.scans.iter().filter(|scan| scan.session == self.openings);
        self.own_snapshots().count() + scans.count()
    }

    /// Whether a snapshot or a scan may stay open, beside those of comparisons.
    pub(super) fn has_pins_left(&self) -> bool {
        self.pins() + CaseOptions::OWN_PINS < self.options().snapshots_max
    }

    /// As many snapshots and scans as may be are admitted, and no more.
    pub(super) fn pins_are_limited(&mut self, first: Snapshot) -> Checked {
        let limit = self.options().snapshots_max;
        let alive = self.pins() + 1;
        // So many are never alive.
        if limit > SCANS_MAX * 4 {
            return Ok(());
        }
        let mut taken = vec![first];
        for _ in alive..limit {
            match self.db()?.snapshot() {
                Ok(snapshot) => taken.push(snapshot),
                Err(error) => return self.fail("snapshot", format!("{alive} of {limit}: {error}")),
            }
        }
        let refused = |error: &Error| {
            let (at, beyond) = (limit as u64, limit as u64 + 1);
            matches!(error, Error::LimitExceeded { limit, actual, .. }
                if (*limit, *actual) == (at, beyond))
        };
        let snapshot = self.db()?.snapshot().map(|_| ());
        let run = self.model.runs().next();
        let scan = run.map(|run| self.db().map(|db| db.scan_prefix(run_id(run), "").map(|_| ())));
        for outcome in [Some(snapshot), scan.transpose()?].into_iter().flatten() {
            if !outcome.as_ref().is_err_and(refused) {
                return self.fail("snapshot", format!("beyond {limit} alive: {outcome:?}"));
            }
        }
        Ok(())
    }

    /// Goes on with an open scan; one that has ended is dropped.
    pub(super) fn advance(&mut self, slot: u8, steps: u8, ends: u32) -> Checked {
        if self.scans.is_empty() {
            return Ok(());
        }
        let at = usize::from(slot) % self.scans.len();
        let mut open = self.scans.swap_remove(at);
        let mut outcome = Ok(true);
        let mut bits = ends;
        for _ in 0..steps {
            outcome = open.step(bits & 1 == 0);
            bits = bits.rotate_right(1);
            if !matches!(outcome, Ok(true)) {
                break;
            }
        }
        match outcome {
            Ok(true) => self.scans.push(open),
            _ => self.note_shown(open.expired_ms),
        }
        self.require("read", outcome.map(|_| ()))
    }

    pub(super) fn read_snapshot(&mut self, slot: u8) -> Checked {
        if self.snapshots.is_empty() {
            return Ok(());
        }
        let at = usize::from(slot) % self.snapshots.len();
        self.allow_calls_to_read_all();
        let Some((snapshot, version, now, _)) = self.snapshots.get(at) else { return Ok(()) };
        // A scan puts in order what is fresh, so half of the gets come before it; and some come
        // alone, so that nothing else shows what has expired.
        let (mut outcome, mut expired_ms) = (Ok(()), 0);
        if self.turn.is_multiple_of(2) {
            (outcome, expired_ms) = self.get_all(snapshot, *version, *now);
        }
        // A listing holds a pin of its own.
        let lists = self.turn % 8 == 3 && self.has_pins_left() && self.own(at);
        if lists {
            outcome = outcome.and_then(|()| compare_snapshot_runs(snapshot, &self.model, *version));
        }
        let scans = !self.turn.is_multiple_of(4);
        for run in named_runs(&self.model).into_iter().filter(|_| scans) {
            let readable = self.model.readable_at(run, *version);
            if readable == Readable::Yes {
                expired_ms = expired_ms.max(self.model.expired_ms(run, |_| true, *version, *now));
            }
            let scan = snapshot.scan_prefix(run_id(run), "");
            outcome = outcome.and_then(|()| match scan {
                Ok(scan) if readable == Readable::Yes => {
                    let expected = self.model.list(run, b"", *version, *now);
                    walk(scan, &expected, u32::MAX << slot, &format!("snapshot of run {run}"))
                }
                Err(error) if readable.refuses(&error) => Ok(()),
                Ok(_) => Err(format!("a snapshot shows run {run}: {readable:?}")),
                Err(error) => Err(format!("a snapshot of run {run}: {error}")),
            });
        }
        if !self.turn.is_multiple_of(2) {
            outcome = outcome.and_then(|()| self.get_all(snapshot, *version, *now).0);
        }
        self.require("snapshot", outcome)?;
        self.note_shown(expired_ms);
        Ok(())
    }

    /// Whether a snapshot is one of this session: of others the model knows no more what their runs
    /// did.
    fn own(&self, at: usize) -> bool {
        self.snapshots.get(at).is_some_and(|(.., session)| *session == self.openings)
    }

    /// Every key of one run through a snapshot, or of all, if nothing else is read; and the
    /// greatest expiry of what has expired.
    fn get_all(&self, snapshot: &Snapshot, version: u64, now: u64) -> (Result<(), String>, u64) {
        let existed = |run: &u8| self.model.readable_at(*run, version) == Readable::Yes;
        let mut runs: Vec<_> = self.model.runs().filter(existed).collect();
        if !self.turn.is_multiple_of(4) && !runs.is_empty() {
            runs = vec![runs[self.turn / 2 % runs.len()]];
        }
        let asked: Vec<_> = (0..KEYS).map(key_bytes).collect();
        let mut keys = runs.iter().flat_map(|run| asked.iter().map(|key| (*run, key)));
        let outcome = keys.try_for_each(|(run, key)| {
            // An empty key is refused.
            let expected = self.model.get(run, key, version, now);
            if key.is_empty() { Ok(()) } else { compare_snapshot(snapshot, run, key, expected) }
        });
        // Of a flood of keys only the first are asked for.
        let is_read = |key: &[u8]| asked.iter().any(|asked| asked == key);
        let expired = runs.iter().map(|run| self.model.expired_ms(*run, is_read, version, now));
        (outcome, expired.max().unwrap_or(0))
    }

    /// One change through the facade.
    pub(super) fn kv(&mut self, change: ChangeSpec) -> Checked {
        let kv = KVStore::new(self.db()?.clone());
        let outcome = match change {
            ChangeSpec::Put { run, key, value, ttl_ms } => {
                let Value::Bytes(bytes) = self.model.value(value) else { return Ok(()) };
                let (run, key) = (run_id(run), key_bytes(key));
                match ttl_ms {
                    None => kv.put(run, key, bytes),
                    Some(ms) => kv.put_with_ttl(run, key, bytes, Some(super::case::ttl(ms))),
                }
            }
            ChangeSpec::Delete { run, key } => {
                let was_there = kv.delete(run_id(run), key_bytes(key));
                let now = self.now_ms();
                let seen = self.model.get(run, &key_bytes(key), self.model.version(), now);
                let (seen, none_waits) = (seen.is_some(), self.pending.is_empty());
                match was_there {
                    Ok(was) if none_waits && was != seen => {
                        return self.fail("delete", format!("the facade says {was}, not {seen}"));
                    }
                    was_there => was_there.map(|_| self.db_version()),
                }
            }
            _ => return Ok(()),
        };
        drop(kv);
        self.settle()?;
        self.none_was_overtaken(outcome.is_ok())?;
        self.judge(&[change], self.default_level(), false, outcome.map(|version| (version, None)))
    }

    fn db_version(&self) -> u64 {
        self.db.as_ref().map_or(0, |db| db.storage().version())
    }
}

fn compare_snapshot(
    snapshot: &Snapshot,
    run: u8,
    key: &[u8],
    expected: Option<&Revision>,
) -> Result<(), String> {
    let what = format!("snapshot of run {run} key {}", key.escape_ascii());
    if key.len() > super::case::KEY_BYTES_MAX {
        return Ok(());
    }
    let found = snapshot.get_versioned(run_id(run), key).map_err(|e| format!("{what}: {e}"))?;
    oracle::compare_value(&what, expected, found.as_ref())?;
    let plain = snapshot.get(run_id(run), key).map_err(|e| format!("{what}: {e}"))?;
    let lent = snapshot.get_with(run_id(run), key, oracle::own);
    let lent = lent.and_then(Option::transpose).map_err(|e| format!("{what}: {e}"))?;
    if lent != found {
        return Err(format!("{what}: get_with and get_versioned differ"));
    }
    let exists = snapshot.exists(run_id(run), key).map_err(|e| format!("{what}: {e}"))?;
    match plain == found.map(|found| found.value) && exists == expected.is_some() {
        true => Ok(()),
        false => Err(format!("{what}: get, get_versioned and exists differ")),
    }
}

/// A listing through the facade: bytes, or the refusal of the first value that is not.
fn compare_facade(
    db: &runstone::Database,
    run: u8,
    prefix: &[u8],
    expected: &[(&[u8], &Revision)],
) -> Result<(), String> {
    let bytes = |revision: &Revision| match &revision.value {
        Some(Value::Bytes(bytes)) => Some(bytes.clone()),
        _ => None,
    };
    let pairs = expected.iter().map(|(key, found)| Some((key.to_vec(), bytes(found)?)));
    let wanted: Option<Vec<_>> = pairs.collect();
    match (KVStore::new(db.clone()).list(run_id(run), prefix), wanted) {
        (Ok(found), Some(wanted)) if found == wanted => Ok(()),
        (Err(Error::WrongType { .. }), None) => Ok(()),
        (found, wanted) => {
            let found = found.map(|found| found.len());
            let wanted = wanted.map(|wanted| wanted.len());
            Err(format!("the facade lists {found:?} of run {run}, not {wanted:?}"))
        }
    }
}

/// Walks a scan of the facade from both ends: bytes, until a value is none; then it has ended.
fn walk_facade(
    mut scan: KVScan,
    expected: &[(&[u8], &Revision)],
    ends: u32,
    what: &str,
) -> Result<(), String> {
    let (mut left, mut bits) = (VecDeque::from(expected.to_vec()), ends);
    loop {
        let (found, wanted) = match bits & 1 == 0 {
            true => (scan.next(), left.pop_front()),
            false => (scan.next_back(), left.pop_back()),
        };
        bits = bits.rotate_right(1);
        let wanted = wanted.map(|(key, revision)| (key, revision.value.as_ref()));
        match (found, wanted) {
            (None, None) => break,
            (Some(Ok((key, bytes))), Some((wanted, Some(Value::Bytes(value)))))
                if key == wanted && bytes == *value => {}
            (Some(Err(Error::WrongType { .. })), Some((_, Some(value))))
                if !matches!(value, Value::Bytes(_)) =>
            {
                left.clear();
            }
            (found, wanted) => {
                return Err(format!("the facade's {what}: {found:?}, not {wanted:?}"));
            }
        }
    }
    match (scan.next_back(), scan.next()) {
        (None, None) => Ok(()),
        _ => Err(format!("the facade's {what} goes on behind its end")),
    }
}

/// Walks a scan from both ends, as the bits say, and compares.
fn walk(
    mut scan: Scan,
    expected: &[(&[u8], &Revision)],
    ends: u32,
    what: &str,
) -> Result<(), String> {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    let mut bits = ends;
    loop {
        let own = |lent: runstone::EntryRef<'_>| lent.to_owned();
        let item = match bits & 3 {
            0 => scan.next(),
            1 => scan.next_back(),
            2 => scan.next_ref().map(|lent| lent.and_then(own)),
            _ => scan.next_back_ref().map(|lent| lent.and_then(own)),
        };
        let Some(item) = item else { break };
        let item = item.map_err(|e| format!("{what}: {e}"))?;
        if bits & 1 == 0 {
            front.push(item)
        } else {
            back.push(item)
        }
        bits = bits.rotate_right(1);
    }
    back.reverse();
    front.append(&mut back);
    oracle::compare_lists(&what, expected, &front)
}
