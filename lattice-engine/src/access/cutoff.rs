//! Where what counts of an author ends. Refuses more ends than a value that stands in its entry can list.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::id::EntryId;

/// The last entry of a chain that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cutoff {
    pub seq: u64,
    /// The genesis for seq 0: nothing counts.
    pub id: EntryId,
}

impl Cutoff {
    /// Nothing of a chain counts.
    pub const NOTHING: Self = Self { seq: 0, id: EntryId::ZERO };
}

/// Where what counts of an author ends: its last entry, or the last of each branch of an author who has forked. All that these
/// come after counts, and nothing else. In ascending order, one at least.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cutoffs(Arc<[Cutoff]>);

impl Cutoffs {
    /// So many can be listed in a value that stands in its entry.
    pub const MAX: usize = 32;

    /// `None`: there are none, or too many.
    pub fn new(cutoffs: &BTreeSet<Cutoff>) -> Option<Self> {
        (1..=Self::MAX).contains(&cutoffs.len()).then(|| Self(cutoffs.iter().copied().collect()))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Cutoff> {
        self.0.iter()
    }

    /// Whether entry `seq` with this id may be one of them, or before one, where it isn't known of which branch it is.
    pub(super) fn allows(&self, seq: u64, id: &EntryId) -> bool {
        self.iter().any(|cutoff| seq < cutoff.seq || (seq == cutoff.seq && *id == cutoff.id))
    }

    /// No later entry counts.
    pub fn last(&self) -> u64 {
        self.iter().map(|cutoff| cutoff.seq).max().unwrap_or(0)
    }
}

impl From<Cutoff> for Cutoffs {
    fn from(cutoff: Cutoff) -> Self {
        Self([cutoff].into())
    }
}
