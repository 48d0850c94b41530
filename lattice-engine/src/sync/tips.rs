//! The frontier: how far each author's chain is held, its digest, and what one frontier has beyond another.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};

use crate::id::{EntryId, NodeId};

/// BLAKE3 `derive_key` context of a frontier's digest.
pub const TIPS_DOMAIN: &str = "lattice 2026 v1 tips";

static TIPS_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(TIPS_DOMAIN));

/// How far a chain is held: the entry at `seq`, and all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    pub seq: u64,
    pub id: EntryId,
}

/// Entries `from..=to` of one author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    pub author: NodeId,
    pub from: u64,
    pub to: u64,
}

impl Range {
    /// How many entries it spans.
    pub fn entries(&self) -> u64 {
        (self.to + 1).saturating_sub(self.from)
    }
}

/// One digest for a whole frontier: equal digests, equal entries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TipsDigest(pub [u8; 32]);

impl std::fmt::Debug for TipsDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TipsDigest({})", data_encoding::HEXLOWER.encode(&self.0[..8]))
    }
}

/// What a node holds durably of a store: the mark of every chain that has an entry. The genesis is no chain's.
#[derive(Debug, Clone)]
pub struct Tips {
    marks: BTreeMap<NodeId, Mark>,
    digest: TipsDigest,
    generation: u64,
}

/// Equal when they say the same, whenever they were made.
impl PartialEq for Tips {
    fn eq(&self, other: &Self) -> bool {
        self.marks == other.marks
    }
}

impl Eq for Tips {}

impl Default for Tips {
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl Tips {
    pub fn new(mut marks: BTreeMap<NodeId, Mark>) -> Self {
        marks.retain(|_, mark| mark.seq > 0);
        let digest = digest(&marks);
        Self { marks, digest, generation: 0 }
    }

    /// Numbered by the store that makes them, so that later ones are told from earlier ones on whatever way they come.
    pub fn with_generation(self, generation: u64) -> Self {
        Self { generation, ..self }
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn digest(&self) -> TipsDigest {
        self.digest
    }

    pub fn get(&self, author: &NodeId) -> Option<Mark> {
        self.marks.get(author).copied()
    }

    /// 0: nothing.
    pub fn seq(&self, author: &NodeId) -> u64 {
        self.marks.get(author).map_or(0, |mark| mark.seq)
    }

    pub fn marks(&self) -> &BTreeMap<NodeId, Mark> {
        &self.marks
    }

    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// The marks that differ from `before`'s or are not in it.
    pub fn since(&self, before: &Tips) -> Vec<(NodeId, Mark)> {
        let new = |(author, mark): &(&NodeId, &Mark)| before.marks.get(*author) != Some(*mark);
        self.marks.iter().filter(new).map(|(author, mark)| (*author, *mark)).collect()
    }
}

/// BLAKE3 over `author ‖ seq (u64, little-endian) ‖ id`, authors in order.
fn digest(marks: &BTreeMap<NodeId, Mark>) -> TipsDigest {
    let mut hasher = blake3::Hasher::new_from_context_key(&TIPS_KEY);
    for (author, mark) in marks {
        hasher.update(author.as_bytes());
        hasher.update(&mark.seq.to_le_bytes());
        hasher.update(mark.id.as_bytes());
    }
    TipsDigest(*hasher.finalize().as_bytes())
}

/// What `theirs` has beyond `ours`, by author.
pub fn lacking(ours: &Tips, theirs: &BTreeMap<NodeId, Mark>) -> BTreeMap<NodeId, Range> {
    beyond(&ours.marks, theirs).map(|range| (range.author, range)).collect()
}

pub(super) fn beyond<'a>(
    ours: &'a BTreeMap<NodeId, Mark>,
    theirs: &'a BTreeMap<NodeId, Mark>,
) -> impl Iterator<Item = Range> + 'a {
    theirs.iter().filter_map(|(author, mark)| {
        let have = ours.get(author).map_or(0, |mark| mark.seq);
        (mark.seq > have).then_some(Range { author: *author, from: have + 1, to: mark.seq })
    })
}

/// A frontier that is shared, and replaced as a whole.
pub type SharedTips = Arc<Tips>;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(n: u8) -> NodeId {
        NodeId([n; 32])
    }

    fn mark(seq: u64) -> Mark {
        Mark { seq, id: EntryId([seq as u8; 32]) }
    }

    fn frontier() -> impl Strategy<Value = BTreeMap<NodeId, Mark>> {
        proptest::collection::btree_map((0..6u8).prop_map(node), (0..5u64).prop_map(mark), 0..6)
    }

    #[test]
    fn the_digest_is_the_one_of_the_format() {
        let tips = Tips::new([(node(1), mark(2)), (node(9), mark(300))].into());
        let mut bytes = Vec::new();
        for (author, seq) in [(1u8, 2u64), (9, 300)] {
            bytes.extend([author; 32]);
            bytes.extend(seq.to_le_bytes());
            bytes.extend([seq as u8; 32]);
        }
        assert_eq!(tips.digest().0, blake3::derive_key(TIPS_DOMAIN, &bytes));
        assert_eq!(Tips::default().digest().0, blake3::derive_key(TIPS_DOMAIN, &[]));
    }

    proptest! {
        #[test]
        fn taking_what_is_lacking_makes_frontiers_equal(a in frontier(), b in frontier()) {
            let (a, b) = (Tips::new(a), Tips::new(b));
            let mut joined = a.marks().clone();
            for (author, range) in lacking(&a, b.marks()) {
                prop_assert_eq!(range.from, a.seq(&author) + 1);
                prop_assert_eq!(range.entries(), b.seq(&author) - a.seq(&author));
                joined.insert(author, mark(range.to));
            }
            let joined = Tips::new(joined);
            prop_assert!(lacking(&joined, a.marks()).is_empty() && lacking(&joined, b.marks()).is_empty());
            prop_assert_eq!(joined.digest() == b.digest(), lacking(&b, a.marks()).is_empty());
        }

        #[test]
        fn what_is_told_since_brings_a_listener_up_to_date(a in frontier(), b in frontier()) {
            let (a, b) = (Tips::new(a), Tips::new(b));
            let mut heard = a.marks().clone();
            heard.extend(b.since(&a));
            for (author, mark) in b.marks() {
                prop_assert_eq!(heard.get(author), Some(mark));
            }
            prop_assert!(b.since(&b).is_empty());
        }
    }
}
