//! Annotated dumps of the store's files, decoded by the documented layouts alone.
//!
//! Nothing of the engine takes part: not its codec, not its checksum, not its constants. So a
//! dump shows what the format *text* says of the bytes that the engine *wrote*. Every field at
//! a fixed place is compared with the layout table in the head of the module that owns the
//! format ([`Dump::meets`]): text, constants and snapshot meet here, and none can change alone.

mod changes;

use std::fmt::Write as _;
use std::path::Path;

use changes::changes;
pub(crate) use changes::kind_name;

/// A layout table, as the first `text` block of a module's head has it.
pub(crate) struct Layout {
    /// Offset and length of each field at a fixed place: `     8      4  format, 1`.
    fixed: Vec<(usize, usize)>,
    /// Lengths of the fields that are listed, deeper, without an offset: `16  store id`.
    listed: Vec<usize>,
}

/// Reads a layout table of a module, the `nth` in its head.
fn layout(module: &str, nth: usize) -> Layout {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(module);
    let source = std::fs::read_to_string(&path).expect("the module is there");
    let head = source.lines().take_while(|line| line.starts_with("//!"));
    let blocks: Vec<&str> = head.collect();
    let begins = blocks.iter().enumerate().filter(|(_, line)| **line == "//! ```text");
    let begin = begins.map(|(at, _)| at).nth(nth).expect("so many tables");
    let block = blocks.into_iter().skip(begin + 1);
    let mut layout = Layout { fixed: Vec::new(), listed: Vec::new() };
    for line in block.take_while(|line| *line != "//! ```") {
        let line = line.trim_start_matches("//!");
        let indent = line.len() - line.trim_start().len();
        let mut numbers = line.split_whitespace().map_while(|word| word.parse().ok());
        match (indent < 10, numbers.next(), numbers.next()) {
            (true, Some(offset), Some(length)) => layout.fixed.push((offset, length)),
            (false, Some(length), _) => layout.listed.push(length),
            _ => {}
        }
    }
    layout
}

/// CRC-32 (IEEE), bit by bit, going on from `seed`.
pub(crate) fn crc32(seed: u32, bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!seed, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

/// A dump under way: a reader that writes down what it reads.
pub(crate) struct Dump<'a> {
    bytes: &'a [u8],
    at: usize,
    /// What is subtracted from offsets when they are compared with a layout.
    base: usize,
    fixed: Vec<(usize, usize)>,
    pub(crate) listed: Vec<usize>,
    pub(crate) text: String,
}

impl<'a> Dump<'a> {
    pub(crate) fn new(bytes: &'a [u8], at: usize) -> Self {
        Dump { bytes, at, base: at, fixed: Vec::new(), listed: Vec::new(), text: String::new() }
    }

    /// Offsets count from here on.
    pub(crate) fn begin(&mut self) {
        self.base = self.at;
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    pub(crate) fn head(&mut self, title: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        writeln!(self.text, "{title}").unwrap();
    }

    /// Reads a field and writes its line; long fields go on in lines of 16 bytes, and further
    /// lines of zeros are only counted.
    pub(crate) fn field(&mut self, len: usize, name: &str, mean: impl Fn(&[u8]) -> String) {
        let bytes = &self.bytes[self.at..self.at + len];
        let first = hex(bytes.chunks(16).next().unwrap_or_default());
        let line = format!("{:>6}  {first:<47}  {name:<16}  {}", self.at, mean(bytes));
        writeln!(self.text, "{}", line.trim_end()).unwrap();
        let mut zeros = 0;
        for (row, chunk) in bytes.chunks(16).enumerate().skip(1) {
            if chunk.iter().all(|byte| *byte == 0) {
                zeros += chunk.len();
            } else {
                writeln!(self.text, "{:>6}  {}", self.at + 16 * row, hex(chunk)).unwrap();
            }
        }
        if zeros > 0 {
            writeln!(self.text, "     …  {zeros} more zeros").unwrap();
        }
        self.at += len;
    }

    /// As [`Dump::field`], at a place that the layout fixes.
    pub(crate) fn fixed(&mut self, len: usize, name: &str, mean: impl Fn(&[u8]) -> String) {
        self.fixed.push((self.at - self.base, len));
        self.field(len, name, mean);
    }

    /// As [`Dump::field`], one that the layout lists without a place.
    pub(crate) fn listed(&mut self, len: usize, name: &str, mean: impl Fn(&[u8]) -> String) {
        self.listed.push(len);
        self.field(len, name, mean);
    }

    /// The fields so far are those of a module's head.
    pub(crate) fn meets(&mut self, module: &str) {
        self.meets_nth(module, 0);
    }

    /// As [`Dump::meets`], with the `nth` layout table.
    pub(crate) fn meets_nth(&mut self, module: &str, nth: usize) {
        let expected = layout(module, nth);
        assert_eq!(std::mem::take(&mut self.fixed), expected.fixed, "{module}: text and bytes");
        if !self.listed.is_empty() {
            assert_eq!(std::mem::take(&mut self.listed), expected.listed, "{module}: listed");
        }
    }

    pub(crate) fn peek(&self, at: usize, len: usize) -> u64 {
        number(&self.bytes[at..at + len])
    }

    pub(crate) fn varint(&mut self, name: &str) -> usize {
        let len = self.bytes[self.at..].iter().position(|b| b & 0x80 == 0).unwrap() + 1;
        let value = varint(&self.bytes[self.at..self.at + len]);
        self.field(len, name, |bytes| varint(bytes).to_string());
        usize::try_from(value).expect("a small number")
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

fn varint(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, byte| n << 7 | u64::from(byte & 0x7f))
}

/// A little-endian integer.
pub(crate) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

pub(crate) fn decimal(bytes: &[u8]) -> String {
    number(bytes).to_string()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(bytes))
}

pub(crate) fn id(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}…", &hex[..8])
}

fn nothing(_bytes: &[u8]) -> String {
    String::new()
}

pub(crate) fn checksum(bytes: &[u8], computed: u32) -> String {
    assert_eq!(number(bytes), u64::from(computed), "the documented checksum");
    format!("{computed:#010x}, as computed")
}

pub(crate) fn link(bytes: &[u8]) -> String {
    format!("{:#010x}", number(bytes))
}

pub(crate) fn zeros(bytes: &[u8]) -> String {
    assert!(bytes.iter().all(|byte| *byte == 0), "zeros");
    String::new()
}

/// The lock file.
pub(crate) fn lock_file(bytes: &[u8]) -> String {
    let mut dump = Dump::new(bytes, 0);
    dump.head("lock file");
    dump.fixed(8, "magic", text);
    dump.fixed(4, "format", decimal);
    dump.fixed(4, "zeros", zeros);
    dump.fixed(16, "store id", id);
    dump.fixed(4, "checksum", |b| checksum(b, crc32(0, &bytes[..32])));
    dump.fixed(4, "zeros", zeros);
    dump.meets("engine/src/lock_file.rs");
    assert_eq!(dump.position(), bytes.len(), "nothing behind the lock file");
    dump.text
}

/// The header of a segment.
pub(crate) fn segment_header(bytes: &[u8]) -> String {
    let mut dump = Dump::new(bytes, 0);
    dump.head("segment header");
    numbered_header(&mut dump, bytes);
    dump.meets("engine/src/log/segment.rs");
    dump.text
}

/// The header of a numbered file: segments and tables have the same fields.
pub(crate) fn numbered_header(dump: &mut Dump<'_>, bytes: &[u8]) {
    dump.fixed(8, "magic", text);
    dump.fixed(4, "format", decimal);
    dump.fixed(4, "reserved", zeros);
    dump.fixed(16, "store id", id);
    dump.fixed(16, "salt", id);
    dump.fixed(8, "number", decimal);
    dump.fixed(8, "epoch", decimal);
    dump.fixed(4, "checksum", |b| checksum(b, crc32(0, &bytes[..64])));
    dump.fixed(4, "zeros", zeros);
}

/// Where records stand in a segment: offset and length.
pub(crate) fn records(segment: &[u8]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut at = 72;
    while at + 40 <= segment.len() && (1..=4).contains(&segment[at + 32]) {
        let payload = usize::try_from(number(&segment[at + 4..at + 8])).unwrap();
        let total = (33 + payload).next_multiple_of(8);
        found.push((at, total));
        at += total;
    }
    found
}

/// The record at an offset of a segment.
pub(crate) fn record(segment: &[u8], (at, total): (usize, usize)) -> String {
    let seal = crc32(0, &segment[16..48]);
    let seeded = crc32(seal, &(at as u64).to_le_bytes());
    let computed = crc32(seeded, &segment[at + 4..at + total]);
    let payload = usize::try_from(number(&segment[at + 4..at + 8])).unwrap();
    let kind = segment[at + 32];
    let name = ["?", "commit", "watermark", "clock floor", "padding"][usize::from(kind)];
    let mut dump = Dump::new(segment, at);
    dump.head(&format!("{name} record, {total} bytes"));
    dump.fixed(4, "checksum", |b| checksum(b, computed));
    dump.fixed(4, "payload length", decimal);
    dump.fixed(8, "version", decimal);
    dump.fixed(8, "engine time", |b| format!("{} ms", number(b)));
    dump.fixed(4, "synced offset", decimal);
    let before = records(segment).into_iter().find(|(begin, length)| begin + length == at);
    let checksum_at = before.map_or(64, |(begin, _)| begin);
    dump.fixed(4, "link", |b| {
        assert_eq!(b, &segment[checksum_at..checksum_at + 4], "the checksum before");
        format!("{}, the checksum at {checksum_at}", link(b))
    });
    dump.fixed(1, "kind", |_| name.to_owned());
    dump.meets("engine/src/log/record.rs");
    match kind {
        1 => changes(&mut dump, at + 33 + payload),
        4 => dump.field(payload, "payload", |b| {
            zeros(b);
            format!("{} zeros", b.len())
        }),
        _ => assert_eq!(payload, 0, "a note has no payload"),
    }
    let padding = at + total - dump.position();
    if padding > 0 {
        dump.field(padding, "padding", zeros);
    }
    dump.text
}

/// Every record of a segment, in order.
pub(crate) fn all_records(segment: &[u8]) -> String {
    let dumps = records(segment).into_iter().map(|place| record(segment, place));
    dumps.collect::<Vec<_>>().join("\n")
}
