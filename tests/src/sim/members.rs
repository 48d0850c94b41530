//! Members: in half of the clusters the store says itself who they are, and some are revoked while they write. The founder
//! stays: with it the others must agree in the end.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::access::{Cutoff, act};
use lattice_engine::entry::{Attrs, Content, Node as Value, Value as File};
use lattice_engine::id::{FileId, NodeId};
use lattice_engine::store::{Change, Cites, Expect};
use lattice_engine::sync::schedule::Event as Told;

use super::work::key;
use super::world::World;

/// Members that are revoked in one run, at most.
const REVOKED: u64 = 2;

fn put(path: &str, value: String) -> Change {
    let value = File::File(Content::Inline(Bytes::from(value)));
    let node = Value { file_id: FileId([9; 16]), value, attrs: Attrs::default() };
    Change::Put { key: key(path), node, cites: Cites::All, expect: Expect::Anything }
}

impl World {
    /// The founder lets all others in, and the liar.
    pub fn found(&mut self) {
        let ids: Vec<NodeId> = self.nodes.iter().skip(1).map(|n| n.id).chain([self.liar.id()]).collect();
        let added = ids.iter().map(|id| put(&format!("nodes/{id}/added"), act::added_value(None)));
        let changes: Vec<Change> = [Change::CiteAll].into_iter().chain(added).collect();
        if let Some(Err(e)) = self.writing(0, |store| store.commit(changes)) {
            self.violated(format!("the founder can't let the others in: {e}"));
        }
        self.publish(0);
    }

    /// One member ends the membership of another, which may be writing at this moment.
    pub fn revoke(&mut self, node: usize) {
        let others: Vec<NodeId> = self.nodes.iter().skip(1).map(|n| n.id).chain([self.liar.id()]).collect();
        let victim = *self.random.pick(&others);
        let active = |id: &NodeId| {
            let store = self.nodes[node].store.as_ref();
            store.is_some_and(|s| s.membership().contains(id))
        };
        if !self.rooted || self.revoked == REVOKED || victim == self.nodes[node].id || !active(&victim) {
            return;
        }
        let id = self.store;
        let done = self.writing(node, |store| {
            store.sync()?;
            let cutoff = store.accepted(&victim)?.unwrap_or(Cutoff { seq: 0, id: store.genesis() }.into());
            let path = format!("nodes/{victim}/revoked/{id}");
            store.commit(vec![Change::CiteAll, put(&path, act::cutoff_value(&cutoff))])
        });
        // Refused where the node is none that may write.
        if matches!(done, Some(Ok(_))) {
            self.revoked += 1;
            self.note("revoke", node as u64, u64::from(victim.0[0]));
            self.publish(node);
        }
    }

    /// Those whom a node would talk to.
    pub fn peers_of(&self, node: usize) -> BTreeSet<NodeId> {
        let own = self.nodes[node].id;
        let membership = self.nodes[node].store.as_ref().filter(|_| self.rooted).map(|s| s.membership());
        let ids = self.nodes.iter().map(|n| n.id).filter(|id| *id != own);
        ids.filter(|id| membership.as_ref().is_none_or(|m| m.contains(id))).collect()
    }

    /// The members may have changed: who is none any more is cut off, who is new is sought.
    pub fn follow_members(&mut self, node: usize) {
        let Some(now) = self.nodes[node].store.as_ref().map(|s| s.membership()) else { return };
        if self.nodes[node].members.as_ref().is_some_and(|known| Arc::ptr_eq(known, &now)) {
            return;
        }
        self.nodes[node].members = Some(now);
        let peers = self.peers_of(node);
        for (conn, side) in self.sides_of(node) {
            let Some(c) = self.conns.get(&conn) else { continue };
            if !peers.contains(&self.nodes[c.sides[1 - side].node].id) {
                self.cut(conn);
            }
        }
        self.told(node, Told::Members(peers));
    }

    /// The nodes that are members by what the founder knows.
    pub fn standing(&self) -> Vec<usize> {
        let founder = self.nodes[0].store.as_ref().filter(|_| self.rooted).map(|s| s.membership());
        let stands = |n: &usize| founder.as_ref().is_none_or(|m| m.contains(&self.nodes[*n].id));
        (0..self.nodes.len()).filter(stands).collect()
    }
}
