//! Which acts count, and what they amount to: [`Acts`].
//!
//! The author of the root store's genesis is the first member. An act counts iff
//!
//! 1. an act that counts and came before it made its author a member, and
//! 2. no act that counts revokes its author, but for those that came after it: who is revoked can't write anything that
//!    its revoker hasn't seen, however it dates it.
//!
//! "Before" is causal: what the act's entry names, by `prev` and deps, and what those came after. Acts that revoke each
//! other's authors without having seen each other would leave this open. Then, in each circle of acts that hang on each
//! other, the one that revokes by the hand of the member that was added first counts, and what speaks against it doesn't;
//! and so on until the circle is open. "First" is by (hlc, author, entry id) of the act that added it.
//!
//! A revocation is for good: an id that was revoked is no member again, whatever adds it. Of several revocations of one
//! node those count for the cutoff that no other one came after; of these, the lowest.
//!
//! All of it depends on the set of acts alone. Work is bounded by [`MAX_ACTS`] for each author.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::EntryRef;
use crate::id::{EntryId, NodeId, StoreId};

use super::act::{Act, Does};
use super::cutoff::{Cutoff, Cutoffs};
use super::members::{Member, MemberState, Members};

/// Acts of one author that are looked at, the first ones: no author needs more, and the fold is quadratic.
pub const MAX_ACTS: usize = 1024;

/// A set of acts of one root store.
#[derive(Debug, Clone)]
pub struct Acts {
    root: StoreId,
    founder: EntryRef,
    /// In the total order, which has causes before effects.
    all: BTreeMap<EntryRef, Act>,
}

impl Acts {
    /// Of the root store whose genesis stands at `founder`: its author is the first member.
    pub fn new(founder: EntryRef) -> Self {
        Self { root: StoreId::of_genesis(&founder.id), founder, all: BTreeMap::new() }
    }

    /// False: it was there.
    pub fn insert(&mut self, act: Act) -> bool {
        self.all.insert(act.at, act).is_none()
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// What the acts amount to, where nobody has forked.
    pub fn fold(&self) -> Members {
        self.fold_by(&|author, seq, _| vec![(*author, seq)])
    }

    /// What the acts amount to. `lineage` tells the chain of an entry and the chains that this one leaves, each up to a number:
    /// who has seen one branch of a fork hasn't seen the others.
    pub fn fold_by(&self, lineage: &Lineage<'_>) -> Members {
        let acts = self.considered();
        let pasts = pasts(&acts, lineage);
        let mut court = Court::new(&acts, &pasts, self.founder);
        court.decide();
        let counted: Vec<usize> = (0..acts.len()).filter(|i| court.status[*i] == Status::Counted).collect();
        self.members(&acts, &pasts, &counted)
    }

    /// The first [`MAX_ACTS`] of each author, by place in its chain.
    fn considered(&self) -> Vec<&Act> {
        let mut of_author: BTreeMap<NodeId, Vec<&Act>> = BTreeMap::new();
        for act in self.all.values() {
            of_author.entry(act.at.author).or_default().push(act);
        }
        let mut acts: Vec<&Act> = Vec::with_capacity(self.all.len());
        for mut own in of_author.into_values() {
            own.sort_by_key(|act| (act.at.seq, act.at));
            acts.extend(own.into_iter().take(MAX_ACTS));
        }
        acts.sort_by_key(|act| act.at);
        acts
    }

    fn members(&self, acts: &[&Act], pasts: &[Past], counted: &[usize]) -> Members {
        let mut members = Members::default();
        let founder = self.founder.author;
        members.mentioned.insert(founder);
        members.all.insert(founder, self.first_member());
        for act in acts {
            members.mentioned.extend(act.does.iter().filter_map(|does| match does {
                Does::Add { node, .. } => Some(*node),
                _ => None,
            }));
        }
        let mut removals: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for i in counted {
            let at = acts[*i].at;
            for does in &acts[*i].does {
                match does {
                    Does::Add { node, invite } => {
                        if let Some(invite) = invite {
                            *members.uses.entry(*invite).or_default() += 1;
                        }
                        members.all.entry(*node).or_insert_with(|| Member {
                            id: *node,
                            name: None,
                            added_by: at.author,
                            added_at: at.hlc,
                            invite: *invite,
                            state: MemberState::Active,
                        });
                    }
                    Does::Revoke { node, .. } => removals.entry(*node).or_default().push(*i),
                    Does::Guest { store, node } if *store != self.root => {
                        members.guests.entry(*store).or_default().insert(*node);
                    }
                    Does::Guest { .. } => {}
                }
            }
        }
        for (node, removals) in removals {
            let accepted = accepted(&node, &removals, acts, pasts);
            // The first in the total order: acts are in it.
            let first = acts[removals[0]].at;
            match members.all.get_mut(&node) {
                Some(member) => {
                    member.state = MemberState::Revoked { by: first.author, at: first.hlc, accepted };
                }
                None => drop(members.barred.insert(node, accepted)),
            }
        }
        members
    }

    fn first_member(&self) -> Member {
        Member {
            id: self.founder.author,
            name: None,
            added_by: self.founder.author,
            added_at: self.founder.hlc,
            invite: None,
            state: MemberState::Active,
        }
    }
}

/// What counts of a node's entries: of the revocations that no other came after, the lowest for each store.
fn accepted(node: &NodeId, removals: &[usize], acts: &[&Act], pasts: &[Past]) -> BTreeMap<StoreId, Cutoffs> {
    let superseded = |i: usize| removals.iter().any(|later| pasts[*later].holds(acts[i], &pasts[i]));
    let lists: Vec<&BTreeMap<StoreId, Cutoffs>> = removals
        .iter()
        .filter(|i| !superseded(**i))
        .flat_map(|i| &acts[*i].does)
        .filter_map(|does| match does {
            Does::Revoke { node: of, tips } if of == node => Some(tips),
            _ => None,
        })
        .collect();
    let stores: BTreeSet<StoreId> = lists.iter().flat_map(|tips| tips.keys().copied()).collect();
    let lowest = |store: &StoreId| {
        lists.iter().map(|tips| tips.get(store).cloned().unwrap_or(Cutoff::NOTHING.into())).min()
    };
    stores.into_iter().filter_map(|store| Some((store, lowest(&store)?))).collect()
}

/// See [`Acts::fold_by`].
pub type Lineage<'a> = dyn Fn(&NodeId, u64, &EntryId) -> Vec<(NodeId, u64)> + 'a;

/// The chain of an act, and the chains that it came after, each up to a seq.
#[derive(Debug)]
struct Past {
    chain: NodeId,
    after: BTreeMap<NodeId, u64>,
}

impl Past {
    /// Whether it came after an act, of which this is `other`.
    fn holds(&self, act: &Act, other: &Past) -> bool {
        self.after.get(&other.chain).is_some_and(|upto| act.at.seq <= *upto)
    }
}

/// Closed: what an act came after, that one's past too.
fn pasts(acts: &[&Act], lineage: &Lineage<'_>) -> Vec<Past> {
    let mut pasts: Vec<Past> = Vec::with_capacity(acts.len());
    // Of each chain, its acts so far by seq.
    let mut of_chain: BTreeMap<NodeId, BTreeMap<u64, usize>> = BTreeMap::new();
    for (i, act) in acts.iter().enumerate() {
        let chain = lineage(&act.at.author, act.at.seq, &act.at.id).first().map_or(act.at.author, |at| at.0);
        let mut after: BTreeMap<NodeId, u64> = BTreeMap::new();
        for (chain, upto) in act.after.iter().flat_map(|(author, seq, id)| lineage(author, *seq, id)) {
            let have = after.entry(chain).or_default();
            *have = (*have).max(upto);
        }
        for (chain, upto) in after.clone() {
            // The last one seen has the earlier ones' pasts within its own.
            let last = of_chain.get(&chain).and_then(|own| own.range(..=upto).next_back());
            for (chain, upto) in last.iter().flat_map(|(_, seen)| &pasts[**seen].after) {
                let have = after.entry(*chain).or_default();
                *have = (*have).max(*upto);
            }
        }
        pasts.push(Past { chain, after });
        of_chain.entry(chain).or_default().insert(act.at.seq, i);
    }
    pasts
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Open,
    Counted,
    Void,
}

/// Decides acts, each once.
struct Court<'a> {
    acts: &'a [&'a Act],
    founder: EntryRef,
    status: Vec<Status>,
    /// Acts that revoke its author and did not come after it.
    against: Vec<Vec<usize>>,
    /// Acts that make its author a member and came before it.
    support: Vec<Vec<usize>>,
    revokes: Vec<bool>,
}

impl<'a> Court<'a> {
    fn new(acts: &'a [&'a Act], pasts: &[Past], founder: EntryRef) -> Self {
        let mut adds: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        let mut removals: BTreeMap<NodeId, Vec<usize>> = BTreeMap::new();
        for (i, act) in acts.iter().enumerate() {
            for does in &act.does {
                match does {
                    Does::Add { node, .. } => adds.entry(*node).or_default().push(i),
                    Does::Revoke { node, .. } => removals.entry(*node).or_default().push(i),
                    Does::Guest { .. } => {}
                }
            }
        }
        let of = |map: &BTreeMap<NodeId, Vec<usize>>, act: &Act| map.get(&act.at.author).cloned();
        let against = |(i, act): (usize, &&Act)| {
            let mut all = of(&removals, act).unwrap_or_default();
            all.retain(|r| !pasts[*r].holds(act, &pasts[i]));
            all
        };
        let support = |(i, act): (usize, &&Act)| {
            let mut all = of(&adds, act).unwrap_or_default();
            all.retain(|a| pasts[i].holds(acts[*a], &pasts[*a]));
            all
        };
        Self {
            acts,
            founder,
            status: vec![Status::Open; acts.len()],
            against: acts.iter().enumerate().map(against).collect(),
            support: acts.iter().enumerate().map(support).collect(),
            revokes: acts.iter().map(|a| a.does.iter().any(|d| matches!(d, Does::Revoke { .. }))).collect(),
        }
    }

    fn decide(&mut self) {
        loop {
            while self.settle() {}
            match self.circle() {
                Some(circle) => self.break_open(&circle),
                None => return,
            }
        }
    }

    /// One pass over what follows from what is decided. True: something did.
    fn settle(&mut self) -> bool {
        let mut changed = false;
        for i in 0..self.acts.len() {
            if self.status[i] == Status::Open {
                self.status[i] = self.verdict(i);
                changed |= self.status[i] != Status::Open;
            }
        }
        changed
    }

    fn verdict(&self, i: usize) -> Status {
        let is = |status| move |j: &usize| self.status[*j] == status;
        let supported = self.is_founder(i) || self.support[i].iter().any(is(Status::Counted));
        let hopeless = !supported && !self.support[i].iter().any(is(Status::Open));
        if hopeless || self.against[i].iter().any(is(Status::Counted)) {
            Status::Void
        } else if supported && self.against[i].iter().all(is(Status::Void)) {
            Status::Counted
        } else {
            Status::Open
        }
    }

    fn is_founder(&self, i: usize) -> bool {
        self.acts[i].at.author == self.founder.author
    }

    /// What an open act hangs on.
    fn hangs_on(&self, i: usize) -> impl Iterator<Item = usize> {
        let supported =
            self.is_founder(i) || self.support[i].iter().any(|j| self.status[*j] == Status::Counted);
        let support = if supported { &[][..] } else { &self.support[i][..] };
        self.against[i].iter().chain(support).copied().filter(|j| self.status[*j] == Status::Open)
    }

    /// Open acts that all hang on each other and on no other open one; `None`: nothing is open.
    fn circle(&self) -> Option<BTreeSet<usize>> {
        let mut at = self.status.iter().position(|s| *s == Status::Open)?;
        let mut circle = self.reach(at);
        // Going on to one from which less is reached ends where all that is reached reaches back.
        while let Some((next, smaller)) = circle.iter().find_map(|j| {
            let reached = self.reach(*j);
            (*j != at && reached.len() < circle.len()).then_some((*j, reached))
        }) {
            (at, circle) = (next, smaller);
        }
        Some(circle)
    }

    /// All that it hangs on, through others too. It is in a circle, or hangs on one: `settle` has done the rest.
    fn reach(&self, from: usize) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut stack = vec![from];
        while let Some(i) = stack.pop() {
            stack.extend(self.hangs_on(i).filter(|j| reached.insert(*j)));
        }
        reached
    }

    /// The revocation by the member that was added first counts.
    fn break_open(&mut self, circle: &BTreeSet<usize>) {
        let senior =
            circle.iter().filter(|i| self.revokes[**i]).min_by_key(|i| (self.added(**i), self.acts[**i].at));
        match senior {
            Some(i) => self.accept(*i),
            // INVARIANT: a circle can't be of support alone, which goes back in time; void, should that ever not hold.
            None => circle.iter().for_each(|i| self.status[*i] = Status::Void),
        }
    }

    /// It counts, with what makes its author a member; what speaks against either doesn't.
    fn accept(&mut self, i: usize) {
        self.status[i] = Status::Counted;
        for j in self.against[i].clone() {
            self.status[j] = Status::Void;
        }
        let supported =
            self.is_founder(i) || self.support[i].iter().any(|j| self.status[*j] == Status::Counted);
        if let Some(add) =
            self.support[i].iter().copied().find(|j| !supported && self.status[*j] == Status::Open)
        {
            self.accept(add);
        }
    }

    /// When the author of an act was added, as far as that act has seen.
    fn added(&self, i: usize) -> Option<EntryRef> {
        if self.is_founder(i) {
            return None;
        }
        // INVARIANT: an open act has an open or a counted support; `None` would only make it senior.
        self.support[i].iter().filter(|j| self.status[**j] != Status::Void).map(|j| self.acts[*j].at).min()
    }
}
