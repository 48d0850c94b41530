//! From the engine's types to the API's documents.

use lattice_engine::entry::{Node, Op};
use lattice_engine::hlc::Hlc;
use lattice_engine::key::Key;
use lattice_engine::merge::{EntryRef, Head, HeadNode, Record};
use lattice_engine::node::StoreInfo;
use lattice_engine::store::{Event, Fetch, Handle, Here, StoreError, StoreStatus, Version};

use super::caller::Caller;
use super::etag::etag;
use super::key_text::KeyText;
use super::model::{
    ConflictDoc, EntryDoc, HeadDoc, HereDoc, KeyDoc, OpDoc, OpenDoc, StoreDoc, VersionDoc, Written,
};
use crate::view::effective::{differing, is_dir, ranked_heads, shown, shown_head};
use crate::view::{Defaults, Kind};

/// Unix milliseconds as RFC 3339 in UTC.
pub fn time_ms(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| format!("{ms} ms"), |t| format!("{t:.3}"))
}

pub fn time(hlc: Hlc) -> String {
    time_ms(hlc.wall_ms())
}

fn file_time(t: lattice_engine::entry::Time) -> String {
    let stamp = jiff::Timestamp::new(t.s, t.ns.min(999_999_999) as i32);
    stamp.map_or_else(|_| format!("{}.{:09} s", t.s, t.ns), |t| format!("{t:.3}"))
}

pub fn store(info: &StoreInfo) -> StoreDoc {
    StoreDoc {
        id: info.id.to_string(),
        name: info.name.clone(),
        created: time_ms(info.created_ms),
        read_only: None,
        broken: info.broken.clone(),
    }
}

pub fn open(s: &StoreStatus) -> OpenDoc {
    OpenDoc {
        live_keys: s.live_keys,
        entries: s.entries,
        authors: s.authors,
        conflicts: s.conflicts,
        log_bytes: s.log_bytes,
        pack_bytes: s.pack_bytes,
        state_bytes: s.state_bytes,
        unsigned: s.unsigned,
        unapplied_bytes: s.unapplied_bytes,
        staged: s.staged,
        read_only: s.read_only.clone(),
        stalled: s.stalled.clone(),
        forked: s.forked.iter().map(ToString::to_string).collect(),
        cursor: s.cursor.to_string(),
        policy: s.policy.fetch.to_string(),
        pins: s.policy.pins.iter().map(KeyText::from).collect(),
        here: None,
    }
}

/// How much of an on-demand store is here; another one has all. Looks at every file.
pub fn here(store: &Handle) -> Result<Option<HereDoc>, StoreError> {
    if store.policy().fetch == Fetch::Eager {
        return Ok(None);
    }
    let Here { files, whole, bytes, here } = store.here()?;
    Ok(Some(HereDoc { files, whole, bytes, here }))
}

/// A key as it is shown; `None` where nothing stands there.
pub fn key(key: &Key, record: &Record, defaults: &Defaults) -> Option<KeyDoc> {
    let shown = shown(key, record, defaults)?;
    let head = shown_head(record);
    Some(KeyDoc {
        key: key.into(),
        kind: shown.kind.word().into(),
        size: shown.size,
        mode: shown.mode,
        uid: shown.uid,
        gid: shown.gid,
        mtime: file_time(shown.mtime),
        entry: head.map(|h| h.entry.id.to_string()),
        author: head.map(|h| h.entry.author.to_string()),
        conflict: differing(record),
    })
}

pub fn written(entry: &EntryRef) -> Written {
    Written { entry: entry.id.to_string(), hlc: entry.hlc.to_string(), time: time(entry.hlc), removed: None }
}

fn kind_and_size(node: Option<&HeadNode>) -> (String, u64) {
    match node {
        None => ("deleted".into(), 0),
        Some(node) => (Kind::of(&node.value).word().into(), node.content().map_or(0, |c| c.size())),
    }
}

fn node_kind_and_size(node: Option<&Node>) -> (String, u64) {
    let node = node.map(|n| HeadNode { file_id: n.file_id, value: n.value.clone() });
    kind_and_size(node.as_ref())
}

pub fn version(v: &Version) -> VersionDoc {
    let (kind, size) = node_kind_and_size(v.node.as_ref());
    VersionDoc {
        entry: v.entry.id.to_string(),
        author: v.entry.author.to_string(),
        hlc: v.entry.hlc.to_string(),
        time: time(v.entry.hlc),
        kind,
        size,
        parents: v.parents.iter().map(ToString::to_string).collect(),
        head: v.head,
        winner: v.winner,
    }
}

fn head(head: &Head, winner: bool) -> HeadDoc {
    let (kind, size) = kind_and_size(head.node.as_ref());
    HeadDoc {
        entry: head.entry.id.to_string(),
        author: head.entry.author.to_string(),
        hlc: head.entry.hlc.to_string(),
        time: time(head.entry.hlc),
        kind,
        size,
        winner,
    }
}

/// A key's heads, the one that is shown first.
pub fn conflict(key: &Key, record: &Record) -> ConflictDoc {
    let winner = shown_head(record).map(|h| h.entry.id);
    ConflictDoc {
        key: key.into(),
        directory: winner.is_none() && is_dir(key, record),
        etag: etag(record).unwrap_or_default(),
        heads: ranked_heads(record).into_iter().map(|h| head(h, Some(h.entry.id) == winner)).collect(),
    }
}

/// An entry with those of its operations that touch keys with `prefix` that the caller sees; `None` where none does.
pub fn entry(event: &Event, prefix: &[u8], caller: &Caller) -> Option<EntryDoc> {
    let all = prefix.is_empty() && caller.sees_whole_stores();
    let touches = |op: &&Op| match op.key() {
        Some(key) => key.as_bytes().starts_with(prefix) && caller.sees(key),
        None => all,
    };
    let ops: Vec<OpDoc> = event.ops.iter().filter(touches).map(op).collect();
    (!ops.is_empty() || all).then(|| EntryDoc {
        cursor: event.cursor.to_string(),
        entry: event.entry.id.to_string(),
        author: event.entry.author.to_string(),
        seq: event.entry.seq,
        hlc: event.entry.hlc.to_string(),
        time: time(event.entry.hlc),
        local: event.local,
        ops,
    })
}

fn op(op: &Op) -> OpDoc {
    let name = match op {
        Op::Put { .. } => "put",
        Op::Delete { .. } => "delete",
        Op::Attr { .. } => "attr",
        Op::Instruction { .. } => "instruction",
    };
    let node = match op {
        Op::Put { node, .. } => Some(node_kind_and_size(Some(node))),
        _ => None,
    };
    let (kind, size) = node.unzip();
    OpDoc {
        op: name.into(),
        key: op.key().map(KeyText::from),
        kind,
        size,
        program: match op {
            Op::Instruction { program_id, .. } => Some(program_id.clone()),
            _ => None,
        },
        parents: op.parents().iter().map(ToString::to_string).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_with_milliseconds() {
        assert_eq!(time_ms(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert!(time_ms(u64::MAX).ends_with(" ms"));
    }
}
