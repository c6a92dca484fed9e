//! What the engine writes, does and says, as snapshots that a person reviews.
//!
//! On-disk formats ([`formats`]), I/O traces ([`io_traces`]), recovered states ([`recovered`])
//! and error messages ([`errors`]). A change of behaviour is a diff; `docs/snapshots.md` tells
//! how to review one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may panic, also in its helpers"
)]

mod dump;
mod errors;
mod fixture;
mod formats;
mod io_traces;
mod manifest_dump;
mod recorder;
mod recovered;
mod settings;
mod table_dump;
