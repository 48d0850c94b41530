//! Which pack holds a chunk. The rows are a cache: packs describe themselves, and what the index lacks is scanned from
//! its marks on at the next open. `state` implements [`ChunkIndex`] on redb; [`MemoryIndex`] serves tests and tools.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use parking_lot::RwLock;

use super::error::IndexError;
use crate::id::ChunkId;

/// The payload is zstd.
pub const FLAG_ZSTD: u8 = 1;

/// Where a chunk's payload stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    pub pack: u64,
    /// Of the payload, in bytes from the pack's start.
    pub offset: u64,
    /// Bytes in the pack.
    pub stored_len: u32,
    /// Plain bytes.
    pub len: u32,
    /// [`FLAG_ZSTD`].
    pub flags: u8,
}

impl Location {
    /// Length of [`Location::to_bytes`].
    pub const LEN: usize = 25;

    /// Fixed-width little-endian, for an index row.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..8].copy_from_slice(&self.pack.to_le_bytes());
        out[8..16].copy_from_slice(&self.offset.to_le_bytes());
        out[16..20].copy_from_slice(&self.stored_len.to_le_bytes());
        out[20..24].copy_from_slice(&self.len.to_le_bytes());
        out[24] = self.flags;
        out
    }

    /// `None` if the length is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().ok()?;
        Some(Self {
            pack: u64::from_le_bytes(bytes[..8].try_into().ok()?),
            offset: u64::from_le_bytes(bytes[8..16].try_into().ok()?),
            stored_len: u32::from_le_bytes(bytes[16..20].try_into().ok()?),
            len: u32::from_le_bytes(bytes[20..24].try_into().ok()?),
            flags: bytes[24],
        })
    }

    /// First byte past the payload.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.stored_len)
    }
}

/// Changes to the index that belong together. Applied in this order: removes, inserts, marks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IndexBatch {
    pub removes: Vec<ChunkId>,
    /// Replaces a row that is there.
    pub inserts: Vec<(ChunkId, Location)>,
    /// Per pack: every record below this offset is in the index or dead. `None`: the pack is gone.
    pub marks: Vec<(u64, Option<u64>)>,
}

impl IndexBatch {
    pub fn is_empty(&self) -> bool {
        self.removes.is_empty() && self.inserts.is_empty() && self.marks.is_empty()
    }
}

/// The persistent rows. Calls come from any thread; an implementation never calls back into the content store.
pub trait ChunkIndex: Send + Sync + Debug {
    fn get(&self, id: &ChunkId) -> Result<Option<Location>, IndexError>;
    /// All or nothing. With `durable` it returns when this and everything applied before is on disk; without, a crash
    /// may undo it, but never a part of it and never anything applied before without undoing this too. A durable one may
    /// wait for a sync of this content and of a log: no lock is held for it that either of them takes.
    fn apply(&self, batch: &IndexBatch, durable: bool) -> Result<(), IndexError>;
    /// Every pack's mark.
    fn marks(&self) -> Result<Vec<(u64, u64)>, IndexError>;
    /// Every row, in any order.
    fn for_each(&self, visit: &mut dyn FnMut(ChunkId, Location)) -> Result<(), IndexError>;
}

/// An index that lives as long as the process.
#[derive(Debug, Default)]
pub struct MemoryIndex {
    rows: RwLock<(HashMap<ChunkId, Location>, BTreeMap<u64, u64>)>,
}

impl ChunkIndex for MemoryIndex {
    fn get(&self, id: &ChunkId) -> Result<Option<Location>, IndexError> {
        Ok(self.rows.read().0.get(id).copied())
    }

    fn apply(&self, batch: &IndexBatch, _durable: bool) -> Result<(), IndexError> {
        let (rows, marks) = &mut *self.rows.write();
        for id in &batch.removes {
            rows.remove(id);
        }
        rows.extend(batch.inserts.iter().copied());
        for (pack, mark) in &batch.marks {
            match mark {
                Some(offset) => marks.insert(*pack, *offset),
                None => marks.remove(pack),
            };
        }
        Ok(())
    }

    fn marks(&self) -> Result<Vec<(u64, u64)>, IndexError> {
        Ok(self.rows.read().1.iter().map(|(p, m)| (*p, *m)).collect())
    }

    fn for_each(&self, visit: &mut dyn FnMut(ChunkId, Location)) -> Result<(), IndexError> {
        for (id, location) in &self.rows.read().0 {
            visit(*id, *location);
        }
        Ok(())
    }
}
