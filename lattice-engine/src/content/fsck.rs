//! Checking what the index says against what the packs hold, and counting.

use super::ContentStore;
use super::error::{ContentError, Result, io_at};
use super::index::Location;
use super::record::{RECORD_HEADER, Record};
use super::store::Inner;
use crate::id::ChunkId;

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FsckReport {
    /// Checked.
    pub chunks: u64,
    /// Plain bytes of them.
    pub bytes: u64,
    /// One line each: the pack, the offset, the chunk, what to do.
    pub problems: Vec<String>,
}

/// What there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ContentStats {
    pub packs: u64,
    /// Bytes that packs take on the disk.
    pub stored_bytes: u64,
    /// Bytes of the chunks before compression.
    pub plain_bytes: u64,
    pub chunks: u64,
    /// Of `stored_bytes`: what no chunk needs, until a collection.
    pub dead_bytes: u64,
}

impl ContentStore {
    /// Checks that every chunk of the index is where it says; with `verify_all` also reads and verifies its bytes.
    /// What is damaged is taken as absent from then on, so that storing it again heals.
    pub fn fsck(&self, verify_all: bool) -> Result<FsckReport> {
        let mut rows = Vec::new();
        {
            let _one = self.inner.index_lock.lock();
            self.inner.each_row(&mut |id, location| rows.push((id, location)))?;
        }
        rows.sort_unstable_by_key(|(_, l)| (l.pack, l.offset));
        let mut report = FsckReport::default();
        for (id, location) in &rows {
            report.chunks += 1;
            report.bytes += u64::from(location.len);
            let Err(e) = self.inner.check(id, location, verify_all) else {
                continue;
            };
            // Moved or removed since it was listed?
            if self.inner.locate(id)? == Some(*location) {
                self.inner.damaged.lock().insert(*id);
                report.problems.push(e.to_string());
            }
        }
        Ok(report)
    }

    /// Counts. Walks the whole index: some 0.5 s for a million chunks.
    pub fn stats(&self) -> Result<ContentStats> {
        let inner = &self.inner;
        let mut out = ContentStats::default();
        let mut live = 0;
        inner.each_row(&mut |_, location| {
            out.chunks += 1;
            out.plain_bytes += u64::from(location.len);
            live += u64::from(location.stored_len);
        })?;
        for pack in inner.packs.all() {
            let path = pack.path(&inner.packs.dir);
            let file = inner.packs.file(inner.disk.as_ref(), &pack)?;
            out.packs += 1;
            out.stored_bytes += file.allocated().map_err(io_at("measure", &path))?;
        }
        out.dead_bytes = out.stored_bytes.saturating_sub(live);
        Ok(out)
    }

    /// Lengths of all packs, punched parts included. Cheap.
    pub fn pack_bytes(&self) -> u64 {
        self.inner.packs.all().iter().map(|pack| pack.len()).sum()
    }
}

impl Inner {
    fn check(&self, id: &ChunkId, location: &Location, read: bool) -> Result<()> {
        let pack = self.packs.get(location.pack).ok_or(ContentError::Missing { chunk: *id })?;
        if location.end() > pack.len() {
            let path = pack.path(&self.packs.dir);
            return Err(ContentError::Truncated { pack: path, len: pack.len(), expected: location.end() });
        }
        if !pack.raw {
            let mut header = [0; RECORD_HEADER];
            let start = location.offset.saturating_sub(RECORD_HEADER as u64);
            self.read_pack(&pack, &mut header, start)?;
            let record = Record::decode(&header).filter(|record| record.id == *id);
            if record.map(|record| record.location(location.pack, start)) != Some(*location) {
                return Err(self.corrupt(id, location, "its record is not what the index says"));
            }
        }
        if read {
            self.load_from(id, location)?;
        }
        Ok(())
    }
}
