//! Groups of entries whose author forks in the midst of one: branches share its beginning. It has its effect once, with the
//! first branch that ends the group, whether or not another has abandoned it.

use crate::chain::ChainId;
use crate::entry::{Entry, Header};
use crate::log::Position;

use super::apply::Applier;
use super::branches::Branches;
use super::error::Result;

type Entries = Vec<(Entry, Position)>;

/// What is to be applied when an entry of `chain` ends its group. `group`: the group's entries before it that were met on this
/// chain since it left another.
pub(super) fn due(applier: &Applier<'_>, chain: ChainId, header: &Header, group: Entries) -> Result<Entries> {
    let branches = applier.view().branches.read().clone();
    if header.group_first == 0 || branches.of(&header.author).is_empty() {
        return Ok(group);
    }
    let mut ended = Vec::new();
    for other in branches.chains(&header.author).into_iter().filter(|other| *other != chain) {
        if has_ended(applier, &branches, &other, header.group_first)? {
            ended.push(branches.path(&other, u64::MAX));
        }
    }
    let applied =
        |at: &ChainId, seq: u64| ended.iter().flatten().any(|(other, upto)| other == at && seq <= *upto);
    let mut due = Vec::new();
    for seq in header.group_first..header.seq {
        let at = chain_at(&branches, &chain, seq);
        if !applied(&at, seq)
            && let Some(found) = applier.logged(&at, seq)?
        {
            due.push(found);
        }
    }
    Ok(due)
}

/// Which chain has the entry that is `chain`'s `seq`.
fn chain_at(branches: &Branches, chain: &ChainId, seq: u64) -> ChainId {
    let mut at = *chain;
    while let Some(branch) = branches.get(&at).filter(|branch| seq < branch.first) {
        at = branch.parent;
    }
    at
}

/// Whether the group that begins at `first` is whole on a chain, and counts.
fn has_ended(applier: &Applier<'_>, branches: &Branches, chain: &ChainId, first: u64) -> Result<bool> {
    for seq in first.. {
        let at = chain_at(branches, chain, seq);
        let Some((entry, _)) = applier.logged(&at, seq)? else { return Ok(false) };
        let of_it = entry.header.group_first == first;
        if !of_it || !applier.members().counts(&at, &entry.entry_ref()) {
            return Ok(false);
        }
        if !entry.header.group_more {
            return Ok(true);
        }
    }
    Ok(false)
}
