//! The queue of what is to happen, and what each event does.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use lattice_engine::entry::{Entry, genesis_from};
use lattice_engine::hlc::Hlc;
use lattice_engine::id::{EntryId, NodeId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::sync::schedule::Event as Told;
use lattice_engine::sync::{Announced, Config, Frame, Input, Output, Reason, Session};
use lattice_engine::wire::v1::SignedEntry;

use super::liar::Liar;
use super::net::{Connection, IDLE_MS, Side};
use super::node::Node;
use super::{Outcome, work};
use crate::random::Random;

/// Something that will happen.
pub enum Event {
    /// What was sent to a side arrives.
    Frame {
        conn: u64,
        side: usize,
        bytes: Vec<u8>,
    },
    /// The store or the transport of a side answers.
    Answer {
        conn: u64,
        side: usize,
        input: Input,
    },
    /// The store of a side takes entries.
    Take {
        conn: u64,
        side: usize,
        batch: u64,
        entries: Vec<SignedEntry>,
    },
    Timer {
        conn: u64,
        side: usize,
        at: u64,
    },
    /// A side hears nothing for too long.
    Idle {
        conn: u64,
        side: usize,
    },
    /// A side has been held up since then.
    StillHeld {
        conn: u64,
        side: usize,
        since: u64,
    },
    Connected {
        from: usize,
        to: usize,
        life: u64,
    },
    NoAnswer {
        from: usize,
        to: usize,
        life: u64,
    },
    Tick {
        node: usize,
        life: u64,
    },
    Work {
        node: usize,
        life: u64,
    },
    Publish {
        node: usize,
        life: u64,
    },
    Maintain {
        node: usize,
        life: u64,
    },
    Start {
        node: usize,
        life: u64,
    },
    Fault,
    Unblock {
        from: usize,
        to: usize,
    },
}

pub struct World {
    pub random: Random,
    pub now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    events: u64,
    pub nodes: Vec<Node>,
    pub conns: BTreeMap<u64, Connection>,
    next_conn: u64,
    /// Links that don't work: from, to, since.
    pub blocked: BTreeMap<(usize, usize), u64>,
    pub store: StoreId,
    pub genesis: EntryId,
    pub liar: Liar,
    /// What nodes have published: never to be lost.
    pub acked: BTreeMap<(NodeId, u64), EntryId>,
    pub trace: DefaultHasher,
    pub violations: Vec<String>,
    pub operations: u64,
    pub faults: u64,
    /// While there is trouble there is work, and faults.
    pub trouble: bool,
    /// A node dies in the middle of the next call that writes to its disk.
    pub doomed: Option<usize>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let genesis = genesis(&mut random);
        let count = 2 + random.index(4);
        let nodes = (0..count).map(|n| Node::new(n as u8 + 1, &genesis)).collect();
        let mut world = Self {
            now: 0,
            queue: BTreeMap::new(),
            events: 0,
            nodes,
            conns: BTreeMap::new(),
            next_conn: 0,
            blocked: BTreeMap::new(),
            store: StoreId::of_genesis(&genesis.id),
            genesis: genesis.id,
            liar: Liar::new(100, &genesis),
            acked: BTreeMap::new(),
            trace: DefaultHasher::new(),
            violations: Vec::new(),
            operations: 0,
            faults: 0,
            trouble: true,
            doomed: None,
            random,
        };
        for node in 0..count {
            world.nodes[node].off = world.random.below(2_000) as i64 - 1_000;
            world.started(node);
        }
        world
    }

    /// Until then things go wrong.
    pub fn trouble(&mut self, until: u64) {
        self.after(3_000, Event::Fault);
        self.run(until);
    }

    /// What is in the queue until a time.
    pub fn run(&mut self, until: u64) {
        while let Some(next) = self.queue.first_entry() {
            if next.key().0 > until {
                break;
            }
            let (at, event) = (next.key().0, next.remove());
            self.now = self.now.max(at);
            self.happen(event);
        }
        self.now = until;
    }

    pub fn after(&mut self, ms: u64, event: Event) {
        self.events += 1;
        self.queue.insert((self.now + ms, self.events), event);
    }

    pub fn note(&mut self, what: &str, a: u64, b: u64) {
        (self.now, what, a, b).hash(&mut self.trace);
        if std::env::var_os("LATTICE_SIM_TRACE").is_some() {
            eprintln!("{:>8} {what} {a} {b:x}", self.now);
        }
    }

    pub fn violated(&mut self, what: String) {
        self.violations.push(format!("at {} ms: {what}", self.now));
    }

    pub fn outcome(self, seed: u64, healed_ms: u64) -> Outcome {
        Outcome {
            seed,
            operations: self.operations,
            simulated_ms: self.now,
            healed_ms,
            trace: self.trace.finish(),
            faults: self.faults,
            violations: self.violations,
        }
    }

    fn lives(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].store.is_some()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Frame { conn, side, bytes } => self.frame(conn, side, bytes),
            Event::Answer { conn, side, input } => self.input(conn, side, input),
            Event::Take { conn, side, batch, entries } => self.take(conn, side, batch, entries),
            Event::Timer { conn, side, at } => {
                let due = self.conns.get_mut(&conn).and_then(|c| {
                    let side = &mut c.sides[side];
                    (side.timer == Some(at)).then(|| side.timer = None)
                });
                if due.is_some() {
                    self.input(conn, side, Input::Timer);
                }
            }
            Event::Idle { conn, side } => self.end_side(conn, side),
            Event::StillHeld { conn, side, since } => {
                let Some(c) = self.conns.get(&conn) else { return };
                let (to, from) = (c.sides[side].node, c.sides[1 - side].node);
                if self.blocked.get(&(from, to)) == Some(&since) {
                    self.end_side(conn, side);
                    self.after(IDLE_MS, Event::Idle { conn, side: 1 - side });
                }
            }
            Event::Connected { from, to, life } => {
                if self.lives(from, life) {
                    self.connected(from, to);
                }
            }
            Event::NoAnswer { from, to, life } => {
                if self.lives(from, life) {
                    let peer = self.nodes[to].id;
                    self.told(from, Told::Failed(peer));
                }
            }
            Event::Tick { node, life } => {
                if self.lives(node, life) && self.nodes[node].tick == Some(self.now) {
                    self.nodes[node].tick = None;
                    self.told(node, Told::Tick);
                }
            }
            Event::Work { node, life } => {
                if self.lives(node, life) && self.trouble {
                    self.work(node);
                    let wait = 50 + self.random.below(4_000);
                    self.after(wait, Event::Work { node, life });
                }
            }
            Event::Publish { node, life } => {
                if self.lives(node, life) {
                    self.publish(node);
                }
            }
            Event::Maintain { node, life } => {
                if self.lives(node, life) {
                    let durable = self.random.one_in(4);
                    self.writing(node, |store| drop(store.maintain(durable)));
                    // What waits in memory for its time.
                    self.publish(node);
                    self.after(2_000, Event::Maintain { node, life });
                }
            }
            Event::Start { node, life } => {
                if self.nodes[node].life == life && self.nodes[node].store.is_none() {
                    self.start(node);
                }
            }
            Event::Fault => {
                if self.trouble {
                    self.fault();
                    let wait = 500 + self.random.below(8_000);
                    self.after(wait, Event::Fault);
                }
            }
            Event::Unblock { from, to } => self.unblock(from, to),
        }
    }

    /// A node has come up.
    pub fn started(&mut self, node: usize) {
        let life = self.nodes[node].life;
        self.nodes[node].set_clock(self.now);
        self.note("start", node as u64, life);
        let peers = self.nodes.iter().map(|n| n.id).filter(|id| *id != self.nodes[node].id).collect();
        self.after(100, Event::Work { node, life });
        self.after(2_000, Event::Maintain { node, life });
        self.told(node, Told::Members(peers));
    }

    /// Does something that may write to a node's disk; in the midst of it the node may die. `None`: it has.
    pub fn writing<T>(
        &mut self,
        node: usize,
        call: impl FnOnce(&lattice_engine::store::Handle) -> T,
    ) -> Option<T> {
        self.nodes[node].set_clock(self.now);
        let store = self.nodes[node].store.clone()?;
        let before = self.nodes[node].disk.ops();
        let done = call(&store);
        drop(store);
        let after = self.nodes[node].disk.ops();
        if self.doomed == Some(node) && after > before {
            self.doomed = None;
            let at = before + self.random.index(after - before + 1);
            self.lose_power(node, at);
            return None;
        }
        Some(done)
    }

    fn work(&mut self, node: usize) {
        if !self.nodes[node].holds.is_empty() {
            return;
        }
        let mut random = Random::new(self.random.bits());
        let Some(done) = self.writing(node, |store| work::commit(store, &mut random)) else { return };
        self.operations += u64::from(done);
        self.note("work", node as u64, u64::from(done));
        let life = self.nodes[node].life;
        let wait = self.random.below(50);
        self.after(wait, Event::Publish { node, life });
    }

    /// Lets others know of what has become durable.
    pub fn publish(&mut self, node: usize) {
        let Some(result) = self.writing(node, |store| store.publish()) else { return };
        match result {
            Ok(tips) => {
                if tips.generation() == self.nodes[node].published.generation() {
                    return;
                }
                self.note(
                    "published",
                    node as u64,
                    u64::from_le_bytes(*tips.digest().0.first_chunk().expect("32")),
                );
                self.nodes[node].published = tips.clone();
                let own = self.nodes[node].id;
                for (author, mark) in tips.marks() {
                    if *author == own {
                        self.acked.insert((*author, mark.seq), mark.id);
                    }
                }
                for (conn, side) in self.sides_of(node) {
                    self.input(conn, side, Input::Published(tips.clone()));
                }
            }
            Err(e) => self.violated(format!("node {node} can't publish: {e}")),
        }
    }

    fn sides_of(&self, node: usize) -> Vec<(u64, usize)> {
        let life = self.nodes[node].life;
        let mine = |(conn, c): (&u64, &Connection)| {
            let side =
                c.sides.iter().position(|s| s.node == node && s.life == life && s.session.is_some())?;
            Some((*conn, side))
        };
        self.conns.iter().filter_map(mine).collect()
    }

    /// Tells a node's schedule something, and does what it says.
    pub fn told(&mut self, node: usize, what: Told) {
        let random = self.random.bits();
        let due = self.nodes[node].schedule.handle(what, self.now, random);
        for peer in due {
            if let Some(to) = self.nodes.iter().position(|n| n.id == peer) {
                self.ask(node, to);
            }
        }
        if let Some(next) = self.nodes[node].schedule.next()
            && self.nodes[node].tick.is_none_or(|tick| tick > next)
        {
            let life = self.nodes[node].life;
            let next = next.max(self.now);
            self.nodes[node].tick = Some(next);
            self.after(next - self.now, Event::Tick { node, life });
        }
    }

    fn ask(&mut self, from: usize, to: usize) {
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

    fn connected(&mut self, from: usize, to: usize) {
        let peer = self.nodes[to].id;
        if self.nodes[to].store.is_none() {
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
        let (node, peer) = (c.sides[side].node, c.sides[1 - side].node);
        let Some(session) = &mut c.sides[side].session else { return };
        let outputs = session.handle(input, self.now, &mut self.nodes[node].mesh);
        let behind = session.behind();
        if behind.known && !behind.own {
            let peer = self.nodes[peer].id;
            self.nodes[node].holds.remove(&peer);
        }
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
                Output::Receive { batch, entries } => {
                    let wait = self.random.below(20);
                    self.after(wait, Event::Take { conn, side, batch, entries });
                }
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

    fn take(&mut self, conn: u64, side: usize, batch: u64, entries: Vec<SignedEntry>) {
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
                for refused in
                    results.iter().filter(|r| matches!(r, lattice_engine::sync::Received::Refused(_)))
                {
                    self.violated(format!("node {node} refuses what an honest peer sent: {refused:?}"));
                }
                self.publish(node);
                let Some(store) = &self.nodes[node].store else { return };
                let durable = store.published();
                self.input(conn, side, Input::Received { batch, results, durable });
            }
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

    fn frame(&mut self, conn: u64, side: usize, bytes: Vec<u8>) {
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
    fn end_side(&mut self, conn: u64, side: usize) {
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

fn genesis(random: &mut Random) -> Entry {
    let mut nonce = [0; 32];
    nonce[..8].copy_from_slice(&random.bits().to_le_bytes());
    let founder = Identity::from_seed([1; 32]);
    genesis_from(&founder, Hlc::new(1_795_200_000_000, 0), nonce, Vec::new()).expect("a genesis")
}
