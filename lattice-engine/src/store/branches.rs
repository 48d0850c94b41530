//! Authors whose chain has forked, and where each branch leaves the others: [`Branches`]. Every branch is kept and projected,
//! each as a chain of its own.
//!
//! The branch that came here first is called by its author's name, and each other by one that is made up
//! ([`chain::branch_name`]). So nothing is renamed when a fork becomes known, replicas call the same branch differently,
//! and no such name leaves the store: peers are told the last entry of each branch. What is shown doesn't hang on names.
//!
//! It refuses more than [`MAX_BRANCHES`] of one author.

use std::collections::{BTreeMap, BTreeSet};

use crate::access::{Cutoff, Cutoffs, Membership};
use crate::chain::{self, ChainId, Tip};
use crate::entry::{Entry, EntryRef, Header};
use crate::id::{EntryId, NodeId};
use crate::log::Position;
use crate::state::Branch;
use crate::sync::{Leaves, Mark, Tips};

use super::error::Result;
use super::govern::Limits;
use super::view::View;
use super::writer::Chains;

/// Branches of one author beside its first: with it as many as a revocation can name. More are no clone's and no backup's.
pub(super) const MAX_BRANCHES: usize = Cutoffs::MAX - 1;

/// All branches of a store.
#[derive(Debug, Clone, Default)]
pub(super) struct Branches {
    by_name: BTreeMap<ChainId, Branch>,
    of: BTreeMap<NodeId, Vec<ChainId>>,
}

impl Branches {
    pub fn new(all: BTreeMap<ChainId, Branch>) -> Self {
        let mut branches = Self::default();
        all.into_iter().for_each(|(name, branch)| branches.insert(name, branch));
        branches
    }

    pub fn insert(&mut self, name: ChainId, branch: Branch) {
        if self.by_name.insert(name, branch).is_none() {
            self.of.entry(branch.author).or_default().push(name);
        }
    }

    pub fn get(&self, name: &ChainId) -> Option<&Branch> {
        self.by_name.get(name)
    }

    pub fn author(&self, chain: &ChainId) -> NodeId {
        self.by_name.get(chain).map_or(*chain, |branch| branch.author)
    }

    /// The first number of a chain.
    pub fn first(&self, chain: &ChainId) -> u64 {
        self.by_name.get(chain).map_or(1, |branch| branch.first)
    }

    /// The branches of an author beside its first.
    pub fn of(&self, author: &NodeId) -> &[ChainId] {
        self.of.get(author).map_or(&[], |names| &names[..])
    }

    /// The number of which an author has signed two entries, if it has.
    pub fn forked_at(&self, author: &NodeId) -> Option<u64> {
        self.of(author).iter().filter_map(|name| self.by_name.get(name)).map(|branch| branch.first).min()
    }

    pub fn authors(&self) -> impl Iterator<Item = &NodeId> {
        self.of.keys()
    }

    /// The chains of an author.
    pub fn chains(&self, author: &NodeId) -> Vec<ChainId> {
        [*author].into_iter().chain(self.of(author).iter().copied()).collect()
    }

    /// What an entry of a chain comes after, and itself: chains, each up to a number.
    pub fn path(&self, chain: &ChainId, seq: u64) -> Vec<(ChainId, u64)> {
        let mut path = vec![(*chain, seq)];
        let mut at = chain;
        while let Some(branch) = self.by_name.get(at) {
            path.push((branch.parent, branch.first - 1));
            at = &branch.parent;
        }
        path
    }

    /// The last number that the paths to the ends of two chains of an author share.
    pub fn shared(&self, one: &ChainId, other: &ChainId) -> u64 {
        let others: BTreeMap<ChainId, u64> = self.path(other, u64::MAX).into_iter().collect();
        let both = |(chain, upto): (ChainId, u64)| others.get(&chain).map(|other| upto.min(*other));
        self.path(one, u64::MAX).into_iter().filter_map(both).max().unwrap_or(0)
    }

    /// Which chain has the entry that is number `seq` on the path to `chain`'s end.
    pub fn chain_at(&self, chain: &ChainId, seq: u64) -> ChainId {
        let mut at = *chain;
        while let Some(branch) = self.by_name.get(&at).filter(|branch| seq < branch.first) {
            at = branch.parent;
        }
        at
    }
}

impl Branches {
    /// What peers are told where chains go so far: of an author who has forked the entries that nothing follows. And how far
    /// each of its chains goes.
    pub fn told(&self, mut chains: BTreeMap<ChainId, Mark>) -> (Tips, BTreeMap<ChainId, u64>) {
        let (mut leaves, mut forked) = (Leaves::new(), BTreeMap::new());
        for author in self.of.keys() {
            let of_it: BTreeMap<ChainId, Mark> =
                self.chains(author).iter().filter_map(|chain| chains.remove_entry(chain)).collect();
            let follows = |chain: &ChainId, seq: u64| {
                let goes_on = |other: &ChainId| {
                    self.by_name.get(other).is_some_and(|b| b.parent == *chain && b.first == seq + 1)
                };
                of_it.keys().any(goes_on)
            };
            let ends = of_it.iter().filter(|(chain, mark)| !follows(chain, mark.seq));
            let ends: BTreeSet<Mark> = ends.map(|(_, mark)| *mark).collect();
            chains.extend(ends.last().map(|mark| (*author, *mark)));
            leaves.insert(*author, ends);
            forked.extend(of_it.iter().map(|(chain, mark)| (*chain, mark.seq)));
        }
        (Tips::forked(chains, leaves), forked)
    }
}

/// Where an entry of a forked author belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Held(ChainId),
    /// It is the next of this chain.
    On(ChainId),
    /// It begins a branch: it follows an entry of this chain, after which `beside` stands already.
    New {
        parent: ChainId,
        beside: EntryId,
    },
    /// It follows an entry that isn't here.
    Apart,
}

/// Finds the place of an entry among its author's `chains`.
pub(super) fn place(
    (header, id): (&Header, &EntryId),
    chains: &[ChainId],
    genesis: &EntryId,
    tip: impl Fn(&ChainId) -> Option<Tip>,
    held: impl Fn(&ChainId, u64) -> Option<EntryId>,
) -> Place {
    let (seq, prev) = (header.seq, header.prev);
    // The genesis is before everyone's first entry.
    let before = |chain: &ChainId, id: Option<EntryId>| match seq {
        1 => *chain == header.author && prev == *genesis,
        _ => id == Some(prev),
    };
    for chain in chains {
        let tip = tip(chain);
        if tip.map_or(0, |tip| tip.seq) + 1 == seq && before(chain, tip.map(|tip| tip.id)) {
            return Place::On(*chain);
        }
    }
    for chain in chains {
        if held(chain, seq) == Some(*id) {
            return Place::Held(*chain);
        }
        if before(chain, held(chain, seq.saturating_sub(1)))
            && let Some(beside) = held(chain, seq)
            && !chains.iter().any(|other| held(other, seq) == Some(*id))
        {
            return Place::New { parent: *chain, beside };
        }
    }
    Place::Apart
}

/// From where on the chain before an entry is to be asked for, when the one before it isn't here and another stands in its
/// place: twice as far back each time. `last`: how far the author's longest chain goes.
pub(super) fn back(seq: u64, last: u64) -> u64 {
    let below = (last + 1).saturating_sub(seq);
    if seq > last + 1 { last + 1 } else { seq.saturating_sub(below.saturating_mul(2).max(1)).max(1) }
}

/// The chain of an entry that a replay comes to, and the branch that it begins.
pub(super) fn replaying(view: &View, chains: &Chains, entry: &Entry) -> Result<(ChainId, Option<Branch>)> {
    let Header { author, seq, prev, .. } = &entry.header;
    let known = view.branches.read().chains(author);
    let tip = chains.tips.get(author);
    let next = tip.map_or(*seq <= 1, |tip| tip.seq + 1 == *seq && tip.id == *prev);
    if next && known.len() == 1 {
        return Ok((*author, None));
    }
    let genesis = view.genesis;
    let held = |chain: &ChainId, seq| view.entry(chain, seq).ok().flatten().map(|(_, id)| id);
    let tip = |chain: &ChainId| chains.tips.get(chain).copied();
    Ok(match place((&entry.header, &entry.id), &known, &genesis, tip, held) {
        Place::Held(chain) | Place::On(chain) => (chain, None),
        Place::New { parent, .. } => {
            let branch = Branch { author: *author, first: *seq, parent };
            (chain::branch_name(author, *seq, &entry.id), Some(branch))
        }
        // What `fsck` finds as well.
        Place::Apart => (*author, None),
    })
}

impl View {
    /// Where the entry of this name stands, and in which of its author's chains.
    pub fn find(&self, author: &NodeId, seq: u64, id: &EntryId) -> Result<Option<(ChainId, Position)>> {
        let is = |found: Option<(Position, EntryId)>| found.filter(|(_, held)| held == id).map(|(at, _)| at);
        if let Some(at) = is(self.entry(author, seq)?) {
            return Ok(Some((*author, at)));
        }
        let branches = self.branches.read().of(author).to_vec();
        for chain in branches {
            if let Some(at) = is(self.entry(&chain, seq)?) {
                return Ok(Some((chain, at)));
            }
        }
        Ok(None)
    }

    /// The chain of an entry that is in the log.
    pub fn chain_of(&self, entry: &Entry) -> Result<ChainId> {
        let Header { author, seq, .. } = entry.header;
        Ok(self.find(&author, seq, &entry.id)?.map_or(author, |(chain, _)| chain))
    }

    /// Whether an entry that is in the log is projected.
    pub fn counts(&self, at: &EntryRef) -> Result<bool> {
        let forked = !self.branches.read().of(&at.author).is_empty();
        let found = if forked { self.find(&at.author, at.seq, &at.id)? } else { None };
        Ok(self.members.counts(&found.map_or(at.author, |(chain, _)| chain), at))
    }

    /// The same for what an entry builds on: as chains, each up to a number. Of what isn't here, as if it had not forked.
    pub fn lineage(&self, author: &NodeId, seq: u64, id: &EntryId) -> Vec<(ChainId, u64)> {
        let branches = self.branches.read();
        if seq == 0 || branches.of(author).is_empty() {
            return vec![(*author, seq)];
        }
        drop(branches);
        let chain = self.find(author, seq, id).ok().flatten().map_or(*author, |(chain, _)| chain);
        self.branches.read().path(&chain, seq)
    }
}

impl View {
    /// What counts of forked authors who were revoked, as far as their entries are here.
    pub fn limits_by(&self, membership: &Membership) -> Result<Limits> {
        let branches = self.branches.read().clone();
        let find = |author: &NodeId, cutoff: &Cutoff| {
            Ok(self.find(author, cutoff.seq, &cutoff.id)?.map(|(chain, _)| chain))
        };
        self.members.limits_of(membership, &branches, find)
    }

    /// The chains that can't be projected whole, and up to where they can.
    pub fn cuts_by<'a>(
        &self,
        by: (&Membership, &Limits),
        tips: impl Iterator<Item = (&'a ChainId, &'a Tip)>,
    ) -> Result<BTreeMap<ChainId, u64>> {
        let branches = self.branches.read().clone();
        let named = |author: &NodeId, seq| Ok(self.entry(author, seq)?.map(|(_, id)| id));
        self.members.cuts(by, &branches, tips, named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looking_back_ends_at_the_first_entry_and_takes_few_steps() {
        for (seq, last) in [(1, 1), (2, 9), (9, 9), (10, 9), (700, 700), (5, 100_000), (100_001, 100_000)] {
            let (mut at, mut steps) = (seq, 0);
            while at > 1 {
                let from = back(at, last);
                assert!(from < at && from >= 1, "{seq} {last}: from {at} to {from}");
                (at, steps) = (from, steps + 1);
            }
            assert!(steps <= 20, "{steps} steps from {seq}");
        }
        assert_eq!(back(20, 9), 10, "what is lacking between");
    }

    #[test]
    fn a_path_goes_through_the_branches_that_a_branch_leaves() {
        let name = |n: u8| NodeId([n; 32]);
        let branch = |first, parent| Branch { author: name(1), first, parent };
        let branches = Branches::new([(name(2), branch(3, name(1))), (name(3), branch(5, name(2)))].into());
        assert_eq!(branches.path(&name(3), 9), [(name(3), 9), (name(2), 4), (name(1), 2)]);
        assert_eq!(branches.path(&name(7), 9), [(name(7), 9)]);
        assert_eq!((branches.author(&name(3)), branches.author(&name(7))), (name(1), name(7)));
        assert_eq!(branches.chains(&name(1)), [name(1), name(2), name(3)]);
        assert_eq!([1, 2, 3, 4, 5].map(|seq| branches.chain_at(&name(3), seq)), [1, 1, 2, 2, 3].map(name));
        assert_eq!((branches.shared(&name(3), &name(1)), branches.shared(&name(2), &name(3))), (2, 4));
    }
}
