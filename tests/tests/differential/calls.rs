//! One random system call, and what it answers. Names come from a small pool so that calls meet.

use std::fs;
use std::io::{IoSlice, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use lattice_tests::random::Random;
use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, RenameFlags, Timespec, Timestamps, XattrFlags,
};
use rustix::io::Errno;

const NAMES: &[&str] = &["a", "b", "c", "d", "e"];
const XATTRS: &[&str] = &["user.one", "user.two", "user.three"];
/// Descriptors that are open at most.
const FDS: usize = 8;

/// A call with all its arguments; `fd` is a place in the table of open files.
#[derive(Debug, Clone)]
pub enum Call {
    Open { fd: usize, path: PathBuf, flags: OFlags, mode: u32 },
    Close { fd: usize },
    Pread { fd: usize, offset: u64, len: usize },
    Pwrite { fd: usize, offset: u64, len: usize, seed: u64 },
    Append { fd: usize, len: usize, seed: u64 },
    Ftruncate { fd: usize, len: u64 },
    Fallocate { fd: usize, flags: FallocateFlags, offset: u64, len: u64 },
    CopyRange { from: usize, to: usize, offset_from: u64, offset_to: u64, len: usize },
    Fsync { fd: usize, data: bool },
    Fstat { fd: usize },
    Truncate { path: PathBuf, len: u64 },
    Stat { path: PathBuf },
    Read { path: PathBuf },
    List { path: PathBuf },
    Mkdir { path: PathBuf, mode: u32 },
    Rmdir { path: PathBuf },
    Unlink { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf, flags: RenameFlags },
    Symlink { target: PathBuf, path: PathBuf },
    Readlink { path: PathBuf },
    Mkfifo { path: PathBuf },
    Chmod { path: PathBuf, mode: u32 },
    Chown { path: PathBuf, uid: u32, gid: u32 },
    Utimens { path: PathBuf, seconds: i64, nanos: i64 },
    SetXattr { path: PathBuf, name: &'static str, len: usize, flags: XattrFlags },
    GetXattr { path: PathBuf, name: &'static str },
    ListXattr { path: PathBuf },
    RemoveXattr { path: PathBuf, name: &'static str },
}

fn path(random: &mut Random) -> PathBuf {
    if random.one_in(200) {
        return "n".repeat(254 + random.index(3)).into();
    }
    let depth = 1 + random.index(3);
    (0..depth).map(|_| *random.pick(NAMES)).collect()
}

fn offset(random: &mut Random) -> u64 {
    match random.below(12) {
        0 => random.below(3_000_000),
        1..4 => random.below(200_000),
        _ => random.below(9_000),
    }
}

fn length(random: &mut Random) -> usize {
    match random.below(10) {
        0 => random.index(300_000),
        1..3 => random.index(70_000),
        3 => 0,
        _ => random.index(5_000),
    }
}

fn open_flags(random: &mut Random) -> OFlags {
    let mut flags = *random.pick(&[OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR, OFlags::RDWR]);
    for (flag, n) in [
        (OFlags::CREATE, 2),
        (OFlags::EXCL, 8),
        (OFlags::TRUNC, 5),
        (OFlags::APPEND, 6),
        (OFlags::NOFOLLOW, 10),
        (OFlags::DIRECTORY, 25),
    ] {
        if random.one_in(n) {
            flags |= flag;
        }
    }
    if flags.contains(OFlags::DIRECTORY) {
        // Together they are refused by the kernel in ways that differ from version to version.
        flags -= OFlags::CREATE;
    }
    // A FIFO is never waited for.
    flags | OFlags::NONBLOCK
}

impl Call {
    pub fn random(random: &mut Random) -> Self {
        let fd = random.index(FDS);
        match random.below(64) {
            0..10 => Self::Open {
                fd,
                path: path(random),
                flags: open_flags(random),
                mode: 0o600 | random.below(0o200) as u32,
            },
            10..13 => Self::Close { fd },
            13..17 => Self::Pread { fd, offset: offset(random), len: length(random) },
            17..24 => Self::Pwrite { fd, offset: offset(random), len: length(random), seed: random.bits() },
            24..26 => Self::Append { fd, len: length(random), seed: random.bits() },
            26..28 => Self::Ftruncate { fd, len: offset(random) },
            28..30 => Self::Fallocate {
                fd,
                flags: *random.pick(&[
                    FallocateFlags::empty(),
                    FallocateFlags::KEEP_SIZE,
                    FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
                    FallocateFlags::ZERO_RANGE,
                ]),
                offset: offset(random),
                len: 1 + length(random) as u64,
            },
            30 => Self::CopyRange {
                from: fd,
                to: random.index(FDS),
                offset_from: offset(random),
                offset_to: offset(random),
                len: length(random),
            },
            31 => Self::Fsync { fd, data: random.one_in(2) },
            32..34 => Self::Fstat { fd },
            34 => Self::Truncate { path: path(random), len: offset(random) },
            35..38 => Self::Stat { path: path(random) },
            38..40 => Self::Read { path: path(random) },
            40..42 => Self::List { path: path(random) },
            42..46 => Self::Mkdir { path: path(random), mode: 0o700 | random.below(0o100) as u32 },
            46 => Self::Rmdir { path: path(random) },
            47..49 => Self::Unlink { path: path(random) },
            49..54 => Self::Rename {
                from: path(random),
                to: path(random),
                flags: *random.pick(&[
                    RenameFlags::empty(),
                    RenameFlags::empty(),
                    RenameFlags::NOREPLACE,
                    RenameFlags::EXCHANGE,
                ]),
            },
            54 => Self::Symlink { target: path(random), path: path(random) },
            55 => Self::Readlink { path: path(random) },
            56 => Self::Mkfifo { path: path(random) },
            57 => Self::Chmod { path: path(random), mode: random.below(0o10000) as u32 },
            58 => {
                Self::Chown { path: path(random), uid: random.below(3) as u32, gid: random.below(3) as u32 }
            }
            59 => Self::Utimens {
                path: path(random),
                seconds: random.below(4_000_000_000).cast_signed(),
                nanos: random.below(1_000_000_000).cast_signed(),
            },
            60 => Self::SetXattr {
                path: path(random),
                name: XATTRS[random.index(XATTRS.len())],
                len: random.index(300),
                flags: *random.pick(&[XattrFlags::empty(), XattrFlags::CREATE, XattrFlags::REPLACE]),
            },
            61 => Self::GetXattr { path: path(random), name: XATTRS[random.index(XATTRS.len())] },
            62 => Self::ListXattr { path: path(random) },
            _ => Self::RemoveXattr { path: path(random), name: XATTRS[random.index(XATTRS.len())] },
        }
    }
}

/// One of the two directories, with its open files.
#[derive(Debug)]
pub struct Side {
    root: PathBuf,
    fds: [Option<OwnedFd>; FDS],
}

/// What a call answered, in words; an error by its number. A full directory may be called
/// EEXIST or ENOTEMPTY by POSIX.
pub type Answer = Result<String, i32>;

impl Side {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), fds: Default::default() }
    }

    pub fn perform(&mut self, call: &Call) -> Answer {
        self.call(call).map_err(|errno| match errno {
            Errno::EXIST => Errno::NOTEMPTY.raw_os_error(),
            other => other.raw_os_error(),
        })
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    fn fd(&self, fd: usize) -> Result<&OwnedFd, Errno> {
        self.fds[fd].as_ref().ok_or(Errno::BADF)
    }

    fn call(&mut self, call: &Call) -> Result<String, Errno> {
        let done = String::new();
        match call {
            Call::Open { fd, path, flags, mode } => {
                self.fds[*fd] = None;
                let opened = rustix::fs::open(self.at(path), *flags, Mode::from_raw_mode(*mode))?;
                self.fds[*fd] = Some(opened);
            }
            Call::Close { fd } => self.fds[*fd] = None,
            Call::Pread { fd, offset, len } => {
                let mut buf = vec![0; *len];
                let n = rustix::io::pread(self.fd(*fd)?, &mut buf, *offset)?;
                return Ok(digest(&buf[..n]));
            }
            Call::Pwrite { fd, offset, len, seed } => {
                let bytes = Random::new(*seed).bytes(*len);
                return Ok(rustix::io::pwrite(self.fd(*fd)?, &bytes, *offset)?.to_string());
            }
            Call::Append { fd, len, seed } => {
                let bytes = Random::new(*seed).bytes(*len);
                let fd = self.fd(*fd)?;
                rustix::fs::seek(fd, rustix::fs::SeekFrom::End(0))?;
                return Ok(rustix::io::writev(fd, &[IoSlice::new(&bytes)])?.to_string());
            }
            Call::Ftruncate { fd, len } => rustix::fs::ftruncate(self.fd(*fd)?, *len)?,
            Call::Fallocate { fd, flags, offset, len } => {
                rustix::fs::fallocate(self.fd(*fd)?, *flags, *offset, *len)?;
            }
            Call::CopyRange { from, to, offset_from, offset_to, len } => {
                let (mut at_from, mut at_to) = (*offset_from, *offset_to);
                let (from, to) = (self.fd(*from)?, self.fd(*to)?);
                let n = rustix::fs::copy_file_range(from, Some(&mut at_from), to, Some(&mut at_to), *len)?;
                return Ok(n.to_string());
            }
            Call::Fsync { fd, data: false } => rustix::fs::fsync(self.fd(*fd)?)?,
            Call::Fsync { fd, data: true } => rustix::fs::fdatasync(self.fd(*fd)?)?,
            Call::Fstat { fd } => return Ok(stat_line(&rustix::fs::fstat(self.fd(*fd)?)?)),
            Call::Truncate { path, len } => {
                let fd = rustix::fs::open(self.at(path), OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty())?;
                rustix::fs::ftruncate(fd, *len)?;
            }
            Call::Stat { path } => return Ok(stat_line(&rustix::fs::lstat(self.at(path))?)),
            Call::Read { path } => return self.read(path),
            Call::List { path } => return list(&self.at(path)),
            Call::Mkdir { path, mode } => rustix::fs::mkdir(self.at(path), Mode::from_raw_mode(*mode))?,
            Call::Rmdir { path } => rustix::fs::rmdir(self.at(path))?,
            Call::Unlink { path } => rustix::fs::unlink(self.at(path))?,
            Call::Rename { from, to, flags } => {
                rustix::fs::renameat_with(CWD, self.at(from), CWD, self.at(to), *flags)?;
            }
            Call::Symlink { target, path } => rustix::fs::symlink(target, self.at(path))?,
            Call::Readlink { path } => {
                let target = rustix::fs::readlink(self.at(path), Vec::new())?;
                return Ok(format!("{target:?}"));
            }
            Call::Mkfifo { path } => {
                rustix::fs::mknodat(CWD, self.at(path), FileType::Fifo, Mode::from_raw_mode(0o640), 0)?;
            }
            Call::Chmod { path, mode } => rustix::fs::chmod(self.at(path), Mode::from_raw_mode(*mode))?,
            Call::Chown { path, uid, gid } => {
                let (uid, gid) = (rustix::fs::Uid::from_raw(*uid), rustix::fs::Gid::from_raw(*gid));
                rustix::fs::chownat(CWD, self.at(path), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            }
            Call::Utimens { path, seconds, nanos } => return self.utimens(path, *seconds, *nanos),
            Call::SetXattr { path, name, len, flags } => {
                rustix::fs::setxattr(self.at(path), *name, &vec![b'x'; *len], *flags)?;
            }
            Call::GetXattr { path, name } => {
                let mut value = vec![0; 1024];
                let n = rustix::fs::getxattr(self.at(path), *name, &mut value[..])?;
                return Ok(digest(&value[..n]));
            }
            Call::ListXattr { path } => {
                let mut names = vec![0; 1024];
                let n = rustix::fs::listxattr(self.at(path), &mut names[..])?;
                let mut names: Vec<_> = names[..n].split(|b| *b == 0).map(<[u8]>::to_vec).collect();
                names.sort();
                return Ok(format!("{names:?}"));
            }
            Call::RemoveXattr { path, name } => rustix::fs::removexattr(self.at(path), *name)?,
        }
        Ok(done)
    }

    fn read(&self, path: &Path) -> Result<String, Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let fd = rustix::fs::open(self.at(path), flags, Mode::empty())?;
        let mut bytes = Vec::new();
        fs::File::from(fd)
            .read_to_end(&mut bytes)
            .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        Ok(digest(&bytes))
    }

    fn utimens(&self, path: &Path, seconds: i64, nanos: i64) -> Result<String, Errno> {
        let time = Timespec { tv_sec: seconds, tv_nsec: nanos };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, self.at(path), &times, AtFlags::SYMLINK_NOFOLLOW)?;
        let stat = rustix::fs::lstat(self.at(path))?;
        Ok(format!("{}.{:09}", stat.st_mtime, stat.st_mtime_nsec))
    }
}

/// Length and a hash: short in a message, and different for different bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{} bytes, {hash:016x}", bytes.len())
}

fn stat_line(stat: &rustix::fs::Stat) -> String {
    let kind = FileType::from_raw_mode(stat.st_mode);
    let owner = format!("mode {:o} owner {}:{}", stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
    match kind {
        // Sizes and link counts of directories are each filesystem's own.
        FileType::Directory => format!("directory {owner}"),
        kind => format!("{kind:?} {owner} size {} links {}", stat.st_size, stat.st_nlink),
    }
}

fn list(dir: &Path) -> Result<String, Errno> {
    let errno = |e: std::io::Error| Errno::from_io_error(&e).unwrap_or(Errno::IO);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(errno)? {
        let entry = entry.map_err(errno)?;
        let kind = entry.file_type().map_err(errno)?;
        let kind = match () {
            () if kind.is_dir() => "dir",
            () if kind.is_symlink() => "link",
            () if kind.is_fifo() => "fifo",
            () => "file",
        };
        names.push(format!("{:?} {kind}", entry.file_name()));
    }
    names.sort();
    Ok(names.join(", "))
}

/// The same line for a path on either side.
pub fn describe(path: &Path) -> String {
    let Ok(meta) = fs::symlink_metadata(path) else {
        return "nothing".into();
    };
    let owner = format!("mode {:o} owner {}:{}", meta.mode() & 0o7777, meta.uid(), meta.gid());
    let kind = meta.file_type();
    if kind.is_file() {
        let content = fs::read(path).map_or_else(|e| e.to_string(), |bytes| digest(&bytes));
        format!("file {owner} {content}")
    } else if kind.is_symlink() {
        let target = fs::read_link(path).map_or_else(|e| e.to_string(), |t| format!("{t:?}"));
        format!("link {target}")
    } else {
        format!("{kind:?} {owner}")
    }
}
