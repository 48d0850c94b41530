//! A [`Disk`] over another one that is only read: what is changed stays in memory, and is gone with it. So a data
//! directory on a read-only file system is opened by the code that opens any other, which cuts torn tails, replays and
//! repairs on the way.
//!
//! Memory: the blocks of 4 KiB that were written, and a few words for each file that was opened. [`ScratchDisk::seal`]
//! bounds it: from then on every change fails with `EROFS`. Refuses to open, rename or remove directories.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock};
use rustix::io::Errno;

use super::{Disk, DiskFile, Open};

mod blocks;

use blocks::Blocks;

/// Cheap to clone; clones share what was changed. Paths are told apart as they are written.
#[derive(Debug, Clone)]
pub struct ScratchDisk(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    base: Arc<dyn Disk>,
    sealed: AtomicBool,
    names: Mutex<Names>,
}

/// What differs from the base, and every file that was opened.
#[derive(Debug, Default)]
struct Names {
    /// `None`: in the base, and removed here.
    files: BTreeMap<PathBuf, Option<Arc<Inode>>>,
    /// Made here.
    dirs: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Inode {
    /// Where the base has it; `None`: made here.
    base: Option<PathBuf>,
    /// `None`: as the base has it.
    changed: RwLock<Option<Blocks>>,
}

impl Inode {
    fn new(base: Option<PathBuf>) -> Arc<Self> {
        let changed = base.is_none().then(Blocks::default);
        Arc::new(Self { base, changed: RwLock::new(changed) })
    }
}

impl ScratchDisk {
    pub fn new(base: Arc<dyn Disk>) -> Self {
        Self(Arc::new(Inner { base, sealed: AtomicBool::new(false), names: Mutex::default() }))
    }

    /// No more changes: they fail with `EROFS`. What was changed so far stays readable.
    pub fn seal(&self) {
        self.0.sealed.store(true, Ordering::Release);
    }

    /// Bytes held in memory for what was changed.
    pub fn memory(&self) -> u64 {
        let names = self.0.names.lock();
        let files = names.files.values().flatten();
        files.map(|inode| inode.changed.read().as_ref().map_or(0, Blocks::memory)).sum()
    }
}

impl Inner {
    fn changeable(&self) -> io::Result<()> {
        if self.sealed.load(Ordering::Acquire) { Err(Errno::ROFS.into()) } else { Ok(()) }
    }

    fn base_has_dir(&self, dir: &Path) -> bool {
        // Only a directory can be listed.
        self.base.exists(dir) && self.base.list(dir).is_ok()
    }

    fn has_dir(&self, names: &Names, dir: &Path) -> bool {
        names.dirs.contains(dir) || self.base_has_dir(dir)
    }

    fn require_parent(&self, names: &Names, path: &Path) -> io::Result<()> {
        let parent = path.parent().unwrap_or(Path::new(""));
        // A relative name of one part lies in the current directory.
        if parent == Path::new("") || self.has_dir(names, parent) { Ok(()) } else { Err(Errno::NOENT.into()) }
    }

    /// The file of that name.
    fn find(&self, names: &mut Names, path: &Path) -> io::Result<Arc<Inode>> {
        if let Some(known) = names.files.get(path) {
            return known.clone().ok_or_else(|| Errno::NOENT.into());
        }
        if self.has_dir(names, path) {
            return Err(Errno::ISDIR.into());
        }
        if !self.base.exists(path) {
            return Err(Errno::NOENT.into());
        }
        let inode = Inode::new(Some(path.to_path_buf()));
        names.files.insert(path.to_path_buf(), Some(inode.clone()));
        Ok(inode)
    }

    fn forget(&self, names: &mut Names, path: &Path) {
        if self.base.exists(path) {
            names.files.insert(path.to_path_buf(), None);
        } else {
            names.files.remove(path);
        }
    }
}

impl Disk for ScratchDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let disk = &self.0;
        let mut names = disk.names.lock();
        let inode = match (disk.find(&mut names, path), how) {
            (Ok(_), Open::CreateNew) => return Err(Errno::EXIST.into()),
            (Ok(inode), _) => inode,
            (Err(e), Open::Create | Open::CreateNew) if e.kind() == io::ErrorKind::NotFound => {
                disk.require_parent(&names, path)?;
                disk.changeable()?;
                let inode = Inode::new(None);
                names.files.insert(path.to_path_buf(), Some(inode.clone()));
                inode
            }
            (Err(_), Open::CreateNew) => return Err(Errno::EXIST.into()),
            (Err(e), _) => return Err(e),
        };
        drop(names);
        let base = inode.base.as_ref().map(|at| disk.base.open(at, Open::Read)).transpose()?;
        let writable = how != Open::Read;
        Ok(Arc::new(ScratchFile { disk: disk.clone(), inode, base, writable }))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        let names = self.0.names.lock();
        let mut found: BTreeSet<PathBuf> = match self.0.base.list(dir) {
            Ok(found) => found.into_iter().collect(),
            Err(_) if names.dirs.contains(dir) => BTreeSet::new(),
            Err(e) => return Err(e),
        };
        let within = |path: &&PathBuf| path.parent() == Some(dir);
        let made = names.dirs.iter().filter(within);
        found.extend(made.filter_map(|d| d.file_name()).map(PathBuf::from));
        for (path, inode) in names.files.iter().filter(|(path, _)| within(path)) {
            let Some(name) = path.file_name().map(PathBuf::from) else { continue };
            match inode {
                Some(_) => found.insert(name),
                None => found.remove(&name),
            };
        }
        Ok(found.into_iter().collect())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut names = self.0.names.lock();
        let parts = dir.ancestors().filter(|d| *d != Path::new(""));
        let missing: Vec<_> = parts.take_while(|d| !self.0.has_dir(&names, d)).collect();
        for part in &missing {
            match self.0.find(&mut names, part) {
                Ok(_) => return Err(Errno::NOTDIR.into()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        if !missing.is_empty() {
            self.0.changeable()?;
        }
        names.dirs.extend(missing.into_iter().map(Path::to_path_buf));
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let disk = &self.0;
        let mut names = disk.names.lock();
        let inode = disk.find(&mut names, from)?;
        disk.require_parent(&names, to)?;
        if disk.has_dir(&names, to) {
            return Err(Errno::ISDIR.into());
        }
        disk.changeable()?;
        disk.forget(&mut names, from);
        names.files.insert(to.to_path_buf(), Some(inode));
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let disk = &self.0;
        let mut names = disk.names.lock();
        let inode = disk.find(&mut names, from)?;
        disk.require_parent(&names, to)?;
        if disk.has_dir(&names, to) || disk.find(&mut names, to).is_ok() {
            return Err(Errno::EXIST.into());
        }
        disk.changeable()?;
        names.files.insert(to.to_path_buf(), Some(inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut names = self.0.names.lock();
        self.0.find(&mut names, path)?;
        self.0.changeable()?;
        self.0.forget(&mut names, path);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        if self.0.has_dir(&self.0.names.lock(), dir) { Ok(()) } else { Err(Errno::NOENT.into()) }
    }

    fn exists(&self, path: &Path) -> bool {
        let names = self.0.names.lock();
        match names.files.get(path) {
            Some(known) => known.is_some(),
            None => names.dirs.contains(path) || self.0.base.exists(path),
        }
    }
}

#[derive(Debug)]
struct ScratchFile {
    disk: Arc<Inner>,
    inode: Arc<Inode>,
    base: Option<Arc<dyn DiskFile>>,
    writable: bool,
}

impl ScratchFile {
    fn change(
        &self,
        change: impl FnOnce(&mut Blocks, Option<&dyn DiskFile>) -> io::Result<()>,
    ) -> io::Result<()> {
        if !self.writable {
            return Err(Errno::BADF.into());
        }
        self.disk.changeable()?;
        let mut changed = self.inode.changed.write();
        let blocks = match &mut *changed {
            Some(blocks) => blocks,
            None => changed.insert(Blocks::over(self.base_len()?)),
        };
        change(blocks, self.base.as_deref())
    }

    fn base_len(&self) -> io::Result<u64> {
        self.base.as_ref().map_or(Ok(0), |base| base.len())
    }
}

impl DiskFile for ScratchFile {
    fn len(&self) -> io::Result<u64> {
        match &*self.inode.changed.read() {
            Some(blocks) => Ok(blocks.len()),
            None => self.base_len(),
        }
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        match (&*self.inode.changed.read(), &self.base) {
            (Some(blocks), base) => blocks.read(base.as_deref(), buf, offset),
            (None, Some(base)) => base.read_exact_at(buf, offset),
            // INVARIANT: `Inode::new` marks what has no base as changed.
            (None, None) => unreachable!("a file made in memory has blocks"),
        }
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.change(|blocks, base| blocks.write(base, buf, offset))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|blocks, _| {
            blocks.set_len(len);
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.change(|blocks, base| blocks.punch(base, offset, len))
    }

    /// On the disk below: what is in memory takes no room there.
    fn allocated(&self) -> io::Result<u64> {
        self.base.as_ref().map_or(Ok(0), |base| base.allocated())
    }

    /// Only while the file is as the base has it.
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        let base = self.base.as_ref().filter(|_| self.inode.changed.read().is_none());
        base.and_then(|base| base.fd())
    }
}

#[cfg(test)]
mod tests;
