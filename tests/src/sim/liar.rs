//! A member that lies: it forks its chain, dates entries years ahead, sends what builds on nothing, names that lead out of a
//! store, and entries under others' names. It speaks to the stores directly, as a session of its own would.

use std::collections::BTreeMap;

use bytes::Bytes;
use lattice_engine::entry::{Attrs, Content, Draft, Entry, Kind, Node, Op, PAYLOAD_DOMAIN, Value};
use lattice_engine::hlc::Hlc;
use lattice_engine::id::{EntryId, FileId, NodeId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::wire::v1;
use prost::Message;

use super::work::key;

const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

pub struct Liar {
    identity: Identity,
    store: StoreId,
    /// The last entry of each of its branches: number, id, time.
    tips: Vec<(u64, EntryId, Hlc)>,
    /// Which it writes on next.
    turn: usize,
}

impl Liar {
    pub fn new(seed: u8, genesis: &Entry) -> Self {
        let store = StoreId::of_genesis(&genesis.id);
        let tips = vec![(0, genesis.id, genesis.header.hlc)];
        Self { identity: Identity::from_seed([seed; 32]), store, tips, turn: 0 }
    }

    pub fn id(&self) -> NodeId {
        self.identity.node_id()
    }

    fn put(path: &str, bytes: usize, tag: u8) -> Op {
        let content = Content::Inline(Bytes::from(vec![tag; bytes.min(4096)]));
        let node = Node { file_id: FileId([tag; 16]), value: Value::File(content), attrs: Attrs::default() };
        Op::Put { key: key(path), node, new_name: true, parents: Vec::new() }
    }

    fn draft(&self, identity: &Identity, (seq, prev, hlc): (u64, EntryId, Hlc), op: Op) -> Entry {
        let draft = Draft {
            store: self.store,
            author: identity.node_id(),
            seq,
            prev,
            hlc,
            kind: Kind::Data,
            group_first: 0,
            group_more: false,
            ops: vec![op],
            parents: BTreeMap::new(),
        };
        let mut entry = draft.build().expect("an entry");
        entry.sign(identity).expect("its own");
        entry
    }

    fn next(&mut self, wall: u64, tag: u8) -> Entry {
        self.turn = (self.turn + 1) % self.tips.len();
        self.next_of(self.turn, wall, tag)
    }

    fn next_of(&mut self, branch: usize, wall: u64, tag: u8) -> Entry {
        let (seq, prev, hlc) = self.tips[branch];
        let hlc = hlc.next().max(Hlc::new(wall, 0));
        let entry = self.draft(
            &self.identity,
            (seq + 1, prev, hlc),
            Self::put(&format!("liar/{}", seq % 3), 20, tag),
        );
        self.tips[branch] = (seq + 1, entry.id, hlc);
        entry
    }

    /// A good entry.
    pub fn honest(&mut self, wall: u64) -> v1::SignedEntry {
        sent(&self.next(wall, 0))
    }

    /// Two entries of one number. From then on it writes on both branches.
    pub fn fork(&mut self, wall: u64) -> [v1::SignedEntry; 2] {
        self.turn = (self.turn + 1) % self.tips.len();
        self.tips.push(self.tips[self.turn]);
        [sent(&self.next_of(self.turn, wall, 1)), sent(&self.next_of(self.tips.len() - 1, wall, 2))]
    }

    /// An entry two years ahead.
    pub fn early(&mut self, wall: u64) -> v1::SignedEntry {
        sent(&self.next(wall + 2 * YEAR_MS, 3))
    }

    /// Entries that build on nothing, of many authors: none of them is over its own bound, and together they are over the
    /// bound of one peer.
    pub fn flood(&self, wall: u64, count: u64, from: u64) -> Vec<v1::SignedEntry> {
        let authors: Vec<Identity> = (200..208).map(|seed| Identity::from_seed([seed; 32])).collect();
        let flood = |n: u64| {
            let author = &authors[n as usize % authors.len()];
            let at = (1_000 + from + n, EntryId([9; 32]), Hlc::new(wall, n as u16));
            let payload = Bytes::from(vec![4; 60_000]);
            let op = Op::Instruction { program_id: "flood".into(), payload, parents: Vec::new() };
            sent(&self.draft(author, at, op))
        };
        (0..count).map(flood).collect()
    }

    /// A name that leads out of the store.
    pub fn traversal(&self, wall: u64) -> v1::SignedEntry {
        let (seq, prev, hlc) = self.tips[0];
        let hlc = hlc.next().max(Hlc::new(wall, 0));
        let entry = self.draft(&self.identity, (seq + 1, prev, hlc), Self::put("xx/liar", 3, 5));
        let payload = entry.payload_bytes.to_vec();
        let at = payload.windows(7).position(|w| w == b"xx/liar").expect("the key");
        let mut payload = payload;
        payload[at..at + 2].copy_from_slice(b"..");
        let mut header = v1::Header::decode(entry.header_bytes).expect("a header");
        header.payload_hash = Bytes::copy_from_slice(&blake3::derive_key(PAYLOAD_DOMAIN, &payload));
        let header: Bytes = header.encode_to_vec().into();
        let id = lattice_engine::entry::entry_id(&header);
        let signature = Bytes::copy_from_slice(&self.identity.sign(&id));
        v1::SignedEntry { header, signature, payload: payload.into() }
    }

    /// The next entry of somebody else, signed by the liar.
    pub fn forged(&self, victim: NodeId, (seq, prev, hlc): (u64, EntryId, Hlc)) -> v1::SignedEntry {
        let entry = self.draft(&self.identity, (seq + 1, prev, hlc.next()), Self::put("a", 10, 6));
        let mut header = v1::Header::decode(entry.header_bytes).expect("a header");
        header.author = Bytes::copy_from_slice(victim.as_bytes());
        let header: Bytes = header.encode_to_vec().into();
        let id = lattice_engine::entry::entry_id(&header);
        let signature = Bytes::copy_from_slice(&self.identity.sign(&id));
        v1::SignedEntry { header, signature, payload: entry.payload_bytes }
    }
}

fn sent(entry: &Entry) -> v1::SignedEntry {
    v1::SignedEntry {
        header: entry.header_bytes.clone(),
        signature: Bytes::copy_from_slice(entry.signature.as_ref().expect("signed")),
        payload: entry.payload_bytes.clone(),
    }
}
