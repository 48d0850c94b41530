//! The versions of a key, found by following parents from its heads through the log.

use std::collections::{BinaryHeap, HashSet};

use crate::chain::ChainId;
use crate::entry::{Decoded, Entry, Header, Node, Op};
use crate::hlc::Hlc;
use crate::id::{EntryId, NodeId};
use crate::key::Key;
use crate::log::{Position, Record as LogRecord};
use crate::merge::{EntryRef, Record};

use super::error::{Result, StoreError};
use super::view::View;

/// One version of a key. Its bytes are read with `Handle::read`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    pub entry: EntryRef,
    /// `None`: a deletion.
    pub node: Option<Node>,
    /// The versions that its author saw.
    pub parents: Vec<EntryId>,
    /// No other version supersedes it.
    pub head: bool,
    /// What the key shows.
    pub winner: bool,
}

/// Newest first, at most `limit`. Follows the key, not renames.
pub(super) fn versions(view: &View, key: &Key, limit: usize) -> Result<Vec<Version>> {
    let Some(record) = view.get(key)? else { return Ok(Vec::new()) };
    let heads: Vec<EntryRef> = record.heads.iter().map(|h| h.entry).collect();
    let winner = record.winner().map(|h| h.entry.id);
    let mut versions = Vec::new();
    follow(view, key, &heads, limit, |entry, op| {
        versions.push(Version {
            entry: entry.entry_ref(),
            node: match op {
                Op::Put { node, .. } => Some(node.clone()),
                _ => None,
            },
            parents: op.parents().to_vec(),
            head: heads.iter().any(|h| h.id == entry.id),
            winner: winner == Some(entry.id),
        });
        true
    })?;
    Ok(versions)
}

/// Where superseded heads of a key stand, as far as they are found within `depth` versions.
pub(super) fn locate(
    view: &View,
    key: &Key,
    record: &Record,
    wanted: &[EntryId],
    depth: usize,
) -> Result<Vec<EntryRef>> {
    let heads: Vec<EntryRef> = record.heads.iter().map(|h| h.entry).collect();
    let mut found = Vec::new();
    follow(view, key, &heads, depth, |entry, _| {
        if wanted.contains(&entry.id) {
            found.push(entry.entry_ref());
        }
        found.len() < wanted.len()
    })?;
    Ok(found)
}

/// Visits the versions of `key` from `heads` back, newest first, until `visit` says stop or `limit` is reached.
fn follow(
    view: &View,
    key: &Key,
    heads: &[EntryRef],
    limit: usize,
    mut visit: impl FnMut(&Entry, &Op) -> bool,
) -> Result<()> {
    let mut queue: BinaryHeap<EntryRef> = heads.iter().copied().collect();
    let mut seen = HashSet::new();
    while let Some(at) = queue.pop() {
        if !seen.insert(at.id) {
            continue;
        }
        let Some((chain, position)) = view.find(&at.author, at.seq, &at.id)? else { continue };
        let Some(entry) = read(view, position)? else { continue };
        let ours = |op: &&Op| matches!(op, Op::Put { .. } | Op::Delete { .. }) && op.key() == Some(key);
        let Some(op) = entry.ops.iter().find(ours) else { continue };
        // What a version that counts was made from, and doesn't count itself, is passed by.
        let counts = view.members.counts(&chain, &at);
        if (counts && !visit(&entry, op)) || seen.len() >= limit {
            break;
        }
        queue.extend(parents(view, &entry, op.parents().iter())?);
    }
    Ok(())
}

/// Where the cited entries stand. Those that this node doesn't hold are left out.
fn parents<'a>(view: &View, entry: &Entry, ids: impl Iterator<Item = &'a EntryId>) -> Result<Vec<EntryRef>> {
    let mut found = Vec::new();
    for id in ids {
        let Some((author, seq)) = cited(entry, id) else { continue };
        let at = EntryRef { hlc: Default::default(), author, id: *id, seq };
        if let Some(parent) = load(view, &at)? {
            found.push(parent.entry_ref());
        }
    }
    Ok(found)
}

/// Whose entry `id` is, and its number, as the entry that cites it says.
pub(super) fn cited(entry: &Entry, id: &EntryId) -> Option<(NodeId, u64)> {
    let header = &entry.header;
    if *id == header.prev {
        return Some((header.author, header.seq.saturating_sub(1)));
    }
    header.deps.iter().find(|dep| dep.id == *id).map(|dep| (dep.author, dep.seq))
}

/// Reads an entry back from the log.
pub(super) fn load(view: &View, at: &EntryRef) -> Result<Option<Entry>> {
    let Some((_, position)) = view.find(&at.author, at.seq, &at.id)? else { return Ok(None) };
    read(view, position)
}

/// The entry of a chain that is held under a number.
pub(super) fn held(view: &View, chain: &ChainId, seq: u64) -> Result<Option<Entry>> {
    let Some((position, _)) = view.entry(chain, seq)? else { return Ok(None) };
    read(view, position)
}

/// The entry that stands at `position`, if one does.
pub(super) fn read(view: &View, position: Position) -> Result<Option<Entry>> {
    match view.log.read(position).map_err(StoreError::Log)? {
        LogRecord::Entry { header, payload, signature } => match Entry::decode(header, payload, signature)? {
            Decoded::Known(entry) | Decoded::Unknown { entry, .. } => Ok(Some(entry)),
        },
        _ => Ok(None),
    }
}

/// The header of the entry `id` that stands at `position`, and how long it is. What the entry did is not read: thousands may
/// build on one of a megabyte.
pub(super) fn header(view: &View, position: Position, id: &EntryId) -> Result<Option<(Header, usize)>> {
    let bytes = view.log.read_header(position).map_err(StoreError::Log)?;
    let (found, header) = Header::decode(&bytes)?;
    Ok((found == *id).then_some((header, bytes.len())))
}

/// The time of the entry `id` that stands at `position`.
pub(super) fn time_of(view: &View, position: Position, id: &EntryId) -> Result<Option<Hlc>> {
    Ok(header(view, position, id)?.map(|(header, _)| header.hlc))
}
