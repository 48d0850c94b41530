//! One machine: an identity, a disk that can lose its power, a clock that can be wrong, and stores while it runs: one alone, or
//! one that says who the members are and one beside it, as a node has them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lattice_engine::access::Membership;
use lattice_engine::clock::ManualClock;
use lattice_engine::disk::Disk;
use lattice_engine::disk::sim::SimDisk;
use lattice_engine::entry::Entry;
use lattice_engine::id::{NodeId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::store::{self, Authority, Handle, OpenOptions};
use lattice_engine::sync::schedule::Schedule;
use lattice_engine::sync::{Mesh, SharedForks, SharedTips};

use super::first::First;

/// 22 November 2026, about.
const EPOCH_MS: u64 = 1_795_300_000_000;

pub struct Node {
    pub id: NodeId,
    identity: Arc<Identity>,
    pub disk: SimDisk,
    clock: Arc<ManualClock>,
    rooted: bool,
    /// How far its clock is off, in milliseconds.
    pub off: i64,
    /// The first says who the members are, where any does.
    pub stores: Vec<Local>,
    /// Counts its starts: what was meant for an earlier life is void.
    pub life: u64,
    pub schedule: Schedule,
    /// When it looks at its schedule next.
    pub tick: Option<u64>,
    /// Whom it was last seen to take for members.
    pub members: Option<Arc<Membership>>,
    /// Its disk as it once was, and what it had published by then, of each store.
    pub backup: Option<(SimDisk, Vec<SharedTips>)>,
}

/// One of its stores.
pub struct Local {
    id: StoreId,
    /// While the node runs.
    pub handle: Option<Handle>,
    pub mesh: Mesh,
    /// Its first write since it started.
    pub first: First,
    /// The forks that its sessions know of.
    pub forks: SharedForks,
    /// What it last published.
    pub published: SharedTips,
    /// The number of the last entry of its own that it ever published.
    pub once: u64,
}

impl Local {
    fn new(handle: Handle) -> Self {
        Self {
            id: handle.id(),
            mesh: Mesh::default(),
            first: First::new(0),
            forks: handle.forks(),
            published: handle.published(),
            once: 0,
            handle: Some(handle),
        }
    }
}

fn stores() -> &'static Path {
    Path::new("/stores")
}

impl Node {
    /// A machine with empty stores that begin with `geneses`.
    pub fn new(seed: u8, geneses: &[Entry], rooted: bool) -> Self {
        let identity = Arc::new(Identity::from_seed([seed; 32]));
        let disk = SimDisk::new();
        disk.create_dir_all(stores()).expect("an empty disk");
        let mut node = Self {
            id: identity.node_id(),
            identity,
            disk,
            clock: Arc::new(ManualClock::at(EPOCH_MS)),
            rooted,
            off: 0,
            stores: Vec::new(),
            life: 0,
            schedule: Schedule::default(),
            tick: None,
            members: None,
            backup: None,
        };
        for genesis in geneses {
            let store = store::adopt(stores(), genesis, &node.options()).expect("a new store");
            node.stores.push(Local::new(store));
        }
        node.follow_root().expect("there is nothing yet");
        node
    }

    /// How the next store is opened: those beside the first are judged by it.
    fn options(&self) -> OpenOptions {
        let root = self.handle(0).filter(|_| self.rooted);
        let authority = match root.map(Handle::membership) {
            Some(membership) => Authority::Root(membership),
            None if self.rooted => Authority::Itself,
            None => Authority::Everyone,
        };
        OpenOptions {
            disk: Arc::new(self.disk.clone()),
            identity: self.identity.clone(),
            clock: self.clock.clone(),
            background: false,
            authority,
        }
    }

    /// Every change of the members reaches the stores beside the root store at once, on the thread that brings it.
    fn follow_root(&self) -> store::Result<()> {
        let Some(root) = self.handle(0).filter(|_| self.rooted) else { return Ok(()) };
        let beside: Vec<Handle> =
            self.stores.iter().skip(1).filter_map(|local| local.handle.clone()).collect();
        for store in &beside {
            store.set_membership(root.membership())?;
        }
        root.on_members_changed(Box::new(move |membership| {
            for store in &beside {
                // A disk that fails freezes the store, and that is seen.
                let _ = store.set_membership(membership.clone());
            }
        }));
        Ok(())
    }

    pub fn runs(&self) -> bool {
        self.handle(0).is_some()
    }

    /// One of its stores, while it runs.
    pub fn handle(&self, which: usize) -> Option<&Handle> {
        self.stores.get(which)?.handle.as_ref()
    }

    fn dir(store: StoreId) -> PathBuf {
        stores().join(store.to_string())
    }

    /// The wall clock follows simulated time, off by as much as it is.
    pub fn set_clock(&self, now: u64) {
        let wall = i64::try_from(EPOCH_MS + now).unwrap_or(i64::MAX).saturating_add(self.off);
        self.clock.set(u64::try_from(wall).unwrap_or(0));
    }

    pub fn wall(&self, now: u64) -> u64 {
        EPOCH_MS.saturating_add(now).saturating_add_signed(self.off)
    }

    pub fn set_wall(&mut self, now: u64, wall: u64) {
        self.off = wall as i64 - (EPOCH_MS + now) as i64;
        self.set_clock(now);
    }

    /// It goes, and leaves this disk.
    pub fn stop(&mut self, disk: SimDisk) {
        self.life += 1;
        for local in &mut self.stores {
            local.handle = None;
            local.mesh = Mesh::default();
        }
        self.tick = None;
        self.disk = disk;
    }

    /// It starts on the disk that it has.
    pub fn start(&mut self) -> Result<(), String> {
        for which in 0..self.stores.len() {
            let id = self.stores[which].id;
            let opened = store::open(&Self::dir(id), id, &self.options()).map_err(|e| e.to_string())?;
            let local = &mut self.stores[which];
            local.published = opened.published();
            local.forks = opened.forks();
            local.handle = Some(opened);
        }
        self.follow_root().map_err(|e| e.to_string())?;
        self.schedule = Schedule::default();
        Ok(())
    }
}
