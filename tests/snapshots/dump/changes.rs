//! The changes of a commit, with their keys, values and structured bodies.

use super::{Dump, decimal, id, nothing, text};

pub(super) fn changes(dump: &mut Dump<'_>, end: usize) {
    while dump.position() < end {
        let op = dump.bytes[dump.position()];
        let same_run = op & 0x80 != 0;
        let names = [
            "?",
            "put",
            "put expiring",
            "delete",
            "begin run",
            "end run",
            "drop run",
            "remove range",
            "key count",
        ];
        let name = names[usize::from(op & 0x7f)];
        dump.field(
            1,
            "op",
            |_| {
                if same_run { format!("{name}, same run") } else { name.to_owned() }
            },
        );
        if !same_run {
            dump.field(16, "run id", id);
        }
        match op & 0x7f {
            put @ (1 | 2) => {
                key(dump);
                let kind = dump.bytes[dump.position()];
                dump.field(1, "value kind", |_| kind_name(kind).to_owned());
                let len = dump.varint("value length");
                value(dump, kind, len);
                if put == 2 {
                    dump.varint("expiry, ms");
                }
            }
            3 => key(dump),
            4 => {
                let len = dump.varint("body length");
                let end = dump.position() + len;
                run_begin_body(dump);
                assert_eq!(dump.position(), end, "the body's length");
            }
            5 => dump.field(1, "status", |b| status(b).to_owned()),
            6 => {}
            7 => {
                key(dump);
                let len = dump.varint("end length");
                dump.field(len, "end", text);
            }
            8 => {
                dump.varint("keys and one");
            }
            other => panic!("operation {other}"),
        }
    }
    assert_eq!(dump.position(), end, "the payload's length");
}

fn key(dump: &mut Dump<'_>) {
    let tags = ["?", "kv", "event", "state machine", "trace", "run metadata", "vector"];
    dump.field(1, "type tag", |b| tags[usize::from(b[0])].to_owned());
    let len = dump.varint("key length");
    dump.field(len, "key", text);
}

pub(crate) fn kind_name(kind: u8) -> &'static str {
    let names = [
        "?",
        "null",
        "bool",
        "int",
        "float",
        "string",
        "bytes",
        "event",
        "state",
        "trace",
        "run record",
    ];
    names[usize::from(kind)]
}

fn status(bytes: &[u8]) -> &'static str {
    ["?", "running", "completed", "failed", "cancelled", "dropped"][usize::from(bytes[0])]
}

fn value(dump: &mut Dump<'_>, kind: u8, len: usize) {
    let end = dump.position() + len;
    match kind {
        1 => {}
        2 => dump.field(1, "value", |b| if b[0] == 1 { "true" } else { "false" }.to_owned()),
        3 => dump.field(8, "value", |b| i64::from_le_bytes(b.try_into().unwrap()).to_string()),
        4 => dump.field(8, "value", |b| format!("{:?}", f64::from_le_bytes(b.try_into().unwrap()))),
        5 => dump.field(len, "value", text),
        6 => dump.field(len, "value", |b| format!("{} bytes", b.len())),
        7 => {
            dump.field(1, "body version", decimal);
            dump.field(8, "sequence", decimal);
            dump.field(8, "timestamp", decimal);
            string(dump, "event type");
            blob(dump, "payload");
        }
        8 => {
            dump.field(1, "body version", decimal);
            dump.field(8, "version", decimal);
            dump.field(8, "updated at", decimal);
            string(dump, "state");
        }
        9 => {
            dump.field(1, "body version", decimal);
            dump.field(8, "timestamp", decimal);
            dump.field(1, "has parent", decimal);
            string(dump, "parent id");
            string(dump, "trace id");
            string(dump, "trace type");
            blob(dump, "content");
        }
        10 => {
            dump.field(1, "body version", decimal);
            dump.field(16, "run", id);
            dump.field(1, "status", |b| status(b).to_owned());
            dump.field(8, "created at", decimal);
            dump.field(1, "has completed", decimal);
            dump.field(8, "completed at", decimal);
            dump.field(8, "first version", decimal);
            dump.field(8, "last version", decimal);
            dump.field(8, "begin length", decimal);
            run_begin_body(dump);
            dump.field(1, "has dropped", decimal);
            dump.field(8, "dropped at", decimal);
        }
        other => panic!("value kind {other}"),
    }
    assert_eq!(dump.position(), end, "the value's length");
}

fn string(dump: &mut Dump<'_>, name: &str) {
    let len = usize::try_from(dump.peek(dump.position(), 8)).unwrap();
    dump.field(8, "length", decimal);
    dump.field(len, name, text);
}

fn blob(dump: &mut Dump<'_>, name: &str) {
    let len = usize::try_from(dump.peek(dump.position(), 8)).unwrap();
    dump.field(8, "length", decimal);
    dump.field(len, name, nothing);
}

fn run_begin_body(dump: &mut Dump<'_>) {
    dump.field(1, "body version", decimal);
    dump.field(1, "has parent", decimal);
    dump.field(16, "parent", id);
    dump.field(1, "has fork", decimal);
    dump.field(16, "forked from", id);
    dump.field(1, "retention", |b| if b[0] == 1 { "latest" } else { "?" }.to_owned());
    string(dump, "tenant");
    string(dump, "app");
    string(dump, "agent");
    for name in ["tag name", "tag value"] {
        let count = dump.peek(dump.position(), 8);
        dump.field(8, "count", decimal);
        for _ in 0..count {
            string(dump, name);
        }
    }
}
