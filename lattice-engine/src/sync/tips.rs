//! The frontier: how far each author's chain is held, its digest, and what one frontier has beyond another.

use std::collections::{BTreeMap, BTreeSet};
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

/// The last entries of the branches of authors who have forked, all of them: two at least.
pub type Leaves = BTreeMap<NodeId, BTreeSet<Mark>>;

/// What a node holds durably of a store: the mark of every chain that has an entry. The genesis is no chain's.
#[derive(Debug, Clone)]
pub struct Tips {
    /// Of an author who has forked, the highest.
    marks: BTreeMap<NodeId, Mark>,
    leaves: Leaves,
    digest: TipsDigest,
    generation: u64,
}

/// Equal when they say the same, whenever they were made.
impl PartialEq for Tips {
    fn eq(&self, other: &Self) -> bool {
        self.marks == other.marks && self.leaves == other.leaves
    }
}

impl Eq for Tips {}

impl Default for Tips {
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl Tips {
    pub fn new(marks: BTreeMap<NodeId, Mark>) -> Self {
        Self::forked(marks, Leaves::new())
    }

    /// With those of whom there is more than one branch.
    pub fn forked(mut marks: BTreeMap<NodeId, Mark>, mut leaves: Leaves) -> Self {
        leaves.retain(|_, leaves| leaves.len() > 1);
        marks.extend(leaves.iter().filter_map(|(author, leaves)| Some((*author, *leaves.last()?))));
        marks.retain(|_, mark| mark.seq > 0);
        let mut tips = Self { marks, leaves, digest: TipsDigest([0; 32]), generation: 0 };
        tips.digest = digest(tips.all());
        tips
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

    /// Of authors who have forked.
    pub fn leaves(&self) -> &Leaves {
        &self.leaves
    }

    /// The last entries of one author's branches: one, if it hasn't forked.
    pub fn of<'a>(&'a self, author: &NodeId) -> impl Iterator<Item = &'a Mark> + use<'a> {
        all_of(&self.marks, &self.leaves, author)
    }

    /// Every mark, by author and in order.
    pub fn all(&self) -> impl Iterator<Item = (NodeId, Mark)> + '_ {
        self.marks.keys().flat_map(|author| self.of(author).map(|mark| (*author, *mark)))
    }

    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }

    /// The marks of the authors of whom they differ from `before`'s or are not in it.
    pub fn since(&self, before: &Tips) -> Vec<(NodeId, Mark)> {
        let new = |author: &NodeId| {
            before.marks.get(author) != self.marks.get(author)
                || before.leaves.get(author) != self.leaves.get(author)
        };
        let news = self.marks.keys().filter(|author| new(author));
        news.flat_map(|author| self.of(author).map(|mark| (*author, *mark))).collect()
    }
}

/// The marks of one author.
pub(super) fn all_of<'a>(
    marks: &'a BTreeMap<NodeId, Mark>,
    leaves: &'a Leaves,
    author: &NodeId,
) -> impl Iterator<Item = &'a Mark> + use<'a> {
    let forked = leaves.get(author);
    let one = marks.get(author).filter(|_| forked.is_none());
    forked.into_iter().flatten().chain(one)
}

/// Takes in marks that a peer tells: of each author that is among them all.
pub(super) fn take_in(marks: &mut BTreeMap<NodeId, Mark>, leaves: &mut Leaves, told: Vec<(NodeId, Mark)>) {
    for of_one in told.chunk_by(|a, b| a.0 == b.0) {
        let Some((author, highest)) = of_one.last() else { continue };
        marks.insert(*author, *highest);
        leaves.remove(author);
        if of_one.len() > 1 {
            leaves.insert(*author, of_one.iter().map(|(_, mark)| *mark).collect());
        }
    }
}

/// Marks as they go into frames of `most`: those of one author are in one.
pub(super) fn parts(marks: &[(NodeId, Mark)], most: usize) -> Vec<Vec<(NodeId, Mark)>> {
    let mut parts: Vec<Vec<(NodeId, Mark)>> = Vec::new();
    for of_one in marks.chunk_by(|a, b| a.0 == b.0) {
        match parts.last_mut() {
            Some(part) if part.len() + of_one.len() <= most => part.extend(of_one),
            _ => parts.push(of_one.to_vec()),
        }
    }
    parts
}

/// BLAKE3 over `author ‖ seq (u64, little-endian) ‖ id`, authors in order, and of one who has forked its marks in order.
fn digest(marks: impl Iterator<Item = (NodeId, Mark)>) -> TipsDigest {
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

    #[test]
    fn the_ends_of_all_branches_are_told_together_and_again_when_one_of_them_changes() {
        let ends = BTreeSet::from([mark(3), mark(7)]);
        let tips = Tips::forked([(node(9), mark(2))].into(), [(node(1), ends)].into());
        let all = [(node(1), mark(3)), (node(1), mark(7)), (node(9), mark(2))];
        assert_eq!(tips.all().collect::<Vec<_>>(), all);
        assert_eq!(parts(&all, 2), [all[..2].to_vec(), all[2..].to_vec()]);
        let bytes: Vec<u8> = all
            .iter()
            .flat_map(|(author, mark)| [&author.0[..], &mark.seq.to_le_bytes(), &mark.id.0].concat())
            .collect();
        assert_eq!(tips.digest().0, blake3::derive_key(TIPS_DOMAIN, &bytes));
        let (mut marks, mut leaves) = (BTreeMap::new(), Leaves::new());
        take_in(&mut marks, &mut leaves, all.to_vec());
        assert_eq!(Tips::forked(marks.clone(), leaves.clone()), tips);
        let more = BTreeSet::from([mark(4), mark(7)]);
        let later = Tips::forked([(node(9), mark(2))].into(), [(node(1), more)].into());
        assert_eq!(later.since(&tips), [(node(1), mark(4)), (node(1), mark(7))]);
        take_in(&mut marks, &mut leaves, later.since(&tips));
        assert_eq!(Tips::forked(marks, leaves), later);
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
