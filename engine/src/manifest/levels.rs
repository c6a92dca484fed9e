//! The levels of tables, as the manifest names them.
//!
//! ```text
//!                 for each level, the highest first:
//!                  4  tier: how often what is in it was merged
//!                  4  1 if it is being merged into the level below, else 0
//!                  4  number of its tables
//!                  4  zeros
//!                 then for each of them, in the order of keys:
//!                  8  number
//!                 16  salt
//!                  8  epoch
//!                  8  length of the file
//!                  4  checksum of its footer
//!                  4  length n of the bound
//!                  n  the bound, below which nothing in it counts: run id 16, type tag 1, user
//!                     key; none if all counts
//! ```
//!
//! Invariants: those of `engine/src/levels`, as far as they can be told without the tables.

use std::collections::BTreeSet;

use crate::codec::{Malformed, Reader};
use crate::types::PhysicalKey;

/// A level takes at least this.
const LEVEL_BYTES: usize = 16;
/// A table takes at least this.
const TABLE_BYTES: usize = 48;
/// Of a bound that has no user key.
const BOUND_BYTES_MIN: u32 = 17;

/// One table, as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableEntry {
    pub(crate) number: u64,
    pub(crate) salt: [u8; 16],
    pub(crate) epoch: u64,
    pub(crate) file_bytes: u64,
    /// Of its footer, by which it is told from any other of the same name.
    pub(crate) checksum: u32,
    /// Nothing below this key counts.
    pub(crate) from: Option<PhysicalKey>,
}

/// One level, as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LevelEntry {
    pub(crate) tier: u32,
    pub(crate) joins: bool,
    /// In the order of keys.
    pub(crate) tables: Vec<TableEntry>,
}

pub(super) fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

pub(super) fn encode(levels: &[LevelEntry], out: &mut Vec<u8>) {
    for level in levels {
        for field in [level.tier, u32::from(level.joins), to_u32(level.tables.len()), 0] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for table in &level.tables {
            encode_table(table, out);
        }
    }
}

pub(super) fn encode_table(table: &TableEntry, out: &mut Vec<u8>) {
    out.extend_from_slice(&table.number.to_le_bytes());
    out.extend_from_slice(&table.salt);
    out.extend_from_slice(&table.epoch.to_le_bytes());
    out.extend_from_slice(&table.file_bytes.to_le_bytes());
    out.extend_from_slice(&table.checksum.to_le_bytes());
    encode_bound(table.from.as_ref(), out);
}

/// Its length, and the bound.
pub(super) fn encode_bound(from: Option<&PhysicalKey>, out: &mut Vec<u8>) {
    let bytes = from.map_or(0, |from| BOUND_BYTES_MIN as usize + from.user_key().len());
    out.extend_from_slice(&to_u32(bytes).to_le_bytes());
    if let Some(from) = from {
        out.extend_from_slice(from.run().as_bytes());
        out.push(from.tag_byte());
        out.extend_from_slice(from.user_key());
    }
}

/// Reads `count` of them.
pub(super) fn decode(reader: &mut Reader<'_>, count: usize) -> Result<Vec<LevelEntry>, Malformed> {
    let no_room = |what: &'static str, count| Err(Malformed::new(what, count));
    if count > reader.left() / LEVEL_BYTES {
        return no_room("as many levels as there is room for", count);
    }
    let mut levels = Vec::with_capacity(count);
    for _ in 0..count {
        let tier = reader.u32("a tier")?;
        let joins = super::flag(reader.u32("whether a level joins another")?)?;
        let tables = reader.u32("a number of tables")? as usize;
        super::zeros(reader.u32("zeros")?)?;
        if tables > reader.left() / TABLE_BYTES {
            return no_room("as many tables listed as there is room for", tables);
        }
        let tables = (0..tables).map(|_| decode_table(reader)).collect::<Result<_, _>>()?;
        levels.push(LevelEntry { tier, joins, tables });
    }
    Ok(levels)
}

pub(super) fn decode_table(reader: &mut Reader<'_>) -> Result<TableEntry, Malformed> {
    let number = reader.u64("a table number")?;
    let salt = reader.array("a salt")?;
    let (epoch, file_bytes) = (reader.u64("an epoch")?, reader.u64("a length")?);
    let checksum = reader.u32("a checksum")?;
    let from = decode_bound(reader)?;
    Ok(TableEntry { number, salt, epoch, file_bytes, checksum, from })
}

pub(super) fn decode_bound(reader: &mut Reader<'_>) -> Result<Option<PhysicalKey>, Malformed> {
    match reader.u32("the length of a bound")? {
        0 => Ok(None),
        length if length < BOUND_BYTES_MIN => {
            Err(Malformed::new("a bound of at least 17 bytes, or none", length))
        }
        length => {
            let mut bound = Reader::new(reader.take(length as usize, "a bound")?);
            let run = u128::from_be_bytes(bound.array("a run id")?);
            let tag = bound.u8("a type tag")?;
            Ok(Some(PhysicalKey::from_parts(run, tag, &[], bound.rest())))
        }
    }
}

/// What holds of the levels of every manifest.
pub(super) fn check(
    levels: &[LevelEntry],
    segments: impl Iterator<Item = u64>,
    next_file: u64,
) -> Result<(), Malformed> {
    let mut numbers: BTreeSet<_> = segments.collect();
    let is_new = |table: &TableEntry| numbers.insert(table.number) && table.number < next_file;
    if !levels.iter().flat_map(|level| &level.tables).all(is_new) {
        let found = "a number of more than one, or a later one";
        return Err(Malformed::new(
            "a manifest whose tables have numbers of their own, below the next",
            found,
        ));
    }
    let descends = levels.windows(2).any(|pair| match pair {
        [a, b] => a.tier > b.tier,
        _ => false,
    });
    let is_empty = levels.iter().any(|level| level.tables.is_empty());
    if descends || is_empty || levels.last().is_some_and(|lowest| lowest.joins) {
        return Err(Malformed::new(
            "a manifest of levels that hold tables, of ascending tiers, the lowest joining none",
            "other levels",
        ));
    }
    Ok(())
}
