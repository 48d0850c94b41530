//! One machine: an identity, a disk that can lose its power, a clock that can be wrong, and a store while it runs.

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
    authority: Authority,
    /// How far its clock is off, in milliseconds.
    pub off: i64,
    /// While it runs.
    pub store: Option<Handle>,
    /// Counts its starts: what was meant for an earlier life is void.
    pub life: u64,
    pub mesh: Mesh,
    pub schedule: Schedule,
    /// When it looks at its schedule next.
    pub tick: Option<u64>,
    /// Its first write since it started.
    pub first: First,
    /// Whom it was last seen to take for members.
    pub members: Option<Arc<Membership>>,
    /// The forks that its sessions know of.
    pub forks: SharedForks,
    /// What it last published.
    pub published: SharedTips,
    /// The number of the last entry of its own that it ever published.
    pub once: u64,
    /// Its disk as it once was, and what it had published by then.
    pub backup: Option<(SimDisk, SharedTips)>,
}

fn stores() -> &'static Path {
    Path::new("/stores")
}

impl Node {
    /// A machine with an empty store that begins with `genesis`.
    pub fn new(seed: u8, genesis: &Entry, rooted: bool) -> Self {
        let identity = Arc::new(Identity::from_seed([seed; 32]));
        let disk = SimDisk::new();
        disk.create_dir_all(stores()).expect("an empty disk");
        let mut node = Self {
            id: identity.node_id(),
            identity,
            disk,
            clock: Arc::new(ManualClock::at(EPOCH_MS)),
            authority: if rooted { Authority::Itself } else { Authority::Everyone },
            off: 0,
            store: None,
            life: 0,
            mesh: Mesh::default(),
            schedule: Schedule::default(),
            tick: None,
            first: First::new(0),
            members: None,
            forks: SharedForks::default(),
            published: SharedTips::default(),
            once: 0,
            backup: None,
        };
        let store = store::adopt(stores(), genesis, &node.options()).expect("a new store");
        node.published = store.published();
        node.store = Some(store);
        node
    }

    fn options(&self) -> OpenOptions {
        OpenOptions {
            disk: Arc::new(self.disk.clone()),
            identity: self.identity.clone(),
            clock: self.clock.clone(),
            background: false,
            authority: self.authority.clone(),
        }
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
        self.store = None;
        self.mesh = Mesh::default();
        self.tick = None;
        self.disk = disk;
    }

    /// It starts on the disk that it has.
    pub fn start(&mut self, store: StoreId) -> Result<(), String> {
        let opened = store::open(&Self::dir(store), store, &self.options()).map_err(|e| e.to_string())?;
        self.published = opened.published();
        self.forks = opened.forks();
        self.store = Some(opened);
        self.schedule = Schedule::default();
        Ok(())
    }
}
