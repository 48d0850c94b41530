//! A file's bytes while they are being written: in memory while small, in a file of the staging directory when not, and
//! over an unchanged base where only part of a large file is rewritten. Knows nothing of keys or commits.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Instant;

use lattice_engine::content::ReadAt;
use lattice_engine::entry::Attrs;
use lattice_engine::store::{Reader, StoreError};

use super::behind::Behind;
use super::ranges::Ranges;

/// Larger than this and the bytes go to a file. Up to here a close chunks and commits them at once (under a
/// millisecond), beyond it logs the file and leaves the chunking to a thread.
pub const MEMORY_MAX: u64 = 1 << 20;
/// Zeros, to write where a hole can't be punched.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A file in the staging directory. Removed when dropped, unless it was handed over.
#[derive(Debug)]
pub struct StagingFile {
    file: Behind,
    path: PathBuf,
    keep: bool,
}

impl StagingFile {
    pub fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Self { file: Behind::new(file), path, keep: false })
    }

    /// One that has no name.
    fn nameless(file: File) -> Self {
        Self { file: Behind::new(file), path: PathBuf::new(), keep: true }
    }

    /// The file, with all that was written.
    pub fn file(&self) -> io::Result<&File> {
        self.file.file()
    }

    /// Its name, which somebody else removes now: all that was written is in it. Every time a new one: what was handed
    /// over before keeps its own.
    pub fn hand_over(&mut self, fresh: PathBuf) -> io::Result<PathBuf> {
        self.file()?;
        if std::mem::replace(&mut self.keep, true) {
            std::fs::hard_link(&self.path, &fresh)?;
            self.path = fresh;
        }
        Ok(self.path.clone())
    }
}

impl Drop for StagingFile {
    fn drop(&mut self) {
        if !self.keep {
            // What stays behind is found and removed when the store opens next.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[derive(Debug)]
pub enum Body {
    /// All of it.
    Memory(Vec<u8>),
    /// All of it, holes included.
    File(StagingFile),
    /// `base` up to `base_len`, zeros after, and over that what `over` holds in `written`.
    /// `whole`: `over` has all of it and others read it there.
    Overlay { base: Reader, base_len: u64, over: StagingFile, written: Ranges, whole: bool },
}

#[derive(Debug)]
pub struct Staged {
    pub body: Body,
    size: u64,
    dirty: bool,
    /// Made empty by `open`, and nothing came after.
    fresh: bool,
    /// Attributes set meanwhile: they go in the same entry.
    pub attrs: Attrs,
    /// When it last changed: left open and quiet for long enough, it is committed.
    pub changed: Instant,
    /// The flusher has it on its list.
    pub listed: bool,
}

/// What reading the base can fail with, beside the staging file.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}
type Result<T> = std::result::Result<T, StageError>;

impl Staged {
    fn with(body: Body, size: u64, dirty: bool) -> Self {
        let (attrs, changed) = (Attrs::default(), Instant::now());
        Self { body, size, dirty, fresh: false, attrs, changed, listed: false }
    }

    /// A new or truncated file.
    pub fn empty() -> Self {
        Self { fresh: true, ..Self::with(Body::Memory(Vec::new()), 0, true) }
    }

    /// An unchanged file about to be written.
    pub fn over(
        base: Reader,
        staging: impl FnOnce() -> std::result::Result<PathBuf, StoreError>,
    ) -> Result<Self> {
        let size = base.size();
        if size <= MEMORY_MAX {
            return Ok(Self::with(Body::Memory(base.read_all()?.into()), size, false));
        }
        let over = StagingFile::create(staging()?)?;
        let written = Ranges::default();
        Ok(Self::with(Body::Overlay { base, base_len: size, over, written, whole: false }, size, false))
    }

    /// An unchanged file about to be written where others read it: `file` has the bytes of `base`.
    pub fn sharing(base: Reader, file: File) -> Self {
        let (base_len, size) = (base.size(), base.size());
        let (over, written) = (StagingFile::nameless(file), Ranges::default());
        Self::with(Body::Overlay { base, base_len, over, written, whole: true }, size, false)
    }

    /// Whether others read what is written here from the same file.
    pub fn is_shared(&self) -> bool {
        matches!(self.body, Body::Overlay { whole: true, .. })
    }

    /// What others read was written by others, too: any of its `size` bytes may differ from the base.
    pub fn all_may_differ(&mut self, size: u64) {
        if let Body::Overlay { written, whole: true, .. } = &mut self.body {
            written.insert(0..size);
            self.size = size;
            self.set_dirty();
        }
    }

    /// Made empty by `open`, without a new body.
    pub fn set_fresh(&mut self) {
        self.fresh = true;
    }

    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes that `stat` counts as taken: holes of a large new file aren't.
    pub fn allocated(&self) -> u64 {
        match &self.body {
            Body::File(f) => f.file.allocated().unwrap_or(self.size),
            Body::Memory(_) | Body::Overlay { .. } => self.size,
        }
    }

    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// New or truncated, and not written since, nor saved.
    pub fn is_fresh(&self) -> bool {
        self.dirty && self.fresh
    }

    /// What differs from the base, where there is one: for storing only that. Everything otherwise, less its holes.
    pub fn changed_ranges(&self) -> io::Result<Vec<Range<u64>>> {
        match &self.body {
            Body::Overlay { base, base_len, written, .. } => {
                let mut ranges = written.clone();
                ranges.insert(*base_len..base.size().min(self.size).max(*base_len));
                Ok(ranges.as_slice().to_vec())
            }
            Body::Memory(_) | Body::File(_) => {
                let (mut ranges, mut at) = (Vec::new(), 0);
                while let Some(range) = self.next_data(at)? {
                    at = range.end;
                    ranges.push(range);
                }
                Ok(ranges)
            }
        }
    }

    /// The same to read from, by who doesn't hold the inode, where only part of a large file is rewritten. Nothing may be
    /// written meanwhile.
    pub fn twin(&self) -> io::Result<Option<Self>> {
        let Body::Overlay { base, base_len, over, written, whole } = &self.body else {
            return Ok(None);
        };
        let over = StagingFile::nameless(over.file()?.try_clone()?);
        let (base, written) = (base.clone(), written.clone());
        let body = Body::Overlay { base, base_len: *base_len, over, written, whole: *whole };
        Ok(Some(Self::with(body, self.size, false)))
    }

    /// Everything in it is committed.
    pub fn set_clean(&mut self) {
        self.dirty = false;
    }

    pub fn set_dirty(&mut self) {
        self.dirty = true;
        self.fresh = false;
        self.changed = Instant::now();
    }

    /// Fills `buf` from `offset`; fewer bytes only at the end.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let len = self.size.saturating_sub(offset).min(buf.len() as u64) as usize;
        let buf = &mut buf[..len];
        match &self.body {
            Body::Memory(bytes) => {
                let start = offset as usize;
                if len > 0 {
                    buf.copy_from_slice(&bytes[start..start + len]);
                }
            }
            Body::File(f) => f.file.read_or_zeros(buf, offset)?,
            // Others may have written it meanwhile.
            Body::Overlay { over, whole: true, .. } => over.file.read_or_zeros(buf, offset)?,
            Body::Overlay { base, base_len, over, written, .. } => {
                let mut done = 0;
                while done < len {
                    let at = offset + done as u64;
                    let (inside, end) = written.run_at(at);
                    let run = (end - at).min((len - done) as u64) as usize;
                    let part = &mut buf[done..done + run];
                    if inside {
                        over.file.read_or_zeros(part, at)?;
                    } else {
                        read_base(base, *base_len, part, at)?;
                    }
                    done += run;
                }
            }
        }
        Ok(len)
    }

    /// Writes all of `data`, growing the file where needed.
    pub fn write_at(
        &mut self,
        data: &[u8],
        offset: u64,
        staging: impl FnOnce() -> std::result::Result<PathBuf, StoreError>,
    ) -> Result<()> {
        let end = offset + data.len() as u64;
        if end > MEMORY_MAX {
            self.spill(staging)?;
        }
        match &mut self.body {
            Body::Memory(bytes) => {
                let (start, end) = (offset as usize, end as usize);
                if start == bytes.len() {
                    bytes.extend_from_slice(data);
                } else {
                    if bytes.len() < end {
                        bytes.resize(end, 0);
                    }
                    bytes[start..end].copy_from_slice(data);
                }
            }
            Body::File(f) => f.file.write_all_at(data, offset)?,
            Body::Overlay { over, written, .. } => {
                over.file()?.write_all_at(data, offset)?;
                written.insert(offset..end);
            }
        }
        self.size = self.size.max(end);
        self.set_dirty();
        Ok(())
    }

    /// Cuts, or grows with zeros.
    pub fn set_len(
        &mut self,
        len: u64,
        staging: impl FnOnce() -> std::result::Result<PathBuf, StoreError>,
    ) -> Result<()> {
        if len > MEMORY_MAX {
            self.spill(staging)?;
        }
        match &mut self.body {
            Body::Memory(bytes) => bytes.resize(len as usize, 0),
            Body::File(f) => f.file.set_len(len)?,
            Body::Overlay { base_len, over, written, .. } => {
                *base_len = (*base_len).min(len);
                written.truncate(len);
                over.file.set_len(len)?;
            }
        }
        self.size = len;
        self.set_dirty();
        Ok(())
    }

    /// Zeros in a range, within the file's size.
    pub fn zero(&mut self, range: Range<u64>) -> Result<()> {
        let range = range.start.min(self.size)..range.end.min(self.size);
        if range.is_empty() {
            return Ok(());
        }
        match &mut self.body {
            Body::Memory(bytes) => bytes[range.start as usize..range.end as usize].fill(0),
            Body::File(f) => zero_in(f.file()?, range)?,
            Body::Overlay { over, written, .. } => {
                zero_in(over.file()?, range.clone())?;
                // A range of the overlay that is a hole there still hides the base.
                written.insert(range);
            }
        }
        self.set_dirty();
        Ok(())
    }

    /// Data ranges that may hold other than zeros, sorted, for `SEEK_HOLE` and `SEEK_DATA`.
    pub fn next_data(&self, at: u64) -> io::Result<Option<Range<u64>>> {
        match &self.body {
            Body::File(f) => {
                use rustix::fs::{SeekFrom, seek};
                let Ok(file) = f.file() else {
                    // A full disk has refused some of it, which can be read all the same.
                    return Ok((at < self.size).then_some(at..self.size));
                };
                match seek(file, SeekFrom::Data(at)) {
                    Ok(start) if start < self.size => {
                        let end = seek(file, SeekFrom::Hole(start))?;
                        Ok(Some(start..end.min(self.size)))
                    }
                    Ok(_) | Err(rustix::io::Errno::NXIO) => Ok(None),
                    Err(e) => Err(e.into()),
                }
            }
            Body::Memory(_) | Body::Overlay { .. } => Ok((at < self.size).then_some(at..self.size)),
        }
    }

    /// Moves what is in memory to a file.
    pub fn spill(
        &mut self,
        staging: impl FnOnce() -> std::result::Result<PathBuf, StoreError>,
    ) -> Result<()> {
        if let Body::Memory(bytes) = &self.body {
            let file = StagingFile::create(staging()?)?;
            file.file()?.write_all_at(bytes, 0)?;
            self.body = Body::File(file);
        }
        Ok(())
    }
}

impl ReadAt for Staged {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match self.read_at(buf, offset) {
            Ok(n) if n == buf.len() => Ok(()),
            Ok(_) => Err(io::ErrorKind::UnexpectedEof.into()),
            Err(StageError::Io(e)) => Err(e),
            Err(StageError::Store(e)) => Err(io::Error::other(e)),
        }
    }
}

fn read_base(base: &Reader, base_len: u64, buf: &mut [u8], at: u64) -> Result<()> {
    let from_base = base_len.saturating_sub(at).min(buf.len() as u64) as usize;
    let (data, zeros) = buf.split_at_mut(from_base);
    let mut done = 0;
    while done < data.len() {
        let n = base.read_at(&mut data[done..], at + done as u64)?;
        if n == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        done += n;
    }
    zeros.fill(0);
    Ok(())
}

fn zero_in(file: &File, range: Range<u64>) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match fallocate(file, punch, range.start, range.end - range.start) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            let mut at = range.start;
            while at < range.end {
                let n = (range.end - at).min(ZEROS.len() as u64);
                file.write_all_at(&ZEROS[..n as usize], at)?;
                at += n;
            }
            Ok(())
        }
        Err(e) => Err(e.into()),
    }
}
