//! The mounts of this process: which there are, one more, one less. What can be mounted on is `fuse`'s to judge.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lattice_engine::id::StoreId;
use lattice_engine::node::{Node, NodeError};
use parking_lot::Mutex;

use crate::fuse::{self, Mount, MountOptions, Shown, clear_dead_mount};

/// Why a directory can't be mounted or unmounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    #[error(transparent)]
    Fuse(#[from] fuse::MountError),
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error("{dir} is not a mount of this daemon: `lattice mount` lists them", dir = .0.display())]
    NotOurs(PathBuf),
    #[error("the daemon is about to end: try again")]
    Stopping,
}

pub type Result<T> = std::result::Result<T, MountError>;

/// What to mount where.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// An absolute path.
    pub dir: PathBuf,
    /// `None`: all stores.
    pub store: Option<StoreId>,
    pub read_only: bool,
    pub allow_other: bool,
    /// Let the kernel read large files by itself where it can.
    pub passthrough: bool,
}

/// What is mounted where.
#[derive(Debug, Clone)]
pub struct Mounted {
    pub dir: PathBuf,
    /// The store's name when it was mounted; `None`: all stores.
    pub store: Option<String>,
    pub read_only: bool,
    /// Whether the kernel reads large files by itself.
    pub passthrough: bool,
}

/// Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Mounts(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    live: Vec<Live>,
    /// The process is about to end: nothing more is mounted.
    closed: bool,
    /// It stays when nothing is mounted.
    stays: bool,
}

#[derive(Debug)]
struct Live {
    what: Mounted,
    mount: Mount,
}

impl Mounts {
    /// Mounts, and returns when the kernel has taken it. A dead mount of ours at the same place is cleared first.
    pub fn add(&self, node: &Node, wanted: Wanted) -> Result<Mounted> {
        if clear_dead_mount(&wanted.dir)? {
            tracing::info!(dir = %wanted.dir.display(), "cleared a dead mount");
        }
        let (what, name) = shown(node, wanted.store)?;
        // What the data directory doesn't take the mount doesn't offer.
        let read_only = wanted.read_only || node.read_only();
        // Held while mounting: two requests for one directory must not both find it free.
        let mut table = self.0.lock();
        if table.closed {
            return Err(MountError::Stopping);
        }
        table.live.retain(|m| !m.mount.has_ended());
        let mount = Mount::start(MountOptions {
            dir: wanted.dir,
            what,
            allow_other: wanted.allow_other,
            read_only,
            passthrough: wanted.passthrough,
        })?;
        let passthrough = mount.has_passthrough();
        let what = Mounted { dir: mount.dir().into(), store: name, read_only, passthrough };
        table.live.push(Live { what: what.clone(), mount });
        Ok(what)
    }

    pub fn list(&self) -> Vec<Mounted> {
        // The kernel may refuse the first file that it is lent.
        let now = |m: &Live| Mounted { passthrough: m.mount.has_passthrough(), ..m.what.clone() };
        self.0.lock().live.iter().filter(|m| !m.mount.has_ended()).map(now).collect()
    }

    /// Closes the table if nothing is mounted any more, from here or from outside: then nothing will be again.
    pub fn close_if_empty(&self) -> bool {
        let mut table = self.0.lock();
        table.closed |= !table.stays && table.live.iter().all(|m| m.mount.has_ended());
        table.closed
    }

    /// Whether the process stays when nothing is mounted.
    pub fn stays(&self) -> bool {
        self.0.lock().stays
    }

    /// The process stays when nothing is mounted.
    pub fn keep_open(&self) {
        self.0.lock().stays = true;
    }

    /// Nothing more is mounted.
    pub fn close(&self) {
        self.0.lock().closed = true;
    }

    /// Saves and unmounts. `force`: also while it is in use.
    pub fn remove(&self, dir: &Path, force: bool) -> Result<Mounted> {
        let live = &mut self.0.lock().live;
        let at = live.iter().position(|m| m.what.dir == dir && !m.mount.has_ended());
        let at = at.ok_or_else(|| MountError::NotOurs(dir.into()))?;
        let Live { what, mount } = live.remove(at);
        match unmount(mount, force) {
            Ok(()) => Ok(what),
            Err(stuck) => {
                let (still, e) = *stuck;
                live.extend(still.map(|mount| Live { what, mount }));
                Err(e.into())
            }
        }
    }

    /// All of them. Every one is tried; the first error counts.
    pub fn remove_all(&self, force: bool) -> Result<Vec<Mounted>> {
        let live = &mut self.0.lock().live;
        let (mut gone, mut first) = (Vec::new(), None);
        for Live { what, mount } in std::mem::take(live) {
            match unmount(mount, force) {
                Ok(()) => gone.push(what),
                Err(stuck) => {
                    let (still, e) = *stuck;
                    live.extend(still.map(|mount| Live { what, mount }));
                    first.get_or_insert(e);
                }
            }
        }
        first.map_or(Ok(gone), |e| Err(e.into()))
    }
}

/// Why it is not unmounted, with the mount where it is as it was.
type Stuck = Box<(Option<Mount>, fuse::MountError)>;

fn unmount(mount: Mount, force: bool) -> std::result::Result<(), Stuck> {
    match force {
        true => mount.unmount().map_err(|e| Box::new((None, e))),
        false => mount.unmount_if_idle().map_err(Box::new),
    }
}

fn shown(node: &Node, store: Option<StoreId>) -> Result<(Shown, Option<String>)> {
    let Some(id) = store else { return Ok((Shown::All(node.clone()), None)) };
    let handle = node.find(&id.to_string())?;
    let info = node.stores()?.into_iter().find(|s| s.id == id);
    let name = info.map_or_else(|| id.to_string(), |s| s.name);
    Ok((Shown::One(handle, name.clone()), Some(name)))
}

/// The directories where the kernel has a Lattice mount, whichever process serves it.
pub fn kernel_mounts() -> Vec<PathBuf> {
    match fuse::mounts() {
        Ok(mounts) => mounts.into_iter().map(|m| m.dir).collect(),
        Err(e) => {
            tracing::warn!("the mount table can't be read: {e}");
            Vec::new()
        }
    }
}
