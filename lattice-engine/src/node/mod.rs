//! A data directory: one identity, one root store, and the stores that the root store declares.
//!
//! ```text
//! identity.key              ed25519, 0600
//! root                      the root store's id, one line
//! lock                      held by the one process that has it open; holds its pid
//! stores/<uuid>/            a store: log/ packs/ staging/ state.redb
//! ```
//!
//! Stores are data: `stores/<uuid>/{name,created_at,genesis}` in the root store declares one, deleting these keys deletes
//! it (its data stays until [`Node::gc_stores`]). So are members and invites ([`members`]), access tokens ([`tokens`]), and
//! what a node is called: `nodes/<node id>/name`. It refuses to share a data directory with another process.

mod declare;
mod error;
mod files;
mod follow;
mod join;
mod lock;
mod members;
mod remembered;
mod stores;
mod tokens;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};

use crate::clock::{Clock, SystemClock};
use crate::disk::{Disk, RealDisk};
use crate::id::{NodeId, StoreId};
use crate::identity::Identity;
use crate::store::{self, Authority, Handle, OpenOptions, StoreError};

pub use error::{NodeError, Result};
pub use stores::StoreInfo;
pub use tokens::{TokenInfo, TokenRefusal, TokenState, prefix_of};

use lock::Lock;

/// Where a data directory's parts are.
#[derive(Debug, Clone)]
struct Layout {
    dir: PathBuf,
}

impl Layout {
    fn identity(&self) -> PathBuf {
        self.dir.join("identity.key")
    }

    fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    fn stores(&self) -> PathBuf {
        self.dir.join("stores")
    }
}

/// An open data directory. Cheap to clone; every call may come from any thread.
#[derive(Debug, Clone)]
pub struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    layout: Layout,
    options: OpenOptions,
    /// Nothing may be written: the stores are opened over a disk in memory.
    read_only: bool,
    root: Handle,
    /// Declared stores: open, or why not.
    stores: RwLock<BTreeMap<StoreId, Opened>>,
    /// What was shown of the stores when the root store was last followed.
    shown: Mutex<Vec<(StoreId, Option<String>)>>,
    /// Counts changes of `stores`.
    changes: (Mutex<u64>, Condvar),
    /// Creating, renaming and deleting, one at a time: names stay unique.
    naming: Mutex<()>,
    /// One bundle at a time: what was checked still holds when it is taken in.
    importing: Mutex<()>,
    tokens: tokens::TokenCache,
    /// Declarations, as they were read last.
    declared: remembered::Remembered<Arc<BTreeMap<StoreId, declare::Declaration>>>,
    /// Dropped last.
    _lock: Lock,
}

#[derive(Debug, Clone)]
enum Opened {
    Open(Handle),
    Broken(String),
    /// Declared by a peer: its data has not come yet.
    Waiting,
}

impl Node {
    /// Makes the data directory (0700) with a new identity (0600) and a root store. Gives the node's id.
    pub fn init(dir: &Path) -> Result<NodeId> {
        Self::init_named(dir, None)
    }

    /// [`Node::init`], and says what the node is called: data of the root store, under `nodes/<id>/name`.
    pub fn init_named(dir: &Path, name: Option<&str>) -> Result<NodeId> {
        if let Some((name, why)) = name.and_then(|n| Some((n, bad_node_name(n)?))) {
            return Err(NodeError::BadNodeName { name: name.into(), why });
        }
        let layout = Layout { dir: dir.to_path_buf() };
        if layout.root().exists() {
            return Err(NodeError::AlreadyInitialised(dir.into()));
        }
        files::make_private_dir(dir)?;
        let lock = Lock::take(dir)?;
        files::make_private_dir(&layout.stores())?;
        let identity = Identity::load_or_create(&layout.identity())?;
        let id = identity.node_id();
        let options = options(identity, Arc::new(SystemClock));
        let root = store::create(&layout.stores(), &options)?;
        let root_id = root.id();
        members::add_first(&root)?;
        if let Some(name) = name {
            declare::name_node(&root, id, name)?;
        }
        root.close()?;
        // Last: with this file the directory counts as initialised.
        files::write_durably(&*options.disk, &layout.root(), format!("{root_id}\n").as_bytes())?;
        drop(lock);
        Ok(id)
    }

    /// A directory that can't be written (a read-only file system, or files of another owner) is opened for reading:
    /// [`Node::read_only`] tells, and every write fails with [`StoreError::ReadOnly`].
    pub fn open(dir: &Path) -> Result<Self> {
        Self::open_with(dir, Arc::new(SystemClock))
    }

    /// [`Node::open`] with another clock.
    pub fn open_with(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_locked(dir, clock, Lock::take)
    }

    /// [`Node::open_with`], as if the directory couldn't be written: nothing in it is changed.
    pub fn open_read_only(dir: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_locked(dir, clock, Lock::take_reading)
    }

    fn open_locked(dir: &Path, clock: Arc<dyn Clock>, lock: fn(&Path) -> Result<Lock>) -> Result<Self> {
        let layout = Layout { dir: dir.to_path_buf() };
        if !layout.root().exists() {
            return Err(NodeError::NotInitialised(dir.into()));
        }
        let lock = lock(dir)?;
        let options = options(Identity::load(&layout.identity())?, clock);
        let root_id = files::read_root(&layout.root())?;
        let root_dir = layout.stores().join(root_id.to_string());
        let read_only = !lock.writable() || !files::can_write(&[dir, &layout.stores(), &root_dir]);
        if read_only {
            tracing::warn!("{} can't be written: it is opened for reading only", dir.display());
        }
        let root = open_store(&root_dir, root_id, &options, read_only)?;
        let node = Self(Arc::new(Inner {
            layout,
            options,
            read_only,
            root,
            stores: RwLock::default(),
            shown: Mutex::default(),
            changes: Default::default(),
            naming: Mutex::default(),
            importing: Mutex::default(),
            tokens: Default::default(),
            declared: Default::default(),
            _lock: lock,
        }));
        node.spread_members();
        node.reconcile()?;
        node.mark_first_member()?;
        Ok(node)
    }

    /// This node's public key.
    pub fn id(&self) -> NodeId {
        self.0.options.identity.node_id()
    }

    /// What this node is called, if it was named.
    pub fn name(&self) -> Result<Option<String>> {
        declare::node_name(&self.0.root, self.id())
    }

    /// This node's key pair.
    pub(crate) fn identity(&self) -> &Identity {
        &self.0.options.identity
    }

    /// Unix milliseconds, by the clock that entries are dated by.
    pub fn now_ms(&self) -> u64 {
        self.0.options.clock.now_ms()
    }

    /// Whether the data directory was found to be read-only.
    pub fn read_only(&self) -> bool {
        self.0.read_only
    }

    /// Refuses on a read-only data directory.
    fn writable(&self) -> Result<()> {
        if self.0.read_only {
            let why = store::READ_ONLY.into();
            return Err(StoreError::ReadOnly { store: self.0.root.id(), why }.into());
        }
        Ok(())
    }

    pub fn data_dir(&self) -> &Path {
        &self.0.layout.dir
    }

    /// The store of stores, members and tokens.
    pub fn root(&self) -> Handle {
        self.0.root.clone()
    }

    pub fn store(&self, id: StoreId) -> Option<Handle> {
        match self.0.stores.read().get(&id)? {
            Opened::Open(handle) => Some(handle.clone()),
            Opened::Broken(_) | Opened::Waiting => None,
        }
    }

    /// Waits until stores were created, renamed or deleted since `seen` (0 at first), or for `timeout`. Gives what to
    /// pass next time.
    pub fn wait_stores_changed(&self, seen: u64, timeout: Duration) -> u64 {
        let mut changes = self.0.changes.0.lock();
        if *changes == seen {
            self.0.changes.1.wait_for(&mut changes, timeout);
        }
        *changes
    }

    fn changed(&self) {
        *self.0.changes.0.lock() += 1;
        self.0.changes.1.notify_all();
    }

    /// Syncs and closes every store; the first error is given, and the rest is closed all the same. Later writes fail.
    pub fn close(&self) -> Result<()> {
        let open: Vec<Handle> = self
            .0
            .stores
            .read()
            .values()
            .filter_map(|s| match s {
                Opened::Open(handle) => Some(handle.clone()),
                Opened::Broken(_) | Opened::Waiting => None,
            })
            .collect();
        let mut result = Ok(());
        for store in open.iter().chain([&self.0.root]) {
            result = result.and(store.close().map_err(NodeError::from));
        }
        result
    }
}

/// A node that is dropped without [`Node::close`] closes all the same; what fails then is only logged.
impl Drop for Inner {
    fn drop(&mut self) {
        let stores = std::mem::take(&mut *self.stores.write());
        let open = stores.into_values().filter_map(|s| match s {
            Opened::Open(handle) => Some(handle),
            Opened::Broken(_) | Opened::Waiting => None,
        });
        for store in open.chain([self.root.clone()]) {
            if let Err(e) = store.close() {
                tracing::error!(store = %store.id(), "did not close cleanly: {e}");
            }
        }
    }
}

/// Names are shown in lines and tables.
fn bad_node_name(name: &str) -> Option<&'static str> {
    match name.trim() {
        "" => Some("it is empty"),
        n if n.len() > 255 => Some("it is over 255 bytes long"),
        n if n.chars().any(char::is_control) => Some("it can't hold control characters"),
        _ => None,
    }
}

/// With what a kill has left, where there is anything.
fn open_store(dir: &Path, id: StoreId, options: &OpenOptions, read_only: bool) -> Result<Handle, StoreError> {
    if read_only {
        return store::open_read_only(dir, id, options);
    }
    let handle = store::open(dir, id, options)?;
    // Where nothing may be written (a node that was revoked), what is staged waits.
    if handle.writable().is_ok()
        && let Err(e) = handle.recover_staged()
    {
        // IMPORTANT: its thread holds it open, and with it its files, which the next opening must find closed.
        if let Err(e) = handle.close() {
            tracing::error!(store = %id, "did not close cleanly: {e}");
        }
        return Err(e);
    }
    Ok(handle)
}

/// Of the root store.
fn options(identity: Identity, clock: Arc<dyn Clock>) -> OpenOptions {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    OpenOptions { disk, identity: Arc::new(identity), clock, background: true, authority: Authority::Itself }
}
