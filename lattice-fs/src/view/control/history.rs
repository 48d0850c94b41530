//! `history/`: the tree's directories, and in each key's own directory the versions it had, newest first, and `latest`.
//!
//! A deleted key isn't listed, but its directory is there for who knows its name. Making and removing directories is
//! no version: there is nothing in it to read. History follows the key, not renames.

use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::entry::Value;
use lattice_engine::id::EntryId;
use lattice_engine::key::Key;
use lattice_engine::store::Version;

use super::versions::{VersionFile, free_name, stamp, with_extension};
use super::{Control, ControlError, Result, VNode, child, key_of};

/// Versions of one key that are shown.
const SHOWN: usize = 10_000;
const PAGE: usize = 1000;

/// The versions of the key that was looked at last: `ls -l` asks for each of them in turn.
#[derive(Debug, Clone)]
pub(super) struct Listing {
    key: Key,
    heads: Vec<EntryId>,
    children: u64,
    /// [`Handle::made_anew`](lattice_engine::store::Handle::made_anew): what the same heads come from may count no more.
    anew: u64,
    versions: Arc<Vec<VersionFile>>,
}

impl Control {
    pub(super) fn history_node(&self, path: &[Bytes], rest: &[Bytes]) -> Result<VNode> {
        if let Ok(key) = key_of(rest)
            && self.was_ever(&key)?
        {
            return Ok(self.dir(path, false));
        }
        Ok(self.version_node(path, &self.history_version(rest)?))
    }

    pub(super) fn list_history(&self, path: &[Bytes], rest: &[Bytes]) -> Result<Vec<(Bytes, VNode)>> {
        let key = match key_of(rest) {
            Ok(key) if self.was_ever(&key)? => key,
            _ => {
                self.history_version(rest)?;
                return Err(ControlError::NotADirectory);
            }
        };
        let mut found = Vec::new();
        for version in self.history_versions(&key)?.iter() {
            let node = self.version_node(&child(path, &version.name), version);
            found.push((version.name.clone(), node));
        }
        let mut after: Option<Bytes> = None;
        loop {
            let page = self.handle.list(&key, after.as_deref(), PAGE)?;
            let full = page.len() == PAGE;
            for (name, _) in page {
                let node = self.dir(&child(path, &name), false);
                after = Some(name.clone());
                found.push((name, node));
            }
            if !full {
                return Ok(found);
            }
        }
    }

    /// The version that a path below `history/` names.
    pub(super) fn history_version(&self, rest: &[Bytes]) -> Result<VersionFile> {
        let (name, dir) = rest.split_last().ok_or(ControlError::IsADirectory)?;
        let key = key_of(dir)?;
        if let Ok(inner) = key.join(name)
            && self.was_ever(&inner)?
        {
            return Err(ControlError::IsADirectory);
        }
        if !self.was_ever(&key)? {
            let through_file = !dir.is_empty() && self.history_version(dir).is_ok();
            return Err(if through_file { ControlError::NotADirectory } else { ControlError::NotFound });
        }
        let versions = self.history_versions(&key)?;
        versions.iter().find(|v| v.name == *name).cloned().ok_or(ControlError::NotFound)
    }

    fn history_versions(&self, key: &Key) -> Result<Arc<Vec<VersionFile>>> {
        // Before anything is read: what changes meanwhile is read again.
        let anew = self.handle.made_anew();
        let Some(record) = self.handle.get(key)?.filter(|r| !r.heads.is_empty()) else {
            return Ok(Arc::default());
        };
        let heads: Vec<EntryId> = record.heads.iter().map(|h| h.entry.id).collect();
        let children = record.below.children;
        if let Some(last) = &*self.listing.lock()
            && (&last.key, &last.heads, last.children, last.anew) == (key, &heads, children, anew)
        {
            return Ok(last.versions.clone());
        }
        let versions = Arc::new(self.read_history(key)?);
        let listing = Listing { key: key.clone(), heads, children, anew, versions: versions.clone() };
        *self.listing.lock() = Some(listing);
        Ok(versions)
    }

    fn read_history(&self, key: &Key) -> Result<Vec<VersionFile>> {
        let history = self.handle.history(key, SHOWN)?;
        let taken = |name: &Bytes| match key.join(name) {
            Ok(inner) => self.was_ever(&inner),
            Err(_) => Ok(false),
        };
        let file = |name: Bytes, version: &Version| -> Result<VersionFile> {
            let value = version.node.as_ref().map(|n| n.value.clone());
            Ok(VersionFile { name: free_name(name, taken)?, entry: version.entry, value, removable: false })
        };
        let has_bytes = |v: &&Version| v.node.as_ref().is_some_and(|n| n.value != Value::Dir);
        let winner = history.iter().find(|v| v.winner).filter(has_bytes);
        let Some(latest) = winner.or_else(|| history.iter().find(has_bytes)) else {
            return Ok(Vec::new());
        };
        let mut found = vec![file(Bytes::from_static(b"latest"), latest)?];
        for version in &history {
            let deleted = match &version.node {
                Some(node) if node.value == Value::Dir => continue,
                Some(_) => "",
                None => "-deleted",
            };
            let stem = format!("{}-{}{deleted}", stamp(version.entry.hlc), version.entry.id.short());
            found.push(file(with_extension(&stem, key), version)?);
        }
        Ok(found)
    }

    /// Whether anything is known of a key: it exists, or did.
    fn was_ever(&self, key: &Key) -> Result<bool> {
        let known = |r: Arc<lattice_engine::merge::Record>| !r.heads.is_empty() || r.below.children > 0;
        Ok(key.is_root() || self.handle.get(key)?.is_some_and(known))
    }
}
