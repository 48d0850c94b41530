//! One file of the mount: what it was loaded from, what was changed since, who has it open.
//! Where it stands in the tree is the `table`'s business.

use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::entry::{Attrs, Content, Time, Value};
use lattice_engine::id::{EntryId, FileId};
use lattice_engine::merge::Record;
use lattice_engine::store::Reader;
use parking_lot::Mutex;

use super::lent::Lent;
use super::listing::Listing;
use super::staged::Staged;
use super::underway::{Gate, Underway};
use super::volume::Volume;
use crate::view::{Kind, Shown};

/// What answers for an inode.
#[derive(Debug, Clone)]
pub enum Place {
    /// The mount's root when it shows every store.
    Top,
    /// A symlink there from a store's name to its directory.
    StoreName(Bytes),
    /// Anything in a store; its root, too.
    Store(Arc<Volume>),
    /// `.lattice` and what is in it.
    Control(Arc<Volume>, Vec<Bytes>),
}

#[derive(Debug)]
pub struct Inode {
    pub ino: u64,
    pub kind: Kind,
    pub place: Place,
    pub state: Mutex<State>,
}

impl Inode {
    /// Whether the kernel may keep its name and attributes until the watcher takes them back.
    pub fn is_cacheable(&self) -> bool {
        !matches!(self.place, Place::Control(..))
    }

    pub fn is_dir(&self) -> bool {
        self.kind == Kind::Dir
    }
}

/// Permission bits, owner and times, as shown now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    pub atime: Time,
    pub ctime: Time,
}

impl Meta {
    pub fn of(shown: &Shown) -> Self {
        let Shown { mode, uid, gid, mtime, atime, ctime, .. } = *shown;
        Self { mode, uid, gid, mtime, atime, ctime }
    }

    /// Equal in all that a change elsewhere could have meant to alter.
    pub fn same_but_ctime(&self, other: &Self) -> bool {
        Self { ctime: other.ctime, ..*self } == *other
    }
}

/// Everything of an inode that changes. Only files of a store have more than `meta`.
#[derive(Debug)]
pub struct State {
    pub file_id: FileId,
    pub value: Value,
    /// What a save supersedes: the version that was read, and none that was not.
    pub cites: Vec<EntryId>,
    /// False for a file that was created and is still waiting for its first close.
    pub committed: bool,
    /// Its name is gone; it lives until the last close and is never committed again.
    pub unlinked: bool,
    /// It never had a name, and `link` may give it one: `unlinked` until then.
    pub linkable: bool,
    pub meta: Meta,
    pub opens: u32,
    pub writers: u32,
    /// Those of `opens` that the kernel serves from `lent`.
    pub through: u32,
    pub lent: Option<Lent>,
    /// The kernel may have cached bytes from before others wrote the lent file.
    pub stale: bool,
    pub staged: Option<Staged>,
    /// Pinned in the table, because the flusher has it on its list: what a full disk kept from being saved is all there is.
    pub kept: bool,
    pub reader: Option<Reader>,
    /// A large file at rest in the staging directory, logged, on its way to become content.
    pub intent: Option<Arc<Underway>>,
    /// What is staged is being read, without this lock: it must not change before the gate is open.
    pub frozen: Option<Gate>,
    /// [`Volume::epoch`] when `cites` was right: a directory rename above gives a file new heads.
    pub epoch: u64,
    /// When something last appeared or vanished in this directory that the store doesn't know of yet.
    pub touched: Option<Time>,
    /// A directory's order, as the kernel may have it cached.
    pub listing: Option<Arc<Listing>>,
}

impl State {
    pub fn new(file_id: FileId, value: Value, meta: Meta, epoch: u64) -> Self {
        Self {
            file_id,
            value,
            cites: Vec::new(),
            committed: true,
            unlinked: false,
            linkable: false,
            meta,
            opens: 0,
            writers: 0,
            through: 0,
            lent: None,
            stale: false,
            staged: None,
            kept: false,
            reader: None,
            intent: None,
            frozen: None,
            epoch,
            touched: None,
            listing: None,
        }
    }

    /// Bytes as `stat` shows them.
    pub fn size(&self) -> u64 {
        match (&self.staged, &self.intent, &self.value) {
            (Some(staged), ..) => staged.size(),
            (None, Some(underway), _) => underway.intent.size,
            (None, None, Value::File(content)) => content.size(),
            (None, None, Value::Symlink(target)) => target.len() as u64,
            (None, None, Value::Dir) => crate::view::effective::DIR_SIZE,
            (None, None, Value::Fifo | Value::Socket) => 0,
        }
    }

    pub fn content(&self) -> Option<&Content> {
        match &self.value {
            Value::File(content) => Some(content),
            _ => None,
        }
    }

    /// Whether changes wait for a commit.
    pub fn is_dirty(&self) -> bool {
        self.staged.as_ref().is_some_and(Staged::is_dirty)
    }

    /// Notes attribute changes that go in the same entry as the staged content. `None` when nothing is staged that
    /// will be committed: then they must be committed on their own.
    pub fn stage_attrs(&mut self, attrs: &Attrs) -> bool {
        match &mut self.staged {
            Some(staged) if staged.is_dirty() => {
                staged.attrs.overlay(attrs.clone());
                true
            }
            _ => false,
        }
    }

    /// Shows `attrs` in `meta`.
    pub fn show_attrs(&mut self, attrs: &Attrs, now: Time) {
        let meta = &mut self.meta;
        meta.mode = attrs.mode.unwrap_or(meta.mode);
        meta.uid = attrs.uid.unwrap_or(meta.uid);
        meta.gid = attrs.gid.unwrap_or(meta.gid);
        meta.mtime = attrs.mtime.unwrap_or(meta.mtime);
        meta.atime = attrs.atime.unwrap_or(meta.atime);
        meta.ctime = meta.ctime.max(now);
    }

    /// Content changed just now.
    pub fn touch(&mut self, now: Time) {
        self.meta.mtime = now;
        self.meta.ctime = self.meta.ctime.max(now);
    }
}

/// The heads that a save supersedes after reading what is shown: the winner, and those that say nothing else (equal
/// values, and deletions that lost against it). A sibling that differs was not seen, and stays a conflict.
pub fn cites(record: &Record) -> Vec<EntryId> {
    let Some(shown) = crate::view::effective::shown_head(record) else {
        return record.heads.iter().filter(|h| h.node.is_none()).map(|h| h.entry.id).collect();
    };
    record
        .heads
        .iter()
        .filter(|h| h.entry.id == shown.entry.id || h.node.is_none() || h.node == shown.node)
        .map(|h| h.entry.id)
        .collect()
}
