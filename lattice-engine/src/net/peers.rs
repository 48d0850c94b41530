//! The other members, seen from this node: who is connected, since when, and what the last attempt came to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::code;
use super::link::Link;
use crate::id::NodeId;

/// Two connections made within this time of each other were dialled by both sides at once.
const AT_ONCE: Duration = Duration::from_secs(10);

/// Every member but this node.
#[derive(Debug, Default)]
pub(super) struct Peers(Mutex<BTreeMap<NodeId, Arc<Peer>>>);

/// One other member. There is at most one connection to it that counts.
#[derive(Debug)]
pub(super) struct Peer {
    pub id: NodeId,
    /// The schedule says: dial now, and anew if that is under way.
    pub dial: Notify,
    /// Cancelled when it is no longer a member.
    pub stop: CancellationToken,
    link: watch::Sender<Option<Arc<Link>>>,
    pub record: Mutex<Record>,
}

/// What is told of a peer that is not connected.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    /// Unix milliseconds of the last sign of life.
    pub seen_ms: Option<u64>,
    pub last_error: Option<String>,
}

/// What becomes of a new connection where there is one already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    Replace,
}

impl Peers {
    pub fn get(&self, id: &NodeId) -> Option<Arc<Peer>> {
        self.0.lock().get(id).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Peer>> {
        self.0.lock().values().cloned().collect()
    }

    /// The peer, and whether it is new here.
    pub fn add(&self, id: NodeId, parent: &CancellationToken) -> (Arc<Peer>, bool) {
        let mut map = self.0.lock();
        if let Some(peer) = map.get(&id) {
            return (peer.clone(), false);
        }
        let peer = Arc::new(Peer {
            id,
            dial: Notify::new(),
            stop: parent.child_token(),
            link: watch::Sender::new(None),
            record: Mutex::default(),
        });
        map.insert(id, peer.clone());
        (peer, true)
    }

    /// Cuts a peer off: its connection closes now, with the reason.
    pub fn remove(&self, id: &NodeId, revoked: bool) {
        let removed = self.0.lock().remove(id);
        if let Some(peer) = removed {
            // First, or the tasks that end with it close it without the reason.
            if let Some(link) = peer.link() {
                let code = if revoked { code::REVOKED } else { code::NOT_A_MEMBER };
                link.close(code, "no longer a member");
            }
            peer.stop.cancel();
        }
    }

    pub fn links(&self) -> Vec<Arc<Link>> {
        self.all().iter().filter_map(|p| p.link()).collect()
    }
}

impl Peer {
    pub fn link(&self) -> Option<Arc<Link>> {
        self.link.borrow().clone()
    }

    pub fn watch(&self) -> watch::Receiver<Option<Arc<Link>>> {
        self.link.subscribe()
    }

    /// Makes a connection the one that counts, unless another one does: both sides come to the same verdict, because
    /// they know the same of both connections. False: this one is closed.
    pub fn admit(&self, us: &NodeId, link: &Arc<Link>) -> bool {
        let mut old = None;
        let kept = self.link.send_if_modified(|current| {
            let verdict = current.as_ref().map_or(Verdict::Replace, |c| verdict(us, c, link));
            if verdict == Verdict::Replace {
                old = current.replace(link.clone());
            }
            verdict == Verdict::Replace
        });
        if let Some(old) = old {
            old.close(code::DUPLICATE, "another connection took its place");
        }
        if !kept {
            link.close(code::DUPLICATE, "another connection is in its place");
        }
        kept
    }

    /// A connection has ended.
    pub fn dismiss(&self, link: &Arc<Link>) {
        self.link.send_if_modified(|current| {
            let was = current.as_ref().is_some_and(|c| Arc::ptr_eq(c, link));
            if was {
                *current = None;
            }
            was
        });
    }
}

fn verdict(us: &NodeId, old: &Link, new: &Link) -> Verdict {
    let both_at_once = old.instance == new.instance
        && old.dialled != new.dialled
        && new.since.saturating_duration_since(old.since) < AT_ONCE
        && old.conn.close_reason().is_none();
    if !both_at_once {
        // A restarted peer, or one that has lost the old connection: it wouldn't have dialled otherwise.
        return Verdict::Replace;
    }
    let dialled_by_lower = |link: &Link| link.dialled == (*us < link.peer);
    if dialled_by_lower(new) { Verdict::Replace } else { Verdict::Keep }
}
