//! Bytes of any length into content, and content into a key.

use std::sync::Arc;

use axum::body::{Body, BodyDataStream};
use futures::StreamExt;
use lattice_engine::content::Pin;
use lattice_engine::entry::{Attrs, Content, MAX_INLINE, Node, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::merge::{HeadNode, Record};
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

    /// Stores all of it, and keeps it from being collected. Memory: two blocks.
    pub async fn store(mut self, store: &Handle) -> Result<(Content, Option<Pin>)> {
        let mut block = self.next().await?;
        let to = store.clone();
        if self.over && block.len() <= MAX_INLINE {
            return Ok((to.put_content(&block)?, None));
        }
        // From here until the commit names them, gc must not take the chunks.
        let pin = Some(store.content().pin());
        if self.over {
            return Ok((blocking(move || Ok(to.put_content(&block)?)).await?, pin));
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
        Ok((blocking(move || writer.finish().map_err(stored)).await?, pin))
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

/// What is known of a key, for a request. It is in memory, nearly always, so no thread is changed for it; unless somebody
/// who commits much has the store's records meanwhile.
pub async fn record(store: &Handle, key: &Key) -> Result<Option<Arc<Record>>> {
    match store.get_now(key)? {
        Some(record) => Ok(record),
        None => {
            let (store, key) = (store.clone(), key.clone());
            blocking(move || Ok(store.get(&key)?)).await
        }
    }
}

/// The change that makes `value` the value of `key`, of which `record` is known, under a condition.
pub fn put_change(record: Option<&Record>, key: Key, value: Value, condition: &Condition) -> Result<Change> {
    // An empty directory too: a value that replaces it would surprise whoever is about to write in it.
    if value != Value::Dir && record.is_some_and(|r| r.exists() && is_dir(&key, r)) {
        return Err(is_a_directory(&key));
    }
    let (cites, expect) = condition.judge(&key, record)?;
    let node = node(record, value)?;
    Ok(Change::Put { key, node, cites, expect })
}

/// The change that removes `key` itself.
pub fn delete_change(record: Option<&Record>, key: Key, condition: &Condition) -> Result<Change> {
    let (cites, expect) = condition.judge(&key, record)?;
    let expect = if let Expect::Anything = expect { Expect::Exists } else { expect };
    Ok(Change::Delete { key, cites, expect })
}
