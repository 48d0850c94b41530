//! A [`Disk`] in memory that records what is done to it and builds from the record what a crash may leave.
//!
//! The contract that it enforces is the weakest one that a file system offers. After a power loss:
//! - what was written before a successful `sync_data` of its file is there, the length included;
//! - each later write, `set_len` or punch may be there, be missing, be torn (some first sectors of 512 bytes), or have
//!   left only its length with zeros or garbage, each independently of the others, so a later one may survive an
//!   earlier one;
//! - a creation, rename or removal before `sync_dir` of its directory is there; later ones may each be missing. A rename
//!   is whole or missing.
//! - a write that a failed sync covered is never again promised, whatever syncs succeed after.
//!
//! After a kill of the process everything that was written is there. Directories themselves are always durable.
//! Failures (a full disk, EIO, flipped bits) are injected by calls. Everything follows from `u64` seeds.

mod image;
mod rng;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::io::Errno;

pub use rng::Rng;
use tree::{Inode, Op, Tree};

use super::{Disk, DiskFile, Open};

/// Allocation is counted in blocks of this many bytes.
const BLOCK: usize = 4096;

#[derive(Debug, Default)]
struct State {
    /// As it was at first.
    base: Tree,
    /// As it is: what the process sees.
    now: Tree,
    ops: Vec<Op>,
    /// Bytes by which files may still grow.
    space: Option<u64>,
    fail_syncs: u32,
    bad_reads: Vec<(Inode, Range<u64>)>,
    bad_writes: BTreeSet<Inode>,
}

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

impl SimDisk {
    /// An empty disk with the directory `/`.
    pub fn new() -> Self {
        Self::default()
    }

    fn of(base: Tree) -> Self {
        let state = State { now: base.clone(), base, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// How many operations were recorded: a point in time for [`Self::crash_image`].
    pub fn ops(&self) -> usize {
        self.state.lock().ops.len()
    }

    /// A disk as a power loss after the first `at` operations may leave it. The same seed gives the same image.
    pub fn crash_image(&self, at: usize, seed: u64) -> Self {
        let state = self.state.lock();
        Self::of(image::crash(&state.base, &state.ops[..at.min(state.ops.len())], &mut Rng::new(seed)))
    }

    /// For each point in time, from before the first operation to after the last: `variants` images of a power loss.
    pub fn crash_images(&self, variants: usize, seed: u64) -> impl Iterator<Item = (usize, Self)> {
        let mut seeds = Rng::new(seed);
        let disk = self.clone();
        (0..=self.ops())
            .flat_map(move |at| std::iter::repeat_n(at, variants))
            .map(move |at| (at, disk.crash_image(at, seeds.next_u64())))
    }

    /// A disk as a kill of the process after the first `at` operations leaves it: all that was written is there.
    pub fn kill_image(&self, at: usize) -> Self {
        let state = self.state.lock();
        Self::of(image::kill(&state.base, &state.ops[..at.min(state.ops.len())]))
    }

    /// From now on files may grow by so many bytes in all; a write beyond is short and fails with ENOSPC. What shrinks
    /// gives room back. `None` lifts the limit.
    pub fn set_space(&self, bytes: Option<u64>) {
        self.state.lock().space = bytes;
    }

    /// The next `count` calls of `sync_data` or `sync_dir` fail with EIO.
    pub fn fail_syncs(&self, count: u32) {
        self.state.lock().fail_syncs = count;
    }

    /// Reads that touch the range fail with EIO.
    pub fn fail_reads(&self, path: &Path, range: Range<u64>) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.now.inode(path)?;
        state.bad_reads.push((inode, range));
        Ok(())
    }

    /// Writes to a file, and changes of its length, fail with EIO from now on; or they work again.
    pub fn fail_writes(&self, path: &Path, fail: bool) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.now.inode(path)?;
        if fail {
            state.bad_writes.insert(inode)
        } else {
            state.bad_writes.remove(&inode)
        };
        Ok(())
    }

    /// Turns bits of one byte over, on the disk itself: every later image has them so.
    pub fn flip(&self, path: &Path, offset: u64, mask: u8) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.now.inode(path)?;
        state.record(Op::Flip { inode, offset, mask });
        Ok(())
    }

    /// All files and what is in them.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let now = &self.state.lock().now;
        now.names.iter().map(|(path, inode)| (path.clone(), now.files[*inode].clone())).collect()
    }
}

impl State {
    fn record(&mut self, op: Op) {
        self.now.apply(&op);
        self.ops.push(op);
    }

    fn len(&self, inode: Inode) -> u64 {
        self.now.files[inode].len() as u64
    }

    /// Takes the room to grow from `len` to `want`; returns the length that there is room for.
    fn grow(&mut self, len: u64, want: u64) -> u64 {
        let Some(space) = &mut self.space else {
            return want;
        };
        let grown = want.saturating_sub(len).min(*space);
        *space -= grown;
        if want > len { len + grown } else { want }
    }

    fn give_back(&mut self, bytes: u64) {
        if let Some(space) = &mut self.space {
            *space += bytes;
        }
    }

    fn sync_fails(&mut self) -> bool {
        let fails = self.fail_syncs > 0;
        self.fail_syncs = self.fail_syncs.saturating_sub(1);
        fails
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state.lock();
        let inode = match (state.now.inode(path), how) {
            (Ok(_), Open::CreateNew) => return Err(Errno::EXIST.into()),
            (Ok(inode), _) => inode,
            (Err(e), Open::Read | Open::Write) => return Err(e),
            (Err(_), Open::Create | Open::CreateNew) => {
                state.now.require_dir(path.parent())?;
                let inode = state.now.files.len();
                state.now.files.push(Vec::new());
                state.record(Op::Create { path: path.to_path_buf(), inode });
                inode
            }
        };
        Ok(Arc::new(SimFile { disk: self.clone(), inode, writable: how != Open::Read }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let now = &self.state.lock().now;
        now.require_dir(Some(dir))?;
        let all = now.names.keys().chain(&now.dirs).filter(|p| p.parent() == Some(dir));
        let names: BTreeSet<PathBuf> = all.filter_map(|p| p.file_name()).map(PathBuf::from).collect();
        Ok(names.into_iter().collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        if dir.ancestors().any(|d| state.now.names.contains_key(d)) {
            return Err(Errno::NOTDIR.into());
        }
        for dir in dir.ancestors() {
            state.now.dirs.insert(dir.to_path_buf());
            state.base.dirs.insert(dir.to_path_buf());
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.now.inode(from)?;
        state.now.require_dir(to.parent())?;
        if state.now.has_dir(to) {
            return Err(Errno::ISDIR.into());
        }
        state.record(Op::Rename { from: from.to_path_buf(), to: to.to_path_buf(), inode });
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.now.inode(from)?;
        state.now.require_dir(to.parent())?;
        if state.now.names.contains_key(to) || state.now.has_dir(to) {
            return Err(Errno::EXIST.into());
        }
        state.record(Op::Link { path: to.to_path_buf(), inode });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        let inode = state.now.inode(path)?;
        if state.now.names.values().filter(|i| **i == inode).count() == 1 {
            let freed = state.len(inode);
            state.give_back(freed);
        }
        state.record(Op::Remove { path: path.to_path_buf() });
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.now.require_dir(Some(dir))?;
        if state.sync_fails() {
            return Err(Errno::IO.into());
        }
        state.record(Op::SyncDir { dir: dir.to_path_buf() });
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        let now = &self.state.lock().now;
        now.names.contains_key(path) || now.has_dir(path)
    }
}

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    inode: Inode,
    writable: bool,
}

impl SimFile {
    fn require_writable(&self) -> io::Result<()> {
        if !self.writable {
            return Err(Errno::BADF.into());
        }
        let bad = self.disk.state.lock().bad_writes.contains(&self.inode);
        if bad { Err(Errno::IO.into()) } else { Ok(()) }
    }
}

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.state.lock().len(self.inode))
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        // As on a real disk: nothing is read, wherever that is.
        if buf.is_empty() {
            return Ok(());
        }
        let state = self.disk.state.lock();
        let range = offset..offset.saturating_add(buf.len() as u64);
        if state
            .bad_reads
            .iter()
            .any(|(i, bad)| *i == self.inode && bad.start < range.end && range.start < bad.end)
        {
            return Err(Errno::IO.into());
        }
        let file = &state.now.files[self.inode];
        match file.get(range.start as usize..range.end as usize) {
            Some(bytes) => buf.copy_from_slice(bytes),
            None => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        Ok(())
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.require_writable()?;
        let mut state = self.disk.state.lock();
        let (len, end) = (state.len(self.inode), offset.saturating_add(buf.len() as u64));
        let room = state.grow(len, end);
        let fits = &buf[..(room.saturating_sub(offset) as usize).min(buf.len())];
        if !fits.is_empty() {
            state.record(Op::Write { inode: self.inode, offset, data: fits.into() });
        }
        if fits.len() < buf.len() { Err(Errno::NOSPC.into()) } else { Ok(()) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.require_writable()?;
        let mut state = self.disk.state.lock();
        let old = state.len(self.inode);
        // Growing leaves a hole, which takes no room.
        state.give_back(old.saturating_sub(len));
        state.record(Op::SetLen { inode: self.inode, len });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        if state.sync_fails() {
            state.record(Op::SyncFailed { inode: self.inode });
            return Err(Errno::IO.into());
        }
        state.record(Op::Sync { inode: self.inode });
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.require_writable()?;
        self.disk.state.lock().record(Op::Punch { inode: self.inode, offset, len });
        Ok(())
    }

    /// Blocks of 4 KiB that aren't all zeros.
    fn allocated(&self) -> io::Result<u64> {
        let state = self.disk.state.lock();
        let blocks = state.now.files[self.inode].chunks(BLOCK).filter(|b| b.iter().any(|x| *x != 0));
        Ok((blocks.count() * BLOCK) as u64)
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}
