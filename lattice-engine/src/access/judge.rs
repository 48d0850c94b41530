//! What an entry counts for: [`Membership`], and its verdicts.
//!
//! A verdict is a function of the entry and of the acts in the root store, never of when either arrived. So every replica
//! with the same root store projects the same entries, and a replica that learns of an act later looks again.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{EntryId, NodeId, StoreId};

use super::cutoff::{Cutoff, Cutoffs};
use super::members::{Member, MemberState, Members};

/// What an entry counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Valid,
    /// Its author is no member as far as this root store knows: it waits for the root store to catch up.
    UnknownAuthor,
    /// Its author was revoked, and it isn't among what counts of what that has written.
    Beyond,
}

/// How much of an author's chain in one store counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Limit {
    All,
    UpTo(Cutoffs),
    /// An author who is no member.
    Nothing,
}

impl Limit {
    /// Whether entry `seq` with this id counts. The entry at the cutoff must be the one that it names; those before it
    /// are its ancestors.
    pub fn allows(&self, seq: u64, id: &EntryId) -> bool {
        match self {
            Self::All => true,
            Self::UpTo(cutoffs) => cutoffs.allows(seq, id),
            Self::Nothing => false,
        }
    }
}

/// What entries and connections are judged against: cheap to ask, never changed, replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// `None`: a store of no root store, where every author counts.
    of: Option<Root>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Root {
    store: StoreId,
    active: BTreeSet<NodeId>,
    revoked: BTreeMap<NodeId, BTreeMap<StoreId, Cutoffs>>,
    guests: BTreeMap<StoreId, BTreeSet<NodeId>>,
    mentioned: BTreeSet<NodeId>,
}

/// BLAKE3 `derive_key` context of [`Membership::digest`].
pub const MEMBERS_DOMAIN: &str = "lattice 2026 v1 members";

impl Membership {
    /// For a store that belongs to no root store: every author's entries count, and nobody may connect.
    pub fn everyone() -> Self {
        Self { of: None }
    }

    /// Of root store `root`, whose acts amount to `members`.
    pub fn of(root: StoreId, members: &Members) -> Self {
        let active = members.iter().filter(|m| m.is_active()).map(|m| m.id).collect();
        let accepted = |m: &Member| match &m.state {
            MemberState::Active => None,
            MemberState::Revoked { accepted, .. } => Some((m.id, accepted.clone())),
        };
        let mut revoked: BTreeMap<_, _> = members.iter().filter_map(accepted).collect();
        revoked.extend(members.barred.iter().map(|(id, tips)| (*id, tips.clone())));
        let (guests, mentioned) = (members.guests.clone(), members.mentioned.clone());
        Self { of: Some(Root { store: root, active, revoked, guests, mentioned }) }
    }

    /// What `author`'s entry `seq`, named `id`, counts for in `store`.
    pub fn judge(&self, store: &StoreId, author: &NodeId, seq: u64, id: &EntryId) -> Verdict {
        // A genesis is the store itself: whether there is one is for the root store to say.
        if seq == 0 {
            return Verdict::Valid;
        }
        match self.limit(store, author) {
            Limit::Nothing if self.mentions(author) => Verdict::Beyond,
            Limit::Nothing => Verdict::UnknownAuthor,
            Limit::UpTo(cutoffs) if !cutoffs.allows(seq, id) => Verdict::Beyond,
            Limit::All | Limit::UpTo(_) => Verdict::Valid,
        }
    }

    /// How much of `author`'s chain in `store` counts: what is projected.
    pub fn limit(&self, store: &StoreId, author: &NodeId) -> Limit {
        let Some(root) = &self.of else { return Limit::All };
        if let Some(accepted) = root.revoked.get(author) {
            return Limit::UpTo(accepted.get(store).cloned().unwrap_or(Cutoff::NOTHING.into()));
        }
        let guest = || root.guests.get(store).is_some_and(|guests| guests.contains(author));
        if root.active.contains(author) || guest() { Limit::All } else { Limit::Nothing }
    }

    /// How much of `author`'s chain in `store` is told to peers and taken from them. The same as [`Membership::limit`], but
    /// for the root store itself: there an act that doesn't count decides together with the others which ones do (two
    /// who revoke each other), so all members must hold the same acts, and everything by anyone who was ever said to be
    /// a member travels. It still has no effect.
    pub fn shared(&self, store: &StoreId, author: &NodeId) -> Limit {
        match &self.of {
            Some(root) if root.store == *store && root.mentioned.contains(author) => Limit::All,
            _ => self.limit(store, author),
        }
    }

    /// Whether any act names a node as a member, be it one that doesn't count.
    fn mentions(&self, node: &NodeId) -> bool {
        self.of.as_ref().is_some_and(|root| root.mentioned.contains(node))
    }

    /// Whether a node may connect: a member that is not revoked.
    pub fn contains(&self, node: &NodeId) -> bool {
        self.of.as_ref().is_some_and(|root| root.active.contains(node))
    }

    /// Whether a node was a member and is none any more.
    pub fn has_revoked(&self, node: &NodeId) -> bool {
        self.of.as_ref().is_some_and(|root| root.revoked.contains_key(node))
    }

    /// Members that are not revoked, by id.
    pub fn active(&self) -> impl Iterator<Item = &NodeId> {
        self.of.iter().flat_map(|root| &root.active)
    }

    /// The same for all who agree on who may connect.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(MEMBERS_DOMAIN);
        for node in self.active() {
            hasher.update(node.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}
