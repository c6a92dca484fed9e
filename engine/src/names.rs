//! The names of files in a store's directory.
//!
//! ```text
//! LOCK          held while the store is open; never deleted
//! MANIFEST      which segments count
//! 000001.log    a log segment; numbers have at least six digits and are never reused
//! 000002.tmp    a manifest that is being written
//! ```
//! Anything else is foreign, and is never touched.

use std::ffi::OsStr;

/// The manifest's name.
pub(crate) const MANIFEST: &str = "MANIFEST";
/// The lock file's name.
pub(crate) const LOCK: &str = "LOCK";

/// A name of the store's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OwnName {
    Manifest,
    Lock,
    Segment(u64),
    Temporary(u64),
}

impl OwnName {
    /// The number in the name, if it has one.
    pub(crate) fn number(self) -> Option<u64> {
        match self {
            OwnName::Segment(number) | OwnName::Temporary(number) => Some(number),
            OwnName::Manifest | OwnName::Lock => None,
        }
    }

    pub(crate) fn file_name(self) -> String {
        match self {
            OwnName::Manifest => MANIFEST.to_owned(),
            OwnName::Lock => LOCK.to_owned(),
            OwnName::Segment(number) => format!("{number:06}.log"),
            OwnName::Temporary(number) => format!("{number:06}.tmp"),
        }
    }

    /// The meaning of a name, or `None` if it is foreign.
    pub(crate) fn parse(name: &OsStr) -> Option<Self> {
        let name = name.to_str()?;
        match name {
            MANIFEST => return Some(OwnName::Manifest),
            LOCK => return Some(OwnName::Lock),
            _ => {}
        }
        let (digits, kind) = name.split_once('.')?;
        if !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number = digits.parse().ok().filter(|n| *n < u64::MAX / 2)?;
        let own = match kind {
            "log" => OwnName::Segment(number),
            "tmp" => OwnName::Temporary(number),
            _ => return None,
        };
        // A number has one spelling only.
        (own.file_name() == name).then_some(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_names_read_back_and_others_are_foreign() {
        for own in [
            OwnName::Manifest,
            OwnName::Lock,
            OwnName::Segment(1),
            OwnName::Segment(1_234_567),
            OwnName::Temporary(999_999),
        ] {
            assert_eq!(OwnName::parse(OsStr::new(&own.file_name())), Some(own));
        }
        for foreign in [
            "1.log",
            "0000001.log",
            "000001.txt",
            "+00001.log",
            "manifest",
            "000001",
            ".log",
            "a.log",
        ] {
            assert_eq!(OwnName::parse(OsStr::new(foreign)), None, "{foreign}");
        }
    }
}
