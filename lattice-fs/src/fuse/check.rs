//! What is mounted where, and whether a directory can be mounted on.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use super::FS_TYPE;
use super::sys::{MountError, io_on, unmount};

/// A line of /proc/self/mountinfo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mounted {
    pub dir: PathBuf,
    pub fs_type: String,
    pub source: String,
    /// `major:minor`
    pub device: String,
}

/// Every mount of the type `fuse.lattice`, of any process.
pub fn mounts() -> io::Result<Vec<Mounted>> {
    Ok(all_mounts()?.into_iter().filter(|m| m.fs_type == FS_TYPE).collect())
}

fn all_mounts() -> io::Result<Vec<Mounted>> {
    let table = std::fs::read("/proc/self/mountinfo")?;
    Ok(table.split(|b| *b == b'\n').filter_map(parse).collect())
}

/// `id parent major:minor root dir options [tags] - type source options`
fn parse(line: &[u8]) -> Option<Mounted> {
    let mut words = line.split(|b| *b == b' ');
    let device = text(words.nth(2)?);
    let dir = PathBuf::from(OsString::from_vec(unescape(words.nth(1)?)));
    let mut words = words.skip_while(|w| *w != b"-").skip(1);
    Some(Mounted { dir, device, fs_type: text(words.next()?), source: text(words.next()?) })
}

fn text(word: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(word)).into_owned()
}

/// Spaces, tabs, newlines and backslashes stand as `\ooo`.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, tail)) = rest.split_first() {
        let octal = tail
            .get(..3)
            .and_then(|d| std::str::from_utf8(d).ok())
            .and_then(|d| u8::from_str_radix(d, 8).ok());
        match octal {
            Some(byte) if *first == b'\\' => {
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

/// The mount that shows at `dir`: the last one on it. Looks at names only, for a dead mount can't be looked into.
pub(super) fn mounted_at(dir: &Path) -> Result<Option<Mounted>, MountError> {
    let dir = real_path(dir)?;
    let all = all_mounts().map_err(io_on("read the mount table for", &dir))?;
    Ok(all.into_iter().rev().find(|m| m.dir == dir))
}

/// As in the mount table, without touching `dir` itself where that fails.
pub(super) fn real_path(dir: &Path) -> Result<PathBuf, MountError> {
    if let Ok(path) = dir.canonicalize() {
        return Ok(path);
    }
    let missing = || MountError::Missing(dir.to_path_buf());
    let dir = std::path::absolute(dir).map_err(|_| missing())?;
    let name = dir.file_name().ok_or_else(missing)?;
    let parent = dir.parent().ok_or_else(missing)?.canonicalize().map_err(|_| missing())?;
    Ok(parent.join(name))
}

/// Detaches a mount of ours whose daemon died ("transport endpoint is not connected"). True if there was one; whatever
/// else is there is left alone.
///
/// # Errors
/// Looking, or detaching.
pub fn clear_dead_mount(dir: &Path) -> Result<bool, MountError> {
    if mounted_at(dir)?.is_none_or(|m| m.fs_type != FS_TYPE) {
        return Ok(false);
    }
    // Not stat(2): the kernel answers that from its cache long after the daemon died.
    let dead = rustix::fs::statvfs(dir).is_err_and(|e| e == rustix::io::Errno::NOTCONN);
    if !dead {
        return Ok(false);
    }
    unmount(&real_path(dir)?, true)?;
    Ok(true)
}

/// Whether `dir` can be mounted on: an empty directory that nothing is mounted on.
pub(super) fn check_mount_point(dir: &Path) -> Result<PathBuf, MountError> {
    let meta = std::fs::metadata(dir).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => MountError::Missing(dir.to_path_buf()),
        _ => io_on("look at", dir)(e),
    })?;
    if !meta.is_dir() {
        return Err(MountError::NotADirectory(dir.to_path_buf()));
    }
    let dir = real_path(dir)?;
    if let Some(m) = mounted_at(&dir)? {
        return Err(MountError::Mounted { dir, source_name: m.source, fs_type: m.fs_type });
    }
    let mut entries = std::fs::read_dir(&dir).map_err(io_on("list", &dir))?;
    if entries.next().is_some() {
        return Err(MountError::NotEmpty(dir));
    }
    Ok(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_table_line_is_read_with_its_escapes() {
        let line = br"36 35 0:45 / /mnt/my\040notes rw,nosuid shared:1 master:2 - fuse.lattice lattice:my\040notes rw,user_id=0";
        let mounted = parse(line).expect("a line");
        assert_eq!(mounted.dir, Path::new("/mnt/my notes"));
        assert_eq!((mounted.fs_type.as_str(), mounted.source.as_str()), (FS_TYPE, "lattice:my notes"));
        assert_eq!(mounted.device, "0:45");
    }

    #[test]
    fn what_can_not_be_mounted_on_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, gone) = (dir.path().join("file"), dir.path().join("gone"));
        std::fs::write(&file, "x").expect("a file");
        assert!(matches!(check_mount_point(&gone), Err(MountError::Missing(_))));
        assert!(matches!(check_mount_point(&file), Err(MountError::NotADirectory(_))));
        assert!(matches!(check_mount_point(dir.path()), Err(MountError::NotEmpty(_))));
        assert!(matches!(check_mount_point(Path::new("/proc")), Err(MountError::Mounted { .. })));
        std::fs::remove_file(&file).expect("removed");
        assert!(check_mount_point(dir.path()).is_ok());
    }
}
