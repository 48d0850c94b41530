//! A version of a key: the one that is shown, or another of its history by entry id or unique prefix.

use lattice_engine::entry::{Content, MAX_INLINE, Node, Value};
use lattice_engine::id::EntryId;
use lattice_engine::key::Key;
use lattice_engine::merge::{HeadNode, Record};
use lattice_engine::store::{Handle, Version};

use super::problem::{Code, Problem, Result};
use crate::view::effective::shown_head;
use crate::view::resolve::MIN_PREFIX;

/// Versions that a look-up goes through.
const DEPTH: usize = 1_000_000;

/// What is shown at a key, and which entry it comes from.
pub fn current(key: &Key, record: Option<&Record>) -> Result<(EntryId, HeadNode)> {
    let record = record.filter(|r| r.exists());
    let record = record.ok_or_else(|| Problem::new(Code::NotFound, format!("{key}: no such key")))?;
    let head = shown_head(record).and_then(|h| Some((h.entry.id, h.node.clone()?)));
    head.ok_or_else(|| is_a_directory(key))
}

pub fn is_a_directory(key: &Key) -> Problem {
    Problem::new(Code::IsADirectory, format!("{key} is a directory: list it, or name a key in it"))
}

/// The version of `key` whose entry id begins with `prefix`.
pub fn find(store: &Handle, key: &Key, prefix: &str) -> Result<Version> {
    let id = prefix.trim().to_ascii_lowercase();
    if id.len() < MIN_PREFIX || id.len() > 64 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        let detail = format!("{prefix:?} is not an entry id: give at least {MIN_PREFIX} of its hex digits");
        return Err(Problem::new(Code::BadVersion, detail));
    }
    let mut found =
        store.history(key, DEPTH)?.into_iter().filter(|v| v.entry.id.to_string().starts_with(&id));
    match (found.next(), found.next()) {
        (Some(version), None) => Ok(version),
        (None, _) => Err(Problem::new(
            Code::NoSuchVersion,
            format!("{key} has no version {id}: `lattice history` shows what there is"),
        )),
        (Some(a), Some(b)) => Err(Problem::new(
            Code::Ambiguous,
            format!(
                "{id} names more than one version of {key}: {} and {}. Give more digits",
                a.entry.id, b.entry.id
            ),
        )),
    }
}

/// The value of a version; a deletion has none.
pub fn value(key: &Key, version: Version) -> Result<Node> {
    version.node.ok_or_else(|| {
        let detail =
            format!("version {} of {key} is its deletion: it holds nothing", version.entry.id.short());
        Problem::new(Code::NoSuchVersion, detail)
    })
}

/// A value as it may stand in a new entry: a small content may be a pointer into the local log. Fails where the content
/// is not here any more.
pub fn portable(store: &Handle, value: &Value) -> Result<Value> {
    Ok(match value {
        Value::File(content) => {
            let reader = store.read_waiting(content)?;
            if content.size() <= MAX_INLINE as u64 {
                Value::File(Content::Inline(reader.read_all()?))
            } else {
                reader.read_at(&mut [0], 0)?;
                value.clone()
            }
        }
        other => other.clone(),
    })
}
