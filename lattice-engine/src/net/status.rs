//! What is told of the network: peers, how far each is behind, who holds what durably; and waiting for that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::{NetError, Result};
use super::local::Local;
use super::{Net, publish};
use crate::id::{NodeId, StoreId};
use crate::sync::schedule::Event;
use crate::sync::{Mark, Tips};

/// Whether a peer is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerState {
    Connected,
    /// It is being dialled, or will be shortly.
    Away,
    /// It says that this node was revoked.
    Refuses,
}

/// One other member, seen from this node.
#[derive(Debug, Clone, PartialEq)]
pub struct PeerStatus {
    pub id: NodeId,
    pub state: PeerState,
    /// What it calls itself, where it has said so.
    pub calls_itself: Option<String>,
    /// How long the connection has lasted.
    pub connected: Option<Duration>,
    pub rtt: Option<Duration>,
    /// The address that packets go to.
    pub path: Option<String>,
    /// Where it may be reached.
    pub addresses: Vec<String>,
    /// Unix milliseconds of the last sign of life, as far as this process knows.
    pub seen_ms: Option<u64>,
    /// What the last attempt to connect came to.
    pub last_error: Option<String>,
    pub stores: Vec<StoreSync>,
}

/// How far two nodes are apart in one store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreSync {
    pub store: StoreId,
    /// The peer has said what it holds.
    pub known: bool,
    /// Entries that the peer has and this node lacks, and the other way round.
    pub behind_here: u64,
    pub behind_there: u64,
    /// The peer has the bytes of large files as well, of all that this node has.
    pub whole: bool,
    /// Both have said that they lack nothing, and tell each other what comes.
    pub live: bool,
    /// Chains that the peer holds.
    pub tips: u64,
}

impl Net {
    /// Every other member.
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.0.peers.all().iter().map(|p| self.peer_status(&p.id)).filter_map(Result::ok).collect()
    }

    pub fn peer_status(&self, id: &NodeId) -> Result<PeerStatus> {
        let peer = self.0.peers.get(id).ok_or(NetError::NotAMember(*id))?;
        let record = peer.record.lock().clone();
        let link = peer.link();
        let stores = self.0.stores.all();
        Ok(PeerStatus {
            id: *id,
            state: match link {
                Some(_) => PeerState::Connected,
                None if self.0.revoked.by().contains(id) => PeerState::Refuses,
                None => PeerState::Away,
            },
            calls_itself: link.as_ref().map(|l| l.name.clone()),
            connected: link.as_ref().map(|l| l.since.elapsed()),
            rtt: link.as_ref().and_then(|l| l.rtt()),
            path: link.as_ref().and_then(|l| l.path()),
            addresses: self.0.book.of(id).iter().map(ToString::to_string).collect(),
            seen_ms: match &link {
                Some(link) => Some(self.0.now_ms().saturating_sub(link.silent().as_millis() as u64)),
                None => record.seen_ms,
            },
            last_error: record.last_error.filter(|_| link.is_none()),
            stores: stores.values().filter_map(|local| local.with(id)).collect(),
        })
    }

    /// Members that have told this node that it was revoked.
    pub fn revoked_by(&self) -> BTreeSet<NodeId> {
        self.0.revoked.by()
    }

    /// How many peers are connected.
    pub fn connected(&self) -> usize {
        self.0.peers.links().len()
    }

    /// One round trip to a connected peer.
    pub async fn ping(&self, id: &NodeId, patience: Duration) -> Result<Duration> {
        let peer = self.0.peers.get(id).ok_or(NetError::NotAMember(*id))?;
        let link = match peer.link() {
            Some(link) => link,
            None => {
                self.0.told(Event::Up(*id));
                let mut linked = peer.watch();
                let wait = linked.wait_for(Option::is_some);
                let link = tokio::time::timeout(patience, wait).await;
                let link = link.map_err(|_| NetError::NotConnected(*id))?;
                link.ok().and_then(|l| l.clone()).ok_or(NetError::NotConnected(*id))?
            }
        };
        link.ping(patience).await
    }

    /// The members, beside this node, that are known to hold durably what this node does, large files' bytes included.
    pub fn holders(&self, store: StoreId, tips: &Tips) -> Vec<NodeId> {
        let local = self.0.stores.get(&store);
        local.map(|l| l.holders(tips)).unwrap_or_default()
    }

    /// Makes durable and tells the peers what was committed; gives what that is. Blocks.
    pub fn publish(&self, store: StoreId) -> Result<Arc<Tips>> {
        let local = self.0.stores.get(&store).ok_or(NetError::NoSuchStore(store))?;
        publish::publish(&local);
        local.ask.send_modify(|n| *n += 1);
        Ok(local.handle.published())
    }

    /// Waits until `peers` other members hold `tips` durably, and what the entries name. False: not within `timeout`.
    pub async fn wait_held(&self, store: StoreId, tips: &Tips, peers: usize, timeout: Duration) -> bool {
        self.wait(store, timeout, |local| local.holders(tips).len() >= peers).await
    }

    /// As [`Net::wait_held`], of the entries alone.
    pub(super) async fn wait_told(
        &self,
        store: StoreId,
        tips: &Tips,
        peers: usize,
        timeout: Duration,
    ) -> bool {
        let done = |local: &Local| local.who(|marks, _| covers(marks, tips)).len() >= peers;
        self.wait(store, timeout, done).await
    }

    /// Waits until this node and every connected peer have the same. False: not within `timeout`.
    pub async fn wait_level(&self, store: StoreId, timeout: Duration) -> bool {
        let links: Vec<NodeId> = self.0.peers.links().iter().map(|l| l.peer).collect();
        let level = |local: &Local| {
            links
                .iter()
                .all(|id| local.with(id).is_some_and(|s| s.known && s.behind_here + s.behind_there == 0))
        };
        self.wait(store, timeout, level).await
    }

    async fn wait(&self, store: StoreId, timeout: Duration, done: impl Fn(&Local) -> bool) -> bool {
        let Some(local) = self.0.stores.get(&store) else { return false };
        let mut progress = local.progress.subscribe();
        let deadline = Instant::now() + timeout;
        loop {
            progress.mark_unchanged();
            if done(&local) {
                return true;
            }
            // Its sender lives in `local`.
            if tokio::time::timeout_at(deadline.into(), progress.changed()).await.is_err() {
                return done(&local);
            }
        }
    }
}

impl Local {
    /// How far a peer's session has come.
    pub fn with(&self, peer: &NodeId) -> Option<StoreSync> {
        let session = self.sessions.lock().get(peer).cloned()?;
        let session = session.lock();
        let behind = session.behind();
        Some(StoreSync {
            store: self.handle.id(),
            known: behind.known,
            behind_here: behind.here,
            behind_there: behind.there,
            whole: covers(session.theirs_whole(), &self.tips.borrow()) && session.branches_untold() == 0,
            live: session.is_live(),
            tips: session.theirs().len() as u64,
        })
    }

    fn holders(&self, tips: &Tips) -> Vec<NodeId> {
        let mut holders = self.who(|_, whole| covers(whole, tips));
        // Of several branches a mark tells only how far the longest goes.
        let sessions = self.sessions.lock().clone();
        holders.retain(|id| sessions.get(id).is_none_or(|session| session.lock().branches_untold() == 0));
        holders
    }

    /// Peers that are known to hold an entry durably; `content`: and the content that it names.
    pub fn holders_of(&self, author: &NodeId, seq: u64, content: bool) -> Vec<NodeId> {
        let holds = |marks: &BTreeMap<NodeId, Mark>| marks.get(author).is_some_and(|m| m.seq >= seq);
        self.who(|marks, whole| holds(if content { whole } else { marks }))
    }

    /// Peers whose marks, of entries and of those with their content, are so: by what they say now, or said last.
    fn who(&self, so: impl Fn(&BTreeMap<NodeId, Mark>, &BTreeMap<NodeId, Mark>) -> bool) -> Vec<NodeId> {
        let mut found: Vec<NodeId> =
            self.held.lock().iter().filter(|(_, h)| so(&h.marks, &h.whole)).map(|(id, _)| *id).collect();
        let sessions: Vec<_> = self.sessions.lock().iter().map(|(id, s)| (*id, s.clone())).collect();
        for (id, session) in sessions {
            let session = session.lock();
            if !found.contains(&id) && so(session.theirs(), session.theirs_whole()) {
                found.push(id);
            }
        }
        found
    }
}

fn covers(theirs: &BTreeMap<NodeId, Mark>, tips: &Tips) -> bool {
    tips.marks().iter().all(|(author, mark)| theirs.get(author).is_some_and(|m| m.seq >= mark.seq))
}
