//! The mount's root when it shows every store: a directory per UUID, and beside it a symlink per name. Read-only.

use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::entry::{Time, Value};
use lattice_engine::id::FileId;
use lattice_engine::node::StoreInfo;

use super::attr::Attr;
use super::dir::DirEntry;
use super::errno::Result;
use super::ids::ino_of;
use super::inode::{Inode, Meta, Place, State};
use super::lookup::{root_ino, root_of};
use super::table::{Known, ROOT};
use super::volume::{Volume, now};
use super::{Fs, What};
use crate::view::Kind;
use crate::view::effective::DIR_SIZE;

/// What stands in the root, in order.
#[derive(Debug, Default)]
pub struct Top {
    entries: Vec<(Bytes, Entry)>,
    changed: Time,
}

#[derive(Debug, Clone)]
enum Entry {
    Store(Arc<Volume>),
    /// To a UUID.
    Link(Bytes),
}

/// What appeared in or vanished from the root: names that the kernel may have cached.
pub type Changed = Vec<Bytes>;

pub(super) fn root_inode(uid: u32, gid: u32) -> Inode {
    let time = now();
    let meta = Meta { mode: 0o555, uid, gid, mtime: time, atime: time, ctime: time };
    let state = State::new(FileId([0; 16]), Value::Dir, meta, 0);
    Inode { ino: ROOT, kind: Kind::Dir, place: Place::Top, state: state.into() }
}

impl Fs {
    /// Reads the node's stores anew.
    pub(super) fn refresh_stores(&self) -> Changed {
        let What::All(node) = &self.what else {
            return Vec::new();
        };
        let stores = match node.stores() {
            Ok(stores) => stores,
            Err(e) => {
                tracing::warn!(cause = %e, "the list of stores can't be read: the mount keeps the one it has");
                return Vec::new();
            }
        };
        let shown: Vec<StoreInfo> = stores.into_iter().filter(|s| s.broken.is_none()).collect();
        let mut entries = Vec::new();
        for (info, name) in shown.iter().zip(names(&shown)) {
            let Some(volume) = self.volume_of(node, info) else {
                continue;
            };
            let uuid = Bytes::from(info.id.to_string());
            entries.push((uuid.clone(), Entry::Store(volume)));
            entries.extend(name.map(|name| (name, Entry::Link(uuid))));
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        self.volumes.write().retain(|id, _| shown.iter().any(|s| s.id == *id));
        let mut top = self.top.write();
        let same = |a: &Entry, b: &Entry| match (a, b) {
            (Entry::Store(a), Entry::Store(b)) => a.id == b.id,
            (Entry::Link(a), Entry::Link(b)) => a == b,
            _ => false,
        };
        let has = |list: &[(Bytes, Entry)], (name, entry): &(Bytes, Entry)| {
            list.iter().any(|(n, e)| n == name && same(e, entry))
        };
        let gone = top.entries.iter().filter(|e| !has(&entries, e));
        let new = entries.iter().filter(|e| !has(&top.entries, e));
        let changed: Changed = gone.chain(new).map(|(name, _)| name.clone()).collect();
        top.entries = entries;
        top.changed = now();
        changed
    }

    fn volume_of(&self, node: &lattice_engine::node::Node, info: &StoreInfo) -> Option<Arc<Volume>> {
        if let Some(volume) = self.volumes.read().get(&info.id) {
            return Some(volume.clone());
        }
        let handle = node.store(info.id)?;
        let volume = Arc::new(Volume::new(handle, root_ino(&info.id), self.uid, self.gid));
        self.volumes.write().insert(info.id, volume.clone());
        Some(volume)
    }

    pub(super) fn lookup_store(&self, name: &[u8]) -> Result<Option<Arc<Inode>>> {
        let entry = {
            let top = self.top.read();
            top.entries.iter().find(|(n, _)| n == name).map(|(_, e)| e.clone())
        };
        let Some(entry) = entry else { return Ok(None) };
        if let Known::Inode(inode) = self.table.child(ROOT, name, true)? {
            return Ok(Some(inode));
        }
        let inode = match entry {
            Entry::Store(volume) => {
                self.table.insert(ROOT, name, volume.root, false, |_| root_of(&volume))?
            }
            Entry::Link(target) => self.table.insert(ROOT, name, link_ino(name), false, |ino| {
                let time = now();
                let meta =
                    Meta { mode: 0o777, uid: self.uid, gid: self.gid, mtime: time, atime: time, ctime: time };
                let state = State::new(FileId([0; 16]), Value::Symlink(target.clone()), meta, 0);
                Inode { ino, kind: Kind::Symlink, place: Place::StoreName(target), state: state.into() }
            })?,
        };
        Ok(Some(inode))
    }

    pub(super) fn top_attr(&self, inode: &Inode) -> Attr {
        let top = self.top.read();
        let mut meta = inode.state.lock().meta;
        meta.mtime = top.changed;
        meta.ctime = top.changed;
        let stores = top.entries.iter().filter(|(_, e)| matches!(e, Entry::Store(_))).count() as u32;
        Attr { ino: inode.ino, kind: Kind::Dir, size: DIR_SIZE, blocks: 8, nlink: 2 + stores, meta }
    }

    pub(super) fn read_top(
        &self,
        at: usize,
        full: bool,
        emit: &mut dyn FnMut(DirEntry<'_>, u64) -> bool,
    ) -> Result<()> {
        let entries = self.top.read().entries.clone();
        for (i, (name, entry)) in entries.iter().enumerate().skip(at) {
            let next = i as u64 + 3;
            if full {
                let Some(inode) = self.lookup_store(name)? else {
                    continue;
                };
                if self.give_full(&inode, name, true, next, emit)? {
                    break;
                }
                continue;
            }
            let (ino, kind) = match entry {
                Entry::Store(volume) => (volume.root, Kind::Dir),
                Entry::Link(_) => (link_ino(name), Kind::Symlink),
            };
            if emit(DirEntry::Name { ino, kind, name }, next) {
                break;
            }
        }
        Ok(())
    }
}

/// The symlink of each store: its name, or `name~2` and so on after the first of that name. None for a name that can't
/// be one in a directory, or that is some store's UUID.
fn names(stores: &[StoreInfo]) -> Vec<Option<Bytes>> {
    let mut order: Vec<usize> = (0..stores.len()).collect();
    order.sort_by_key(|i| (stores[*i].created_ms, stores[*i].id));
    let mut taken: Vec<String> = stores.iter().map(|s| s.id.to_string()).collect();
    let mut names = vec![None; stores.len()];
    for i in order {
        let name = &stores[i].name;
        if super::table::check_name(name.as_bytes()).is_err() {
            continue;
        }
        let tries = std::iter::once(name.clone()).chain((2..).map(|n| format!("{name}~{n}")));
        if let Some(free) = tries.take(stores.len() + 2).find(|n| !taken.contains(n)) {
            taken.push(free.clone());
            names[i] = Some(Bytes::from(free));
        }
    }
    names
}

fn link_ino(name: &[u8]) -> u64 {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::derive_key("lattice 2026 v1 store name", name)[..16]);
    ino_of(&FileId(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lattice_engine::id::StoreId;

    #[test]
    fn the_second_store_of_a_name_gets_a_number() {
        let store = |id: u8, name: &str, created_ms| StoreInfo {
            id: StoreId([id; 16]),
            name: name.into(),
            created_ms,
            broken: None,
        };
        let stores = [store(1, "notes", 9), store(2, "notes", 5), store(3, "notes~2", 1), store(4, "a/b", 1)];
        let names: Vec<_> =
            names(&stores).into_iter().map(|n| n.map(|n| String::from_utf8_lossy(&n).into_owned())).collect();
        assert_eq!(names, [Some("notes~3".into()), Some("notes".into()), Some("notes~2".into()), None]);
    }
}
