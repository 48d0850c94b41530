//! New files, directories, symlinks, FIFOs and sockets.

use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::entry::{Attrs, Content, Node, Time, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::store::{Change, Cites, Expect};

use super::attr::{Attr, file_attr};
use super::errno::{Errno, Result};
use super::ids::ino_of;
use super::inode::{Inode, Meta, Place, State};
use super::open::{Opened, is_writing};
use super::staged::Staged;
use super::table::{Known, check_name};
use super::volume::{Volume, now};
use super::{Caller, Fs};
use crate::view::Kind;
use crate::view::effective::{DIR_MODE, FILE_MODE, implicit_file_id};

const SGID: u32 = 0o2000;
/// Bytes in a symlink's target, as `PATH_MAX` less the NUL.
const MAX_TARGET: usize = 4095;

impl Fs {
    /// `open(O_CREAT)` of a name that isn't there. The file is visible in this mount at once, and an entry at close.
    pub fn create(
        &self,
        caller: Caller,
        parent: u64,
        name: &[u8],
        mode: u32,
        flags: i32,
    ) -> Result<(Arc<Inode>, Attr, Opened)> {
        let (dir, volume) = self.writable_dir(parent)?;
        if let Some(there) = self.find(&volume, parent, name)? {
            // Somebody was faster; the kernel's look-up missed it.
            let opened =
                if flags & libc::O_EXCL != 0 { Err(Errno::EXIST) } else { self.open(there.ino, flags) };
            let opened = opened.inspect_err(|_| self.table.forget(there.ino, 1))?;
            let attr = self.attr(&there)?;
            return Ok((there, attr, opened));
        }
        let mut state = self.newborn(&volume, &dir, caller, mode, flags);
        if let Some(staged) = &mut state.staged {
            staged.listed = true;
        }
        let wanted = ino_of(&state.file_id);
        let place = Place::Store(volume);
        let inode = self.table.insert(parent, name, wanted, true, |ino| Inode {
            ino,
            kind: Kind::File,
            place,
            state: state.into(),
        })?;
        self.table.pin(inode.ino);
        self.queue.quiet(&inode);
        let attr = file_attr(&inode, &inode.state.lock());
        appeared_in(&dir, attr.meta.mtime);
        // Its first close makes it an entry, also where it was opened for reading only.
        Ok((inode, attr, Opened { no_flush: false, ..Opened::for_flags(flags) }))
    }

    /// A file that is opened while it is made: empty, and to be committed.
    pub(super) fn newborn(
        &self,
        volume: &Volume,
        dir: &Inode,
        caller: Caller,
        mode: u32,
        flags: i32,
    ) -> State {
        let (meta, attrs) = self.birth(dir, caller, mode, Kind::File);
        let mut state = State::new(self.ids.fresh(), Value::File(Content::EMPTY), meta, volume.epoch());
        let mut staged = Staged::empty();
        staged.attrs = attrs;
        state.staged = Some(staged);
        state.committed = false;
        state.opens = 1;
        state.writers = u32::from(is_writing(flags));
        state
    }

    pub fn mkdir(&self, caller: Caller, parent: u64, name: &[u8], mode: u32) -> Result<(Arc<Inode>, Attr)> {
        self.make(caller, parent, name, mode, Value::Dir)
    }

    pub fn symlink(
        &self,
        caller: Caller,
        parent: u64,
        name: &[u8],
        target: &[u8],
    ) -> Result<(Arc<Inode>, Attr)> {
        match target.len() {
            0 => Err(Errno::NOENT),
            n if n > MAX_TARGET => Err(Errno::NAMETOOLONG),
            _ => self.make(caller, parent, name, 0o777, Value::Symlink(Bytes::copy_from_slice(target))),
        }
    }

    /// Regular files, FIFOs and sockets; `EPERM` for devices, which mean something on one machine only.
    pub fn mknod(&self, caller: Caller, parent: u64, name: &[u8], mode: u32) -> Result<(Arc<Inode>, Attr)> {
        let value = match mode & libc::S_IFMT {
            0 | libc::S_IFREG => Value::File(Content::EMPTY),
            libc::S_IFIFO => Value::Fifo,
            libc::S_IFSOCK => Value::Socket,
            _ => return Err(Errno::PERM),
        };
        self.make(caller, parent, name, mode, value)
    }

    /// Commits something new, and puts it into the table with one look-up counted.
    fn make(
        &self,
        caller: Caller,
        parent: u64,
        name: &[u8],
        mode: u32,
        value: Value,
    ) -> Result<(Arc<Inode>, Attr)> {
        let (dir, volume) = self.writable_dir(parent)?;
        if let Some(there) = self.find(&volume, parent, name)? {
            self.table.forget(there.ino, 1);
            return Err(Errno::EXIST);
        }
        let kind = Kind::of(&value);
        let (meta, attrs) = self.birth(&dir, caller, mode, kind);
        let file_id = self.ids.fresh();
        let _tree = volume.tree.read();
        let key = self.table.key(&volume, parent, Some(name))?;
        let node = Node { file_id, value: value.clone(), attrs };
        let put = Change::Put { key: key.clone(), node, cites: Cites::All, expect: Expect::Absent };
        let entry = self.commit(&volume, "create", &key, vec![put])?;
        let inode = self.table.insert(parent, name, ino_of(&file_id), false, |ino| {
            let mut state = State::new(file_id, value, meta, volume.epoch());
            state.cites = vec![entry.id];
            Inode { ino, kind, place: Place::Store(volume.clone()), state: state.into() }
        })?;
        drop(_tree);
        let attr = self.attr(&inode).inspect_err(|_| self.table.forget(inode.ino, 1))?;
        Ok((inode, attr))
    }

    /// What stands at a name already (one look-up counted), after checking that the name can be a key's.
    pub(super) fn find(&self, volume: &Arc<Volume>, parent: u64, name: &[u8]) -> Result<Option<Arc<Inode>>> {
        check_name(name)?;
        let _tree = volume.tree.read();
        let key = self.table.key(volume, parent, Some(name))?;
        match self.table.child(parent, name, true)? {
            Known::Inode(inode) => Ok(Some(inode)),
            Known::Absent => Ok(None),
            Known::Unknown => self.load(volume, parent, name, &key),
        }
    }

    /// What a new file shows, and the attributes that its entry carries: only what isn't the default anyway, so that
    /// on another member's machine it is that member's.
    fn birth(&self, dir: &Inode, caller: Caller, mode: u32, kind: Kind) -> (Meta, Attrs) {
        let parent = dir.state.lock().meta;
        let time = now();
        let mut mode = mode & 0o7777;
        let mut gid = caller.gid;
        if parent.mode & SGID != 0 {
            gid = parent.gid;
            if kind == Kind::Dir {
                mode |= SGID;
            }
        }
        let default = match kind {
            Kind::Dir => DIR_MODE,
            Kind::Symlink => 0o777,
            _ => FILE_MODE,
        };
        let attrs = Attrs {
            mode: (mode != default).then_some(mode),
            uid: (caller.uid != self.uid).then_some(caller.uid),
            gid: (gid != self.gid).then_some(gid),
            mtime: Some(time).filter(|_| kind != Kind::Dir),
            ..Attrs::default()
        };
        (Meta { mode, uid: caller.uid, gid, mtime: time, atime: time, ctime: time }, attrs)
    }

    /// The change that keeps a directory which no entry made: it would vanish with the last name in it.
    pub(super) fn keep_dir(&self, volume: &Volume, dir: &Inode, key: &Key) -> Option<Change> {
        let state = dir.state.lock();
        let file_id: FileId = state.file_id;
        // Deletions that it outlived, or a file beside it, are no entry of its own.
        let made = !state.cites.is_empty() && file_id != implicit_file_id(volume.id, key);
        drop(state);
        if key.is_root() || made {
            return None;
        }
        let known = volume.handle.get(key).ok().flatten();
        if known.is_some_and(|r| crate::view::effective::shown_head(&r).is_some()) {
            return None;
        }
        let node = Node { file_id, value: Value::Dir, attrs: Attrs::default() };
        Some(Change::Put {
            key: key.clone(),
            node,
            cites: Cites::Heads(Vec::new()),
            expect: Expect::Anything,
        })
    }
}

/// A name came to a directory that the store knows nothing of yet: in the store's grain, so that the entry's own time is not
/// before it.
pub(super) fn appeared_in(dir: &Inode, time: Time) {
    let touched = Time { ns: time.ns / 1_000_000 * 1_000_000, ..time };
    dir.state.lock().touched = Some(touched);
}
