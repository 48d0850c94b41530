//! `open`, `close` and what stands between them: counts, and when staged bytes become an entry.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use lattice_engine::entry::Value;

use super::Fs;
use super::errno::{Errno, Result};
use super::inode::{Inode, Place, State};
use super::lent::{Backing, Register};
use super::staged::Staged;
use super::volume::{Volume, now};
use crate::view::Kind;

/// The handle of an open file that the kernel serves.
pub const THROUGH: u64 = u64::MAX;

/// How the kernel should treat an open file.
#[derive(Debug, Clone)]
pub struct Opened {
    /// What reads bring back; 0 for a file of a store, or [`THROUGH`].
    pub handle: u64,
    /// Nothing was or will be written: closing needs no call.
    pub no_flush: bool,
    /// The kernel may keep what it has cached of it.
    pub keep_cache: bool,
    /// The kernel reads this file by itself. With [`Opened::direct`], reads and writes come here all the same.
    pub through: Option<Backing>,
    /// Nothing of it is cached.
    pub direct: bool,
}

impl Opened {
    pub(super) fn for_flags(flags: i32) -> Self {
        let no_flush = !is_changing(flags);
        Self { handle: 0, no_flush, keep_cache: true, through: None, direct: false }
    }
}

pub(super) fn is_writing(flags: i32) -> bool {
    flags & libc::O_ACCMODE != libc::O_RDONLY
}

/// `O_TRUNC` empties a file that is opened only for reading, too.
fn is_changing(flags: i32) -> bool {
    is_writing(flags) || flags & libc::O_TRUNC != 0
}

impl Fs {
    /// [`Fs::open_by`] where the kernel is lent nothing.
    pub fn open(&self, ino: u64, flags: i32) -> Result<Opened> {
        self.open_by(ino, flags, &|_| None)
    }

    /// With `O_TRUNC` the file is empty from here on, in the same entry as what is written next. `register` is asked where
    /// the kernel could read a file by itself.
    pub fn open_by(&self, ino: u64, flags: i32, register: Register<'_>) -> Result<Opened> {
        let inode = self.table.get(ino)?;
        let volume = match &inode.place {
            Place::Store(volume) => volume,
            Place::Control(volume, path) => {
                let text = self.open_control(volume, path, &inode)?;
                let handle = self.next_handle.fetch_add(1, Ordering::Relaxed);
                self.texts.lock().insert(handle, text);
                let none = Opened::for_flags(libc::O_RDONLY);
                return Ok(Opened { handle, keep_cache: false, ..none });
            }
            Place::Top => return Err(Errno::ISDIR),
            Place::StoreName(_) => return Err(Errno::LOOP),
        };
        match inode.kind {
            Kind::File => {}
            Kind::Dir => return Err(Errno::ISDIR),
            Kind::Symlink => return Err(Errno::LOOP),
            Kind::Fifo | Kind::Socket => return Err(Errno::NXIO),
        }
        let writing = is_writing(flags);
        let mut state = if is_changing(flags) {
            volume.writable()?;
            self.settled_own(volume, &inode)?
        } else {
            inode.state.lock()
        };
        if is_changing(flags) {
            self.share(volume, &inode, &mut state)?;
        } else {
            self.lend(volume, &inode, &mut state, register);
        }
        if flags & libc::O_TRUNC != 0 {
            self.stage_empty(volume, &inode, &mut state)?;
        }
        state.opens += 1;
        state.writers += u32::from(writing);
        if state.opens == 1 {
            self.table.pin(ino);
        }
        Ok(self.opened(&inode, &mut state, flags, register))
    }

    /// What the kernel is told: as long as one who has the inode open reads a lent file, everybody does.
    fn opened(&self, inode: &Arc<Inode>, state: &mut State, flags: i32, register: Register<'_>) -> Opened {
        let opened = Opened::for_flags(flags);
        let Some(lent) = &mut state.lent else {
            return Opened { keep_cache: !state.stale, ..opened };
        };
        let through = lent.backing(register);
        if through.is_none() {
            // It was only mapped still, and the kernel won't have it any more.
            state.lent = None;
            self.table.unpin(inode.ino);
            return Opened { keep_cache: !state.stale, ..opened };
        }
        state.through += 1;
        if flags & libc::O_ACCMODE == libc::O_RDWR {
            self.watch_mapped(inode, state);
        }
        Opened { handle: THROUGH, keep_cache: false, through, direct: is_changing(flags), ..opened }
    }

    fn stage_empty(&self, volume: &Volume, inode: &Arc<Inode>, state: &mut State) -> Result<()> {
        if let Some(staged) = state.staged.as_mut().filter(|s| s.is_shared()) {
            let done = staged.set_len(0, || volume.handle.staging_path());
            done.map_err(|e| self.stage_failed(volume, "open", inode, &e))?;
            if let Some(staged) = &mut state.staged {
                staged.set_fresh();
            }
            state.touch(now());
            self.note_dirty(inode, state);
            return Ok(());
        }
        let mut staged = Staged::empty();
        if let Some(before) = state.staged.take() {
            staged.attrs = before.attrs;
            staged.listed = before.listed;
        }
        state.staged = Some(staged);
        state.touch(now());
        self.note_dirty(inode, state);
        Ok(())
    }

    /// Every `close`, also of one of several descriptors. What was written is an entry when it returns, or is logged.
    pub fn flush(&self, ino: u64) -> Result<()> {
        let inode = self.table.get(ino)?;
        match &inode.place {
            Place::Store(volume) => self.save_at_close(volume, &inode),
            _ => Ok(()),
        }
    }

    /// The last `close` of one `open`.
    pub fn release(&self, ino: u64, handle: u64, flags: i32) -> Result<()> {
        if handle != 0 && handle != THROUGH {
            self.texts.lock().remove(&handle);
            return Ok(());
        }
        let inode = self.table.get(ino)?;
        let Place::Store(volume) = &inode.place else {
            return Ok(());
        };
        let (dirty, empty) = {
            let state = inode.state.lock();
            let mapped = state.lent.as_ref().is_some_and(|l| l.mappable);
            (state.is_dirty() || mapped, state.intent.as_ref().is_some_and(|u| u.intent.size == 0))
        };
        let saved = match is_writing(flags) {
            // A mapping may have been written after the last flush.
            true if dirty => self.save(volume, &inode),
            // It was closed without a write, and stays empty.
            true if empty => self.settle_intent(volume, &inode),
            _ => Ok(()),
        };
        let mut state = inode.state.lock();
        state.opens = state.opens.saturating_sub(1);
        state.writers = state.writers.saturating_sub(u32::from(is_writing(flags)));
        if handle == THROUGH {
            state.through = state.through.saturating_sub(1);
        } else {
            // When it was opened the kernel dropped what it had.
            state.stale = false;
        }
        if state.writers == 0 && state.intent.is_some() {
            self.queue.promote(&inode);
        }
        self.drop_clean(&mut state);
        self.take_back(volume, &inode, &mut state);
        let last = state.opens == 0;
        drop(state);
        if last {
            self.table.unpin(ino);
        }
        saved
    }

    /// Lets go of buffers that hold nothing new and that nobody has open.
    pub(super) fn drop_clean(&self, state: &mut State) {
        let unsaved = state.is_dirty() && !state.unlinked;
        // One that may get a name yet lives as long as the kernel knows it.
        let orphan = state.unlinked && (state.opens > 0 || state.linkable);
        // Who reads a lent file sees what is written next.
        let shared = state.through > 0;
        let needed = unsaved || orphan || shared || state.writers > 0 || state.intent.is_some();
        if !needed {
            state.staged = None;
        }
        if state.opens == 0 {
            state.reader = None;
        }
    }

    /// What was written, and all that it depends on, survives a power loss when it returns.
    pub fn fsync(&self, ino: u64) -> Result<()> {
        let inode = self.table.get(ino)?;
        let Place::Store(volume) = &inode.place else {
            return Ok(());
        };
        if inode.state.lock().unlinked {
            return Ok(());
        }
        self.save(volume, &inode)?;
        self.make_durable(volume, &inode)?;
        self.sync_volume(volume, &inode)
    }

    pub fn fsyncdir(&self, ino: u64) -> Result<()> {
        let inode = self.table.get(ino)?;
        let Place::Store(volume) = &inode.place else {
            return Ok(());
        };
        // A name that appeared here is durable with its file's first version, even an empty one.
        for (_, child) in self.table.pending(ino) {
            self.save(volume, &child)?;
            self.make_durable(volume, &child)?;
        }
        self.sync_volume(volume, &inode)
    }

    fn sync_volume(&self, volume: &Volume, inode: &Inode) -> Result<()> {
        volume.handle.sync().map_err(|e| {
            let key = self.table.key(volume, inode.ino, None).unwrap_or(lattice_engine::key::Key::ROOT);
            volume.failed("fsync", &key, &e)
        })
    }

    pub fn readlink(&self, ino: u64) -> Result<bytes::Bytes> {
        let inode = self.table.get(ino)?;
        if let Place::StoreName(target) = &inode.place {
            return Ok(target.clone());
        }
        match &inode.state.lock().value {
            Value::Symlink(target) => Ok(target.clone()),
            _ => Err(Errno::INVAL),
        }
    }
}
