//! Content: what is too large for an entry, cut into chunks that are named by their hash and kept in append-only packs.
//! Identical chunks are stored once. Bytes and promises of the files: FORMAT.md.
//!
//! What is stored is durable once [`ContentStore::sync`] returns. An entry that names content is written only after
//! that, so a head never names what a crash can take. From before its first `put` until its entry can be seen as live, a
//! commit holds a [`Pin`]; a collection spares what was stored or relied on meanwhile.
//!
//! Refuses chunks that don't match their name, files of too many chunks, formats from the future, and every write after
//! a failed flush.

mod adopt;
mod append;
mod cache;
mod chunker;
mod codec;
mod error;
mod fsck;
mod gc;
mod index;
mod layout;
mod manifest;
mod open;
mod packs;
mod pins;
mod read;
mod record;
mod scan;
mod sidecar;
mod store;
mod sync;
mod update;
mod want;
mod writer;

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "lists of one range are meant")]
mod tests;

use std::path::Path;
use std::sync::Arc;

pub use adopt::Contiguous;
pub use chunker::{AVG, BLOCK, MAX, MIN, ReadAt};
pub use error::{ContentError, IndexError};
pub use fsck::{ContentStats, FsckReport};
pub use gc::{GcReport, GcToken};
pub use index::{ChunkIndex, FLAG_ZSTD, IndexBatch, Location, MemoryIndex};
pub use layout::{Layout, MAX_CHUNK_LEN, MAX_CHUNKS};
pub use manifest::manifest_ids;
pub use open::{Finding, FindingKind, Recovery};
pub use read::ContentReader;
pub use store::MIN_ADOPT;
pub use writer::ContentWriter;

use crate::disk::Disk;
use error::Result;
use store::{Inner, Tuning};

/// A store's content. Clones share everything; every method may be called from any thread, and reads never wait for
/// writes.
#[derive(Debug, Clone)]
pub struct ContentStore {
    inner: Arc<Inner>,
}

/// While this lives, collections spare every chunk that is stored, found stored, or asked for by
/// [`ContentStore::missing`].
#[derive(Debug)]
pub struct Pin {
    inner: Arc<Inner>,
    hold: u64,
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.inner.pins.release(self.hold);
    }
}

impl ContentStore {
    /// Opens `dir`, which holds `packs/` and `staging/` (made if missing), and reads what `index` doesn't know of the
    /// packs. Damage doesn't fail it: see [`Recovery::findings`]. A format from the future does.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, index: Arc<dyn ChunkIndex>) -> Result<(Self, Recovery)> {
        Self::open_with(disk, dir, index, Tuning::default())
    }

    fn open_with(
        disk: Arc<dyn Disk>,
        dir: &Path,
        index: Arc<dyn ChunkIndex>,
        tuning: Tuning,
    ) -> Result<(Self, Recovery)> {
        let (inner, recovery) = open::open(&disk, dir, index, tuning)?;
        Ok((Self { inner: Arc::new(inner) }, recovery))
    }

    /// Where files to [`ContentStore::adopt`] are made.
    pub fn staging(&self) -> &Path {
        &self.inner.staging
    }

    /// Everything stored before the call is on disk when it returns. Callers that wait together share one flush. After
    /// a failure nothing is stored any more until the store is opened again.
    pub fn sync(&self) -> Result<()> {
        self.inner.sync()
    }

    /// Spares what this caller stores from now on; see [`Pin`].
    pub fn pin(&self) -> Pin {
        Pin { inner: self.inner.clone(), hold: self.inner.pins.hold() }
    }

    /// Locations that wait to be moved to the index: some 100 bytes of memory each.
    pub fn unindexed(&self) -> usize {
        self.inner.overlay.read().queue.len()
    }

    /// Moves up to `max` locations to the index, in one batch; how many it moved. Only what a `sync` has covered moves,
    /// so a background thread calls `sync` first. The rest is found by scanning at the next open.
    pub fn index_pending(&self, max: usize) -> Result<usize> {
        self.inner.index_pending(max)
    }
}
