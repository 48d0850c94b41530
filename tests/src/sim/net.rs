//! Connections: one stream each, between two nodes. What is sent arrives in order and whole, late, or the connection is cut.

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

pub struct Side {
    pub node: usize,
    pub life: u64,
    /// `None`: this side has ended.
    pub session: Option<Session>,
    pub timer: Option<u64>,
    /// What is on its way to here arrives no earlier than this.
    pub arrives: u64,
    /// On its way here and held up by a link that doesn't work in this direction.
    pub held: VecDeque<Vec<u8>>,
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
        self.sides.iter().all(|s| s.session.is_some())
    }
}

impl World {
    pub fn sides_of(&self, node: usize) -> Vec<(u64, usize)> {
        let life = self.nodes[node].life;
        let mine = |(conn, c): (&u64, &Connection)| {
            let side =
                c.sides.iter().position(|s| s.node == node && s.life == life && s.session.is_some())?;
            Some((*conn, side))
        };
        self.conns.iter().filter_map(mine).collect()
    }

    pub fn ask(&mut self, from: usize, to: usize) {
        let mine = |c: &Connection| {
            let side = c.sides.iter().position(|s| s.node == from && s.session.is_some())?;
            c.is_between(from, to).then_some(side)
        };
        let open = self.conns.iter().find_map(|(conn, c)| Some((*conn, mine(c)?)));
        let peer = self.nodes[to].id;
        if let Some((conn, side)) = open {
            self.input(conn, side, Input::Check);
            return self.told(from, Told::Reached(peer));
        }
        let life = self.nodes[from].life;
        let works = !self.blocked.contains_key(&(from, to)) && !self.blocked.contains_key(&(to, from));
        if works && self.nodes[to].store.is_some() {
            let wait = 2 + self.random.below(100);
            self.after(wait, Event::Connected { from, to, life });
        } else {
            self.after(4_000, Event::NoAnswer { from, to, life });
        }
    }

    pub fn connected(&mut self, from: usize, to: usize) {
        let peer = self.nodes[to].id;
        let admits = |a: usize, b: usize| self.peers_of(a).contains(&self.nodes[b].id);
        if self.nodes[to].store.is_none() || !admits(to, from) || !admits(from, to) {
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
        let side = |node: usize, peer: usize| Side {
            node,
            life: self.nodes[node].life,
            session: Some(self.session(node, peer)),
            timer: None,
            arrives: 0,
            held: Default::default(),
        };
        let sides = [side(from, to), side(to, from)];
        self.note("connect", from as u64, to as u64);
        self.conns.insert(conn, Connection { sides });
        for side in 0..2 {
            self.input(conn, side, Input::Opened);
            let node = if side == 0 { from } else { to };
            let forks = self.nodes[node].forks.clone();
            self.input(conn, side, Input::Forks(forks));
        }
        self.told(from, Told::Reached(peer));
        let caller = self.nodes[from].id;
        self.told(to, Told::Reached(caller));
    }

    fn session(&self, node: usize, peer: usize) -> Session {
        let config = Config {
            store: self.store,
            genesis: self.genesis,
            node: self.nodes[node].id,
            peer: self.nodes[peer].id,
        };
        let tips = self.nodes[node].store.as_ref().map(|s| s.published()).unwrap_or_default();
        Session::new(config, tips)
    }

    /// Gives an event to a session, and does what comes out.
    pub fn input(&mut self, conn: u64, side: usize, input: Input) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let node = c.sides[side].node;
        let Some(session) = &mut c.sides[side].session else { return };
        let outputs = session.handle(input, self.now, &mut self.nodes[node].mesh);
        let mut wrote = false;
        for output in outputs {
            match output {
                Output::Send(frame) => {
                    wrote = true;
                    self.send(conn, 1 - side, frame.encode().to_vec());
                }
                Output::Range { request, ranges, max_bytes } => {
                    let read = self.nodes[node].store.as_ref().map(|s| s.range(&ranges, max_bytes));
                    self.read(conn, side, request, read);
                }
                Output::Fetch { request, entries } => {
                    let read = self.nodes[node].store.as_ref().map(|s| s.fetch(&entries, 1 << 20));
                    self.read(conn, side, request, read);
                }
                Output::Chain { request, author, of, from, max_bytes } => {
                    let read = self.nodes[node].store.as_ref().map(|s| s.chain(&author, of, from, max_bytes));
                    self.read(conn, side, request, read);
                }
                Output::Receive { batch, entries } => {
                    let wait = self.random.below(20);
                    self.after(wait, Event::Take { conn, side, batch, entries });
                }
                Output::Forked(proof) => self.fork_told(node, &proof),
                Output::SetTimer(at) => {
                    if let Some(c) = self.conns.get_mut(&conn) {
                        c.sides[side].timer = Some(at);
                    }
                    self.after(at.saturating_sub(self.now), Event::Timer { conn, side, at });
                }
                Output::CaughtUp => self.note("caught up", node as u64, conn),
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
            self.after(1, Event::Answer { conn, side, input: Input::Writable });
        }
    }

    fn read(
        &mut self,
        conn: u64,
        side: usize,
        request: u64,
        read: Option<lattice_engine::store::Result<Vec<SignedEntry>>>,
    ) {
        match read {
            Some(Ok(entries)) => {
                let wait = self.random.below(10);
                self.after(wait, Event::Answer { conn, side, input: Input::Ranged { request, entries } });
            }
            Some(Err(e)) => self.violated(format!("entries can't be read: {e}")),
            None => {}
        }
    }

    pub fn take(&mut self, conn: u64, side: usize, batch: u64, entries: Vec<SignedEntry>) {
        let Some(c) = self.conns.get(&conn) else { return };
        let (node, peer) = (c.sides[side].node, c.sides[1 - side].node);
        if c.sides[side].session.is_none() || c.sides[side].life != self.nodes[node].life {
            return;
        }
        let from = self.nodes[peer].id;
        match self.writing(node, |store| store.receive(entries, from)) {
            None => {}
            Some(Err(e)) => self.violated(format!("node {node} can't take entries: {e}")),
            Some(Ok(results)) => {
                for refused in results.iter().filter(|r| matches!(r, Received::Refused(_))) {
                    self.violated(format!("node {node} refuses what an honest peer sent: {refused:?}"));
                }
                self.publish(node);
                let Some(store) = &self.nodes[node].store else { return };
                let durable = store.published();
                self.input(conn, side, Input::Received { batch, results, durable });
            }
        }
    }

    /// A peer tells of a fork.
    fn fork_told(&mut self, node: usize, proof: &ForkProof) {
        match self.writing(node, |store| store.receive_fork(proof.clone())) {
            Some(Err(e)) => self.violated(format!("node {node} doesn't believe an honest peer: {e}")),
            Some(Ok(_)) => self.tell_forks(node),
            None => {}
        }
    }

    /// Its sessions learn of the forks that it knows.
    pub fn tell_forks(&mut self, node: usize) {
        let Some(forks) = self.nodes[node].store.as_ref().map(|store| store.forks()) else { return };
        if Arc::ptr_eq(&forks, &self.nodes[node].forks) {
            return;
        }
        self.nodes[node].forks = forks.clone();
        self.note("forks", node as u64, forks.len() as u64);
        for (conn, side) in self.sides_of(node) {
            self.input(conn, side, Input::Forks(forks.clone()));
        }
    }

    /// On its way to a side: in order.
    fn send(&mut self, conn: u64, side: usize, bytes: Vec<u8>) {
        let wait = 1 + if self.random.one_in(10) { self.random.below(1_000) } else { self.random.below(30) };
        let blocked = &self.blocked;
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let (to, from) = (c.sides[side].node, c.sides[1 - side].node);
        let side_of = &mut c.sides[side];
        if let Some(since) = blocked.get(&(from, to)).copied() {
            side_of.held.push_back(bytes);
            if side_of.held.len() == 1 {
                self.after(IDLE_MS, Event::StillHeld { conn, side, since });
            }
            return;
        }
        side_of.arrives = side_of.arrives.max(self.now + wait);
        let wait = side_of.arrives - self.now;
        self.after(wait, Event::Frame { conn, side, bytes });
    }

    pub fn frame(&mut self, conn: u64, side: usize, bytes: Vec<u8>) {
        let bytes = Bytes::from(bytes);
        let input = match Announced::read(&bytes) {
            Ok(Some(announced)) => match Frame::decode(bytes.slice(announced.prefix..)) {
                Ok(frame) => Input::Frame(frame),
                Err(e) => Input::BadFrame(e),
            },
            Ok(None) => return,
            Err(e) => Input::BadFrame(e),
        };
        self.input(conn, side, input);
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
                    held.extend(c.sides[side].held.drain(..).map(|bytes| (*conn, side, bytes)));
                }
            }
        }
        for (conn, side, bytes) in held {
            self.send(conn, side, bytes);
        }
    }

    /// One side gives up; the other hears of it unless it is gone.
    pub fn end_side(&mut self, conn: u64, side: usize) {
        let Some(c) = self.conns.get_mut(&conn) else { return };
        let node = c.sides[side].node;
        if c.sides[side].session.take().is_none() {
            return;
        }
        let peer = c.sides[1 - side].node;
        let over = c.sides.iter().all(|s| s.session.is_none());
        if c.sides[side].life == self.nodes[node].life {
            let peer_id = self.nodes[peer].id;
            self.nodes[node].mesh.left(peer_id);
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
                    c.sides[side].session = None;
                }
                self.after(IDLE_MS, Event::Idle { conn, side: 1 - side });
            } else {
                self.cut(conn);
            }
        }
    }
}
