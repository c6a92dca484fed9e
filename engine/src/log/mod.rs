//! The write-ahead log: framing ([`record`], [`segment`]), making a segment ([`creation`]),
//! reading ([`scan`]) and appending ([`writer`]). Policy (when to write, sync, rotate) stands
//! in `commit`.

pub(crate) mod creation;
#[cfg(feature = "planted")]
mod planted;
pub(crate) mod record;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod writer;
