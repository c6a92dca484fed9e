//! The names of files in a store's directory.
//!
//! ```text
//! runstone.lock              held while the store is open; tells the store's id; never deleted
//! runstone.manifest          which segments count
//! runstone-ID-000001.log     a log segment; numbers have at least six digits and are never reused
//! runstone-ID-000002.tmp     a manifest that is being written, or the one of before
//! runstone-ID-000003.table   a table
//! ```
//! ID is the store's, in 32 hexadecimal digits: whose a file is stands in its name, from its first
//! moment on, whatever a crash leaves of its content. Anything else is foreign, and is never
//! touched. No other program uses these names: `LOCK`, `MANIFEST` and `000001.log` are those of
//! LevelDB and its many descendants.

use std::ffi::OsStr;
use std::fmt::Write as _;

/// The manifest's name.
pub(crate) const MANIFEST: &str = "runstone.manifest";
/// The lock file's name.
pub(crate) const LOCK: &str = "runstone.lock";
/// What all other names begin with.
const PREFIX: &str = "runstone-";

/// How many numbers are passed over, one after the other, whose names are taken.
pub(crate) const TAKEN_MAX: u64 = 1000;

/// The id of a store.
pub(crate) type StoreId = [u8; 16];

/// A name of a store's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OwnName {
    Manifest,
    Lock,
    Segment(StoreId, u64),
    Temporary(StoreId, u64),
    Table(StoreId, u64),
}

impl OwnName {
    /// The number in the name, if it has one.
    pub(crate) fn number(self) -> Option<u64> {
        match self {
            OwnName::Segment(_, number)
            | OwnName::Temporary(_, number)
            | OwnName::Table(_, number) => Some(number),
            OwnName::Manifest | OwnName::Lock => None,
        }
    }

    pub(crate) fn file_name(self) -> String {
        match self {
            OwnName::Manifest => MANIFEST.to_owned(),
            OwnName::Lock => LOCK.to_owned(),
            OwnName::Segment(id, number) => numbered(id, number, "log"),
            OwnName::Temporary(id, number) => numbered(id, number, "tmp"),
            OwnName::Table(id, number) => numbered(id, number, "table"),
        }
    }

    /// The meaning of a name, or `None` if it is foreign.
    pub(crate) fn parse(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        let own = match name {
            MANIFEST => OwnName::Manifest,
            LOCK => OwnName::Lock,
            _ => {
                let (stem, kind) = name.strip_prefix(PREFIX)?.split_once('.')?;
                let (id, digits) = stem.split_once('-')?;
                let id = u128::from_str_radix(id, 16).ok()?.to_be_bytes();
                // Others can follow.
                let number = digits.parse().ok().filter(|n| *n < u64::MAX / 2)?;
                match kind {
                    "log" => OwnName::Segment(id, number),
                    "tmp" => OwnName::Temporary(id, number),
                    "table" => OwnName::Table(id, number),
                    _ => return None,
                }
            }
        };
        // Everything has one spelling only.
        (own.file_name() == name).then_some(own)
    }
}

fn numbered(id: StoreId, number: u64, kind: &str) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    // One allocation, whatever the number: names are made and read for every file of a listing.
    let mut name = String::with_capacity(PREFIX.len() + 32 + 1 + 20 + 1 + kind.len());
    name.push_str(PREFIX);
    name.extend(id.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    // The digits of a number can be written to a string.
    let _written = write!(name, "-{number:06}.{kind}");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_read_back_and_others_are_foreign() {
        let id = [0x0F, 0xA0, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        for own in [
            OwnName::Manifest,
            OwnName::Lock,
            OwnName::Segment(id, 1),
            OwnName::Segment([0; 16], 1_234_567),
            OwnName::Temporary(id, 999_999),
            OwnName::Temporary([0; 16], 1_000_000),
            OwnName::Table(id, 3),
        ] {
            assert_eq!(OwnName::parse(OsStr::new(&own.file_name())), Some(own));
        }
        let temporary = OwnName::Temporary(id, 7).file_name();
        assert_eq!(temporary, "runstone-0fa0030405060708090a0b0c0d0e0f10-000007.tmp");
        for foreign in [
            "000001.log",
            "20260101.tmp",
            "LOCK",
            "MANIFEST",
            "MANIFEST-000001",
            "runstone-000001.log",
            "Runstone.lock",
            "runstone-0fa0030405060708090a0b0c0d0e0f10-7.log",
            "runstone-0fa0030405060708090a0b0c0d0e0f10-0000007.log",
            "runstone-0fa0030405060708090a0b0c0d0e0f10-000007.txt",
            "runstone-0fa0030405060708090a0b0c0d0e0f10-000007.log.bak",
            "runstone-0fa0030405060708090a0b0c0d0e0f10-+00007.log",
            "runstone-0fa0030405060708090a0b0c0d0e0f10-.log",
            "runstone-0fa0030405060708090a0b0c0d0e0f10-18446744073709551615.log",
            "runstone-0FA0030405060708090a0b0c0d0e0f10-000007.tmp",
            "runstone-fa0030405060708090a0b0c0d0e0f10-000007.tmp",
        ] {
            assert_eq!(OwnName::parse(OsStr::new(foreign)), None, "{foreign}");
        }
    }
}
