//! Values.
//!
//! Invariant: two values are equal if and only if they are the same bytes on disk; so floats
//! compare by their bits, and a NaN equals itself.

use super::run::RunMetadataEntry;
use super::time::Timestamp;

/// One entry of an event log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventEntry {
    /// Its place in the log.
    pub sequence: u64,
    /// Its kind, named by the application.
    pub event_type: String,
    /// Its content, in the application's own encoding.
    pub payload: Vec<u8>,
    /// When it happened.
    pub timestamp: Timestamp,
}

/// One state of a state machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateMachineEntry {
    /// The state, named by the application.
    pub state: String,
    /// How often it has changed.
    pub version: u64,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// One entry of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceEntry {
    /// Its id within the run.
    pub trace_id: String,
    /// The entry above it, if any.
    pub parent_id: Option<String>,
    /// Its kind, named by the application.
    pub trace_type: String,
    /// Its content, in the application's own encoding.
    pub content: Vec<u8>,
    /// When it was recorded.
    pub timestamp: Timestamp,
}

/// A value. Equality is that of the stored bytes: floats compare by their bits.
///
/// ```
/// use runstone::Value;
/// assert_eq!(Value::from("text"), Value::String("text".into()));
/// assert_eq!(Value::from(f64::NAN), Value::from(f64::NAN));
/// assert_ne!(Value::from(0.0), Value::from(-0.0));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// A key that is there and holds nothing. It is not a deleted key.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A floating-point number, kept to the bit.
    Float(f64),
    /// Text.
    String(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An entry of an event log.
    EventEntry(Box<EventEntry>),
    /// A state of a state machine.
    StateMachineEntry(Box<StateMachineEntry>),
    /// An entry of a trace.
    TraceEntry(Box<TraceEntry>),
    /// The record of a run.
    RunMetadata(Box<RunMetadataEntry>),
}

/// Which variant a [`Value`] is; its byte on disk is [`ValueKind::to_byte`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ValueKind {
    /// [`Value::Null`].
    Null,
    /// [`Value::Bool`].
    Bool,
    /// [`Value::Int`].
    Int,
    /// [`Value::Float`].
    Float,
    /// [`Value::String`].
    String,
    /// [`Value::Bytes`].
    Bytes,
    /// [`Value::EventEntry`].
    EventEntry,
    /// [`Value::StateMachineEntry`].
    StateMachineEntry,
    /// [`Value::TraceEntry`].
    TraceEntry,
    /// [`Value::RunMetadata`].
    RunMetadata,
}

impl ValueKind {
    /// Every kind, in the order of their bytes.
    pub const ALL: [ValueKind; 10] = [
        ValueKind::Null,
        ValueKind::Bool,
        ValueKind::Int,
        ValueKind::Float,
        ValueKind::String,
        ValueKind::Bytes,
        ValueKind::EventEntry,
        ValueKind::StateMachineEntry,
        ValueKind::TraceEntry,
        ValueKind::RunMetadata,
    ];

    /// The byte on disk.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            ValueKind::Null => 1,
            ValueKind::Bool => 2,
            ValueKind::Int => 3,
            ValueKind::Float => 4,
            ValueKind::String => 5,
            ValueKind::Bytes => 6,
            ValueKind::EventEntry => 7,
            ValueKind::StateMachineEntry => 8,
            ValueKind::TraceEntry => 9,
            ValueKind::RunMetadata => 10,
        }
    }

    /// The kind of this byte, if there is one.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        // In the order of their bytes, from 1 on.
        Self::ALL.get(usize::from(byte).checked_sub(1)?).copied()
    }

    /// The name, as errors write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ValueKind::Null => "null",
            ValueKind::Bool => "a bool",
            ValueKind::Int => "an int",
            ValueKind::Float => "a float",
            ValueKind::String => "a string",
            ValueKind::Bytes => "bytes",
            ValueKind::EventEntry => "an event entry",
            ValueKind::StateMachineEntry => "a state-machine entry",
            ValueKind::TraceEntry => "a trace entry",
            ValueKind::RunMetadata => "run metadata",
        }
    }
}

impl Value {
    /// Which variant this is.
    #[must_use]
    pub const fn kind(&self) -> ValueKind {
        match self {
            Value::Null => ValueKind::Null,
            Value::Bool(_) => ValueKind::Bool,
            Value::Int(_) => ValueKind::Int,
            Value::Float(_) => ValueKind::Float,
            Value::String(_) => ValueKind::String,
            Value::Bytes(_) => ValueKind::Bytes,
            Value::EventEntry(_) => ValueKind::EventEntry,
            Value::StateMachineEntry(_) => ValueKind::StateMachineEntry,
            Value::TraceEntry(_) => ValueKind::TraceEntry,
            Value::RunMetadata(_) => ValueKind::RunMetadata,
        }
    }

    /// The bytes, if this is [`Value::Bytes`].
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The text, if this is [`Value::String`].
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::Int(a), Value::Int(b)) => a == b,
            (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::EventEntry(a), Value::EventEntry(b)) => a == b,
            (Value::StateMachineEntry(a), Value::StateMachineEntry(b)) => a == b,
            (Value::TraceEntry(a), Value::TraceEntry(b)) => a == b,
            (Value::RunMetadata(a), Value::RunMetadata(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

macro_rules! value_from {
    ($($source:ty => |$x:ident| $make:expr),* $(,)?) => {$(
        impl From<$source> for Value {
            fn from($x: $source) -> Self {
                $make
            }
        }
    )*};
}

value_from! {
    () => |_unit| Value::Null,
    bool => |x| Value::Bool(x),
    i32 => |x| Value::Int(i64::from(x)),
    i64 => |x| Value::Int(x),
    f64 => |x| Value::Float(x),
    &str => |x| Value::String(x.to_owned()),
    String => |x| Value::String(x),
    &[u8] => |x| Value::Bytes(x.to_vec()),
    Vec<u8> => |x| Value::Bytes(x),
    EventEntry => |x| Value::EventEntry(Box::new(x)),
    StateMachineEntry => |x| Value::StateMachineEntry(Box::new(x)),
    TraceEntry => |x| Value::TraceEntry(Box::new(x)),
    RunMetadataEntry => |x| Value::RunMetadata(Box::new(x)),
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(bytes: &[u8; N]) -> Self {
        Value::Bytes(bytes.to_vec())
    }
}

/// A value with the commit that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionedValue {
    /// The value.
    pub value: Value,
    /// The version of the commit that wrote it.
    pub version: u64,
    /// The engine's time of that commit.
    pub timestamp: Timestamp,
    /// When it expires, if it does: it is gone from this millisecond on.
    pub expires_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_kind_reads_back_from_its_byte() {
        for kind in ValueKind::ALL {
            assert_eq!(ValueKind::from_byte(kind.to_byte()), Some(kind));
        }
        assert_eq!((0..=255).filter(|b| ValueKind::from_byte(*b).is_some()).count(), 10);
    }

    #[test]
    fn floats_are_equal_exactly_when_their_bits_are() {
        assert_eq!(Value::Float(f64::NAN), Value::Float(f64::NAN));
        assert_ne!(Value::Float(0.0), Value::Float(-0.0));
        assert_ne!(Value::Float(f64::NAN), Value::Float(-f64::NAN));
    }

    #[test]
    fn values_of_different_kinds_are_never_equal() {
        assert_ne!(Value::Null, Value::Bool(false));
        assert_ne!(Value::String("a".into()), Value::Bytes(b"a".to_vec()));
        assert_ne!(Value::Int(0), Value::Float(0.0));
    }
}
