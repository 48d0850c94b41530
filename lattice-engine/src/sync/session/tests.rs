//! Two sessions, each with a store that is a map, over streams that deliver late and are cut.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::hlc::Hlc;
use crate::sync::{Announced, Tips, peek};
use crate::wire::v1;

mod branches;
mod forks;
mod whole;

const STORE: StoreId = StoreId([5; 16]);
const GENESIS: EntryId = EntryId([6; 32]);

fn node(n: usize) -> NodeId {
    NodeId([n as u8 + 1; 32])
}

/// An entry as far as a session looks at it.
fn entry(author: NodeId, seq: u64) -> SignedEntry {
    let header = v1::Header {
        version: 1,
        author: Bytes::copy_from_slice(author.as_bytes()),
        seq,
        hlc: Hlc::new(seq, u16::from(author.0[0])).0,
        ..v1::Header::default()
    };
    SignedEntry { header: header.encode_to_vec().into(), ..SignedEntry::default() }
}

fn mark(author: NodeId, seq: u64) -> Mark {
    let mut id = author.0;
    id[24..].copy_from_slice(&seq.to_le_bytes());
    Mark { seq, id: EntryId(id) }
}

/// What a node holds: how far each chain is durable, and how far it would be.
#[derive(Debug, Clone, Default)]
struct Store {
    held: BTreeMap<NodeId, u64>,
    generation: u64,
    /// Entries that were taken twice.
    twice: u64,
    forks: Vec<Arc<ForkProof>>,
}

impl Store {
    fn tips(&self) -> SharedTips {
        let marks = self.held.iter().map(|(author, seq)| (*author, mark(*author, *seq))).collect();
        Arc::new(Tips::new(marks).with_generation(self.generation))
    }

    fn write(&mut self, author: NodeId, entries: u64) {
        *self.held.entry(author).or_default() += entries;
        self.generation += 1;
    }

    fn range(&self, ranges: &[Range], at_most: usize) -> Vec<SignedEntry> {
        let mut all: Vec<_> = ranges
            .iter()
            .flat_map(|r| {
                (r.from..=r.to.min(self.held.get(&r.author).copied().unwrap_or(0))).map(|s| (s, r.author))
            })
            .collect();
        all.sort();
        all.into_iter().take(at_most).map(|(seq, author)| entry(author, seq)).collect()
    }

    fn receive(&mut self, entries: &[SignedEntry]) -> Vec<Received> {
        self.generation += 1;
        entries.iter().map(|entry| self.receive_one(entry)).collect()
    }

    fn receive_one(&mut self, entry: &SignedEntry) -> Received {
        let at = peek(&entry.header).expect("a header");
        let held = self.held.entry(at.author).or_default();
        if at.seq <= *held {
            self.twice += 1;
            Received::Duplicate
        } else if at.seq == *held + 1 {
            *held += 1;
            Received::New
        } else {
            Received::Missing(vec![Range { author: at.author, from: *held + 1, to: at.seq - 1 }])
        }
    }
}

/// One end of a stream.
#[derive(Debug)]
struct End {
    session: Session,
    inbox: VecDeque<Bytes>,
    /// Answers of the store and the transport, on their way.
    local: VecDeque<Input>,
    timer: Option<Millis>,
    closed: Option<Reason>,
    caught_up: bool,
    sent: BTreeMap<&'static str, u64>,
}

fn kind(frame: &Frame) -> &'static str {
    match frame {
        Frame::Hello { .. } => "hello",
        Frame::Tips { .. } => "tips",
        Frame::Want(_) => "want",
        Frame::Entries { .. } => "entries",
        Frame::Have { .. } => "have",
        Frame::Done => "done",
        Frame::Fetch(_) | Frame::FetchChain { .. } => "fetch",
        Frame::Fork(_) => "fork",
    }
}

/// Nodes in a net of sessions.
struct Net {
    stores: Vec<Store>,
    meshes: Vec<Mesh>,
    ends: BTreeMap<(usize, usize), End>,
    now: Millis,
    /// Entries a range gives at most: small, so that there are many frames.
    page: usize,
}

impl Net {
    fn new(nodes: usize, page: usize) -> Self {
        let meshes = (0..nodes).map(|_| Mesh::default()).collect();
        Self { stores: vec![Store::default(); nodes], meshes, ends: BTreeMap::new(), now: 1, page }
    }

    fn connect(&mut self, a: usize, b: usize) {
        for (a, b) in [(a, b), (b, a)] {
            let config = Config { store: STORE, genesis: GENESIS, node: node(a), peer: node(b) };
            let end = End {
                session: Session::new(config, self.stores[a].tips()),
                inbox: VecDeque::new(),
                local: VecDeque::new(),
                timer: None,
                closed: None,
                caught_up: false,
                sent: BTreeMap::new(),
            };
            self.ends.insert((a, b), end);
        }
        self.input((a, b), Input::Opened);
        self.input((b, a), Input::Opened);
    }

    fn cut(&mut self, a: usize, b: usize) {
        for (a, b) in [(a, b), (b, a)] {
            self.ends.remove(&(a, b));
            self.meshes[a].left(node(b));
        }
    }

    fn write(&mut self, at: usize, entries: u64) {
        self.stores[at].write(node(at), entries);
        self.publish(at);
    }

    fn publish(&mut self, at: usize) {
        let tips = self.stores[at].tips();
        for ((a, _), end) in &mut self.ends {
            if *a == at {
                end.local.push_back(Input::Published(tips.clone()));
            }
        }
    }

    fn input(&mut self, (a, b): (usize, usize), input: Input) {
        let Some(end) = self.ends.get_mut(&(a, b)) else { return };
        let outputs = end.session.handle(input, self.now, &mut self.meshes[a]);
        let mut wrote = false;
        let mut published = false;
        let mut forked = None;
        let mut frames = Vec::new();
        for output in outputs {
            match output {
                Output::Send(frame) => {
                    *end.sent.entry(kind(&frame)).or_default() += 1;
                    wrote = true;
                    frames.push(frame.encode());
                }
                Output::Range { request, ranges, .. } => {
                    let entries = self.stores[a].range(&ranges, self.page);
                    end.local.push_back(Input::Ranged { request, entries });
                }
                Output::Fetch { request, .. } | Output::Chain { request, .. } => {
                    end.local.push_back(Input::Ranged { request, entries: Vec::new() });
                }
                Output::Receive { batch, entries } => {
                    let results = self.stores[a].receive(&entries);
                    let durable = self.stores[a].tips();
                    end.local.push_back(Input::Received { batch, results, durable });
                    published = true;
                }
                Output::Forked(proof) => forked = Some(proof),
                Output::SetTimer(at) => end.timer = Some(at),
                Output::CaughtUp => {
                    assert!(!end.caught_up, "caught up twice");
                    end.caught_up = true;
                }
                Output::Close(reason) => end.closed = Some(reason),
            }
        }
        if wrote {
            end.local.push_back(Input::Writable);
        }
        if let Some(other) = self.ends.get_mut(&(b, a)) {
            other.inbox.extend(frames);
        }
        if published {
            self.publish(a);
        }
        if let Some(proof) = forked {
            self.learn_fork(a, proof);
        }
    }

    fn learn_fork(&mut self, at: usize, proof: Arc<ForkProof>) {
        let known = &mut self.stores[at].forks;
        if !known.contains(&proof) {
            known.push(proof);
        }
        let known: SharedForks = known.clone().into();
        for ((a, _), end) in &mut self.ends {
            if *a == at {
                end.local.push_back(Input::Forks(known.clone()));
            }
        }
    }

    /// Everything that could happen next, apart from time going on.
    fn ready(&self) -> Vec<((usize, usize), bool)> {
        let mut ready = Vec::new();
        for (at, end) in &self.ends {
            if !end.inbox.is_empty() {
                ready.push((*at, false));
            }
            if !end.local.is_empty() {
                ready.push((*at, true));
            }
        }
        ready
    }

    /// One thing happens: `pick` says which. False: nothing is left to happen before a timer.
    fn step(&mut self, pick: usize) -> bool {
        let ready = self.ready();
        if ready.is_empty() {
            return false;
        }
        let (at, local) = ready[pick % ready.len()];
        let Some(end) = self.ends.get_mut(&at) else { return true };
        let input = if local {
            end.local.pop_front()
        } else {
            end.inbox.pop_front().map(|bytes| {
                let announced = Announced::read(&bytes).expect("a length").expect("enough of it");
                assert_eq!(announced.prefix + announced.len, bytes.len());
                match Frame::decode(bytes.slice(announced.prefix..)) {
                    Ok(frame) => Input::Frame(frame),
                    Err(e) => Input::BadFrame(e),
                }
            })
        };
        if let Some(input) = input {
            self.input(at, input);
        }
        true
    }

    /// Until nothing happens any more but what is timed; then on to the next timer, until none is left or the end is reached.
    fn settle(&mut self, picks: &mut dyn FnMut() -> usize, until: Millis) {
        loop {
            while self.step(picks()) {}
            let next = self.ends.values().filter_map(|e| e.timer).min();
            match next {
                Some(at) if at <= until => {
                    self.now = self.now.max(at);
                    let due: Vec<_> =
                        self.ends.iter().filter(|(_, e)| e.timer == Some(at)).map(|(at, _)| *at).collect();
                    for at in due {
                        if let Some(end) = self.ends.get_mut(&at) {
                            end.timer = None;
                        }
                        self.input(at, Input::Timer);
                    }
                }
                _ => return,
            }
        }
    }

    fn assert_converged(&self) {
        for store in &self.stores {
            assert_eq!(store.tips().digest(), self.stores[0].tips().digest());
        }
        for (at, end) in &self.ends {
            assert_eq!(end.closed, None, "{at:?}");
            assert!(end.caught_up, "{at:?} has caught up");
            let behind = end.session.behind();
            assert_eq!((behind.known, behind.here, behind.there, behind.own), (true, 0, 0, false), "{at:?}");
        }
    }
}

fn in_order() -> impl FnMut() -> usize {
    || 0
}

#[test]
fn equal_frontiers_cost_a_hello_and_a_done_each_way() {
    let mut net = Net::new(2, 10);
    for store in &mut net.stores {
        store.write(node(7), 1_000_000);
    }
    net.connect(0, 1);
    net.settle(&mut in_order(), 1);
    net.assert_converged();
    for end in net.ends.values() {
        assert_eq!(end.sent, BTreeMap::from([("hello", 1), ("done", 1)]));
    }
}

#[test]
fn a_write_is_pushed_at_once_and_only_once() {
    let mut net = Net::new(2, 10);
    net.connect(0, 1);
    net.settle(&mut in_order(), 1);
    net.write(0, 1);
    net.settle(&mut in_order(), 1);
    assert_eq!(net.stores[1].held, net.stores[0].held);
    let sent = &net.ends[&(0, 1)].sent;
    assert_eq!((sent.get("entries"), sent.get("want"), net.stores[1].twice), (Some(&1), None, 0));
    assert_eq!(net.ends[&(1, 0)].sent.get("want"), None);
}

#[test]
fn in_a_full_mesh_every_entry_goes_once_to_everyone() {
    let mut net = Net::new(5, 10);
    for a in 0..5 {
        for b in 0..a {
            net.connect(a, b);
        }
    }
    net.settle(&mut in_order(), 1);
    for at in 0..5 {
        net.write(at, 3);
    }
    net.settle(&mut in_order(), 10_000);
    net.assert_converged();
    assert_eq!(net.stores.iter().map(|s| s.twice).sum::<u64>(), 0);
}

#[test]
fn a_newcomer_asks_one_of_many_peers_and_the_next_when_that_one_is_gone() {
    let mut net = Net::new(4, 10);
    for store in &mut net.stores[1..] {
        store.write(node(7), 1000);
    }
    for peer in 1..4 {
        net.connect(0, peer);
    }
    for _ in 0..100 {
        net.step(0);
    }
    let first = net.stores[0].held[&node(7)];
    assert!(first > 10 && first < 1000, "{first}");
    let busy: Vec<usize> = (1..4).filter(|p| net.ends[&(*p, 0)].sent.contains_key("entries")).collect();
    assert_eq!(busy.len(), 1, "one is asked");
    net.cut(0, busy[0]);
    net.stores.swap(busy[0], 3);
    net.settle(&mut in_order(), 10_000);
    assert_eq!(net.stores[0].held[&node(7)], 1000);
    assert_eq!(net.stores[0].twice, 0);
}

#[test]
fn a_peer_that_falls_silent_ends_the_session_with_a_reason_and_loses_its_turn() {
    let mut net = Net::new(3, 10);
    for store in &mut net.stores[1..] {
        store.write(node(7), 1000);
    }
    net.connect(0, 1);
    net.connect(0, 2);
    while net.stores[0].held.is_empty() {
        net.step(0);
    }
    let silent = if net.ends[&(1, 0)].sent.contains_key("entries") { 1 } else { 2 };
    // It reads and says nothing more.
    let other = net.ends.remove(&(silent, 0));
    net.settle(&mut in_order(), 3_000);
    assert_eq!(net.stores[0].held[&node(7)], 1000, "the other one was asked after two seconds");
    net.settle(&mut in_order(), 200_000);
    assert_eq!(net.ends[&(0, silent)].closed, Some(Reason::Silent(Wait::Entries)));
    assert!(net.ends[&(0, 3 - silent)].closed.is_none());
    drop(other);
}

#[test]
fn a_peer_that_never_says_hello_is_left_after_ten_seconds() {
    let mut net = Net::new(2, 10);
    net.connect(0, 1);
    net.ends.remove(&(1, 0));
    if let Some(end) = net.ends.get_mut(&(0, 1)) {
        end.inbox.clear();
    }
    net.settle(&mut in_order(), 9_999);
    assert_eq!(net.ends[&(0, 1)].closed, None);
    net.settle(&mut in_order(), 20_000);
    assert_eq!(net.ends[&(0, 1)].closed, Some(Reason::Silent(Wait::Hello)));
}

#[test]
fn a_restored_node_learns_that_its_own_entries_are_missing() {
    let mut net = Net::new(2, 10);
    net.stores[0].write(node(0), 3);
    net.stores[1].write(node(0), 8);
    net.connect(0, 1);
    while !net.ends[&(0, 1)].session.behind().known {
        net.step(0);
    }
    assert!(net.ends[&(0, 1)].session.behind().own);
    net.settle(&mut in_order(), 1);
    assert!(!net.ends[&(0, 1)].session.behind().own);
    net.assert_converged();
}

#[test]
fn a_check_finds_what_nobody_told_and_costs_a_hello_each_way_otherwise() {
    let mut net = Net::new(2, 10);
    net.connect(0, 1);
    net.settle(&mut in_order(), 1);
    net.input((0, 1), Input::Check);
    net.settle(&mut in_order(), 1);
    assert_eq!(net.ends[&(0, 1)].sent, BTreeMap::from([("hello", 2), ("done", 1)]));
    // Not as it should be: one side has entries that it never spoke of.
    net.stores[1].write(node(7), 5);
    let tips = net.stores[1].tips();
    if let Some(end) = net.ends.get_mut(&(1, 0)) {
        end.session.ours = tips.clone();
        end.session.told = Some(tips);
    }
    net.input((0, 1), Input::Check);
    net.settle(&mut in_order(), 1);
    net.assert_converged();
}

#[test]
fn a_peer_of_another_store_or_one_that_floods_is_refused() {
    let refused = |inputs: Vec<Frame>| {
        let mut net = Net::new(2, 10);
        net.connect(0, 1);
        net.ends.remove(&(1, 0));
        for frame in inputs {
            net.input((0, 1), Input::Frame(frame));
            if let Some(end) = net.ends.get_mut(&(0, 1)) {
                end.local.clear();
            }
        }
        net.ends.remove(&(0, 1)).and_then(|end| end.closed)
    };
    let hello =
        |store| Frame::Hello { store, genesis: GENESIS, digest: Tips::default().digest(), check: false };
    assert_eq!(refused(vec![hello(StoreId([9; 16]))]), Some(Reason::OtherStore));
    assert!(matches!(refused(vec![Frame::Done]), Some(Reason::Protocol(_))));
    let entries = || Frame::Entries { entries: vec![entry(node(1), 1)], last: false };
    let flood =
        std::iter::once(hello(STORE)).chain(std::iter::repeat_with(entries).take(WINDOW as usize + 1));
    assert!(matches!(refused(flood.collect()), Some(Reason::Protocol(_))));
    let have = Frame::Have { marks: Vec::new(), taken: 1, whole: false };
    assert!(matches!(refused(vec![hello(STORE), have]), Some(Reason::Protocol(_))));
    assert!(matches!(refused(vec![hello(STORE), hello(STORE)]), Some(Reason::Protocol(_))));
}

#[derive(Debug, Clone)]
enum Act {
    Steps(u8),
    Write(u8, u8),
    Cut(u8),
    Check(u8),
    Later(u16),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => any::<u8>().prop_map(Act::Steps),
        4 => (any::<u8>(), 1..30u8).prop_map(|(at, n)| Act::Write(at, n)),
        1 => any::<u8>().prop_map(Act::Cut),
        1 => any::<u8>().prop_map(Act::Check),
        1 => any::<u16>().prop_map(Act::Later),
    ];
    proptest::collection::vec(act, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever is delivered when, whatever is cut and opened again: in the end all hold the same, and no session has stalled.
    #[test]
    fn sessions_converge(acts in acts(), picks in proptest::collection::vec(any::<u8>(), 32), nodes in 2..5usize) {
        let mut net = Net::new(nodes, 7);
        // A line, and a way around.
        let links: Vec<(usize, usize)> = (1..nodes).map(|n| (n - 1, n)).chain((nodes > 2).then_some((0, nodes - 1))).collect();
        for (a, b) in &links {
            net.connect(*a, *b);
        }
        let mut turn = 0;
        let mut pick = || {
            turn += 1;
            usize::from(picks[turn % picks.len()]) + turn
        };
        for act in acts {
            match act {
                Act::Steps(n) => for _ in 0..n { net.step(pick()); },
                Act::Write(at, n) => net.write(usize::from(at) % nodes, u64::from(n)),
                Act::Cut(link) => {
                    let (a, b) = links[usize::from(link) % links.len()];
                    net.cut(a, b);
                    net.connect(a, b);
                }
                Act::Check(link) => {
                    let (a, b) = links[usize::from(link) % links.len()];
                    net.input((a, b), Input::Check);
                }
                Act::Later(ms) => {
                    let until = net.now + Millis::from(ms);
                    net.settle(&mut pick, until);
                }
            }
        }
        let until = net.now + 20_000;
        net.settle(&mut pick, until);
        net.assert_converged();
    }
}
