//! A file's changed blocks over what the base has of it.

use std::collections::BTreeMap;
use std::io;

use rustix::io::Errno;

use crate::disk::DiskFile;

pub(super) const BLOCK: u64 = 4096;

/// The bytes of a file: those of the changed blocks, below `shown` those of the base, and zeros.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    len: u64,
    /// How much of the base still shows; at most `len`. A cut hides what was behind it for good.
    shown: u64,
    /// By number; `None`: all zeros. Bytes behind `len` are zeros.
    changed: BTreeMap<u64, Option<Box<[u8]>>>,
}

type Base<'a> = Option<&'a dyn DiskFile>;

impl Blocks {
    /// Nothing changed yet, over a base of `len` bytes.
    pub fn over(len: u64) -> Self {
        Self { len, shown: len, changed: BTreeMap::new() }
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// Bytes in memory.
    pub fn memory(&self) -> u64 {
        self.changed.values().flatten().count() as u64 * BLOCK
    }

    /// Fills `buf` or fails with `UnexpectedEof`.
    pub fn read(&self, base: Base<'_>, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.fill(base, buf, offset)
    }

    /// As `read`, with zeros behind the end.
    fn fill(&self, base: Base<'_>, mut buf: &mut [u8], mut at: u64) -> io::Result<()> {
        while !buf.is_empty() {
            let next = self.changed.range(at / BLOCK..).next();
            let left = buf.len() as u64;
            let (from, to) = next.map_or((u64::MAX, u64::MAX), |(n, _)| (n * BLOCK, n * BLOCK + BLOCK));
            let changed = from <= at;
            let len = left.min(if changed { to } else { from } - at) as usize;
            let (part, rest) = buf.split_at_mut(len);
            match next {
                Some((_, Some(bytes))) if changed => {
                    let start = (at - from) as usize;
                    part.copy_from_slice(&bytes[start..start + len]);
                }
                Some((_, None)) if changed => part.fill(0),
                _ => self.fill_from_base(base, part, at)?,
            }
            (buf, at) = (rest, at + len as u64);
        }
        Ok(())
    }

    fn fill_from_base(&self, base: Base<'_>, part: &mut [u8], at: u64) -> io::Result<()> {
        let shown = self.shown.saturating_sub(at).min(part.len() as u64) as usize;
        let (part, behind) = part.split_at_mut(shown);
        behind.fill(0);
        match base {
            Some(base) if shown > 0 => base.read_exact_at(part, at),
            _ => Ok(()),
        }
    }

    pub fn write(&mut self, base: Base<'_>, mut buf: &[u8], offset: u64) -> io::Result<()> {
        if buf.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(buf.len() as u64).filter(|end| i64::try_from(*end).is_ok());
        let end = end.ok_or(Errno::FBIG)?;
        let mut at = offset;
        while !buf.is_empty() {
            let start = (at % BLOCK) as usize;
            let (part, rest) = buf.split_at(buf.len().min(BLOCK as usize - start));
            let block = self.block(base, at / BLOCK, part.len() < BLOCK as usize)?;
            block[start..start + part.len()].copy_from_slice(part);
            (buf, at) = (rest, at + part.len() as u64);
        }
        self.len = self.len.max(end);
        Ok(())
    }

    /// A block to write to; `keep`: with what it holds.
    fn block(&mut self, base: Base<'_>, number: u64, keep: bool) -> io::Result<&mut [u8]> {
        if !matches!(self.changed.get(&number), Some(Some(_))) {
            let mut bytes = vec![0; BLOCK as usize].into_boxed_slice();
            if keep {
                self.fill(base, &mut bytes, number * BLOCK)?;
            }
            self.changed.insert(number, Some(bytes));
        }
        // Just put there where it wasn't.
        Ok(self.changed.entry(number).or_default().get_or_insert_default())
    }

    pub fn set_len(&mut self, len: u64) {
        self.shown = self.shown.min(len);
        if len < self.len {
            drop(self.changed.split_off(&len.div_ceil(BLOCK)));
            if let Some(Some(last)) = self.changed.get_mut(&(len / BLOCK)) {
                last[(len % BLOCK) as usize..].fill(0);
            }
        }
        self.len = len;
    }

    /// Zeros in place of a range; what is behind the end stays so.
    pub fn punch(&mut self, base: Base<'_>, offset: u64, len: u64) -> io::Result<()> {
        let end = offset.saturating_add(len).min(self.len);
        let mut at = offset;
        while at < end {
            let number = at / BLOCK;
            let to = end.min((number + 1) * BLOCK);
            if to - at == BLOCK {
                self.changed.insert(number, None);
            } else {
                let start = (at % BLOCK) as usize;
                self.block(base, number, true)?[start..start + (to - at) as usize].fill(0);
            }
            at = to;
        }
        Ok(())
    }
}
