//! The mounts of this process: a table from directory to live mount. Refuses a mount point that is not there, not a
//! directory, not empty, or a mount already; clears a dead mount of ours first.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lattice_engine::id::StoreId;
use lattice_engine::node::Node;
use parking_lot::Mutex;

use crate::fuse::{Mount, MountOptions, clear_dead_mount};

/// Why a directory can't be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error("{dir} doesn't exist: make it by `mkdir -p {dir}`", dir = .0.display())]
    Missing(PathBuf),
    #[error("{dir} is not a directory", dir = .0.display())]
    NotADirectory(PathBuf),
    #[error("{dir} is not empty: mount on an empty directory", dir = .0.display())]
    NotEmpty(PathBuf),
    #[error("{dir} is a Lattice mount already", dir = .0.display())]
    Already(PathBuf),
    #[error("{dir} is not a mount of this daemon: `lattice mount` lists them", dir = .0.display())]
    NotMounted(PathBuf),
    #[error("{dir} is in use: leave it and close what is open there, or detach it by `lattice unmount --force`", dir = .0.display())]
    Busy(PathBuf),
    #[error("{dir} can't be read: {source}", dir = dir.display())]
    Unreadable { dir: PathBuf, source: std::io::Error },
    #[error("{dir} can't be mounted: {source}; `lattice doctor` says what is missing", dir = dir.display())]
    Failed { dir: PathBuf, source: std::io::Error },
    #[error("{dir} can't be unmounted: {source}", dir = dir.display())]
    Stuck { dir: PathBuf, source: std::io::Error },
}

pub type Result<T> = std::result::Result<T, MountError>;

/// What to mount where.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// An absolute path, as bytes.
    pub dir: Vec<u8>,
    /// `None`: all stores.
    pub store: Option<StoreId>,
    pub read_only: bool,
    pub allow_other: bool,
}

/// What is mounted where.
#[derive(Debug, Clone)]
pub struct Mounted {
    pub dir: PathBuf,
    /// The store's name; `None`: all stores.
    pub store: Option<String>,
    /// As in `/proc/mounts`.
    pub source: String,
    /// Whether the kernel reads large files without asking us.
    pub passthrough: bool,
}

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Mounts(Arc<Mutex<Vec<Live>>>);

#[derive(Debug)]
struct Live {
    what: Mounted,
    mount: Mount,
}

impl Mounts {
    /// Mounts, and returns when the kernel has taken it.
    pub fn add(&self, node: &Node, wanted: Wanted) -> Result<Mounted> {
        let dir = PathBuf::from(OsString::from_vec(wanted.dir));
        clear_dead_mount(&dir).map_err(|source| MountError::Failed { dir: dir.clone(), source })?;
        let dir = check_mount_point(&dir)?;
        let mut live = self.0.lock();
        if live.iter().any(|m| m.what.dir == dir && !m.mount.ended()) {
            return Err(MountError::Already(dir));
        }
        live.retain(|m| m.what.dir != dir);
        let options = MountOptions {
            store: wanted.store,
            read_only: wanted.read_only,
            allow_other: wanted.allow_other,
        };
        let mount = Mount::new(node, &dir, options).map_err(|source| MountError::Failed { dir: dir.clone(), source })?;
        let name = wanted.store.map(|id| {
            let info = node.stores().into_iter().find(|s| s.id == id);
            info.map_or_else(|| id.to_string(), |s| s.name)
        });
        let what = Mounted {
            dir,
            source: name.as_ref().map_or("lattice".into(), |n| format!("lattice:{n}")),
            store: name,
            passthrough: mount.passthrough(),
        };
        live.push(Live { what: what.clone(), mount });
        Ok(what)
    }

    pub fn list(&self) -> Vec<Mounted> {
        self.0.lock().iter().filter(|m| !m.mount.ended()).map(|m| m.what.clone()).collect()
    }

    /// Whether none is left; one that was unmounted from outside has ended.
    pub fn is_empty(&self) -> bool {
        self.0.lock().iter().all(|m| m.mount.ended())
    }

    /// Flushes and unmounts. `force` detaches one that is in use.
    pub fn remove(&self, dir: &Path, force: bool) -> Result<Mounted> {
        let mut live = self.0.lock();
        let at = live.iter().position(|m| m.what.dir == dir && !m.mount.ended());
        let at = at.ok_or_else(|| MountError::NotMounted(dir.into()))?;
        unmount(&live[at], force)?;
        Ok(live.remove(at).what)
    }

    /// All of them, those that can't be among the errors; the first error counts, after every one was tried.
    pub fn remove_all(&self, force: bool) -> Result<Vec<Mounted>> {
        let mut live = self.0.lock();
        let (mut gone, mut stuck, mut first) = (Vec::new(), Vec::new(), None);
        for mount in live.drain(..) {
            match unmount(&mount, force) {
                Ok(()) => gone.push(mount.what),
                Err(e) => {
                    first.get_or_insert(e);
                    stuck.push(mount);
                }
            }
        }
        *live = stuck;
        first.map_or(Ok(gone), Err)
    }
}

fn unmount(live: &Live, force: bool) -> Result<()> {
    if live.mount.ended() {
        return Ok(());
    }
    live.mount.unmount(force).map_err(|source| match source.kind() {
        std::io::ErrorKind::ResourceBusy => MountError::Busy(live.what.dir.clone()),
        _ => MountError::Stuck { dir: live.what.dir.clone(), source },
    })
}

/// The mount point's real path, if it is fit to be one.
fn check_mount_point(dir: &Path) -> Result<PathBuf> {
    let unreadable = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => MountError::Missing(dir.into()),
        std::io::ErrorKind::NotADirectory => MountError::NotADirectory(dir.into()),
        _ => MountError::Unreadable { dir: dir.into(), source },
    };
    let real = dir.canonicalize().map_err(unreadable)?;
    let mut names = std::fs::read_dir(&real).map_err(unreadable)?;
    match names.next() {
        None => Ok(real),
        Some(_) if is_ours(&real) => Err(MountError::Already(real)),
        Some(_) => Err(MountError::NotEmpty(real)),
    }
}

/// Whether a Lattice mount stands at `dir`, by the kernel's table.
fn is_ours(dir: &Path) -> bool {
    kernel_mounts().iter().any(|m| m == dir)
}

/// The directories where the kernel has a Lattice mount, whichever process serves it.
pub fn kernel_mounts() -> Vec<PathBuf> {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    parse_mountinfo(&table)
}

fn parse_mountinfo(table: &[u8]) -> Vec<PathBuf> {
    let ours = |line: &&[u8]| {
        let tail = line.windows(3).position(|w| w == b" - ").map(|i| &line[i + 3..]);
        tail.is_some_and(|t| t.starts_with(b"fuse.lattice "))
    };
    let dir = |line: &[u8]| Some(PathBuf::from(OsString::from_vec(unescape(line.split(|b| *b == b' ').nth(4)?))));
    table.split(|b| *b == b'\n').filter(ours).filter_map(dir).collect()
}

/// The kernel writes blanks and backslashes in paths as three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail.get(..3).and_then(|d| u8::from_str_radix(std::str::from_utf8(d).ok()?, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                out.push(byte);
                rest = &tail[3..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_names_our_mounts() {
        let table = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            40 22 0:40 / /home/a\\040b rw,nosuid - fuse.lattice lattice:home rw\n\
            41 22 0:41 / /mnt rw - fuse.sshfs host: rw\n";
        assert_eq!(parse_mountinfo(table), [PathBuf::from("/home/a b")]);
    }

    #[test]
    fn a_mount_point_must_be_an_empty_directory() {
        let tmp = tempfile::tempdir().expect("tempdir");
        let file = tmp.path().join("file");
        assert!(check_mount_point(tmp.path()).is_ok());
        assert!(matches!(check_mount_point(&file), Err(MountError::Missing(_))));
        std::fs::write(&file, "x").expect("written");
        assert!(matches!(check_mount_point(&file), Err(MountError::NotADirectory(_))));
        assert!(matches!(check_mount_point(tmp.path()), Err(MountError::NotEmpty(_))));
    }
}
