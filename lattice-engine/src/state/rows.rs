//! Rows: the bytes under which a record is kept, and the bytes it is kept as.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;

use crate::entry::{Content, LogRange, Node, Time, Value};
use crate::hlc::Hlc;
use crate::id::{EntryId, FileId, NodeId};
use crate::key::Key;
use crate::merge::{Below, EntryRef, FileAttrs, Head, HeadNode, Record, Register};
use crate::wire::v1;

/// `parent ‖ 0x00 ‖ name`; empty for the root.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey(pub Bytes);

impl RowKey {
    pub fn of(key: &Key) -> Self {
        if key.is_root() {
            return Self(Bytes::new());
        }
        let (bytes, name) = (key.as_bytes(), key.name());
        let parent = &bytes[..bytes.len().saturating_sub(name.len() + 1)];
        let mut row = BytesMut::with_capacity(bytes.len() + 1);
        row.put_slice(parent);
        row.put_u8(0);
        row.put_slice(name);
        Self(row.freeze())
    }

    /// Where the children of `dir` begin: `dir ‖ 0x00`.
    pub fn children_of(dir: &Key) -> Bytes {
        Bytes::from([dir.as_bytes(), &[0]].concat())
    }

    /// The last segment of the key.
    pub fn name(&self) -> Bytes {
        let at = self.0.iter().position(|b| *b == 0).map_or(self.0.len(), |i| i + 1);
        self.0.slice(at..)
    }

    /// The key, if this is the row of one.
    pub fn key(&self) -> Option<Key> {
        if self.0.is_empty() {
            return Some(Key::ROOT);
        }
        let at = self.0.iter().position(|b| *b == 0)?;
        let (parent, name) = (&self.0[..at], &self.0[at + 1..]);
        let path = if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() };
        Key::from_wire(path.into()).ok()
    }
}

/// Local numbers of authors: a row names its authors by these.
pub trait Authors {
    fn index(&mut self, author: &NodeId) -> u32;
    fn author(&self, index: u32) -> Option<NodeId>;
}

/// Collects the entries that a row names.
struct Refs<'a, A> {
    rows: Vec<v1::EntryRefRow>,
    seen: Vec<EntryRef>,
    authors: &'a mut A,
}

impl<A: Authors> Refs<'_, A> {
    fn index(&mut self, at: &EntryRef) -> u32 {
        let found = self.seen.iter().position(|r| r == at).unwrap_or_else(|| {
            self.seen.push(*at);
            self.rows.push(v1::EntryRefRow {
                hlc: at.hlc.0,
                author: self.authors.index(&at.author),
                seq: at.seq,
                id: Bytes::copy_from_slice(at.id.as_bytes()),
            });
            self.seen.len() - 1
        });
        found as u32
    }
}

/// A record as a row's bytes.
pub fn encode(record: &Record, authors: &mut impl Authors) -> Vec<u8> {
    let mut refs = Refs { rows: Vec::with_capacity(2), seen: Vec::with_capacity(2), authors };
    let heads = record.heads.iter().map(|h| head_row(h, &mut refs)).collect();
    let attrs = record.attrs.iter().map(|(id, a)| attrs_row(id, a, &mut refs)).collect();
    v1::RecordRow {
        refs: refs.rows,
        heads,
        attrs,
        children: record.below.children,
        dirs: record.below.dirs,
        changed: record.below.changed.0,
        dormant: record.dormant,
    }
    .encode_to_vec()
}

fn head_row<A: Authors>(head: &Head, refs: &mut Refs<'_, A>) -> v1::HeadRow {
    let payload = match head.node.as_ref().and_then(HeadNode::content) {
        Some(Content::InLog(r)) => Some(v1::LogRange { segment: r.segment, offset: r.offset, len: r.len }),
        _ => None,
    };
    let node = head.node.as_ref().map(|n| {
        let value = match &n.value {
            Value::File(Content::InLog(_)) => Value::File(Content::EMPTY),
            value => value.clone(),
        };
        v1::Node::from(&Node { file_id: n.file_id, value, attrs: Default::default() })
    });
    v1::HeadRow { r#ref: refs.index(&head.entry), node, payload }
}

fn attrs_row<A: Authors>(id: &FileId, a: &FileAttrs, refs: &mut Refs<'_, A>) -> v1::FileAttrsRow {
    let mut u32_row = |r: &Register<u32>| v1::U32Register { r#ref: refs.index(&r.at), value: r.value };
    let (mode, uid, gid) = (
        a.mode.as_ref().map(&mut u32_row),
        a.uid.as_ref().map(&mut u32_row),
        a.gid.as_ref().map(&mut u32_row),
    );
    let mut time_row = |r: &Register<Time>| v1::TimeRegister {
        r#ref: refs.index(&r.at),
        value: Some(v1::Time { s: r.value.s, ns: r.value.ns }),
    };
    let (mtime, atime) = (a.mtime.as_ref().map(&mut time_row), a.atime.as_ref().map(&mut time_row));
    let xattrs = a
        .xattrs
        .iter()
        .map(|(name, r)| v1::XattrRegister {
            r#ref: refs.index(&r.at),
            name: name.clone(),
            value: r.value.clone(),
        })
        .collect();
    v1::FileAttrsRow { file_id: Bytes::copy_from_slice(id.as_bytes()), mode, mtime, uid, gid, atime, xattrs }
}

/// A row's bytes as a record; `None` when they are not one (a damaged cache: rebuild it).
pub fn decode(row: &[u8], authors: &impl Authors) -> Option<Record> {
    let row = v1::RecordRow::decode(Bytes::copy_from_slice(row)).ok()?;
    let refs = row
        .refs
        .iter()
        .map(|r| {
            Some(EntryRef {
                hlc: Hlc(r.hlc),
                author: authors.author(r.author)?,
                id: EntryId::from_slice(&r.id)?,
                seq: r.seq,
            })
        })
        .collect::<Option<Vec<_>>>()?;
    let at = |i: u32| refs.get(i as usize).copied();
    let heads = row
        .heads
        .into_iter()
        .map(|h| Some(Head { entry: at(h.r#ref)?, node: decode_node(h.node, h.payload)? }))
        .collect::<Option<Vec<_>>>()?;
    let attrs = row
        .attrs
        .into_iter()
        .map(|a| Some((FileId::from_slice(&a.file_id)?, decode_attrs(a, &at)?)))
        .collect::<Option<BTreeMap<_, _>>>()?;
    let below = Below { children: row.children, dirs: row.dirs, changed: Hlc(row.changed) };
    Some(Record { heads, attrs, below, dormant: row.dormant })
}

/// Outer `None`: not a node. Inner `None`: a tombstone.
fn decode_node(node: Option<v1::Node>, payload: Option<v1::LogRange>) -> Option<Option<HeadNode>> {
    let Some(node) = node else { return Some(None) };
    let node = Node::try_from(node).ok()?;
    let value = match payload {
        Some(r) => Value::File(Content::InLog(LogRange { segment: r.segment, offset: r.offset, len: r.len })),
        None => node.value,
    };
    Some(Some(HeadNode { file_id: node.file_id, value }))
}

fn decode_attrs(row: v1::FileAttrsRow, at: &impl Fn(u32) -> Option<EntryRef>) -> Option<FileAttrs> {
    fn register<T>(at: Option<EntryRef>, value: T) -> Option<Option<Register<T>>> {
        Some(Some(Register { at: at?, value }))
    }
    let number = |r: Option<v1::U32Register>| match r {
        Some(r) => register(at(r.r#ref), r.value),
        None => Some(None),
    };
    let time = |r: Option<v1::TimeRegister>| match r {
        Some(r) => {
            let t = r.value.unwrap_or_default();
            register(at(r.r#ref), Time { s: t.s, ns: t.ns })
        }
        None => Some(None),
    };
    Some(FileAttrs {
        mode: number(row.mode)?,
        mtime: time(row.mtime)?,
        atime: time(row.atime)?,
        uid: number(row.uid)?,
        gid: number(row.gid)?,
        xattrs: row
            .xattrs
            .into_iter()
            .map(|x| Some((x.name, Register { at: at(x.r#ref)?, value: x.value })))
            .collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_and_its_children_are_apart_from_names_that_sort_between() {
        let row = |s: &str| RowKey::of(&Key::parse(s.as_bytes()).expect("a key"));
        let mut rows = [row("a/b/c"), row("a/b.txt"), row("a/b"), row("a"), RowKey::of(&Key::ROOT)];
        rows.sort();
        let keys: Vec<String> = rows.iter().map(|r| r.key().expect("a key").to_string()).collect();
        assert_eq!(keys, ["", "a", "a/b", "a/b.txt", "a/b/c"]);
        assert_eq!(rows[4].name(), "c");
        let dir = Key::parse(b"a").expect("a key");
        assert!(rows[2].0.starts_with(&RowKey::children_of(&dir)));
        assert!(!rows[4].0.starts_with(&RowKey::children_of(&dir)));
    }
}
