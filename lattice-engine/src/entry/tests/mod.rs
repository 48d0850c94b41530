//! Entries: what builds decodes to the same, and nothing else decodes.

mod forks;
mod golden;
mod instructions;
mod rules;
mod strict;

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::subsequence;

use super::*;
use crate::id::{ChunkId, FileId};
use crate::key::Key;

/// A draft with nothing in it: author of seed 1, seq 2.
pub(super) fn blank() -> Draft {
    Draft {
        store: StoreId::of_genesis(&EntryId([0xaa; 32])),
        author: Identity::from_seed([1; 32]).node_id(),
        seq: 2,
        prev: EntryId([0x11; 32]),
        hlc: Hlc::new(1_790_000_000_000, 3),
        kind: Kind::Data,
        group_first: 0,
        group_more: false,
        ops: vec![],
        parents: BTreeMap::new(),
    }
}

pub(super) fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect(path)
}

pub(super) fn put(path: &str, value: Value) -> Op {
    let node = Node { file_id: FileId([5; 16]), value, attrs: Attrs::default() };
    Op::Put { key: key(path), node, new_name: false, parents: vec![] }
}

pub(super) fn file(bytes: &'static [u8]) -> Value {
    Value::File(Content::Inline(Bytes::from_static(bytes)))
}

pub(super) fn known(decoded: Decoded) -> Entry {
    match decoded {
        Decoded::Known(entry) => entry,
        Decoded::Unknown { why, .. } => panic!("unknown: {why}"),
    }
}

/// Builds the same entry again from what was decoded.
pub(super) fn rebuild(entry: &Entry) -> Entry {
    let h = entry.header.clone();
    let cited = |d: &Dep| {
        let at = EntryRef { hlc: Hlc::ZERO, author: d.author, id: d.id, seq: d.seq };
        (d.id, at)
    };
    let draft = Draft {
        store: h.store,
        author: h.author,
        seq: h.seq,
        prev: h.prev,
        hlc: h.hlc,
        kind: h.kind,
        group_first: h.group_first,
        group_more: h.group_more,
        ops: entry.ops.clone(),
        parents: h.deps.iter().map(cited).collect(),
    };
    draft.build().expect("it was valid when it was decoded")
}

fn any_bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), len).prop_map(Bytes::from)
}

fn any_chunk() -> impl Strategy<Value = Chunk> {
    (option::of(any::<[u8; 32]>()), 1..1u64 << 40).prop_map(|(id, len)| Chunk { id: id.map(ChunkId), len })
}

fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any_bytes(0..64).prop_map(|b| Value::File(Content::Inline(b))),
        vec(any_chunk(), 1..=MAX_DIRECT_CHUNKS).prop_map(|c| Value::File(Content::Chunks(c))),
        (any::<[u8; 32]>(), 1..1u64 << 30, 1..MAX_FILE_SIZE).prop_map(|(id, len, size)| {
            let id = Some(ChunkId(id));
            let manifest = Chunk { id, len };
            Value::File(Content::Manifest { manifest, size })
        }),
        Just(Value::Dir),
        vec(1..=255u8, 1..64).prop_map(|t| Value::Symlink(t.into())),
        Just(Value::Fifo),
        Just(Value::Socket),
    ]
}

fn any_time() -> impl Strategy<Value = Time> {
    (any::<i64>(), 0..1_000_000_000u32).prop_map(|(s, ns)| Time { s, ns })
}

fn any_attrs() -> impl Strategy<Value = Attrs> {
    let xattr_name = vec(1..=255u8, 1..8).prop_map(Bytes::from);
    (
        option::of(0..=0o7777u32),
        option::of(any_time()),
        option::of(any_time()),
        option::of(any::<u32>()),
        option::of(any::<u32>()),
        btree_map(xattr_name, option::of(any_bytes(0..8)), 0..3),
    )
        .prop_map(|(mode, mtime, atime, uid, gid, xattrs)| Attrs {
            mode,
            mtime,
            atime,
            uid,
            gid,
            xattrs: xattrs.into_iter().collect(),
        })
}

/// An op on `key` whose parents are among `seen`.
fn any_op(key: Key, seen: Vec<EntryId>) -> impl Strategy<Value = Op> {
    let all = seen.len();
    let parents = subsequence(seen, 0..=all).boxed();
    let seen = parents.clone();
    let (k1, k2, k3) = (key.clone(), key.clone(), key);
    prop_oneof![
        4 => (any::<[u8; 16]>(), any_value(), any_attrs(), any::<bool>(), parents.clone()).prop_map(
            move |(id, value, attrs, new_name, parents)| {
                let node = Node { file_id: FileId(id), value, attrs };
                Op::Put { key: k1.clone(), node, new_name, parents }
            }
        ),
        2 => parents.prop_map(move |parents| Op::Delete { key: k2.clone(), parents }),
        2 => (any::<[u8; 16]>(), any_attrs()).prop_filter("sets something", |(_, a)| !a.is_empty()).prop_map(
            move |(id, attrs)| Op::Attr { key: k3.clone(), file_id: FileId(id), attrs }
        ),
        1 => ("p[a-z]{0,8}", any_bytes(0..32), seen).prop_map(|(program_id, payload, parents)| {
            Op::Instruction { program_id, payload, parents }
        }),
    ]
}

prop_compose! {
    /// Entries before: ids, and authors out of a few, as real stores have.
    fn any_parents()(ids in btree_set(any::<[u8; 32]>(), 0..5))(
        parents in ids.into_iter().map(|id| (Just(EntryId(id)), 2..5u8, 1..1000u64)).collect::<Vec<_>>()
    ) -> BTreeMap<EntryId, EntryRef> {
        parents
            .into_iter()
            .map(|(id, author, seq)| (id, EntryRef { hlc: Hlc(1), author: NodeId([author; 32]), id, seq }))
            .collect()
    }
}

prop_compose! {
    /// Any valid draft of at most five ops.
    pub(super) fn any_draft()(
        parents in any_parents(),
        prev in any::<[u8; 32]>().prop_filter("zeros are a genesis's", |p| *p != [0; 32]),
        paths in btree_set("[a-z\\xff]{1,5}(/[a-z]{1,5}){0,2}", 1..5),
    )(
        ops in paths
            .iter()
            .map(|p| {
                let mut seen: Vec<_> = parents.keys().copied().chain([EntryId(prev)]).collect();
                seen.sort();
                any_op(key(p), seen)
            })
            .collect::<Vec<_>>(),
        parents in Just(parents),
        prev in Just(prev),
        seq in 1..u64::MAX,
        hlc in 2..u64::MAX,
        group in any::<(bool, bool)>(),
    ) -> Draft {
        let group_first = if group.0 { seq } else { 0 };
        Draft {
            seq,
            prev: EntryId(prev),
            hlc: Hlc(hlc),
            group_first,
            group_more: group.0 && group.1,
            ops,
            parents,
            ..blank()
        }
    }
}
