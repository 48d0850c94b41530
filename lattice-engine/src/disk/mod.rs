//! The one door to the disk for everything whose loss would matter: log, packs and redb's file go through [`Disk`],
//! so that a test can record, reorder and tear what was written ([`crate::disk::sim`]) and replay every crash.
//!
//! Paths are absolute or relative to the process; directories must exist. Nothing here retries: a failed `sync` is
//! final for the handle's owner, because the kernel may have dropped the dirty pages it could not write.

use std::fmt::Debug;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod real;
mod scratch;
pub mod sim;

pub use real::RealDisk;
pub use scratch::ScratchDisk;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Must exist; no writing.
    Read,
    /// Must exist.
    Write,
    /// Made if missing (mode 0600).
    Create,
    /// Must not exist.
    CreateNew,
}

/// A directory tree. Cheap to clone behind its `Arc`.
pub trait Disk: Send + Sync + Debug {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    /// Names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Replaces `to`. Durable only after `sync_dir`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives the file at `from` a second name, which must be free. Durable only after `sync_dir`.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    fn exists(&self, path: &Path) -> bool;
}

/// Writes a whole small file in place of what is there: after a crash it is the old one or the new one, with all its bytes.
/// Durable when it returns.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temp = path.with_extension("new");
    let file = disk.open(&temp, Open::Create)?;
    file.set_len(0)?;
    file.write_all_at(bytes, 0)?;
    file.sync_data()?;
    disk.rename(&temp, path)?;
    disk.sync_dir(path.parent().unwrap_or(Path::new(".")))
}

/// An open file; every call may come from any thread.
pub trait DiskFile: Send + Sync + Debug {
    fn len(&self) -> io::Result<u64>;
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `buf` or fails with `UnexpectedEof`.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `buf`, growing the file where needed.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Writes all of several pieces behind one another, as [`DiskFile::write_all_at`] does one.
    fn write_pieces_at(&self, pieces: &[&[u8]], offset: u64) -> io::Result<()> {
        self.write_all_at(&pieces.concat(), offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// `fdatasync`: data and what is needed to read it back, on disk when it returns.
    fn sync_data(&self) -> io::Result<()>;
    /// Frees a range; it reads as zeros after. A no-op where the file system can't.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Bytes really allocated.
    fn allocated(&self) -> io::Result<u64>;
    /// The descriptor, where there is one: for passthrough and `copy_file_range`.
    fn fd(&self) -> Option<BorrowedFd<'_>>;
}
