//! What all parts of a running network share, and how their tasks are started and ended.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use iroh::{Endpoint, Watcher};
use iroh_mdns_address_lookup::{DiscoveryEvent, MdnsAddressLookup};
use parking_lot::{Condvar, Mutex};
use tokio::runtime::Handle;
use tokio_stream::StreamExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::book::{Address, Book};
use super::config::Config;
use super::endpoint;
use super::error::{NetError, Result};
use super::gate::Gate;
use super::hints::{Hints, Lines};
use super::link::Link;
use super::peers::Peers;
use super::revoked::Told;
use super::stores::{self, Stores};
use super::timing::{self, Timing};
use super::{DIR, accept, members, wake};
use crate::id::{NodeId, StoreId};
use crate::identity::random_bytes;
use crate::node::Node;
use crate::sync::Millis;
use crate::sync::schedule::Event;
use crate::wire::v1;

/// Members whose addresses are told to a peer.
const MAX_KNOWN: usize = 64;

#[derive(Debug)]
pub(super) struct Shared {
    pub node: Node,
    pub me: NodeId,
    pub config: Config,
    pub endpoint: Endpoint,
    /// Where this node's own small files are.
    pub dir: PathBuf,
    pub book: Book,
    pub gate: Gate,
    pub peers: Peers,
    /// Whoever takes over who the members are holds it from reading them on: else an older view could come last.
    pub refreshing: Mutex<()>,
    pub revoked: Told,
    pub timing: Timing,
    pub hints: Hints,
    pub stores: Stores,
    /// Of this process: peers tell by it that older connections are dead.
    pub instance: u64,
    pub stop: CancellationToken,
    started: Instant,
    runtime: Handle,
    tasks: TaskTracker,
    threads: Mutex<Vec<JoinHandle<()>>>,
    mdns: Option<MdnsAddressLookup>,
    /// Stores whose beginning is being asked for.
    pub awaited: Mutex<BTreeSet<StoreId>>,
    /// Connections that have been greeted.
    linked: (Mutex<usize>, Condvar),
}

impl Shared {
    pub async fn bind(node: Node, config: Config) -> Result<Arc<Self>> {
        let dir = node.data_dir().join(DIR);
        let gate = Gate::default();
        let lines = Lines::default();
        let bound = endpoint::bind(&dir, node.identity(), &config, gate.clone(), lines.clone()).await?;
        let revoked = Told::load(&dir);
        let stop = CancellationToken::new();
        let instance = random_bytes::<8>().map_err(|e| NetError::Join(e.to_string()))?;
        Ok(Arc::new(Self {
            me: node.id(),
            book: Book::load(dir.join("addresses")),
            stores: Stores::new(&node, &stop),
            node,
            config,
            hints: Hints::new(bound.endpoint.clone(), lines),
            endpoint: bound.endpoint,
            dir,
            gate,
            peers: Peers::default(),
            refreshing: Mutex::default(),
            revoked,
            timing: Timing::default(),
            instance: u64::from_le_bytes(instance),
            stop,
            started: Instant::now(),
            runtime: Handle::current(),
            tasks: TaskTracker::new(),
            threads: Mutex::default(),
            mdns: bound.mdns,
            awaited: Mutex::default(),
            linked: Default::default(),
        }))
    }

    /// Starts everything.
    pub fn run(self: Arc<Self>) {
        for local in self.stores.all().values() {
            stores::start(&self, local);
        }
        let task = self.clone();
        self.thread("net-stores", move || stores::follow(&task));
        let task = self.clone();
        self.thread("net-members", move || members::follow(&task));
        let task = self.clone();
        self.thread("net-declared", move || members::follow_stores(&task));
        self.spawn("accept", accept::run(self.clone()));
        self.spawn("schedule", timing::run(self.clone()));
        self.spawn("wake", wake::watch(self.clone()));
        if let Some(mdns) = self.mdns.clone() {
            self.spawn("mdns", discover(self.clone(), mdns));
        }
    }

    /// Milliseconds of this process: for sessions.
    pub fn now(&self) -> Millis {
        self.started.elapsed().as_millis() as Millis
    }

    pub fn instant(&self, at: Millis) -> Instant {
        self.started + Duration::from_millis(at)
    }

    /// Unix milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.node.now_ms()
    }

    /// A task whose panic takes nothing else down. [`Shared::join_all`] waits for it.
    pub fn spawn(&self, what: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let guarded = async move {
            if tokio::spawn(task).await.is_err_and(|e| e.is_panic()) {
                tracing::error!("a task of the network ({what}) panicked; the rest goes on");
            }
        };
        self.tasks.spawn_on(guarded, &self.runtime);
    }

    /// Work that may block, on a thread that may.
    pub fn block(&self, work: impl FnOnce() + Send + 'static) {
        self.tasks.spawn_blocking_on(work, &self.runtime);
    }

    /// A thread that looks at `stop` now and then.
    pub fn thread(&self, name: &str, body: impl FnOnce() + Send + 'static) {
        match std::thread::Builder::new().name(name.into()).spawn(body) {
            Ok(thread) => {
                let mut threads = self.threads.lock();
                threads.retain(|t| !t.is_finished());
                threads.push(thread);
            }
            Err(e) => tracing::error!("the thread {name} can't be started: {e}"),
        }
    }

    /// Waits for every task and thread.
    pub async fn join_all(&self) {
        self.tasks.close();
        self.tasks.wait().await;
        let threads = std::mem::take(&mut *self.threads.lock());
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a thread of the network panicked");
                }
            }
        });
        // A runtime that ends itself has ended the threads' reason to be.
        let _ = joined.await;
    }

    /// Waits until some peer is connected. False after `timeout`.
    pub fn wait_linked(&self, timeout: Duration) -> bool {
        let mut links = self.linked.0.lock();
        if *links == 0 {
            self.linked.1.wait_for(&mut links, timeout);
        }
        *links > 0
    }

    /// A connection was greeted, or has ended.
    pub fn count_link(&self, up: bool) {
        let mut links = self.linked.0.lock();
        *links = if up { *links + 1 } else { links.saturating_sub(1) };
        self.linked.1.notify_all();
    }

    /// Our own addresses.
    pub fn addresses(&self) -> Vec<Address> {
        self.endpoint.watch_addr().get().addrs.iter().filter_map(Address::of).collect()
    }

    /// Remembers where a peer was reached.
    pub fn reached(&self, link: &Link) {
        let paths = link.conn.paths();
        let selected = paths.iter().filter(|p| p.is_selected()).filter_map(|p| Address::of(p.remote_addr()));
        self.book.learn(link.peer, selected);
    }

    /// What a peer is told of the others.
    pub fn known_addresses(&self, to: &NodeId) -> v1::KnownAddresses {
        let others = self.gate.members().into_iter().filter(|id| id != to).take(MAX_KNOWN);
        let known = |id: NodeId| v1::KnownPeer {
            node: Bytes::copy_from_slice(id.as_bytes()),
            addresses: self.book.of(&id).iter().map(ToString::to_string).collect(),
        };
        v1::KnownAddresses { peers: others.map(known).filter(|p| !p.addresses.is_empty()).collect() }
    }

    /// What a peer tells of the others.
    pub fn hear_addresses(&self, known: v1::KnownAddresses) {
        for told in known.peers.iter().take(MAX_KNOWN) {
            let Some(id) = NodeId::from_slice(&told.node).filter(|id| self.gate.admits(id)) else { continue };
            let new = self.book.hear(id, told.addresses.iter().filter_map(|a| a.parse().ok()));
            if new {
                self.told(Event::Up(id));
            }
        }
    }
}

/// Members that are found on the local network are dialled at once.
async fn discover(shared: Arc<Shared>, mdns: MdnsAddressLookup) {
    let mut events = mdns.subscribe().await;
    loop {
        let event = tokio::select! {
            () = shared.stop.cancelled() => return,
            event = events.next() => event,
        };
        let Some(event) = event else { return };
        if let DiscoveryEvent::Discovered { endpoint_info, .. } = event {
            let id = NodeId(*endpoint_info.endpoint_id.as_bytes());
            if !shared.gate.admits(&id) {
                continue;
            }
            let new = shared.book.learn(id, endpoint_info.addrs().filter_map(Address::of));
            if new {
                shared.told(Event::Up(id));
            }
        }
    }
}
