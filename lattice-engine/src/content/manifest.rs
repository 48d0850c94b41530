//! A file as its list of chunks, and that list as bytes: `lattice.v1.Manifest`. One level: a manifest names chunks of
//! the file and never another manifest. Refuses lists that are too long, chunks of a size that nobody cuts, adjacent
//! holes, and anything that is not the one encoding of what it says.

use std::ops::Range;

use bytes::Bytes;
use prost::Message;

use super::chunker;
use super::error::{ContentError, Result};
use crate::entry::{Chunk, Content, MAX_DIRECT_CHUNKS};
use crate::id::ChunkId;
use crate::wire::v1;

/// Most runs (chunks and holes) of a file: 64 GiB of data at the average chunk size, 16 GiB at the very least.
pub const MAX_CHUNKS: usize = 1 << 20;
/// Largest chunk of a file's bytes that is accepted from anywhere.
pub const MAX_CHUNK_LEN: u64 = chunker::MAX as u64;
/// Largest chunk of any kind: a manifest of [`MAX_CHUNKS`].
pub const MAX_MANIFEST_LEN: u64 = 48 << 20;

/// The runs of a file and where they start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    chunks: Vec<Chunk>,
    starts: Vec<u64>,
    size: u64,
}

impl Layout {
    /// Runs in order; holes are not empty and never adjacent.
    pub fn new(chunks: Vec<Chunk>) -> Self {
        let mut size = 0;
        let starts = chunks
            .iter()
            .map(|chunk| {
                let start = size;
                size += chunk.len;
                start
            })
            .collect();
        Self { chunks, starts, size }
    }

    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    pub fn len(&self) -> usize {
        self.chunks.len()
    }

    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The bytes of the file that run `i` covers.
    pub fn range(&self, i: usize) -> Range<u64> {
        self.starts[i]..self.starts[i] + self.chunks[i].len
    }

    /// The run that holds `offset`, which is below the size.
    pub fn find(&self, offset: u64) -> usize {
        self.starts.partition_point(|start| *start <= offset) - 1
    }

    /// Maximal ranges of data (`false`) and holes (`true`).
    pub fn extents(&self) -> Vec<(Range<u64>, bool)> {
        let mut out: Vec<(Range<u64>, bool)> = Vec::new();
        for (i, chunk) in self.chunks.iter().enumerate() {
            let (range, hole) = (self.range(i), chunk.id.is_none());
            match out.last_mut() {
                Some((last, h)) if *h == hole => last.end = range.end,
                _ => out.push((range, hole)),
            }
        }
        out
    }
}

/// Builds a list: adjacent holes become one.
#[derive(Debug, Default)]
pub(super) struct Runs(Vec<Chunk>);

impl Runs {
    pub fn push(&mut self, chunk: Chunk) -> Result<()> {
        let full = self.0.len() == MAX_CHUNKS;
        match self.0.last_mut() {
            Some(last) if last.id.is_none() && chunk.id.is_none() => last.len += chunk.len,
            _ if full => return Err(ContentError::TooManyChunks { max: MAX_CHUNKS }),
            _ => self.0.push(chunk),
        }
        Ok(())
    }

    pub fn into_vec(self) -> Vec<Chunk> {
        self.0
    }
}

/// The list's bytes.
pub(super) fn encode(chunks: &[Chunk]) -> Vec<u8> {
    let chunks = chunks
        .iter()
        .map(|chunk| v1::Chunk {
            hash: chunk.id.map_or_else(Bytes::new, |id| Bytes::copy_from_slice(&id.0)),
            len: chunk.len,
        })
        .collect();
    v1::Manifest { chunks }.encode_to_vec()
}

/// What names a list whether it is a chunk or not: for a long one, the manifest's own chunk id.
pub(super) fn digest(content: &Content) -> ChunkId {
    match content {
        Content::Manifest { manifest: Chunk { id: Some(id), .. }, .. } => *id,
        Content::Chunks(chunks) => name(&encode(chunks)),
        Content::Inline(_) | Content::InLog(_) | Content::Manifest { .. } => name(&[]),
    }
}

/// A chunk's name.
pub(super) fn name(bytes: &[u8]) -> ChunkId {
    ChunkId(*blake3::hash(bytes).as_bytes())
}

/// The runs that the manifest chunk `id` with these bytes lists for a file of `size` bytes.
///
/// # Errors
/// It is no manifest, or not one of such a file.
pub fn manifest_chunks(id: ChunkId, bytes: Bytes, size: u64) -> Result<Vec<Chunk>> {
    Ok(decode(id, bytes, size)?.chunks().to_vec())
}

/// Strict: the list of a manifest chunk that says it describes `size` bytes.
pub(super) fn decode(id: ChunkId, bytes: Bytes, size: u64) -> Result<Layout> {
    let bad = |what| ContentError::BadManifest { chunk: id, what };
    if bytes.len() as u64 > MAX_MANIFEST_LEN {
        return Err(bad("it is too long"));
    }
    let manifest = v1::Manifest::decode(bytes.clone()).map_err(|_| bad("it does not decode"))?;
    let mut chunks = Vec::with_capacity(manifest.chunks.len());
    for chunk in &manifest.chunks {
        let id = match chunk.hash.len() {
            0 => None,
            _ => Some(ChunkId::from_slice(&chunk.hash).ok_or_else(|| bad("a chunk's hash is not 32 bytes"))?),
        };
        chunks.push(Chunk { id, len: chunk.len });
    }
    if chunks.len() <= MAX_DIRECT_CHUNKS {
        return Err(bad("so short a list stands in the entry itself"));
    }
    check(&chunks, size).map_err(bad)?;
    if encode(&chunks) != bytes {
        return Err(bad("it is not in canonical form"));
    }
    Ok(Layout::new(chunks))
}

/// Whether a list of runs is one that a writer makes, and covers `size` bytes.
pub(super) fn check(chunks: &[Chunk], size: u64) -> std::result::Result<(), &'static str> {
    if chunks.len() > MAX_CHUNKS {
        return Err("it names too many chunks");
    }
    let mut sum = 0u64;
    let mut hole = false;
    for chunk in chunks {
        if chunk.len == 0 || (chunk.id.is_some() && chunk.len > MAX_CHUNK_LEN) {
            return Err("a chunk's length is out of range");
        }
        if hole && chunk.id.is_none() {
            return Err("two holes are adjacent");
        }
        hole = chunk.id.is_none();
        sum = sum.checked_add(chunk.len).ok_or("its size overflows")?;
    }
    if sum != size {
        return Err("its chunks do not add up to the file's size");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(n: usize) -> Vec<Chunk> {
        (0..n).map(|i| Chunk { id: Some(name(&i.to_le_bytes())), len: 20_000 + i as u64 }).collect()
    }

    #[test]
    fn a_list_reads_back() {
        let chunks = list(40);
        let size = chunks.iter().map(|c| c.len).sum();
        let bytes = Bytes::from(encode(&chunks));
        let layout = decode(name(&bytes), bytes, size).expect("valid");
        assert_eq!(layout.chunks(), chunks);
        assert_eq!(layout.find(0), 0);
        assert_eq!(layout.find(20_000), 1);
        assert_eq!(layout.find(size - 1), 39);
    }

    #[test]
    fn a_list_that_nobody_writes_is_refused() {
        let hole = Chunk { id: None, len: 1 << 20 };
        let cases: [(&str, Vec<Chunk>); 4] = [
            ("so short", list(3)),
            (
                "out of range",
                list(20).into_iter().chain([Chunk { len: MAX_CHUNK_LEN + 1, ..list(1)[0] }]).collect(),
            ),
            ("out of range", list(20).into_iter().chain([Chunk { len: 0, ..list(1)[0] }]).collect()),
            ("adjacent", list(20).into_iter().chain([hole, hole]).collect()),
        ];
        for (why, chunks) in cases {
            let size = chunks.iter().map(|c| c.len).sum();
            let bytes = Bytes::from(encode(&chunks));
            let e = decode(name(&bytes), bytes, size).expect_err("invalid");
            assert!(e.to_string().contains(why), "{e}");
        }
        let mut bytes = encode(&list(20));
        let size = list(20).iter().map(|c| c.len).sum();
        assert!(decode(name(&bytes), Bytes::from(bytes.clone()), size + 1).is_err());
        bytes.extend_from_slice(&[0x10, 1]);
        let e = decode(name(&bytes), bytes.into(), size).expect_err("unknown field");
        assert!(e.to_string().contains("canonical"), "{e}");
    }

    #[test]
    fn the_longest_list_fits_its_limit() {
        let one = encode(&[Chunk { id: Some(name(b"x")), len: MAX_CHUNK_LEN }]).len() as u64;
        assert!(one * MAX_CHUNKS as u64 <= MAX_MANIFEST_LEN);
    }
}
