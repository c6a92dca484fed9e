//! Seeded crash simulation of Runstone, and a simulated disk for testing other programs.
//!
//! - [`disk`]: a disk with a live and a durable image for every file and every name, that
//!   crashes anywhere and keeps what its seed says. Public: test your own program on it.
//! - [`explore`]: every crash point of a program of your own, and the least that breaks it.
//! - [`harness`]: a workload generator, a reference model and an oracle; it runs the real
//!   engine on that disk and checks what is recovered against the crash contract.
//! - [`exhaust`]: the same engine and oracle on every legal crash state of small workloads.
//! - [`rng`] and [`digest`]: the random streams of a seed, and the digest of what it did.
//!
//! The command line (`runstone-sim sweep | replay | shrink | exhaust | digest`) is a thin shell
//! around these; `docs/simulation.md` tells how to use it.

pub mod digest;
pub mod disk;
pub mod exhaust;
pub mod explore;
pub mod harness;
pub mod legal;
pub mod record;
pub mod rng;
