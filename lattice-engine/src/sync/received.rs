//! What became of an entry that a peer sent.

use crate::id::EntryId;

use super::{Millis, Range};

/// What a store did with an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// Appended and visible.
    New,
    /// Held already.
    Duplicate,
    /// Dated more than ten minutes ahead of our clock: it waits in memory until then (Unix milliseconds).
    Early { until: Millis },
    /// It builds on entries that aren't here: it waits in memory for them.
    Missing(Vec<Range>),
    /// Its author is not known as a member: it waits in memory until the members change.
    NotMember,
    /// Its author was revoked, and this entry is behind the cutoff.
    Beyond,
    /// Its author has forked, and the entry that it follows isn't here, but another in its place. What is before it is needed
    /// from `from` on, to see where the two part; and then this entry again.
    Apart { from: u64 },
    /// Its author has forked more often than this node keeps branches: `existing` stands where it would.
    Fork { seq: u64, existing: EntryId },
    /// It waits for something, and what waits is over its bound: ask again later.
    Full,
    /// Not an entry, or one that breaks a rule: no node takes it.
    Refused(String),
}

impl Received {
    /// It is held now.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::New | Self::Duplicate)
    }
}
