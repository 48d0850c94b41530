//! `conflicts/`: the path of every key in conflict, and in each one's directory its versions: `1-` is the one shown, a
//! number for every other live head, and `base`, what they come from. Where the key is a directory because of what
//! stands below it, nothing is `1-`.

use bytes::Bytes;
use lattice_engine::key::Key;
use lattice_engine::merge::Record;

use super::versions::{VersionFile, free_name, with_extension};
use super::{Control, ControlError, Result, VNode, child, key_of};
use crate::view::effective::{differing, ranked_heads, shown_head, time};
use crate::view::resolve::{self, ResolveError};

const BASE: &[u8] = b"base";

impl Control {
    pub(super) fn conflict_node(&self, path: &[Bytes], rest: &[Bytes]) -> Result<VNode> {
        if let Ok(key) = key_of(rest)
            && self.leads_to_conflicts(&key)?
        {
            return Ok(self.dir(path, self.conflicted(&key)?.is_some()));
        }
        Ok(self.version_node(path, &self.conflict_version(rest)?))
    }

    pub(super) fn list_conflicts(&self, path: &[Bytes], rest: &[Bytes]) -> Result<Vec<(Bytes, VNode)>> {
        let key = match key_of(rest) {
            Ok(key) if self.leads_to_conflicts(&key)? => key,
            _ => {
                self.conflict_version(rest)?;
                return Err(ControlError::NotADirectory);
            }
        };
        let mut found = Vec::new();
        if let Some(record) = self.conflicted(&key)? {
            for version in self.conflict_versions(&key, &record, true)? {
                let node = self.version_node(&child(path, &version.name), &version);
                found.push((version.name, node));
            }
        }
        let mut children: Vec<Bytes> = resolve::conflicts_at(&self.handle, &key)?
            .iter()
            .filter_map(|(k, _)| k.segments().nth(rest.len()))
            .map(Bytes::copy_from_slice)
            .collect();
        children.sort();
        children.dedup();
        for name in children {
            let writable = self.conflicted(&key_of(&child(rest, &name))?)?.is_some();
            let node = self.dir(&child(path, &name), writable);
            found.push((name, node));
        }
        Ok(found)
    }

    /// The version that a path below `conflicts/` names.
    pub(super) fn conflict_version(&self, rest: &[Bytes]) -> Result<VersionFile> {
        let (name, dir) = rest.split_last().ok_or(ControlError::IsADirectory)?;
        let key = key_of(dir)?;
        if let Ok(inner) = key.join(name)
            && self.leads_to_conflicts(&inner)?
        {
            return Err(ControlError::IsADirectory);
        }
        let Some(record) = self.conflicted(&key)? else {
            return Err(self.no_such(&key, dir)?);
        };
        // Finding the base reads the key's history: only where the name may be its.
        let with_base = name.ends_with(BASE);
        let versions = self.conflict_versions(&key, &record, with_base)?;
        versions.into_iter().find(|v| v.name == *name).ok_or(ControlError::NotFound)
    }

    pub(super) fn discard(&self, rest: &[Bytes]) -> Result<Key> {
        let version = self.conflict_version(rest)?;
        let (_, dir) = rest.split_last().ok_or(ControlError::IsADirectory)?;
        if !version.removable {
            return Err(ControlError::NotPermitted);
        }
        let key = key_of(dir)?;
        match resolve::discard(&self.handle, &key, &version.entry.id.to_string()) {
            Ok(_) => Ok(key),
            // Somebody else was faster.
            Err(ResolveError::NoSuchVersion { .. } | ResolveError::NotFound(_)) => {
                Err(ControlError::NotFound)
            }
            Err(e) => Err(e.into()),
        }
    }

    pub(super) fn version_node(&self, path: &[Bytes], version: &VersionFile) -> VNode {
        self.file(path, version.size(), 0o444, time(version.entry.hlc))
    }

    fn conflict_versions(&self, key: &Key, record: &Record, with_base: bool) -> Result<Vec<VersionFile>> {
        let taken = |name: &Bytes| match key.join(name) {
            Ok(inner) => self.leads_to_conflicts(&inner),
            Err(_) => Ok(false),
        };
        let mut found = Vec::new();
        if with_base && let Some(base) = resolve::base(&self.handle, key)? {
            let name = free_name(Bytes::from_static(BASE), taken)?;
            let value = base.node.map(|n| n.value);
            found.push(VersionFile { name, entry: base.entry, value, removable: false });
        }
        let live = ranked_heads(record).into_iter().filter(|h| h.node.is_some());
        let first = if shown_head(record).is_some() { 1 } else { 2 };
        for (number, head) in (first..).zip(live) {
            let stem = format!("{number}-{}-{}", head.entry.author.short(), head.entry.id.short());
            let name = free_name(with_extension(&stem, key), taken)?;
            let value = head.node.as_ref().map(|n| n.value.clone());
            found.push(VersionFile { name, entry: head.entry, value, removable: true });
        }
        Ok(found)
    }

    /// The record of a key that is in conflict itself.
    fn conflicted(&self, key: &Key) -> Result<Option<std::sync::Arc<Record>>> {
        Ok(self.handle.get(key)?.filter(|r| !key.is_root() && differing(r) > 0))
    }

    /// Whether `conflicts/<key>` is a directory.
    fn leads_to_conflicts(&self, key: &Key) -> Result<bool> {
        Ok(key.is_root() || !resolve::conflicts_at(&self.handle, key)?.is_empty())
    }

    /// A path that goes on behind a version's name goes through a file.
    fn no_such(&self, key: &Key, dir: &[Bytes]) -> Result<ControlError> {
        if self.leads_to_conflicts(key)? || dir.is_empty() {
            return Ok(ControlError::NotFound);
        }
        Ok(match self.conflict_version(dir) {
            Ok(_) => ControlError::NotADirectory,
            Err(e) => e,
        })
    }
}
