//! Tests of the whole: a store on a real directory, or on a simulated disk.

mod damage;
mod explorer;
mod figures;
mod gc;
mod large;
mod model;
mod sharing;

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::store::Tuning;
use super::{ChunkIndex, ContentStore, MemoryIndex, Recovery};
use crate::disk::RealDisk;
use crate::entry::Content;

/// Bytes that depend on nothing but the seed: splitmix64.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    out.truncate(len);
    out
}

/// Bytes that compress.
pub(super) fn text(seed: u64, len: usize) -> Vec<u8> {
    noise(seed, len.div_ceil(2))
        .into_iter()
        .flat_map(|b| [b'a' + (b & 7), b'e' + (b >> 6)])
        .take(len)
        .collect()
}

/// A store on a real directory, with an index that outlives it.
struct Fixture {
    dir: TempDir,
    index: Arc<MemoryIndex>,
    store: ContentStore,
}

impl Fixture {
    fn new() -> Self {
        Self::with(Tuning::default())
    }

    fn with(tuning: Tuning) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let index = Arc::new(MemoryIndex::default());
        let (store, _) =
            ContentStore::open_with(Arc::new(RealDisk), dir.path(), index.clone(), tuning).expect("opens");
        Self { dir, index, store }
    }

    fn reopen(&mut self) -> Recovery {
        let (store, recovery) =
            ContentStore::open(Arc::new(RealDisk), self.dir.path(), self.index.clone()).expect("opens");
        self.store = store;
        recovery
    }

    /// As if the state had been deleted.
    fn forget_index(&mut self) {
        self.index = Arc::new(MemoryIndex::default());
    }

    fn settle(&self) {
        self.store.sync().expect("syncs");
        while self.store.index_pending(1000).expect("indexes") > 0 {}
        assert_eq!(self.store.unindexed(), 0);
    }

    /// A file to adopt.
    fn stage(&self, bytes: &[u8]) -> PathBuf {
        let path = self.store.staging().join(format!("file-{}", self.store.inner.packs.number()));
        std::fs::write(&path, bytes).expect("writes");
        path
    }

    fn packs(&self, extension: &str) -> Vec<PathBuf> {
        let mut out: Vec<_> = std::fs::read_dir(self.dir.path().join("packs"))
            .expect("lists")
            .map(|e| e.expect("entry").path())
            .filter(|p| p.extension().is_some_and(|e| e == extension))
            .collect();
        out.sort();
        out
    }

    fn rows(&self) -> usize {
        let mut n = 0;
        self.index.for_each(&mut |_, _| n += 1).expect("lists");
        n
    }
}

fn read(store: &ContentStore, content: &Content) -> Vec<u8> {
    try_read(store, content).expect("reads")
}

fn try_read(store: &ContentStore, content: &Content) -> super::error::Result<Vec<u8>> {
    let mut out = vec![0xaa; content.size() as usize];
    let n = store.read_at(content, &mut out, 0)?;
    assert_eq!(n, out.len());
    Ok(out)
}
