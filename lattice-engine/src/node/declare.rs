//! Declarations: which stores there are, as keys of the root store.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::entry::{Attrs, Content, MAX_INLINE, Node as KeyNode, Value};
use crate::id::{EntryId, FileId, NodeId, StoreId};
use crate::key::Key;
use crate::store::{Change, Cites, Expect, Handle};

use super::error::{NodeError, Result};

/// What the root store says of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Declaration {
    pub id: StoreId,
    pub name: String,
    pub created_ms: u64,
    pub genesis: EntryId,
}

const STORES: &[u8] = b"stores";

fn dir(id: StoreId) -> Result<Key> {
    key(&format!("stores/{id}"))
}

pub(super) fn key(path: &str) -> Result<Key> {
    Key::parse(path.as_bytes()).map_err(|e| NodeError::Refused(format!("{path}: {e}")))
}

pub(super) fn put(path: Key, value: &str) -> Result<Change> {
    let mut file_id = [0; 16];
    getrandom::fill(&mut file_id).map_err(|e| NodeError::Refused(format!("no random numbers: {e}")))?;
    let content = Content::Inline(Bytes::copy_from_slice(value.as_bytes()));
    let attrs = Attrs { mode: Some(0o600), ..Attrs::default() };
    let node = KeyNode { file_id: FileId(file_id), value: Value::File(content), attrs };
    Ok(Change::Put { key: path, node, cites: Cites::All, expect: Expect::Anything })
}

/// Declares a store, or says its name anew.
pub(super) fn write(root: &Handle, d: &Declaration) -> Result<()> {
    let base = format!("stores/{}", d.id);
    root.commit(vec![
        put(key(&format!("{base}/name"))?, &d.name)?,
        put(key(&format!("{base}/created_at"))?, &d.created_ms.to_string())?,
        put(key(&format!("{base}/genesis"))?, &d.genesis.to_string())?,
    ])?;
    root.sync()?;
    Ok(())
}

pub(super) fn rename(root: &Handle, id: StoreId, name: &str) -> Result<()> {
    root.commit(vec![put(key(&format!("stores/{id}/name"))?, name)?])?;
    root.sync()?;
    Ok(())
}

/// Takes a declaration back: a tombstone for each of its keys.
pub(super) fn delete(root: &Handle, id: StoreId) -> Result<()> {
    let dir = dir(id)?;
    let children = root.list(&dir, None, usize::MAX)?;
    let changes = children
        .iter()
        .map(|(name, _)| {
            let key = dir.join(name).map_err(|e| NodeError::Refused(e.to_string()))?;
            Ok(Change::Delete { key, cites: Cites::All, expect: Expect::Anything })
        })
        .collect::<Result<Vec<_>>>()?;
    root.commit(changes)?;
    root.sync()?;
    Ok(())
}

/// Every declaration that is whole and well made. One that lacks a part (a peer's is half here) is not there yet, and one
/// that makes no sense, which any member can write, must not hide the others.
pub(super) fn read_all(root: &Handle) -> Result<BTreeMap<StoreId, Declaration>> {
    let stores = key("stores")?;
    debug_assert_eq!(stores.as_bytes(), STORES);
    let mut found = BTreeMap::new();
    for (name, _) in root.list(&stores, None, usize::MAX)? {
        let Some(id) = std::str::from_utf8(&name).ok().and_then(|n| n.parse().ok()) else { continue };
        if let Some(declaration) = read(root, id)? {
            found.insert(id, declaration);
        }
    }
    Ok(found)
}

fn node_name_key(node: NodeId) -> Result<Key> {
    key(&format!("nodes/{node}/name"))
}

/// Says what a node is called.
pub(super) fn name_node(root: &Handle, node: NodeId, name: &str) -> Result<()> {
    root.commit(vec![put(node_name_key(node)?, name)?])?;
    root.sync()?;
    Ok(())
}

pub(super) fn node_name(root: &Handle, node: NodeId) -> Result<Option<String>> {
    text(root, &node_name_key(node)?)
}

/// A short value, without the space around it.
fn text(root: &Handle, key: &Key) -> Result<Option<String>> {
    let Some(record) = root.get(key)? else { return Ok(None) };
    let content = record.winner().and_then(|h| h.node.as_ref()).and_then(|n| n.content());
    // What doesn't stand in an entry is too long for any of them, and may not be here.
    let Some(content) = content.filter(|c| c.size() <= MAX_INLINE as u64) else { return Ok(None) };
    let bytes = root.read(content)?.read_all()?;
    Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
}

fn read(root: &Handle, id: StoreId) -> Result<Option<Declaration>> {
    let text = |field: &str| text(root, &key(&format!("stores/{id}/{field}"))?);
    let (Some(name), Some(genesis)) = (text("name")?, text("genesis")?) else { return Ok(None) };
    let created_ms = text("created_at")?.and_then(|t| t.parse().ok()).unwrap_or(0);
    match genesis.parse::<EntryId>() {
        Ok(genesis) if StoreId::of_genesis(&genesis) == id => {
            // A peer may be of a lattice that allows other names.
            let name = if bad_name(&name).is_none() { name } else { id.to_string() };
            Ok(Some(Declaration { id, name, created_ms, genesis }))
        }
        _ => {
            tracing::warn!(store = %id, "it is declared with another store's genesis, and left out");
            Ok(None)
        }
    }
}

/// Names are shown as file names beside the stores' ids.
pub(super) fn bad_name(name: &str) -> Option<&'static str> {
    match name {
        "" => Some("it is empty"),
        "." | ".." | ".lattice" => Some("it is reserved"),
        n if n.len() > 255 => Some("it is over 255 bytes long"),
        n if n.contains(['/', '\0', ':']) => Some("it can't hold '/', ':' or a NUL"),
        n if n.chars().any(char::is_control) => Some("it can't hold control characters"),
        n if n.parse::<StoreId>().is_ok() => Some("it looks like a store's id"),
        _ => None,
    }
}
