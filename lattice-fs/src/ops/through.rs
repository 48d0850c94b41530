//! When the kernel reads a file by itself, and what then becomes of who writes it.
//!
//! Lent is what doesn't change: an adopted file of the store, or a large file that was closed and is on its way to become
//! one; to readers only, and only where nobody has the inode open through us: the kernel allows no mixture. As long as one
//! of them is there, all who open the inode share that file. Who writes it must be seen by them, and the store's bytes must
//! not change: so before the first write-open the store is made to keep a copy and the file becomes the writers' own. They
//! write through us, into that file: the readers see it, and here it is known which parts changed.
//!
//! A mapping may outlive its descriptor, and the kernel doesn't tell. So a file stays lent until nobody else has it open.

use std::fs::File;
use std::sync::Arc;

use lattice_engine::content::MIN_ADOPT;
use lattice_engine::entry::Value;
use lattice_engine::key::Key;
use lattice_engine::store::{Reader, StoreError};
use parking_lot::MutexGuard;

use super::Fs;
use super::errno::{self, Errno, Result};
use super::inode::{Inode, Place, State};
use super::lent::{Lent, Register, reopen};
use super::staged::{Body, Staged};
use super::volume::{Volume, now};

impl Fs {
    /// For a reader: lends a file to the kernel if there is one, or shares the one that is lent.
    pub(super) fn lend(
        &self,
        volume: &Volume,
        inode: &Arc<Inode>,
        state: &mut State,
        register: Register<'_>,
    ) {
        if state.lent.is_some() || state.opens > 0 || state.size() < MIN_ADOPT {
            return;
        }
        let Some((file, reader)) = self.unchanging(volume, inode, state) else { return };
        state.lent = Lent::new(file, reader, register);
        if state.lent.is_some() {
            // Mappings may last longer than any open: see `take_back`.
            self.table.pin(inode.ino);
        }
    }

    /// A file that has exactly what the inode shows, and keeps it until somebody opens the inode for writing.
    fn unchanging(
        &self,
        volume: &Volume,
        inode: &Inode,
        state: &mut State,
    ) -> Option<(File, Option<Reader>)> {
        match &state.staged {
            Some(staged) => match &staged.body {
                // Closed and logged: it is adopted as it is.
                Body::File(f) if !staged.is_dirty() && state.intent.is_some() && state.writers == 0 => {
                    Some((reopen(f.file().ok()?).ok()?, None))
                }
                _ => None,
            },
            None if state.intent.is_none() && matches!(state.value, Value::File(_)) => {
                let reader = self.reader(volume, inode, state).ok()?;
                Some((reader.contiguous()?, Some(reader)))
            }
            None => None,
        }
    }

    /// The state of an inode that is about to be changed: nothing of it on its way, and a lent file nobody's but ours.
    pub(super) fn settled_own<'a>(
        &self,
        volume: &Volume,
        inode: &'a Arc<Inode>,
    ) -> Result<MutexGuard<'a, State>> {
        loop {
            let mut state = self.settled(volume, inode)?;
            self.take_back(volume, inode, &mut state);
            if state.through == 0 && state.lent.is_some() {
                // The store itself has a file open until it is flushed.
                drop(state);
                let key = || self.table.key(volume, inode.ino, None).unwrap_or(Key::ROOT);
                let synced = volume.handle.content().sync().map_err(StoreError::Content);
                synced.map_err(|e| volume.failed("open", &key(), &e))?;
                state = self.settled(volume, inode)?;
                self.take_back(volume, inode, &mut state);
            }
            let Some(lent) = &state.lent else { return Ok(state) };
            if !lent.is_stored().map_err(|e| self.lent_failed(volume, inode, &e))? {
                return Ok(state);
            }
            let reader = lent.reader.clone();
            // Copying may take seconds.
            drop(state);
            let Some(reader) = reader else {
                let why = std::io::Error::other("a lent file has a name and is not the store's");
                return Err(self.lent_failed(volume, inode, &why));
            };
            let key = || self.table.key(volume, inode.ino, None).unwrap_or(Key::ROOT);
            reader.give_up().map_err(|e| volume.failed("open", &key(), &e))?;
            let state = inode.state.lock();
            if let Some(lent) = &state.lent
                && lent.is_stored().map_err(|e| self.lent_failed(volume, inode, &e))?
            {
                // Something else holds on to its name: better no writer than a changed pack.
                return Err(Errno::TXTBSY);
            }
        }
    }

    /// What writers write into while readers have the file from the kernel: the same file.
    pub(super) fn share(&self, volume: &Volume, inode: &Inode, state: &mut State) -> Result<()> {
        if state.staged.is_some() {
            return Ok(());
        }
        let Some(lent) = &state.lent else { return Ok(()) };
        if lent.is_stored().map_err(|e| self.lent_failed(volume, inode, &e))? {
            return Err(Errno::TXTBSY);
        }
        let over = lent.writable().map_err(|e| self.lent_failed(volume, inode, &e))?;
        if let Some(lent) = &mut state.lent {
            lent.reader = None;
        }
        state.reader = None;
        let base = self.reader(volume, inode, state)?;
        state.staged = Some(Staged::sharing(base, over));
        state.stale = true;
        Ok(())
    }

    /// Takes a lent file back if nobody has it open or mapped any more. A name that it still has is the store's.
    pub(super) fn take_back(&self, volume: &Volume, inode: &Arc<Inode>, state: &mut State) {
        let Some(lent) = &mut state.lent else { return };
        if state.through > 0 {
            return;
        }
        if state.intent.is_none() && state.staged.is_none() && !lent.is_in_use() {
            if let Err(errno) = self.see_mapped(volume, inode, state) {
                tracing::warn!(path = self.path_of(inode), %errno, "what was written through a mapping waits");
            }
            // Something was: it is saved first.
            if state.staged.is_none() {
                state.lent = None;
                self.table.unpin(inode.ino);
                return;
            }
        }
        self.watch_lent(inode, state);
    }

    /// A mapping may end, or be written, without a call.
    fn watch_lent(&self, inode: &Arc<Inode>, state: &mut State) {
        if let Some(lent) = &mut state.lent
            && !std::mem::replace(&mut lent.listed, true)
        {
            self.queue.quiet(inode);
        }
    }

    /// From now on somebody may write it through a mapping.
    pub(super) fn watch_mapped(&self, inode: &Arc<Inode>, state: &mut State) {
        if let Some(lent) = &mut state.lent
            && !std::mem::replace(&mut lent.mappable, true)
            && let Err(e) = lent.has_changed()
        {
            // It is asked again, and then all of it counts as changed.
            tracing::warn!(path = self.path_of(inode), cause = %e, "a file that is lent can't be looked at");
        }
        self.watch_lent(inode, state);
    }

    /// Now and then: whether a lent file wants more watching.
    pub(super) fn tend_lent(&self, inode: &Arc<Inode>, state: &mut State) -> bool {
        let Place::Store(volume) = &inode.place else { return false };
        if let Err(errno) = self.see_mapped(volume, inode, state) {
            tracing::warn!(path = self.path_of(inode), %errno, "what was written through a mapping waits");
        }
        self.drop_clean(state);
        self.take_back(volume, inode, state);
        let through = state.through > 0;
        let Some(lent) = &mut state.lent else { return false };
        lent.listed = !through || lent.mappable;
        lent.listed
    }

    /// The store has adopted a file that was lent while it was on its way, or copied it.
    pub(super) fn lent_arrived(&self, volume: &Volume, inode: &Inode, state: &mut State) {
        if state.lent.is_none() {
            return;
        }
        let Ok(reader) = self.reader(volume, inode, state) else { return };
        if let (Some(lent), Some(file)) = (&mut state.lent, reader.contiguous())
            && let Err(e) = lent.adopt(file, reader)
        {
            tracing::warn!(path = self.path_of(inode), cause = %e, "a file that is lent can't be looked at");
        }
    }

    /// Writes back what was written through a mapping, which may take long: with no lock held, and before
    /// [`Fs::see_mapped`], which then takes no time.
    pub(super) fn write_back(&self, volume: &Volume, inode: &Inode) -> Result<()> {
        let twin = inode.state.lock().lent.as_ref().filter(|l| l.mappable).map(Lent::twin);
        let Some(twin) = twin else { return Ok(()) };
        let done = twin.and_then(|file| Ok(rustix::fs::fdatasync(file)?));
        done.map_err(|e| self.lent_failed(volume, inode, &e))
    }

    /// Stages what was written through a mapping of a shared file, of which no call told us.
    pub(super) fn see_mapped(&self, volume: &Volume, inode: &Arc<Inode>, state: &mut State) -> Result<()> {
        // What changes while it is saved is seen after that.
        if state.frozen.is_some() {
            return Ok(());
        }
        let Some(lent) = state.lent.as_mut().filter(|l| l.mappable) else { return Ok(()) };
        let seen = lent.has_changed().and_then(|changed| Ok((changed, lent.size()?)));
        let (changed, size) = seen.map_err(|e| self.lent_failed(volume, inode, &e))?;
        if !changed {
            return Ok(());
        }
        self.share(volume, inode, state)?;
        if let Some(staged) = &mut state.staged {
            staged.all_may_differ(size);
        }
        state.touch(now());
        self.note_dirty(inode, state);
        Ok(())
    }

    fn lent_failed(&self, volume: &Volume, inode: &Inode, error: &std::io::Error) -> Errno {
        let key = self.table.key(volume, inode.ino, None);
        errno::of_staging("open", &key.map_or_else(|_| String::new(), |k| k.to_string()), error)
    }
}
