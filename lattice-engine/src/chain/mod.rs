//! Whether an entry continues its author's chain. Pure: what is held is asked of the caller.
//!
//! Refuses entries of another store, entries not linked to the one before, and times that do not come after what they
//! cite. Keeps nothing: an entry that came too early is the caller's to hold or to ask for again.

use crate::entry::{Entry, Kind};
use crate::hlc::Hlc;
use crate::id::{EntryId, NodeId, StoreId};

/// The last entry of an author's chain. The genesis is the tip of every author who has written nothing yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tip {
    pub seq: u64,
    pub id: EntryId,
    pub hlc: Hlc,
}

impl Tip {
    /// The tip once `entry` is appended.
    pub fn of(entry: &Entry) -> Self {
        Self { seq: entry.header.seq, id: entry.id, hlc: entry.header.hlc }
    }
}

/// A chain as a store keeps it: named by its author, or by [`branch_name`] where its author has forked and this isn't the
/// branch that came first.
pub type ChainId = NodeId;

/// BLAKE3 `derive_key` context of the names of branches.
pub const BRANCH_DOMAIN: &str = "lattice 2026 v1 branch";

/// What a store calls the branch of `author` that begins with its entry `first`, named `id`. Never sent: which branch has its
/// author's name is a matter of which came first.
pub fn branch_name(author: &NodeId, first: u64, id: &EntryId) -> ChainId {
    let mut hasher = blake3::Hasher::new_derive_key(BRANCH_DOMAIN);
    hasher.update(author.as_bytes()).update(&first.to_le_bytes()).update(id.as_bytes());
    NodeId(*hasher.finalize().as_bytes())
}

/// What an entry is to the chain that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The next one.
    Append,
    /// Held already.
    Duplicate,
    /// Entries between are missing: `have` is the last held, `need` the last missing. Ask for `have + 1 ..= need`.
    Gap { have: u64, need: u64 },
    /// The author wrote two different entries `seq`; `existing` is the one that is held. The other is the entry itself,
    /// or the one that it names as its `prev`. Keep both, publish both headers.
    Fork { existing: EntryId, seq: u64 },
    /// It belongs to no chain.
    Invalid(Invalid),
}

/// Why an entry is in no chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    #[error("it was written for store {other}, not {store}")]
    OtherStore { other: StoreId, store: StoreId },
    #[error("it is the first of its author and names {prev} before it, not the store's genesis {genesis}")]
    NotFromGenesis { prev: EntryId, genesis: EntryId },
    #[error("its time {hlc} is not after {before}, the time of the entry before it")]
    NotAfterPrev { hlc: Hlc, before: Hlc },
    #[error("its time {hlc} is not after {before}, the time of entry {dep} that it cites")]
    NotAfterDep { hlc: Hlc, before: Hlc, dep: EntryId },
}

/// Places `entry` in its author's chain. `genesis` is the store's, `tip` the author's last entry (`None`: none yet), and
/// `held` gives the author's entry of a seq up to the tip's. The signature is not checked here.
pub fn check(
    tip: Option<&Tip>,
    genesis: &Tip,
    held: impl Fn(u64) -> Option<EntryId>,
    entry: &Entry,
) -> Outcome {
    let header = &entry.header;
    if entry.id == genesis.id {
        return Outcome::Duplicate;
    }
    let store = StoreId::of_genesis(&genesis.id);
    if entry.store() != store || header.kind == Kind::Genesis {
        return Outcome::Invalid(Invalid::OtherStore { other: entry.store(), store });
    }
    if header.seq == 1 && header.prev != genesis.id {
        return Outcome::Invalid(Invalid::NotFromGenesis { prev: header.prev, genesis: genesis.id });
    }
    let tip = tip.unwrap_or(genesis);
    if header.seq > tip.seq + 1 {
        return Outcome::Gap { have: tip.seq, need: header.seq - 1 };
    }
    if header.seq <= tip.seq {
        return match held(header.seq) {
            Some(existing) if existing != entry.id => Outcome::Fork { existing, seq: header.seq },
            // Up to the tip everything is held, so what can't be named any more has been pruned.
            _ => Outcome::Duplicate,
        };
    }
    if header.prev != tip.id {
        return Outcome::Fork { existing: tip.id, seq: tip.seq };
    }
    if header.hlc <= tip.hlc {
        return Outcome::Invalid(Invalid::NotAfterPrev { hlc: header.hlc, before: tip.hlc });
    }
    Outcome::Append
}

/// Checks that `entry` comes after every dep in time, and returns the deps that `time_of(id, author, seq)` doesn't know:
/// it can't be applied before those are here.
pub fn check_deps(
    entry: &Entry,
    time_of: impl Fn(&EntryId, &NodeId, u64) -> Option<Hlc>,
) -> Result<Vec<EntryId>, Invalid> {
    let hlc = entry.header.hlc;
    let mut missing = Vec::new();
    for dep in &entry.header.deps {
        match time_of(&dep.id, &dep.author, dep.seq) {
            None => missing.push(dep.id),
            Some(before) if before >= hlc => {
                return Err(Invalid::NotAfterDep { hlc, before, dep: dep.id });
            }
            Some(_) => {}
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests;
