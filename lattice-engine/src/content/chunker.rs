//! Where a file is cut. FastCDC v2020 between [`MIN`] and [`MAX`] bytes, and holes: every whole block of [`BLOCK`] zero
//! bytes that is aligned in the file is stored nowhere.
//!
//! The next cut depends only on where a chunk starts and on the bytes after it. That is what lets an update take up the
//! old cuts again, and lets two threads cut one file: as soon as both have a cut at the same offset, the rest is equal.

use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use fastcdc::v2020;

use super::error::{ContentError, Result};
use crate::disk::DiskFile;

/// Smallest chunk, but for the last before a hole or the end.
pub const MIN: usize = 16 << 10;
/// What cut points aim at.
pub const AVG: usize = 64 << 10;
/// Largest chunk.
pub const MAX: usize = 256 << 10;
/// Aligned blocks of this many zero bytes are holes.
pub const BLOCK: usize = 64 << 10;
/// Bytes that must be known after a cut to find the next one; fewer only at the end of the file.
pub(super) const LOOKAHEAD: usize = MAX + BLOCK;

// Normalization level 1 at 64 KiB: fastcdc::v2020::select_masks. Format: a golden test pins them.
const MASK_SMALL: u64 = 0x0000_d907_0353_7000;
const MASK_LARGE: u64 = 0x0000_d90f_0353_0000;

/// Random access to bytes that are being stored.
pub trait ReadAt {
    /// Fills `buf` from `offset`, or fails.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let eof = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let start = usize::try_from(offset).map_err(|_| eof())?;
        let end = start.checked_add(buf.len()).ok_or_else(eof)?;
        buf.copy_from_slice(self.get(start..end).ok_or_else(eof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buf, offset)
    }
}

impl ReadAt for Arc<dyn DiskFile> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_ref().read_exact_at(buf, offset)
    }
}

/// What stands at a cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Hole(usize),
    Data(usize),
}

/// The run that starts at offset `pos` of a file, given the bytes from there: at least [`LOOKAHEAD`] of them, or all
/// that the file has. Not empty.
pub(super) fn step(bytes: &[u8], pos: u64) -> Step {
    if pos.is_multiple_of(BLOCK as u64) {
        let blocks = bytes.chunks_exact(BLOCK).take_while(|b| is_zero(b)).count();
        if blocks > 0 {
            return Step::Hole(blocks * BLOCK);
        }
    }
    let cut = cut(&bytes[..bytes.len().min(MAX)]);
    // A hole that starts inside the chunk ends it.
    let mut start = BLOCK - (pos % BLOCK as u64) as usize;
    while start < cut {
        match bytes.get(start..start + BLOCK) {
            Some(block) if is_zero(block) => return Step::Data(start),
            _ => start += BLOCK,
        }
    }
    Step::Data(cut)
}

fn cut(bytes: &[u8]) -> usize {
    let (small, large) = (MASK_SMALL, MASK_LARGE);
    v2020::cut(bytes, MIN, AVG, MAX, small, large, small << 1, large << 1).1
}

/// Looks at a page first: almost every block that isn't zero shows it there.
fn is_zero(block: &[u8]) -> bool {
    block.chunks(4096).all(|page| page.iter().fold(0, |all, byte| all | byte) == 0)
}

/// Sorted, disjoint ranges of a file that are known to be zero without reading.
#[derive(Debug, Default)]
pub(super) struct Zeros(pub Vec<Range<u64>>);

impl Zeros {
    /// How many bytes from `pos` on are known to be zero.
    fn from(&self, pos: u64) -> u64 {
        let i = self.0.partition_point(|r| r.end <= pos);
        self.0.get(i).filter(|r| r.start <= pos).map_or(0, |r| r.end - pos)
    }
}

/// A run of the file being cut; `bytes` is `None` for a hole.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    pub len: u64,
    pub bytes: Option<&'a [u8]>,
}

/// Cuts a file from any cut on, reading it through a bounded buffer. A hole may come in several pieces.
#[derive(Debug)]
pub(super) struct Scanner<'a, R: ReadAt + ?Sized> {
    source: &'a R,
    zeros: &'a Zeros,
    size: u64,
    pos: u64,
    buffer: Vec<u8>,
    /// Of `buffer`: what has been given out, and what has been read.
    used: usize,
    filled: usize,
}

/// Read at least this much at a time: large reads amortize the move of what is left over, and what was read should still be in the
/// CPU's cache when it is cut and named.
const READ: usize = 256 << 10;

impl<'a, R: ReadAt + ?Sized> Scanner<'a, R> {
    /// `ahead`: bytes to read beyond what the next cut needs; 0 where few chunks will be asked for.
    pub fn new(source: &'a R, zeros: &'a Zeros, size: u64, pos: u64, ahead: bool) -> Self {
        let capacity = if ahead { READ + LOOKAHEAD } else { LOOKAHEAD };
        let capacity = capacity.min(usize::try_from(size - pos).unwrap_or(usize::MAX));
        Self { source, zeros, size, pos, buffer: vec![0; capacity], used: 0, filled: 0 }
    }

    pub fn pos(&self) -> u64 {
        self.pos
    }

    /// Goes on at another cut.
    pub fn seek(&mut self, pos: u64) {
        let ahead = pos.wrapping_sub(self.pos);
        if ahead <= (self.filled - self.used) as u64 {
            self.used += ahead as usize;
        } else {
            (self.used, self.filled) = (0, 0);
        }
        self.pos = pos;
    }

    /// The next run, `None` at the end.
    pub fn next(&mut self) -> Result<Option<Piece<'_>>> {
        let offset = self.pos;
        let left = self.size - offset;
        if left == 0 {
            return Ok(None);
        }
        if offset.is_multiple_of(BLOCK as u64) {
            let known = self.zeros.from(offset).min(left);
            let len = known - known % BLOCK as u64;
            if len > 0 {
                self.seek(offset + len);
                return Ok(Some(Piece { len, bytes: None }));
            }
        }
        self.fill(left)?;
        let start = self.used;
        let step = step(&self.buffer[start..self.filled], offset);
        let (Step::Hole(len) | Step::Data(len)) = step;
        self.used += len;
        self.pos += len as u64;
        let bytes = matches!(step, Step::Data(_)).then(|| &self.buffer[start..start + len]);
        Ok(Some(Piece { len: len as u64, bytes }))
    }

    fn fill(&mut self, left: u64) -> Result<()> {
        let have = self.filled - self.used;
        if have as u64 >= left || have >= LOOKAHEAD {
            return Ok(());
        }
        self.buffer.copy_within(self.used..self.filled, 0);
        (self.used, self.filled) = (0, have);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
        let offset = self.pos + have as u64;
        self.source
            .read_exact_at(&mut self.buffer[have..want], offset)
            .map_err(|source| ContentError::Source { offset, source })?;
        self.filled = want;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::content::tests::noise;

    fn steps(bytes: &[u8]) -> Vec<(u64, Step)> {
        let mut pos = 0;
        let mut out = Vec::new();
        while pos < bytes.len() {
            let step = step(&bytes[pos..], pos as u64);
            out.push((pos as u64, step));
            let (Step::Hole(len) | Step::Data(len)) = step;
            pos += len;
        }
        out
    }

    #[test]
    fn cut_points_are_the_format() {
        let lens: Vec<_> = steps(&noise(1, 1 << 20))
            .into_iter()
            .map(|(_, s)| match s {
                Step::Data(n) => n as i64,
                Step::Hole(n) => -(n as i64),
            })
            .collect();
        assert_eq!(lens, GOLDEN);
    }

    const GOLDEN: &[i64] = &[
        28128, 87550, 64925, 67788, 30364, 38273, 50371, 101085, 100168, 79822, 94750, 68129, 37731, 77250,
        65957, 56285,
    ];

    #[test]
    fn masks_are_those_of_the_crate() {
        let masks = v2020::select_masks(AVG, v2020::Normalization::Level1);
        assert_eq!(masks, (MASK_SMALL, MASK_LARGE));
    }

    #[test]
    fn aligned_zero_blocks_are_holes_and_others_are_not() {
        let mut bytes = noise(2, 5 * BLOCK);
        bytes[BLOCK..3 * BLOCK].fill(0);
        let all = steps(&bytes);
        assert!(all.contains(&(BLOCK as u64, Step::Hole(2 * BLOCK))), "{all:?}");
        bytes[BLOCK] = 1;
        bytes[2 * BLOCK + 7] = 1;
        assert!(steps(&bytes).iter().all(|(_, s)| matches!(s, Step::Data(_))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// The bounded buffer and the known zeros change nothing about where the cuts are.
        #[test]
        fn a_scanner_cuts_like_the_whole(
            runs in prop::collection::vec((any::<bool>(), 1usize..400_000), 1..12),
            ahead: bool,
        ) {
            let mut bytes = Vec::new();
            let mut zeros = Zeros::default();
            for (i, (zero, len)) in runs.iter().enumerate() {
                let start = bytes.len() as u64;
                if *zero {
                    bytes.resize(bytes.len() + len, 0);
                    if i % 2 == 0 {
                        zeros.0.push(start..bytes.len() as u64);
                    }
                } else {
                    bytes.extend(noise(i as u64, *len));
                }
            }
            let mut scanner = Scanner::new(&bytes, &zeros, bytes.len() as u64, 0, ahead);
            let mut found: Vec<(u64, Step)> = Vec::new();
            let mut pos = 0;
            while let Some(piece) = scanner.next().expect("a slice") {
                let len = piece.len as usize;
                match (piece.bytes, found.last_mut()) {
                    (None, Some((_, Step::Hole(n)))) => *n += len,
                    (None, _) => found.push((pos as u64, Step::Hole(len))),
                    (Some(b), _) => {
                        prop_assert_eq!(b, &bytes[pos..pos + len]);
                        found.push((pos as u64, Step::Data(len)));
                    }
                }
                pos += len;
            }
            prop_assert_eq!(found, steps(&bytes));
        }
    }
}
