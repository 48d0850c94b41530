//! `.lattice`, the virtual directory at each store's root: status, conflicts, history and a file to write commands to.
//!
//! Found by look-up and never listed, so that `find`, `grep -r`, `tar` and `rsync` don't walk into it; finite; every file
//! has its true size. Read-only but for two things: removing a version under `conflicts/` discards it, and `ctl` takes
//! commands. Paths are what follows `.lattice/`, a segment each; the empty path is the directory itself.
//!
//! `conflicts/<key>/` and `history/<key>/` hold a key's versions (files) beside what stands below the key
//! (directories). A directory keeps its name always, so the path to a key is the key; a version that would have the same
//! name gets a `~` in front of it.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use lattice_engine::entry::Time;
use lattice_engine::key::Key;
use lattice_engine::store::{Cursor, Handle, Reader, StoreError};
use parking_lot::Mutex;

use super::resolve::ResolveError;
use super::twins::Found;
use history::Listing;
use text::{Snapshot, Text};

mod conflicts;
mod ctl;
mod history;
mod text;
mod versions;

pub(crate) use ctl::decode_any;
pub use ctl::parse_key;

/// The directory's name, which no key can have.
pub const NAME: &[u8] = lattice_engine::key::RESERVED;

/// Why something under `.lattice` can't be done, with the errno that says it.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// ENOENT
    #[error("no such file under .lattice")]
    NotFound,
    /// ENOTDIR
    #[error("not a directory")]
    NotADirectory,
    /// EISDIR
    #[error("is a directory")]
    IsADirectory,
    /// EPERM
    #[error("only versions under .lattice/conflicts can be removed, and only .lattice/ctl can be written")]
    NotPermitted,
    /// EINVAL
    #[error("line {line}: {why}")]
    BadCommand { line: usize, why: String },
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub type Result<T> = std::result::Result<T, ControlError>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VKind {
    Dir,
    File,
}

/// A virtual file or directory as `stat` shows it; the owner is the mount's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VNode {
    pub kind: VKind,
    /// Bytes that reading it gives.
    pub size: u64,
    /// Permission bits. Directories in which something can be removed are writable.
    pub mode: u32,
    pub mtime: Time,
    /// The same for the same path of the same store, across restarts.
    pub ino: u64,
}

/// An open virtual file: keeps reading what it opened.
#[derive(Debug, Clone)]
pub enum VFile {
    /// Text as it was when it was opened.
    Text(Bytes),
    /// The content of a version.
    Version(Reader),
}

impl VFile {
    /// In bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Version(reader) => reader.size(),
        }
    }

    /// Fewer bytes than asked only at the end.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> std::result::Result<usize, StoreError> {
        match self {
            Self::Text(text) => {
                let rest = usize::try_from(offset).ok().and_then(|o| text.get(o..)).unwrap_or_default();
                let n = rest.len().min(buf.len());
                buf[..n].copy_from_slice(&rest[..n]);
                Ok(n)
            }
            Self::Version(reader) => reader.read_at(buf, offset),
        }
    }
}

/// The control directory of one store. Text files are made anew at every look-up, so whoever caches their attributes
/// for longer than a moment shows old ones.
#[derive(Debug, Clone)]
pub struct Control {
    handle: Handle,
    born: Time,
    texts: Arc<Mutex<Vec<(Text, Snapshot)>>>,
    listing: Arc<Mutex<Option<Listing>>>,
    twins: Arc<Mutex<Option<(Cursor, Found)>>>,
}

/// Where a path leads.
enum Place<'a> {
    Root,
    Text(Text),
    Ctl,
    Conflicts(&'a [Bytes]),
    History(&'a [Bytes]),
}

impl Control {
    pub fn new(handle: Handle) -> Self {
        Self { handle, born: now(), texts: Arc::default(), listing: Arc::default(), twins: Arc::default() }
    }

    /// What stands at `path`.
    ///
    /// # Errors
    /// `NotFound`; `NotADirectory` for a path through a file; what the store says.
    pub fn lookup(&self, path: &[Bytes]) -> Result<VNode> {
        Ok(self.find(path)?.0)
    }

    /// [`Control::lookup`], with what a text file reads as: its size is that text's, and the next look-up may find another.
    ///
    /// # Errors
    /// As `lookup`.
    pub fn find(&self, path: &[Bytes]) -> Result<(VNode, Option<Bytes>)> {
        let node = match place(path)? {
            Place::Root => self.dir(path, false),
            Place::Text(text) => {
                let snapshot = self.text(text, true)?;
                let node = self.file(path, snapshot.text.len() as u64, 0o444, snapshot.at);
                return Ok((node, Some(snapshot.text)));
            }
            Place::Ctl => self.file(path, 0, 0o200, self.born),
            Place::Conflicts(rest) => self.conflict_node(path, rest)?,
            Place::History(rest) => self.history_node(path, rest)?,
        };
        Ok((node, None))
    }

    /// What a directory holds, in order: versions before directories, the newest first.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`; what the store says.
    pub fn list(&self, path: &[Bytes]) -> Result<Vec<(Bytes, VNode)>> {
        match place(path)? {
            Place::Root => self.list_root(),
            Place::Text(_) | Place::Ctl => Err(ControlError::NotADirectory),
            Place::Conflicts(rest) => self.list_conflicts(path, rest),
            Place::History(rest) => self.list_history(path, rest),
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// `NotFound`, `IsADirectory`; what the store says, for a version whose content is gone among other things.
    pub fn open(&self, path: &[Bytes]) -> Result<VFile> {
        match place(path)? {
            Place::Root => Err(ControlError::IsADirectory),
            Place::Text(text) => Ok(VFile::Text(self.text(text, false)?.text)),
            Place::Ctl => Ok(VFile::Text(Bytes::new())),
            Place::Conflicts(rest) => self.conflict_version(rest)?.open(&self.handle),
            Place::History(rest) => self.history_version(rest)?.open(&self.handle),
        }
    }

    /// Removes a version from `conflicts/<key>/`: it is discarded. Returns the key.
    ///
    /// # Errors
    /// `NotPermitted` for anything else.
    pub fn remove(&self, path: &[Bytes]) -> Result<Key> {
        match place(path)? {
            Place::Conflicts(rest) => self.discard(rest),
            _ => {
                self.lookup(path)?;
                Err(ControlError::NotPermitted)
            }
        }
    }

    fn list_root(&self) -> Result<Vec<(Bytes, VNode)>> {
        let texts = Text::ALL.iter().map(|t| t.name());
        let names = texts.chain(["conflicts", "history", "ctl"]);
        names
            .map(|name| {
                let name = Bytes::from_static(name.as_bytes());
                let node = self.lookup(std::slice::from_ref(&name))?;
                Ok((name, node))
            })
            .collect()
    }

    fn dir(&self, path: &[Bytes], writable: bool) -> VNode {
        let mode = if writable { 0o755 } else { 0o555 };
        VNode { kind: VKind::Dir, size: 0, mode, mtime: self.born, ino: self.ino(path) }
    }

    fn file(&self, path: &[Bytes], size: u64, mode: u32, mtime: Time) -> VNode {
        VNode { kind: VKind::File, size, mode, mtime, ino: self.ino(path) }
    }

    fn ino(&self, path: &[Bytes]) -> u64 {
        let mut hasher = blake3::Hasher::new_derive_key("lattice 2026 v1 control directory");
        hasher.update(self.handle.id().as_bytes());
        for segment in path {
            hasher.update(b"/");
            hasher.update(segment);
        }
        let mut ino = [0; 8];
        ino.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        // 0 and 1 mean other things to those who read inode numbers.
        u64::from_le_bytes(ino).max(2)
    }
}

/// Splits a path at its first segment.
fn place(path: &[Bytes]) -> Result<Place<'_>> {
    let Some((first, rest)) = path.split_first() else {
        return Ok(Place::Root);
    };
    let file = match &first[..] {
        b"conflicts" => return Ok(Place::Conflicts(rest)),
        b"history" => return Ok(Place::History(rest)),
        b"ctl" => Place::Ctl,
        name => Text::named(name).map(Place::Text).ok_or(ControlError::NotFound)?,
    };
    if rest.is_empty() { Ok(file) } else { Err(ControlError::NotADirectory) }
}

/// The key that segments spell; segments that can't be one lead nowhere.
fn key_of(segments: &[Bytes]) -> Result<Key> {
    segments.iter().try_fold(Key::ROOT, |key, segment| key.join(segment)).map_err(|_| ControlError::NotFound)
}

/// A path with one more segment.
fn child(path: &[Bytes], name: &Bytes) -> Vec<Bytes> {
    path.iter().chain([name]).cloned().collect()
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { s: since.as_secs() as i64, ns: since.subsec_nanos() }
}
