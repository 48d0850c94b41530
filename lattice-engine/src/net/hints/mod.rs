//! Hints: small messages that travel by gossip to members that this node is not connected to, so that they hear of what is
//! new before the sessions in between have passed it on ([`crate::sync::gossip`] has the rules). Nothing rests on them.
//!
//! What iroh-gossip needs to be fed with, so that it heals: it dials by itself, gives a peer up for good when that fails
//! once, and takes a dead path when the connection before has died. So it is never left to dial: whoever dialled a
//! [`super::link`] dials the gossip's connection beside it, both sides hand that over and join the peer in every topic, it
//! ends with the link, and it is made anew when it alone breaks.
//!
//! It refuses who is no member ([`super::gate`]), and, by [`topic`], to say anything while everybody is connected anyway.

mod topic;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use iroh::endpoint::{Connection, WeakConnectionHandle};
use iroh::{Endpoint, PublicKey};
use iroh_gossip::net::Gossip;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use super::Shared;
use super::code;
use super::link::Link;
use crate::id::NodeId;

pub(super) use topic::run;

/// What gossip speaks.
pub(super) const ALPN: &[u8] = iroh_gossip::net::GOSSIP_ALPN;

const ATTEMPT: Duration = Duration::from_secs(3);
/// Before a gossip connection is made anew beside a link that lives.
const AGAIN: Duration = Duration::from_secs(5);
/// Its actor stands still while one of its peers takes nothing.
const BUSY: Duration = Duration::from_secs(2);
/// Peers that were joined and that a topic has not heard of yet.
const NEWS: usize = 64;

/// What hints came to, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HintCounts {
    pub sent: u64,
    pub heard: u64,
    /// That brought an entry which was kept.
    pub taken: u64,
}

/// The gossip of a running network.
#[derive(Debug)]
pub(super) struct Hints {
    gossip: Gossip,
    pub lines: Lines,
    /// Tells the topics of peers whose connection was handed over.
    joined: broadcast::Sender<NodeId>,
    sent: AtomicU64,
    heard: AtomicU64,
    taken: AtomicU64,
}

/// The connections that gossip uses, by peer: only beside a link. Cheap to clone; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    /// How many links: for a moment there are two, when one takes another's place.
    linked: BTreeMap<NodeId, usize>,
    conns: BTreeMap<NodeId, Vec<WeakConnectionHandle>>,
}

impl Lines {
    /// May a connection to it be dialled?
    pub fn is_linked(&self, peer: &NodeId) -> bool {
        self.0.lock().linked.contains_key(peer)
    }

    pub fn linked(&self) -> BTreeSet<NodeId> {
        self.0.lock().linked.keys().copied().collect()
    }

    pub fn link_up(&self, peer: NodeId) {
        *self.0.lock().linked.entry(peer).or_default() += 1;
    }

    pub fn link_down(&self, peer: &NodeId) {
        let mut open = self.0.lock();
        let left = open.linked.get(peer).map_or(0, |n| n.saturating_sub(1));
        if left > 0 {
            open.linked.insert(*peer, left);
            return;
        }
        open.linked.remove(peer);
        drop(open);
        self.close(peer);
    }

    /// Ends what there is to a peer.
    pub fn close(&self, peer: &NodeId) {
        let conns = self.0.lock().conns.remove(peer).unwrap_or_default();
        for conn in conns.iter().filter_map(WeakConnectionHandle::upgrade) {
            conn.close(code::CLOSED, b"its link has ended");
        }
    }

    /// A connection whose handshake is done.
    pub fn opened(&self, peer: NodeId, conn: WeakConnectionHandle) {
        let mut open = self.0.lock();
        let conns = open.conns.entry(peer).or_default();
        conns.retain(|c| c.upgrade().is_some_and(|c| c.close_reason().is_none()));
        conns.push(conn);
    }
}

impl Hints {
    pub fn new(endpoint: Endpoint, lines: Lines) -> Self {
        Self {
            gossip: Gossip::builder().spawn(endpoint),
            lines,
            joined: broadcast::Sender::new(NEWS),
            sent: AtomicU64::new(0),
            heard: AtomicU64::new(0),
            taken: AtomicU64::new(0),
        }
    }

    /// Hands a connection over, and joins the peer in every topic.
    pub async fn take(&self, conn: Connection) {
        let peer = NodeId(*conn.remote_id().as_bytes());
        // Its actor has ended, or stands still: then there are no hints.
        if matches!(tokio::time::timeout(BUSY, self.gossip.handle_connection(conn)).await, Ok(Ok(()))) {
            // Without topics nobody listens.
            let _ = self.joined.send(peer);
        }
    }

    /// Leaves every topic.
    pub async fn stop(&self) {
        let _ = tokio::time::timeout(BUSY, self.gossip.shutdown()).await;
    }

    pub fn counts(&self) -> HintCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        HintCounts { sent: read(&self.sent), heard: read(&self.heard), taken: read(&self.taken) }
    }
}

/// Keeps a gossip connection beside a link, if it was us who dialled.
pub(super) async fn keep(shared: Arc<Shared>, link: Arc<Link>) {
    if !link.dialled {
        return;
    }
    let dialling = async {
        loop {
            match dial(&shared, &link).await {
                Some(conn) => {
                    let closed = conn.weak_handle().closed();
                    shared.hints.take(conn).await;
                    closed.await;
                }
                None => tracing::debug!(peer = %link.peer.short(), "no gossip with it"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        () = link.stop.cancelled() => {}
        () = dialling => {}
    }
}

async fn dial(shared: &Shared, link: &Link) -> Option<Connection> {
    let addr = shared.book.endpoint_addr(&link.peer)?;
    tokio::time::timeout(ATTEMPT, shared.endpoint.connect(addr, ALPN)).await.ok()?.ok()
}

fn keys(peers: impl IntoIterator<Item = NodeId>) -> BTreeSet<PublicKey> {
    peers.into_iter().filter_map(|id| PublicKey::from_bytes(id.as_bytes()).ok()).collect()
}
