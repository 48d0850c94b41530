//! `unlink` and `rmdir`.

use std::sync::Arc;

use lattice_engine::store::{Change, Cites, Expect};
use parking_lot::MutexGuard;

use super::Fs;
use super::errno::{Errno, Result};
use super::inode::{Inode, Place, State};
use super::table::Known;
use super::volume::{Volume, now};

impl Fs {
    /// The name goes; an open file stays readable and writable until its last close.
    pub fn unlink(&self, parent: u64, name: &[u8]) -> Result<()> {
        if let Place::Control(volume, path) = &self.table.get(parent)?.place {
            return self.remove_control(volume, parent, path, name);
        }
        let (dir, volume) = self.writable_dir(parent)?;
        let victim = self.victim(&volume, parent, name)?;
        let done = self.unlink_inode(&volume, &dir, name, &victim);
        self.table.forget(victim.ino, 1);
        done
    }

    fn unlink_inode(
        &self,
        volume: &Arc<Volume>,
        dir: &Arc<Inode>,
        name: &[u8],
        victim: &Arc<Inode>,
    ) -> Result<()> {
        if victim.is_dir() {
            return Err(Errno::ISDIR);
        }
        loop {
            self.settle_for_unlink(volume, victim)?;
            let _tree = volume.tree.read();
            let state = victim.state.lock();
            if state.intent.is_none() {
                return self.unlink_locked(volume, dir, name, victim, state);
            }
        }
    }

    /// What is on its way to a file that the store knows gets there first: a kill finds what its last close left, or no
    /// file, and nothing older. What the store never knew just goes, and so it does where there is no room for it.
    fn settle_for_unlink(&self, volume: &Volume, victim: &Inode) -> Result<()> {
        let known = victim.state.lock().committed;
        if known && self.settle_intent(volume, victim).is_ok() {
            return Ok(());
        }
        self.drop_intent(volume, victim)
    }

    /// With `tree` held.
    fn unlink_locked(
        &self,
        volume: &Arc<Volume>,
        dir: &Arc<Inode>,
        name: &[u8],
        victim: &Arc<Inode>,
        mut state: MutexGuard<'_, State>,
    ) -> Result<()> {
        if state.committed {
            let key = self.table.key(volume, dir.ino, Some(name))?;
            let mut changes =
                vec![Change::Delete { key: key.clone(), cites: Cites::All, expect: Expect::Exists }];
            changes.extend(key.parent().and_then(|p| self.keep_dir(volume, dir, &p)));
            self.commit(volume, "unlink", &key, changes)?;
        }
        self.hold_open(volume, victim, &mut state)?;
        state.unlinked = true;
        let time = now();
        state.meta.ctime = state.meta.ctime.max(time);
        self.table.unlink(dir.ino, name, victim.ino);
        let waited = !state.committed;
        if state.opens == 0 {
            state.staged = None;
        }
        drop(state);
        if waited {
            self.table.settle(victim.ino);
            dir.state.lock().touched = Some(time);
        }
        Ok(())
    }

    pub fn rmdir(&self, parent: u64, name: &[u8]) -> Result<()> {
        let (dir, volume) = self.writable_dir(parent)?;
        let victim = self.victim(&volume, parent, name)?;
        let done = self.rmdir_inode(&volume, &dir, name, &victim);
        self.table.forget(victim.ino, 1);
        done
    }

    fn rmdir_inode(
        &self,
        volume: &Arc<Volume>,
        dir: &Arc<Inode>,
        name: &[u8],
        victim: &Arc<Inode>,
    ) -> Result<()> {
        if !victim.is_dir() {
            return Err(Errno::NOTDIR);
        }
        if self.table.has_pending(victim.ino) {
            return Err(Errno::NOTEMPTY);
        }
        let _tree = volume.tree.read();
        let key = self.table.key(volume, dir.ino, Some(name))?;
        let mut changes =
            vec![Change::Delete { key: key.clone(), cites: Cites::All, expect: Expect::Childless }];
        changes.extend(key.parent().and_then(|p| self.keep_dir(volume, dir, &p)));
        self.commit(volume, "rmdir", &key, changes)?;
        let time = now();
        let mut state = victim.state.lock();
        state.unlinked = true;
        state.meta.ctime = state.meta.ctime.max(time);
        drop(state);
        self.table.unlink(dir.ino, name, victim.ino);
        Ok(())
    }

    /// The inode behind a name that is about to lose it. Counts a look-up.
    pub(super) fn victim(&self, volume: &Arc<Volume>, parent: u64, name: &[u8]) -> Result<Arc<Inode>> {
        if let Known::Inode(inode) = self.table.child(parent, name, true)? {
            return Ok(inode);
        }
        let _tree = volume.tree.read();
        let key = self.table.key(volume, parent, Some(name))?;
        self.load(volume, parent, name, &key)?.ok_or(Errno::NOENT)
    }
}
