//! Names to inodes.

use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::entry::{Time, Value};
use lattice_engine::key::{Key, RESERVED};
use lattice_engine::merge::Record;

use super::attr::Attr;
use super::errno::{Errno, Result};
use super::ids::ino_of;
use super::inode::{Inode, Meta, Place, State, cites};
use super::table::Known;
use super::volume::Volume;
use super::{Fs, ROOT};
use crate::view::effective::{self, DIR_MODE, ROOT_FILE_ID, shown_head};
use crate::view::{Kind, Shown, shown};

/// What a name leads to.
#[derive(Debug)]
pub enum Looked {
    /// May be cached until the watcher says otherwise, if the inode may.
    Found(Arc<Inode>, Attr),
    /// With whether that may be cached until then.
    Absent { cache: bool },
}

impl Fs {
    /// Counts one look-up of what it finds: the kernel must be told, and will forget it one day.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Result<Looked> {
        let dir = self.table.get(parent)?;
        let found = match &dir.place {
            Place::Top => self.lookup_store(name)?,
            Place::StoreName(_) => return Err(Errno::NOTDIR),
            Place::Control(volume, path) => {
                let path = path.iter().cloned().chain([Bytes::copy_from_slice(name)]).collect();
                // Not to be cached, as anything there.
                Some(self.lookup_control(volume, parent, path, name)?.ok_or(Errno::NOENT)?)
            }
            Place::Store(_) if !dir.is_dir() => return Err(Errno::NOTDIR),
            Place::Store(volume) if parent == volume.root && name == RESERVED => {
                self.lookup_control(volume, parent, Vec::new(), name)?
            }
            Place::Store(volume) => self.lookup_key(volume, parent, name)?,
        };
        match found {
            Some(inode) => {
                let attr = self.attr_or_forget(&inode)?;
                Ok(Looked::Found(inode, attr))
            }
            None => {
                let cache = !matches!(dir.place, Place::Store(_)) || self.table.is_absent(parent, name);
                Ok(Looked::Absent { cache })
            }
        }
    }

    fn attr_or_forget(&self, inode: &Arc<Inode>) -> Result<Attr> {
        self.attr(inode).inspect_err(|_| self.table.forget(inode.ino, 1))
    }

    pub(super) fn lookup_key(
        &self,
        volume: &Arc<Volume>,
        parent: u64,
        name: &[u8],
    ) -> Result<Option<Arc<Inode>>> {
        match self.table.child(parent, name, true)? {
            Known::Inode(inode) => return Ok(Some(inode)),
            Known::Absent => return Ok(None),
            Known::Unknown => {}
        }
        // No key can have this name, so nothing can: asking for it is not an error.
        if name == RESERVED {
            return Ok(None);
        }
        let _tree = volume.tree.read();
        let key = self.table.key(volume, parent, Some(name))?;
        self.load(volume, parent, name, &key)
    }

    /// Finds out from the store what stands at `key` and puts it into the table, counting a look-up.
    pub(super) fn load(
        &self,
        volume: &Arc<Volume>,
        parent: u64,
        name: &[u8],
        key: &Key,
    ) -> Result<Option<Arc<Inode>>> {
        loop {
            let seen = volume.changes();
            let record = self.record(volume, "lookup", key)?;
            let inode = match record.as_deref().and_then(|r| Some((r, shown(key, r, &volume.defaults)?))) {
                Some((record, shown)) => Some(self.enter(volume, parent, name, record, &shown)?),
                None => {
                    self.table.set_absent(parent, name);
                    None
                }
            };
            // Otherwise the watcher may have passed by between the reading and the entering.
            if volume.changes() == seen {
                return Ok(inode);
            }
            self.table.detach(parent, name);
            if let Some(inode) = inode {
                if inode.state.lock().opens > 0 || inode.state.lock().is_dirty() {
                    return Ok(Some(inode));
                }
                self.table.forget(inode.ino, 1);
            }
        }
    }

    /// Makes the inode of a record, or returns the one that the name leads to already. Counts a look-up.
    pub(super) fn enter(
        &self,
        volume: &Arc<Volume>,
        parent: u64,
        name: &[u8],
        record: &Record,
        shown: &Shown,
    ) -> Result<Arc<Inode>> {
        self.table.insert(parent, name, ino_of(&shown.file_id), false, |ino| Inode {
            ino,
            kind: shown.kind,
            place: Place::Store(volume.clone()),
            state: state_of(volume, record, shown).into(),
        })
    }
}

/// The state of an inode as a record shows it.
pub(super) fn state_of(volume: &Volume, record: &Record, shown: &Shown) -> State {
    let node = shown_head(record).and_then(|h| h.node.as_ref());
    let value = node.map_or(Value::Dir, |n| n.value.clone());
    let mut state = State::new(shown.file_id, value, Meta::of(shown), volume.epoch());
    state.cites = cites(record);
    state
}

/// The root directory of a store.
pub(super) fn root_of(volume: &Arc<Volume>) -> Inode {
    // A directory's times are read from its record each time.
    let time = Time::default();
    let defaults = &volume.defaults;
    let meta =
        Meta { mode: DIR_MODE, uid: defaults.uid, gid: defaults.gid, mtime: time, atime: time, ctime: time };
    Inode {
        ino: volume.root,
        kind: Kind::Dir,
        place: Place::Store(volume.clone()),
        state: State::new(ROOT_FILE_ID, Value::Dir, meta, 0).into(),
    }
}

/// The inode number of a store's root directory, where it isn't the mount's.
pub(super) fn root_ino(id: &lattice_engine::id::StoreId) -> u64 {
    let ino = ino_of(&effective::implicit_file_id(*id, &Key::ROOT));
    ino.max(ROOT + 1)
}
