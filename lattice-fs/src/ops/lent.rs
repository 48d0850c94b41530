//! A file that the kernel reads by itself (FUSE passthrough), and what is known of who else uses it. The kernel keeps one
//! such file per inode as long as anybody has that open, so all who open the inode meanwhile share it. Says nothing of when
//! a file is lent: that is `through`'s business.

use std::any::Any;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

use lattice_engine::store::Reader;

/// `fcntl(2)`: which signal a lease sends. The `libc` crate lacks it.
const F_SETSIG: libc::c_int = 10;

/// What the kernel calls the file; dropped, it is given back. `fuse` knows what is in it.
#[derive(Clone)]
pub struct Backing(pub Arc<dyn Any + Send + Sync>);

impl std::fmt::Debug for Backing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Backing")
    }
}

/// Makes a file known to the kernel; `None` where it won't have it.
pub type Register<'a> = &'a dyn Fn(&File) -> Option<Backing>;

/// A file that the kernel reads.
#[derive(Debug)]
pub struct Lent {
    /// None while nobody has it open through the kernel, and only a mapping may be left.
    backing: Option<Backing>,
    /// Open for reading only, so that it can be told who else has it open.
    file: File,
    /// While the store has it as an adopted file: keeps it from being punched.
    pub reader: Option<Reader>,
    /// Somebody could have mapped it for writing: its bytes may change without a call.
    pub mappable: bool,
    /// The flusher has it on its list.
    pub listed: bool,
    /// What `stat` said when it was last looked at.
    seen: Option<Stamp>,
}

type Stamp = (i64, i64, i64, i64, u64);

impl Lent {
    /// `None` where the kernel won't have it.
    pub fn new(file: File, reader: Option<Reader>, register: Register<'_>) -> Option<Self> {
        let backing = Some(register(&file)?);
        Some(Self { backing, file, reader, mappable: false, listed: false, seen: None })
    }

    /// Whether the store still has it. A file without a name is nobody's but ours and of those who have it open.
    pub fn is_stored(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.nlink() > 0)
    }

    /// What the kernel calls it, told anew where it was taken back. `None` where the kernel won't have it any more.
    pub fn backing(&mut self, register: Register<'_>) -> Option<Backing> {
        if self.backing.is_none() {
            self.backing = register(&self.file);
        }
        self.backing.clone()
    }

    /// The store's own descriptor of the same file, and what keeps it: false, and nothing is done, if it is another file.
    pub fn adopt(&mut self, file: File, reader: Reader) -> io::Result<bool> {
        let (a, b) = (self.file.metadata()?, file.metadata()?);
        let same = (a.dev(), a.ino()) == (b.dev(), b.ino());
        if same {
            self.file = file;
            self.reader = Some(reader);
        }
        Ok(same)
    }

    pub fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// The same open file.
    pub fn twin(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// The same file, for writing.
    pub fn writable(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(same(&self.file))
    }

    /// Whether anybody else has it open or mapped, now that no open goes through the kernel. In doubt, yes.
    pub fn is_in_use(&mut self) -> bool {
        // The kernel's own reference would count.
        self.backing = None;
        !alone(&self.file)
    }

    /// Whether it changed since this was last asked: through a mapping, too. Read it after this, not before.
    pub fn has_changed(&mut self) -> io::Result<bool> {
        // Written back, a mapped page is write-protected: the next store into it moves the file's times, but those after
        // that don't. Where nothing moved between two flushes, every page will tell.
        rustix::fs::fdatasync(&self.file)?;
        let before = self.stamp()?;
        rustix::fs::fdatasync(&self.file)?;
        let now = Some(self.stamp()?).filter(|now| *now == before);
        let changed = now.is_none() || now != self.seen;
        self.seen = now;
        Ok(changed)
    }

    fn stamp(&self) -> io::Result<Stamp> {
        let m = self.file.metadata()?;
        Ok((m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec(), m.len()))
    }
}

/// Opens what a descriptor leads to anew, for reading only; a name isn't needed.
pub fn reopen(file: &File) -> io::Result<File> {
    File::open(same(file))
}

fn same(file: &File) -> String {
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Whether this descriptor is the only one that leads to its file, mappings included: only then a lease is granted for
/// writing. It is given back at once.
#[allow(
    unsafe_code,
    reason = "fcntl(2) leases have no safe wrapper; the descriptor is borrowed, nothing else is passed"
)]
fn alone(file: &File) -> bool {
    let fd = file.as_raw_fd();
    // Who opens it in between makes the kernel send a signal: one that is ignored unless somebody asks for it.
    // SAFETY: `fd` is open for the whole call, and these commands take integers and touch no memory of ours.
    unsafe {
        libc::fcntl(fd, F_SETSIG, libc::SIGURG) == 0
            && libc::fcntl(fd, libc::F_SETLEASE, libc::F_WRLCK) == 0
            && libc::fcntl(fd, libc::F_SETLEASE, libc::F_UNLCK) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_else_has_it_open_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        std::fs::write(&path, b"bytes").expect("written");
        let file = File::open(&path).expect("opened");
        assert!(alone(&file));
        let other = File::open(&path).expect("opened");
        assert!(!alone(&file), "another reader");
        drop(other);
        let other = OpenOptions::new().write(true).open(&path).expect("opened");
        assert!(!alone(&file), "a writer");
        drop(other);
        assert!(alone(&file));
        // A duplicate is the same open file.
        let _twin = file.try_clone().expect("duplicated");
        assert!(alone(&file));
        std::fs::remove_file(&path).expect("removed");
        assert!(alone(&file), "without a name");
    }
}
