//! What the tests and the benchmarks share: the floor filesystem, the fixtures that mount things,
//! and deterministic work to do in a mounted directory.

pub mod browser;
pub mod crates;
pub mod fixture;
pub mod floor;
pub mod random;
pub mod sim;
pub mod trees;
