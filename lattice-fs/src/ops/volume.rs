//! One store, as mounted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use lattice_engine::entry::Time;
use lattice_engine::id::StoreId;
use lattice_engine::store::Handle;
use parking_lot::RwLock;

use crate::view::{Control, Defaults};

#[derive(Debug)]
pub struct Volume {
    pub handle: Handle,
    pub id: StoreId,
    /// The inode of the store's root directory.
    pub root: u64,
    pub defaults: Defaults,
    /// `.lattice`
    pub control: Control,
    /// Shared while a key is computed and committed; exclusive while a directory moves, for a key computed before the
    /// move must not be written after it. Taken before any inode's state, never the other way round.
    pub tree: RwLock<()>,
    /// Counts directory renames: see [`State::epoch`](super::inode::State::epoch).
    epoch: AtomicU64,
    /// Counts the changes seen by the watcher: what was loaded from the store while it moved must be loaded again.
    changes: AtomicU64,
    /// Nothing more can be written until the store is opened again.
    pub read_only: AtomicBool,
    /// The store is no longer shown (deleted, or the mount ends).
    pub gone: AtomicBool,
    /// When it was mounted.
    pub born: Time,
}

impl Volume {
    pub fn new(handle: Handle, root: u64, uid: u32, gid: u32) -> Self {
        // So that the watcher is told of what others do, and not of this mount's own echo.
        let handle = handle.with_own_origin();
        let id = handle.id();
        let read_only = handle.read_only().is_some();
        let defaults = Defaults { store: id, author: handle.author(), uid, gid };
        Self {
            control: Control::new(handle.clone()),
            handle,
            id,
            root,
            defaults,
            tree: RwLock::new(()),
            epoch: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            read_only: AtomicBool::new(read_only),
            gone: AtomicBool::new(false),
            born: now(),
        }
    }

    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub fn count_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    pub fn next_epoch(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

/// Wall time, as a file time.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { s: since.as_secs() as i64, ns: since.subsec_nanos() }
}
