//! zstd where it helps: a sample decides, so that what doesn't compress costs next to nothing.

use std::fmt;
use std::io;

use parking_lot::Mutex;
use zstd::bulk::{Compressor, Decompressor};

const LEVEL: i32 = 1;
/// Of a chunk's middle, compressed first.
const SAMPLE: usize = 4096;

/// Contexts are dear to make (some 100 KiB each): they are kept.
#[derive(Default)]
pub(super) struct Codec {
    compressors: Mutex<Vec<Compressor<'static>>>,
    decompressors: Mutex<Vec<Decompressor<'static>>>,
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Codec")
    }
}

impl Codec {
    /// The compressed bytes in `out`, if that saves an eighth. Anything that goes wrong means: store it plain.
    pub fn compress(&self, plain: &[u8], out: &mut Vec<u8>) -> bool {
        let pooled = self.compressors.lock().pop();
        let Some(mut compressor) = pooled.or_else(|| Compressor::new(LEVEL).ok()) else {
            return false;
        };
        let saved = Self::try_compress(&mut compressor, plain, out).unwrap_or(false);
        self.compressors.lock().push(compressor);
        saved
    }

    fn try_compress(compressor: &mut Compressor<'_>, plain: &[u8], out: &mut Vec<u8>) -> io::Result<bool> {
        out.clear();
        out.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        if plain.len() > 4 * SAMPLE {
            let middle = plain.len() / 2;
            let size = compressor.compress_to_buffer(&plain[middle..middle + SAMPLE], out)?;
            // A small sample compresses worse than the whole: ask half of it.
            if size > SAMPLE - SAMPLE / 16 {
                return Ok(false);
            }
            out.clear();
        }
        let size = compressor.compress_to_buffer(plain, out)?;
        Ok(size <= plain.len() - plain.len() / 8)
    }

    /// Fills `out`, whose length is the plain length.
    pub fn decompress(&self, stored: &[u8], out: &mut [u8]) -> io::Result<()> {
        let pooled = self.decompressors.lock().pop();
        let mut decompressor = pooled.map_or_else(Decompressor::new, Ok)?;
        let result = decompressor.decompress_to_buffer(stored, out);
        self.decompressors.lock().push(decompressor);
        if result? == out.len() { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }
}
