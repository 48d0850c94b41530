//! What a power loss has taken from a store: content of own entries that the disk has kept.
//!
//! Entries are appended before their content is synced, so a power loss may keep the one and lose the other. Only what a
//! sync had covered was promised, and a sync makes content durable before the log: from the first entry whose content is
//! lost on, the log holds nothing that was promised, and ends before it. What is cut is kept aside.
//!
//! Content may be absent for other reasons, and the log is never cut for them: a collection has taken it, a pack was
//! damaged or removed, or it never came from a peer. So nothing is asked of entries that a sync had covered, as far as the
//! log or the state says so; and of a later one only for chunks that nothing before it names. Who names a chunk first has
//! stored it; a rename, a restored version, a change in a file of which only parts are here name what others did.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::content::{ContentError, ContentStore};
use crate::disk::{Disk, Open};
use crate::entry::{Chunk, Content, Decoded, Entry, Node, Op, Value};
use crate::id::{ChunkId, EntryId, NodeId};
use crate::log::{End, Log, LogReader, Position, Record};

use super::error::{Result, StoreError};
use super::unsynced::Unsynced;

/// Copied at a time.
const PIECE: u64 = 1 << 20;

/// Ends the log before what a power loss has taken the content of, if there is such an entry of `ours` after `promised`.
pub(super) fn cut(
    log: &mut Log,
    content: &ContentStore,
    ours: &NodeId,
    promised: End,
    disk: &dyn Disk,
    dir: &Path,
) -> Result<()> {
    let Some(at) = first_lost(&log.reader(), content, ours, promised)? else { return Ok(()) };
    let kept = keep_aside(log, at, disk, dir)?;
    tracing::warn!(
        store = %dir.display(), kept = %kept.display(),
        "a power loss has kept entries and lost their content, none of it fsynced: the log ends before them now"
    );
    log.cut(at).map_err(StoreError::Log)
}

/// An entry that lacks chunks.
struct Lacking {
    at: Position,
    /// Where its group begins: groups count whole.
    begins: Position,
}

/// The record before which the log has to end.
fn first_lost(
    log: &LogReader,
    content: &ContentStore,
    ours: &NodeId,
    promised: End,
) -> Result<Option<Position>> {
    let mut lost: BTreeMap<ChunkId, Lacking> = BTreeMap::new();
    let mut cited: BTreeSet<EntryId> = BTreeSet::new();
    let mut begins = None;
    for record in log.scan_from(promised) {
        let Some((at, entry)) = entry(record)? else { continue };
        if !may_have_lost(&entry, ours) {
            continue;
        }
        let header = &entry.header;
        let first = header.group_first == 0 || header.group_first == header.seq;
        let begins = *if first { begins.insert(at) } else { begins.get_or_insert(at) };
        for named in contents(&entry) {
            let missing = missing(content, named)?;
            if !missing.is_empty() {
                cited.extend(entry.ops.iter().flat_map(Op::parents));
            }
            for id in missing {
                lost.entry(id).or_insert(Lacking { at, begins });
            }
        }
    }
    if lost.is_empty() {
        return Ok(None);
    }
    for record in log.scan(None) {
        let Some((at, entry)) = entry(record)? else { continue };
        let place = End { segment: at.segment, offset: at.offset };
        if place >= promised && may_have_lost(&entry, ours) {
            continue;
        }
        // What a change takes over from the version before it stands in that one's list.
        let deep = cited.contains(&entry.id);
        for named in contents(&entry) {
            for id in names(content, named, deep)? {
                if lost.get(&id).is_some_and(|lacking| at < lacking.at) {
                    lost.remove(&id);
                }
            }
        }
    }
    Ok(lost.values().map(|lacking| lacking.begins).min())
}

/// Only what was appended here. What a peer sent is signed within its record, and names content that may never have been
/// here.
fn may_have_lost(entry: &Entry, ours: &NodeId) -> bool {
    entry.signature.is_none() && entry.header.author == *ours
}

fn entry(
    record: std::result::Result<(Position, Record), crate::log::LogError>,
) -> Result<Option<(Position, Entry)>> {
    let (at, record) = record.map_err(StoreError::Log)?;
    let Record::Entry { header, payload, signature } = record else { return Ok(None) };
    let (Decoded::Known(entry) | Decoded::Unknown { entry, .. }) = Entry::decode(header, payload, signature)?;
    Ok(Some((at, entry)))
}

/// What an entry names outside of itself.
fn contents(entry: &Entry) -> impl Iterator<Item = &Content> {
    entry.ops.iter().filter_map(|op| match op {
        Op::Put { node: Node { value: Value::File(c), .. }, .. } => {
            matches!(c, Content::Chunks(_) | Content::Manifest { .. }).then_some(c)
        }
        _ => None,
    })
}

/// Chunks that are neither indexed nor in a pack's tail. What is damaged was stored.
fn missing(content: &ContentStore, named: &Content) -> Result<Vec<ChunkId>> {
    match content.missing(named) {
        Err(e) if is_damage(&e) => Ok(Vec::new()),
        missing => Ok(missing?),
    }
}

/// The chunks that a content names: those in the entry, and those in its list, as far as that is here.
fn names(content: &ContentStore, named: &Content, deep: bool) -> Result<Vec<ChunkId>> {
    match named {
        Content::Chunks(chunks) => Ok(chunks.iter().filter_map(|c| c.id).collect()),
        Content::Manifest { .. } if deep => match content.ids_of(named) {
            Err(ContentError::Missing { .. }) => missing(content, named),
            Err(e) if is_damage(&e) => Ok(Vec::new()),
            ids => Ok(ids?),
        },
        Content::Manifest { manifest: Chunk { id, .. }, .. } => Ok(id.iter().copied().collect()),
        _ => Ok(Vec::new()),
    }
}

fn is_damage(e: &ContentError) -> bool {
    use ContentError::{BadManifest, Corrupt, Truncated};
    matches!(e, Corrupt { .. } | Truncated { .. } | BadManifest { .. })
}

/// Copies what is to be cut, durably, to files named by where it stood: one for each segment.
fn keep_aside(log: &Log, at: Position, disk: &dyn Disk, dir: &Path) -> Result<PathBuf> {
    let aside = |segment: u64, from: u64| dir.join(format!("cut-{segment:x}-{from:x}"));
    let kept = aside(at.segment, at.offset);
    let failed = || StoreError::io(format!("cannot keep what is cut in {}", kept.display()));
    for segment in at.segment..=log.end().segment {
        let mut from = if segment == at.segment { at.offset } else { 0 };
        let file = disk.open(&aside(segment, from), Open::Create).map_err(failed())?;
        file.set_len(0).map_err(failed())?;
        let end = match segment == log.end().segment {
            // Behind its records there is room for more.
            true => log.end().offset,
            false => log.reader().segment_len(segment).map_err(StoreError::Log)?,
        };
        let start = from;
        while from < end {
            let len = PIECE.min(end - from);
            let bytes = log.reader().read_range(segment, from, len as u32).map_err(StoreError::Log)?;
            file.write_all_at(&bytes, from - start).map_err(failed())?;
            from += len;
        }
        file.sync_data().map_err(failed())?;
    }
    disk.sync_dir(dir).map_err(failed())?;
    Ok(kept)
}

/// Tells the log's syncer what records name, and so comes before them: staged files and content.
pub(super) fn sync_named_first(
    log: &Log,
    disk: &Arc<dyn Disk>,
    content: &ContentStore,
    unsynced: &Arc<Unsynced>,
) {
    let (disk, content, unsynced) = (disk.clone(), content.clone(), unsynced.clone());
    log.syncer().first(move || {
        unsynced.sync(&*disk)?;
        content.sync().map_err(|e| e.to_string())
    });
}
