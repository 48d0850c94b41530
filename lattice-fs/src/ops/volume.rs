//! One store, as mounted.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use lattice_engine::entry::Time;
use lattice_engine::id::StoreId;
use lattice_engine::store::Handle;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

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
    /// Operations that have begun and not yet told the table what they committed, by phase.
    active: [AtomicU32; 2],
    phase: AtomicU32,
    /// Counts directory renames: see [`State::epoch`](super::inode::State::epoch).
    epoch: AtomicU64,
    /// Counts the changes seen by the watcher: what was loaded from the store while it moved must be loaded again.
    changes: AtomicU64,
    /// Nothing more can be written until the store is opened again.
    pub read_only: AtomicBool,
    /// The store is no longer shown (deleted, or the mount ends).
    pub gone: AtomicBool,
}

impl Volume {
    pub fn new(handle: Handle, root: u64, uid: u32, gid: u32) -> Self {
        let id = handle.id();
        let read_only = handle.status().read_only.is_some();
        let defaults = Defaults { store: id, author: handle.author(), uid, gid };
        Self {
            control: Control::new(handle.clone()),
            handle,
            id,
            root,
            defaults,
            tree: RwLock::new(()),
            active: Default::default(),
            phase: AtomicU32::new(0),
            epoch: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            read_only: AtomicBool::new(read_only),
            gone: AtomicBool::new(false),
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

/// An operation that commits: until it is dropped, the watcher waits with what it committed.
#[derive(Debug)]
pub struct Changing<'a> {
    active: &'a AtomicU32,
    _tree: Tree<'a>,
}

#[derive(Debug)]
enum Tree<'a> {
    Shared(#[allow(dead_code)] RwLockReadGuard<'a, ()>),
    Moving(#[allow(dead_code)] RwLockWriteGuard<'a, ()>),
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        self.active.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Volume {
    /// Before a key is computed that will be committed.
    pub fn changing(&self) -> Changing<'_> {
        Changing { _tree: Tree::Shared(self.tree.read()), active: self.begin() }
    }

    /// Before a directory moves.
    pub fn moving(&self) -> Changing<'_> {
        Changing { _tree: Tree::Moving(self.tree.write()), active: self.begin() }
    }

    fn begin(&self) -> &AtomicU32 {
        let active = &self.active[self.phase.load(Ordering::Acquire) as usize & 1];
        active.fetch_add(1, Ordering::AcqRel);
        active
    }

    /// Returns when every operation that had begun before the call has told the table (or, rarely, nearly so: then
    /// the watcher invalidates something that was right).
    pub fn wait_changing(&self) {
        let old = self.phase.fetch_add(1, Ordering::AcqRel) as usize & 1;
        let mut spins = 0u32;
        while self.active[old].load(Ordering::Acquire) > 0 {
            spins += 1;
            if spins < 50 {
                std::thread::yield_now();
            } else {
                std::thread::sleep(std::time::Duration::from_micros(50));
            }
        }
    }
}

/// Wall time, as a file time.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { s: since.as_secs() as i64, ns: since.subsec_nanos() }
}
