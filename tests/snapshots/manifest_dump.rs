//! Annotated dumps of manifests: the snapshot, each edit, and the room behind them.

use crate::dump::{Dump, checksum, crc32, decimal, id, link, number, text, zeros};

const SECTOR: usize = 512;

fn yes_or_no(bytes: &[u8]) -> String {
    if number(bytes) == 1 { "yes" } else { "no" }.to_owned()
}

/// A number that is read next.
fn peek(dump: &Dump<'_>) -> usize {
    usize::try_from(dump.peek(dump.position(), 4)).expect("a small number")
}

/// A whole file.
pub(crate) fn manifest(bytes: &[u8]) -> String {
    let mut dump = Dump::new(bytes, 0);
    snapshot(&mut dump, bytes);
    for nth in 1.. {
        let at = dump.position().next_multiple_of(SECTOR);
        if bytes.get(at..).is_none_or(|rest| rest.iter().all(|byte| *byte == 0)) {
            break;
        }
        room(&mut dump, at, "zeros up to the next sector");
        edit(&mut dump, bytes, nth);
    }
    room(&mut dump, bytes.len(), "room for edits");
    dump.text
}

fn room(dump: &mut Dump<'_>, end: usize, title: &str) {
    let length = end - dump.position();
    if length > 0 {
        dump.head(title);
        dump.field(length, "zeros", zeros);
    }
}

fn snapshot(dump: &mut Dump<'_>, bytes: &[u8]) {
    let length = 24 + usize::try_from(number(&bytes[12..16])).expect("a small number");
    let computed = crc32(crc32(0, &bytes[..16]), &bytes[24..length]);
    dump.head("frame");
    dump.fixed(8, "magic", text);
    dump.fixed(4, "format", decimal);
    dump.fixed(4, "body length", decimal);
    dump.fixed(4, "checksum", |b| checksum(b, computed));
    dump.fixed(4, "zeros", zeros);
    dump.head("body");
    dump.listed(16, "store id", id);
    dump.listed(8, "epoch", decimal);
    dump.listed(8, "next file", decimal);
    dump.listed(4, "clean", yes_or_no);
    let count = peek(dump);
    dump.listed(4, "segments", decimal);
    dump.listed(8, "flushed version", decimal);
    dump.listed(8, "flushed time", |b| format!("{} ms", number(b)));
    let levels = peek(dump);
    dump.listed(4, "levels", decimal);
    dump.listed(4, "zeros", zeros);
    dump.listed(16, "salt", id);
    let before_segments = dump.listed.clone();
    for n in 1..=count {
        dump.head(&format!("segment {n} of {count}"));
        dump.listed.clone_from(&before_segments);
        segment(dump);
    }
    dump.meets("engine/src/manifest.rs");
    for n in 1..=levels {
        level(dump, &format!("level {n} of {levels}"));
    }
    assert_eq!(dump.position(), length, "nothing behind the snapshot");
}

fn segment(dump: &mut Dump<'_>) {
    dump.listed(8, "number", |b| format!("runstone-ID-{:06}.log", number(b)));
    dump.listed(16, "salt", id);
    dump.listed(8, "attested length", decimal);
    dump.listed(4, "open", yes_or_no);
    dump.listed(4, "link", link);
}

/// A level of tables.
fn level(dump: &mut Dump<'_>, title: &str) {
    dump.head(title);
    dump.listed(4, "tier", decimal);
    dump.listed(4, "joins", |b| if number(b) == 1 { "the next" } else { "none" }.to_owned());
    let tables = peek(dump);
    dump.listed(4, "tables", decimal);
    dump.listed(4, "zeros", zeros);
    let before_tables = dump.listed.clone();
    for n in 1..=tables {
        dump.head(&format!("  table {n} of {tables}"));
        dump.listed.clone_from(&before_tables);
        table(dump);
    }
    dump.meets("engine/src/manifest/levels.rs");
}

fn table(dump: &mut Dump<'_>) {
    dump.listed(8, "number", |b| format!("runstone-ID-{:06}.table", number(b)));
    dump.listed(16, "salt", id);
    dump.listed(8, "epoch", decimal);
    dump.listed(8, "file length", decimal);
    dump.listed(4, "footer checksum", link);
    dump.listed(4, "length of bound", decimal);
    let length = usize::try_from(dump.peek(dump.position() - 4, 4)).expect("a small number");
    bound(dump, length);
}

fn bound(dump: &mut Dump<'_>, length: usize) {
    if length > 0 {
        dump.field(17, "run and tag", |b| format!("{}, tag {}", id(b), b[16]));
        dump.field(length - 17, "user key", text);
    }
}

/// The record of an edit, and the edit.
fn edit(dump: &mut Dump<'_>, bytes: &[u8], nth: u64) {
    let at = dump.position();
    let length = usize::try_from(dump.peek(at + 4, 4)).expect("a small number");
    let end = (at + 40 + length).next_multiple_of(SECTOR);
    let seal = crc32(0, &[&bytes[24..40], &bytes[at + 8..at + 24]].concat());
    let computed = crc32(crc32(seal, &(at as u64).to_le_bytes()), &bytes[at + 4..end]);
    dump.head(&format!("record of edit {nth}"));
    dump.begin();
    dump.fixed(4, "checksum", |b| checksum(b, computed));
    dump.fixed(4, "edit length", decimal);
    dump.fixed(16, "salt", id);
    dump.fixed(8, "sequence", decimal);
    dump.fixed(4, "link", link);
    dump.fixed(4, "kind", |b| if number(b) == 1 { "edit" } else { "unknown" }.to_owned());
    dump.meets("engine/src/manifest/frame.rs");
    dump.head(&format!("edit {nth}"));
    dump.begin();
    dump.fixed(8, "next file", decimal);
    dump.fixed(8, "flushed version", decimal);
    dump.fixed(8, "flushed time", |b| format!("{} ms", number(b)));
    dump.fixed(8, "attested length", decimal);
    dump.fixed(4, "link", link);
    dump.fixed(4, "open", yes_or_no);
    let gone = peek(dump);
    dump.fixed(4, "segments gone", decimal);
    let new = peek(dump);
    dump.fixed(4, "segments new", decimal);
    let has_levels = peek(dump) == 1;
    dump.fixed(4, "levels follow", yes_or_no);
    for _ in 0..gone {
        dump.field(8, "gone", |b| format!("runstone-ID-{:06}.log", number(b)));
    }
    for n in 1..=new {
        dump.head(&format!("  new segment {n} of {new}"));
        segment(dump);
    }
    dump.listed.clear();
    if has_levels {
        edit_of_levels(dump);
    }
    dump.meets("engine/src/manifest/edit.rs");
    room(dump, end, "  padding");
}

fn edit_of_levels(dump: &mut Dump<'_>) {
    dump.head("  levels");
    let gone = peek(dump);
    dump.listed(4, "tables gone", decimal);
    let levels = peek(dump);
    dump.listed(4, "levels", decimal);
    for _ in 0..gone {
        dump.field(8, "gone", |b| format!("runstone-ID-{:06}.table", number(b)));
    }
    dump.listed.push(8);
    let before_levels = dump.listed.clone();
    for n in 1..=levels {
        dump.head(&format!("  level {n} of {levels}"));
        dump.listed.clone_from(&before_levels);
        dump.listed(4, "tier", decimal);
        dump.listed(4, "joins", |b| if number(b) == 1 { "the next" } else { "none" }.to_owned());
        let parts = peek(dump);
        dump.listed(4, "parts", decimal);
        dump.listed(4, "zeros", zeros);
        let before_parts = dump.listed.clone();
        for _ in 0..parts {
            dump.listed.clone_from(&before_parts);
            let kind = peek(dump);
            let kinds = ["?", "tables that stay", "a raised bound", "a new table"];
            dump.listed(4, "kind", |_| kinds[kind].to_owned());
            dump.listed(4, "of level", decimal);
            dump.listed(4, "the first", decimal);
            dump.listed(4, "tables", decimal);
            let listed = dump.listed.clone();
            match kind {
                2 => {
                    let length = peek(dump);
                    dump.field(4, "length of bound", decimal);
                    bound(dump, length);
                }
                3 => table(dump),
                _ => {}
            }
            dump.listed = listed;
        }
    }
}
