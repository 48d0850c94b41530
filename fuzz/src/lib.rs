//! The decoders of `lattice_engine::decoders` as fuzz targets: `RUSTC_BOOTSTRAP=1 cargo fuzz run NAME` in this directory's parent.
//! The corpus is run by an ordinary test as well, `tests/tests/corpus.rs`.

/// Runs the decoder of that name.
pub fn decode(name: &str, bytes: &[u8]) {
    let decoder = lattice_engine::decoders::ALL.iter().find(|(n, _)| *n == name);
    (decoder.expect("a decoder of that name").1)(bytes);
}
