//! What a record shows: one rule for every door.
//!
//! The winner is taken over all heads: live beats tombstone, so that an edit is never hidden by a concurrent delete, then
//! the greatest [`EntryRef`](super::EntryRef). A key with children is shown as a directory whatever its heads say, because hiding the
//! children would be worse; a file there stays among its conflicts.

use crate::entry::{Time, Value};
use crate::hlc::Hlc;
use crate::id::{EntryId, FileId};

use super::attrs::FileAttrs;
use super::record::{Head, Record};

impl Record {
    /// The head that wins; a tombstone only where nothing is live.
    pub fn winner(&self) -> Option<&Head> {
        self.heads.iter().max_by_key(|h| (h.node.is_some(), h.entry))
    }

    /// The live head whose file is shown: the winner, or where there are children the greatest directory. `None`:
    /// nothing is here, or a directory only by its children.
    pub fn shown(&self) -> Option<&Head> {
        let has_children = self.below.children > 0;
        let fits = |h: &&Head| h.node.as_ref().is_some_and(|n| !has_children || n.value == Value::Dir);
        self.heads.iter().filter(fits).max_by_key(|h| h.entry)
    }

    /// The concurrent versions that are not deletes, in [`EntryRef`](super::EntryRef) order.
    pub fn live_heads(&self) -> impl DoubleEndedIterator<Item = &Head> {
        self.heads.iter().filter(|h| h.node.is_some())
    }

    /// What a write that has seen everything cites. Sorted.
    pub fn head_ids(&self) -> Vec<EntryId> {
        let mut ids: Vec<_> = self.heads.iter().map(|h| h.entry.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether some head is not a delete.
    pub fn is_live(&self) -> bool {
        self.live_heads().next().is_some()
    }

    /// Whether anything is shown here.
    pub fn exists(&self) -> bool {
        self.below.children > 0 || self.is_live()
    }

    /// Whether what is shown is a directory.
    pub fn is_dir(&self) -> bool {
        let dir = |h: &Head| h.node.as_ref().is_some_and(|n| n.value == Value::Dir);
        self.below.children > 0 || self.winner().is_some_and(dir)
    }

    /// How many different values are in conflict, the shown one included; 0: none. Equal content in all live heads is
    /// no conflict, and neither are two directories. Children beside a head that is not a directory are one.
    pub fn conflict(&self) -> usize {
        let implied = (self.below.children > 0 && self.is_live()).then_some(&Value::Dir);
        let mut distinct: Vec<&Value> = implied.into_iter().collect();
        for node in self.live_heads().filter_map(|h| h.node.as_ref()) {
            if !distinct.contains(&&node.value) {
                distinct.push(&node.value);
            }
        }
        if distinct.len() > 1 { distinct.len() } else { 0 }
    }

    /// The attribute registers of one file here.
    pub fn attrs_of(&self, file_id: FileId) -> Option<&FileAttrs> {
        self.attrs.get(&file_id)
    }

    /// The attribute registers of the file that is shown.
    pub fn attrs(&self) -> Option<&FileAttrs> {
        self.attrs_of(self.shown()?.node.as_ref()?.file_id)
    }

    /// When the content changed: what was set, else when the shown version was written. A directory's changes with its
    /// names too, whichever came later.
    pub fn mtime(&self) -> Time {
        let written = self.shown().map_or(Hlc::ZERO, |h| h.entry.hlc);
        let set = self.attrs().and_then(|a| a.mtime.as_ref());
        let since = set.map_or(written, |r| r.at.hlc);
        if self.is_dir() && self.below.changed > since {
            return self.below.changed.into();
        }
        set.map_or(written.into(), |r| r.value)
    }

    /// When anything about what is shown last changed: version, attributes, or a directory's names.
    pub fn changed(&self) -> Hlc {
        let written = self.shown().map_or(Hlc::ZERO, |h| h.entry.hlc);
        let set = self.attrs().and_then(FileAttrs::last_set).map_or(Hlc::ZERO, |at| at.hlc);
        let names = if self.is_dir() { self.below.changed } else { Hlc::ZERO };
        written.max(set).max(names)
    }

    /// [`Record::changed`] as a file time.
    pub fn ctime(&self) -> Time {
        self.changed().into()
    }
}
