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
    /// Its author signed two entries of one number. `other` is the one that isn't in the chain held here.
    Fork { seq: u64, existing: EntryId, other: EntryId },
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
