//! The in-memory inodes behind the floor: what a filesystem does when storing costs nothing.
//! Refuses what POSIX refuses and the kernel doesn't check itself (names too long, directories
//! that aren't empty); keeps an unlinked inode while the kernel knows it or holds it open.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use fuser::{Errno, FileAttr, FileType, INodeNo, RenameFlags};

use super::data::Data;

/// Longest name, in bytes.
const NAME_MAX: usize = 255;

/// What an inode is, and holds.
#[derive(Debug)]
pub enum Body {
    File(Data),
    Dir(Dir),
    Symlink(PathBuf),
    /// FIFO or socket: the kernel does the rest.
    Special(FileType),
}

/// A directory: entries by name, and by a cookie that never changes while the entry lives.
#[derive(Debug, Default)]
pub struct Dir {
    by_name: HashMap<OsString, u64>,
    by_cookie: BTreeMap<u64, (OsString, u64)>,
    next: u64,
    pub parent: u64,
}

impl Dir {
    pub fn get(&self, name: &OsStr) -> Option<u64> {
        let cookie = self.by_name.get(name)?;
        self.by_cookie.get(cookie).map(|(_, ino)| *ino)
    }

    /// Entries after `cookie`, as (cookie, name, inode).
    pub fn after(&self, cookie: u64) -> impl Iterator<Item = (u64, &OsStr, u64)> {
        self.by_cookie.range(cookie + 1..).map(|(c, (name, ino))| (*c, name.as_os_str(), *ino))
    }

    fn set(&mut self, name: &OsStr, ino: u64) {
        if let Some(cookie) = self.by_name.get(name)
            && let Some(entry) = self.by_cookie.get_mut(cookie)
        {
            entry.1 = ino;
            return;
        }
        // 1 and 2 are "." and "..".
        let cookie = self.next + 3;
        self.next += 1;
        self.by_name.insert(name.to_owned(), cookie);
        self.by_cookie.insert(cookie, (name.to_owned(), ino));
    }

    fn remove(&mut self, name: &OsStr) {
        if let Some(cookie) = self.by_name.remove(name) {
            self.by_cookie.remove(&cookie);
        }
    }

    fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }
}

/// One inode.
#[derive(Debug)]
pub struct Inode {
    pub body: Body,
    /// Permission bits with suid, sgid and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub atime: SystemTime,
    pub mtime: SystemTime,
    pub ctime: SystemTime,
    pub xattrs: BTreeMap<OsString, Vec<u8>>,
    lookups: AtomicU64,
    opens: AtomicU64,
}

impl Inode {
    fn new(body: Body, mode: u32, uid: u32, gid: u32) -> Self {
        let now = SystemTime::now();
        let nlink = if matches!(body, Body::Dir(_)) { 2 } else { 1 };
        Self {
            body,
            mode,
            uid,
            gid,
            nlink,
            atime: now,
            mtime: now,
            ctime: now,
            xattrs: BTreeMap::new(),
            lookups: AtomicU64::new(0),
            opens: AtomicU64::new(0),
        }
    }

    pub fn kind(&self) -> FileType {
        match &self.body {
            Body::File(_) => FileType::RegularFile,
            Body::Dir(_) => FileType::Directory,
            Body::Symlink(_) => FileType::Symlink,
            Body::Special(kind) => *kind,
        }
    }

    pub fn attr(&self, ino: u64) -> FileAttr {
        let (size, allocated) = match &self.body {
            Body::File(data) => (data.len(), data.allocated()),
            Body::Dir(_) => (4096, 4096),
            Body::Symlink(target) => (target.as_os_str().len() as u64, 0),
            Body::Special(_) => (0, 0),
        };
        FileAttr {
            ino: INodeNo(ino),
            size,
            blocks: allocated.div_ceil(512),
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            crtime: SystemTime::UNIX_EPOCH,
            kind: self.kind(),
            perm: self.mode as u16,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }

    /// The kernel was told of this inode once more.
    pub fn looked_up(&self) {
        self.lookups.fetch_add(1, Ordering::Relaxed);
    }

    pub fn opened(&self) {
        self.opens.fetch_add(1, Ordering::Relaxed);
    }

    /// suid and sgid go when the content or the owner changes.
    pub fn kill_privileges(&mut self) {
        self.mode &= !0o4000;
        if self.mode & 0o010 != 0 {
            self.mode &= !0o2000;
        }
    }

    /// Content changed now.
    pub fn modified(&mut self) {
        let now = SystemTime::now();
        self.mtime = now;
        self.ctime = now;
    }
}

/// All inodes, by number. Numbers are never used twice.
#[derive(Debug)]
pub struct Tree {
    inodes: HashMap<u64, Inode>,
    next: u64,
}

type Result<T> = std::result::Result<T, Errno>;

impl Tree {
    /// An empty root that belongs to `uid` and `gid`.
    pub fn new(uid: u32, gid: u32) -> Self {
        let root = Inode::new(Body::Dir(Dir { parent: 1, ..Dir::default() }), 0o755, uid, gid);
        Self { inodes: HashMap::from([(1, root)]), next: 2 }
    }

    pub fn get(&self, ino: u64) -> Result<&Inode> {
        self.inodes.get(&ino).ok_or(Errno::ESTALE)
    }

    pub fn get_mut(&mut self, ino: u64) -> Result<&mut Inode> {
        self.inodes.get_mut(&ino).ok_or(Errno::ESTALE)
    }

    pub fn dir(&self, ino: u64) -> Result<&Dir> {
        match &self.get(ino)?.body {
            Body::Dir(dir) => Ok(dir),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn dir_mut(&mut self, ino: u64) -> Result<&mut Dir> {
        match &mut self.get_mut(ino)?.body {
            Body::Dir(dir) => Ok(dir),
            _ => Err(Errno::ENOTDIR),
        }
    }

    pub fn lookup(&self, parent: u64, name: &OsStr) -> Result<u64> {
        check_name(name)?;
        self.dir(parent)?.get(name).ok_or(Errno::ENOENT)
    }

    /// Adds a new inode. The group follows a sgid parent, as does a directory's own sgid bit.
    pub fn add(
        &mut self,
        parent: u64,
        name: &OsStr,
        body: Body,
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> Result<(u64, &Inode)> {
        check_name(name)?;
        if self.dir(parent)?.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let above = self.get(parent)?;
        if above.nlink == 0 {
            return Err(Errno::ENOENT);
        }
        let is_dir = matches!(body, Body::Dir(_));
        let (mut mode, mut gid) = (mode & 0o7777, gid);
        if above.mode & 0o2000 != 0 {
            gid = above.gid;
            if is_dir {
                mode |= 0o2000;
            }
        }
        let ino = self.next;
        self.next += 1;
        self.inodes.insert(ino, Inode::new(body, mode, uid, gid));
        if is_dir {
            self.dir_mut(ino)?.parent = parent;
            self.get_mut(parent)?.nlink += 1;
        }
        self.dir_mut(parent)?.set(name, ino);
        self.get_mut(parent)?.modified();
        Ok((ino, self.get(ino)?))
    }

    pub fn unlink(&mut self, parent: u64, name: &OsStr) -> Result<()> {
        let ino = self.lookup(parent, name)?;
        if matches!(self.get(ino)?.body, Body::Dir(_)) {
            return Err(Errno::EISDIR);
        }
        self.detach(parent, name, ino)
    }

    pub fn rmdir(&mut self, parent: u64, name: &OsStr) -> Result<()> {
        let ino = self.lookup(parent, name)?;
        if !self.dir(ino)?.is_empty() {
            return Err(Errno::ENOTEMPTY);
        }
        self.detach(parent, name, ino)
    }

    fn detach(&mut self, parent: u64, name: &OsStr, ino: u64) -> Result<()> {
        self.dir_mut(parent)?.remove(name);
        let above = self.get_mut(parent)?;
        above.modified();
        self.drop_link(parent, ino)
    }

    fn drop_link(&mut self, parent: u64, ino: u64) -> Result<()> {
        let inode = self.get_mut(ino)?;
        inode.ctime = SystemTime::now();
        if matches!(inode.body, Body::Dir(_)) {
            inode.nlink = 0;
            self.get_mut(parent)?.nlink -= 1;
        } else {
            inode.nlink -= 1;
        }
        self.reap(ino);
        Ok(())
    }

    pub fn rename(
        &mut self,
        (from, name): (u64, &OsStr),
        (to, new_name): (u64, &OsStr),
        flags: RenameFlags,
    ) -> Result<()> {
        check_name(new_name)?;
        let ino = self.lookup(from, name)?;
        let target = self.dir(to)?.get(new_name);
        if flags.contains(RenameFlags::RENAME_NOREPLACE) && target.is_some() {
            return Err(Errno::EEXIST);
        }
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            let target = target.ok_or(Errno::ENOENT)?;
            self.dir_mut(from)?.set(name, target);
            self.dir_mut(to)?.set(new_name, ino);
            self.moved(target, to, from)?;
            return self.moved(ino, from, to);
        }
        if target == Some(ino) {
            return Ok(());
        }
        if let Some(target) = target {
            if let Body::Dir(dir) = &self.get(target)?.body
                && !dir.is_empty()
            {
                return Err(Errno::ENOTEMPTY);
            }
            self.drop_link(to, target)?;
        }
        self.dir_mut(from)?.remove(name);
        self.dir_mut(to)?.set(new_name, ino);
        self.moved(ino, from, to)
    }

    fn moved(&mut self, ino: u64, from: u64, to: u64) -> Result<()> {
        self.get_mut(ino)?.ctime = SystemTime::now();
        if matches!(self.get(ino)?.body, Body::Dir(_)) && from != to {
            self.dir_mut(ino)?.parent = to;
            self.get_mut(from)?.nlink -= 1;
            self.get_mut(to)?.nlink += 1;
        }
        self.get_mut(from)?.modified();
        self.get_mut(to)?.modified();
        Ok(())
    }

    pub fn forget(&mut self, ino: u64, count: u64) {
        if let Some(inode) = self.inodes.get(&ino) {
            inode.lookups.fetch_sub(count, Ordering::Relaxed);
            self.reap(ino);
        }
    }

    pub fn release(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get(&ino) {
            inode.opens.fetch_sub(1, Ordering::Relaxed);
            self.reap(ino);
        }
    }

    fn reap(&mut self, ino: u64) {
        if let Some(inode) = self.inodes.get(&ino)
            && inode.nlink == 0
            && inode.lookups.load(Ordering::Relaxed) == 0
            && inode.opens.load(Ordering::Relaxed) == 0
        {
            self.inodes.remove(&ino);
        }
    }

    /// (bytes that take memory, inodes).
    pub fn usage(&self) -> (u64, u64) {
        let bytes = self.inodes.values().map(|inode| match &inode.body {
            Body::File(data) => data.allocated(),
            _ => 0,
        });
        (bytes.sum(), self.inodes.len() as u64)
    }
}

fn check_name(name: &OsStr) -> Result<()> {
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    Ok(())
}

/// How long the kernel may keep what it was told.
pub const TTL: Duration = Duration::from_secs(3600);
