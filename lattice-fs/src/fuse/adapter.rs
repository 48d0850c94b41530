//! One function per kernel request: decode, call `ops`, reply.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, FileHandle, Filesystem, FopenFlags, INodeNo, IoctlFlags, KernelConfig,
    LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::habits::Habits;
use super::reply::{
    GENERATION, LONG, created, done, entry, errno, file_attr, file_type, open_flags, set_time, ttl, xattr,
};
use super::slow::{self, Slow};
use super::through::{Through, backing};
use super::waiter::Waiter;
use super::wanted;
use crate::ops::errno::{FROZEN, NOT_HERE};
use crate::ops::{self, Caller, DirEntry, Errno, Fs, Looked, SetAttr, SetHow};

/// What must be here of a file before a part of it can be written: small ones are read into memory whole.
const REWRITTEN: Range<u64> = 0..ops::MEMORY_MAX;

/// A part of a file that is written is cut into chunks together with what stands beside it.
const WHOLE: Range<u64> = 0..u64::MAX;

#[derive(Debug)]
pub struct Adapter {
    pub fs: Arc<Fs>,
    /// Waits for the disk, so that no other request does.
    pub slow: Slow,
    /// Whether the kernel may read files by itself.
    pub through: Arc<Through>,
    /// Who writes large files.
    pub habits: Habits,
}

thread_local! {
    /// What a read fills: as long as the longest request, kept.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn caller(req: &Request) -> Caller {
    Caller { uid: req.uid(), gid: req.gid() }
}

impl Adapter {
    /// For what changes something in the store of `ino`: here, or on another thread where it may take long.
    fn change(&self, ino: INodeNo, may_wait: bool, answer: impl FnOnce(&Arc<Fs>) + Send + 'static) {
        let fs = self.fs.clone();
        if fs.commits_wait(ino.0) {
            slow::alone(move || {
                fs.wait_for_commits(ino.0);
                answer(&fs);
            });
        } else if may_wait {
            self.slow.run(move || answer(&fs));
        } else {
            answer(&fs);
        }
    }
}

impl Filesystem for Adapter {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        wanted::ask(config);
        self.through.ask(config);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.fs.lookup(parent.0, name.as_bytes()) {
            Ok(Looked::Found(inode, attr)) => {
                reply.entry(ttl(inode.is_cacheable()), &file_attr(&attr), GENERATION);
            }
            // An entry of inode 0 is "not there", remembered.
            Ok(Looked::Absent { cache }) => {
                reply.entry(ttl(cache), &super::reply::absent(), GENERATION);
            }
            Err(e) => reply.error(errno(e)),
        }
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.fs.forget(ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        match self.fs.getattr(ino.0) {
            Ok((attr, cache)) => reply.attr(ttl(cache), &file_attr(&attr)),
            Err(e) => reply.error(errno(e)),
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
        let set = SetAttr { mode, uid, gid, size, atime: atime.map(set_time), mtime: mtime.map(set_time) };
        let (caller, waiter) = (caller(req), Waiter::of(req));
        let apply = move |fs: &Arc<Fs>, reply: ReplyAttr| {
            let set_it = move |fs: &Fs| fs.setattr(caller, ino.0, &set);
            slow::patiently(fs, waiter, [(ino.0, REWRITTEN)], set_it, move |done| match done {
                Ok(attr) => reply.attr(&LONG, &file_attr(&attr)),
                Err(e) => reply.error(errno(e)),
            });
        };
        self.change(ino, self.fs.settle_waits(ino.0), move |fs| apply(fs, reply));
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        match self.fs.readlink(ino.0) {
            Ok(target) => reply.data(&target),
            Err(e) => reply.error(errno(e)),
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
        let (caller, name) = (caller(req), name.to_owned());
        self.change(parent, false, move |fs| entry(fs.mknod(caller, parent.0, name.as_bytes(), mode), reply));
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let (caller, name) = (caller(req), name.to_owned());
        self.change(parent, false, move |fs| entry(fs.mkdir(caller, parent.0, name.as_bytes(), mode), reply));
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let waits = self.fs.name_waits(parent.0, name.as_bytes());
        let name = name.to_owned();
        if self.fs.is_control(parent.0) {
            let fs = self.fs.clone();
            return slow::alone(move || done(fs.unlink(parent.0, name.as_bytes()), reply));
        }
        self.change(parent, waits, move |fs| done(fs.unlink(parent.0, name.as_bytes()), reply));
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        self.change(parent, false, move |fs| done(fs.rmdir(parent.0, name.as_bytes()), reply));
    }

    fn symlink(&self, req: &Request, parent: INodeNo, link_name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (caller, name, target) = (caller(req), link_name.to_owned(), target.as_os_str().to_owned());
        self.change(parent, false, move |fs| {
            entry(fs.symlink(caller, parent.0, name.as_bytes(), target.as_bytes()), reply);
        });
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
        if !(RenameFlags::RENAME_NOREPLACE | RenameFlags::RENAME_EXCHANGE).contains(flags) {
            return reply.error(errno(Errno::INVAL));
        }
        let how = ops::RenameFlags {
            no_replace: flags.contains(RenameFlags::RENAME_NOREPLACE),
            exchange: flags.contains(RenameFlags::RENAME_EXCHANGE),
        };
        let (name, newname) = (name.as_bytes().to_vec(), newname.as_bytes().to_vec());
        let waits = self.fs.name_waits(parent.0, &name) || self.fs.name_waits(newparent.0, &newname);
        self.change(parent, waits, move |fs| {
            done(fs.rename(parent.0, &name, newparent.0, &newname, how), reply);
        });
    }

    fn link(&self, _req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let name = newname.to_owned();
        self.change(newparent, false, move |fs| {
            entry(fs.link(ino.0, newparent.0, name.as_bytes()), reply);
        });
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let through = self.through.clone();
        let directly = flags.acc_mode() == OpenAccMode::O_WRONLY && self.habits.opens(req.pid());
        let open = move |fs: &Fs, reply: ReplyOpen| {
            let opened = fs.open_by(ino.0, flags.0, &|file| through.register(|| reply.open_backing(file)));
            match opened {
                Ok(opened) => match backing(&opened) {
                    Some(id) => {
                        reply.opened_passthrough(FileHandle(opened.handle), open_flags(&opened, false), id);
                    }
                    None => reply.opened(FileHandle(opened.handle), open_flags(&opened, directly)),
                },
                Err(e) => reply.error(errno(e)),
            }
        };
        if self.fs.is_control(ino.0) {
            let fs = self.fs.clone();
            return slow::alone(move || open(&fs, reply));
        }
        let changes = flags.acc_mode() != OpenAccMode::O_RDONLY || flags.0 & libc::O_TRUNC != 0;
        if changes && self.fs.settle_waits(ino.0) {
            let fs = self.fs.clone();
            return self.slow.run(move || open(&fs, reply));
        }
        open(&self.fs, reply);
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
        let directly = flags & libc::O_ACCMODE == libc::O_WRONLY && self.habits.opens(req.pid());
        created(self.fs.create(caller(req), parent.0, name.as_bytes(), mode, flags), directly, reply);
    }

    fn tmpfile(
        &self,
        req: &Request,
        parent: INodeNo,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let directly = flags & libc::O_ACCMODE == libc::O_WRONLY && self.habits.opens(req.pid());
        created(self.fs.tmpfile(caller(req), parent.0, mode, flags), directly, reply);
    }

    fn read(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let (ino, fh, len, waiter) = (ino.0, fh.0, size as usize, Waiter::of(req));
        let wait = |reply: ReplyData| {
            let fs = self.fs.clone();
            slow::alone(move || {
                let mut buffer = vec![0; len];
                let files = [(ino, offset..offset.saturating_add(len as u64))];
                match fs
                    .patiently(&files, &|| waiter.is_interrupted(), || fs.read(ino, fh, offset, &mut buffer))
                {
                    Ok(n) => reply.data(&buffer[..n]),
                    Err(e) => reply.error(errno(e)),
                }
            });
        };
        // A version below `.lattice` waits by itself.
        if fh != 0 {
            return wait(reply);
        }
        BUFFER.with_borrow_mut(|buffer| {
            if buffer.len() < len {
                buffer.resize(len, 0);
            }
            match self.fs.read(ino, fh, offset, &mut buffer[..len]) {
                Ok(n) => reply.data(&buffer[..n]),
                Err(NOT_HERE) => wait(reply),
                Err(e) => reply.error(errno(e)),
            }
        });
    }

    fn write(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let kill = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let written = |result: ops::Result<()>, len: usize, reply: ReplyWrite| match result {
            Ok(()) => reply.written(len as u32),
            Err(e) => reply.error(errno(e)),
        };
        if self.fs.is_control(ino.0) {
            let (fs, data) = (self.fs.clone(), data.to_vec());
            return slow::alone(move || written(fs.write(ino.0, offset, &data, kill), data.len(), reply));
        }
        self.habits.writes(req.pid(), offset, data.len());
        match self.fs.write(ino.0, offset, data, kill) {
            Err(NOT_HERE | FROZEN) => {
                let (len, data, waiter) = (data.len(), data.to_vec(), Waiter::of(req));
                let write = move |fs: &Fs| fs.write(ino.0, offset, &data, kill);
                slow::patiently(&self.fs, waiter, [(ino.0, REWRITTEN)], write, move |done| {
                    written(done, len, reply)
                });
            }
            done => written(done, data.len(), reply),
        }
    }

    fn flush(
        &self,
        _req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        let flush = move |fs: &Arc<Fs>| {
            slow::patiently(
                fs,
                Waiter::PATIENT,
                [(ino.0, WHOLE)],
                move |fs| fs.flush(ino.0),
                |saved| done(saved, reply),
            );
        };
        self.change(ino, self.fs.save_waits(ino.0), flush);
    }

    fn release(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.change(ino, self.fs.save_waits(ino.0), move |fs| done(fs.release(ino.0, fh.0, flags.0), reply));
    }

    fn fsync(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let fs = self.fs.clone();
        self.slow.run(move || {
            slow::patiently(
                &fs,
                Waiter::PATIENT,
                [(ino.0, WHOLE)],
                move |fs| fs.fsync(ino.0),
                |synced| done(synced, reply),
            );
        });
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        match self.fs.opendir(ino.0) {
            Ok((fh, true)) => {
                reply.opened(FileHandle(fh), FopenFlags::FOPEN_CACHE_DIR | FopenFlags::FOPEN_KEEP_CACHE);
            }
            Ok((fh, false)) => reply.opened(FileHandle(fh), FopenFlags::empty()),
            Err(e) => reply.error(errno(e)),
        }
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let read = self.fs.readdir(ino.0, fh.0, offset, false, &mut |entry, next| {
            let (ino, kind, name) = match entry {
                DirEntry::Name { ino, kind, name } => (ino, kind, name),
                DirEntry::Full { attr, name, .. } => (attr.ino, attr.kind, name),
            };
            reply.add(INodeNo(ino), next, file_type(kind), OsStr::from_bytes(name))
        });
        match read {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(errno(e)),
        }
    }

    fn readdirplus(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let read = self.fs.readdir(ino.0, fh.0, offset, true, &mut |entry, next| {
            // Of `.` and `..` the kernel reads the number and the kind only.
            let (attr, name, cache) = match entry {
                DirEntry::Name { ino, kind, name } => (super::reply::bare(ino, kind), name, false),
                DirEntry::Full { attr, name, cache } => (file_attr(&attr), name, cache),
            };
            reply.add(attr.ino, next, OsStr::from_bytes(name), ttl(cache), &attr, GENERATION)
        });
        match read {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(errno(e)),
        }
    }

    fn releasedir(&self, _req: &Request, ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.fs.releasedir(ino.0, fh.0);
        reply.ok();
    }

    fn fsyncdir(&self, _req: &Request, ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let fs = self.fs.clone();
        self.slow.run(move || done(fs.fsyncdir(ino.0), reply));
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        match self.fs.statfs() {
            Ok(s) => reply.statfs(
                s.f_blocks,
                s.f_bfree,
                s.f_bavail,
                s.f_files,
                s.f_ffree,
                s.f_bsize as u32,
                lattice_engine::key::MAX_SEGMENT as u32,
                s.f_frsize as u32,
            ),
            Err(e) => reply.error(errno(e)),
        }
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
        let how = match flags {
            libc::XATTR_CREATE => SetHow::Create,
            libc::XATTR_REPLACE => SetHow::Replace,
            _ => SetHow::Either,
        };
        let (name, value) = (name.to_owned(), value.to_vec());
        if Fs::is_command(name.as_bytes()) {
            let fs = self.fs.clone();
            return slow::alone(move || done(fs.setxattr(ino.0, name.as_bytes(), &value, how), reply));
        }
        self.change(ino, self.fs.settle_waits(ino.0), move |fs| {
            done(fs.setxattr(ino.0, name.as_bytes(), &value, how), reply);
        });
    }

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        match self.fs.getxattr(ino.0, name.as_bytes()) {
            // A hash is of all the bytes.
            Err(NOT_HERE) => {
                let name = name.to_owned();
                let get = move |fs: &Fs| fs.getxattr(ino.0, name.as_bytes());
                slow::patiently(&self.fs, Waiter::of(req), [(ino.0, WHOLE)], get, move |value| {
                    xattr(value, size, reply)
                });
            }
            value => xattr(value, size, reply),
        }
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        xattr(self.fs.listxattr(ino.0), size, reply);
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.to_owned();
        if Fs::is_command(name.as_bytes()) {
            let fs = self.fs.clone();
            return slow::alone(move || done(fs.removexattr(ino.0, name.as_bytes()), reply));
        }
        self.change(ino, self.fs.settle_waits(ino.0), move |fs| {
            done(fs.removexattr(ino.0, name.as_bytes()), reply);
        });
    }

    fn fallocate(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let allocate = move |fs: &Fs| fs.fallocate(ino.0, offset, length, mode);
        slow::patiently(&self.fs, Waiter::of(req), [(ino.0, REWRITTEN)], allocate, |result| {
            done(result, reply)
        });
    }

    fn lseek(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        // Where data is needs the list of chunks only.
        let seek = move |fs: &Fs| fs.lseek(ino.0, offset, whence);
        slow::patiently(&self.fs, Waiter::of(req), [(ino.0, 0..0)], seek, |at| match at {
            Ok(at) => reply.offset(at),
            Err(e) => reply.error(errno(e)),
        });
    }

    /// There are none: programs ask to learn that a file is no terminal.
    fn ioctl(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        reply.error(errno(Errno::NOTTY));
    }

    fn copy_file_range(
        &self,
        req: &Request,
        ino_in: INodeNo,
        _fh_in: FileHandle,
        offset_in: u64,
        ino_out: INodeNo,
        _fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        let files = [(ino_in.0, offset_in..offset_in.saturating_add(len)), (ino_out.0, REWRITTEN)];
        let copy = move |fs: &Fs| fs.copy_range(ino_in.0, offset_in, ino_out.0, offset_out, len);
        slow::patiently(&self.fs, Waiter::of(req), files, copy, |copied| match copied {
            Ok(n) => reply.written(n as u32),
            Err(e) => reply.error(errno(e)),
        });
    }
}
