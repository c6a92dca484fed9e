//! Tables: immutable sorted files, which hold what the memtables no longer do.
//!
//! ```text
//! header        which table of which store it is (properties.rs)
//! data blocks   entries in order, each in a frame, perhaps compressed (block.rs, frame.rs)
//!   extents     between the blocks: large values, each in a frame, which entries point to
//! index         the first key of each block (index.rs), framed
//! filter        which keys it can hold (filter.rs), framed
//! properties    what it holds in all (properties.rs), framed
//! footer        where those three stand (properties.rs)
//! ```
//!
//! A table is written once, from the front to the end ([`writer`]), and read in any order
//! ([`reader`], [`cursor`]). It knows neither log, manifest nor memtables: whether it counts, the
//! manifest says.
//!
//! Invariants: entries ascend by key, those of one key descend by version, and none of a key is in
//! another table of its level; each byte but the header's is under a checksum that is seeded with
//! the table's salt and the place, so that no block of another table, or of another place, passes;
//! no table reaches 4 GiB. A reader never reads outside its bytes, whatever they are, and allocates
//! no more than the file holds.

pub(crate) mod block;
mod block_builder;
pub(crate) mod cursor;
mod filter;
mod frame;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
pub(crate) mod hash;
mod index;
pub(crate) mod lookup;
#[cfg(feature = "planted")]
mod planted;
pub(crate) mod properties;
pub(crate) mod reader;
#[cfg(test)]
mod tests;
mod verify;
pub(crate) mod writer;
