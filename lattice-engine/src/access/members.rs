//! The members of a root store, as lists show them.

use std::collections::{BTreeMap, BTreeSet};

use crate::hlc::Hlc;
use crate::id::{NodeId, StoreId};

use super::cutoff::Cutoffs;
use super::invite::InviteId;
use super::name::clean_name;

/// Whether a member is one still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberState {
    Active,
    Revoked {
        /// Who revoked it first.
        by: NodeId,
        at: Hlc,
        /// What counts of what it has written; of a store that isn't listed, nothing.
        accepted: BTreeMap<StoreId, Cutoffs>,
    },
}

/// A node that was ever added, and counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub id: NodeId,
    /// Fit for a terminal ([`clean_name`]). Names are data beside the acts: [`Members::name`] sets them.
    pub name: Option<String>,
    /// The first member has itself here.
    pub added_by: NodeId,
    pub added_at: Hlc,
    /// The invite that it came by.
    pub invite: Option<InviteId>,
    pub state: MemberState,
}

impl Member {
    pub fn is_active(&self) -> bool {
        self.state == MemberState::Active
    }
}

/// What the acts of a root store amount to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Members {
    pub(super) all: BTreeMap<NodeId, Member>,
    /// Authors who are no members, and whose entries in one store count.
    pub(super) guests: BTreeMap<StoreId, BTreeSet<NodeId>>,
    /// Whom any act names as added, whether it counts or not.
    pub(super) mentioned: BTreeSet<NodeId>,
    /// What counts of guests that were revoked.
    pub(super) barred: BTreeMap<NodeId, BTreeMap<StoreId, Cutoffs>>,
    /// Acts by invite that count.
    pub(super) uses: BTreeMap<InviteId, u32>,
}

impl Members {
    /// By id; revoked ones too.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.all.values()
    }

    pub fn get(&self, id: &NodeId) -> Option<&Member> {
        self.all.get(id)
    }

    /// A member, and not revoked.
    pub fn contains(&self, id: &NodeId) -> bool {
        self.all.get(id).is_some_and(Member::is_active)
    }

    /// How many nodes were added by an invite: more than it allows, when two members admitted at the same time without
    /// seeing each other.
    pub fn uses(&self, invite: &InviteId) -> u32 {
        self.uses.get(invite).copied().unwrap_or(0)
    }

    /// Authors whose entries in one store count though they are no members.
    pub fn guests(&self, store: &StoreId) -> impl Iterator<Item = &NodeId> {
        self.guests.get(store).into_iter().flatten()
    }

    /// Sets what a member is called; a name that can't be shown is none.
    pub fn name(&mut self, id: &NodeId, name: &str) {
        if let Some(member) = self.all.get_mut(id) {
            member.name = clean_name(name);
        }
    }
}
