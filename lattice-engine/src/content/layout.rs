//! A file as its list of runs: chunks and holes. Refuses lists that are too long, chunks of a size that nobody cuts, and
//! adjacent holes.

use std::ops::Range;

use super::chunker;
use super::error::{ContentError, Result};
use crate::entry::Chunk;
use crate::id::ChunkId;

/// Most runs of a file: 512 GiB of data at the average chunk size, 128 GiB at the very least; holes are free. A reader
/// holds the whole list in memory.
pub const MAX_CHUNKS: usize = 1 << 23;
/// Largest chunk of any kind.
pub const MAX_CHUNK_LEN: u64 = chunker::MAX as u64;

/// The runs of a file and where they start; 56 bytes of memory for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    chunks: Vec<Chunk>,
    starts: Vec<u64>,
    size: u64,
    /// The manifests that hold the list, where it isn't in the entry itself.
    manifests: Vec<ChunkId>,
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
        Self { chunks, starts, size, manifests: Vec::new() }
    }

    /// As kept in these manifests.
    pub(super) fn kept_in(self, manifests: Vec<ChunkId>) -> Self {
        Self { manifests, ..self }
    }

    /// Every chunk that the file needs, those of its manifests included.
    pub fn ids(&self) -> impl Iterator<Item = ChunkId> {
        self.manifests.iter().copied().chain(self.chunks.iter().filter_map(|c| c.id))
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
