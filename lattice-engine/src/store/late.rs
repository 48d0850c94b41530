//! Entries that take effect later than they came: those of a group, when its last one is here. Others may have built on them
//! meanwhile, and what these superseded must not come back as a version of its own: which versions a key has is a matter of
//! the set of entries, and not of the order in which they came (invariant I1).

use std::collections::{HashMap, HashSet};

use crate::entry::{Entry, EntryRef, Op};
use crate::id::{EntryId, NodeId};
use crate::key::Key;

use super::apply::Applier;
use super::error::Result;
use super::history;

/// Entries that are kept while one is looked for: each may be of a megabyte, and name thousands of keys.
const KEPT: usize = 16;

/// Takes back what `entry`, which was just applied, has made a head although a version that is here was made from it.
pub(super) fn leave_superseded(applier: &mut Applier<'_>, entry: &Entry) -> Result<()> {
    let at = entry.entry_ref();
    let mut kept = HashMap::new();
    for op in entry.ops.iter().filter(|op| is_version(op)) {
        let Some(key) = op.key() else { continue };
        let heads = applier.heads(key);
        let later: Vec<_> = heads.iter().filter(|head| head.hlc > at.hlc).map(place).collect();
        if heads.contains(&at) && !later.is_empty() && comes_after(applier, &mut kept, key, later, &at)? {
            applier.take_back(key, at)?;
        }
    }
    Ok(())
}

/// Where an entry stands among its author's, and which it is.
type Place = (NodeId, u64, EntryId);

fn place(entry: &EntryRef) -> Place {
    (entry.author, entry.seq, entry.id)
}

fn is_version(op: &Op) -> bool {
    matches!(op, Op::Put { .. } | Op::Delete { .. })
}

/// Whether one of these versions of `key` was made from `at`, or from one that was.
fn comes_after(
    applier: &Applier<'_>,
    kept: &mut HashMap<EntryId, Option<Entry>>,
    key: &Key,
    mut versions: Vec<Place>,
    at: &EntryRef,
) -> Result<bool> {
    let mut seen = HashSet::new();
    while let Some((author, seq, id)) = versions.pop() {
        if !seen.insert(id) {
            continue;
        }
        if kept.len() >= KEPT && !kept.contains_key(&id) {
            kept.clear();
        }
        let entry = match kept.get(&id) {
            Some(entry) => entry,
            None => {
                let position = applier.find(&author, seq, &id)?;
                let read = position.map_or(Ok(None), |position| history::read(applier.view(), position))?;
                kept.entry(id).or_insert(read)
            }
        };
        // Causes are earlier than what comes of them (invariant I2).
        let Some(entry) = entry.as_ref().filter(|entry| entry.header.hlc > at.hlc) else { continue };
        let Some(op) = entry.ops.iter().find(|op| is_version(op) && op.key() == Some(key)) else { continue };
        if op.parents().contains(&at.id) {
            return Ok(true);
        }
        let cited = |id: &EntryId| history::cited(entry, id).map(|(author, seq)| (author, seq, *id));
        versions.extend(op.parents().iter().filter_map(cited));
    }
    Ok(false)
}
