//! What must hold when all is mended.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use lattice_engine::id::NodeId;
use lattice_engine::key::Key;
use lattice_engine::merge::Record;
use lattice_engine::store::Handle;
use lattice_engine::sync::{MAX_STORE, Mark};

use super::world::World;

impl World {
    /// All hold the same, the branches of the liar with it.
    pub fn is_equal(&self) -> bool {
        let standing = self.standing();
        let marks: Vec<_> = standing.iter().map(|n| self.marks(*n)).collect();
        marks.windows(2).all(|w| w[0] == w[1] && w[0].is_some()) && self.has_content(&standing)
    }

    fn marks(&self, node: usize) -> Option<Vec<(NodeId, Mark)>> {
        Some(self.nodes[node].store.as_ref()?.published().all().collect())
    }

    pub fn check(&mut self) {
        let standing = self.standing();
        let stores: Vec<Handle> = standing.iter().filter_map(|n| self.nodes[*n].store.clone()).collect();
        let members: BTreeSet<NodeId> = standing.iter().map(|n| self.nodes[*n].id).collect();
        let mut wrong = Vec::new();
        let dumps: Vec<_> = stores.iter().map(dump).collect();
        for (n, dump) in dumps.iter().enumerate().skip(1) {
            if let Some(key) = differs(&dumps[0], dump) {
                wrong.push(format!(
                    "nodes 0 and {n} show different things at {key}: {:?} {:?}",
                    dumps[0].get(&key),
                    dump.get(&key)
                ));
            }
        }
        for (n, (store, dump)) in stores.iter().zip(&dumps).enumerate() {
            // What a node that was revoked has published may never have left it.
            for ((author, seq), id) in self.acked.iter().filter(|((author, _), _)| members.contains(author)) {
                let mark = Mark { seq: *seq, id: *id };
                if store.fetch(&[(*author, mark)], 1).map_or(0, |found| found.len()) == 0 {
                    wrong.push(format!(
                        "node {n} lacks entry {seq} of {}, which was published",
                        author.short()
                    ));
                }
            }
            let listed: Vec<String> = store
                .conflicts(&Key::ROOT)
                .map(|list| list.into_iter().map(|(key, _)| key.to_string()).collect())
                .unwrap_or_default();
            let mut listed = listed;
            listed.sort();
            let conflicts: Vec<_> =
                dump.iter().filter(|(_, (_, conflict))| *conflict).map(|(key, _)| key.clone()).collect();
            if listed != conflicts {
                wrong.push(format!("node {n} lists conflicts {listed:?} and has {conflicts:?}"));
            }
            match store.fsck(true, &mut |_| {}) {
                Ok(report) if report.problems.is_empty() && report.rebuilt_equal == Some(true) => {}
                Ok(report) => wrong.push(format!("node {n}: {report:?}")),
                Err(e) => wrong.push(format!("node {n} can't be checked: {e}")),
            }
            let (_, bytes) = store.waiting();
            if bytes > MAX_STORE {
                wrong.push(format!("{bytes} bytes wait in the memory of node {n}"));
            }
        }
        let known: Vec<BTreeSet<NodeId>> =
            stores.iter().map(|store| store.forks().iter().map(|proof| proof.author).collect()).collect();
        let all: BTreeSet<NodeId> = known.iter().flatten().copied().collect();
        for (n, store) in stores.iter().enumerate() {
            // Who has nothing of an author leaves what is told of it.
            let holds = |author: &&NodeId| store.published().seq(author) > 0;
            if let Some(author) = all.difference(&known[n]).find(holds) {
                wrong.push(format!(
                    "node {n} holds entries of {} and doesn't know that it forked",
                    author.short()
                ));
            }
        }
        if known.iter().flatten().any(|author| *author != self.liar.id()) {
            wrong.push(format!("an honest node has forked: {known:?}"));
        }
        for what in wrong {
            self.violated(what);
        }
    }
}

/// All that is known of each key, with bytes in the place of where they are, and whether it is in conflict.
fn dump(store: &Handle) -> BTreeMap<String, (String, bool)> {
    let mut found = BTreeMap::new();
    let walked = store.walk(&Key::ROOT, &mut |key, record| {
        found.insert(key.to_string(), (text(store, record), record.conflict() > 0));
        ControlFlow::Continue(())
    });
    if let Err(e) = walked {
        found.insert(String::new(), (e.to_string(), false));
    }
    found
}

fn text(store: &Handle, record: &Record) -> String {
    let head = |h: &lattice_engine::merge::Head| {
        let bytes = h
            .node
            .as_ref()
            .and_then(|n| n.content())
            .map(|content| store.read(content).and_then(|r| r.read_all()).map_err(|_| "lost"));
        format!("{} {} {:?} {bytes:?}", h.entry.id, h.entry.hlc, h.node.as_ref().map(|n| n.file_id))
    };
    let heads: Vec<_> = record.heads.iter().map(head).collect();
    let shown = record.shown().map(|h| h.entry.id);
    format!("shown {shown:?} of {heads:?}, {:?}, {:?}", record.attrs, record.below)
}

fn differs<T: PartialEq>(a: &BTreeMap<String, T>, b: &BTreeMap<String, T>) -> Option<String> {
    a.keys().chain(b.keys()).find(|key| a.get(*key) != b.get(*key)).cloned()
}
