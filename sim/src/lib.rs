//! The simulator.

pub mod digest;
pub mod disk;
pub mod rng;
