//! The levels over each other: of each key, what stands in a higher one is newer.
//!
//! A merge of all levels, which changes nothing. Each table was walked by itself before, so what
//! cannot be read was told: such a level ends there, and what tables say together is not judged.
//!
//! Invariant: holds one block of each level, one entry, and what [`InTables`] holds.

use std::path::PathBuf;

use super::census::InTables;
use super::view::Walk;
use crate::error::{Error, Result};
use crate::levels::cursor::LevelCursor;
use crate::manifest::Flushed;
use crate::runs::keys;
use crate::table::block::Entry;
use crate::types::{PhysicalKey, RunId};

/// A level that is read, and its next key.
struct Source {
    cursor: LevelCursor,
    head: Option<PhysicalKey>,
}

impl Source {
    /// Goes to the next entry; to the end behind what cannot be read.
    fn advance(&mut self, walk: &mut Walk<'_>) -> Result<()> {
        self.head = None;
        let moved = self.cursor.advance().and_then(|moved| {
            let entry = if moved { self.cursor.before()? } else { None };
            Ok(entry.map(|(entry, _)| entry.key()))
        });
        match moved {
            Ok(next) => self.head = next,
            Err(error) => walk.unread(error)?,
        }
        Ok(())
    }

    /// Where it stands.
    fn spot(&self) -> (PathBuf, u64) {
        self.cursor.spot().map(|(path, offset)| (path.to_owned(), offset)).unwrap_or_default()
    }
}

/// Merges all levels.
///
/// Errors: [`Error::Io`].
pub(super) fn walk(walk: &mut Walk<'_>) -> Result<()> {
    ranges(walk);
    let mut sources = Vec::new();
    for level in &walk.view.below.levels.0 {
        let mut source = Source { cursor: LevelCursor::aside(level), head: None };
        source.advance(walk)?;
        sources.push(source);
    }
    let (mut in_tables, mut run) = (InTables::default(), None);
    loop {
        let heads = sources.iter().filter_map(|source| source.head.as_ref());
        let Some(key) = heads.min().cloned() else { break };
        if !key.is_reserved() && run.replace(key.run()) != Some(key.run()) {
            known(walk, key.run())?;
        }
        versions(walk, &mut sources, &key, &mut in_tables)?;
    }
    if !walk.is_damaged && !sources.is_empty() {
        in_tables.judge(walk);
    }
    Ok(())
}

/// Whether a run of which there is a key has ever begun.
pub(super) fn known(walk: &mut Walk<'_>, run: RunId) -> Result<()> {
    match walk.view.pin.store().contains(&keys::record(run), None) {
        Ok(true) => {}
        Ok(false) => walk.wrong("keys of runs that have begun", format!("a key of run {run}")),
        Err(error) => walk.unread(error)?,
    }
    Ok(())
}

/// Passes all versions of a key, from the highest level down.
fn versions(
    walk: &mut Walk<'_>,
    sources: &mut [Source],
    key: &PhysicalKey,
    in_tables: &mut InTables,
) -> Result<()> {
    let Flushed { version: upto, time_ms: by_ms } = walk.view.manifest.flushed;
    let (mut above, mut is_newest) = (None, true);
    for source in sources {
        let mut least = above;
        while source.head.as_ref() == Some(key) {
            let row = match source.cursor.before() {
                Ok(Some((entry, _))) => {
                    let Entry { version, time_ms, .. } = entry;
                    if above.is_some_and(|above| version >= above) {
                        let (path, offset) = source.spot();
                        let expected = format!(
                            "of {key:?} what is older than a higher level's version {}",
                            above.unwrap_or(0)
                        );
                        let found = format!("version {version}");
                        (walk.tell)(Error::corruption(path, offset, expected, found));
                    }
                    if version > upto || time_ms > by_ms {
                        let (path, offset) = source.spot();
                        let expected = format!("versions up to {upto} at {by_ms} ms, as flushed");
                        let found = format!("{key:?} of version {version} at {time_ms} ms");
                        (walk.tell)(Error::corruption(path, offset, expected, found));
                    }
                    least = Some(least.map_or(version, |least: u64| least.min(version)));
                    let wanted = is_newest && key.is_reserved();
                    if wanted { source.cursor.row(&entry) } else { Ok(None) }
                }
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            is_newest = false;
            match row {
                Ok(Some(row)) => {
                    if let Err(m) = in_tables.note(key, row, walk) {
                        let (path, offset) = source.spot();
                        let found = format!("{} at {key:?}", m.found);
                        (walk.tell)(Error::corruption(path, offset, m.expected, found));
                        walk.is_damaged = true;
                    }
                }
                Ok(None) => {}
                Err(error) => walk.unread(error)?,
            }
            source.advance(walk)?;
        }
        above = least;
    }
    Ok(())
}

/// What the tables say of their versions: levels that do not join each other are of other times,
/// and none knows more than was flushed.
fn ranges(walk: &mut Walk<'_>) {
    let Flushed { version: upto, time_ms: by_ms } = walk.view.manifest.flushed;
    // The least version of what is above, and of the levels that become one with this one.
    let (mut above, mut joined) = (u64::MAX, u64::MAX);
    for (nth, level) in walk.view.below.levels.0.iter().enumerate() {
        for live in &level.tables {
            let properties = live.table.properties();
            let (least, greatest) = properties.versions;
            let path = live.table.path();
            if greatest > upto || properties.applied > upto || properties.times_ms.1 > by_ms {
                let expected = format!("versions up to {upto} at {by_ms} ms, as flushed");
                let found = format!("properties up to {greatest} at {} ms", properties.times_ms.1);
                (walk.tell)(Error::corruption(path, 0, expected, found));
            }
            if greatest > above {
                let expected = format!("in level {nth} versions up to {above}, the least above it");
                let found = format!("versions up to {greatest}");
                (walk.tell)(Error::corruption(path, 0, expected, found));
            }
            joined = joined.min(least);
        }
        if !level.joins {
            above = above.min(joined);
        }
    }
}
