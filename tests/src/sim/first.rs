//! The first write of a node into a store since it started. The engine's rule says when; what it must achieve is checked here: a node on
//! an old disk never forks itself where somebody near could have warned it.

use std::collections::{BTreeMap, BTreeSet};

use lattice_engine::id::NodeId;
use lattice_engine::store::Handle;
use lattice_engine::sync::{CONNECTED_MS, FirstWrite, Heard, May, OTHERS_MS, STUCK_MS};

use super::world::World;

pub struct First {
    rule: FirstWrite,
    since: u64,
    opened: bool,
    /// Those who could not be reached, or are gone again.
    failed: BTreeSet<NodeId>,
}

impl First {
    pub fn new(now: u64) -> Self {
        Self { rule: FirstWrite::new(now), since: now, opened: false, failed: BTreeSet::new() }
    }

    pub fn failed(&mut self, peer: NodeId) {
        self.failed.insert(peer);
    }
}

impl World {
    /// Whether a node may write. What would fork it, and nobody could have warned it of, is left undone: that such forks
    /// are shown is tested elsewhere.
    pub fn may_write(&mut self, node: usize, which: usize) -> bool {
        let id = self.nodes[node].id;
        let own = self.nodes[node].stores[which].published.seq(&id);
        let heard = self.heard(node, which);
        let ahead = |seq: &u64| *seq > own;
        let told = heard.values().filter_map(holds).any(|seq| ahead(&seq));
        let first = &mut self.nodes[node].stores[which].first;
        let since = self.now - first.since;
        if first.rule.look(own, &heard, self.now) != May::Write {
            if since > CONNECTED_MS + STUCK_MS {
                self.violated(format!("node {node} has waited {since} ms to write: {heard:?}"));
            }
            return false;
        }
        let elsewhere: Vec<usize> = (0..self.nodes.len())
            .filter(|n| *n != node && ahead(&self.nodes[*n].stores[which].published.seq(&id)))
            .collect();
        // Whoever is there and can be heard gets the time to say so.
        let first = !std::mem::replace(&mut self.nodes[node].stores[which].first.opened, true);
        let near = elsewhere.iter().any(|other| since < OTHERS_MS && self.is_near(node, *other, which));
        if first && (near || (told && since < STUCK_MS)) {
            self.violated(format!(
                "node {node} would use numbers again that {elsewhere:?} could have told it of"
            ));
        }
        elsewhere.is_empty() && !self.may_be_waiting(node, which, own)
    }

    /// Whether entries of a node that lost them may wait in the memory of another, because they are dated ahead: nobody tells
    /// of those.
    fn may_be_waiting(&self, node: usize, which: usize, own: u64) -> bool {
        let waiting = |store: &Handle| store.waiting().0 > 0;
        own < self.nodes[node].stores[which].once
            && self.nodes.iter().filter_map(|n| n.handle(which)).any(waiting)
    }

    fn heard(&self, node: usize, which: usize) -> BTreeMap<NodeId, Heard> {
        let id = self.nodes[node].id;
        let mut heard = BTreeMap::new();
        for peer in self.peers_of(node) {
            let away = self.nodes[node].stores[which].first.failed.contains(&peer);
            heard.insert(peer, if away { Heard::Away } else { Heard::Dialled });
        }
        for (conn, side) in self.sides_of(node) {
            let sides = &self.conns[&conn].sides;
            let says = match sides[side].session(which).filter(|session| session.behind().known) {
                Some(session) => Heard::Holds(session.theirs().get(&id).map_or(0, |mark| mark.seq)),
                None => Heard::Connected,
            };
            heard.insert(self.nodes[sides[1 - side].node].id, says);
        }
        heard
    }

    /// Whether `other` was there before `node` started, and nothing is between them.
    fn is_near(&self, node: usize, other: usize, which: usize) -> bool {
        let first = |n: usize| &self.nodes[n].stores[which].first;
        self.nodes[other].runs()
            && first(other).since <= first(node).since
            && !first(node).failed.contains(&self.nodes[other].id)
            && self.is_free(node, other)
            && self.peers_of(node).contains(&self.nodes[other].id)
            && self.peers_of(other).contains(&self.nodes[node].id)
    }
}

fn holds(heard: &Heard) -> Option<u64> {
    if let Heard::Holds(seq) = heard { Some(*seq) } else { None }
}
