//! `stat`, `chmod`, `chown`, `utimens` and `truncate`.

use std::sync::Arc;

use lattice_engine::entry::{Attrs, Content, Time};
use lattice_engine::store::Change;

use super::errno::{Errno, Result};
use super::inode::{Inode, Meta, Place, State};
use super::volume::{Volume, now};
use super::{Caller, Fs};
use crate::view::effective::DIR_SIZE;
use crate::view::{Kind, Shown, shown};

const SUID: u32 = 0o4000;
const SGID: u32 = 0o2000;
const GROUP_EXEC: u32 = 0o010;

/// What `stat` returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    pub ino: u64,
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// Of 512 bytes.
    pub blocks: u64,
    pub nlink: u32,
    pub meta: Meta,
}

#[derive(Debug, Clone, Copy)]
pub enum SetTime {
    Now,
    At(Time),
}

/// What `setattr` changes. The kernel has checked who may.
#[derive(Debug, Clone, Copy, Default)]
pub struct SetAttr {
    pub mode: Option<u32>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: Option<SetTime>,
    pub mtime: Option<SetTime>,
}

impl Fs {
    /// With whether the kernel may keep it.
    pub fn getattr(&self, ino: u64) -> Result<(Attr, bool)> {
        let inode = self.table.get(ino)?;
        Ok((self.attr(&inode)?, inode.is_cacheable()))
    }

    pub fn attr(&self, inode: &Arc<Inode>) -> Result<Attr> {
        match &inode.place {
            Place::Top => Ok(self.top_attr(inode)),
            Place::StoreName(target) => {
                let meta = inode.state.lock().meta;
                Ok(Attr {
                    ino: inode.ino,
                    kind: Kind::Symlink,
                    size: target.len() as u64,
                    blocks: 0,
                    nlink: 1,
                    meta,
                })
            }
            Place::Control(volume, path) => self.control_attr(volume, path, inode),
            Place::Store(volume) if inode.is_dir() => self.dir_attr(volume, inode),
            Place::Store(_) => Ok(file_attr(inode, &inode.state.lock())),
        }
    }

    /// A directory's times and link count change with what is in it: they are read anew each time.
    fn dir_attr(&self, volume: &Volume, inode: &Inode) -> Result<Attr> {
        {
            let state = inode.state.lock();
            if state.unlinked {
                let (ino, meta) = (inode.ino, state.meta);
                return Ok(Attr { ino, kind: Kind::Dir, size: DIR_SIZE, blocks: 0, nlink: 0, meta });
            }
        }
        // A listing that meets a directory holds it already: behind a rename that waits, an ordinary second one never comes.
        let _tree = volume.tree.read_recursive();
        let key = self.table.key(volume, inode.ino, None)?;
        let record = self.record(volume, "stat", &key)?;
        // A store's root stands before anything is known of it.
        let record = record.or_else(|| key.is_root().then(Arc::default));
        let seen = record.as_deref().and_then(|r| shown(&key, r, &volume.defaults));
        match seen {
            // A root in which nothing ever happened.
            Some(seen) if seen.ctime == Time::default() => {
                let born = volume.born;
                Ok(shown_dir(inode, &Shown { mtime: born, atime: born, ctime: born, ..seen }))
            }
            Some(seen) => Ok(shown_dir(inode, &seen)),
            // A directory that is there only because of what is not committed yet.
            None if self.table.has_pending(inode.ino) => {
                let (ino, meta) = (inode.ino, inode.state.lock().meta);
                Ok(Attr { ino, kind: Kind::Dir, size: DIR_SIZE, blocks: 8, nlink: 2, meta })
            }
            None => Err(Errno::NOENT),
        }
    }

    pub fn setattr(&self, caller: Caller, ino: u64, set: &SetAttr) -> Result<Attr> {
        let inode = self.table.get(ino)?;
        let Place::Store(volume) = &inode.place else {
            return Err(Errno::PERM);
        };
        volume.writable()?;
        if let Some(size) = set.size {
            self.truncate(caller, volume, &inode, size)?;
        }
        let now = now();
        let attrs = self.attrs_to_set(&inode, set, now);
        if !attrs.is_empty() {
            self.set_attrs(volume, &inode, attrs, now)?;
        }
        self.attr(&inode)
    }

    /// The registers that a request touches.
    fn attrs_to_set(&self, inode: &Inode, set: &SetAttr, now: Time) -> Attrs {
        let time = |t: Option<SetTime>| t.map(|t| if let SetTime::At(t) = t { t } else { now });
        let meta = inode.state.lock().meta;
        let mut attrs = Attrs {
            mode: set.mode.map(|m| m & 0o7777),
            uid: set.uid,
            gid: set.gid,
            mtime: time(set.mtime).filter(|_| set.size.is_none() || !matches!(set.mtime, Some(SetTime::Now))),
            atime: time(set.atime),
            xattrs: Vec::new(),
        };
        // Where no access time was ever set the modification time stands in: pin it before that moves.
        if attrs.mtime.is_some() && attrs.atime.is_none() {
            attrs.atime = Some(meta.atime);
        }
        let chown = set.uid.is_some() || set.gid.is_some();
        if chown && !inode.is_dir() && attrs.mode.is_none() {
            attrs.mode = without_set_id(meta.mode);
        }
        attrs
    }

    /// Stages attributes beside the content they belong to, or commits them.
    pub(super) fn set_attrs(
        &self,
        volume: &Volume,
        inode: &Arc<Inode>,
        attrs: Attrs,
        now: Time,
    ) -> Result<()> {
        self.settle_intent(volume, inode)?;
        let _tree = volume.tree.read();
        let mut state = inode.state.lock();
        // Of a file that may get a name yet they wait with its content.
        let kept = !state.unlinked || state.linkable;
        if kept && !state.stage_attrs(&attrs) {
            let key = self.table.key(volume, inode.ino, None)?;
            let (file_id, attrs) = (state.file_id, attrs.clone());
            self.commit(volume, "setattr", &key, vec![Change::Attr { key: key.clone(), file_id, attrs }])?;
        }
        if attrs.mtime.is_some() {
            state.touched = None;
        }
        state.show_attrs(&attrs, now);
        Ok(())
    }

    /// Cuts or grows a file. Committed at once unless somebody is writing it.
    fn truncate(&self, caller: Caller, volume: &Volume, inode: &Arc<Inode>, size: u64) -> Result<()> {
        match inode.kind {
            Kind::File => {}
            Kind::Dir => return Err(Errno::ISDIR),
            _ => return Err(Errno::INVAL),
        }
        if size > i64::MAX as u64 {
            return Err(Errno::FBIG);
        }
        let mut state = self.settled_own(volume, inode)?;
        self.ensure_staged(volume, inode, &mut state, size == 0)?;
        let staged = state.staged.as_mut().ok_or(Errno::IO)?;
        staged
            .set_len(size, || volume.handle.staging_path())
            .map_err(|e| self.stage_failed(volume, "truncate", inode, &e))?;
        state.touch(now());
        if caller.uid != 0 {
            drop_set_id(&mut state);
        }
        self.note_dirty(inode, &mut state);
        let written = state.writers > 0;
        drop(state);
        if written { Ok(()) } else { self.save(volume, inode) }
    }
}

/// What `chown` and a write by somebody else leave of a mode; `None` when it stays. A set-group-id bit without group
/// execution means mandatory locking, not privilege, and stays.
fn without_set_id(mode: u32) -> Option<u32> {
    let mut left = mode & !SUID;
    if mode & GROUP_EXEC != 0 {
        left &= !SGID;
    }
    (left != mode).then_some(left)
}

/// Takes set-id bits off a staged file.
pub(super) fn drop_set_id(state: &mut State) {
    if let Some(mode) = without_set_id(state.meta.mode) {
        state.meta.mode = mode;
        if let Some(staged) = &mut state.staged {
            staged.attrs.mode = Some(mode);
        }
    }
}

/// The attributes of anything but a directory.
pub(super) fn file_attr(inode: &Inode, state: &State) -> Attr {
    let size = state.size();
    let allocated = match (&state.staged, state.content()) {
        (None, Some(Content::Chunks(chunks))) => {
            chunks.iter().filter(|c| c.id.is_some()).map(|c| c.len).sum()
        }
        (Some(staged), _) => staged.allocated(),
        (None, None) => 0,
        _ => size,
    };
    let nlink = u32::from(!state.unlinked);
    Attr { ino: inode.ino, kind: inode.kind, size, blocks: allocated.div_ceil(512), nlink, meta: state.meta }
}

/// The attributes of a directory as a record shows it and our own pending changes move them.
pub(super) fn shown_dir(inode: &Inode, seen: &Shown) -> Attr {
    let mut state = inode.state.lock();
    let before = state.meta.ctime;
    let mut meta = Meta::of(seen);
    if let Some(touched) = state.touched {
        meta.mtime = meta.mtime.max(touched);
        meta.ctime = meta.ctime.max(touched);
    }
    meta.ctime = meta.ctime.max(before);
    state.meta = meta;
    Attr { ino: inode.ino, kind: Kind::Dir, size: DIR_SIZE, blocks: 8, nlink: seen.nlink, meta }
}
