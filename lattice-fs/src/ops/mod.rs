//! File semantics over stores, without fuser: what `lookup`, `write` or `rename` mean. The adapter in `fuse` decodes a
//! request, calls one function here and replies; the tests call the same functions.
//!
//! A file that is being written is staged (memory, then a file beside the store) and becomes one entry at close, fsync
//! or after some seconds of quiet; everything else commits at once. Nothing here waits for the network, and nothing
//! calls into the kernel's caches: that is the watcher's job, on a thread of its own.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use lattice_engine::id::StoreId;
use lattice_engine::key::Key;
use lattice_engine::merge::{EntryRef, Record};
use lattice_engine::node::Node;
use lattice_engine::store::{Change, Handle, StoreError};
use parking_lot::{Mutex, RwLock};

pub mod attr;
mod background;
mod behind;
mod bring;
mod commit;
mod control;
mod create;
mod dir;
mod early;
pub mod errno;
mod ids;
pub mod inode;
mod lent;
mod listing;
mod lookup;
mod nameless;
mod open;
mod ranges;
mod read;
mod remove;
mod rename;
mod staged;
mod table;
#[cfg(test)]
mod tests;
mod through;
mod top;
mod underway;
pub mod volume;
mod waits;
mod watch;
mod write;
mod xattr;

pub use attr::{Attr, SetAttr, SetTime};
pub use background::Background;
pub use dir::DirEntry;
pub use errno::{Errno, Result};
pub use inode::Inode;
pub use lent::{Backing, Register};
pub use lookup::Looked;
pub use open::Opened;
pub use rename::RenameFlags;
pub use staged::MEMORY_MAX;
pub use table::ROOT;
pub use watch::Kernel;
pub use xattr::SetHow;

use inode::Place;
use table::Table;
use volume::Volume;

use crate::view::control::VFile;

/// What a mount shows.
#[derive(Debug, Clone)]
pub enum What {
    /// Every store of the node: a directory per UUID, a symlink per name.
    All(Node),
    /// One store's tree at the mount's root.
    One(Handle),
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Caller {
    pub uid: u32,
    pub gid: u32,
}

/// A mounted view: every face of `fuse` is a method of it. Calls may come from any thread.
#[derive(Debug)]
pub struct Fs {
    what: What,
    /// The daemon's, and what a file without an owner shows.
    uid: u32,
    gid: u32,
    table: Table,
    volumes: RwLock<HashMap<StoreId, Arc<Volume>>>,
    top: RwLock<top::Top>,
    ids: ids::FileIds,
    dirs: Mutex<HashMap<u64, Arc<Mutex<dir::Stream>>>>,
    /// Open files of `.lattice`.
    texts: Mutex<HashMap<u64, VFile>>,
    next_handle: AtomicU64,
    queue: background::Queue,
    kernel: OnceLock<Box<dyn Kernel>>,
    /// Whose disk `statfs` describes.
    data_dir: PathBuf,
}

impl Fs {
    /// `data_dir` is where the stores live.
    pub fn new(what: What, data_dir: PathBuf) -> Arc<Self> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let fs = Arc::new(Self {
            uid,
            gid,
            table: Table::default(),
            volumes: RwLock::default(),
            top: RwLock::default(),
            ids: ids::FileIds::new(),
            dirs: Mutex::default(),
            texts: Mutex::default(),
            next_handle: AtomicU64::new(1),
            queue: background::Queue::default(),
            kernel: OnceLock::new(),
            what,
            data_dir,
        });
        fs.set_root();
        fs
    }

    fn set_root(&self) {
        match &self.what {
            What::All(_) => {
                self.table.set_root(Arc::new(top::root_inode(self.uid, self.gid)));
                self.refresh_stores();
            }
            What::One(handle) => {
                let volume = Arc::new(Volume::new(handle.clone(), ROOT, self.uid, self.gid));
                self.table.set_root(Arc::new(lookup::root_of(&volume)));
                self.volumes.write().insert(volume.id, volume);
            }
        }
    }

    /// The stores shown now.
    pub fn volumes(&self) -> Vec<Arc<Volume>> {
        self.volumes.read().values().cloned().collect()
    }

    /// The data directory's disk.
    pub fn statfs(&self) -> Result<rustix::fs::StatVfs> {
        rustix::fs::statvfs(&self.data_dir)
    }

    pub fn inode(&self, ino: u64) -> Result<Arc<Inode>> {
        self.table.get(ino)
    }

    pub fn forget(&self, ino: u64, n: u64) {
        self.table.forget(ino, n);
    }

    /// A directory of a store that may be changed, and its volume.
    fn writable_dir(&self, ino: u64) -> Result<(Arc<Inode>, Arc<Volume>)> {
        let dir = self.table.get(ino)?;
        let Place::Store(volume) = &dir.place else {
            return Err(Errno::PERM);
        };
        let volume = volume.clone();
        if !dir.is_dir() {
            return Err(Errno::NOTDIR);
        }
        if dir.state.lock().unlinked {
            return Err(Errno::NOENT);
        }
        volume.writable()?;
        Ok((dir, volume))
    }

    /// All or nothing, with the error already translated.
    fn commit(
        &self,
        volume: &Volume,
        operation: &'static str,
        key: &Key,
        changes: Vec<Change>,
    ) -> Result<EntryRef> {
        volume.handle.commit(changes).map_err(|e| volume.failed(operation, key, &e))
    }

    fn record(&self, volume: &Volume, operation: &'static str, key: &Key) -> Result<Option<Arc<Record>>> {
        volume.handle.get(key).map_err(|e| volume.failed(operation, key, &e))
    }

    /// The path of an inode as far as it is known, for messages.
    fn path_of(&self, inode: &Inode) -> String {
        match &inode.place {
            Place::Store(volume) => {
                let key = self.table.key(volume, inode.ino, None);
                key.map_or_else(|_| format!("inode {}", inode.ino), |k| k.to_string())
            }
            _ => format!("inode {}", inode.ino),
        }
    }
}

impl Volume {
    /// Translates a failure, and remembers when it means that nothing more can be written.
    fn failed(&self, operation: &'static str, key: &Key, error: &StoreError) -> Errno {
        if let StoreError::ReadOnly { .. } = error {
            self.read_only.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        errno::of_store(operation, key, error)
    }

    fn writable(&self) -> Result<()> {
        match self.read_only.load(std::sync::atomic::Ordering::Relaxed) {
            true => Err(Errno::ROFS),
            false => Ok(()),
        }
    }
}
