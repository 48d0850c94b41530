//! Authors who signed two entries of one number: a copied data directory, a restored backup, or a lie. The headers that prove
//! it are kept, and shown.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::entry::Entry;
use crate::id::{EntryId, NodeId};

use super::core::Store;
use super::handle::Handle;

/// Authors whose forks are kept in mind.
const MAX_FORKS: usize = 1024;

/// Two entries of one author and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fork {
    pub author: NodeId,
    pub seq: u64,
    /// The entry that is held here.
    pub existing: EntryId,
    /// The one that isn't.
    pub other: EntryId,
    /// The signed header of an entry that is `other`, or names it as the one before: with the entry held here, the proof.
    pub header: Bytes,
    pub signature: Option<[u8; 64]>,
}

/// The first fork seen of each author.
#[derive(Debug, Default)]
pub(super) struct Forks {
    by_author: BTreeMap<NodeId, Fork>,
}

impl Forks {
    /// Keeps the proof, where there is none yet.
    pub fn note(&mut self, entry: &Entry, seq: u64, existing: EntryId, other: EntryId) {
        let author = entry.header.author;
        if self.by_author.contains_key(&author) || self.by_author.len() >= MAX_FORKS {
            return;
        }
        tracing::error!(
            %author, seq, existing = %existing, other = %other,
            "an author has signed two entries of one number: a copied data directory or a restored backup"
        );
        let header = Bytes::copy_from_slice(&entry.header_bytes);
        let fork = Fork { author, seq, existing, other, header, signature: entry.signature };
        self.by_author.insert(author, fork);
    }

    pub fn all(&self) -> Vec<Fork> {
        self.by_author.values().cloned().collect()
    }
}

impl Handle {
    /// The authors who were seen to have signed two entries of one number, with the proof.
    pub fn forks(&self) -> Vec<Fork> {
        self.store.forks.lock().all()
    }
}

impl Store {
    /// Another entry of ours has come under a number that we have used: someone writes with our identity. More entries
    /// would only make more branches.
    pub(super) fn forked_here(&self, seq: u64) {
        let why = format!(
            "this node's identity writes elsewhere too (entry {seq} is there twice): a copied data directory or a \
             restored backup. Give one of the two a new identity (`lattice init` in a fresh directory, then join)"
        );
        let mut forked = self.forked.write();
        // Every new connection tells of it again.
        if forked.is_none() {
            tracing::error!(store = %self.id, why, "the store takes no more writes of this node");
            *forked = Some(why);
        }
    }
}
