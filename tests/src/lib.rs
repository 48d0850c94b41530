//! What the tests and the benchmarks share: the floor filesystem, the fixtures that mount things,
//! and deterministic work to do in a mounted directory.

pub mod floor;
