//! What stores ask of the network: chunks that a read waits for, who holds an entry, who the peers are. Doesn't keep the
//! network alive.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Shared;
use super::wanted::{Urgency, Waited};
use crate::entry::Content;
use crate::id::{ChunkId, NodeId, StoreId};
use crate::merge::EntryRef;
use crate::store::{Held, Network, NotFetched, Peer};

/// A read waits so long without any progress.
const PATIENCE: Duration = Duration::from_secs(30);
/// And so long while no peer is connected, for dialling one takes a moment, or while all that are say that they lack it: one
/// of them may be fetching it itself.
const PATIENCE_ALONE: Duration = Duration::from_secs(4);

/// The network, as a store has it.
#[derive(Debug)]
pub(super) struct Asked(pub Weak<Shared>);

impl Network for Asked {
    fn fetch(
        &self,
        store: StoreId,
        chunks: &[ChunkId],
        give_up: &dyn Fn() -> bool,
    ) -> Result<(), NotFetched> {
        let stopping = || NotFetched::Hopeless("the network is stopping".into());
        let shared = self.0.upgrade().ok_or_else(stopping)?;
        let local = shared.stores.get(&store).ok_or_else(stopping)?;
        if shared.gate.members().is_empty() {
            return Err(NotFetched::Hopeless("there is no other member that could have it".into()));
        }
        drop(shared);
        local.wanted.want(chunks, Urgency::Now);
        // The first is what is read next; those behind it are on their way all the same.
        let first = &chunks[..chunks.len().min(1)];
        let patience = |lacking: usize| match (local.stop.is_cancelled(), local.sessions.lock().len()) {
            (true, _) => Duration::ZERO,
            (_, connected) if lacking >= connected => PATIENCE_ALONE,
            _ => PATIENCE,
        };
        let waited = local.wanted.wait(first, patience, give_up);
        if waited != Waited::Come {
            // Nobody waits for them now; who does all the same asks again.
            local.wanted.forget(chunks, Urgency::Now);
        }
        match (waited, local.sessions.lock().len()) {
            (Waited::Come, _) => Ok(()),
            (Waited::GivenUp, _) => Err(NotFetched::GivenUp),
            (Waited::InVain, 0) => Err(NotFetched::Hopeless("no peer is connected".into())),
            (Waited::InVain, 1) => Err(NotFetched::Hopeless("the connected peer doesn't send it".into())),
            (Waited::InVain, n) => {
                Err(NotFetched::Hopeless(format!("none of the {n} connected peers sends it")))
            }
        }
    }

    fn held(&self, store: StoreId, entry: &EntryRef, content: Option<&Content>) -> Held {
        let Some(shared) = self.0.upgrade() else { return Held { by: 0, members: 1 } };
        let members = shared.gate.members();
        let by = shared.stores.get(&store).map_or(0, |local| {
            let bytes = |c: &Content| local.handle.content().bytes_here(c).is_ok_and(|n| n == c.size());
            let here = local.handle.published().seq(&entry.author) >= entry.seq && content.is_none_or(bytes);
            let there = local.holders_of(&entry.author, entry.seq, content.is_some());
            usize::from(here) + there.iter().filter(|id| members.contains(id)).count()
        });
        Held { by, members: members.len() + 1 }
    }

    fn peers(&self, store: StoreId) -> Vec<Peer> {
        let Some(shared) = self.0.upgrade() else { return Vec::new() };
        let names = shared.node.members().unwrap_or_default();
        let local = shared.stores.get(&store);
        let peer = |id: NodeId| {
            let link = shared.peers.get(&id).and_then(|p| p.link());
            let sync = local.as_ref().and_then(|l| l.with(&id)).filter(|s| s.known);
            Peer {
                id,
                name: names.get(&id).and_then(|m| m.name.clone()),
                connected: link.is_some(),
                rtt: link.as_ref().and_then(|l| l.rtt()),
                path: link.as_ref().and_then(|l| l.path()),
                behind: sync.map(|s| (s.behind_here, s.behind_there)),
            }
        };
        shared.gate.members().into_iter().map(peer).collect()
    }

    fn revoked_by(&self) -> Vec<NodeId> {
        let Some(shared) = self.0.upgrade() else { return Vec::new() };
        if shared.peers.links().is_empty() { shared.revoked.by().into_iter().collect() } else { Vec::new() }
    }
}

/// For a store of this network.
pub(super) fn network(shared: &Arc<Shared>) -> Arc<dyn Network> {
    Arc::new(Asked(Arc::downgrade(shared)))
}
