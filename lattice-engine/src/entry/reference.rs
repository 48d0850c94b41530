//! Where an entry stands among all others.

use crate::hlc::Hlc;
use crate::id::{EntryId, NodeId};

/// Enough to order an entry, to cite it and to find it in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EntryRef {
    pub hlc: Hlc,
    pub author: NodeId,
    pub id: EntryId,
    /// Not part of the order.
    pub seq: u64,
}

impl PartialOrd for EntryRef {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// (hlc, author, entry id): the one total order that decides every tie.
impl Ord for EntryRef {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.hlc, self.author, self.id).cmp(&(other.hlc, other.author, other.id))
    }
}
