//! The decoders of `lattice_engine::decoders` and `lattice_fs::decoders` as fuzz targets: `scripts/fuzz` runs them all,
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run NAME` in this directory's parent runs one. The corpus is run by an ordinary test as well,
//! `tests/tests/corpus.rs`.

/// Runs the decoder of that name.
pub fn decode(name: &str, bytes: &[u8]) {
    let mut all = lattice_engine::decoders::ALL.iter().chain(&lattice_fs::decoders::ALL);
    let decoder = all.find(|(n, _)| *n == name);
    (decoder.expect("a decoder of that name").1)(bytes);
}
