//! An annotated dump of a table, decoded by the documented layouts alone, as [`super::dump`].
//!
//! The file is walked from the front to the end: header, blocks with the extents before them,
//! index, filter, properties, footer. Every frame's checksum is computed here.

use crate::dump::{
    Dump, checksum, crc32, decimal, hex, kind_name, number, numbered_header, text, zeros,
};

/// Offset and length of a part, without its frame.
type Place = (usize, usize);

fn usize_at(bytes: &[u8], at: usize, len: usize) -> usize {
    usize::try_from(number(&bytes[at..at + len])).unwrap()
}

/// The parts that the footer names: index, filter, properties.
fn parts(bytes: &[u8]) -> [Place; 3] {
    let footer = bytes.len() - 64;
    [0, 12, 24].map(|at| (usize_at(bytes, footer + at, 8), usize_at(bytes, footer + at + 8, 4)))
}

/// The blocks that the index names, and the length of each before it was compressed.
fn blocks(bytes: &[u8]) -> Vec<(Place, usize)> {
    let [(index, _), ..] = parts(bytes);
    let (count, runs) = (usize_at(bytes, index, 4), usize_at(bytes, index + 4, 4));
    let places = index + 8 + 20 * runs + 8 * count;
    (0..count)
        .map(|nth| places + 16 * nth)
        .map(|at| (usize_at(bytes, at, 4), usize_at(bytes, at + 4, 4), usize_at(bytes, at + 13, 3)))
        .map(|(offset, length, raw)| ((offset, length), raw))
        .collect()
}

/// The frame of a part that ends here.
fn frame(dump: &mut Dump<'_>, bytes: &[u8], (offset, length): Place) {
    let end = offset + length;
    assert_eq!(dump.position(), end, "the part's length");
    let seal = crc32(0, &bytes[16..48]);
    let seeded = crc32(seal, &(offset as u64).to_le_bytes());
    let computed = crc32(seeded, &bytes[offset..=end]);
    dump.field(1, "compression", |b| ["none", "LZ4"][usize::from(b[0])].to_owned());
    dump.field(4, "checksum", |b| checksum(b, computed));
}

/// A table.
pub(crate) fn table(bytes: &[u8]) -> String {
    let mut dump = Dump::new(bytes, 0);
    dump.head("table header");
    numbered_header(&mut dump, bytes);
    dump.meets_nth("engine/src/table/properties.rs", 0);
    let blocks = blocks(bytes);
    for (nth, (place, raw)) in blocks.iter().enumerate() {
        if dump.position() < place.0 {
            let length = place.0 - dump.position() - 5;
            let extent = (dump.position(), length);
            dump.head(&format!("extent at {}", extent.0));
            dump.field(length, "value", |b| format!("{} bytes", b.len()));
            frame(&mut dump, bytes, extent);
        }
        let title = format!("block {} of {}", nth + 1, blocks.len());
        dump.head(&title);
        if *raw == 0 {
            block(&mut dump, bytes, *place);
            frame(&mut dump, bytes, *place);
            continue;
        }
        let decoded = compressed(&mut dump, bytes, *place);
        assert_eq!(decoded.len(), *raw, "as long as the index says");
        frame(&mut dump, bytes, *place);
        let mut inside = Dump::new(&decoded, 0);
        inside.head(&format!("{title}, as it was before"));
        block(&mut inside, &decoded, (0, *raw));
        dump.text.push('\n');
        dump.text.push_str(&inside.text);
    }
    let [index_at, filter_at, properties_at] = parts(bytes);
    dump.head("index");
    index(&mut dump, blocks.len());
    frame(&mut dump, bytes, index_at);
    dump.head("filter");
    let lines = filter_at.1 / 64;
    dump.field(filter_at.1, "lines", |_| format!("{lines} of 64 bytes"));
    frame(&mut dump, bytes, filter_at);
    dump.head("properties");
    properties(&mut dump);
    frame(&mut dump, bytes, properties_at);
    footer(&bytes[dump.position()..], dump, bytes)
}

/// A run id as a number, and a type tag; 128 is that of run records.
fn section_name(bytes: &[u8]) -> String {
    format!("run {}", hex(&bytes[..1]))
}

/// The sequences of LZ4's block format: literals, and a match in what was decoded before. Returns
/// what they decode to.
fn compressed(dump: &mut Dump<'_>, bytes: &[u8], (offset, length): Place) -> Vec<u8> {
    let mut decoded = Vec::new();
    let end = offset + length;
    loop {
        let token = usize::from(bytes[dump.position()]);
        let (mut literals, mut matched) = (token >> 4, token & 15);
        dump.field(1, "token", |_| format!("{literals} literals, a match of {}", matched + 4));
        literals += more(dump, bytes, literals);
        let at = dump.position();
        decoded.extend_from_slice(&bytes[at..at + literals]);
        dump.field(literals, "literals", |b| format!("{} bytes", b.len()));
        if dump.position() == end {
            return decoded;
        }
        let back = usize_at(bytes, dump.position(), 2);
        dump.field(2, "match back by", decimal);
        matched += more(dump, bytes, matched) + 4;
        for _ in 0..matched {
            decoded.push(decoded[decoded.len() - back]);
        }
    }
}

/// The bytes by which a length of fifteen goes on.
fn more(dump: &mut Dump<'_>, bytes: &[u8], length: usize) -> usize {
    if length < 15 {
        return 0;
    }
    let rest = &bytes[dump.position()..];
    let count = rest.iter().take_while(|byte| **byte == 255).count() + 1;
    let sum: usize = rest[..count].iter().map(|byte| usize::from(*byte)).sum();
    dump.field(count, "more of them", |_| sum.to_string());
    sum
}

fn block(dump: &mut Dump<'_>, bytes: &[u8], (offset, length): Place) {
    let (count, sections) = (usize_at(bytes, offset, 2), usize_at(bytes, offset + 2, 2));
    dump.field(2, "entries", decimal);
    dump.field(2, "sections", decimal);
    let (version, time) = (number(&bytes[offset + 4..offset + 12]), offset + 12);
    let time = number(&bytes[time..time + 8]);
    dump.field(8, "least version", decimal);
    dump.field(8, "least time", |b| format!("{} ms", number(b)));
    let mut ends = Vec::new();
    let mut prefixes = 0;
    for _ in 0..sections {
        let at = dump.position();
        dump.field(16, "run id", section_name);
        dump.field(1, "type tag", decimal);
        dump.field(1, "prefix length", decimal);
        dump.field(2, "prefix at", decimal);
        dump.field(2, "ends at entry", decimal);
        prefixes += usize::from(bytes[at + 17]);
        ends.push(usize_at(bytes, at + 20, 2));
    }
    dump.field(count, "marks", |_| String::new());
    let offsets: Vec<_> =
        (0..count).map(|nth| usize_at(bytes, dump.position() + 2 * nth, 2)).collect();
    dump.field(2 * count, "offsets", |_| format!("{offsets:?}"));
    if prefixes > 0 {
        dump.field(prefixes, "prefixes", text);
    }
    for (nth, begin) in offsets.iter().enumerate() {
        assert_eq!(dump.position(), offset + begin, "an entry begins where its offset says");
        let end = offsets.get(nth + 1).map_or(length, |next| *next);
        entry(dump, offset + end, (version, time));
    }
}

fn entry(dump: &mut Dump<'_>, end: usize, (version, time): (u64, u64)) {
    let flags = dump.peek(dump.position(), 1);
    dump.field(1, "flags", |_| {
        let names = [(1, "tombstone"), (2, "expires"), (4, "extent")];
        let set = names.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name);
        set.collect::<Vec<_>>().join(", ")
    });
    let key = dump.varint("key length");
    let above = dump.varint("version above");
    let later = dump.varint("time above");
    if flags & 2 != 0 {
        dump.varint("expires after");
    }
    if flags & 1 == 0 {
        let kind = u8::try_from(dump.peek(dump.position(), 1)).unwrap();
        dump.field(1, "value kind", |_| kind_name(kind).to_owned());
    }
    if flags & 4 != 0 {
        dump.varint("extent at");
        dump.varint("extent length");
    }
    let stamp = format!("version {}, {} ms", version + above as u64, time + later as u64);
    dump.field(key, "key", |b| format!("{}, {stamp}", text(b)));
    let left = end - dump.position();
    if left > 0 {
        dump.field(left, "value", |b| format!("{} bytes", b.len()));
    }
}

fn index(dump: &mut Dump<'_>, blocks: usize) {
    let runs = usize::try_from(dump.peek(dump.position() + 4, 4)).unwrap();
    dump.field(4, "blocks", decimal);
    dump.field(4, "runs", decimal);
    for _ in 0..runs {
        dump.field(16, "run id", section_name);
        dump.field(4, "blocks up to it", decimal);
    }
    for _ in 0..blocks {
        dump.field(8, "head", |b| format!("tag {}, {}", b[0], text(&b[1..])));
    }
    let mut tails = 0;
    for _ in 0..blocks {
        tails = usize::try_from(dump.peek(dump.position() + 8, 4)).unwrap();
        dump.field(4, "offset", decimal);
        dump.field(4, "length", decimal);
        dump.field(4, "tail ends at", decimal);
        dump.field(1, "in the head", |b| format!("{} bytes", b[0]));
        match dump.peek(dump.position(), 3) {
            0 => dump.field(3, "zeros", zeros),
            _ => dump.field(3, "length before", decimal),
        }
    }
    dump.field(tails, "tails", text);
}

fn properties(dump: &mut Dump<'_>) {
    let names = [
        "entries",
        "keys",
        "tombstones",
        "extents",
        "least version",
        "greatest",
        "least time",
        "greatest",
        "first expiry",
        "last expiry",
        "key bytes",
        "value bytes",
        "removals applied up to",
    ];
    for name in names {
        dump.listed(8, name, decimal);
    }
    for name in ["first", "last"] {
        dump.field(16, &format!("{name} run"), section_name);
        dump.field(1, "type tag", decimal);
        let length = dump.varint("key length");
        dump.field(length, &format!("{name} key"), |b| format!("{} bytes", b.len()));
    }
    dump.meets_nth("engine/src/table/properties.rs", 1);
}

fn footer(footer: &[u8], mut before: Dump<'_>, bytes: &[u8]) -> String {
    let offset = before.position();
    let mut dump = Dump::new(bytes, offset);
    dump.head("footer");
    for part in ["index", "filter", "properties"] {
        dump.fixed(8, &format!("{part} at"), decimal);
        dump.fixed(4, "length", decimal);
    }
    dump.fixed(4, "format", decimal);
    dump.fixed(8, "file length", decimal);
    let seeded = crc32(crc32(0, &bytes[16..48]), &(offset as u64).to_le_bytes());
    let computed = crc32(seeded, &footer[..48]);
    dump.fixed(4, "checksum", |b| checksum(b, computed));
    dump.fixed(4, "zeros", zeros);
    dump.fixed(8, "magic", text);
    dump.meets_nth("engine/src/table/properties.rs", 2);
    assert_eq!(dump.position(), bytes.len(), "nothing behind the footer");
    before.text.push('\n');
    before.text.push_str(&dump.text);
    before.text
}
