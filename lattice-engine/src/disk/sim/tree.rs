//! Files, names, and the operations on them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::io::Errno;

/// Number of a file, never reused.
pub(super) type Inode = usize;

/// What was done, in order.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Write {
        inode: Inode,
        offset: u64,
        data: Arc<[u8]>,
    },
    SetLen {
        inode: Inode,
        len: u64,
    },
    Punch {
        inode: Inode,
        offset: u64,
        len: u64,
    },
    Sync {
        inode: Inode,
    },
    SyncFailed {
        inode: Inode,
    },
    Create {
        path: PathBuf,
        inode: Inode,
    },
    /// A second name of a file.
    Link {
        path: PathBuf,
        inode: Inode,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        inode: Inode,
    },
    Remove {
        path: PathBuf,
    },
    SyncDir {
        dir: PathBuf,
    },
    Flip {
        inode: Inode,
        offset: u64,
        mask: u8,
    },
}

/// Files and names; what is there before the first operation is durable.
#[derive(Debug, Clone, Default)]
pub(super) struct Tree {
    pub files: Vec<Vec<u8>>,
    pub names: BTreeMap<PathBuf, Inode>,
    pub dirs: BTreeSet<PathBuf>,
}

impl Tree {
    pub(super) fn inode(&self, path: &Path) -> io::Result<Inode> {
        self.names.get(path).copied().ok_or_else(|| Errno::NOENT.into())
    }

    pub(super) fn has_dir(&self, dir: &Path) -> bool {
        dir == Path::new("/") || dir == Path::new("") || self.dirs.contains(dir)
    }

    pub(super) fn require_dir(&self, dir: Option<&Path>) -> io::Result<()> {
        if dir.is_some_and(|d| self.has_dir(d)) { Ok(()) } else { Err(Errno::NOENT.into()) }
    }

    /// Does an operation in full.
    pub(super) fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { inode, offset, data } => write(&mut self.files[*inode], *offset, data),
            Op::SetLen { inode, len } => self.files[*inode].resize(*len as usize, 0),
            Op::Punch { inode, offset, len } => punch(&mut self.files[*inode], *offset, *len),
            Op::Flip { inode, offset, mask } => {
                if let Some(byte) = self.files[*inode].get_mut(*offset as usize) {
                    *byte ^= mask;
                }
            }
            Op::Create { path, inode } | Op::Link { path, inode } => {
                self.names.insert(path.clone(), *inode);
            }
            Op::Rename { from, to, inode } => {
                self.names.remove(from);
                self.names.insert(to.clone(), *inode);
            }
            Op::Remove { path } => {
                self.names.remove(path);
            }
            Op::Sync { .. } | Op::SyncFailed { .. } | Op::SyncDir { .. } => {}
        }
    }
}

pub(super) fn write(file: &mut Vec<u8>, offset: u64, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let range = offset as usize..offset as usize + data.len();
    if file.len() < range.end {
        file.resize(range.end, 0);
    }
    file[range].copy_from_slice(data);
}

pub(super) fn punch(file: &mut [u8], offset: u64, len: u64) {
    let end = file.len().min(offset.saturating_add(len) as usize);
    if let Some(hole) = file.get_mut(offset as usize..end) {
        hole.fill(0);
    }
}
