//! Entries onto a record. `heads(k) := (heads(k) \ parents) ∪ {op}`; attributes are last-writer-wins registers.
//!
//! Ops of one entry on one key are applied in the entry's order. Applying an entry again is a no-op as long as it is a
//! head; an entry that has been superseded must not be applied again, which the log's (author, seq) order rules out.

use crate::entry::{Attrs, EntryRef, Node};
use crate::id::{EntryId, FileId};

use super::attrs::{FileAttrs, Register};
use super::record::{Head, HeadNode, Record};

impl Record {
    /// A put: `node` replaces the heads that its author saw, and its attributes become registers of its file.
    pub fn apply_put(&mut self, at: EntryRef, node: Node, parents: &[EntryId]) {
        self.apply_attr(at, node.file_id, node.attrs);
        let live = HeadNode { file_id: node.file_id, value: node.value };
        self.supersede(Head { entry: at, node: Some(live) }, parents);
    }

    /// A delete: a tombstone replaces the heads that its author saw.
    pub fn apply_delete(&mut self, at: EntryRef, parents: &[EntryId]) {
        self.supersede(Head { entry: at, node: None }, parents);
    }

    /// Sets what `attrs` sets and no later entry has set. Never brings anything back to life.
    pub fn apply_attr(&mut self, at: EntryRef, file_id: FileId, attrs: Attrs) {
        if !attrs.is_empty() {
            self.attrs.of(file_id).apply(at, attrs);
        }
    }

    /// An entry that took effect late was superseded by then.
    pub fn drop_head(&mut self, id: &EntryId) {
        self.heads.retain(|head| head.entry.id != *id);
    }

    fn supersede(&mut self, head: Head, parents: &[EntryId]) {
        self.heads.retain(|h| !parents.contains(&h.entry.id));
        if let Err(place) = self.heads.binary_search_by(|h| h.entry.cmp(&head.entry)) {
            self.heads.insert(place, head);
        }
    }

    /// Takes out the registers of files that no head is a version of. They still count, because an entry that is yet to
    /// come may bring such a file back: the caller keeps them elsewhere and gives them back with [`Record::wake`] before
    /// it applies an op on that file. So the record of a name that is replaced all day stays small.
    pub fn take_dormant(&mut self) -> Vec<(FileId, FileAttrs)> {
        let heads = &self.heads;
        let is_head = |id: &FileId| heads.iter().any(|h| h.node.as_ref().is_some_and(|n| n.file_id == *id));
        let dormant = self.attrs.take(is_head);
        self.dormant += dormant.len() as u32;
        dormant
    }

    /// Puts back the registers of one file, merging them with what the record has.
    pub fn wake(&mut self, file_id: FileId, attrs: FileAttrs) {
        self.dormant = self.dormant.saturating_sub(1);
        self.attrs.of(file_id).merge(attrs);
    }
}

impl FileAttrs {
    fn apply(&mut self, at: EntryRef, attrs: Attrs) {
        set(&mut self.mode, at, attrs.mode);
        set(&mut self.mtime, at, attrs.mtime);
        set(&mut self.atime, at, attrs.atime);
        set(&mut self.uid, at, attrs.uid);
        set(&mut self.gid, at, attrs.gid);
        for (name, value) in attrs.xattrs {
            self.set_xattr(name, Register { at, value });
        }
    }

    fn merge(&mut self, other: Self) {
        fn later<T>(mine: &mut Option<Register<T>>, theirs: Option<Register<T>>) {
            if let Some(Register { at, value }) = theirs {
                set(mine, at, Some(value));
            }
        }
        later(&mut self.mode, other.mode);
        later(&mut self.mtime, other.mtime);
        later(&mut self.atime, other.atime);
        later(&mut self.uid, other.uid);
        later(&mut self.gid, other.gid);
        for (name, register) in other.xattrs {
            self.set_xattr(name, register);
        }
    }

    fn set_xattr(&mut self, name: bytes::Bytes, register: Register<Option<bytes::Bytes>>) {
        match self.xattrs.get_mut(&name) {
            Some(mine) if mine.at > register.at => {}
            Some(mine) => *mine = register,
            None => {
                self.xattrs.insert(name, register);
            }
        }
    }

    /// When any of it was last set.
    pub fn last_set(&self) -> Option<EntryRef> {
        let fixed = [
            self.mode.as_ref().map(|r| r.at),
            self.mtime.as_ref().map(|r| r.at),
            self.atime.as_ref().map(|r| r.at),
            self.uid.as_ref().map(|r| r.at),
            self.gid.as_ref().map(|r| r.at),
        ];
        fixed.into_iter().flatten().chain(self.xattrs.values().map(|r| r.at)).max()
    }
}

/// At the same entry the later op wins: an entry's ops are applied in its order.
fn set<T>(register: &mut Option<Register<T>>, at: EntryRef, value: Option<T>) {
    let Some(value) = value else { return };
    if register.as_ref().is_none_or(|r| r.at <= at) {
        *register = Some(Register { at, value });
    }
}
