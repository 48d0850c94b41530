//! From the words of `ops` to those of fuser, and back.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, ReplyCreate, ReplyEmpty, ReplyEntry,
    ReplyXattr, TimeOrNow,
};
use lattice_engine::entry::Time;

use super::through::backing;
use crate::ops::errno::NOT_HERE;
use crate::ops::{Attr, Errno, Inode, Opened, Result, SetTime};
use crate::view::Kind;

/// How long the kernel may keep names and attributes: the watcher takes back what changes elsewhere.
pub const LONG: Duration = Duration::from_secs(3600);
/// What shows the store as it is now is asked for each time.
pub const NONE: Duration = Duration::ZERO;
/// Inode numbers are not reused for another file within a mount.
pub const GENERATION: Generation = Generation(0);
const BLOCK_SIZE: u32 = 4096;

/// Where an operation doesn't wait for bytes that aren't here, they can't be read.
pub fn errno(e: Errno) -> fuser::Errno {
    let e = if e == NOT_HERE { Errno::IO } else { e };
    fuser::Errno::from_i32(e.raw_os_error())
}

pub fn ttl(cache: bool) -> &'static Duration {
    if cache { &LONG } else { &NONE }
}

pub fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Dir => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
    }
}

pub fn file_attr(attr: &Attr) -> FileAttr {
    let meta = &attr.meta;
    FileAttr {
        ino: INodeNo(attr.ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(meta.atime),
        mtime: system_time(meta.mtime),
        ctime: system_time(meta.ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: meta.mode as u16,
        nlink: attr.nlink,
        uid: meta.uid,
        gid: meta.gid,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// "Nothing has that name": inode 0.
pub fn absent() -> FileAttr {
    bare(0, Kind::File)
}

/// A number and a kind, and nothing else that is true.
pub fn bare(ino: u64, kind: Kind) -> FileAttr {
    let (time, kind) = (UNIX_EPOCH, file_type(kind));
    FileAttr {
        ino: INodeNo(ino),
        size: 0,
        blocks: 0,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm: 0,
        nlink: 1,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_SIZE,
        flags: 0,
    }
}

/// A time before 1970 has nanoseconds that count up from its second.
fn system_time(time: Time) -> SystemTime {
    let ns = Duration::from_nanos(u64::from(time.ns));
    let base = match u64::try_from(time.s) {
        Ok(s) => UNIX_EPOCH.checked_add(Duration::from_secs(s)),
        Err(_) => UNIX_EPOCH.checked_sub(Duration::from_secs(time.s.unsigned_abs())),
    };
    base.and_then(|t| t.checked_add(ns)).unwrap_or(UNIX_EPOCH)
}

pub fn set_time(time: TimeOrNow) -> SetTime {
    match time {
        TimeOrNow::Now => SetTime::Now,
        TimeOrNow::SpecificTime(t) => SetTime::At(file_time(t)),
    }
}

/// fuser 0.18 reads (-s, ns) as s seconds and ns nanoseconds *before* the epoch: taken back the same way, so that the
/// pair is the caller's again.
fn file_time(time: SystemTime) -> Time {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Time { s: after.as_secs() as i64, ns: after.subsec_nanos() },
        Err(before) => {
            let before = before.duration();
            Time { s: -(before.as_secs() as i64), ns: before.subsec_nanos() }
        }
    }
}

pub fn done(result: Result<()>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(errno(e)),
    }
}

pub fn entry(result: Result<(Arc<Inode>, Attr)>, reply: ReplyEntry) {
    match result {
        Ok((inode, attr)) => reply.entry(ttl(inode.is_cacheable()), &file_attr(&attr), GENERATION),
        Err(e) => reply.error(errno(e)),
    }
}

/// A file that was made and opened in one go.
pub fn created(result: Result<(Arc<Inode>, Attr, Opened)>, directly: bool, reply: ReplyCreate) {
    let (attr, opened) = match result {
        Ok((_, attr, opened)) => (file_attr(&attr), opened),
        Err(e) => return reply.error(errno(e)),
    };
    let (handle, flags) = (FileHandle(opened.handle), |directly| open_flags(&opened, directly));
    match backing(&opened) {
        Some(id) => reply.created_passthrough(&LONG, &attr, GENERATION, handle, flags(false), id),
        None => reply.created(&LONG, &attr, GENERATION, handle, flags(directly)),
    }
}

pub fn xattr(value: Result<impl AsRef<[u8]>>, size: u32, reply: ReplyXattr) {
    match value {
        Err(e) => reply.error(errno(e)),
        Ok(value) => match value.as_ref() {
            value if size == 0 => reply.size(value.len() as u32),
            value if value.len() > size as usize => reply.error(errno(Errno::RANGE)),
            value => reply.data(value),
        },
    }
}

/// `directly`: of a file of a store that is only written, the kernel keeps no copy.
pub fn open_flags(opened: &Opened, directly: bool) -> FopenFlags {
    let mut flags = FopenFlags::empty();
    flags.set(FopenFlags::FOPEN_KEEP_CACHE, opened.keep_cache);
    flags.set(FopenFlags::FOPEN_NOFLUSH, opened.no_flush);
    flags.set(FopenFlags::FOPEN_DIRECT_IO, opened.direct || (directly && opened.handle == 0));
    flags
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_survive_fuser() {
        // utimensat(-5 s, 250 ms) as fuser hands it over.
        let handed = UNIX_EPOCH - Duration::new(5, 250_000_000);
        let time = file_time(handed);
        assert_eq!((time.s, time.ns), (-5, 250_000_000));
        // And as it is shown: five seconds before, a quarter second on.
        assert_eq!(system_time(time), UNIX_EPOCH - Duration::new(4, 750_000_000));
    }
}
