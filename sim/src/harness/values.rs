//! What the small numbers of a case stand for: values, keys, runs, namespaces, kinds.
//!
//! Invariant: all of it is a function of the numbers, so that a case can be saved as text.

use std::ops::Bound;
use std::time::Duration;

use runstone::{
    EventEntry, Namespace, RunId, RunStatus, StateMachineEntry, Timestamp, TraceEntry, TypeTag,
    Value,
};
use serde::{Deserialize, Serialize};

/// A value, by its recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueSpec {
    /// Which kind, from 0.
    pub kind: u8,
    /// How many bytes, where the kind has a size.
    pub size: u32,
    /// What makes it different from others.
    pub salt: u32,
}

impl ValueSpec {
    /// The value.
    pub fn value(self) -> Value {
        let salt = u64::from(self.salt);
        let filled = |len: u32| -> Vec<u8> {
            let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            (0..len)
                .map(|_| {
                    state = state.rotate_left(7).wrapping_mul(0x2545_f491_4f6c_dd1d);
                    (state >> 56).to_le_bytes()[0]
                })
                .collect()
        };
        let text = |len: u32| "x".repeat(usize::try_from(len).unwrap_or(0));
        match self.kind {
            0 => Value::Null,
            1 => Value::Bool(!self.salt.is_multiple_of(2)),
            2 => Value::Int(i64::from(self.salt) - (1 << 31)),
            3 => Value::Float(f64::from_bits(salt << 32 | salt)),
            4 => Value::String(format!("{}{}", self.salt, text(self.size.saturating_sub(10)))),
            5 => Value::from(EventEntry {
                sequence: salt,
                event_type: format!("event {salt}"),
                payload: filled(self.size.min(64)),
                timestamp: Timestamp::from_millis(salt),
            }),
            6 => Value::from(StateMachineEntry {
                state: format!("state {salt}"),
                version: salt,
                updated_at: Timestamp::from_millis(salt),
            }),
            7 => Value::from(TraceEntry {
                trace_id: format!("trace {salt}"),
                // No parent, and one without a name, are two things.
                parent_id: (!self.salt.is_multiple_of(3))
                    .then(|| if self.salt % 3 == 1 { String::new() } else { "parent".to_owned() }),
                trace_type: "call".to_owned(),
                content: filled(self.size.min(64)),
                timestamp: Timestamp::from_millis(salt),
            }),
            _ => Value::Bytes(filled(self.size)),
        }
    }
}

/// The kind of values that are bytes of the store's own files, as they stood when the value was
/// first written; the salt says where they are taken from.
pub const ECHO: u8 = 50;

/// How many different keys there are that reads go through.
pub const KEYS: u16 = 30;
/// The longest key that is admitted in simulations.
pub const KEY_BYTES_MAX: usize = 40;
/// The longest value that is admitted in simulations.
pub const VALUE_BYTES_MAX: usize = 1500;
/// The largest batch that is admitted in simulations.
pub const BATCH_BYTES_MAX: usize = 4096;

/// The keys of a removal, by two numbers and the kinds of the bounds, the last one times three.
pub(crate) fn range(from: u16, to: u16, bounds: u8) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
    let owned = |key: u16, kind| bound(&key_bytes(key), kind).map(<[u8]>::to_vec);
    (owned(from, bounds), owned(to, bounds / 3))
}

/// A bound of a range, by its kind: 0 none, 1 inclusive, 2 exclusive.
pub(crate) fn bound(key: &[u8], kind: u8) -> Bound<&[u8]> {
    match kind % 3 {
        0 => Bound::Unbounded,
        1 => Bound::Included(key),
        _ => Bound::Excluded(key),
    }
}

/// The bytes of a key: odd ones, at a limit, one beyond, prefixes of one another.
pub fn key_bytes(key: u16) -> Vec<u8> {
    match key {
        0 => b"a".to_vec(),
        1 => b"ab".to_vec(),
        2 => b"abc".to_vec(),
        3 => b"a\x00".to_vec(),
        4 => b"a\xff".to_vec(),
        5 => vec![0],
        6 => vec![0xff],
        7 => vec![0xff, 0xff],
        8 => vec![b'k'; KEY_BYTES_MAX],
        9 => vec![b'k'; 22],
        10 => vec![b'k'; 23],
        11 => b"ab\xff\xff".to_vec(),
        12 => vec![b'k'; KEY_BYTES_MAX + 1],
        13 => Vec::new(),
        // Just before and just behind the end of a prefix.
        24 => b"ab\xff".to_vec(),
        25 => b"ac".to_vec(),
        26 => b"ab\xff\x00".to_vec(),
        27 => b"ab\xfe\xff".to_vec(),
        28 => b"b".to_vec(),
        29 => b"\xff\x00".to_vec(),
        n => format!("key-{n:02}").into_bytes(),
    }
}

/// A time to live that comes to so many whole milliseconds: some are a fraction shorter, which
/// is rounded up. The greatest number stands for the longest there is.
pub fn ttl(ms: u64) -> Duration {
    let whole = Duration::from_millis(ms);
    match ms % 3 {
        _ if ms == u64::MAX => Duration::MAX,
        1 => whole.saturating_sub(Duration::from_micros(700)),
        2 => whole.saturating_sub(Duration::from_nanos(1)),
        _ => whole,
    }
}

/// A run's id.
pub fn run_id(run: u8) -> RunId {
    let mut bytes = [0x10; 16];
    // Ids that differ first, last, or in the middle.
    match run % 3 {
        0 => bytes[0] = run,
        1 => bytes[15] = run,
        _ => bytes[7] = run,
    }
    RunId::from_bytes(bytes)
}

/// The kinds of keys that callers write, beside plain ones.
pub const TAGS: [TypeTag; 4] =
    [TypeTag::Event, TypeTag::StateMachine, TypeTag::Trace, TypeTag::Vector];

/// A number of tags from here on stands for that much less, and for a namespace of names.
pub const NAMED: u8 = 100;

/// The namespace of a run that is begun with this number of tags.
pub fn namespace(run: u8, tags: u8) -> Namespace {
    match tags.checked_sub(NAMED) {
        None => Namespace::default_for(run_id(run)),
        // One name is empty, one as long as may be or, rarely, one byte longer.
        Some(n) => {
            let agent = "g".repeat(usize::from(n) % 26);
            Namespace::new("tenant", format!("app-{n}"), agent, run_id(run))
        }
    }
}

/// How many keys are used with other kinds.
pub const TAGGED_KEYS: u16 = 6;

/// The kind of a number.
pub fn type_tag(n: u8) -> TypeTag {
    TAGS[usize::from(n) % TAGS.len()]
}

/// The status of a number.
pub fn status(n: u8) -> RunStatus {
    match n % 3 {
        0 => RunStatus::Completed,
        1 => RunStatus::Failed,
        _ => RunStatus::Cancelled,
    }
}
