//! Every adapter does what the traits say: the same calls as on a plain map, the same answers.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use super::{ALL, Kind, Spec};
use crate::data::{Key, Keys, Order, Value, value};
use crate::engine::{
    Change, Direction, Engine, Level, NotThere, Range, Reader, Scan, Session, Setup,
};

const COUNT: u64 = 3000;

type Model = BTreeMap<Key, Value>;

fn keys() -> Keys {
    Keys::new(COUNT, 1300, Order::Random)
}

fn setup(dir: &tempfile::TempDir, level: Level) -> Setup {
    let dir = dir.path().to_owned();
    Setup { dir, level, cache_bytes: 8 << 20, buffer_bytes: 4 << 20, threads: 1, is_large: false }
}

/// The engines that can be read, each with an open store at a level that it has.
fn readable(level: Level, mut test: impl FnMut(&Spec, &Setup, Box<dyn Engine>) -> Result<()>) {
    for spec in ALL.iter().filter(|spec| !["raw log", "memcpy"].contains(&spec.name)) {
        let dir = tempfile::tempdir().unwrap();
        let setup = setup(&dir, level);
        let tested = (spec.open)(&setup).and_then(|engine| test(spec, &setup, engine));
        match tested {
            Err(error) if error.is::<NotThere>() => {}
            tested => tested.unwrap_or_else(|error| panic!("{}: {error:#}", spec.name)),
        }
    }
}

/// Puts, overwrites and removals, singly and in batches, on the store and on the model.
fn fill(engine: &dyn Engine) -> Result<Model> {
    let keys = keys();
    let mut model = Model::new();
    engine.begin_runs(&keys.runs())?;
    let mut session = engine.session()?;
    let mut change = |changes: &[Change]| -> Result<()> {
        match changes {
            [Change { key, value: Some(value) }] => session.put(key, value)?,
            changes => session.write(&mut changes.iter().copied())?,
        }
        for Change { key, value } in changes {
            match value {
                Some(value) => model.insert(*key, *value),
                None => model.remove(key),
            };
        }
        Ok(())
    };
    let put = |turn, version| {
        let key = keys.at(turn);
        Change { key, value: Some(value(&key, version)) }
    };
    let all: Vec<Change> = (0..COUNT).map(|turn| put(turn, 0)).collect();
    for batch in all.chunks(700) {
        change(batch)?;
    }
    for turn in (0..COUNT).step_by(40) {
        change(&[put(turn, 1)])?;
    }
    let removals = (0..COUNT).step_by(7).map(|turn| Change { key: keys.at(turn), value: None });
    change(&removals.chain([put(7, 2)]).collect::<Vec<_>>())?;
    Ok(model)
}

fn compare(reader: &mut dyn Reader, model: &Model) -> Result<()> {
    let keys = keys();
    for turn in 0..COUNT {
        for key in [keys.at(turn), keys.missing(turn)] {
            let mut found = None;
            let is_there = reader.get(&key, &mut |value| found = Some(value.to_vec()))?;
            let expected = model.get(&key).map(|value| value.to_vec());
            if found != expected || is_there != expected.is_some() {
                bail!("turn {turn}: {found:?}, not {expected:?}");
            }
        }
    }
    let (run, prefix, _) = keys.group(1);
    let from = keys.at(5);
    for range in [Range::All, Range::Prefix(run, &prefix), Range::From(&from)] {
        for direction in [Direction::Forward, Direction::Backward] {
            for limit in [10, usize::MAX] {
                let mut found = Vec::new();
                let scan = Scan { range, direction, limit };
                let seen = reader
                    .scan(scan, &mut |key, value| found.push((key.to_vec(), value.to_vec())))?;
                let expected = expected(model, scan);
                let is_same =
                    found.iter().zip(&expected).all(|((key, value), (full, expected))| {
                        // An engine that knows runs gives the key without its run.
                        full.bytes().ends_with(key) && value == expected
                    });
                if seen != expected.len() || found.len() != seen || !is_same {
                    bail!("{scan:?}: {seen} entries, not {}", expected.len());
                }
            }
        }
    }
    let count = reader.count()?;
    if count != model.len() as u64 {
        bail!("{count} keys, not {}", model.len());
    }
    Ok(())
}

fn expected(model: &Model, scan: Scan<'_>) -> Vec<(Key, Value)> {
    let is_in = |key: &Key| match scan.range {
        Range::All => true,
        Range::Prefix(run, prefix) => key.run() == run && key.user().starts_with(prefix),
        Range::From(from) => key >= from,
    };
    let mut all: Vec<(Key, Value)> =
        model.iter().filter(|(key, _)| is_in(key)).map(|(key, value)| (*key, *value)).collect();
    if scan.direction == Direction::Backward {
        all.reverse();
    }
    all.truncate(scan.limit);
    all
}

#[test]
fn every_engine_answers_as_a_map_does() {
    for level in [Level::Sync, Level::Os, Level::Memory] {
        readable(level, |_, _, engine| {
            let model = fill(&*engine)?;
            compare(&mut *engine.session()?, &model)?;
            engine.at_one_moment(&mut |reader| compare(reader, &model))?;
            engine.close()
        });
    }
}

#[test]
fn what_was_synced_and_closed_is_there_after_opening_again() {
    readable(Level::Memory, |spec, setup, engine| {
        if spec.kind == Kind::Limit {
            return Ok(());
        }
        let model = fill(&*engine)?;
        engine.sync()?;
        engine.close()?;
        let engine = (spec.open)(setup)?;
        compare(&mut *engine.session()?, &model)?;
        engine.close()
    });
}

#[test]
fn a_compaction_changes_no_answer() {
    readable(Level::Sync, |_, _, mut engine| {
        let model = fill(&*engine)?;
        engine.compact()?;
        compare(&mut *engine.session()?, &model)?;
        engine.close()
    });
}

#[test]
fn a_moment_does_not_see_what_is_put_later() {
    readable(Level::Memory, |spec, _, engine| {
        // Both have no snapshots, and say so.
        if ["sled", "BTreeMap"].contains(&spec.name) {
            return Ok(());
        }
        fill(&*engine)?;
        let mut session = engine.session()?;
        let keys = keys();
        let (gone, new) = (keys.at(7 * 11), keys.at(1));
        let later = |session: &mut dyn Session| -> Result<()> {
            session.put(&gone, &value(&gone, 9))?;
            session.put(&new, &value(&new, 9))
        };
        engine.at_one_moment(&mut |reader| {
            // Some engines fix the moment at the first read.
            let before = reader.count()?;
            later(&mut *session)?;
            let mut is_old = false;
            reader.get(&new, &mut |found| is_old = found == value(&new, 0))?;
            if reader.get(&gone, &mut |_| {})? || !is_old || reader.count()? != before {
                bail!("a later put is seen");
            }
            Ok(())
        })?;
        drop(session);
        engine.close()
    });
}
