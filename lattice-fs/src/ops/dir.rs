//! `readdir`. A stream pages through the store's listing, remembers the names it gave out, and so stays in place
//! whatever is removed behind it. `.lattice` is never listed.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use lattice_engine::key::Key;
use lattice_engine::merge::Record;

use super::Fs;
use super::attr::{Attr, file_attr, shown_dir};
use super::errno::{Errno, Result};
use super::ids::ino_of;
use super::inode::{Inode, Place};
use super::listing::Listing;
use super::table::{Known, ROOT};
use super::volume::Volume;
use crate::view::{Kind, Shown, shown};

/// Entries asked of the store at a time.
const PAGE: usize = 512;
/// Larger directories are not left to the kernel's cache: we would have to remember their order as long as it does.
const MAX_CACHED: u64 = 4096;

/// One open directory.
#[derive(Debug, Default)]
pub struct Stream {
    /// Names given out so far, in order: an offset is an index here, after `.` and `..`.
    names: Vec<Bytes>,
    /// What comes next: `page[0]` is `names.len()`-th.
    page: VecDeque<(Bytes, Item)>,
    /// The last of the page, from where the store is asked again.
    after: Option<Bytes>,
    started: bool,
    ended: bool,
    /// Given out first, because the store doesn't know them: not again when it does.
    pending: Arc<BTreeSet<Bytes>>,
}

#[derive(Debug)]
enum Item {
    Record(Arc<Record>),
    /// Only the table knows it.
    Pending,
}

/// What is handed to the kernel for each name.
#[derive(Debug)]
pub enum DirEntry<'a> {
    /// `.` and `..`, or any name of a plain `readdir`.
    Name { ino: u64, kind: Kind, name: &'a [u8] },
    /// With attributes; a look-up was counted, and is taken back if it doesn't fit. Not every kind may be cached.
    Full { attr: Attr, name: &'a [u8], cache: bool },
}

impl Fs {
    /// The handle of a new stream, and whether the kernel may keep what it reads.
    pub fn opendir(&self, ino: u64) -> Result<(u64, bool)> {
        let inode = self.table.get(ino)?;
        if !inode.is_dir() {
            return Err(Errno::NOTDIR);
        }
        let fh = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.dirs.lock().insert(fh, Arc::default());
        self.table.pin(ino);
        Ok((fh, self.may_cache(&inode)))
    }

    fn may_cache(&self, inode: &Inode) -> bool {
        let Place::Store(volume) = &inode.place else {
            return false;
        };
        let _tree = volume.tree.read();
        let Ok(key) = self.table.key(volume, inode.ino, None) else {
            return false;
        };
        let record = volume.handle.get(&key);
        record.is_ok_and(|r| r.is_none_or(|r| r.below.children <= MAX_CACHED))
    }

    pub fn releasedir(&self, ino: u64, fh: u64) {
        if self.dirs.lock().remove(&fh).is_some() {
            self.table.unpin(ino);
        }
    }

    /// Gives entries from `offset` on to `emit` (entry, offset of the next) until that says it's full.
    pub fn readdir(
        &self,
        ino: u64,
        fh: u64,
        offset: u64,
        full: bool,
        emit: &mut dyn FnMut(DirEntry<'_>, u64) -> bool,
    ) -> Result<()> {
        let dir = self.table.get(ino)?;
        let stream = self.dirs.lock().get(&fh).cloned().ok_or(Errno::BADF)?;
        let mut stream = stream.lock();
        let parent = self.table.place(ino).map_or(ROOT, |(parent, _)| parent);
        for (at, (name, ino)) in [(&b"."[..], ino), (b"..", parent)].into_iter().enumerate() {
            let at = at as u64;
            if offset <= at && emit(DirEntry::Name { ino, kind: Kind::Dir, name }, at + 1) {
                return Ok(());
            }
        }
        let at = offset.saturating_sub(2) as usize;
        match &dir.place {
            Place::Top => self.read_top(at, full, emit),
            Place::StoreName(_) => Err(Errno::NOTDIR),
            Place::Control(volume, path) => self.read_control(volume, ino, path, at, full, emit),
            Place::Store(volume) => self.read_store(volume, &dir, &mut stream, at, full, emit),
        }
    }

    fn read_store(
        &self,
        volume: &Arc<Volume>,
        dir: &Arc<Inode>,
        stream: &mut Stream,
        at: usize,
        full: bool,
        emit: &mut dyn FnMut(DirEntry<'_>, u64) -> bool,
    ) -> Result<()> {
        let _tree = volume.tree.read();
        if dir.state.lock().unlinked {
            return Ok(());
        }
        let key = self.table.key(volume, dir.ino, None)?;
        if at == 0 {
            *stream = Stream::default();
        }
        if !stream.started {
            let listing = dir.state.lock().listing.clone().filter(|l| at > 0 && l.names.len() >= at);
            match listing {
                Some(listing) => stream.resume(&listing),
                None => stream.start(self.table.pending(dir.ino)),
            }
        }
        if at < stream.names.len() {
            stream.seek(at);
        }
        let seen = volume.changes();
        loop {
            self.fill(volume, &key, stream)?;
            let Some((name, item)) = stream.page.front() else {
                if stream.names.len() as u64 <= MAX_CACHED {
                    dir.state.lock().listing = Some(Arc::new(stream.listing()));
                }
                return Ok(());
            };
            if stream.names.len() < at {
                // Given out by another stream whose order is forgotten.
                stream.names.extend(stream.page.pop_front().map(|(name, _)| name));
                continue;
            }
            let next = stream.names.len() as u64 + 3;
            if self.give(volume, dir, &key, name, item, full, seen, next, emit)? {
                return Ok(());
            }
            if let Some((name, _)) = stream.page.pop_front() {
                stream.names.push(name);
            }
        }
    }

    fn fill(&self, volume: &Volume, key: &Key, stream: &mut Stream) -> Result<()> {
        while stream.page.is_empty() && !stream.ended {
            let after = stream.after.as_deref();
            let page = volume.handle.list(key, after, PAGE).map_err(|e| volume.failed("readdir", key, &e))?;
            stream.ended = page.len() < PAGE;
            if let Some((name, _)) = page.last() {
                stream.after = Some(name.clone());
            }
            let fresh = page.into_iter().filter(|(name, _)| !stream.pending.contains(name));
            stream.page.extend(fresh.map(|(name, record)| (name, Item::Record(record))));
        }
        Ok(())
    }

    /// Gives one entry out; true when it didn't fit.
    #[allow(clippy::too_many_arguments, reason = "the state of one readdir, passed on")]
    fn give(
        &self,
        volume: &Arc<Volume>,
        dir: &Arc<Inode>,
        key: &Key,
        name: &Bytes,
        item: &Item,
        full: bool,
        seen: u64,
        next: u64,
        emit: &mut dyn FnMut(DirEntry<'_>, u64) -> bool,
    ) -> Result<bool> {
        let record = match item {
            Item::Record(record) => record,
            // Unlinked or renamed since the stream began: then it isn't here any more.
            Item::Pending => match self.table.child(dir.ino, name, full)? {
                Known::Inode(inode) => return self.give_inode(&inode, name, full, next, emit),
                Known::Absent | Known::Unknown => return Ok(false),
            },
        };
        let Ok(child) = key.join(name) else {
            return Ok(false);
        };
        let Some(shown) = shown(&child, record, &volume.defaults) else {
            return Ok(false);
        };
        if !full {
            let ino = match self.table.child(dir.ino, name, false)? {
                Known::Inode(inode) => inode.ino,
                _ => ino_of(&shown.file_id),
            };
            return Ok(emit(DirEntry::Name { ino, kind: shown.kind, name }, next));
        }
        let inode = if volume.changes() == seen {
            self.enter(volume, dir.ino, name, record, &shown)?
        } else {
            match self.lookup_again(volume, dir.ino, name, &child)? {
                Some(inode) => inode,
                None => return Ok(false),
            }
        };
        let attr = entry_attr(&inode, &shown);
        let no_room = emit(DirEntry::Full { attr, name, cache: true }, next);
        if no_room {
            self.table.forget(inode.ino, 1);
        }
        Ok(no_room)
    }

    fn give_inode(
        &self,
        inode: &Arc<Inode>,
        name: &[u8],
        full: bool,
        next: u64,
        emit: &mut dyn FnMut(DirEntry<'_>, u64) -> bool,
    ) -> Result<bool> {
        match full {
            true => self.give_full(inode, name, true, next, emit),
            false => Ok(emit(DirEntry::Name { ino: inode.ino, kind: inode.kind, name }, next)),
        }
    }

    /// Gives out an inode whose look-up is counted already, with its attributes; true when it didn't fit.
    pub(super) fn give_full(
        &self,
        inode: &Arc<Inode>,
        name: &[u8],
        cache: bool,
        next: u64,
        emit: &mut dyn FnMut(DirEntry<'_>, u64) -> bool,
    ) -> Result<bool> {
        let given = self.attr(inode).map(|attr| emit(DirEntry::Full { attr, name, cache }, next));
        if !matches!(given, Ok(false)) {
            self.table.forget(inode.ino, 1);
        }
        given
    }

    /// The store moved while its listing was read: ask for this name alone.
    fn lookup_again(
        &self,
        volume: &Arc<Volume>,
        dir: u64,
        name: &[u8],
        key: &Key,
    ) -> Result<Option<Arc<Inode>>> {
        match self.table.child(dir, name, true)? {
            Known::Inode(inode) => Ok(Some(inode)),
            Known::Absent => Ok(None),
            Known::Unknown => self.load(volume, dir, name, key),
        }
    }
}

impl Stream {
    /// Back to an entry that was given out.
    fn seek(&mut self, at: usize) {
        self.names.truncate(at);
        self.after = self.names.get(self.pending.len()..).and_then(|n| n.last()).cloned();
        self.page.clear();
        self.ended = false;
        self.give_pending();
    }

    fn start(&mut self, pending: Vec<(Box<[u8]>, Arc<Inode>)>) {
        self.started = true;
        self.pending = Arc::new(pending.into_iter().map(|(name, _)| Bytes::from(Vec::from(name))).collect());
        self.give_pending();
    }

    /// Goes on in the order of another stream.
    fn resume(&mut self, listing: &Listing) {
        *self = Self { names: listing.names.clone(), pending: listing.pending.clone(), ..Self::default() };
        self.started = true;
        self.seek(self.names.len());
    }

    fn listing(&self) -> Listing {
        Listing { names: self.names.clone(), pending: self.pending.clone() }
    }

    /// Pending names come first, in order: those that were not given out.
    fn give_pending(&mut self) {
        let rest = self.pending.iter().skip(self.names.len());
        self.page.extend(rest.map(|name| (name.clone(), Item::Pending)));
    }
}

/// What a directory's entry shows: the inode's own state, or for a directory the record's.
fn entry_attr(inode: &Inode, seen: &Shown) -> Attr {
    match inode.is_dir() && seen.kind == Kind::Dir {
        true => shown_dir(inode, seen),
        false => file_attr(inode, &inode.state.lock()),
    }
}
