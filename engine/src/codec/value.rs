//! Values in their stored form: a kind byte and the bytes behind it.
//!
//! ```text
//! kind            bytes
//!  1 null         none
//!  2 bool         one byte, 0 or 1
//!  3 int          8, little-endian
//!  4 float        8, its bits, little-endian
//!  5 string       UTF-8
//!  6 bytes        as they are
//!  7 event        a body (codec/body.rs)
//!  8 state        a body
//!  9 trace        a body
//! 10 run record   a body
//! ```
//!
//! Invariant: a stored value that came from disk has been checked by [`Stored::checked`], so
//! reading it later cannot fail.

use std::borrow::Cow;

use super::{Malformed, body};
use crate::types::{Value, ValueKind};

/// A value as the memtable and the log hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    kind: ValueKind,
    bytes: Box<[u8]>,
}

impl Stored {
    pub(crate) fn kind(&self) -> ValueKind {
        self.kind
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Checks bytes from disk and takes them.
    pub(crate) fn from_disk(kind: u8, bytes: &[u8]) -> Result<Self, Malformed> {
        Stored::checked(self::kind(kind)?, Cow::Borrowed(bytes))
    }

    /// The same, of a kind that is known.
    pub(crate) fn checked(kind: ValueKind, bytes: Cow<'_, [u8]>) -> Result<Self, Malformed> {
        match kind {
            ValueKind::Bytes => {}
            ValueKind::String => {
                std::str::from_utf8(&bytes).map_err(|e| Malformed::new("UTF-8 text", e))?;
            }
            _ => {
                decode(kind, Cow::Borrowed(&bytes))?;
            }
        }
        Ok(Stored { kind, bytes: bytes.into() })
    }

    /// The value. A stored value was checked when it was made; should it be unreadable all
    /// the same, that is an error and never another value.
    pub(crate) fn to_value(&self) -> Result<Value, Malformed> {
        decode(self.kind, Cow::Borrowed(&self.bytes))
    }
}

impl From<Value> for Stored {
    fn from(value: Value) -> Self {
        let kind = value.kind();
        let mut out = Vec::new();
        match value {
            Value::Null => {}
            Value::Bool(b) => out.push(u8::from(b)),
            Value::Int(n) => out.extend_from_slice(&n.to_le_bytes()),
            Value::Float(x) => out.extend_from_slice(&x.to_bits().to_le_bytes()),
            Value::String(text) => out = text.into_bytes(),
            Value::Bytes(bytes) => out = bytes,
            Value::EventEntry(entry) => body::encode_event(&mut out, *entry),
            Value::StateMachineEntry(entry) => body::encode_state_machine(&mut out, *entry),
            Value::TraceEntry(entry) => body::encode_trace(&mut out, *entry),
            Value::RunMetadata(entry) => body::encode_run_metadata(&mut out, &entry),
        }
        Stored { kind, bytes: out.into_boxed_slice() }
    }
}

fn fixed<const N: usize>(bytes: &[u8], what: &'static str) -> Result<[u8; N], Malformed> {
    bytes.try_into().map_err(|_wrong| Malformed::new(what, format!("{} bytes", bytes.len())))
}

/// The kind of value of this byte.
pub(crate) fn kind(byte: u8) -> Result<ValueKind, Malformed> {
    ValueKind::from_byte(byte)
        .ok_or_else(|| Malformed::new("a kind of value", format!("the unknown kind {byte}")))
}

/// The value of this kind and these bytes, which it takes if it can.
pub(crate) fn decode(kind: ValueKind, bytes: Cow<'_, [u8]>) -> Result<Value, Malformed> {
    Ok(match kind {
        ValueKind::Bytes => Value::Bytes(bytes.into_owned()),
        ValueKind::String => {
            let text = std::str::from_utf8(&bytes).map_err(|e| Malformed::new("UTF-8 text", e))?;
            Value::String(text.to_owned())
        }
        ValueKind::Null => {
            fixed::<0>(&bytes, "no bytes behind a null")?;
            Value::Null
        }
        ValueKind::Bool => match fixed::<1>(&bytes, "a bool of 1 byte")? {
            [0] => Value::Bool(false),
            [1] => Value::Bool(true),
            [other] => return Err(Malformed::new("a truth value, which is 0 or 1", other)),
        },
        ValueKind::Int => Value::Int(i64::from_le_bytes(fixed(&bytes, "an int of 8 bytes")?)),
        ValueKind::Float => {
            Value::Float(f64::from_bits(u64::from_le_bytes(fixed(&bytes, "a float of 8 bytes")?)))
        }
        ValueKind::EventEntry => Value::from(body::decode_event(&bytes)?),
        ValueKind::StateMachineEntry => Value::from(body::decode_state_machine(&bytes)?),
        ValueKind::TraceEntry => Value::from(body::decode_trace(&bytes)?),
        ValueKind::RunMetadata => Value::from(body::decode_run_metadata(&bytes)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t31_bytes_that_are_no_value_of_their_kind_are_malformed_never_null() {
        let bad: [(u8, &[u8]); 8] = [
            (0, b""),
            (11, b""),
            (1, b"x"),
            (2, b"\x02"),
            (2, b""),
            (3, b"1234567"),
            (5, b"\xff"),
            (7, b"\x01"),
        ];
        for (kind, bytes) in bad {
            assert!(Stored::from_disk(kind, bytes).is_err(), "kind {kind} {bytes:?}");
        }
    }

    #[test]
    fn floats_keep_their_bits() {
        for bits in [0, 1, u64::MAX, f64::NAN.to_bits(), (-0.0f64).to_bits()] {
            let stored = Stored::from(Value::Float(f64::from_bits(bits)));
            assert_eq!(stored.to_value(), Ok(Value::Float(f64::from_bits(bits))));
        }
    }
}
