//! The other members, seen from this node: who is connected, since when, and what the last attempt came to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
    /// Dial now: an address was learnt, the machine woke, somebody waits.
    pub poke: Notify,
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
            poke: Notify::new(),
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

    pub fn poke_all(&self) {
        self.all().iter().for_each(|p| p.poke.notify_one());
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

/// When a dial follows a failed one: soon at first, and never so rarely that a network that is back goes unnoticed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    failures: u32,
    since: Instant,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(250);
    /// For a peer that was there lately: a partition in the middle of a network tells neither side when it ends.
    const LATELY: Duration = Duration::from_secs(2);
    const LONG_GONE: Duration = Duration::from_secs(30);
    const LONG: Duration = Duration::from_secs(15 * 60);

    pub fn new(now: Instant) -> Self {
        Self { failures: 0, since: now }
    }

    pub fn next(&mut self, now: Instant) -> Duration {
        let doubled = Self::FIRST * 2u32.pow(self.failures.min(10));
        self.failures += 1;
        let cap = if now - self.since < Self::LONG { Self::LATELY } else { Self::LONG_GONE };
        doubled.min(cap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_was_here_lately_is_dialled_often_and_one_long_gone_now_and_then() {
        let start = Instant::now();
        let mut backoff = Backoff::new(start);
        let first: Vec<u64> = (0..5).map(|_| backoff.next(start).as_millis() as u64).collect();
        assert_eq!(first, [250, 500, 1000, 2000, 2000]);
        let later = (0..5).map(|_| backoff.next(start + Backoff::LONG)).last();
        assert_eq!(later, Some(Duration::from_secs(30)));
    }
}
