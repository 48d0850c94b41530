//! Histories of several authors: the same record in every legal order, and what it shows.

mod orders;
mod shown;

use std::collections::BTreeMap;

use crate::entry::{Attrs, Content, Node, Time, Value};
use crate::hlc::Hlc;
use crate::id::{EntryId, FileId, NodeId};

use super::*;

pub(super) fn at(hlc: u64, author: u8, id: u8) -> EntryRef {
    EntryRef { hlc: Hlc(hlc), author: NodeId([author; 32]), id: EntryId([id; 32]), seq: 0 }
}

pub(super) fn text(text: &'static str) -> Value {
    Value::File(Content::Inline(text.as_bytes().into()))
}

pub(super) fn node(file_id: u8, value: Value) -> Node {
    Node { file_id: FileId([file_id; 16]), value, attrs: Attrs::default() }
}

/// Attributes told apart by `n`: each value of `n` sets others, and no two set a field to the same.
pub(super) fn attrs(n: u8) -> Attrs {
    let number = u32::from(n);
    let time = Time { s: number.into(), ns: 0 };
    let xattr = |name: &'static str| (name.as_bytes().into(), (!n.is_multiple_of(3)).then(|| vec![n].into()));
    Attrs {
        mode: n.is_multiple_of(2).then_some(number),
        mtime: n.is_multiple_of(3).then_some(time),
        atime: n.is_multiple_of(4).then_some(time),
        uid: (n % 5 < 2).then_some(number),
        gid: (n % 3 == 1).then_some(number),
        xattrs: if n % 4 < 2 { vec![xattr("user.a")] } else { vec![xattr("user.b"), xattr("user.c")] },
    }
}

/// What an entry does to the one key of these tests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    Put(Node),
    Delete,
    Attr(FileId, Attrs),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub at: EntryRef,
    pub act: Act,
    pub parents: Vec<EntryId>,
}

impl Event {
    pub fn apply(&self, record: &mut Record) {
        match &self.act {
            Act::Put(node) => record.apply_put(self.at, node.clone(), &self.parents),
            Act::Delete => record.apply_delete(self.at, &self.parents),
            Act::Attr(file_id, attrs) => record.apply_attr(self.at, *file_id, attrs.clone()),
        }
    }

    pub fn file_id(&self) -> Option<FileId> {
        match &self.act {
            Act::Put(node) => Some(node.file_id),
            Act::Delete => None,
            Act::Attr(file_id, _) => Some(*file_id),
        }
    }
}

/// What the record must be, said without any order: heads are what nobody cites, a register is the latest that sets it.
pub(super) fn oracle(events: &[Event]) -> Record {
    let mut record = Record::default();
    let cited: Vec<EntryId> = events.iter().flat_map(|e| e.parents.clone()).collect();
    for event in events {
        let live = match &event.act {
            Act::Attr(..) => continue,
            Act::Delete => None,
            Act::Put(node) => Some(HeadNode { file_id: node.file_id, value: node.value.clone() }),
        };
        if !cited.contains(&event.at.id) {
            record.heads.push(Head { entry: event.at, node: live });
        }
    }
    record.heads.sort_by_key(|h| h.entry);
    record.attrs = registers(events).into_iter().collect();
    record
}

fn registers(events: &[Event]) -> BTreeMap<FileId, FileAttrs> {
    let mut sets: Vec<(EntryRef, FileId, &Attrs)> = events
        .iter()
        .filter_map(|e| match &e.act {
            Act::Put(node) => Some((e.at, node.file_id, &node.attrs)),
            Act::Attr(file_id, attrs) => Some((e.at, *file_id, attrs)),
            Act::Delete => None,
        })
        .filter(|(_, _, attrs)| !attrs.is_empty())
        .collect();
    sets.sort_by_key(|(at, _, _)| *at);
    let mut files: BTreeMap<FileId, FileAttrs> = BTreeMap::new();
    for (at, file_id, attrs) in sets {
        fn write<T: Copy>(register: &mut Option<Register<T>>, at: EntryRef, value: Option<T>) {
            if let Some(value) = value {
                *register = Some(Register { at, value });
            }
        }
        let file = files.entry(file_id).or_default();
        write(&mut file.mode, at, attrs.mode);
        write(&mut file.mtime, at, attrs.mtime);
        write(&mut file.atime, at, attrs.atime);
        write(&mut file.uid, at, attrs.uid);
        write(&mut file.gid, at, attrs.gid);
        for (name, value) in &attrs.xattrs {
            let value = value.clone();
            file.xattrs.insert(name.clone(), Register { at, value });
        }
    }
    files
}
