//! FUSE requests on the in-memory tree. Refuses hard links, device nodes and every xattr outside
//! `user.` as the mount does; answers what it doesn't know with ENOSYS once, so that the kernel
//! falls back and never asks again.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use parking_lot::RwLock;

use super::data::Data;
use super::tree::{Body, Dir, Inode, TTL, Tree};

const GENERATION: Generation = Generation(0);
/// Largest write request, in bytes.
const MAX_WRITE: u32 = 1 << 20;
/// Longest xattr value, in bytes: the kernel's own limit.
const XATTR_MAX: usize = 64 << 10;

/// The filesystem. One lock for all: a request holds it for less than the kernel needs to make it.
#[derive(Debug)]
pub struct Floor {
    tree: RwLock<Tree>,
}

impl Floor {
    /// An empty filesystem whose root belongs to `uid` and `gid`.
    pub fn new(uid: u32, gid: u32) -> Self {
        Self { tree: RwLock::new(Tree::new(uid, gid)) }
    }

    fn add(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        (body, mode): (Body, u32),
        reply: ReplyEntry,
    ) {
        let mut tree = self.tree.write();
        match tree.add(parent.0, name, body, mode, (req.uid(), req.gid())) {
            Ok((ino, inode)) => {
                inode.looked_up();
                reply.entry(&TTL, &inode.attr(ino), GENERATION);
            }
            Err(e) => reply.error(e),
        }
    }
}

/// Read-only handles need no flush at close: nothing can be pending on them.
fn open_flags(flags: OpenFlags) -> FopenFlags {
    match flags.acc_mode() {
        OpenAccMode::O_RDONLY => FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_NOFLUSH,
        _ => FopenFlags::FOPEN_KEEP_CACHE,
    }
}

fn empty(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(e),
    }
}

fn sized(value: &[u8], size: u32, reply: ReplyXattr) {
    if size == 0 {
        reply.size(value.len() as u32);
    } else if value.len() > size as usize {
        reply.error(Errno::ERANGE);
    } else {
        reply.data(value);
    }
}

fn when(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

fn file(inode: &mut Inode) -> Result<&mut Data, Errno> {
    match &mut inode.body {
        Body::File(data) => Ok(data),
        Body::Dir(_) => Err(Errno::EISDIR),
        _ => Err(Errno::EINVAL),
    }
}

impl Filesystem for Floor {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        for flag in [
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_ASYNC_DIO,
        ] {
            // A kernel without it is slower and still right.
            let _unsupported = config.add_capabilities(flag);
        }
        config
            .set_max_write(MAX_WRITE)
            .map_err(|most| io::Error::other(format!("max_write is at most {most}")))?;
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let tree = self.tree.read();
        let found = tree.lookup(parent.0, name).and_then(|ino| Ok((ino, tree.get(ino)?)));
        match found {
            Ok((ino, inode)) => {
                inode.looked_up();
                reply.entry(&TTL, &inode.attr(ino), GENERATION);
            }
            Err(Errno::ENOENT) => {
                // Inode 0 with a lifetime: the kernel remembers that there is nothing.
                reply.entry(&TTL, &absent(), GENERATION);
            }
            Err(e) => reply.error(e),
        }
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.tree.write().forget(ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.tree.read().get(ino.0) {
            Ok(inode) => reply.attr(&TTL, &inode.attr(ino.0)),
            Err(e) => reply.error(e),
        }
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut tree = self.tree.write();
        let change = |inode: &mut Inode| {
            if let Some(size) = size {
                file(inode)?.truncate(size);
                inode.mtime = SystemTime::now();
                if req.uid() != 0 {
                    inode.kill_privileges();
                }
            }
            if (uid.is_some() || gid.is_some()) && inode.kind() != FileType::Directory {
                inode.kill_privileges();
            }
            inode.uid = uid.unwrap_or(inode.uid);
            inode.gid = gid.unwrap_or(inode.gid);
            inode.mode = mode.map_or(inode.mode, |mode| mode & 0o7777);
            inode.atime = atime.map_or(inode.atime, when);
            inode.mtime = mtime.map_or(inode.mtime, when);
            inode.ctime = SystemTime::now();
            Ok(inode.attr(ino.0))
        };
        match tree.get_mut(ino.0).and_then(change) {
            Ok(attr) => reply.attr(&TTL, &attr),
            Err(e) => reply.error(e),
        }
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        match self.tree.read().get(ino.0) {
            Ok(Inode { body: Body::Symlink(target), .. }) => {
                reply.data(target.as_os_str().as_encoded_bytes())
            }
            Ok(_) => reply.error(Errno::EINVAL),
            Err(e) => reply.error(e),
        }
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _rdev: u32,
        reply: ReplyEntry,
    ) {
        let body = match mode & libc::S_IFMT {
            libc::S_IFREG => Body::File(Data::default()),
            libc::S_IFIFO => Body::Special(FileType::NamedPipe),
            libc::S_IFSOCK => Body::Special(FileType::Socket),
            _ => return reply.error(Errno::EPERM),
        };
        self.add(req, parent, name, (body, mode), reply);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        self.add(req, parent, name, (Body::Dir(Dir::default()), mode & 0o1777), reply);
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.tree.write().unlink(parent.0, name), reply);
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.tree.write().rmdir(parent.0, name), reply);
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let body = Body::Symlink(target.to_owned());
        self.add(req, parent, name, (body, 0o777), reply);
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if flags.contains(RenameFlags::RENAME_WHITEOUT) {
            return reply.error(Errno::EINVAL);
        }
        let mut tree = self.tree.write();
        empty(tree.rename((parent.0, name), (newparent.0, newname), flags), reply);
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if flags.0 & libc::O_TRUNC == 0 {
            return match self.tree.read().get(ino.0) {
                Ok(inode) => {
                    inode.opened();
                    reply.opened(FileHandle(0), open_flags(flags));
                }
                Err(e) => reply.error(e),
            };
        }
        let mut tree = self.tree.write();
        let cut = tree.get_mut(ino.0).and_then(|inode| {
            file(inode)?.truncate(0);
            inode.modified();
            if req.uid() != 0 {
                inode.kill_privileges();
            }
            inode.opened();
            Ok(())
        });
        match cut {
            Ok(()) => reply.opened(FileHandle(0), open_flags(flags)),
            Err(e) => reply.error(e),
        }
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let mut tree = self.tree.write();
        let body = Body::File(Data::default());
        match tree.add(parent.0, name, body, mode, (req.uid(), req.gid())) {
            Ok((ino, inode)) => {
                inode.looked_up();
                inode.opened();
                reply.created(
                    &TTL,
                    &inode.attr(ino),
                    GENERATION,
                    FileHandle(0),
                    open_flags(OpenFlags(flags)),
                );
            }
            Err(e) => reply.error(e),
        }
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.tree.read().get(ino.0) {
            Ok(Inode { body: Body::File(data), .. }) => {
                data.read(offset, size as usize, |bytes| reply.data(bytes))
            }
            Ok(_) => reply.error(Errno::EINVAL),
            Err(e) => reply.error(e),
        }
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        bytes: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut tree = self.tree.write();
        let done = tree.get_mut(ino.0).and_then(|inode| {
            file(inode)?.write(offset, bytes);
            inode.modified();
            if write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID) {
                inode.kill_privileges();
            }
            Ok(())
        });
        match done {
            Ok(()) => reply.written(bytes.len() as u32),
            Err(e) => reply.error(e),
        }
    }

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn release(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.tree.write().release(ino.0);
        reply.ok();
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let tree = self.tree.read();
        let dir = match tree.dir(ino.0) {
            Ok(dir) => dir,
            Err(e) => return reply.error(e),
        };
        for (cookie, name, at) in dots(ino.0, dir).into_iter().filter(|dot| dot.0 > offset) {
            if reply.add(INodeNo(at), cookie, FileType::Directory, name) {
                return reply.ok();
            }
        }
        for (cookie, name, at) in dir.after(offset) {
            let Ok(inode) = tree.get(at) else { continue };
            if reply.add(INodeNo(at), cookie, inode.kind(), name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let tree = self.tree.read();
        let dir = match tree.dir(ino.0) {
            Ok(dir) => dir,
            Err(e) => return reply.error(e),
        };
        for (cookie, name, at) in dots(ino.0, dir).into_iter().filter(|dot| dot.0 > offset) {
            let Ok(inode) = tree.get(at) else { continue };
            if reply.add(INodeNo(at), cookie, name, &TTL, &inode.attr(at), GENERATION) {
                return reply.ok();
            }
        }
        for (cookie, name, at) in dir.after(offset) {
            let Ok(inode) = tree.get(at) else { continue };
            if reply.add(INodeNo(at), cookie, name, &TTL, &inode.attr(at), GENERATION) {
                break;
            }
            inode.looked_up();
        }
        reply.ok();
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let (bytes, inodes) = self.tree.read().usage();
        let all = 1 << 28;
        let free = all - bytes.div_ceil(4096).min(all);
        reply.statfs(all, free, free, inodes + (1 << 30), 1 << 30, 4096, 255, 4096);
    }

    fn setxattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        if !name.as_encoded_bytes().starts_with(b"user.") {
            return reply.error(Errno::EOPNOTSUPP);
        }
        if value.len() > XATTR_MAX {
            return reply.error(Errno::E2BIG);
        }
        let set = self.tree.write().get_mut(ino.0).and_then(|inode| {
            let there = inode.xattrs.contains_key(name);
            if flags & libc::XATTR_CREATE != 0 && there {
                return Err(Errno::EEXIST);
            }
            if flags & libc::XATTR_REPLACE != 0 && !there {
                return Err(Errno::ENODATA);
            }
            inode.xattrs.insert(name.to_owned(), value.to_vec());
            inode.ctime = SystemTime::now();
            Ok(())
        });
        empty(set, reply);
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.tree.read().get(ino.0) {
            Ok(inode) => match inode.xattrs.get(name) {
                Some(value) => sized(value, size, reply),
                None => reply.error(Errno::ENODATA),
            },
            Err(e) => reply.error(e),
        }
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        match self.tree.read().get(ino.0) {
            Ok(inode) => {
                let mut names = Vec::new();
                for name in inode.xattrs.keys() {
                    names.extend_from_slice(name.as_encoded_bytes());
                    names.push(0);
                }
                sized(&names, size, reply);
            }
            Err(e) => reply.error(e),
        }
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let removed = self.tree.write().get_mut(ino.0).and_then(|inode| {
            inode.xattrs.remove(name).ok_or(Errno::ENODATA)?;
            inode.ctime = SystemTime::now();
            Ok(())
        });
        empty(removed, reply);
    }

    fn fallocate(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let keep = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        let zero = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;
        if mode & !(libc::FALLOC_FL_KEEP_SIZE | zero) != 0 {
            return reply.error(Errno::EOPNOTSUPP);
        }
        let done = self.tree.write().get_mut(ino.0).and_then(|inode| {
            let data = file(inode)?;
            if mode & zero != 0 {
                data.zero(offset, length);
            }
            if !keep && offset + length > data.len() {
                data.truncate(offset + length);
            }
            inode.modified();
            Ok(())
        });
        empty(done, reply);
    }
}

fn dots(ino: u64, dir: &Dir) -> [(u64, &'static OsStr, u64); 2] {
    [(1, OsStr::new("."), ino), (2, OsStr::new(".."), dir.parent)]
}

/// The attributes of nothing, for a negative entry: inode 0.
fn absent() -> FileAttr {
    let epoch = SystemTime::UNIX_EPOCH;
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: epoch,
        mtime: epoch,
        ctime: epoch,
        crtime: epoch,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    }
}
