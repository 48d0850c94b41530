//! Bytes of any length into content, and content into a key.

use std::io::Read;

use lattice_engine::entry::{Attrs, Content, Node, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::merge::{EntryRef, HeadNode, Record};
use lattice_engine::store::{Change, Expect, Handle, StoreError};

use super::body::BUFFER;
use super::etag::Condition;
use super::problem::{Code, Problem, Result};
use super::version::is_a_directory;
use crate::view::effective::{is_dir, shown_head};

/// Reads `source` to its end. Memory: one buffer.
pub fn content(store: &Handle, source: &mut dyn Read) -> Result<Content> {
    let mut first = Vec::with_capacity(BUFFER);
    source.take(BUFFER as u64).read_to_end(&mut first).map_err(broke_off)?;
    if first.len() < BUFFER {
        return Ok(store.put_content(&first)?);
    }
    store.writable()?;
    let stored = |e| Problem::from(StoreError::Content(e));
    let mut writer = store.content().writer();
    writer.write(&first).map_err(stored)?;
    loop {
        let n = source.read(&mut first).map_err(broke_off)?;
        if n == 0 {
            return writer.finish().map_err(stored);
        }
        writer.write(&first[..n]).map_err(stored)?;
    }
}

/// A source that breaks off is the sender's doing, not the store's.
fn broke_off(e: std::io::Error) -> Problem {
    let code = match e.kind() {
        std::io::ErrorKind::TimedOut => Code::TooSlow,
        std::io::ErrorKind::FileTooLarge => Code::TooLarge,
        _ => Code::BadRequest,
    };
    Problem::new(code, e.to_string())
}

/// The node that makes `value` the value of `key`: a file that is there stays the same file.
pub fn node(record: Option<&Record>, value: Value) -> Result<Node> {
    let shown = record.and_then(shown_head).and_then(|h| h.node.as_ref());
    let same_kind = |n: &&HeadNode| std::mem::discriminant(&n.value) == std::mem::discriminant(&value);
    let file_id = match shown.filter(same_kind) {
        Some(node) => node.file_id,
        None => fresh_file_id()?,
    };
    Ok(Node { file_id, value, attrs: Attrs::default() })
}

pub fn fresh_file_id() -> Result<FileId> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|e| Problem::new(Code::Internal, format!("no random numbers: {e}")))?;
    Ok(FileId(id))
}

/// The change that makes `value` the value of `key`, under a condition.
pub fn put_change(store: &Handle, key: Key, value: Value, condition: &Condition) -> Result<Change> {
    let record = store.get(&key)?;
    // An empty directory too: a value that replaces it would surprise whoever is about to write in it.
    if value != Value::Dir && record.as_deref().is_some_and(|r| r.exists() && is_dir(&key, r)) {
        return Err(is_a_directory(&key));
    }
    let (cites, expect) = condition.judge(&key, record.as_deref())?;
    let node = node(record.as_deref(), value)?;
    Ok(Change::Put { key, node, cites, expect })
}

/// The change that removes `key` itself.
pub fn delete_change(store: &Handle, key: Key, condition: &Condition) -> Result<Change> {
    let (cites, expect) = condition.judge(&key, store.get(&key)?.as_deref())?;
    let expect = if let Expect::Anything = expect { Expect::Exists } else { expect };
    Ok(Change::Delete { key, cites, expect })
}

/// Commits; a key that appeared after the condition was judged is a failed precondition like one that stood before.
pub fn commit(store: &Handle, changes: Vec<Change>) -> Result<EntryRef> {
    let conditional: Vec<Key> = changes
        .iter()
        .filter_map(|c| match c {
            Change::Put { key, expect: Expect::Absent, .. } => Some(key.clone()),
            _ => None,
        })
        .collect();
    store.commit(changes).map_err(|e| match e {
        StoreError::Exists(key) if conditional.contains(&key) => {
            Problem::new(Code::Precondition, format!("{key} exists already"))
        }
        e => e.into(),
    })
}
