//! `rename`, with `RENAME_NOREPLACE` and `RENAME_EXCHANGE`. One entry, whatever is below.

use std::sync::Arc;

use lattice_engine::entry::Time;
use lattice_engine::key::Key;
use lattice_engine::merge::EntryRef;
use lattice_engine::store::{Change, RenameHow};
use parking_lot::MutexGuard;

use super::Fs;
use super::errno::{Errno, Result};
use super::inode::{Inode, State, cites};
use super::table::Known;
use super::volume::{Volume, now};
use super::watch::shows_opened;

/// `renameat2` flags that are known here; any other is `EINVAL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RenameFlags {
    pub no_replace: bool,
    pub exchange: bool,
}

/// A name in a directory.
struct Spot<'a> {
    dir: Arc<Inode>,
    name: &'a [u8],
}

impl Fs {
    pub fn rename(
        &self,
        parent: u64,
        name: &[u8],
        new_parent: u64,
        new_name: &[u8],
        flags: RenameFlags,
    ) -> Result<()> {
        let (dir, volume) = self.writable_dir(parent)?;
        let (new_dir, new_volume) = self.writable_dir(new_parent)?;
        if volume.id != new_volume.id {
            return Err(Errno::XDEV);
        }
        let source = self.victim(&volume, parent, name)?;
        let target = self.target(&volume, new_parent, new_name);
        let (from, to) = (Spot { dir, name }, Spot { dir: new_dir, name: new_name });
        let done = match &target {
            Ok(target) => self.rename_inodes(&volume, &from, &to, &source, target.as_ref(), flags),
            Err(e) => Err(*e),
        };
        self.table.forget(source.ino, 1);
        if let Ok(Some(target)) = target {
            self.table.forget(target.ino, 1);
        }
        done
    }

    fn target(&self, volume: &Arc<Volume>, parent: u64, name: &[u8]) -> Result<Option<Arc<Inode>>> {
        super::table::check_name(name)?;
        match self.table.child(parent, name, true)? {
            Known::Inode(inode) => Ok(Some(inode)),
            Known::Absent => Ok(None),
            Known::Unknown => match self.victim(volume, parent, name) {
                Ok(inode) => Ok(Some(inode)),
                Err(Errno::NOENT) => Ok(None),
                Err(e) => Err(e),
            },
        }
    }

    fn rename_inodes(
        &self,
        volume: &Arc<Volume>,
        from: &Spot<'_>,
        to: &Spot<'_>,
        source: &Arc<Inode>,
        target: Option<&Arc<Inode>>,
        flags: RenameFlags,
    ) -> Result<()> {
        match target {
            Some(_) if flags.no_replace => return Err(Errno::EXIST),
            None if flags.exchange => return Err(Errno::NOENT),
            Some(t) if t.ino == source.ino => return Ok(()),
            Some(t) if !flags.exchange => match (source.is_dir(), t.is_dir()) {
                (true, false) => return Err(Errno::NOTDIR),
                (false, true) => return Err(Errno::ISDIR),
                (true, true) if self.table.has_pending(t.ino) => return Err(Errno::NOTEMPTY),
                _ => {}
            },
            _ => {}
        }
        let moving = std::iter::once(source).chain(target.filter(|_| flags.exchange));
        let dirs: Vec<u64> = moving.filter(|i| i.is_dir()).map(|i| i.ino).collect();
        loop {
            // The store moves what it knows, and what is on its way names a key: both get there first. Of the file that
            // is replaced, too, so that a kill finds what its last close left, or the new one, and nothing older.
            self.settle_for_rename(volume, source)?;
            if let Some(target) = target {
                self.settle_for_rename(volume, target)?;
            }
            if !dirs.is_empty() {
                self.settle_intents_below(volume, &dirs)?;
                let _tree = volume.tree.write();
                if self.has_intents_below(&dirs) {
                    continue;
                }
                volume.next_epoch();
                if self.rename_locked(volume, from, to, source, target, flags)? {
                    return Ok(());
                }
            } else {
                let _tree = volume.tree.read();
                if self.rename_locked(volume, from, to, source, target, flags)? {
                    return Ok(());
                }
            }
        }
    }

    /// With `tree` held. False: a close came in between, and what it logged must get there first.
    fn rename_locked(
        &self,
        volume: &Arc<Volume>,
        from: &Spot<'_>,
        to: &Spot<'_>,
        source: &Arc<Inode>,
        target: Option<&Arc<Inode>>,
        flags: RenameFlags,
    ) -> Result<bool> {
        let key = self.table.key(volume, from.dir.ino, Some(from.name))?;
        let new_key = self.table.key(volume, to.dir.ino, Some(to.name))?;
        let how = match flags {
            RenameFlags { exchange: true, .. } => RenameHow::Exchange,
            RenameFlags { no_replace: true, .. } => RenameHow::NoReplace,
            _ => RenameHow::Replace,
        };
        let mut changes = vec![Change::Rename { from: key.clone(), to: new_key.clone(), how }];
        if !flags.exchange && from.dir.ino != to.dir.ino {
            changes.extend(key.parent().and_then(|p| self.keep_dir(volume, &from.dir, &p)));
        }
        // Held until the table knows: a save in between would go to the old key.
        let (mut moving, mut other) = lock_both(source, target.map(|t| &**t));
        if moving.intent.is_some() || other.as_ref().is_some_and(|o| o.intent.is_some()) {
            return Ok(false);
        }
        let entry = self.commit(volume, "rename", &key, changes)?;
        let time = now();
        self.moved(volume, source, &mut moving, &new_key, &entry, time);
        match (target, &mut other) {
            (Some(target), Some(state)) if flags.exchange => {
                self.moved(volume, target, state, &key, &entry, time);
                self.table.exchange(source.ino, target.ino);
            }
            (Some(target), Some(state)) => {
                let held = self.hold_open(volume, target, state);
                state.unlinked = true;
                state.meta.ctime = state.meta.ctime.max(time);
                if state.opens == 0 {
                    state.staged = None;
                }
                self.table.rename(source.ino, to.dir.ino, to.name);
                if !state.committed {
                    self.table.settle(target.ino);
                }
                held?;
            }
            _ => self.table.rename(source.ino, to.dir.ino, to.name),
        }
        Ok(true)
    }

    /// What was opened has other heads under its new name. The store may have moved a version that came since: that one
    /// was not seen, and who opens the file next gets it.
    fn moved(
        &self,
        volume: &Volume,
        inode: &Inode,
        state: &mut State,
        key: &Key,
        entry: &EntryRef,
        time: Time,
    ) {
        state.epoch = volume.epoch();
        state.meta.ctime = state.meta.ctime.max(time);
        if inode.is_dir() {
            if !state.cites.is_empty() {
                state.cites = vec![entry.id];
            }
            return;
        }
        match volume.handle.get(key) {
            Ok(Some(record)) if shows_opened(volume, &record, state) => state.cites = cites(&record),
            _ => self.queue.recheck(inode),
        }
    }

    /// Files below a moving directory that are not committed yet find their key when they are: only those that are
    /// on their way under a key already must get there first.
    fn settle_for_rename(&self, volume: &Arc<Volume>, inode: &Arc<Inode>) -> Result<()> {
        if inode.is_dir() {
            return Ok(());
        }
        let pending = !inode.state.lock().committed;
        if pending {
            self.save(volume, inode)?;
        }
        self.settle_intent(volume, inode)
    }
}

/// The states of one or two inodes, always in the same order.
fn lock_both<'a>(
    a: &'a Inode,
    b: Option<&'a Inode>,
) -> (MutexGuard<'a, State>, Option<MutexGuard<'a, State>>) {
    match b {
        Some(b) if b.ino < a.ino => {
            let b = b.state.lock();
            (a.state.lock(), Some(b))
        }
        _ => (a.state.lock(), b.map(|b| b.state.lock())),
    }
}
