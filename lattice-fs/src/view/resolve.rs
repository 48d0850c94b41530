//! Settling a conflict, for every face: the command line, HTTP, `.lattice` and the writable xattr all call these.
//!
//! To resolve is to write: a new version that cites the heads it was chosen from. So two people who settle the same
//! conflict in opposite ways get a conflict again, and never nothing: that is why discarding a version puts the one that
//! is kept once more, and isn't a deletion that names the other. A head that arrives in between isn't cited and stays.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lattice_engine::entry::{Attrs, Content, MAX_INLINE, Node, Value};
use lattice_engine::id::EntryId;
use lattice_engine::key::Key;
use lattice_engine::merge::{EntryRef, Head, HeadNode, Record};
use lattice_engine::store::{Change, Cites, Expect, Handle, StoreError, Version};

use super::effective::{
    Defaults, differing, file_id, implicit_file_id, is_dir, ranked_heads, shown, shown_head,
};

/// What names the directory that stands at a key because of what is below it: no entry made it, so it has no id.
pub const DIRECTORY: &str = "dir";
/// Hex digits of an entry id that name a version at the least.
pub const MIN_PREFIX: usize = 4;
/// Versions that the search for a common ancestor looks at.
const BASE_DEPTH: usize = 10_000;

/// Why a conflict could not be settled.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    #[error("{0}: no such key")]
    NotFound(Key),
    #[error("{0:?} is not an entry id: give at least {MIN_PREFIX} of its hex digits")]
    BadId(String),
    #[error("{key} has no version {id}: it has {have}")]
    NoSuchVersion { key: Key, id: String, have: String },
    #[error("{id} names more than one version of {key}: {have}. Give more digits")]
    Ambiguous { key: Key, id: String, have: String },
    /// A file can't take the place of a directory that isn't empty: that would hide what is in it.
    #[error(
        "{0} is a directory, because something stands below it, and a file can't take its place. Keep the directory by \
         picking `dir` instead of an id. To keep the file, first move or remove what is below, or read the version (`lattice \
         get --version ID`, `.lattice/conflicts`) and put it under another name"
    )]
    HasChildren(Key),
    /// Discarding the only version would delete the key.
    #[error("{0} has one version only, so there is nothing to discard: remove the file to delete it")]
    OnlyVersion(Key),
    /// What is to be discarded is a deletion.
    #[error("version {id} of {key} is a deletion that an edit outlived: there is nothing to discard")]
    Deletion { key: Key, id: EntryId },
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub type Result<T> = std::result::Result<T, ResolveError>;

/// Makes the head that `pick` names (an entry id or a unique prefix) the only version: its content, file id and
/// attributes. Picking a tombstone deletes the key. Where nothing else is there, nothing is written. [`DIRECTORY`] picks
/// the directory that is shown.
///
/// # Errors
/// A `pick` that names no head or several; a file over a directory that has children; what the store refuses.
pub fn resolve(handle: &Handle, key: &Key, pick: &str) -> Result<EntryRef> {
    let record = record(handle, key)?;
    let cites = Cites::Heads(record.head_ids());
    if pick == DIRECTORY && is_dir(key, &record) {
        let head = shown_head(&record);
        if let (1, Some(head)) = (record.heads.len(), head) {
            return Ok(head.entry);
        }
        let node = HeadNode { file_id: file_id(key, &record, handle.id()), value: Value::Dir };
        return commit(handle, key, &record, Some(&node), head.map(|h| h.entry), cites);
    }
    let head = find_head(key, &record, pick)?;
    fits(key, &record, head.node.as_ref().map(|n| &n.value))?;
    if record.heads.len() == 1 {
        return Ok(head.entry);
    }
    commit(handle, key, &record, head.node.as_ref(), Some(head.entry), cites)
}

/// Makes `content` the only version, in the file that is shown now (its id and attributes).
///
/// # Errors
/// No such key; a directory that has children; what the store refuses.
pub fn resolve_with(handle: &Handle, key: &Key, content: Content) -> Result<EntryRef> {
    let record = record(handle, key)?;
    fits(key, &record, Some(&Value::File(Content::EMPTY)))?;
    let cites = Cites::Heads(record.head_ids());
    let node = HeadNode { file_id: file_id(key, &record, handle.id()), value: Value::File(content) };
    commit(handle, key, &record, Some(&node), None, cites)
}

/// Drops the live head that `id` names (an entry id or a unique prefix) from the conflict: puts what is shown, or would
/// be shown without it, once more, citing just those two. Other heads stay. A file discarded where its key is a
/// directory with children leaves the directory.
///
/// # Errors
/// An `id` that names no live head or several; the only version.
pub fn discard(handle: &Handle, key: &Key, id: &str) -> Result<EntryRef> {
    let record = record(handle, key)?;
    let head = find_head(key, &record, id)?;
    if head.node.is_none() {
        return Err(ResolveError::Deletion { key: key.clone(), id: head.entry.id });
    }
    let mut rest = Record::clone(&record);
    rest.heads.retain(|h| h.entry != head.entry);
    match shown_head(&rest) {
        Some(kept) => {
            let cites = Cites::Heads(vec![head.entry.id, kept.entry.id]);
            commit(handle, key, &record, kept.node.as_ref(), Some(kept.entry), cites)
        }
        None if is_dir(key, &rest) => {
            let node = HeadNode { file_id: implicit_file_id(handle.id(), key), value: Value::Dir };
            commit(handle, key, &record, Some(&node), None, Cites::Heads(vec![head.entry.id]))
        }
        None => Err(ResolveError::OnlyVersion(key.clone())),
    }
}

/// The version that all live heads of `key` come from: the newest common ancestor, where history has one that holds
/// something. For `.lattice/conflicts/<key>/base` and three-way merges.
pub fn base(handle: &Handle, key: &Key) -> Result<Option<Version>> {
    let record = record(handle, key)?;
    // A file whose key became a directory elsewhere may stand alone: the deletion that made room is the other side.
    let live = record.heads.iter().filter(|h| h.node.is_some()).count();
    let sides: Vec<EntryId> =
        record.heads.iter().filter(|h| live < 2 || h.node.is_some()).map(|h| h.entry.id).collect();
    if sides.len() < 2 {
        return Ok(None);
    }
    let versions: BTreeMap<EntryId, Version> =
        handle.history(key, BASE_DEPTH)?.into_iter().map(|v| (v.entry.id, v)).collect();
    let common = sides
        .iter()
        .map(|id| ancestors(&versions, *id))
        .reduce(|a, b| a.intersection(&b).copied().collect())
        .unwrap_or_default();
    let nearest = common.into_iter().filter_map(|id| versions.get(&id)).max_by_key(|v| v.entry);
    Ok(nearest.filter(|v| v.node.is_some()).cloned())
}

/// The keys in conflict at `key` and below it.
pub fn conflicts_at(handle: &Handle, key: &Key) -> Result<Vec<(Key, Arc<Record>)>> {
    let mut found = handle.conflicts(key)?;
    if !key.is_root()
        && found.iter().all(|(k, _)| k != key)
        && let Some(record) = handle.get(key)?
        && differing(&record) > 0
    {
        found.insert(0, (key.clone(), record));
    }
    Ok(found)
}

/// The head that a prefix of its entry id names.
pub fn find_head<'a>(key: &Key, record: &'a Record, prefix: &str) -> Result<&'a Head> {
    let id = prefix.trim().to_ascii_lowercase();
    if id.len() < MIN_PREFIX || id.len() > 64 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(ResolveError::BadId(prefix.into()));
    }
    let heads = ranked_heads(record);
    let have = |heads: &[&Head]| {
        let ids: Vec<String> = heads.iter().map(|h| h.entry.id.to_string()).collect();
        ids.join(", ")
    };
    let named: Vec<&Head> =
        heads.iter().copied().filter(|h| h.entry.id.to_string().starts_with(&id)).collect();
    match named[..] {
        [head] => Ok(head),
        [] => Err(ResolveError::NoSuchVersion { key: key.clone(), id, have: have(&heads) }),
        _ => Err(ResolveError::Ambiguous { key: key.clone(), id, have: have(&named) }),
    }
}

fn record(handle: &Handle, key: &Key) -> Result<Arc<Record>> {
    match handle.get(key)? {
        Some(record) if !key.is_root() && !record.heads.is_empty() => Ok(record),
        _ => Err(ResolveError::NotFound(key.clone())),
    }
}

/// Whether this may be all that a key holds.
fn fits(key: &Key, record: &Record, value: Option<&Value>) -> Result<()> {
    match value {
        Some(value) if *value != Value::Dir && record.below.children > 0 => {
            Err(ResolveError::HasChildren(key.clone()))
        }
        _ => Ok(()),
    }
}

/// Writes `node` (`None`: deletes), which stands in head `from`. Attributes are registers of (key, file id), so they
/// stay; the mtime is repeated where what is shown stays the same, else the new version's own time is the right one.
fn commit(
    handle: &Handle,
    key: &Key,
    record: &Record,
    node: Option<&HeadNode>,
    from: Option<EntryRef>,
    cites: Cites,
) -> Result<EntryRef> {
    let (key, expect) = (key.clone(), Expect::Anything);
    let Some(node) = node else {
        return Ok(handle.commit(vec![Change::Delete { key, cites, expect }])?);
    };
    let mut attrs = Attrs::default();
    if from.is_some() && from == shown_head(record).map(|h| h.entry) {
        let nobody = Defaults { store: handle.id(), author: handle.author(), uid: 0, gid: 0 };
        attrs.mtime = shown(&key, record, &nobody).map(|s| s.mtime);
    }
    let node = Node { file_id: node.file_id, value: portable(handle, &node.value)?, attrs };
    Ok(handle.commit(vec![Change::Put { key, node, cites, expect }])?)
}

/// A value as it may stand in an entry: a record's small content may be a pointer into the local log.
fn portable(handle: &Handle, value: &Value) -> Result<Value> {
    Ok(match value {
        Value::File(content) if content.size() <= MAX_INLINE as u64 => {
            Value::File(Content::Inline(handle.read(content)?.read_all()?))
        }
        other => other.clone(),
    })
}

fn ancestors(versions: &BTreeMap<EntryId, Version>, of: EntryId) -> BTreeSet<EntryId> {
    let mut found = BTreeSet::new();
    let mut next = vec![of];
    while let Some(id) = next.pop() {
        for parent in versions.get(&id).map_or(&[][..], |v| &v.parents) {
            if found.insert(*parent) {
                next.push(*parent);
            }
        }
    }
    found
}
