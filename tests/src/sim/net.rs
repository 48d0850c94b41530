//! Connections between two nodes, with a stream for each store. What is sent arrives in order and whole, late, or the connection
//! is cut. The stream of the first store is opened with it, others once that one has caught up.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::entry::ForkProof;
use lattice_engine::sync::schedule::Event as Told;
use lattice_engine::sync::{Announced, Config, Frame, Input, Output, Reason, Received, Session};
use lattice_engine::wire::v1::SignedEntry;

use super::world::{Event, World};

/// A connection that hears nothing for so long is given up, on the side that hears nothing.
pub const IDLE_MS: u64 = 12_000;

/// One end of a store's stream.
#[derive(Clone, Copy)]
pub struct Stream {
    pub conn: u64,
    pub side: usize,
    pub which: usize,
}

impl Stream {
    fn other(self) -> Self {
        Self { side: 1 - self.side, ..self }
    }
}

/// What a side has of a stream.
pub struct End {
    session: Session,
    timer: Option<u64>,
}

pub struct Side {
    pub node: usize,
    pub life: u64,
    /// By store.
    ends: Vec<Option<End>>,
    /// It has given the connection up.
    pub over: bool,
    /// What is on its way to here arrives no earlier than this.
    arrives: u64,
    /// On its way here and held up by a link that doesn't work in this direction: of which store.
    held: VecDeque<(usize, Vec<u8>)>,
}

impl Side {
    pub fn session(&self, which: usize) -> Option<&Session> {
        Some(&self.ends.get(which)?.as_ref()?.session)
    }

    fn end(&mut self) {
        self.over = true;
        self.ends.clear();
    }
}

pub struct Connection {
    pub sides: [Side; 2],
}

impl Connection {
    pub fn is_between(&self, a: usize, b: usize) -> bool {
        let [x, y] = [self.sides[0].node, self.sides[1].node];
        (x, y) == (a, b) || (x, y) == (b, a)
    }

    /// Both sides think that it is there.
    pub fn is_whole(&self) -> bool {
        !self.sides.iter().any(|s| s.over)
    }
}

impl World {
    pub fn sides_of(&self, node: usize) -> Vec<(u64, usize)> {
        let life = self.nodes[node].life;
        let mine = |(conn, c): (&u64, &Connection)| {
            let side = c.sides.iter().position(|s| s.node == node && s.life == life && !s.over)?;
            Some((*conn, side))
        };
        self.conns.iter().filter_map(mine).collect()
    }

    pub fn ask(&mut self, from: usize, to: usize) {
        let mine = |c: &Connection| {
            let side = c.sides.iter().position(|s| s.node == from && !s.over)?;
            c.is_between(from, to).then_some(side)
        };
        let open = self.conns.iter().find_map(|(conn, c)| Some((*conn, mine(c)?)));
        let peer = self.nodes[to].id;
        if let Some((conn, side)) = open {
            for which in 0..self.stores.len() {
                self.input(Stream { conn, side, which }, Input::Check);
            }
            return self.told(from, Told::Reached(peer));
        }
        let life = self.nodes[from].life;
        let works = !self.blocked.contains_key(&(from, to)) && !self.blocked.contains_key(&(to, from));
        if works && self.nodes[to].runs() {
            let wait = 2 + self.random.below(100);
            self.after(wait, Event::Connected { from, to, life });
        } else {
            self.after(4_000, Event::NoAnswer { from, to, life });
        }
    }

    pub fn connected(&mut self, from: usize, to: usize) {
        let peer = self.nodes[to].id;
        let admits = |a: usize, b: usize| self.peers_of(a).contains(&self.nodes[b].id);
        if !self.nodes[to].runs() || !admits(to, from) || !admits(from, to) {
            return self.told(from, Told::Failed(peer));
        }
        // A connection of which only one side is left is in the way: what is new counts.
        let old: Vec<u64> =
            self.conns.iter().filter(|(_, c)| c.is_between(from, to)).map(|(conn, _)| *conn).collect();
        for conn in old {
            if self.conns[&conn].is_whole() {
                return self.told(from, Told::Reached(peer));
            }
            self.cut(conn);
        }
        let conn = self.next_conn;
        self.next_conn += 1;
        let side = |node: usize| Side {
            node,
            life: self.nodes[node].life,
            ends: self.stores.iter().map(|_| None).collect(),
            over: false,
            arrives: 0,
            held: Default::default(),
        };
        let sides = [side(from), side(to)];
        self.note("connect", from as u64, to as u64);
        self.conns.insert(conn, Connection { sides });
        self.open_stream(conn, 0);
        self.told(from, Told::Reached(peer));
        let caller = self.nodes[from].id;
        self.told(to, Told::Reached(caller));
    }

    /// Both begin to exchange a store, if both are still there and haven't.
    pub fn open_stream(&mut self, conn: u64, which: usize) {
        let Some(c) = self.conns.get(&conn) else { return };
        let nodes = [c.sides[0].node, c.sides[1].node];
        let there = c.sides.iter().all(|s| !s.over && self.lives(s.node, s.life));
        if !there || c.sides.iter().any(|s| s.session(which).is_some()) {
            return;
        }
        let sessions = [self.session(nodes[0], nodes[1], which), self.session(nodes[1], nodes[0], which)];
        let Some(c) = self.conns.get_mut(&conn) else { return };
        for (side, session) in c.sides.iter_mut().zip(sessions) {
            side.ends[which] = Some(End { session, timer: None });
        }
        for (side, node) in nodes.into_iter().enumerate() {
            let at = Stream { conn, side, which };
            self.input(at, Input::Opened);
            let forks = self.nodes[node].stores[which].forks.clone();
            self.input(at, Input::Forks(forks));
        }
    }

    fn session(&self, node: usize, peer: usize, which: usize) -> Session {
        let (store, genesis) = self.stores[which];
        let config = Config { store, genesis, node: self.nodes[node].id, peer: self.nodes[peer].id };
        let tips = self.nodes[node].handle(which).map(|s| s.published()).unwrap_or_default();
        Session::new(config, tips)
    }

    fn end(&mut self, at: Stream) -> Option<&mut End> {
        self.conns.get_mut(&at.conn)?.sides[at.side].ends.get_mut(at.which)?.as_mut()
    }

    /// The time at which a session wants to be woken.
    pub fn timer(&mut self, at: Stream) -> Option<&mut Option<u64>> {
        Some(&mut self.end(at)?.timer)
    }

    /// Gives an event to a session, and does what comes out.
    pub fn input(&mut self, at: Stream, input: Input) {
        let Stream { conn, side, which } = at;
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let (node, peer) = (c.sides[side].node, c.sides[1 - side].node);
        let Some(Some(end)) = c.sides[side].ends.get_mut(which) else { return };
        let outputs = end.session.handle(input, self.now, &mut self.nodes[node].stores[which].mesh);
        let mut wrote = false;
        for output in outputs {
            let store = self.nodes[node].handle(which);
            match output {
                Output::Send(frame) => {
                    wrote = true;
                    self.send(at.other(), frame.encode().to_vec());
                }
                Output::Range { request, ranges, max_bytes } => {
                    let read = store.map(|s| s.range(&ranges, max_bytes));
                    self.read(at, request, read);
                }
                Output::Fetch { request, entries } => {
                    let read = store.map(|s| s.fetch(&entries, 1 << 20));
                    self.read(at, request, read);
                }
                Output::Chain { request, author, of, from, max_bytes } => {
                    let read = store.map(|s| s.chain(&author, of, from, max_bytes));
                    self.read(at, request, read);
                }
                Output::Receive { batch, entries } => {
                    let wait = self.random.below(20);
                    self.after(wait, Event::Take { at, batch, entries });
                }
                Output::Forked(proof) => self.fork_told(node, which, &proof),
                Output::SetTimer(due) => {
                    if let Some(timer) = self.timer(at) {
                        *timer = Some(due);
                    }
                    self.after(due.saturating_sub(self.now), Event::Timer { at, due });
                }
                Output::CaughtUp => {
                    self.note("caught up", node as u64, conn);
                    self.caught_up(at, (node, peer));
                }
                Output::Close(reason) => {
                    self.note("close", node as u64, conn);
                    if matches!(reason, Reason::Protocol(_) | Reason::Frame(_) | Reason::OtherStore) {
                        self.violated(format!("node {node} refuses an honest peer: {reason}"));
                    }
                    return self.cut(conn);
                }
            }
        }
        if wrote {
            self.after(1, Event::Answer { at, input: Input::Writable });
        }
    }

    /// The root store says whose entries in the others count, so it is first. The node with the lower id opens their streams.
    fn caught_up(&mut self, Stream { conn, which, .. }: Stream, (node, peer): (usize, usize)) {
        if which != 0 || self.nodes[node].id > self.nodes[peer].id {
            return;
        }
        for which in 1..self.stores.len() {
            let wait = 1 + self.random.below(100);
            self.after(wait, Event::Open { conn, which });
        }
    }

    fn read(
        &mut self,
        at: Stream,
        request: u64,
        read: Option<lattice_engine::store::Result<Vec<SignedEntry>>>,
    ) {
        match read {
            Some(Ok(entries)) => {
                let wait = self.random.below(10);
                self.after(wait, Event::Answer { at, input: Input::Ranged { request, entries } });
            }
            Some(Err(e)) => self.violated(format!("entries can't be read: {e}")),
            None => {}
        }
    }

    pub fn take(&mut self, at: Stream, batch: u64, entries: Vec<SignedEntry>) {
        let Some(c) = self.conns.get(&at.conn) else { return };
        let (node, peer) = (c.sides[at.side].node, c.sides[1 - at.side].node);
        if c.sides[at.side].over || c.sides[at.side].life != self.nodes[node].life {
            return;
        }
        let from = self.nodes[peer].id;
        match self.writing(node, at.which, |store| store.receive(entries, from)) {
            None => {}
            Some(Err(e)) => self.violated(format!("node {node} can't take entries: {e}")),
            Some(Ok(results)) => {
                for refused in results.iter().filter(|r| matches!(r, Received::Refused(_))) {
                    self.violated(format!("node {node} refuses what an honest peer sent: {refused:?}"));
                }
                self.publish(node);
                let Some(store) = self.nodes[node].handle(at.which) else { return };
                let durable = store.published();
                self.input(at, Input::Received { batch, results, durable });
            }
        }
    }

    /// A peer tells of a fork.
    fn fork_told(&mut self, node: usize, which: usize, proof: &ForkProof) {
        match self.writing(node, which, |store| store.receive_fork(proof.clone())) {
            Some(Err(e)) => self.violated(format!("node {node} doesn't believe an honest peer: {e}")),
            Some(Ok(_)) => self.tell_forks(node, which),
            None => {}
        }
    }

    /// Its sessions of a store learn of the forks that it knows.
    pub fn tell_forks(&mut self, node: usize, which: usize) {
        let Some(forks) = self.nodes[node].handle(which).map(|store| store.forks()) else { return };
        if Arc::ptr_eq(&forks, &self.nodes[node].stores[which].forks) {
            return;
        }
        self.nodes[node].stores[which].forks = forks.clone();
        self.note("forks", node as u64, forks.len() as u64);
        for (conn, side) in self.sides_of(node) {
            self.input(Stream { conn, side, which }, Input::Forks(forks.clone()));
        }
    }

    /// On its way to a side: in order.
    fn send(&mut self, at: Stream, bytes: Vec<u8>) {
        let Stream { conn, side, which } = at;
        let wait = 1 + if self.random.one_in(10) { self.random.below(1_000) } else { self.random.below(30) };
        let blocked = &self.blocked;
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let (to, from) = (c.sides[side].node, c.sides[1 - side].node);
        let side_of = &mut c.sides[side];
        if let Some(since) = blocked.get(&(from, to)).copied() {
            side_of.held.push_back((which, bytes));
            if side_of.held.len() == 1 {
                self.after(IDLE_MS, Event::StillHeld { conn, side, since });
            }
            return;
        }
        side_of.arrives = side_of.arrives.max(self.now + wait);
        let wait = side_of.arrives - self.now;
        self.after(wait, Event::Frame { at, bytes });
    }

    pub fn frame(&mut self, at: Stream, bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let input = match Announced::read(&bytes) {
            Ok(Some(announced)) => match Frame::decode(bytes.slice(announced.prefix..)) {
                Ok(frame) => Input::Frame(frame),
                Err(e) => Input::BadFrame(e),
            },
            Ok(None) => return,
            Err(e) => Input::BadFrame(e),
        };
        self.input(at, input);
    }

    /// A link works again: what was held up comes.
    pub fn unblock(&mut self, from: usize, to: usize) {
        if self.blocked.remove(&(from, to)).is_none() {
            return;
        }
        self.note("unblock", from as u64, to as u64);
        let mut held = Vec::new();
        for (conn, c) in &mut self.conns {
            for side in 0..2 {
                if c.sides[side].node == to && c.sides[1 - side].node == from {
                    let drained = c.sides[side].held.drain(..);
                    held.extend(drained.map(|(which, bytes)| (Stream { conn: *conn, side, which }, bytes)));
                }
            }
        }
        for (at, bytes) in held {
            self.send(at, bytes);
        }
    }

    /// One side gives up; the other hears of it unless it is gone.
    pub fn end_side(&mut self, conn: u64, side: usize) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let node = c.sides[side].node;
        if c.sides[side].over {
            return;
        }
        c.sides[side].end();
        let peer = c.sides[1 - side].node;
        let over = c.sides.iter().all(|s| s.over);
        if c.sides[side].life == self.nodes[node].life {
            let peer_id = self.nodes[peer].id;
            self.nodes[node].stores.iter_mut().for_each(|local| local.mesh.left(peer_id));
            if over {
                self.conns.remove(&conn);
            }
            self.told(node, Told::Lost(peer_id));
        } else if over {
            self.conns.remove(&conn);
        }
    }

    /// A connection is gone, and both sides know.
    pub fn cut(&mut self, conn: u64) {
        self.note("cut", conn, 0);
        self.end_side(conn, 0);
        self.end_side(conn, 1);
        self.conns.remove(&conn);
    }

    /// The connections of a node that is gone. `silent`: its peers find out only by hearing nothing.
    pub fn abandon(&mut self, node: usize, silent: bool) {
        let conns: Vec<(u64, usize)> = self
            .conns
            .iter()
            .filter_map(|(conn, c)| Some((*conn, c.sides.iter().position(|s| s.node == node)?)))
            .collect();
        for (conn, side) in conns {
            if silent {
                if let Some(c) = self.conns.get_mut(&conn) {
                    c.sides[side].end();
                }
                self.after(IDLE_MS, Event::Idle { conn, side: 1 - side });
            } else {
                self.cut(conn);
            }
        }
    }
}
