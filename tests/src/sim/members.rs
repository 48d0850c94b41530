//! Members: in half of the clusters the first store says who they are, and some are revoked while they write, in it and in the
//! store beside it. The founder stays: with it the others must agree in the end.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::access::{Cutoff, act};
use lattice_engine::entry::{Attrs, Content, Node as Value, Value as File};
use lattice_engine::id::{FileId, NodeId};
use lattice_engine::store::{Change, Cites, Expect, Handle};
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
        let ids: Vec<NodeId> = self.nodes.iter().skip(1).map(|n| n.id).chain([self.liar_id()]).collect();
        let added = ids.iter().map(|id| put(&format!("nodes/{id}/added"), act::added_value(None)));
        let changes: Vec<Change> = [Change::CiteAll].into_iter().chain(added).collect();
        if let Some(Err(e)) = self.writing(0, 0, |store| store.commit(changes)) {
            self.violated(format!("the founder can't let the others in: {e}"));
        }
        self.publish(0);
    }

    /// One member ends the membership of another, which may be writing at this moment.
    pub fn revoke(&mut self, node: usize) {
        let others: Vec<NodeId> = self.nodes.iter().skip(1).map(|n| n.id).chain([self.liar_id()]).collect();
        let victim = *self.random.pick(&others);
        let active = |id: &NodeId| {
            let root = self.nodes[node].handle(0);
            root.is_some_and(|root| root.membership().contains(id))
        };
        if !self.rooted || self.revoked == REVOKED || victim == self.nodes[node].id || !active(&victim) {
            return;
        }
        // An act is a write like any other: a node on an old disk waits with it until it may.
        if !self.may_write(node, 0) {
            return;
        }
        let stores: Vec<Handle> =
            self.nodes[node].stores.iter().filter_map(|local| local.handle.clone()).collect();
        // As `Node::revoke_member` does it.
        let done = self.writing(node, 0, |root| {
            let mut changes = vec![Change::CiteAll];
            for store in stores {
                store.sync()?;
                let nothing = Cutoff { seq: 0, id: store.genesis() }.into();
                let cutoff = store.accepted(&victim)?.unwrap_or(nothing);
                let path = format!("nodes/{victim}/revoked/{}", store.id());
                changes.push(put(&path, act::cutoff_value(&cutoff)));
            }
            root.commit(changes)
        });
        // Refused where the node is none that may write.
        if matches!(done, Some(Ok(_))) {
            self.revoked += 1;
            self.note("revoke", node as u64, u64::from(victim.0[0]));
            self.publish(node);
        }
    }

    /// How many have written more in the stores beside than counts, as those who stay hold it.
    pub fn raced(&self) -> u64 {
        let standing = self.standing();
        let beside =
            |n: &usize| self.nodes[*n].stores.iter().skip(1).filter_map(|local| local.handle.as_ref());
        let left_out = standing.iter().flat_map(beside).flat_map(Handle::left_out);
        left_out.collect::<BTreeSet<NodeId>>().len() as u64
    }

    /// Those whom a node would talk to.
    pub fn peers_of(&self, node: usize) -> BTreeSet<NodeId> {
        let own = self.nodes[node].id;
        let membership = self.nodes[node].handle(0).filter(|_| self.rooted).map(Handle::membership);
        let ids = self.nodes.iter().map(|n| n.id).filter(|id| *id != own);
        ids.filter(|id| membership.as_ref().is_none_or(|m| m.contains(id))).collect()
    }

    /// The members may have changed: who is none any more is cut off, who is new is sought.
    pub fn follow_members(&mut self, node: usize) {
        let Some(now) = self.nodes[node].handle(0).map(Handle::membership) else { return };
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
        let founder = self.nodes[0].handle(0).filter(|_| self.rooted).map(Handle::membership);
        let stands = |n: &usize| founder.as_ref().is_none_or(|m| m.contains(&self.nodes[*n].id));
        (0..self.nodes.len()).filter(stands).collect()
    }
}
