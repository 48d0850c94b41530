//! What is known of one key: its heads, its files' attribute registers, and what stands below it.

use crate::entry::{Content, EntryRef, Value};
use crate::hlc::Hlc;
use crate::id::FileId;

use super::files::Files;

/// One concurrent version of a key: an entry that no other stored entry has superseded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    pub entry: EntryRef,
    /// `None`: a tombstone.
    pub node: Option<HeadNode>,
}

/// A live head. Its attributes are registers of the record, by `file_id`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeadNode {
    pub file_id: FileId,
    pub value: Value,
}

impl HeadNode {
    /// The content, where it is a file.
    pub fn content(&self) -> Option<&Content> {
        match &self.value {
            Value::File(content) => Some(content),
            _ => None,
        }
    }
}

/// Everything known of one key. A pure function of the set of entries applied, whatever their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Record {
    /// Sorted by [`EntryRef`].
    pub heads: Vec<Head>,
    /// By file id. Kept beside a tombstone: an edit concurrent with the delete brings the file back as it was.
    pub attrs: Files,
    pub below: Below,
    /// How many files' registers are kept apart from it: see [`Record::take_dormant`].
    pub dormant: u32,
}

/// What stands directly below a key. A key with children is a directory whether or not a head says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Below {
    /// Children that are live or have children of their own.
    pub children: u64,
    /// Those of them that are directories.
    pub dirs: u64,
    /// When a name last appeared or disappeared here: a directory's mtime, unless it was set later.
    pub changed: Hlc,
}
