//! The queue of what is to happen, and what each event does.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use lattice_engine::entry::{Entry, genesis_from};
use lattice_engine::hlc::Hlc;
use lattice_engine::id::{EntryId, NodeId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::sync::Input;
use lattice_engine::sync::schedule::Event as Told;
use lattice_engine::wire::v1::SignedEntry;

use super::content::{Answer, Question};
use super::first::First;
use super::liar::Liar;
use super::net::{Connection, IDLE_MS, Stream};
use super::node::Node;
use super::{Outcome, work};
use crate::random::Random;

/// Something that will happen.
pub enum Event {
    /// The stream of a store is opened, on a connection that is there.
    Open {
        conn: u64,
        which: usize,
    },
    /// What was sent to a side arrives.
    Frame {
        at: Stream,
        bytes: Vec<u8>,
    },
    /// The store or the transport of a side answers.
    Answer {
        at: Stream,
        input: Input,
    },
    /// The store of a side takes entries.
    Take {
        at: Stream,
        batch: u64,
        entries: Vec<SignedEntry>,
    },
    Timer {
        at: Stream,
        due: u64,
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
    /// A node looks for bytes that it lacks.
    Chunks {
        node: usize,
        life: u64,
    },
    Wanted(Question),
    Served(Answer),
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
    pub next_conn: u64,
    /// Links that don't work: from, to, since.
    pub blocked: BTreeMap<(usize, usize), u64>,
    /// The stores that every node has: their ids and geneses.
    pub stores: Vec<(StoreId, EntryId)>,
    /// One for each store, by the same name.
    pub liars: Vec<Liar>,
    /// What nodes have published, in which store: never to be lost.
    pub acked: BTreeMap<(usize, NodeId, u64), EntryId>,
    pub trace: DefaultHasher,
    pub violations: Vec<String>,
    pub operations: u64,
    pub faults: u64,
    /// While there is trouble there is work, and faults.
    pub trouble: bool,
    /// The first store says who the members are, and there is one beside it.
    pub rooted: bool,
    /// How many were revoked.
    pub revoked: u64,
    /// A node dies in the middle of the next call that writes to its disk.
    pub doomed: Option<usize>,
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let first = genesis(&mut random);
        let (count, rooted) = (2 + random.index(4), random.one_in(2));
        let beside = rooted.then(|| genesis(&mut random));
        let geneses: Vec<Entry> = [first].into_iter().chain(beside).collect();
        let nodes = (0..count).map(|n| Node::new(n as u8 + 1, &geneses, rooted)).collect();
        let mut world = Self {
            now: 0,
            queue: BTreeMap::new(),
            events: 0,
            nodes,
            conns: BTreeMap::new(),
            next_conn: 0,
            blocked: BTreeMap::new(),
            stores: geneses.iter().map(|genesis| (StoreId::of_genesis(&genesis.id), genesis.id)).collect(),
            liars: geneses.iter().map(|genesis| Liar::new(100, genesis)).collect(),
            acked: BTreeMap::new(),
            trace: DefaultHasher::new(),
            violations: Vec::new(),
            operations: 0,
            faults: 0,
            trouble: true,
            rooted,
            revoked: 0,
            doomed: None,
            random,
        };
        if rooted {
            world.found();
        }
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
            revoked: self.revoked,
            raced: self.raced(),
            violations: self.violations,
        }
    }

    pub fn lives(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].runs()
    }

    /// One of the stores of a node.
    pub fn a_store(&mut self, node: usize) -> usize {
        match self.nodes[node].stores.len() {
            1 => 0,
            many => self.random.index(many),
        }
    }

    /// The member that lies.
    pub fn liar_id(&self) -> NodeId {
        self.liars[0].id()
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Open { conn, which } => self.open_stream(conn, which),
            Event::Frame { at, bytes } => self.frame(at, bytes),
            Event::Answer { at, input } => self.input(at, input),
            Event::Take { at, batch, entries } => self.take(at, batch, entries),
            Event::Timer { at, due } => match self.timer(at) {
                Some(timer) if *timer == Some(due) => {
                    *timer = None;
                    self.input(at, Input::Timer);
                }
                _ => {}
            },
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
                    let which = self.a_store(node);
                    let wait = if self.may_write(node, which) {
                        self.work(node, which);
                        50 + self.random.below(4_000)
                    } else {
                        1 + self.random.below(20)
                    };
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
                    for which in 0..self.nodes[node].stores.len() {
                        self.writing(node, which, |store| drop(store.maintain(durable)));
                    }
                    // What waits in memory for its time.
                    self.publish(node);
                    self.after(2_000, Event::Maintain { node, life });
                }
            }
            Event::Chunks { node, life } => {
                if self.lives(node, life) {
                    self.want_chunks(node);
                    let wait = 100 + self.random.below(600);
                    self.after(wait, Event::Chunks { node, life });
                }
            }
            Event::Wanted(question) => self.serve_chunks(question),
            Event::Served(answer) => self.keep_chunk(answer),
            Event::Start { node, life } => {
                if self.nodes[node].life == life && !self.nodes[node].runs() {
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
        let now = self.now;
        self.nodes[node].stores.iter_mut().for_each(|local| local.first = First::new(now));
        self.note("start", node as u64, life);
        self.nodes[node].members = None;
        // At once: what it must wait for is `first`'s to know.
        self.after(1, Event::Work { node, life });
        self.after(2_000, Event::Maintain { node, life });
        self.after(300, Event::Chunks { node, life });
        self.follow_members(node);
    }

    /// Does something with a store that may write to its node's disk; in the midst of it the node may die. `None`: it has.
    pub fn writing<T>(
        &mut self,
        node: usize,
        which: usize,
        call: impl FnOnce(&lattice_engine::store::Handle) -> T,
    ) -> Option<T> {
        self.nodes[node].set_clock(self.now);
        let store = self.nodes[node].handle(which).cloned()?;
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

    fn work(&mut self, node: usize, which: usize) {
        let mut random = Random::new(self.random.bits());
        let Some(done) = self.writing(node, which, |store| work::commit(store, &mut random)) else { return };
        self.operations += u64::from(done);
        self.note("work", node as u64, u64::from(done));
        let life = self.nodes[node].life;
        let wait = self.random.below(50);
        self.after(wait, Event::Publish { node, life });
    }

    /// Lets others know of what has become durable.
    pub fn publish(&mut self, node: usize) {
        for which in 0..self.nodes[node].stores.len() {
            self.publish_one(node, which);
        }
    }

    fn publish_one(&mut self, node: usize, which: usize) {
        let Some(result) = self.writing(node, which, |store| store.publish()) else { return };
        self.tell_forks(node, which);
        self.follow_members(node);
        match result {
            Ok(tips) => {
                let own = self.nodes[node].id;
                let local = &mut self.nodes[node].stores[which];
                if tips.generation() == local.published.generation() {
                    return;
                }
                local.published = tips.clone();
                local.once = local.once.max(tips.seq(&own));
                let digest = u64::from_le_bytes(*tips.digest().0.first_chunk().expect("32"));
                self.note("published", node as u64, digest);
                for (author, mark) in tips.marks() {
                    if *author == own {
                        self.acked.insert((which, *author, mark.seq), mark.id);
                    }
                }
                for (conn, side) in self.sides_of(node) {
                    self.input(Stream { conn, side, which }, Input::Published(tips.clone()));
                }
            }
            Err(e) => self.violated(format!("node {node} can't publish: {e}")),
        }
    }

    /// Tells a node's schedule something, and does what it says.
    pub fn told(&mut self, node: usize, what: Told) {
        if let Told::Failed(peer) | Told::Lost(peer) = &what {
            self.nodes[node].stores.iter_mut().for_each(|local| local.first.failed(*peer));
        }
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
}

fn genesis(random: &mut Random) -> Entry {
    let mut nonce = [0; 32];
    nonce[..8].copy_from_slice(&random.bits().to_le_bytes());
    let founder = Identity::from_seed([1; 32]);
    genesis_from(&founder, Hlc::new(1_795_200_000_000, 0), nonce, Vec::new()).expect("a genesis")
}
