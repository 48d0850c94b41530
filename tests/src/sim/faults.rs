//! What goes wrong, and how all of it is mended in the end.

use lattice_engine::disk::sim::SimDisk;
use lattice_engine::id::NodeId;
use lattice_engine::sync::schedule::Event as Told;
use lattice_engine::sync::{MAX_PEER, Received};
use lattice_engine::wire::v1::SignedEntry;

use super::world::{Event, World};

const YEAR_MS: i64 = 365 * 24 * 3600 * 1000;

impl World {
    /// One thing goes wrong.
    pub fn fault(&mut self) {
        self.faults += 1;
        let node = self.random.index(self.nodes.len());
        let kind = self.random.below(18);
        self.note("fault", kind, node as u64);
        match kind {
            0 | 1 => self.kill(node),
            // At an operation of its disk that is still to come.
            2 | 3 => self.doomed = Some(node),
            4 => {
                let conns: Vec<u64> = self.conns.keys().copied().collect();
                if !conns.is_empty() {
                    let conn = *self.random.pick(&conns);
                    self.cut(conn);
                }
            }
            5..=7 => self.block(node),
            8 => {
                let years = self.random.below(7) as i64 - 3;
                let off = self.random.below(7_200_000) as i64 - 3_600_000;
                self.nodes[node].off += if self.random.one_in(2) { years * YEAR_MS } else { off };
            }
            9 => self.back_up(node),
            10 => self.restore(node),
            11 | 12 => self.revoke(node),
            _ => self.lie(node),
        }
    }

    /// A link stops to work, in one direction or both.
    fn block(&mut self, from: usize) {
        let to = self.random.index(self.nodes.len());
        if from == to {
            return;
        }
        let ms = 500 + self.random.below(40_000);
        let both = self.random.one_in(2);
        for (from, to) in [(from, to), (to, from)].into_iter().take(if both { 2 } else { 1 }) {
            if self.blocked.insert((from, to), self.now).is_none() {
                self.after(ms, Event::Unblock { from, to });
            }
        }
    }

    /// The process is killed: the disk has all that was written.
    fn kill(&mut self, node: usize) {
        if !self.nodes[node].runs() {
            return;
        }
        let disk = self.nodes[node].disk.kill_image(usize::MAX);
        self.gone(node, disk, false);
    }

    /// The power goes after operation `at` of the disk.
    pub fn lose_power(&mut self, node: usize, at: usize) {
        let seed = self.random.bits();
        let disk = self.nodes[node].disk.crash_image(at, seed);
        self.note("power", node as u64, at as u64);
        self.gone(node, disk, true);
    }

    fn gone(&mut self, node: usize, disk: SimDisk, silent: bool) {
        self.nodes[node].stop(disk);
        self.abandon(node, silent);
        let life = self.nodes[node].life;
        let wait = 200 + self.random.below(20_000);
        self.after(wait, Event::Start { node, life });
    }

    pub fn start(&mut self, node: usize) {
        self.nodes[node].set_clock(self.now);
        match self.nodes[node].start() {
            Ok(()) => self.started(node),
            Err(e) => self.violated(format!("node {node} doesn't start: {e}")),
        }
    }

    /// Somebody copies the disk, while the node is away or not.
    fn back_up(&mut self, node: usize) {
        let published = self.nodes[node].stores.iter().map(|local| local.published.clone()).collect();
        self.nodes[node].backup = Some((self.nodes[node].disk.kill_image(usize::MAX), published));
    }

    /// A node comes back on an old disk. What nobody else has is lost with the new one.
    fn restore(&mut self, node: usize) {
        let Some((backup, published)) = self.nodes[node].backup.take() else { return };
        let elsewhere = |which: usize, author: &NodeId, seq: u64| {
            let others = self.nodes.iter().enumerate().filter(|(n, _)| *n != node);
            let held = others.map(|(_, other)| other.stores[which].published.seq(author)).max();
            held.is_some_and(|held| held >= seq)
        };
        let is_lost = |at: &&(usize, NodeId, u64)| !elsewhere(at.0, &at.1, at.2);
        let lost: Vec<_> = self.acked.keys().filter(is_lost).copied().collect();
        for at in lost {
            self.acked.remove(&at);
        }
        for (local, published) in self.nodes[node].stores.iter_mut().zip(published) {
            local.published = published;
        }
        self.gone(node, backup, true);
    }

    /// The liar sends something to a node.
    fn lie(&mut self, node: usize) {
        let which = self.a_store(node);
        let Some(store) = self.nodes[node].handle(which).cloned() else { return };
        let wall = self.nodes[node].wall(self.now);
        match self.random.below(10) {
            0..=2 => {
                let entry = self.liars[which].honest(wall);
                self.lied(node, which, vec![entry], false);
            }
            3 | 4 => {
                let [one, two] = self.liars[which].fork(wall);
                let other = self.random.index(self.nodes.len());
                self.lied(node, which, vec![one], false);
                self.lied(other, which, vec![two], false);
            }
            5 => {
                let entry = self.liars[which].early(wall);
                self.lied(node, which, vec![entry], false);
            }
            6 => {
                let from = self.random.below(1_000_000);
                let count = 50 + self.random.below(400);
                let flood = self.liars[which].flood(wall, count, from);
                self.lied(node, which, flood, false);
                let bytes = store.waiting_of(&self.liar_id());
                if bytes > MAX_PEER {
                    self.violated(format!("{bytes} bytes of one peer wait in the memory of node {node}"));
                }
            }
            7 => {
                let entry = self.liars[which].traversal(wall);
                self.lied(node, which, vec![entry], true);
            }
            _ => {
                let victim = self.random.index(self.nodes.len());
                let victim = self.nodes[victim].id;
                let Some(mark) = store.published().get(&victim) else { return };
                let tip = (mark.seq, mark.id, lattice_engine::hlc::Hlc::new(wall, 0));
                let entry = self.liars[which].forged(victim, tip);
                self.lied(node, which, vec![entry], true);
            }
        }
    }

    fn lied(&mut self, node: usize, which: usize, entries: Vec<SignedEntry>, must_be_refused: bool) {
        let from = self.liar_id();
        self.operations += entries.len() as u64;
        let Some(Ok(results)) = self.writing(node, which, |store| store.receive(entries, from)) else {
            return;
        };
        if must_be_refused && !results.iter().all(|r| matches!(r, Received::Refused(_))) {
            self.violated(format!("node {node} took what it must refuse: {results:?}"));
        }
        self.publish(node);
    }

    /// Everything works again, and nothing more is written. Gives how long it took until all held the same.
    pub fn heal(&mut self, bound: u64) -> u64 {
        self.trouble = false;
        self.doomed = None;
        let from = self.now;
        self.note("heal", 0, 0);
        let blocked: Vec<_> = self.blocked.keys().copied().collect();
        for (from, to) in blocked {
            self.unblock(from, to);
        }
        for node in 0..self.nodes.len() {
            if !self.nodes[node].runs() {
                self.start(node);
            }
        }
        // What was dated years ahead is due at last, everywhere at once.
        let wall = self.nodes.iter().map(|n| n.wall(self.now)).max().unwrap_or(0) + 3 * YEAR_MS as u64;
        for node in 0..self.nodes.len() {
            self.nodes[node].set_wall(self.now, wall);
            self.told(node, Told::NetworkChanged);
        }
        while self.now < from + bound {
            self.run(self.now + 100);
            if self.is_equal() {
                let healed = self.now - from;
                // What is still on its way must not change it.
                self.run(self.now + 5_000);
                return healed;
            }
        }
        self.violated(format!("not equal {bound} ms after everything was mended"));
        bound
    }
}
