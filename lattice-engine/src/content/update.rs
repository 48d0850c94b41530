//! Cutting again only what changed. An old chunk stays where nothing that its cuts depend on was touched; from there the
//! new bytes are cut until a cut coincides with an old one. If the old content was cut by this chunker, the result is
//! exactly what cutting the whole file would give.

use std::ops::Range;

use bytes::Bytes;

use super::ContentStore;
use super::chunker::{BLOCK, ReadAt, Scanner, Zeros};
use super::error::{ContentError, Result};
use super::layout::{Layout, Runs};
use super::writer::Batch;
use crate::entry::{Content, MAX_INLINE};

impl ContentStore {
    /// The content of `new_size` bytes that `read` gives, where only `dirty` ranges differ from `old`. What lies beyond
    /// the old end and isn't dirty is zero and is not read. Work is proportional to the dirty bytes, plus the list of
    /// chunks. `old` must be live or pinned.
    pub fn update(
        &self,
        old: &Content,
        new_size: u64,
        dirty: &[Range<u64>],
        read: &dyn ReadAt,
    ) -> Result<Content> {
        if new_size <= MAX_INLINE as u64 {
            let mut bytes = vec![0; new_size as usize];
            read.read_exact_at(&mut bytes, 0).map_err(|source| ContentError::Source { offset: 0, source })?;
            return Ok(Content::Inline(Bytes::from(bytes)));
        }
        let _pin = self.pin();
        // Keeps the chunks that are taken over until the new manifest, which names them, is touched.
        let reader = match old {
            Content::Inline(_) | Content::InLog(_) => self.reader(&Content::EMPTY)?,
            Content::Chunks(_) | Content::Manifest { .. } => self.reader(old)?,
        };
        let mut dirty = merged(dirty, new_size);
        if reader.layout().is_empty() {
            // Inline: no cut to keep, and its bytes are few.
            dirty.push(0..old.size());
            dirty = merged(&dirty, new_size);
        }
        let plan = Plan::new(reader.layout(), old.size(), new_size, dirty);
        let mut scanner = Scanner::new(read, &plan.zeros, new_size, 0, plan.is_long());
        let (mut batch, mut runs, mut next) = (Batch::default(), Runs::default(), 0);
        let layout = reader.layout();
        while scanner.pos() < new_size {
            let pos = scanner.pos();
            while next < layout.len() && layout.range(next).start < pos {
                next += 1;
            }
            if next < layout.len() && layout.range(next).start == pos && plan.keeps(&layout.range(next)) {
                runs.push(layout.chunks()[next])?;
                scanner.seek(layout.range(next).end);
            } else if let Some(piece) = scanner.next()? {
                batch.add_piece(&self.inner, &mut runs, &piece)?;
            }
        }
        batch.finish(&self.inner, runs)
    }
}

/// What an update knows before it reads.
struct Plan {
    /// Ranges whose bytes, or whose nearness to the end, changed.
    affected: Vec<Range<u64>>,
    zeros: Zeros,
    new_size: u64,
}

impl Plan {
    fn new(old: &Layout, old_size: u64, new_size: u64, dirty: Vec<Range<u64>>) -> Self {
        let mut known: Vec<_> =
            old.extents().into_iter().filter(|(_, hole)| *hole).map(|(range, _)| range).collect();
        known.push(old_size.min(new_size)..new_size);
        let zeros = Zeros(without(&merged(&known, new_size), &dirty));
        let mut affected = dirty;
        if old_size != new_size {
            affected.push(old_size.min(new_size)..old_size.max(new_size));
        }
        Self { affected: merged(&affected, u64::MAX), zeros, new_size }
    }

    /// Whether an old chunk is what cutting from its start would give. That depends on its bytes, on one byte after it,
    /// and on whether the aligned blocks that it touches or ends at are zero.
    fn keeps(&self, chunk: &Range<u64>) -> bool {
        let block = |at: u64| at - at % BLOCK as u64;
        let i = self.affected.partition_point(|range| range.end <= chunk.start);
        chunk.end <= self.new_size && self.affected.get(i).is_none_or(|range| chunk.end < block(range.start))
    }

    /// Whether so much changed that reading ahead pays.
    fn is_long(&self) -> bool {
        self.affected.iter().any(|range| range.end - range.start > 4 << 20)
    }
}

/// Sorted, disjoint, not empty, below `size`.
fn merged(ranges: &[Range<u64>], size: u64) -> Vec<Range<u64>> {
    let mut sorted: Vec<_> =
        ranges.iter().map(|r| r.start..r.end.min(size)).filter(|r| r.start < r.end).collect();
    sorted.sort_unstable_by_key(|r| r.start);
    let mut out: Vec<Range<u64>> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match out.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

/// The parts of `ranges` that are in none of `holes`; both sorted and disjoint.
fn without(ranges: &[Range<u64>], holes: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut out = Vec::new();
    for range in ranges {
        let mut start = range.start;
        let first = holes.partition_point(|hole| hole.end <= start);
        for hole in holes[first..].iter().take_while(|hole| hole.start < range.end) {
            out.push(start..hole.start.max(start));
            start = hole.end;
        }
        out.push(start..range.end.max(start));
    }
    out.retain(|r| r.start < r.end);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_merged_and_cut_out() {
        assert_eq!(merged(&[5..9, 0..2, 2..3, 8..20, 7..7], 15), [0..3, 5..15]);
        assert_eq!(without(&[0..10, 20..30], &[2..4, 8..22, 29..40]), [0..2, 4..8, 22..29]);
    }
}
