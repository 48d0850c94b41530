//! The bytes of large files, behind their entries: wanted, served, missing, and sometimes a lie.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bytes::Bytes;
use lattice_engine::id::ChunkId;
use lattice_engine::key::Key;
use lattice_engine::store::Handle;

use super::world::{Event, World};

/// Chunks asked for at a time.
const AT_ONCE: usize = 8;

/// What was asked for, and of whom.
pub struct Question {
    pub node: usize,
    pub life: u64,
    pub of: usize,
    pub which: usize,
    pub ids: Vec<ChunkId>,
}

/// What came of it.
pub struct Answer {
    pub node: usize,
    pub life: u64,
    pub which: usize,
    pub id: ChunkId,
    /// `None`: it isn't there either.
    pub bytes: Option<Bytes>,
    pub lie: bool,
}

/// The chunks that versions of a store name and that aren't here.
pub fn missing(store: &Handle) -> BTreeSet<ChunkId> {
    let mut missing = BTreeSet::new();
    // What can't be read is found by the check of the records.
    let _ = store.walk(&Key::ROOT, &mut |_, record| {
        for content in record.heads.iter().filter_map(|h| h.node.as_ref()?.content()) {
            missing.extend(store.content().missing(content).unwrap_or_default());
        }
        ControlFlow::Continue(())
    });
    missing
}

impl World {
    /// A node looks for what it lacks, and asks one that it is connected to.
    pub fn want_chunks(&mut self, node: usize) {
        let which = self.a_store(node);
        let Some(store) = self.nodes[node].handle(which).cloned() else { return };
        let peers: Vec<usize> = self
            .sides_of(node)
            .into_iter()
            .map(|(conn, side)| self.conns[&conn].sides[1 - side].node)
            .filter(|peer| self.is_free(node, *peer) && self.nodes[*peer].runs())
            .collect();
        if peers.is_empty() {
            return;
        }
        let ids: Vec<ChunkId> = missing(&store).into_iter().take(AT_ONCE).collect();
        if ids.is_empty() {
            return;
        }
        let (of, life) = (*self.random.pick(&peers), self.nodes[node].life);
        self.note("wants chunks", node as u64, ids.len() as u64);
        let wait = 1 + self.random.below(50);
        self.after(wait, Event::Wanted(Question { node, life, of, which, ids }));
    }

    /// The peer looks what it has.
    pub fn serve_chunks(&mut self, Question { node, life, of, which, ids }: Question) {
        let Some(store) = self.nodes[of].handle(which).cloned().filter(|_| self.is_free(node, of)) else {
            return;
        };
        for id in ids {
            let mut bytes = store.content().get_chunk(&id).ok();
            let lie = self.trouble && self.random.one_in(16);
            if let Some(bytes) = bytes.as_mut().filter(|_| lie) {
                let mut bent = bytes.to_vec();
                bent[0] ^= 1;
                *bytes = bent.into();
            }
            let wait = 1 + self.random.below(200);
            self.after(wait, Event::Served(Answer { node, life, which, id, bytes, lie }));
        }
    }

    /// It comes, and is kept for what it is or not at all.
    pub fn keep_chunk(&mut self, Answer { node, life, which, id, bytes, lie }: Answer) {
        let Some(bytes) = bytes.filter(|_| self.lives(node, life)) else { return };
        self.operations += 1;
        let Some(kept) = self.writing(node, which, |store| store.content().put_chunk(&id, &bytes)) else {
            return;
        };
        if kept.is_ok() == lie {
            self.violated(format!("node {node} was given chunk {id}, a lie: {lie}, and said {kept:?}"));
        }
    }

    /// Whether every node has the bytes of a store that any of them has.
    pub fn has_content(&self, nodes: &[usize], which: usize) -> bool {
        let stores: Vec<&Handle> = nodes.iter().filter_map(|n| self.nodes[*n].handle(which)).collect();
        let somewhere = |id: &ChunkId| stores.iter().any(|s| s.content().has_chunk(id).unwrap_or(false));
        !stores.iter().any(|store| missing(store).iter().any(somewhere))
    }

    /// Whether nothing is between two nodes.
    pub fn is_free(&self, a: usize, b: usize) -> bool {
        !self.blocked.contains_key(&(a, b)) && !self.blocked.contains_key(&(b, a))
    }
}
