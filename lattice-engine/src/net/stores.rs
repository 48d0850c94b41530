//! The stores that are exchanged: the root store and every declared one that is open here. Each has a thread that makes
//! its commits durable and tells its sessions ([`super::publish`]); another thread follows the node's set of stores.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::local::{Local, TICK};
use super::{Shared, first, hints, publish};
use crate::id::StoreId;
use crate::node::Node;
use crate::store::Handle;

/// Open stores by id.
type Open = Arc<BTreeMap<StoreId, Arc<Local>>>;

/// Which stores are exchanged.
#[derive(Debug)]
pub(super) struct Stores(watch::Sender<Open>);

impl Stores {
    /// Starts with the root store alone.
    pub fn new(node: &Node, stop: &CancellationToken) -> Self {
        let root = open_one(node, node.root(), true, stop);
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
                    let local = open_one(node, handle, false, stop);
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

fn open_one(node: &Node, handle: Handle, is_root: bool, stop: &CancellationToken) -> Arc<Local> {
    let held = first::hold(node, &handle);
    Arc::new(Local::new(handle, held, is_root, stop.child_token()))
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
