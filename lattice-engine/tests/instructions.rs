//! Instructions in a store: one of `sys` does what its operation does, and nothing tells them apart but the entry's bytes;
//! one of a program that isn't here stops the projection, and says so, until a lattice that has it opens the store.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::clock::ManualClock;
use lattice_engine::entry::{Attrs, Content, Draft, Entry, Kind, Node as KeyNode, Op, Value};
use lattice_engine::hlc::Hlc;
use lattice_engine::id::{EntryId, FileId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::key::Key;
use lattice_engine::node::Node;
use lattice_engine::program::sys;
use lattice_engine::store::{Change, Cites, Expect, Handle, KeepHistory, StoreError};
use lattice_engine::wire::v1;
use prost::Message;

const NOW: u64 = 1_795_300_000_000;

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect(path)
}

fn node(dir: &Path) -> Node {
    Node::init(dir).expect("init");
    Node::open_with(dir, Arc::new(ManualClock::at(NOW))).expect("open")
}

fn file(content: Content) -> KeyNode {
    let attrs = Attrs { mode: Some(0o640), ..Attrs::default() };
    KeyNode { file_id: FileId([3; 16]), value: Value::File(content), attrs }
}

fn text(text: &str) -> KeyNode {
    file(Content::Inline(Bytes::copy_from_slice(text.as_bytes())))
}

fn put(path: &str, node: KeyNode) -> Change {
    Change::Put { key: key(path), node, cites: Cites::All, expect: Expect::Anything }
}

/// The same as an instruction of `sys`.
fn instruct(change: Change) -> Change {
    let kind = match change {
        Change::Put { key, node, .. } => {
            v1::op::Kind::Put(v1::Put { key: key.to_bytes(), node: Some((&node).into()), new_name: true })
        }
        Change::Delete { key, .. } => v1::op::Kind::Delete(v1::Delete { key: key.to_bytes() }),
        Change::Attr { key, file_id, attrs } => v1::op::Kind::Attr(v1::Attr {
            key: key.to_bytes(),
            file_id: Bytes::copy_from_slice(file_id.as_bytes()),
            attrs: Some(v1::Attrs { mode: attrs.mode, ..v1::Attrs::default() }),
        }),
        other => panic!("{other:?} is not one operation"),
    };
    Change::Instruction { program_id: sys::ID.into(), payload: sys::payload(kind) }
}

/// What is shown, and how it came to be, without what differs between any two stores.
fn shown(store: &Handle) -> Vec<String> {
    let mut all = Vec::new();
    store
        .walk(&Key::ROOT, &mut |key, record| {
            let node = record.winner().and_then(|h| h.node.as_ref());
            let bytes = node.and_then(|n| n.content()).map(|c| store.read(c).and_then(|r| r.read_all()));
            let bytes = bytes.map(|b| b.expect("content"));
            let id = node.map(|n| n.file_id);
            let mode = id.and_then(|id| record.attrs_of(id)?.mode.as_ref()).map(|m| m.value);
            let history = store.history(key, 9).expect("history");
            let history: Vec<_> = history.iter().map(|v| (v.parents.len(), v.head, v.winner)).collect();
            let (heads, below) = (record.heads.len(), (record.below.children, record.below.dirs));
            all.push(format!(
                "{key} {id:?} {mode:?} {heads} {below:?} {} {history:?}",
                bytes.map_or(0, |b| b.len())
            ));
            std::ops::ControlFlow::Continue(())
        })
        .expect("walk");
    all
}

#[test]
fn an_instruction_of_sys_does_what_its_operation_does() {
    let home = tempfile::tempdir().expect("tempdir");
    let n = node(&home.path().join("a"));
    let (plain, instructed) =
        (n.create_store("plain").expect("create"), n.create_store("sys").expect("create"));
    let live = instructed.live();
    let big = vec![b'b'; 300_000];
    for store in [&plain, &instructed] {
        let content = store.put_content(&big).expect("content");
        let attr = Change::Attr {
            key: key("d/f"),
            file_id: FileId([3; 16]),
            attrs: Attrs { mode: Some(0o600), ..Attrs::default() },
        };
        let delete = Change::Delete { key: key("gone"), cites: Cites::All, expect: Expect::Anything };
        let commits = [
            vec![put("d/f", text("one"))],
            vec![put("d/f", text(&"long ".repeat(500))), put("gone", text("x"))],
            vec![attr, put("big", file(content)), delete],
        ];
        for changes in commits {
            let given = changes.into_iter();
            let changes =
                if store.id() == plain.id() { given.collect() } else { given.map(instruct).collect() };
            store.commit(changes).expect("commit");
        }
    }
    assert_eq!(shown(&instructed), shown(&plain));
    assert_eq!(shown(&plain).len(), 3, "{:?}", shown(&plain));
    // Caches and watchers are told the same, too.
    let touched = |store: &Handle| {
        let events = store.entries(Default::default(), 99).expect("entries");
        let keys = |op: &Op| op.key().map(|k| (k.clone(), std::mem::discriminant(op)));
        events.iter().map(|e| e.ops.iter().map(keys).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    assert_eq!(touched(&instructed), touched(&plain));
    drop(live);
    let report = instructed.fsck(true, &mut |_| {}).expect("fsck");
    assert_eq!((report.problems, report.rebuilt_equal), (vec![], Some(true)));
    // Collection and bundles know the content that an instruction names.
    assert_eq!(instructed.gc(KeepHistory::Heads).expect("gc").chunks, 0);
    let mut bundle = Vec::new();
    instructed.export("sys", &mut bundle, &mut |_, _| {}).expect("export");
    let other = node(&home.path().join("b"));
    let (id, _) = other.import(&mut &bundle[..], &mut |_, _| {}).expect("import");
    assert_eq!(shown(&other.store(id).expect("open")), shown(&plain));
}

#[test]
fn what_no_program_takes_is_refused_where_it_is_asked_for() {
    let home = tempfile::tempdir().expect("tempdir");
    let n = node(&home.path().join("a"));
    let store = n.create_store("s").expect("create");
    let call = |program: &str, payload: &'static [u8]| {
        let payload = Bytes::from_static(payload);
        store.commit(vec![Change::Instruction { program_id: program.into(), payload }]).expect_err("refused")
    };
    let e = call("counter", b"+1");
    assert!(matches!(e.cause(), StoreError::Refused(why) if why.contains("counter")), "{e}");
    let e = call(sys::ID, b"\xff");
    assert!(matches!(e.cause(), StoreError::Entry(_)), "{e}");
    assert_eq!(store.status().expect("status").entries, 1, "only its genesis");
}

/// A chain of another author, and a bundle of it: what a peer brings.
struct Peer {
    identity: Identity,
    store: StoreId,
    genesis: Entry,
    chain: Vec<Entry>,
}

impl Peer {
    fn of(store: &Handle) -> Self {
        let mut bundle = Vec::new();
        store.export("s", &mut bundle, &mut |_, _| {}).expect("export");
        let mut rest = &bundle[..];
        lattice_engine::store::read_bundle_header(&mut rest)
            .map(|h| {
                let genesis = lattice_engine::store::read_bundle_genesis(&h, &mut rest).expect("a genesis");
                Self { identity: Identity::from_seed([9; 32]), store: h.store, genesis, chain: Vec::new() }
            })
            .expect("a header")
    }

    fn entry(&self, ops: Vec<Op>, group: (u64, bool)) -> Entry {
        let last = self.chain.last().unwrap_or(&self.genesis);
        let mut entry = Draft {
            store: self.store,
            author: self.identity.node_id(),
            seq: last.header.seq + 1,
            prev: last.id,
            hlc: Hlc::new(NOW + 1 + self.chain.len() as u64, 0),
            kind: Kind::Data,
            group_first: group.0,
            group_more: group.1,
            ops,
            parents: [].into(),
        }
        .build()
        .expect("valid");
        entry.sign(&self.identity).expect("signed");
        entry
    }

    fn write(&mut self, ops: Vec<Op>) {
        self.chain.push(self.entry(ops, (0, false)));
    }

    fn bundle(&self) -> Vec<u8> {
        let mut bundle = b"lattice bundle 1".to_vec();
        let header = v1::BundleHeader {
            version: 1,
            store_id: Bytes::copy_from_slice(self.store.as_bytes()),
            genesis: Bytes::copy_from_slice(self.genesis.id.as_bytes()),
            name: "s".into(),
        };
        header.encode_length_delimited(&mut bundle).expect("a Vec grows");
        let mut frame = |frame| {
            let frame = v1::BundleFrame { frame: Some(frame) };
            frame.encode_length_delimited(&mut bundle).expect("a Vec grows");
        };
        for entry in [&self.genesis].into_iter().chain(&self.chain) {
            frame(v1::bundle_frame::Frame::Entry(v1::SignedEntry {
                header: entry.header_bytes.clone(),
                signature: Bytes::copy_from_slice(&entry.signature.expect("signed")),
                payload: entry.payload_bytes.clone(),
            }));
        }
        let entries = self.chain.len() as u64 + 1;
        frame(v1::bundle_frame::Frame::End(v1::BundleEnd { entries, chunks: 0 }));
        bundle
    }
}

fn op(path: &str, parents: Vec<EntryId>) -> Op {
    Op::Put { key: key(path), node: text(path), new_name: true, parents }
}

fn exists(store: &Handle, path: &str) -> bool {
    store.get(&key(path)).expect("get").is_some_and(|r| r.exists())
}

fn counter() -> Op {
    Op::Instruction { program_id: "counter".into(), payload: Bytes::from_static(b"+1"), parents: vec![] }
}

#[test]
fn a_program_that_is_not_here_stops_the_projection_and_nothing_else() {
    let home = tempfile::tempdir().expect("tempdir");
    let dir = home.path().join("a");
    let n = node(&dir);
    let store = n.create_store("s").expect("create");
    let id = store.id();
    let mut peer = Peer::of(&store);
    peer.write(vec![op("before", vec![])]);
    peer.write(vec![op("with", vec![]), counter()]);
    peer.write(vec![op("after", vec![])]);
    let take = |n: &Node, bundle: &[u8]| n.import(&mut &bundle[..], &mut |_, _| {});
    let (_, report) = take(&n, &peer.bundle()).expect("kept");
    assert_eq!((report.entries, report.new_entries), (4, 3));

    let stalled = |store: &Handle| {
        let why = store.status().expect("status").stalled.expect("it stands still");
        assert!(why.contains("\"counter\"") && why.contains("upgrade"), "{why}");
        assert!(exists(store, "before") && !exists(store, "with") && !exists(store, "after"));
        let put = put("own", text("x"));
        let refused = store.commit(vec![put]).expect_err("what it would build on isn't known");
        assert!(
            matches!(refused.cause(), StoreError::ReadOnly { why, .. } if why.contains("counter")),
            "{refused}"
        );
        store.sync().expect("what came is durable");
    };
    stalled(&store);
    // Nothing is taken twice, and what comes later is taken.
    peer.write(vec![op("later", vec![])]);
    assert_eq!(take(&n, &peer.bundle()).expect("again").1.new_entries, 1);
    // A branch that leaves behind the place where it stopped is taken and stands still as well.
    let mut forked = Peer { chain: peer.chain[..2].to_vec(), identity: Identity::from_seed([9; 32]), ..peer };
    forked.write(vec![op("forked", vec![])]);
    assert_eq!(take(&n, &forked.bundle()).expect("a branch").1.new_entries, 1);
    n.close().expect("close");
    drop((n, store));

    let n = Node::open_with(&dir, Arc::new(ManualClock::at(NOW))).expect("open again");
    let store = n.store(id).expect("open");
    stalled(&store);
    let mut bundle = Vec::new();
    let sent = store.export("s", &mut bundle, &mut |_, _| {}).expect("relayed");
    assert_eq!(sent.entries, 6);
    let third = node(&home.path().join("c"));
    take(&third, &bundle).expect("as the first one");
    stalled(&third.store(id).expect("open"));
}

#[test]
fn own_commits_while_a_group_of_another_is_open_do_not_tear_it() {
    let home = tempfile::tempdir().expect("tempdir");
    let dir = home.path().join("a");
    let n = node(&dir);
    let store = n.create_store("s").expect("create");
    let id = store.id();
    let mut peer = Peer::of(&store);
    peer.chain.push(peer.entry(vec![op("g1", vec![])], (1, true)));
    n.import(&mut &peer.bundle()[..], &mut |_, _| {}).expect("the first half");
    assert!(!exists(&store, "g1"), "not before all of it is here");
    for i in 0..3 {
        store.commit(vec![put(&format!("own{i}"), text("x"))]).expect("put");
    }
    n.close().expect("close");
    drop((n, store));
    let n = Node::open_with(&dir, Arc::new(ManualClock::at(NOW))).expect("open again");
    let store = n.store(id).expect("open");
    assert!(exists(&store, "own2") && !exists(&store, "g1"));
    peer.chain.push(peer.entry(vec![op("g2", vec![])], (1, false)));
    n.import(&mut &peer.bundle()[..], &mut |_, _| {}).expect("the rest");
    assert!(exists(&store, "g1") && exists(&store, "g2"), "all of it");
    let report = store.fsck(true, &mut |_| {}).expect("fsck");
    assert_eq!((report.problems, report.rebuilt_equal), (vec![], Some(true)));
    assert_eq!(store.status().expect("status").entries, 6, "each entry is counted once");
}
