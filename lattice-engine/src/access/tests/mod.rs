//! Histories made by hand and at random, below any store.

mod acts;
mod invites;
mod properties;
mod rules;
mod tokens;

use std::collections::BTreeMap;

use super::*;
use crate::entry::EntryRef;
use crate::hlc::Hlc;
use crate::id::{EntryId, NodeId, StoreId};

/// Node `n`; the founder is node 0.
fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn founder() -> EntryRef {
    EntryRef { hlc: Hlc::new(1, 0), author: node(0), id: EntryId([0xee; 32]), seq: 0 }
}

fn root() -> StoreId {
    StoreId::of_genesis(&founder().id)
}

fn other_store() -> StoreId {
    StoreId([7; 16])
}

fn entry_id(author: u8, seq: u64) -> EntryId {
    let mut id = [author; 32];
    id[..8].copy_from_slice(&seq.to_be_bytes());
    EntryId(id)
}

fn cutoff(author: u8, seq: u64) -> Cutoffs {
    Cutoff { seq, id: entry_id(author, seq) }.into()
}

fn add(n: u8) -> Does {
    Does::Add { node: node(n), invite: None }
}

/// Of node `n`, what counts of its entries in [`other_store`].
fn revoke(n: u8, upto: u64) -> Does {
    Does::Revoke { node: node(n), tips: [(other_store(), cutoff(n, upto))].into() }
}

/// Writes acts, each author's numbered from 1, dated after all they cite.
struct History {
    acts: Vec<Act>,
    seqs: BTreeMap<u8, u64>,
    wall: u64,
}

impl History {
    fn new() -> Self {
        Self { acts: Vec::new(), seqs: BTreeMap::new(), wall: 1 }
    }

    /// An act that has seen its author's own acts and those given by index. Gives its index.
    fn act(&mut self, author: u8, seen: &[usize], does: Vec<Does>) -> usize {
        let seq = self.seqs.entry(author).or_default();
        let mut after = vec![(node(author), *seq, entry_id(author, *seq))];
        *seq += 1;
        after.extend(seen.iter().map(|i| self.acts[*i].at).map(|at| (at.author, at.seq, at.id)));
        self.wall += 1;
        let at = EntryRef {
            hlc: Hlc::new(self.wall, 0),
            author: node(author),
            id: entry_id(author, *seq),
            seq: *seq,
        };
        self.acts.push(Act { at, after, does });
        self.acts.len() - 1
    }

    fn fold(&self) -> Members {
        fold(&self.acts)
    }
}

fn fold(acts: &[Act]) -> Members {
    let mut set = Acts::new(founder());
    for act in acts {
        set.insert(act.clone());
    }
    set.fold()
}

/// The nodes that may connect.
fn active(members: &Members) -> Vec<u8> {
    members.iter().filter(|m| m.is_active()).map(|m| m.id.0[0]).collect()
}
