//! Whether what was seen, and what was recovered, can be explained by one order of the commits.
//!
//! The versions that commits were told are that order. Those that were told nothing (a crash, a
//! panic, a ticket that nobody asked) may stand in any gap; all ways are tried, and one must
//! explain everything: C1 to C4, C13 and C14 of the contract, over overlapping commits.

use std::collections::BTreeMap;

use runstone::Level;

use super::history::{Barrier, Fate, History, Look, State, Write};

/// The version of the first commit of a program: the run's begin has version 1.
const FIRST: u64 = 2;

/// What held when the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The store was not stopped, or was closed.
    Alive,
    /// The process was killed.
    Killed,
    /// The power was cut.
    Cut,
}

/// What the intervals and the batch size were.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) batch_size: u64,
    pub(crate) batched_ms: u64,
    pub(crate) async_ms: u64,
    /// Nothing fails but by a crash.
    pub(crate) calm: bool,
    /// Besides, one thread ticks: C14 holds.
    pub(crate) timely: bool,
}

/// Checks a history against what is there at last: `version` commits, and `state`.
pub(crate) fn judge(
    history: &History,
    end: End,
    bounds: Bounds,
    version: u64,
    state: &State,
) -> Result<(), String> {
    if let Some(fault) = history.faults.first() {
        return Err(fault.clone());
    }
    let known = known_versions(history)?;
    durable_is_there(history, end, bounds, version)?;
    for look in &history.looks {
        look_is_current(history, look)?;
    }
    let unknown: Vec<_> = (0..history.writes.len())
        .filter(|write| history.writes[*write].fate == Fate::Unknown)
        .collect();
    let order = vec![];
    let mut search = Search { history, end, bounds, known: &known, unknown, version, state, order };
    if search.extend() {
        return Ok(());
    }
    Err(format!(
        "C2: no legal order explains the {version} versions of {state:?} (end: {end:?}); known: \
         {known:?}"
    ))
}

/// Whether `a` was in its place before `b` was begun.
fn precedes(a: &Write, b: &Write) -> bool {
    a.placed.is_some_and(|placed| placed < b.invoked)
}

fn known_versions(history: &History) -> Result<BTreeMap<u64, usize>, String> {
    let mut known = BTreeMap::new();
    for (number, write) in history.writes.iter().enumerate() {
        let Fate::Version(version) = write.fate else { continue };
        if let Some(other) = known.insert(version, number) {
            return Err(format!("C4: version {version} for writes {other} and {number}"));
        }
    }
    let in_order: Vec<_> = known.iter().collect();
    for (place, (earlier, a)) in in_order.iter().enumerate() {
        for (later, b) in &in_order[place + 1..] {
            if precedes(&history.writes[**b], &history.writes[**a]) {
                return Err(format!(
                    "order: write {b} was done before write {a} began, but is version {later}, \
                     after {earlier}"
                ));
            }
        }
    }
    Ok(known)
}

/// Why a write must be there, if it must.
fn required(history: &History, end: End, bounds: Bounds, write: &Write) -> Option<&'static str> {
    let (answered, ms) = write.answered?;
    match write.level {
        _ if end == End::Alive => Some("C1: nothing stopped it"),
        Level::Strict => Some("C1: strict"),
        Level::Batched if end == End::Killed => Some("C13: batched, and a killed process"),
        level => history.barriers.iter().find_map(|barrier| match *barrier {
            Barrier::Flush { invoked } => (answered < invoked).then_some("C1: flushed"),
            Barrier::Close { invoked } => (answered < invoked).then_some("C1: closed"),
            Barrier::Tick { invoked, ms: now } => {
                let interval = match level {
                    Level::Async => bounds.async_ms,
                    _ => bounds.batched_ms.min(bounds.async_ms),
                };
                let is_due = answered < invoked && ms + interval <= now;
                (is_due && bounds.timely).then_some("C14: a tick came when it was due")
            }
        }),
    }
}

/// C1, C13, C14: what must be there at least.
fn durable_is_there(
    history: &History,
    end: End,
    bounds: Bounds,
    version: u64,
) -> Result<(), String> {
    let mut lost_batched = 0;
    for (number, write) in history.writes.iter().enumerate() {
        let Fate::Version(mine) = write.fate else { continue };
        if mine <= version {
            continue;
        }
        if let Some(why) = required(history, end, bounds, write) {
            return Err(format!("{why}, but write {number}, version {mine}, is lost"));
        }
        lost_batched += u64::from(write.level == Level::Batched && write.answered.is_some());
    }
    if bounds.timely && lost_batched > 2 * bounds.batch_size {
        return Err(format!("C14: {lost_batched} batched commits are lost"));
    }
    // Shown is synced, if it asked for that.
    for seen in history.looks.iter().flat_map(|look| look.seen.values()).flatten() {
        let write = &history.writes[seen.0];
        if write.level == Level::Strict && seen.1 > version {
            return Err(format!("C1: write {} was seen, and is lost", seen.0));
        }
    }
    Ok(())
}

/// A look shows at least what was answered before it began, and batches whole.
fn look_is_current(history: &History, look: &Look) -> Result<(), String> {
    let at = |key: &usize| look.seen.get(key).copied().flatten();
    for (number, write) in history.writes.iter().enumerate() {
        let answered = write.answered.is_some_and(|(stamp, _)| stamp < look.invoked);
        let Fate::Version(version) = write.fate else { continue };
        if answered && look.version.is_some_and(|seen| seen < version) {
            return Err(format!("a snapshot of before write {number}, which was answered"));
        }
        let visible = answered || look.version.is_some_and(|seen| version <= seen);
        for (key, sets) in &write.changes {
            let Some(seen) = look.seen.get(key) else { continue };
            match seen {
                Some((_, seen)) if visible && *seen < version => {
                    return Err(format!("C3: write {number} is not seen at key {key}"));
                }
                None if visible && *sets && !may_be_deleted(history, *key) => {
                    return Err(format!("C3: write {number} is missing at key {key}"));
                }
                Some((_, seen)) if look.version.is_some_and(|at| *seen > at) => {
                    return Err("a snapshot shows a later version".to_owned());
                }
                _ => {}
            }
        }
    }
    // Whatever is seen of a batch, known or not, is seen of all its keys.
    if look.version.is_some() {
        for (write, version) in look.seen.values().flatten() {
            for (key, _) in &history.writes[*write].changes {
                let whole = at(key).map_or(may_be_deleted(history, *key), |(_, at)| at >= *version);
                if !whole {
                    return Err(format!("C3: half of write {write} is seen"));
                }
            }
        }
    }
    Ok(())
}

fn may_be_deleted(history: &History, key: usize) -> bool {
    history.writes.iter().any(|write| write.changes.contains(&(key, false)))
}

/// The search for an order.
struct Search<'a> {
    history: &'a History,
    end: End,
    bounds: Bounds,
    known: &'a BTreeMap<u64, usize>,
    unknown: Vec<usize>,
    version: u64,
    state: &'a State,
    /// The writes of the versions from [`FIRST`] on.
    order: Vec<usize>,
}

impl Search<'_> {
    fn extend(&mut self) -> bool {
        let next = FIRST + self.order.len() as u64;
        if next > self.version {
            return self.explains();
        }
        let candidates = match self.known.get(&next) {
            Some(write) => vec![*write],
            None => self.unknown.clone(),
        };
        for write in candidates {
            if self.order.contains(&write) || !self.fits(write) {
                continue;
            }
            self.order.push(write);
            if self.extend() {
                return true;
            }
            self.order.pop();
        }
        false
    }

    /// Whether nothing that must come after `write` stands before it.
    fn fits(&self, write: usize) -> bool {
        let writes = &self.history.writes;
        let lost = self.known.range(self.version + 1..).map(|(_, lost)| lost);
        !self.order.iter().any(|earlier| precedes(&writes[write], &writes[*earlier]))
            && !lost.into_iter().any(|lost| precedes(&writes[*lost], &writes[write]))
    }

    fn explains(&self) -> bool {
        let writes = &self.history.writes;
        // A close that returned Ok has committed what was submitted.
        let closed = self.history.is_closed();
        let must_be_there = |write: &Write| {
            (closed && self.bounds.calm && write.submitted && write.placed.is_some())
                || required(self.history, self.end, self.bounds, write).is_some()
        };
        let is_missing = |w: &usize| !self.order.contains(w) && must_be_there(&writes[*w]);
        if self.unknown.iter().any(is_missing) {
            return false;
        }
        // Whatever a read saw is in its place.
        let seen = self.history.looks.iter().flat_map(|look| look.seen.values()).flatten();
        for (write, version) in seen.filter(|(_, version)| *version <= self.version) {
            if usize::try_from(version - FIRST).ok().and_then(|place| self.order.get(place))
                != Some(write)
            {
                return false;
            }
        }
        let mut state = State::new();
        let mut looks: Vec<_> = self.history.looks.iter().filter(|l| l.version.is_some()).collect();
        looks.sort_by_key(|look| look.version);
        let mut looks = looks.into_iter().peekable();
        for (version, write) in
            (FIRST - 1..).zip([None].into_iter().chain(self.order.iter().map(Some)))
        {
            if let Some(number) = write {
                let write = &writes[*number];
                let before = write.changes.first().and_then(|(key, _)| state.get(key));
                if write.previous.is_some_and(|said| said != before.map(|(write, _)| *write)) {
                    return false;
                }
                for (key, sets) in &write.changes {
                    if *sets {
                        state.insert(*key, (*number, version));
                    } else {
                        state.remove(key);
                    }
                }
            }
            while let Some(look) = looks.next_if(|look| look.version == Some(version)) {
                if look.seen.iter().any(|(key, seen)| state.get(key).copied() != *seen) {
                    return false;
                }
            }
        }
        state == *self.state
    }
}
