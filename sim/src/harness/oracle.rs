//! What the crash contract permits: the comparison of a database with the model.
//!
//! Everything that a caller can see is compared: values, versions, times, expiries, listings
//! and their order, from both ends, run records, counts. Not only values.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use runstone::{
    Database, EntryRef, Error, KVStore, Key, Namespace, RunFilter, Value, VersionedValue,
};

use super::case::{KEYS, RUNS, TAGGED_KEYS, TAGS, key_bytes, run_id};
use super::listings::{all_filters, compare_listings};
use super::manifest::Read;
use super::model::{Model, Readable, Revision, named_runs};
use super::written::{MANIFEST, numbered};

/// The first difference between what a database shows and what the model says.
pub(crate) fn compare(db: &Database, model: &Model, now_ms: u64) -> Result<(), String> {
    compare_runs(db, model)?;
    let version = model.version();
    if db.storage().version() != version {
        return Err(format!("version {}, not {version}", db.storage().version()));
    }
    for run in model.runs() {
        let expected = model.list(run, b"", version, now_ms);
        compare_tagged(db, model, run, now_ms)?;
        let scan = match db.scan_prefix(run_id(run), "") {
            Err(error) if model.readable(run).refuses(&error) => continue,
            Ok(_) if model.readable(run) != Readable::Yes => {
                return Err(format!("run {run} is shown: {:?}", model.readable(run)));
            }
            scan => scan.map_err(|e| format!("run {run}: {e}"))?,
        };
        let mut found = Vec::new();
        for item in scan {
            found.push(item.map_err(|e| format!("scan of run {run}: {e}"))?);
        }
        compare_lists(&format_args!("run {run}"), &expected, &found)?;
        compare_count(run, expected.len(), model.counts_keys(run).then(|| db.count(run_id(run))))?;
    }
    Ok(())
}

/// Compares how many keys a run holds, if that was asked.
pub(crate) fn compare_count(
    run: u8,
    expected: usize,
    found: Option<Result<u64, Error>>,
) -> Result<(), String> {
    match found {
        None => Ok(()),
        Some(Ok(found)) if found == expected as u64 => Ok(()),
        Some(found) => Err(format!("run {run} holds {found:?} keys, not {expected}")),
    }
}

/// The first corruption that a read of all keys meets, each read in every way that takes a path of
/// its own.
pub(crate) fn corruption(db: &Database) -> Option<Error> {
    let mut errors = Vec::new();
    let mut entries = Vec::new();
    for entry in db.runs(RunFilter::default()).into_iter().flatten() {
        match entry {
            Ok(entry) => entries.push(entry),
            Err(error) => errors.push(error),
        }
    }
    // From either end: each reads a block that the other does not.
    for filter in all_filters(&entries) {
        let listed = || db.runs(filter.clone()).into_iter().flatten();
        errors.extend(listed().find_map(Result::err));
        errors.extend(
            db.runs(filter.clone()).into_iter().flat_map(Iterator::rev).find_map(Result::err),
        );
    }
    errors.extend((0..RUNS).filter_map(|run| db.get_run(run_id(run)).err()));
    for run in entries.iter().map(|entry| entry.run_id) {
        errors.extend(db.scan_prefix(run, "").into_iter().flatten().find_map(Result::err));
        let gets = (0..KEYS).map(|key| db.get(run, key_bytes(key)));
        errors.extend(gets.filter_map(Result::err));
        let tagged = TAGS.into_iter().flat_map(|tag| (0..TAGGED_KEYS).map(move |key| (tag, key)));
        let names =
            tagged.map(|(tag, key)| Key::new(Namespace::default_for(run), tag, key_bytes(key)));
        errors.extend(names.filter_map(|name| db.storage().get(&name).err()));
    }
    errors.into_iter().find(Error::is_corruption)
}

/// The keys of other kinds, which listings do not show.
fn compare_tagged(db: &Database, model: &Model, run: u8, now_ms: u64) -> Result<(), String> {
    for tag in TAGS {
        for key in (0..TAGGED_KEYS).map(key_bytes) {
            let what = format_args!("run {run} {} {}", tag.as_str(), key.escape_ascii());
            let expected = model.get_tagged(run, tag, &key, model.version(), now_ms);
            let name = Key::new(Namespace::default_for(run_id(run)), tag, &key);
            let found = db.storage().get(&name).map_err(|e| format!("{what}: {e}"))?;
            compare_value(&what, expected, found.as_ref())?;
        }
    }
    Ok(())
}

fn compare_runs(db: &Database, model: &Model) -> Result<(), String> {
    for run in named_runs(model) {
        let expected = model.run_entry(run);
        let found = db.get_run(run_id(run)).map_err(|e| e.to_string())?;
        if expected != found {
            return Err(format!("run {run}: record {found:?}, not {expected:?}"));
        }
        compare_statistics(db, model, run)?;
    }
    let mut active: Vec<_> = model.active_runs().into_iter().map(run_id).collect();
    active.sort_unstable();
    let found = db.list_active_runs().map_err(|e| e.to_string())?;
    if found != active || db.active_run_count().ok() != Some(active.len()) {
        return Err(format!("active runs {found:?}, not {active:?}"));
    }
    let entries: Vec<_> = model.runs().filter_map(|run| model.run_entry(run)).collect();
    compare_listings(entries, |filter| db.runs(filter))
}

/// What a run's record counts.
pub(crate) fn compare_statistics(db: &Database, model: &Model, run: u8) -> Result<(), String> {
    let found = db.run_statistics(run_id(run)).map_err(|e| e.to_string())?;
    let (keys, kept) = (found.and_then(|found| found.keys), model.kept_keys(run));
    if keys != kept {
        return Err(format!("run {run} holds {keys:?} keys by its statistics, not {kept:?}"));
    }
    let found = found.map(|s| {
        let (version, time) = (s.last_version, s.last_change.as_millis());
        [s.changes, s.puts, s.deletes, s.bytes_put, version, time]
    });
    let expected = model.statistics(run);
    if found == expected {
        return Ok(());
    }
    Err(format!("statistics of run {run}: {found:?}, not {expected:?}"))
}

/// Compares a listing, in order.
pub(crate) fn compare_lists(
    what: &dyn Display,
    expected: &[(&[u8], &Revision)],
    found: &[(Vec<u8>, VersionedValue)],
) -> Result<(), String> {
    for (i, (key, revision)) in expected.iter().enumerate() {
        let Some((found_key, value)) = found.get(i) else {
            return Err(format!("{what}: key {} is missing", key.escape_ascii()));
        };
        if found_key != key {
            return Err(format!(
                "{what}: key {} at place {i}, not {}",
                found_key.escape_ascii(),
                key.escape_ascii()
            ));
        }
        let what = format_args!("{what} key {}", key.escape_ascii());
        compare_value(&what, Some(revision), Some(value))?;
    }
    match found.get(expected.len()) {
        Some((key, _)) => Err(format!("{what}: unexpected key {}", key.escape_ascii())),
        None => Ok(()),
    }
}

/// Compares one key.
pub(crate) fn compare_value(
    what: &dyn Display,
    expected: Option<&Revision>,
    found: Option<&VersionedValue>,
) -> Result<(), String> {
    let (revision, found) = match (expected, found) {
        (None, None) => return Ok(()),
        (Some(revision), Some(found)) => (revision, found),
        (expected, found) => {
            return Err(format!("{what}: {}, not {}", brief(found), brief_revision(expected)));
        }
    };
    let same = revision.value.as_ref() == Some(&found.value)
        && revision.version == found.version
        && revision.time_ms == found.timestamp.as_millis()
        && revision.expiry_ms == found.expires_at.map(|at| at.as_millis());
    if same {
        return Ok(());
    }
    Err(format!("{what}: {}, not {}", brief(Some(found)), brief_revision(Some(revision))))
}

fn short(text: String) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

fn brief(found: Option<&VersionedValue>) -> String {
    found.map_or("nothing".to_owned(), |found| {
        let value = short(format!("{:?}", found.value));
        format!(
            "{value} of version {} at {} expiring {:?}",
            found.version, found.timestamp, found.expires_at
        )
    })
}

fn brief_revision(expected: Option<&Revision>) -> String {
    expected.map_or("nothing".to_owned(), |revision| {
        let value = short(format!("{:?}", revision.value));
        format!(
            "{value} of version {} at {} ms expiring {:?}",
            revision.version, revision.time_ms, revision.expiry_ms
        )
    })
}

/// Reads one key in every way and compares.
pub(crate) fn compare_get(
    db: &Database,
    model: &Model,
    run: u8,
    key: u16,
    now_ms: u64,
) -> Result<(), String> {
    compare_value_of(db, model, run, key, now_ms)?;
    compare_exists(db, model, run, key, now_ms)
}

/// Reads one key in every way that gives its value.
pub(crate) fn compare_value_of(
    db: &Database,
    model: &Model,
    run: u8,
    key: u16,
    now_ms: u64,
) -> Result<(), String> {
    let bytes = key_bytes(key);
    let id = run_id(run);
    let what = format_args!("run {run} key {}", bytes.escape_ascii());
    let versioned = db.get_versioned(id, &bytes);
    let lent = db.get_with(id, &bytes, own);
    let plain = db.get(id, &bytes);
    let readable = model.readable(run);
    if readable != Readable::Yes {
        let refused = [versioned.err(), lent.err(), plain.err()];
        let is_right = |e: &Option<Error>| e.as_ref().is_some_and(|e| readable.refuses(e));
        let all_refused = refused.iter().all(is_right);
        let message = || format!("{what}: {refused:?}, though {readable:?}");
        return if all_refused { Ok(()) } else { Err(message()) };
    }
    if bytes.is_empty() {
        let refused = matches!(versioned, Err(Error::InvalidArgument { .. }));
        let message = || format!("{what}: an empty key was read: {versioned:?}");
        return if refused { Ok(()) } else { Err(message()) };
    }
    let expected = model.get(run, &bytes, model.version(), now_ms);
    let versioned = versioned.map_err(|e| format!("{what}: {e}"))?;
    compare_value(&what, expected, versioned.as_ref())?;
    let lent = lent.and_then(Option::transpose).map_err(|e| format!("{what}: {e}"))?;
    if lent != versioned {
        return Err(format!("{what}: get_with and get_versioned differ"));
    }
    let plain = plain.map_err(|e| format!("{what}: {e}"))?;
    if plain != versioned.map(|versioned| versioned.value) {
        return Err(format!("{what}: get and get_versioned differ"));
    }
    let kv = KVStore::new(db.clone());
    let bytes = match key & 1 {
        0 => kv.get(id, &bytes),
        _ => kv.get_with(id, &bytes, <[u8]>::to_vec),
    };
    let same = match (&bytes, expected.and_then(|revision| revision.value.as_ref())) {
        (Ok(None), None) => true,
        (Ok(Some(found)), Some(Value::Bytes(expected))) => found == expected,
        (Err(Error::WrongType { .. }), Some(value)) => !matches!(value, Value::Bytes(_)),
        _ => false,
    };
    if same { Ok(()) } else { Err(format!("{what}: the facade gave {bytes:?}")) }
}

/// What a read has lent, with bytes of its own.
pub(crate) fn own(entry: EntryRef<'_>) -> Result<VersionedValue, Error> {
    entry.to_owned().map(|(_, value)| value)
}

/// Asks only whether a key is there.
pub(crate) fn compare_exists(
    db: &Database,
    model: &Model,
    run: u8,
    key: u16,
    now_ms: u64,
) -> Result<(), String> {
    let bytes = key_bytes(key);
    let expected = model.get(run, &bytes, model.version(), now_ms).is_some();
    match db.exists(run_id(run), &bytes) {
        Err(error) if model.readable(run).refuses(&error) => Ok(()),
        Err(Error::InvalidArgument { .. }) if bytes.is_empty() => Ok(()),
        Ok(found) if found == expected && model.readable(run) == Readable::Yes => Ok(()),
        found => {
            let key = bytes.escape_ascii();
            Err(format!("run {run} key {key}: exists gives {found:?}, not {expected}"))
        }
    }
}

/// Every key of every run: the reads that a comparison of lists does not make.
pub(crate) fn compare_all_gets(db: &Database, model: &Model, now_ms: u64) -> Result<(), String> {
    for run in 0..RUNS {
        for key in 0..KEYS {
            compare_get(db, model, run, key, now_ms)?;
        }
    }
    Ok(())
}

/// C12: the files that bear the store's id in their names and that its manifest does not name.
/// Reads the manifest by its documented layout, not by the engine.
pub(crate) fn leaks(image: &BTreeMap<PathBuf, Vec<u8>>, dir: &Path) -> Result<(), String> {
    let Some(manifest) = image.get(&dir.join(MANIFEST)) else {
        return Err("there is no manifest".to_owned());
    };
    let manifest = Read::of(manifest).ok_or("the manifest is short")?;
    let named = manifest.named();
    // Whatever bears the store's id in its name is the store's.
    let prefix = numbered(&manifest.id, 0, "");
    let prefix = prefix.trim_end_matches("000000.");
    for path in image.keys() {
        let Some(name) = path.strip_prefix(dir).ok().and_then(Path::to_str) else { continue };
        let Some((digits, kind)) = name.strip_prefix(prefix).and_then(|rest| rest.split_once('.'))
        else {
            continue;
        };
        let is_named = digits.parse::<u64>().is_ok_and(|number| named.contains(&number));
        if !matches!(kind, "log" | "table") || !is_named {
            return Err(format!("{name} is left, and the manifest names only {named:?}"));
        }
    }
    Ok(())
}
