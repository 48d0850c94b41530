//! `O_TMPFILE`: files without a name, of which the store learns nothing, and `linkat`, which gives one its name. A second
//! name for a file that has one is refused: a key is a path, and two for one file can't be told to another replica.

use std::sync::Arc;

use parking_lot::MutexGuard;

use super::attr::{Attr, file_attr};
use super::create::appeared_in;
use super::errno::{Errno, Result};
use super::ids::ino_of;
use super::inode::{Inode, Place, State};
use super::open::Opened;
use super::volume::{Volume, now};
use super::{Caller, Fs};
use crate::view::Kind;

impl Fs {
    /// `open(O_TMPFILE)`: a new file of this directory's store, which is gone with its last close unless it is linked
    /// before. With `O_EXCL` it can't be.
    pub fn tmpfile(
        &self,
        caller: Caller,
        parent: u64,
        mode: u32,
        flags: i32,
    ) -> Result<(Arc<Inode>, Attr, Opened)> {
        let (dir, volume) = self.writable_dir(parent)?;
        let mut state = self.newborn(&volume, &dir, caller, mode, flags);
        state.unlinked = true;
        state.linkable = flags & libc::O_EXCL == 0;
        let wanted = ino_of(&state.file_id);
        let place = Place::Store(volume);
        let inode = self.table.insert_nameless(parent, wanted, |ino| Inode {
            ino,
            kind: Kind::File,
            place,
            state: state.into(),
        })?;
        self.table.pin(inode.ino);
        let attr = file_attr(&inode, &inode.state.lock());
        Ok((inode, attr, Opened::for_flags(flags)))
    }

    /// `linkat`: a file that [`Fs::tmpfile`] made gets its name, and what was written so far is saved under it, as at a
    /// close. Counts a look-up.
    pub fn link(&self, ino: u64, parent: u64, name: &[u8]) -> Result<(Arc<Inode>, Attr)> {
        let inode = self.table.get(ino)?;
        let Place::Store(own) = &inode.place else {
            return Err(Errno::PERM);
        };
        drop(linkable(&inode)?);
        let (dir, volume) = self.writable_dir(parent)?;
        if volume.id != own.id {
            return Err(Errno::XDEV);
        }
        if let Some(there) = self.find(&volume, parent, name)? {
            self.table.forget(there.ino, 1);
            return Err(Errno::EXIST);
        }
        let _tree = volume.tree.read();
        // The key may be too long.
        self.table.key(&volume, parent, Some(name))?;
        let mut state = linkable(&inode)?;
        self.table.give_name(ino, parent, name)?;
        self.named(&volume, &inode, &mut state).inspect_err(|_| {
            (state.unlinked, state.linkable) = (true, true);
            self.table.detach(parent, name);
            self.table.settle(ino);
            self.table.forget(ino, 1);
        })?;
        let attr = file_attr(&inode, &state);
        drop(state);
        appeared_in(&dir, attr.meta.ctime);
        Ok((inode, attr))
    }

    /// From here on it is a file like any other that was created and is still open.
    fn named(&self, volume: &Volume, inode: &Arc<Inode>, state: &mut State) -> Result<()> {
        (state.unlinked, state.linkable) = (false, false);
        state.epoch = volume.epoch();
        self.note_dirty(inode, state);
        self.save_at_close_locked(volume, inode, state)?;
        if state.writers == 0 && state.intent.is_some() {
            self.queue.promote(inode);
        }
        state.meta.ctime = state.meta.ctime.max(now());
        Ok(())
    }
}

/// A file's state, if it may be given a name: `EPERM` where it has one, `ENOENT` where it had one or never may.
fn linkable(inode: &Inode) -> Result<MutexGuard<'_, State>> {
    let state = inode.state.lock();
    match (state.unlinked, state.linkable) {
        (false, _) => Err(Errno::PERM),
        (true, false) => Err(Errno::NOENT),
        (true, true) => Ok(state),
    }
}
