//! What must hold when all is mended.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use lattice_engine::access::Limit;
use lattice_engine::id::NodeId;
use lattice_engine::key::Key;
use lattice_engine::merge::Record;
use lattice_engine::store::Handle;
use lattice_engine::sync::{MAX_STORE, Mark};

use super::world::World;

impl World {
    /// All hold the same of every store, the branches of the liar with it.
    pub fn is_equal(&self) -> bool {
        let standing = self.standing();
        (0..self.stores.len()).all(|which| {
            let marks: Vec<_> = standing.iter().map(|n| self.marks(*n, which)).collect();
            marks.windows(2).all(|w| w[0] == w[1] && w[0].is_some()) && self.has_content(&standing, which)
        })
    }

    fn marks(&self, node: usize, which: usize) -> Option<Vec<(NodeId, Mark)>> {
        Some(self.nodes[node].handle(which)?.published().all().collect())
    }

    pub fn check(&mut self) {
        for which in 0..self.stores.len() {
            for wrong in self.wrong(which) {
                self.violated(format!("store {which}: {wrong}"));
            }
        }
    }

    /// What doesn't hold in a store.
    fn wrong(&self, which: usize) -> Vec<String> {
        let standing = self.standing();
        let stores: Vec<Handle> =
            standing.iter().filter_map(|n| self.nodes[*n].handle(which).cloned()).collect();
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
            let kept = |(of, author, _): &(usize, NodeId, u64)| *of == which && members.contains(author);
            for ((_, author, seq), id) in self.acked.iter().filter(|(at, _)| kept(at)) {
                let mark = Mark { seq: *seq, id: *id };
                if store.fetch(&[(*author, mark)], 1).map_or(0, |found| found.len()) == 0 {
                    wrong.push(format!(
                        "node {n} lacks entry {seq} of {}, which was published",
                        author.short()
                    ));
                }
            }
            wrong.extend(self.beyond(store).map(|what| format!("node {n} {what}")));
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
        self.wrong_forks(&stores, &mut wrong);
        wrong
    }

    /// A version that is shown although its author was revoked before it, as the founder's root store has it.
    fn beyond(&self, store: &Handle) -> Option<String> {
        let membership = self.nodes[0].handle(0).filter(|_| self.rooted)?.membership();
        let mut found = None;
        let walked = store.walk(&Key::ROOT, &mut |key, record| {
            for at in record.heads.iter().map(|head| head.entry) {
                let last = match membership.limit(&store.id(), &at.author) {
                    Limit::All => u64::MAX,
                    Limit::UpTo(cutoffs) => cutoffs.last(),
                    Limit::Nothing => 0,
                };
                if at.seq > last {
                    let of = at.author.short();
                    found = Some(format!("has entry {} of {of} at {key}, and {last} is its last", at.seq));
                }
            }
            ControlFlow::Continue(())
        });
        found.or(walked.err().map(|e| format!("can't be read: {e}")))
    }

    fn wrong_forks(&self, stores: &[Handle], wrong: &mut Vec<String>) {
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
        if known.iter().flatten().any(|author| *author != self.liar_id()) {
            wrong.push(format!("an honest node has forked: {known:?}"));
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
