//! Giving back what nothing names. Rows leave the index, durably, before a byte is destroyed; then packs are removed,
//! rewritten when more than half dead, or punched. A crash anywhere leaves at worst dead chunks, found again by scanning.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::ContentStore;
use super::append::Records;
use super::error::{ContentError, Result, index_err, io_at};
use super::index::{IndexBatch, Location};
use super::packs::{self, Pack};
use super::pins::Spared;
use super::record::{PACK_HEADER, RECORD_HEADER, whole_blocks};
use super::scan::Scan;
use super::sidecar::Sidecar;
use super::store::Inner;
use crate::disk::Open;
use crate::id::ChunkId;

/// Rows that are condemned together: commits wait for no more than one such batch.
const CONDEMN: usize = 4096;
/// Rows moved to the index in one transaction.
const MOVE: usize = 1 << 16;
/// How often what appears meanwhile is read without making commits wait, for each batch.
const PATIENCE: usize = 4;
/// Records are copied once this many bytes wait.
const COPY: u64 = 1 << 20;

/// A collection under way: from now on what is stored or relied on is spared. Dropped, it ends and removes nothing.
#[derive(Debug)]
pub struct GcToken {
    inner: Arc<Inner>,
}

impl Drop for GcToken {
    fn drop(&mut self) {
        self.inner.pins.end();
    }
}

/// What a collection did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    /// Chunks removed, and the bytes they took in packs.
    pub chunks: u64,
    pub bytes: u64,
    /// Bytes given back to the file system: fewer where dead chunks share blocks with live ones.
    pub freed_bytes: u64,
    pub packs_removed: u64,
    pub packs_rewritten: u64,
    /// Packs that were left as they are because something in them is damaged.
    pub problems: Vec<String>,
}

/// What is freed is whole blocks of this size.
const PAGE: u64 = 4096;

/// Live rows of a pack, by offset.
pub(super) type Rows = BTreeMap<u64, (ChunkId, Location)>;

impl ContentStore {
    /// Begins a collection. List what is live after this, then [`ContentStore::collect`].
    pub fn begin_gc(&self) -> Result<GcToken> {
        if !self.inner.pins.begin() {
            return Err(ContentError::GcRunning);
        }
        Ok(GcToken { inner: self.inner.clone() })
    }

    /// Removes every chunk that is not in `live` (ids of manifests included: [`ContentStore::ids_of`]), was stored
    /// before the collection began, and is not pinned by a reader or a commit under way.
    pub fn collect(&self, token: GcToken, live: &HashSet<ChunkId>) -> Result<GcReport> {
        let inner = &token.inner;
        let _one = inner.reclaiming.lock();
        let mut report = GcReport::default();
        inner.sync()?;
        inner.index_all()?;
        inner.condemn(live, &mut report)?;
        // A crash must not bring rows back whose bytes are destroyed next.
        inner.index.apply(&IndexBatch::default(), true).map_err(index_err("flush"))?;
        inner.reclaim(&mut report)?;
        inner.sync()?;
        Ok(report)
    }
}

impl Inner {
    /// Moves to the index what waits now; what is stored meanwhile may wait.
    fn index_all(&self) -> Result<()> {
        let mut left = self.overlay.read().queue.len();
        while left > 0 {
            match self.index_pending(left.min(MOVE))? {
                0 => break,
                moved => left -= moved.min(left),
            }
        }
        Ok(())
    }

    fn condemn(&self, live: &HashSet<ChunkId>, report: &mut GcReport) -> Result<()> {
        let candidates = self.candidates(live)?;
        let (mut seen, mut spare) = (0, HashSet::new());
        for batch in candidates.chunks(CONDEMN) {
            let mut patience = PATIENCE;
            loop {
                let add = |spared, spare: &mut _| self.spare(spared, spare);
                let one = self.index_lock.lock();
                let now: Option<&dyn Fn(_, &mut _) -> _> = if patience == 0 { Some(&add) } else { None };
                match self.pins.condemn(&mut seen, batch, &mut spare, now)? {
                    Ok(dead) => {
                        self.bury(dead, report)?;
                        break;
                    }
                    Err(spared) => {
                        drop(one);
                        patience -= 1;
                        self.spare(spared, &mut spare)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Rows of the index alone: what still waits for it was stored a moment ago, and is for the next collection.
    fn candidates(&self, live: &HashSet<ChunkId>) -> Result<Vec<ChunkId>> {
        let waiting: HashSet<ChunkId> = self.overlay.read().map.keys().copied().collect();
        let mut candidates = Vec::new();
        let mut look = |id, _| {
            if !live.contains(&id) && !waiting.contains(&id) {
                candidates.push(id);
            }
        };
        self.index.for_each(&mut look).map_err(index_err("list its rows"))?;
        Ok(candidates)
    }

    fn spare(&self, spared: Spared, spare: &mut HashSet<ChunkId>) -> Result<()> {
        for layout in spared.layouts {
            spare.extend(layout.ids());
        }
        for (id, size) in spared.manifests {
            spare.extend(self.layout(&id, size)?.ids());
        }
        Ok(())
    }

    /// Takes condemned chunks out of the index; under `index_lock`. One that somebody has stored again since waits in the
    /// overlay, where it stays.
    pub fn bury(&self, dead: Vec<ChunkId>, report: &mut GcReport) -> Result<()> {
        for id in &dead {
            if let Some(location) = self.index.get(id).map_err(index_err("look a chunk up"))? {
                report.chunks += 1;
                report.bytes += u64::from(location.stored_len);
            }
        }
        let batch = IndexBatch { removes: dead, ..IndexBatch::default() };
        self.index.apply(&batch, false).map_err(index_err("remove rows"))?;
        self.cache.forget(&batch.removes);
        self.pins.executed();
        Ok(())
    }

    /// Every row, of the index and of the overlay, which wins. The caller holds `index_lock` where a row that moves
    /// between the two meanwhile must not be missed.
    pub fn each_row(&self, visit: &mut dyn FnMut(ChunkId, Location)) -> Result<()> {
        let newer = self.overlay.read().map.clone();
        for (id, location) in &newer {
            visit(*id, *location);
        }
        self.index
            .for_each(&mut |id, location| {
                if !newer.contains_key(&id) {
                    visit(id, location);
                }
            })
            .map_err(index_err("list its rows"))
    }

    fn reclaim(&self, report: &mut GcReport) -> Result<()> {
        for (pack, rows) in self.with_dead()? {
            let path = pack.path(&self.packs.dir);
            let before = self.allocated(&pack)?;
            let live: u64 = rows.values().map(|(_, l)| u64::from(l.stored_len) + RECORD_HEADER as u64).sum();
            let outcome = if rows.is_empty() {
                report.packs_removed += 1;
                self.remove_pack(&pack)
            } else if live < pack.len() / 2 {
                self.rewrite(&pack, &rows).map(|()| report.packs_rewritten += 1)
            } else if pack.raw {
                self.punch_raw(&pack, &rows)
            } else {
                self.punch(&pack, &rows)
            };
            match outcome {
                Ok(()) => {}
                Err(e @ (ContentError::Corrupt { .. } | ContentError::Truncated { .. })) => {
                    report.problems.push(e.to_string());
                }
                Err(e) => return Err(e),
            }
            let after = if self.packs.get(pack.id).is_some() { self.allocated(&pack)? } else { 0 };
            let freed = before.saturating_sub(after);
            tracing::debug!("freed {freed} bytes of {}", path.display());
            report.freed_bytes += freed;
        }
        Ok(())
    }

    fn allocated(&self, pack: &Pack) -> Result<u64> {
        let file = self.packs.file(self.disk.as_ref(), pack)?;
        file.allocated().map_err(io_at("measure", &pack.path(&self.packs.dir)))
    }

    /// The packs that hold dead bytes, but for the one that takes appends, and what is live in them.
    fn with_dead(&self) -> Result<Vec<(Arc<Pack>, Rows)>> {
        let _one = self.index_lock.lock();
        // Under both locks no pack is listed whose rows are still to come.
        let (packs, active) = {
            let mut appender = self.appender.lock();
            let _overlay = self.overlay.read();
            let packs = self.packs.all();
            (packs, appender.as_mut().map(|a| a.pack.id))
        };
        let mut used: HashMap<u64, u64> = HashMap::new();
        self.each_row(&mut |_, l| *used.entry(l.pack).or_default() += row_len(&l))?;
        let mut out: BTreeMap<u64, (Arc<Pack>, Rows)> = BTreeMap::new();
        for pack in packs {
            let live = used.get(&pack.id).copied().unwrap_or_default();
            let dead = self.dead_bytes(&pack, live)?;
            if dead == 0 {
                continue;
            }
            if active == Some(pack.id) {
                if dead <= pack.len() / 2 {
                    continue;
                }
                // Worth rewriting: let the next append begin another one, unless one came since.
                let mut appender = self.appender.lock();
                if appender.as_ref().is_some_and(|a| a.pack.id == pack.id) {
                    *appender = None;
                }
            }
            out.insert(pack.id, (pack, Rows::new()));
        }
        // After the active pack was let go: what was appended to it until then counts.
        self.each_row(&mut |id, location| {
            if let Some((_, rows)) = out.get_mut(&location.pack) {
                rows.insert(location.offset, (id, location));
            }
        })?;
        Ok(out.into_values().collect())
    }

    /// Bytes of a pack that no row names. An adopted file all of whose chunks are live is left whole, even if some of
    /// them are stored elsewhere too: the kernel can read it.
    fn dead_bytes(&self, pack: &Pack, live: u64) -> Result<u64> {
        if !pack.raw {
            return Ok((pack.len() - PACK_HEADER.min(pack.len())).saturating_sub(live));
        }
        let Some(sidecar) = Sidecar::read(self.disk.as_ref(), &self.list_path(pack))? else {
            return Ok(0);
        };
        let chunks = sidecar.chunks.len() as u64;
        if sidecar.digest.is_none() {
            // Punched before, or lent when it should have been: is there more than the ends of punched ranges?
            let spare = self.allocated(pack)?.saturating_sub(live);
            return Ok(if spare > (chunks + 1) * 2 * PAGE { spare } else { 0 });
        }
        for (id, _, _) in &sidecar.chunks {
            if self.locate(id)?.is_none() {
                return Ok(pack.len().saturating_sub(live).max(1));
            }
        }
        Ok(0)
    }

    fn list_path(&self, pack: &Pack) -> std::path::PathBuf {
        packs::path(&self.packs.dir, pack.id, "idx")
    }

    /// Removes a pack that no row names. Whoever has it open reads on.
    fn remove_pack(&self, pack: &Pack) -> Result<()> {
        let marks = IndexBatch { marks: vec![(pack.id, None)], ..IndexBatch::default() };
        self.index.apply(&marks, true).map_err(index_err("remove a pack's mark"))?;
        self.packs.forget(pack.id);
        self.syncer.forget(pack.id);
        let path = pack.path(&self.packs.dir);
        self.disk.remove(&path).map_err(io_at("remove", &path))?;
        if pack.raw {
            let list = self.list_path(pack);
            self.disk.remove(&list).map_err(io_at("remove", &list))?;
        }
        self.syncer.renamed();
        Ok(())
    }

    /// Copies what is live, makes the copies durable and known, then removes the pack.
    pub fn rewrite(&self, pack: &Pack, rows: &Rows) -> Result<()> {
        let mut records = Records::default();
        for (id, location) in rows.values() {
            // Checked against its name.
            let plain = self.load_from(id, location)?;
            records.push(self, *id, Cow::Owned(plain.into()));
            if records.len() >= COPY {
                self.append(&records, true)?;
                records.clear();
            }
        }
        self.append(&records, true)?;
        self.sync()?;
        // Removing the pack's mark, which comes after them, makes them durable.
        self.index_all()?;
        self.remove_pack(pack)
    }

    /// Frees the payloads of dead records. Their headers stay, so that the pack can still be scanned.
    fn punch(&self, pack: &Pack, rows: &Rows) -> Result<()> {
        let path = pack.path(&self.packs.dir);
        let file = self.disk.open(&path, Open::Write).map_err(io_at("open", &path))?;
        let scan = Scan { file: &file, codec: &self.codec, len: pack.len() };
        let walk = || {
            let mut pos = PACK_HEADER;
            while pos + RECORD_HEADER as u64 <= scan.len {
                let Some(record) = scan.header(pos)? else {
                    pos = scan.find(pos + super::record::ALIGN)?;
                    continue;
                };
                let location = record.location(pack.id, pos);
                if let Some((from, len)) = whole_blocks(location.offset, location.end())
                    && !rows.contains_key(&location.offset)
                {
                    file.punch(from, len)?;
                }
                pos = record.next(pos);
            }
            Ok(())
        };
        walk().map_err(io_at("free parts of", &path))
    }

    /// Frees what is dead of an adopted file. Its list says so first, durably: nobody takes it for whole after that.
    fn punch_raw(&self, pack: &Arc<Pack>, rows: &Rows) -> Result<()> {
        let chunks = rows.iter().map(|(offset, (id, l))| (*id, *offset, l.len)).collect();
        let sidecar = Sidecar { size: pack.len(), digest: None, chunks };
        let list = sidecar.publish(self.disk.as_ref(), &self.list_path(pack))?;
        self.syncer.wrote(pack, &list, true);
        self.sync()?;
        // After the list: whoever borrows the file now sees that it isn't whole. The next collection tries again.
        if pack.is_lent() {
            return Ok(());
        }
        let path = pack.path(&self.packs.dir);
        let file = self.disk.open(&path, Open::Write).map_err(io_at("open", &path))?;
        let mut start = 0;
        let ends = rows.values().map(|(_, l)| (l.offset, l.end())).chain([(pack.len(), pack.len())]);
        for (live, end) in ends {
            if let Some((from, len)) = whole_blocks(start, live) {
                file.punch(from, len).map_err(io_at("free parts of", &path))?;
            }
            start = end;
        }
        Ok(())
    }
}

fn row_len(location: &Location) -> u64 {
    (u64::from(location.stored_len) + RECORD_HEADER as u64).next_multiple_of(super::record::ALIGN)
}
