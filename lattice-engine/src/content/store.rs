//! The parts that everything else in this module shares: looking a chunk up, appending, handing rows to the index.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::{Mutex, RwLock};

use super::cache::Cache;
use super::codec::Codec;
use super::error::{ContentError, Result, index_err, io_at};
use super::index::{ChunkIndex, IndexBatch, Location};
use super::packs::{self, Pack, Packs};
use super::pins::Pins;
use super::record::{PACK_HEADER, PACK_MAGIC, file_header};
use super::sidecar::Sidecar;
use super::sync::Syncer;

/// Files smaller than this are copied into a pack.
pub const MIN_ADOPT: u64 = 1 << 20;
use crate::disk::{Disk, DiskFile, Open};
use crate::id::ChunkId;

/// Sizes that tests make small.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tuning {
    /// A pack takes no more records past this.
    pub pack_target: u64,
    /// Files smaller than this are copied into a pack.
    pub min_adopt: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { pack_target: 256 << 20, min_adopt: MIN_ADOPT }
    }
}

/// What all handles of a store's content share.
#[derive(Debug)]
pub(super) struct Inner {
    pub disk: Arc<dyn Disk>,
    pub staging: PathBuf,
    pub index: Arc<dyn ChunkIndex>,
    /// Locations that the index doesn't have yet. They win over the index.
    pub overlay: RwLock<Overlay>,
    /// Held while rows move to or leave the index, so that a stale row never overtakes its removal.
    pub index_lock: Mutex<()>,
    pub packs: Packs,
    pub appender: Mutex<Option<Appender>>,
    pub syncer: Syncer,
    pub pins: Pins,
    pub codec: Codec,
    pub cache: Cache,
    /// Chunks found damaged: taken as absent by whoever stores, so that storing them again heals.
    pub damaged: Mutex<HashSet<ChunkId>>,
    pub tuning: Tuning,
    /// Held by whoever takes packs away: a collection, or an adopted file's eviction.
    pub reclaiming: Mutex<()>,
    /// An adopted file was given up: what was read from a pack may be somebody else's bytes by now.
    pub gave_up: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Overlay {
    pub map: HashMap<ChunkId, Location>,
    /// In the order of the packs' bytes.
    pub queue: VecDeque<Pending>,
}

/// A row on its way to the index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub id: ChunkId,
    pub location: Location,
    /// The pack's mark once this row and all before it are in the index; `None`: not the last of its file.
    pub mark: Option<u64>,
}

/// The pack that takes appends.
#[derive(Debug)]
pub(super) struct Appender {
    pub pack: Arc<Pack>,
    pub file: Arc<dyn DiskFile>,
}

/// A record in a buffer that will be appended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub id: ChunkId,
    /// `offset` and `next` count from the buffer's start.
    pub location: Location,
    pub next: u64,
}

impl Item {
    /// Its place, once the buffer is in a pack from `base` on.
    fn at(&self, pack: u64, base: u64) -> Location {
        Location { pack, offset: base + self.location.offset, ..self.location }
    }
}

impl Overlay {
    /// Gives those chunks of an adopted file that `wanted` names their place in it; how many.
    pub fn list_raw(&mut self, sidecar: &Sidecar, pack: u64, wanted: impl Fn(&ChunkId) -> bool) -> u64 {
        let mut seen = HashSet::new();
        let mut rows: Vec<_> = sidecar
            .locations(pack)
            .filter(|(id, _)| wanted(id) && seen.insert(*id))
            .map(|(id, location)| Pending { id, location, mark: None })
            .collect();
        // Only with the last one is the file done: until then the next open looks at all of it.
        if let Some(last) = rows.last_mut() {
            last.mark = Some(sidecar.size);
        }
        self.map.extend(rows.iter().map(|row| (row.id, row.location)));
        self.queue.extend(&rows);
        rows.len() as u64
    }
}

impl Inner {
    /// Where a chunk stands, for reading: also if it is known to be damaged.
    pub fn locate(&self, id: &ChunkId) -> Result<Option<Location>> {
        if let Some(location) = self.overlay.read().map.get(id) {
            return Ok(Some(*location));
        }
        self.index.get(id).map_err(index_err("look a chunk up"))
    }

    /// Whether a chunk is stored and not known to be damaged. Touch it first.
    pub fn has(&self, id: &ChunkId) -> Result<bool> {
        if self.damaged.lock().contains(id) {
            return Ok(false);
        }
        if self.overlay.read().map.contains_key(id) {
            return Ok(true);
        }
        if self.pins.is_condemned(id) {
            return Ok(false);
        }
        let found = self.index.get(id).map_err(index_err("look a chunk up"))?;
        Ok(found.is_some_and(|location| self.usable(&location)))
    }

    /// False where the pack is gone or ends before the chunk does: storing it again heals.
    pub fn usable(&self, location: &Location) -> bool {
        self.packs.get(location.pack).is_some_and(|pack| location.end() <= pack.len())
    }

    /// Appends records of chunks whose bytes are what their names say. `force` makes these the chunks' places even where they
    /// have one.
    pub fn append(&self, buffer: &[u8], items: &[Item], force: bool) -> Result<()> {
        self.syncer.check()?;
        let mut appender = self.appender.lock();
        let full = |a: &Appender| {
            let len = a.pack.len();
            len > PACK_HEADER && len + buffer.len() as u64 > self.tuning.pack_target
        };
        if appender.as_ref().is_none_or(full) {
            *appender = Some(self.new_pack()?);
        }
        let Some(active) = appender.as_ref() else {
            return Ok(());
        };
        let base = active.pack.len();
        if let Err(e) = active.file.write_all_at(buffer, base) {
            // Best effort: gives a full disk its room back. What is left over is overwritten or cut at the next open.
            let _ = active.file.set_len(base);
            return Err(io_at("append to", &active.pack.path(&self.packs.dir))(e));
        }
        active.pack.set_len(base + buffer.len() as u64);
        self.syncer.wrote(&active.pack, &active.file, false);
        self.cache.set_verified(items.iter().map(|item| item.at(active.pack.id, base)));
        let mut damaged = self.damaged.lock();
        let mut overlay = self.overlay.write();
        for item in items {
            let location = item.at(active.pack.id, base);
            let mark = Some(base + item.next);
            let heals = damaged.remove(&item.id);
            // Two writers of the same chunk: the first one's place stands, the other's bytes are dead.
            if force || heals || !overlay.map.contains_key(&item.id) {
                overlay.map.insert(item.id, location);
            }
            overlay.queue.push_back(Pending { id: item.id, location, mark });
        }
        Ok(())
    }

    fn new_pack(&self) -> Result<Appender> {
        let id = self.packs.number();
        let pack = Pack::new(id, false, PACK_HEADER, 0);
        let path = packs::path(&self.packs.dir, id, "pack");
        let make = || {
            let file = self.disk.open(&path, Open::CreateNew)?;
            file.write_all_at(&file_header(PACK_MAGIC), 0).inspect_err(|_| {
                let _ = self.disk.remove(&path);
            })?;
            Ok(file)
        };
        let file = make().map_err(io_at("create", &path))?;
        self.packs.insert(pack.clone());
        self.syncer.wrote(&pack, &file, true);
        Ok(Appender { pack, file })
    }

    pub fn sync(&self) -> Result<()> {
        let synced = self.syncer.sync(self.disk.as_ref(), &self.packs.dir);
        // What was read back so far may have been in memory only.
        synced.inspect_err(|_| self.cache.unset_all_verified())
    }

    /// Moves up to `max` rows whose bytes are on disk to the index; how many it moved.
    pub fn index_pending(&self, max: usize) -> Result<usize> {
        let _one = self.index_lock.lock();
        self.index_pending_locked(max)
    }

    pub fn index_pending_locked(&self, max: usize) -> Result<usize> {
        let (batch, count) = self.pending(max);
        if count == 0 {
            return Ok(0);
        }
        self.index.apply(&batch, false).map_err(index_err("store rows"))?;
        let overlay = &mut *self.overlay.write();
        overlay.queue.drain(..count);
        for (id, location) in &batch.inserts {
            // Stored anew meanwhile: that row is still in the queue.
            if overlay.map.get(id) == Some(location) {
                overlay.map.remove(id);
            }
        }
        Ok(count)
    }

    fn pending(&self, max: usize) -> (IndexBatch, usize) {
        let overlay = self.overlay.read();
        let mut batch = IndexBatch::default();
        let mut marks = HashMap::new();
        let mut count = 0;
        for pending in overlay.queue.iter().take(max) {
            let gone = match self.packs.get(pending.location.pack) {
                // The index must never name what a crash could take back.
                Some(pack) if pending.location.end() > pack.synced() => break,
                Some(_) => false,
                None => true,
            };
            count += 1;
            if gone {
                continue;
            }
            if overlay.map.get(&pending.id) == Some(&pending.location) {
                batch.inserts.push((pending.id, pending.location));
            }
            if let Some(mark) = pending.mark {
                marks.insert(pending.location.pack, mark);
            }
        }
        batch.marks = marks.into_iter().map(|(pack, mark)| (pack, Some(mark))).collect();
        (batch, count)
    }

    pub fn read_pack(&self, pack: &Pack, buf: &mut [u8], offset: u64) -> Result<()> {
        let file = self.packs.file(self.disk.as_ref(), pack)?;
        file.read_exact_at(buf, offset).map_err(|e| self.read_error(pack, offset + buf.len() as u64, e))
    }

    /// Says "truncated" where that is what it is.
    fn read_error(&self, pack: &Pack, needed: u64, e: std::io::Error) -> ContentError {
        let path = pack.path(&self.packs.dir);
        let len =
            self.packs.file(self.disk.as_ref(), pack).and_then(|f| f.len().map_err(io_at("measure", &path)));
        match len {
            Ok(len) if len < needed => ContentError::Truncated { pack: path, len, expected: needed },
            _ => io_at("read", &path)(e),
        }
    }
}
