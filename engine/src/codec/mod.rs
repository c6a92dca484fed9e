//! Bytes from numbers and back: fixed little-endian integers, LEB128 varints, byte strings.
//!
//! Invariants: a [`Reader`] never reads outside its slice, never allocates more than the
//! slice holds, and reports what it missed; nothing here panics on any bytes.

pub(crate) mod body;
pub(crate) mod change;
pub(crate) mod value;

/// Bytes that do not mean what they should; the caller adds file and offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    /// What should stand there.
    pub(crate) expected: &'static str,
    /// What stands there.
    pub(crate) found: String,
}

impl Malformed {
    pub(crate) fn new(expected: &'static str, found: impl ToString) -> Self {
        Malformed { expected, found: found.to_string() }
    }
}

/// Appends a LEB128 varint: seven bits a byte, low ones first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push((n & 0x7f) as u8);
}

/// Appends a length and the bytes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads from the front of a slice.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    #[inline]
    pub(crate) fn take(&mut self, n: usize, what: &'static str) -> Result<&'a [u8], Malformed> {
        match self.rest.split_at_checked(n) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(Malformed::new(what, format!("only {} bytes left", self.rest.len()))),
        }
    }

    /// Everything that is left.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(crate) fn array<const N: usize>(
        &mut self,
        what: &'static str,
    ) -> Result<[u8; N], Malformed> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    #[inline]
    pub(crate) fn u8(&mut self, what: &'static str) -> Result<u8, Malformed> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(crate) fn u32(&mut self, what: &'static str) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(crate) fn u64(&mut self, what: &'static str) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// Reads a varint; refuses one that does not fit 64 bits or is longer than needed, so
    /// that every number has one encoding.
    #[inline]
    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        // Most numbers are small.
        if let Some((byte, rest)) = self.rest.split_first().filter(|(byte, _)| **byte < 0x80) {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint(what)
    }

    fn long_varint(&mut self, what: &'static str) -> Result<u64, Malformed> {
        let mut n = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8(what)?;
            let bits = u64::from(byte & 0x7f);
            if (shift == 63 && bits > 1) || (shift > 0 && byte == 0) {
                return Err(Malformed::new(what, "a number in more bytes than it needs"));
            }
            n |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(n);
            }
        }
        Err(Malformed::new(what, "a number without end"))
    }

    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], Malformed> {
        let len = self.varint(what)?;
        let len = usize::try_from(len)
            .map_err(|_too_long| Malformed::new(what, format!("a length of {len}")))?;
        self.take(len, what)
    }

    /// The end must be here.
    pub(crate) fn finish(self, what: &'static str) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(Malformed::new(what, format!("{} more bytes", self.rest.len())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_round_trip_at_every_length_edge() {
        let edges = (0..64).flat_map(|bit| {
            let n = 1u64 << bit;
            [n - 1, n, n + 1]
        });
        for n in edges.chain([u64::MAX]) {
            let mut out = Vec::new();
            put_varint(&mut out, n);
            let mut reader = Reader::new(&out);
            assert_eq!(reader.varint("n"), Ok(n));
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn a_varint_that_is_longer_than_needed_or_than_64_bits_is_malformed() {
        for bytes in [&[0x80, 0x00][..], &[0xff; 10], &[0xff; 20], &[0x80; 3], &[0x81; 10]] {
            assert!(Reader::new(bytes).varint("n").is_err(), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_length_beyond_the_slice_is_malformed_and_allocates_nothing() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        out.extend_from_slice(b"abc");
        assert!(Reader::new(&out).bytes("b").is_err());
    }
}
