//! New records at the end of the pack that takes appends. Those that belong together are written at once, from where their bytes
//! lie: they aren't gathered in a buffer first.

use std::borrow::Cow;
use std::sync::Arc;

use super::error::{Result, io_at};
use super::index::{FLAG_ZSTD, Location};
use super::packs::{self, Pack};
use super::record::{ALIGN, PACK_HEADER, PACK_MAGIC, RECORD_HEADER, Record, file_header};
use super::store::{Inner, Pending};
use crate::disk::{DiskFile, Open};
use crate::id::ChunkId;

const PADDING: [u8; ALIGN as usize] = [0; ALIGN as usize];

/// The pack that takes appends.
#[derive(Debug)]
pub(super) struct Appender {
    pub pack: Arc<Pack>,
    pub file: Arc<dyn DiskFile>,
}

/// Records that will be appended together.
#[derive(Debug, Default)]
pub(super) struct Records<'a> {
    list: Vec<Item<'a>>,
    /// Bytes that they take in a pack.
    len: u64,
    scratch: Vec<u8>,
}

#[derive(Debug)]
struct Item<'a> {
    record: Record,
    header: [u8; RECORD_HEADER],
    payload: Cow<'a, [u8]>,
}

impl<'a> Records<'a> {
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn clear(&mut self) {
        self.list.clear();
        self.len = 0;
    }

    /// One more, of a chunk whose name is `id`: compressed where that helps.
    pub fn push(&mut self, inner: &Inner, id: ChunkId, plain: Cow<'a, [u8]>) {
        let len = plain.len() as u32;
        let zstd = inner.codec.compress(&plain, &mut self.scratch);
        let payload = if zstd { Cow::Owned(self.scratch.clone()) } else { plain };
        let record = Record {
            id,
            stored_len: payload.len() as u32,
            len,
            flags: if zstd { FLAG_ZSTD } else { 0 },
            payload_crc: crc32fast::hash(&payload),
        };
        self.len = record.next(self.len);
        self.list.push(Item { record, header: record.encode(), payload });
    }

    /// What stands in the file, piece by piece.
    fn pieces(&self) -> Vec<&[u8]> {
        let mut out = Vec::with_capacity(3 * self.list.len());
        for Item { record, header, payload } in &self.list {
            let padding = record.next(0) as usize - RECORD_HEADER - payload.len();
            out.extend([&header[..], payload, &PADDING[..padding]]);
        }
        out
    }

    /// Where each stands once they are in a pack from `base` on, and where the next one does.
    fn places(&self, pack: u64, base: u64) -> impl Iterator<Item = (ChunkId, Location, u64)> {
        self.list.iter().scan(base, move |at, Item { record, .. }| {
            let location = record.location(pack, *at);
            *at = record.next(*at);
            Some((record.id, location, *at))
        })
    }
}

impl Inner {
    /// Appends records of chunks whose bytes are what their names say. `force` makes these the chunks' places even where they
    /// have one.
    pub fn append(&self, records: &Records<'_>, force: bool) -> Result<()> {
        self.syncer.check()?;
        let mut appender = self.appender.lock();
        let full = |a: &Appender| {
            let len = a.pack.len();
            len > PACK_HEADER && len + records.len() > self.tuning.pack_target
        };
        if appender.as_ref().is_none_or(full) {
            *appender = Some(self.new_pack()?);
        }
        let Some(Appender { pack, file }) = appender.as_ref() else {
            return Ok(());
        };
        let base = pack.len();
        if let Err(e) = file.write_pieces_at(&records.pieces(), base) {
            // Best effort: gives a full disk its room back. What is left over is overwritten or cut at the next open.
            let _ = file.set_len(base);
            return Err(io_at("append to", &pack.path(&self.packs.dir))(e));
        }
        pack.set_len(base + records.len());
        self.syncer.wrote(pack, file, false);
        self.cache.set_verified(records.places(pack.id, base).map(|(_, location, _)| location));
        let mut damaged = self.damaged.lock();
        let mut overlay = self.overlay.write();
        for (id, location, next) in records.places(pack.id, base) {
            let heals = damaged.remove(&id);
            // Two writers of the same chunk: the first one's place stands, the other's bytes are dead.
            if force || heals || !overlay.map.contains_key(&id) {
                overlay.map.insert(id, location);
            }
            overlay.queue.push_back(Pending { id, location, mark: Some(next) });
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
}
