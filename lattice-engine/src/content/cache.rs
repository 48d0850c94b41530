//! Small caches of what reading decodes: chunks, resolved manifests, and which stored chunks were verified.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::index::Location;
use super::layout::Layout;
use crate::id::ChunkId;

/// Plain bytes of decoded chunks that are kept.
const CHUNK_BYTES: usize = 16 << 20;
/// Runs of resolved manifests that are kept: some 56 bytes each.
const LAYOUT_RUNS: usize = 1 << 18;
/// Chunks known to be intact: beyond this all are verified again.
const VERIFIED: usize = 1 << 19;

#[derive(Debug)]
pub(super) struct Cache {
    chunks: Mutex<Lru<Bytes>>,
    layouts: Mutex<Lru<Arc<Layout>>>,
    verified: RwLock<HashSet<(u64, u64)>>,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            chunks: Mutex::new(Lru::new(CHUNK_BYTES)),
            layouts: Mutex::new(Lru::new(LAYOUT_RUNS)),
            verified: RwLock::default(),
        }
    }
}

impl Cache {
    pub fn chunk(&self, id: &ChunkId) -> Option<Bytes> {
        self.chunks.lock().get(id)
    }

    pub fn keep_chunk(&self, id: ChunkId, bytes: Bytes) {
        let cost = bytes.len();
        self.chunks.lock().insert(id, bytes, cost);
    }

    pub fn layout(&self, manifest: &ChunkId) -> Option<Arc<Layout>> {
        self.layouts.lock().get(manifest)
    }

    pub fn keep_layout(&self, manifest: ChunkId, layout: Arc<Layout>) {
        let cost = layout.len();
        self.layouts.lock().insert(manifest, layout, cost);
    }

    pub fn is_verified(&self, location: &Location) -> bool {
        self.verified.read().contains(&(location.pack, location.offset))
    }

    pub fn set_verified(&self, locations: impl IntoIterator<Item = Location>) {
        let mut verified = self.verified.write();
        for location in locations {
            if verified.len() >= VERIFIED {
                verified.clear();
            }
            verified.insert((location.pack, location.offset));
        }
    }

    /// Damage was found there since.
    pub fn unset_verified(&self, location: &Location) {
        self.verified.write().remove(&(location.pack, location.offset));
    }

    pub fn unset_all_verified(&self) {
        self.verified.write().clear();
    }

    /// They are gone: nobody must find here what can't be found in a pack.
    pub fn forget(&self, ids: &[ChunkId]) {
        let (mut chunks, mut layouts) = (self.chunks.lock(), self.layouts.lock());
        for id in ids {
            chunks.remove(id);
            layouts.remove(id);
        }
    }
}

/// Few, large values: finding the oldest by walking costs nothing beside making one.
#[derive(Debug)]
struct Lru<V> {
    map: HashMap<ChunkId, (V, usize, u64)>,
    clock: u64,
    cost: usize,
    limit: usize,
}

impl<V: Clone> Lru<V> {
    fn new(limit: usize) -> Self {
        Self { map: HashMap::new(), clock: 0, cost: 0, limit }
    }

    fn get(&mut self, id: &ChunkId) -> Option<V> {
        self.clock += 1;
        let (value, _, used) = self.map.get_mut(id)?;
        *used = self.clock;
        Some(value.clone())
    }

    /// What is over the whole limit is not kept.
    fn insert(&mut self, id: ChunkId, value: V, cost: usize) {
        if cost > self.limit {
            return;
        }
        self.clock += 1;
        self.cost += cost;
        if let Some((_, old, _)) = self.map.insert(id, (value, cost, self.clock)) {
            self.cost -= old;
        }
        while self.cost > self.limit {
            let Some(oldest) = self.map.iter().min_by_key(|(_, (_, _, used))| *used).map(|(id, _)| *id)
            else {
                break;
            };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, id: &ChunkId) {
        if let Some((_, cost, _)) = self.map.remove(id) {
            self.cost -= cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_the_limit_holds() {
        let mut lru = Lru::new(10);
        for i in 0..3 {
            lru.insert(ChunkId([i; 32]), i, 4);
            lru.get(&ChunkId([0; 32]));
        }
        assert_eq!(lru.get(&ChunkId([0; 32])), Some(0));
        assert_eq!(lru.get(&ChunkId([1; 32])), None);
        assert_eq!(lru.get(&ChunkId([2; 32])), Some(2));
        assert_eq!(lru.cost, 8);
    }
}
