//! The stores that are exchanged: the root store and every declared one that is open here. Each has a thread that makes
//! its commits durable and tells its sessions ([`super::publish`]); another thread follows the node's set of stores.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::wanted::Wanted;
use super::{Shared, first, hints, publish};
use crate::id::{NodeId, StoreId};
use crate::node::Node;
use crate::store::{Handle, HeldWrites};
use crate::sync::{Mark, Mesh, Session, SharedForks, SharedTips};

/// How long a thread sleeps before it looks whether it should end.
pub(super) const TICK: Duration = Duration::from_millis(200);

/// Open stores by id.
type Open = Arc<BTreeMap<StoreId, Arc<Local>>>;

/// Which stores are exchanged.
#[derive(Debug)]
pub(super) struct Stores(watch::Sender<Open>);

/// One of them, as the network sees it.
#[derive(Debug)]
pub(super) struct Local {
    pub handle: Handle,
    /// The root store is exchanged first: it says whose entries count in the others.
    pub is_root: bool,
    /// What its sessions know of each other.
    pub mesh: Mutex<Mesh>,
    /// What is durable here, for the sessions.
    pub tips: watch::Sender<SharedTips>,
    /// The forks that are known here, for the sessions.
    pub forks: watch::Sender<SharedForks>,
    /// A session with each peer that has it open.
    pub sessions: Mutex<BTreeMap<NodeId, Arc<Mutex<Session>>>>,
    /// What peers held durably when their sessions ended.
    pub held: Mutex<BTreeMap<NodeId, Held>>,
    /// The generation of the tips up to which what the entries name is here, large files' bytes too: `content` says so.
    pub whole: watch::Sender<Option<u64>>,
    /// Counts the times that sessions were told to ask whether both hold the same.
    pub ask: watch::Sender<u64>,
    /// Counts what sessions have learnt.
    pub progress: watch::Sender<u64>,
    /// The first write waits, until `first` takes this.
    pub held_writes: Mutex<Option<HeldWrites>>,
    /// Chunks that are to be fetched.
    pub wanted: Wanted,
    pub stop: CancellationToken,
}

/// What a peer has said that it holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Held {
    pub marks: BTreeMap<NodeId, Mark>,
    /// The content that the entries name as well.
    pub whole: BTreeMap<NodeId, Mark>,
}

impl Held {
    pub fn by(session: &Session) -> Self {
        Self { marks: session.theirs().clone(), whole: session.theirs_whole().clone() }
    }
}

impl Local {
    fn new(node: &Node, handle: Handle, is_root: bool, stop: CancellationToken) -> Self {
        let tips = watch::Sender::new(handle.published());
        Self {
            is_root,
            mesh: Mutex::default(),
            tips,
            forks: watch::Sender::new(handle.forks()),
            sessions: Mutex::default(),
            held: Mutex::default(),
            // Its values are small: they are in its entries.
            whole: watch::Sender::new(is_root.then_some(u64::MAX)),
            ask: watch::Sender::new(0),
            progress: watch::Sender::new(0),
            held_writes: Mutex::new(first::hold(node, &handle)),
            wanted: Wanted::default(),
            handle,
            stop,
        }
    }

    /// Tells whoever waits that a session has learnt something.
    pub fn progressed(&self) {
        self.progress.send_modify(|n| *n += 1);
    }
}

impl Stores {
    /// Starts with the root store alone.
    pub fn new(node: &Node, stop: &CancellationToken) -> Self {
        let root = Arc::new(Local::new(node, node.root(), true, stop.child_token()));
        Self(watch::Sender::new(Arc::new([(root.handle.id(), root)].into())))
    }

    pub fn watch(&self) -> watch::Receiver<Open> {
        self.0.subscribe()
    }

    pub fn all(&self) -> Open {
        self.0.borrow().clone()
    }

    pub fn get(&self, id: &StoreId) -> Option<Arc<Local>> {
        self.0.borrow().get(id).cloned()
    }

    /// Takes over which stores the node has open. Gives those that are new.
    pub fn refresh(&self, node: &Node, stop: &CancellationToken) -> Vec<Arc<Local>> {
        let handles: Vec<Handle> = match node.stores() {
            Ok(stores) => stores.iter().filter_map(|s| node.store(s.id)).collect(),
            Err(e) => {
                tracing::warn!("the list of stores can't be read: {e}");
                return Vec::new();
            }
        };
        let mut new = Vec::new();
        self.0.send_if_modified(|open| {
            let mut next = BTreeMap::new();
            for (id, local) in open.iter() {
                let stays = local.is_root || handles.iter().any(|h| h.id() == *id && local.handle.is_same(h));
                if stays {
                    next.insert(*id, local.clone());
                } else {
                    local.stop.cancel();
                }
            }
            for handle in handles {
                next.entry(handle.id()).or_insert_with(|| {
                    let local = Arc::new(Local::new(node, handle, false, stop.child_token()));
                    new.push(local.clone());
                    local
                });
            }
            let changed = !new.is_empty() || next.len() != open.len();
            *open = Arc::new(next);
            changed
        });
        new
    }
}

/// Starts a store's threads.
pub(super) fn start(shared: &Arc<Shared>, local: &Arc<Local>) {
    if let Some(held) = local.held_writes.lock().take() {
        shared.spawn("first-write", first::wait(shared.clone(), local.clone(), held));
    }
    let (task, store) = (shared.clone(), local.clone());
    shared.thread("net-publish", move || publish::run(&task, &store));
    shared.spawn("hints", hints::run(shared.clone(), local.clone()));
    if !local.is_root {
        local.handle.set_network(Some(super::asked::network(shared)));
        let (task, store) = (shared.clone(), local.clone());
        shared.thread("net-content", move || super::content::follow(&task, &store));
    }
}

/// The thread that follows the node's stores.
pub(super) fn follow(shared: &Arc<Shared>) {
    let mut seen = u64::MAX;
    while !shared.stop.is_cancelled() {
        let now = shared.node.wait_stores_changed(seen, TICK);
        if now == seen {
            continue;
        }
        seen = now;
        for local in shared.stores.refresh(&shared.node, &shared.stop) {
            start(shared, &local);
        }
    }
}
