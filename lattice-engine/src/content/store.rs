//! The parts that everything else in this module shares: looking a chunk up, handing rows to the index.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use parking_lot::{Mutex, RwLock};

use super::append::Appender;
use super::cache::Cache;
use super::codec::Codec;
use super::error::{ContentError, Result, index_err, io_at};
use super::index::{ChunkIndex, IndexBatch, Location};
use super::packs::{Pack, Packs};
use super::pins::Pins;
use super::sidecar::Sidecar;
use super::sync::Syncer;
use crate::disk::Disk;
use crate::id::ChunkId;

/// Files smaller than this are copied into a pack.
pub const MIN_ADOPT: u64 = 1 << 20;

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
