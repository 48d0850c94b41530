//! Bytes of any length into content, and content into a key.

use axum::body::{Body, BodyDataStream};
use futures::StreamExt;
use lattice_engine::entry::{Attrs, Content, Node, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::merge::{EntryRef, HeadNode, Record};
use lattice_engine::store::{Change, Expect, Handle, StoreError};

use super::body::{self, BUFFER};
use super::etag::Condition;
use super::problem::{Code, Problem, Result, blocking};
use super::version::is_a_directory;
use crate::view::effective::{is_dir, shown_head};

/// A body, a block at a time. No thread waits for who sends it.
#[derive(Debug)]
pub struct Source {
    frames: BodyDataStream,
    over: bool,
}

impl Source {
    pub fn new(body: Body) -> Self {
        Self { frames: body.into_data_stream(), over: false }
    }

    /// The next bytes: fewer than [`BUFFER`] only where they are the last.
    async fn next(&mut self) -> Result<Vec<u8>> {
        let mut block = Vec::new();
        while block.len() < BUFFER && !self.over {
            match self.frames.next().await {
                None => self.over = true,
                Some(frame) => block.extend_from_slice(&frame.map_err(|e| broke_off(body::broke_off(e)))?),
            }
        }
        Ok(block)
    }

    /// Stores all of it. Memory: two blocks.
    pub async fn store(mut self, store: &Handle) -> Result<Content> {
        let mut block = self.next().await?;
        let to = store.clone();
        if self.over {
            return blocking(move || Ok(to.put_content(&block)?)).await;
        }
        let mut writer = blocking(move || {
            to.writable()?;
            Ok(to.content().writer())
        })
        .await?;
        let stored = |e| Problem::from(StoreError::Content(e));
        while !block.is_empty() {
            let written = blocking(move || {
                writer.write(&block).map_err(stored)?;
                Ok(writer)
            });
            // The next block comes while this one is stored.
            let (written, next) = tokio::join!(written, self.next());
            (writer, block) = (written?, next?);
        }
        blocking(move || writer.finish().map_err(stored)).await
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
