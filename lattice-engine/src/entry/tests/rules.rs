//! Every limit and rule, at the builder's door and at the decoder's.

use super::*;
use crate::key::KeyError;
use crate::wire::{WireError, v1};
use prost::Message;

/// Encodes messages as they are and decodes them: what a peer that has no checks of its own would send.
fn send(mut header: v1::Header, payload: &[u8]) -> Result<Decoded, EntryError> {
    header.payload_hash = Bytes::copy_from_slice(&payload_hash(payload));
    header.payload_len = payload.len() as u64;
    let payload = Bytes::copy_from_slice(payload);
    Entry::decode(header.encode_to_vec().into(), payload, None)
}

/// The messages of a valid entry with these ops.
fn messages(draft: Draft) -> (v1::Header, v1::Payload) {
    let entry = draft.build().expect("a valid draft");
    (
        v1::Header::decode(entry.header_bytes).expect("built"),
        v1::Payload::decode(entry.payload_bytes).expect("built"),
    )
}

fn one(op: Op) -> Draft {
    Draft { ops: vec![op], ..blank() }
}

fn cited(n: u8) -> EntryRef {
    EntryRef { hlc: Hlc(u64::from(n)), author: NodeId([n; 32]), id: EntryId([n; 32]), seq: 7 }
}

/// Refused by both doors for the same reason. The decoder gets it from a twin of the encoder that checks nothing.
#[track_caller]
fn refused(draft: Draft, want: &str) {
    let built = draft.clone().build().expect_err("the builder let it pass");
    assert!(built.to_string().contains(want), "the builder says: {built}");
    let mut header = Header {
        store: draft.store,
        author: draft.author,
        seq: draft.seq,
        prev: draft.prev,
        hlc: draft.hlc,
        deps: vec![],
        payload_hash: [0; 32],
        payload_len: 0,
        kind: draft.kind,
        group_first: draft.group_first,
        group_more: draft.group_more,
    };
    for p in draft.parents.values() {
        header.deps.push(Dep { id: p.id, author: p.author, seq: p.seq });
    }
    let wire = |op| codec::op_to_wire(op, &header).expect("parents are known");
    let ops = draft.ops.iter().map(wire).collect();
    let nonce = Bytes::new();
    let payload = v1::Payload { ops, nonce }.encode_to_vec();
    let decoded = send(header.to_wire(), &payload).expect_err("the decoder let it pass");
    assert!(decoded.to_string().contains(want), "the decoder says: {decoded}");
}

#[track_caller]
fn refused_value(value: Value, want: &str) {
    refused(one(put("k", value)), want);
}

#[test]
fn contents_and_targets() {
    let chunk = |len| Chunk { id: Some(ChunkId([1; 32])), len };
    let hole = |len| Chunk { id: None, len };
    let file = Value::File;
    refused_value(file(Content::Inline(vec![0; 4097].into())), "inline value of 4097");
    refused_value(file(Content::Chunks(vec![chunk(1); 17])), "number of chunks of 17");
    refused_value(file(Content::Chunks(vec![chunk(0)])), "a chunk is not empty");
    refused_value(file(Content::Chunks(vec![chunk(1 << 62), hole(1 << 62)])), "");
    let manifest = hole(9);
    refused_value(file(Content::Manifest { manifest, size: 1 }), "not a hole");
    let manifest = chunk(9);
    refused_value(file(Content::Manifest { manifest, size: 0 }), "2^63 - 1");
    refused_value(file(Content::Manifest { manifest, size: 1 << 63 }), "2^63 - 1");
    refused_value(Value::Symlink(vec![b'x'; 4096].into()), "symlink target of 4096");
    refused_value(Value::Symlink(Bytes::new()), "target is not empty");
    refused_value(Value::Symlink(Bytes::from_static(b"a\0b")), "no NUL");
    let longest = [
        file(Content::Inline(vec![0; 4096].into())),
        file(Content::Chunks(vec![chunk(1); 16])),
        file(Content::Chunks(vec![hole(MAX_FILE_SIZE)])),
        Value::Symlink(vec![b'x'; 4095].into()),
    ];
    for value in longest {
        one(put("k", value)).build().expect("at the limit");
    }
}

#[test]
fn attributes() {
    let attr = |attrs| Op::Attr { key: Key::ROOT, file_id: FileId([0; 16]), attrs };
    let xattrs = |pairs: Vec<(Vec<u8>, usize)>| Attrs {
        xattrs: pairs.into_iter().map(|(name, len)| (name.into(), Some(vec![0; len].into()))).collect(),
        ..Attrs::default()
    };
    let bad = |attrs, want| refused(one(attr(attrs)), want);
    let mode = Some(0o10000);
    bad(Attrs { mode, ..Attrs::default() }, "permission bits");
    let mtime = Some(Time { s: 0, ns: 1_000_000_000 });
    bad(Attrs { mtime, ..Attrs::default() }, "nanoseconds");
    bad(xattrs(vec![(vec![b'n'; 256], 0)]), "xattr name of 256");
    bad(xattrs(vec![(b"n".to_vec(), 65537)]), "xattr value of 65537");
    bad(xattrs(vec![(vec![], 0)]), "name is not empty");
    bad(xattrs(vec![(b"b".to_vec(), 0), (b"a".to_vec(), 0)]), "sorted and unique");
    bad(xattrs(vec![(b"a".to_vec(), 0), (b"a".to_vec(), 0)]), "sorted and unique");
    let nothing = one(attr(Attrs::default())).build().expect_err("sets nothing");
    assert_eq!(nothing.to_string(), "op 0 of the entry: it does nothing");
    let root = one(attr(xattrs(vec![(vec![b'n'; 255], 65536)]))).build();
    let root = root.expect("at the limit, on the root");
    let decoded = Entry::decode(root.header_bytes.clone(), root.payload_bytes.clone(), None);
    assert_eq!(known(decoded.expect("valid")), root);
}

#[test]
fn ops_together() {
    let a = || put("a", Value::Dir);
    let delete = Op::Delete { key: key("a"), parents: vec![] };
    let attr = |id| Op::Attr {
        key: key("a"),
        file_id: FileId([id; 16]),
        attrs: Attrs { mode: Some(0), ..Attrs::default() },
    };
    let with = |ops| Draft { ops, ..blank() };
    refused(with(vec![a(), a()]), "op 1 of the entry: another op");
    refused(with(vec![a(), delete]), "op 1 of the entry: another op");
    refused(with(vec![attr(1), attr(1)]), "op 1 of the entry: another op");
    with(vec![a(), attr(1), attr(2)]).build().expect("different facets");
    refused(with(vec![]), "at least one op");
    let ack = Draft { kind: Kind::Ack, ..blank() };
    ack.clone().build().expect("an ack");
    refused(Draft { ops: vec![a()], ..ack }, "an ack has no ops");
    let call = || Op::Instruction { program_id: "p".into(), payload: Bytes::new(), parents: vec![] };
    with(vec![call(), call()]).build().expect("instructions touch no key here");
    with((0..MAX_OPS).map(|_| call()).collect()).build().expect("at the limit");
    let ops: Vec<_> = (0..=MAX_OPS).map(|_| call()).collect();
    let built = with(ops).build().expect_err("too many");
    assert!(built.to_string().contains("number of ops of 8193"), "{built}");
    let long = |len| Op::Instruction { program_id: "x".repeat(len), payload: Bytes::new(), parents: vec![] };
    refused(one(long(0)), "names its program");
    refused(one(long(256)), "program id of 256");
    let huge =
        Op::Instruction { program_id: "p".into(), payload: vec![0; MAX_PAYLOAD].into(), parents: vec![] };
    refused(one(huge), "payload length of 10485");
    one(Op::Delete { key: Key::ROOT, parents: vec![] }).build().expect_err("the root stays");
    one(Op::Put {
        key: Key::ROOT,
        node: Node { file_id: FileId([0; 16]), value: Value::Dir, attrs: Attrs::default() },
        new_name: false,
        parents: vec![],
    })
    .build()
    .expect_err("the root holds no value");
}

#[test]
fn headers() {
    let ok = || one(put("a", Value::Dir));
    refused(Draft { seq: 0, ..ok() }, "seq");
    refused(Draft { prev: EntryId::ZERO, ..ok() }, "prev_hash");
    refused(Draft { store: StoreId([0; 16]), ..ok() }, "store_id");
    refused(Draft { group_first: 3, ..ok() }, "group_first");
    refused(Draft { group_more: true, ..ok() }, "group_first");
    Draft { group_first: 1, group_more: true, ..ok() }.build().expect("inside a group");
    let later = EntryRef { author: ok().author, seq: 2, ..cited(1) };
    refused(Draft { parents: [(later.id, later)].into(), ..ok() }, "later one of its own author");
    let many = |n: u32, authors: u32| {
        let cite = |i: u32| {
            let mut at = cited(1);
            at.id.0[..4].copy_from_slice(&i.to_be_bytes());
            at.author.0[..4].copy_from_slice(&(i % authors).to_be_bytes());
            (at.id, at)
        };
        Draft { parents: (0..n).map(cite).collect(), ..ok() }
    };
    many(1024, 100).build().expect("at the limit");
    refused(many(1025, 100), "number of deps of 1025");
    refused(many(1024, 1024), "header length of 7");
}

#[test]
fn parents_are_known_and_earlier() {
    let citing = |parents| Op::Delete { key: key("a"), parents };
    let parents: BTreeMap<_, _> = [(cited(3).id, cited(3)), (cited(4).id, cited(4))].into();
    let with = |op| Draft { parents: parents.clone(), ..one(op) };
    let entry = with(citing(vec![cited(3).id, cited(4).id, blank().prev])).build().expect("all known");
    assert_eq!(entry.header.deps.iter().map(|d| d.id).collect::<Vec<_>>(), [cited(3).id, cited(4).id]);
    let unknown = with(citing(vec![cited(5).id])).build().expect_err("not given");
    assert_eq!(unknown, EntryError::Op { index: 0, why: OpError::UnknownParent(cited(5).id) });
    refused(with(citing(vec![cited(3).id, cited(3).id])), "");
    let early = Draft { hlc: Hlc(4), ..with(citing(vec![cited(3).id])) };
    assert!(matches!(early.build(), Err(EntryError::NotAfterDep { .. })));
    let mut at_prev = cited(4);
    at_prev.id = blank().prev;
    let draft = Draft { parents: [(at_prev.id, at_prev)].into(), ..one(citing(vec![at_prev.id])) };
    assert!(draft.build().expect("prev is no dep").header.deps.is_empty());
}

#[test]
fn malformed_messages_are_refused() {
    let parents: BTreeMap<_, _> = [(cited(3).id, cited(3)), (cited(4).id, cited(4))].into();
    let op = Op::Put {
        key: key("a"),
        node: Node { file_id: FileId([0; 16]), value: file(b"x"), attrs: Attrs::default() },
        new_name: true,
        parents: vec![cited(3).id],
    };
    let (header, payload) = messages(Draft { parents, ..one(op) });
    let payload_bytes = payload.encode_to_vec();
    let bad_header = |name: &str, change: fn(&mut v1::Header)| {
        let mut header = header.clone();
        change(&mut header);
        assert!(send(header, &payload_bytes).is_err(), "{name}");
    };
    bad_header("version 0", |h| h.version = 0);
    bad_header("short store id", |h| h.store_id.truncate(15));
    bad_header("short author", |h| h.author.truncate(31));
    bad_header("no kind", |h| h.kind = 0);
    bad_header("unknown kind", |h| h.kind = 9);
    bad_header("deps unsorted", |h| h.deps.reverse());
    bad_header("deps repeated", |h| h.deps[1] = h.deps[0].clone());
    bad_header("authors unsorted", |h| h.dep_authors.reverse());
    bad_header("author index", |h| h.deps[0].author_index = 2);
    bad_header("unused author", |h| h.deps[1].author_index = 0);
    bad_header("prev as a dep", |h| h.prev_hash = h.deps[0].hash.clone());
    bad_header("a genesis that is none", |h| h.kind = v1::EntryKind::Genesis.into());
    let bad_op = |want: &str, change: fn(&mut v1::Op)| {
        let mut payload = payload.clone();
        change(&mut payload.ops[0]);
        let refused = send(header.clone(), &payload.encode_to_vec()).expect_err(want).to_string();
        assert!(refused.contains(want), "{refused}");
    };
    bad_op("parent index 3", |o| o.parent_index = vec![3]);
    bad_op("parent index 1", |o| o.parent_index = vec![2, 1]);
    bad_op("parent index 1", |o| o.parent_index = vec![1, 1]);
    bad_op("does nothing", |o| o.kind = None);
    fn node(op: &mut v1::Op) -> &mut v1::Node {
        match &mut op.kind {
            Some(v1::op::Kind::Put(put)) => put.node.as_mut().expect("a node"),
            other => panic!("not a put: {other:?}"),
        }
    }
    bad_op("size is that of its content", |o| node(o).size = 2);
    bad_op("only one of them", |o| node(o).manifest = Some(v1::Chunk::default()));
    bad_op("only one of them", |o| node(o).chunks.push(v1::Chunk::default()));
    fn bare(op: &mut v1::Op, kind: i32) {
        let file_id = node(op).file_id.clone();
        *node(op) = v1::Node { kind, file_id, ..v1::Node::default() };
    }
    bad_op("node kind 6", |o| bare(o, 6));
    bad_op("node kind 0", |o| bare(o, 0));
    bad_op("only a file has content", |o| node(o).kind = v1::NodeKind::Dir.into());
    bad_op("only a symlink has a target", |o| node(o).target = Bytes::from_static(b"t"));
    bad_op("set nothing are left out", |o| node(o).attrs = Some(v1::Attrs::default()));
    bad_op("file_id has 3 bytes and must have 16", |o| node(o).file_id.truncate(3));
    for (path, why) in [("../a", KeyError::Dots), ("/a", KeyError::EmptySegment), ("", KeyError::Empty)] {
        let mut payload = payload.clone();
        if let Some(v1::op::Kind::Put(put)) = &mut payload.ops[0].kind {
            put.key = Bytes::from_static(path.as_bytes());
        }
        let want = Err(EntryError::Op { index: 0, why: OpError::Key(why) });
        assert_eq!(send(header.clone(), &payload.encode_to_vec()), want);
    }
    let nonce = Bytes::from_static(&[1; 32]);
    let refused = send(header.clone(), &v1::Payload { nonce, ..payload.clone() }.encode_to_vec());
    assert!(matches!(refused, Err(EntryError::Field { field: "payload", .. })));
}

#[test]
fn what_only_a_later_version_knows_is_kept_and_named() {
    let (header, payload) = messages(one(put("a", Value::Dir)));
    let payload = payload.encode_to_vec();
    let later = v1::Header { version: 2, ..header.clone() };
    match send(later, b"whatever it means").expect("kept") {
        Decoded::Unknown { entry, why } => {
            assert_eq!(why, Unreadable::Version(2));
            assert_eq!((entry.header.seq, entry.ops.len()), (2, 0));
        }
        known => panic!("{known:?}"),
    }
    // A field of its own after ours, too.
    let mut bytes = v1::Header {
        version: 2,
        payload_hash: Bytes::copy_from_slice(&payload_hash(b"")),
        payload_len: 0,
        ..header.clone()
    }
    .encode_to_vec();
    bytes.extend_from_slice(&[0x82, 0x01, 0x01, b'x']);
    let decoded = Entry::decode(bytes.into(), Bytes::new(), None).expect("kept");
    assert!(matches!(decoded, Decoded::Unknown { why: Unreadable::Version(2), .. }));
    // Op kind 5: field 5, two bytes of something.
    let unknown_op = [0x0a, 4, 0x2a, 2, 1, 2];
    let mixed = [&payload[..], &unknown_op].concat();
    let decoded = send(header.clone(), &mixed).expect("kept");
    assert!(matches!(decoded, Decoded::Unknown { why: Unreadable::OpKind { index: 1 }, .. }));
    // A known kind with a field that we don't know is a broken op, not a new one.
    let mut op = payload.clone();
    op[1] += 3;
    op.extend_from_slice(&[0x82, 0x01, 0]);
    let refused = send(header.clone(), &op).expect_err("not strict");
    assert!(matches!(refused, EntryError::Op { why: OpError::Wire(WireError::NotCanonical { .. }), .. }));
    // And an unknown op does not excuse the broken one beside it.
    send(header, &[&op[..], &unknown_op].concat()).expect_err("one op is broken");
}
