//! Tables as a whole: what was written is read, at every version and from every key, and no damaged
//! byte is.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use runstone_vfs::{Access, FileId, MemVfs, Vfs, VfsFile, read_full_at, write_all_at};

use super::block::{Entry, Stamp};
use super::cursor::Cursor;
use super::properties::TableHeader;
use super::reader::{Row, Table};
use super::writer::{Shape, TableWriter, WrittenTable};
use crate::cache::Cache;
use crate::codec::change::NEVER;
use crate::codec::value::Stored;
use crate::error::{Error, Result};
use crate::handles::{Handles, TableFile};
use crate::options::{Compression, Options};
use crate::types::{PhysicalKey, RunId, TypeTag, Value};

const HEADER: TableHeader = TableHeader { store_id: [7; 16], salt: [9; 16], number: 3, epoch: 2 };
const FILE: &str = "/table";
/// Of no lock: nothing is looked for.
const LOCK: FileId = FileId { device: 0, inode: 0 };

type Model = BTreeMap<PhysicalKey, BTreeMap<u64, Option<Value>>>;

fn key(run: u8, user: &[u8]) -> PhysicalKey {
    PhysicalKey::new(RunId::from_bytes([run; 16]), TypeTag::KV, user)
}

fn stamp(version: u64) -> Stamp {
    let expiry_ms = if version.is_multiple_of(3) { 5_000 + version } else { NEVER };
    Stamp { version, time_ms: 1_000 + version, expiry_ms }
}

fn write(model: &Model, shape: Shape) -> (MemVfs, WrittenTable) {
    let vfs = MemVfs::new();
    let file: Arc<dyn VfsFile> = vfs.create(Path::new(FILE)).unwrap();
    let mut writer = TableWriter::new(file, &HEADER, shape);
    for (key, versions) in model {
        for (version, value) in versions.iter().rev() {
            let stored = value.clone().map(Stored::from);
            let content = stored.as_ref().map(|stored| (stored.kind().to_byte(), stored.bytes()));
            writer.add(key, stamp(*version), content).unwrap();
        }
    }
    let written = writer.finish().unwrap().expect("not empty");
    (vfs, written)
}

fn open(vfs: &MemVfs, told: (u64, u32)) -> Result<Arc<Table>> {
    let file = vfs.open(Path::new(FILE), Access::Read).unwrap();
    let cache = Arc::new(Cache::new(2000, 0));
    let handles = Arc::new(Handles::new(Arc::new(vfs.clone()), LOCK, 1));
    let file = TableFile::new(&handles, FILE.to_owned(), file);
    Table::open(file, Path::new(FILE), &HEADER, told, &cache).map(Arc::new)
}

fn all(table: &Arc<Table>, from: Option<&PhysicalKey>) -> Result<Vec<(PhysicalKey, Row)>> {
    let (mut cursor, mut rows) = (Cursor::new(table, true), Vec::new());
    if let Some(key) = from {
        cursor.seek(key)?;
    }
    while let Some(entry) = cursor.next()? {
        let key = entry.key();
        rows.push((key, row_of(table, &entry)?));
    }
    Ok(rows)
}

/// The value of an entry, which may lie in an extent.
fn row_of(table: &Arc<Table>, entry: &Entry<'_>) -> Result<Row> {
    table.row(entry, 0)
}

/// The same, from the end to before a key.
fn all_backward(table: &Arc<Table>, to: Option<&PhysicalKey>) -> Result<Vec<(PhysicalKey, Row)>> {
    let (mut cursor, mut rows) = (Cursor::new(table, true), Vec::new());
    match to {
        Some(key) => cursor.seek(key)?,
        None => cursor.seek_end()?,
    }
    while let Some(entry) = cursor.prev()? {
        let key = entry.key();
        rows.push((key, row_of(table, &entry)?));
    }
    rows.reverse();
    Ok(rows)
}

fn row(version: u64, value: &Option<Value>) -> Row {
    Row { stamp: stamp(version), value: value.clone().map(Stored::from) }
}

/// What the model has from a key on, in the order of a table.
fn expected(model: &Model, from: Option<&PhysicalKey>) -> Vec<(PhysicalKey, Row)> {
    let entries = model.iter().filter(|(key, _)| from.is_none_or(|from| *key >= from));
    entries
        .flat_map(|(key, versions)| {
            versions.iter().rev().map(|(version, value)| (key.clone(), row(*version, value)))
        })
        .collect()
}

/// Keys that agree in their first bytes, around every length at which comparing changes.
fn user_key() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop::sample::select(vec![0u8, b'a', 0xff]);
    let length = prop::sample::select(vec![1usize, 2, 6, 7, 8, 9, 22, 23, 300]);
    (length, prop::collection::vec(byte, 3)).prop_map(|(length, ends)| {
        let mut key = vec![0; length];
        for (at, byte) in key.iter_mut().rev().zip(ends) {
            *at = byte;
        }
        key
    })
}

fn value() -> impl Strategy<Value = Option<Value>> {
    prop_oneof![
        1 => Just(None),
        1 => Just(Some(Value::Null)),
        2 => any::<i64>().prop_map(|n| Some(Value::Int(n))),
        3 => (0usize..200).prop_map(|n| Some(Value::from(vec![n.to_le_bytes()[0]; n]))),
    ]
}

fn model() -> impl Strategy<Value = Model> {
    let versions = prop::collection::btree_map(1u64..40, value(), 1..4);
    let keys = ((1u8..4), user_key()).prop_map(|(run, user)| key(run, &user));
    prop::collection::btree_map(keys, versions, 1..60)
}

fn shape() -> impl Strategy<Value = Shape> {
    (1usize..600, 1usize..300, 1usize..2000, any::<bool>()).prop_map(
        |(block_bytes, extent_bytes_min, step_bytes, compresses)| Shape {
            block_bytes,
            extent_bytes_min,
            step_bytes,
            compression: if compresses { Compression::Lz4 } else { Compression::None },
        },
    )
}

proptest! {
    #[test]
    fn a_table_gives_back_what_was_written_at_every_version_and_from_every_key(
        model in model(),
        shape in shape(),
        (run, user) in (0u8..5, user_key()),
    ) {
        let (vfs, written) = write(&model, shape);
        let table = open(&vfs, written.told()).unwrap();
        prop_assert_eq!(table.properties(), &written.properties);
        prop_assert_eq!(all(&table, None).unwrap(), expected(&model, None));
        prop_assert_eq!(all_backward(&table, None).unwrap(), expected(&model, None));
        let other = key(run, &user);
        for key in model.keys().chain([&other]) {
            let behind = expected(&model, Some(key));
            prop_assert_eq!(&all(&table, Some(key)).unwrap(), &behind);
            let mut before = expected(&model, None);
            before.truncate(before.len() - behind.len());
            prop_assert_eq!(all_backward(&table, Some(key)).unwrap(), before);
            for version in 0..41 {
                let newest = model.get(key).and_then(|found| found.range(..=version).next_back());
                let newest = newest.map(|(version, value)| row(*version, value));
                prop_assert_eq!(table.get(key, version).unwrap(), newest);
            }
        }
    }

    #[test]
    fn the_properties_are_those_of_the_entries(model in model(), shape in shape()) {
        let (_, WrittenTable { properties, .. }) = write(&model, shape);
        let entries: Vec<_> = model.iter().flat_map(|(key, versions)| {
            versions.iter().map(move |(version, value)| (key, *version, value))
        }).collect();
        let versions = || entries.iter().map(|(_, version, _)| *version);
        prop_assert_eq!(properties.entries, entries.len() as u64);
        prop_assert_eq!(properties.keys, model.len() as u64);
        let tombstones = entries.iter().filter(|(.., value)| value.is_none()).count();
        prop_assert_eq!(properties.tombstones, tombstones as u64);
        prop_assert_eq!(properties.versions.0, versions().min().unwrap());
        prop_assert_eq!(properties.versions.1, versions().max().unwrap());
        let expiries = || versions().map(|version| stamp(version).expiry_ms);
        let expire = || expiries().filter(|expiry| *expiry != NEVER);
        let expiries = (expire().min().unwrap_or(NEVER), expire().max().unwrap_or(0));
        prop_assert_eq!(properties.expiries_ms, expiries);
        prop_assert_eq!(Some(&properties.first), model.keys().next());
        prop_assert_eq!(Some(&properties.last), model.keys().next_back());
    }
}

/// What is wrong with a table.
fn violations(table: &Arc<Table>) -> Vec<String> {
    let mut violations = Vec::new();
    table.verify(|error| violations.push(error.to_string())).unwrap();
    violations
}

proptest! {
    #[test]
    fn a_table_that_was_written_has_nothing_wrong(model in model(), shape in shape()) {
        let (vfs, written) = write(&model, shape);
        let table = open(&vfs, written.told()).unwrap();
        prop_assert_eq!(violations(&table), Vec::<String>::new());
    }
}

/// Of three runs, with an extent, several versions and blocks.
fn sample() -> Model {
    let mut model = Model::new();
    for run in 1..=3 {
        for n in 0..6u8 {
            let value = match n {
                5 => None,
                4 => Some(Value::from(vec![n; 90])),
                _ => Some(Value::from(format!("value {n}"))),
            };
            let user = format!("some key {n}");
            let versions = model.entry(key(run, user.as_bytes())).or_default();
            versions.insert(u64::from(run * 20 + n), value);
            versions.insert(1, Some(Value::Int(i64::from(n))));
        }
    }
    model
}

const SMALL: Shape = Shape {
    block_bytes: 150,
    extent_bytes_min: 80,
    step_bytes: 100,
    compression: Compression::Lz4,
};

/// Reads a whole table in both ways.
fn read_all(table: &Arc<Table>, model: &Model) -> Result<()> {
    all(table, None)?;
    for key in model.keys() {
        table.get(key, u64::MAX)?;
        table.get(key, 1)?;
    }
    Ok(())
}

fn is_corruption(outcome: &Result<()>) -> bool {
    matches!(outcome, Err(Error::Corruption { .. }))
}

#[test]
fn t19_no_flipped_bit_of_a_table_is_believed() {
    let model = sample();
    let (vfs, written) = write(&model, SMALL);
    let mut bytes = vec![0; usize::try_from(written.file_bytes).unwrap()];
    let file = vfs.open(Path::new(FILE), Access::ReadWrite).unwrap();
    read_full_at(&*file, &mut bytes, 0).unwrap();
    for bit in 0..bytes.len() * 8 {
        let flipped = bytes[bit / 8] ^ 1 << (bit % 8);
        write_all_at(&*file, &[flipped], bit as u64 / 8).unwrap();
        let opened = open(&vfs, written.told());
        if let Ok(table) = &opened {
            assert!(!violations(table).is_empty(), "bit {bit}");
        }
        let outcome = opened.and_then(|table| read_all(&table, &model));
        assert!(is_corruption(&outcome), "bit {bit}: {outcome:?}");
        write_all_at(&*file, &bytes[bit / 8..=bit / 8], bit as u64 / 8).unwrap();
    }
    open(&vfs, written.told()).and_then(|table| read_all(&table, &model)).unwrap();
}

#[test]
fn a_table_that_was_cut_or_has_grown_is_refused() {
    let (vfs, written) = write(&sample(), SMALL);
    let file = vfs.open(Path::new(FILE), Access::ReadWrite).unwrap();
    for length in (0..=written.file_bytes + 1).rev().filter(|n| *n != written.file_bytes) {
        file.set_len(length).unwrap();
        for told in [length, written.file_bytes] {
            let outcome = open(&vfs, (told, written.checksum)).map(drop);
            assert!(is_corruption(&outcome), "{length} of {told} bytes: {outcome:?}");
        }
    }
}

#[test]
fn a_block_of_another_place_or_of_another_table_is_not_believed() {
    let model = sample();
    let (vfs, written) = write(&model, Shape { extent_bytes_min: 1 << 20, ..SMALL });
    let (other, _) = {
        let vfs = MemVfs::new();
        let file: Arc<dyn VfsFile> = vfs.create(Path::new(FILE)).unwrap();
        let header = TableHeader { salt: [8; 16], ..HEADER };
        let shape = Shape { extent_bytes_min: 1 << 20, ..SMALL };
        let mut writer = TableWriter::new(file, &header, shape);
        for (key, versions) in &model {
            for (version, value) in versions.iter().rev() {
                let stored = value.clone().map(Stored::from);
                let content = stored.as_ref().map(|s| (s.kind().to_byte(), s.bytes()));
                writer.add(key, stamp(*version), content).unwrap();
            }
        }
        (vfs, writer.finish().unwrap())
    };
    let read = |vfs: &MemVfs| {
        let mut bytes = vec![0; usize::try_from(written.file_bytes).unwrap()];
        let file = vfs.open(Path::new(FILE), Access::Read).unwrap();
        read_full_at(&*file, &mut bytes, 0).unwrap();
        bytes
    };
    let (own, foreign) = (read(&vfs), read(&other));
    assert_eq!(own.len(), foreign.len());
    let file = vfs.open(Path::new(FILE), Access::ReadWrite).unwrap();
    // Everything but the header and the footer from the other table.
    let inside = 72..own.len() - 64;
    write_all_at(&*file, &foreign[inside.clone()], 72).unwrap();
    let outcome = open(&vfs, written.told()).and_then(|table| read_all(&table, &model));
    assert!(is_corruption(&outcome), "{outcome:?}");
    // The header as well: the manifest knows which salt it is.
    write_all_at(&*file, &foreign, 0).unwrap();
    assert!(is_corruption(&open(&vfs, written.told()).map(drop)));
}

#[test]
fn a_key_whose_versions_fill_many_blocks_is_found_at_each_of_them() {
    let mut model = Model::new();
    for user in [&b"a"[..], b"b", b"c"] {
        let versions = (1..200u64).map(|version| (version, Some(Value::Int(version as i64))));
        model.insert(key(1, user), versions.collect());
    }
    let (vfs, written) =
        write(&model, Shape { block_bytes: 100, ..Shape::of(&Options::default()) });
    let table = open(&vfs, written.told()).unwrap();
    for (key, versions) in &model {
        for version in 0..201 {
            let newest = versions.range(..=version).next_back();
            let newest = newest.map(|(version, value)| row(*version, value));
            assert_eq!(table.get(key, version).unwrap(), newest, "{version}");
        }
    }
    assert_eq!(all(&table, None).unwrap(), expected(&model, None));
}

/// Entries that only a broken writer makes, under checksums that match.
#[test]
fn what_a_broken_writer_makes_is_a_violation_though_its_checksums_match() {
    let sample = sample();
    let mut rows = expected(&sample, None);
    let number = |row: &(PhysicalKey, Row)| row.1.stamp.version;
    type Break = fn(&mut Vec<(PhysicalKey, Row)>);
    let breaks: [(&str, Break); 3] = [
        ("entries in order", |rows| rows.swap(2, 4)),
        ("entries in order", |rows| rows.swap(0, 1)),
        ("entries in order", |rows| {
            let last = rows.last().unwrap().clone();
            rows.insert(0, last);
        }),
    ];
    assert!(rows.iter().all(|row| number(row) > 0));
    for (what, break_it) in breaks {
        break_it(&mut rows);
        let (vfs, told) = write_rows(&rows);
        let found = violations(&open(&vfs, told).unwrap());
        assert!(found.iter().any(|violation| violation.contains(what)), "{what}: {found:?}");
        rows = expected(&sample, None);
    }
}

/// Writes rows as they come, past what a writer asserts.
fn write_rows(rows: &[(PhysicalKey, Row)]) -> (MemVfs, (u64, u32)) {
    let vfs = MemVfs::new();
    let file: Arc<dyn VfsFile> = vfs.create(Path::new(FILE)).unwrap();
    let mut writer = TableWriter::new(file, &HEADER, SMALL);
    writer.believe();
    for (key, Row { stamp, value }) in rows {
        let value = value.as_ref().map(|value| (value.kind().to_byte(), value.bytes()));
        writer.add(key, *stamp, value).unwrap();
    }
    (vfs, writer.finish().unwrap().unwrap().told())
}

#[test]
fn nothing_makes_no_table() {
    let vfs = MemVfs::new();
    let file: Arc<dyn VfsFile> = vfs.create(Path::new(FILE)).unwrap();
    let writer = TableWriter::new(file, &HEADER, Shape::of(&Options::default()));
    assert_eq!(writer.finish().unwrap(), None);
}

/// The longest key and value, and the extremes of every number.
#[test]
fn the_extremes_of_every_field_read_back() {
    let vfs = MemVfs::new();
    let file: Arc<dyn VfsFile> = vfs.create(Path::new(FILE)).unwrap();
    let mut writer = TableWriter::new(file, &HEADER, Shape::of(&Options::default()));
    let numbers = [0, 1, 127, 128, u64::MAX - 1, u64::MAX];
    let mut rows = Vec::new();
    for (nth, user) in [1usize, 7, 8, 255, 256, 65_535, 65_536, 200_000].into_iter().enumerate() {
        let key = key(5, &vec![nth.to_le_bytes()[0]; user]);
        for (version, time_ms) in [(u64::MAX, 0), (2, u64::MAX), (0, 5)] {
            for expiry_ms in numbers {
                if expiry_ms == numbers[usize::try_from(version % 6).unwrap()] {
                    let value = Stored::from(Value::from(vec![1; user]));
                    let stamp = Stamp { version, time_ms, expiry_ms };
                    let content = (value.kind().to_byte(), value.bytes());
                    writer.add(&key, stamp, Some(content)).unwrap();
                    rows.push((key.clone(), Row { stamp, value: Some(value) }));
                }
            }
        }
    }
    let written = writer.finish().unwrap().unwrap();
    let table = open(&vfs, written.told()).unwrap();
    assert_eq!(all(&table, None).unwrap(), rows);
    for (key, row) in &rows {
        assert_eq!(table.get(key, row.stamp.version).unwrap().as_ref(), Some(row));
    }
}

/// Around every length at which bytes are compared in another way.
#[test]
fn user_keys_in_two_parts_are_in_the_order_of_their_bytes() {
    let keys: Vec<Vec<u8>> = (0..20usize)
        .flat_map(|len| {
            let zeros = vec![0; len];
            let ends = (0..len).step_by(3).flat_map(move |at| {
                [1, 0x80, 0xff].map(|byte| {
                    let mut key = vec![0; len];
                    key[at] = byte;
                    key
                })
            });
            std::iter::once(zeros).chain(ends)
        })
        .collect();
    for a in &keys {
        for b in &keys {
            for cut in [0, 1, 7, 8, 9, a.len() / 2, a.len()] {
                let parts = a.split_at(cut.min(a.len()));
                assert_eq!(super::block::cmp_user(parts, b), a.cmp(b), "{a:?} cut at {cut}, {b:?}");
            }
        }
    }
}
