//! The format, held in place by bytes that are checked in. A difference here is a new version of the format, not a
//! reason to write the file anew.

use std::fmt::Write;

use super::*;
use crate::program;
use data_encoding::HEXLOWER;

const GOLDEN: &str = include_str!("../../../tests/golden/entries.txt");

fn genesis_entry() -> Entry {
    let author = Identity::from_seed([1; 32]);
    genesis_from(&author, Hlc::new(1_790_000_000_000, 0), [0x42; NONCE_LEN], vec![]).expect("valid")
}

fn attrs() -> Attrs {
    Attrs {
        mode: Some(0o644),
        mtime: Some(Time { s: -1, ns: 999_999_999 }),
        atime: Some(Time { s: 1_790_000_000, ns: 0 }),
        uid: Some(0),
        gid: Some(1000),
        xattrs: vec![
            (Bytes::from_static(b"user.a"), Some(Bytes::from_static(b""))),
            (Bytes::from_static(b"user.b"), None),
        ],
    }
}

fn node(id: u8, value: Value, attrs: Attrs) -> Node {
    Node { file_id: FileId([id; 16]), value, attrs }
}

fn put_of(path: &str, node: Node, new_name: bool, parents: Vec<EntryId>) -> Op {
    Op::Put { key: key(path), node, new_name, parents }
}

/// An operation as an instruction of `sys`.
pub(super) fn instruction(op: Op, parents: Vec<EntryId>) -> Op {
    // Nothing of the header is in it: it cites nothing itself.
    let header = genesis_entry().header;
    let kind = codec::op_to_wire(&op, &header).expect("cites nothing").kind.expect("an op does something");
    Op::Instruction { program_id: program::sys::ID.into(), payload: program::sys::payload(kind), parents }
}

/// One entry of every kind and one op of every form.
fn entries() -> Vec<(&'static str, u8, Entry)> {
    let genesis = genesis_entry();
    let next = |seed: u8, seq, prev: &Entry, after: &[&Entry], ops| Draft {
        store: genesis.store(),
        author: Identity::from_seed([seed; 32]).node_id(),
        seq,
        prev: prev.id,
        hlc: Hlc::new(1_790_000_000_000 + seq, u16::from(seed)),
        ops,
        parents: after.iter().map(|e| (e.id, e.entry_ref())).collect(),
        ..blank()
    };
    let build = |seed: u8, draft: Draft| {
        let mut entry = draft.build().expect("valid");
        entry.sign(&Identity::from_seed([seed; 32])).expect("its author");
        entry
    };
    let hello = put_of("notes/hello.txt", node(1, file(b"hello\n"), attrs()), true, vec![]);
    let first = build(1, next(1, 1, &genesis, &[], vec![hello]));
    let edit = put_of("notes/hello.txt", node(1, file(b"hullo\n"), Attrs::default()), false, vec![first.id]);
    let other = build(2, next(2, 1, &genesis, &[&first], vec![edit]));
    let id = Some(ChunkId([0xcc; 32]));
    let chunks = vec![Chunk { id, len: 65_536 }, Chunk { id: None, len: 1 << 31 }];
    let manifest = Chunk { id, len: 700 };
    let symlink = Value::Symlink(Bytes::from_static(b"../hello"));
    let big = Value::File(Content::Manifest { manifest, size: 5 << 30 });
    let mut both = vec![first.id, other.id];
    both.sort();
    let every = vec![
        put_of("notes/hello.txt", node(1, file(b"hallo\n"), Attrs::default()), false, both),
        put_of("chunks", node(2, Value::File(Content::Chunks(chunks)), Attrs::default()), true, vec![]),
        put_of("manifest", node(3, big, Attrs::default()), true, vec![]),
        put_of("dir", node(4, Value::Dir, Attrs::default()), true, vec![]),
        put_of("dir/link", node(5, symlink, Attrs::default()), true, vec![]),
        put_of("dir/fifo", node(6, Value::Fifo, Attrs::default()), true, vec![]),
        put_of("dir/socket", node(7, Value::Socket, Attrs::default()), true, vec![]),
        Op::Delete { key: key("gone"), parents: vec![first.id] },
        Op::Attr { key: Key::ROOT, file_id: FileId([0; 16]), attrs: attrs() },
        Op::Instruction {
            program_id: "ext".into(),
            payload: Bytes::from_static(b"\x01\x02"),
            parents: vec![other.id],
        },
    ];
    let every = Draft { group_first: 2, group_more: true, ..next(1, 2, &first, &[&other], every) };
    let every = build(1, every);
    let ack = Draft { kind: Kind::Ack, ..next(2, 2, &other, &[&every], vec![]) };
    let ack = build(2, ack);
    let mut seen = vec![first.id, other.id];
    seen.sort();
    let instructed = vec![
        instruction(put_of("notes/sys", node(8, file(b"run\n"), attrs()), true, vec![]), vec![]),
        instruction(Op::Delete { key: key("notes/hello.txt"), parents: vec![] }, seen),
        instruction(Op::Attr { key: Key::ROOT, file_id: FileId([0; 16]), attrs: attrs() }, vec![]),
    ];
    let instructed = build(2, next(2, 3, &ack, &[&first, &other], instructed));
    vec![
        ("genesis", 1, genesis),
        ("first", 1, first),
        ("edit by another author", 2, other),
        ("every op, first of a group", 1, every),
        ("ack", 2, ack),
        ("file operations as instructions of sys", 2, instructed),
    ]
}

fn render() -> String {
    let mut text = String::from(
        "# Made by entry/tests/golden.rs. `seed` is the author's ed25519 secret key: one byte, 32 times.\n",
    );
    for (name, seed, entry) in entries() {
        let hex = |bytes: &[u8]| HEXLOWER.encode(bytes);
        let signature = entry.signature.expect("signed");
        let fields = [
            ("seed", hex(&[seed])),
            ("node", entry.header.author.to_string()),
            ("store", entry.store().to_string()),
            ("header", hex(&entry.header_bytes)),
            ("payload", hex(&entry.payload_bytes)),
            ("id", entry.id.to_string()),
            ("signature", hex(&signature)),
        ];
        writeln!(text, "\n[{name}]").expect("a string");
        for (field, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            writeln!(text, "{field} = {value}").expect("a string");
        }
    }
    text
}

#[test]
fn entries_are_the_ones_that_are_checked_in() {
    let made = render();
    assert!(made == GOLDEN, "the format has changed. Made:\n{made}");
}

#[test]
fn what_is_checked_in_decodes_and_verifies() {
    let sections: Vec<_> = GOLDEN.split("\n[").skip(1).collect();
    for (section, (name, _, made)) in sections.iter().zip(entries()) {
        let field = |name: &str| {
            let line = section.lines().find_map(|l| l.strip_prefix(&format!("{name} = ")));
            line.unwrap_or_default()
        };
        let hex = |name| HEXLOWER.decode(field(name).as_bytes()).expect("hex");
        let signature = hex("signature").try_into().expect("64 bytes");
        let decoded = Entry::decode(hex("header").into(), hex("payload").into(), Some(signature));
        let entry = known(decoded.expect(name));
        entry.verify().expect(name);
        assert_eq!(entry, made, "{name}");
        assert_eq!(field("store").parse(), Ok(entry.store()));
    }
    assert_eq!(sections.len(), entries().len());
}

/// By BLAKE3's own API, which hashes the context string each time.
#[test]
fn ids_are_derive_key_hashes() {
    let entry = genesis_entry();
    let id = blake3::derive_key("lattice 2026 v1 entry", &entry.header_bytes);
    assert_eq!(entry.id, EntryId(id));
    let payload = blake3::derive_key("lattice 2026 v1 payload", &entry.payload_bytes);
    assert_eq!(entry.header.payload_hash, payload);
    assert_eq!(entry.store(), StoreId::of_genesis(&entry.id));
}

#[test]
fn two_stores_never_share_an_id() {
    let author = Identity::from_seed([1; 32]);
    let make = || genesis(&author, Hlc(1), vec![]).expect("random bytes");
    let (a, b) = (make(), make());
    assert_ne!(a.store(), b.store());
    let decoded = Entry::decode(a.header_bytes.clone(), a.payload_bytes.clone(), a.signature);
    assert_eq!(known(decoded.expect("valid")), a);
}

#[test]
fn only_the_author_signs() {
    let mut entry = blank_entry();
    let stranger = Identity::from_seed([2; 32]);
    assert!(matches!(entry.sign(&stranger), Err(EntryError::NotTheAuthor { .. })));
    assert_eq!(entry.verify(), Err(EntryError::Unsigned(entry.id)));
}

fn blank_entry() -> Entry {
    let ops = vec![put("a", Value::Dir)];
    Draft { ops, ..blank() }.build().expect("valid")
}
