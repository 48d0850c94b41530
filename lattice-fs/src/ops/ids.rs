//! Fresh file ids without a system call each: a keyed pseudo-random function over a counter.
//! Not secret, only unique: the key is 128 random bits drawn by the standard library.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use lattice_engine::id::FileId;

#[derive(Debug)]
pub struct FileIds {
    low: RandomState,
    high: RandomState,
    /// Wall clock at start, so that two processes with equal keys (a cloned machine) still part ways.
    start: u128,
    next: AtomicU64,
}

impl FileIds {
    pub fn new() -> Self {
        let start = std::time::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_nanos());
        let (low, high) = (RandomState::new(), RandomState::new());
        Self { low, high, start, next: AtomicU64::new(0) }
    }

    pub fn fresh(&self) -> FileId {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.low.hash_one((self.start, n)).to_le_bytes());
        id[8..].copy_from_slice(&self.high.hash_one((n, self.start)).to_le_bytes());
        FileId(id)
    }
}

/// The inode number of a file: its id's first eight bytes. 0 means "none" and 1 is the mount's root.
pub fn ino_of(id: &FileId) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&id.0[..8]);
    u64::from_le_bytes(bytes).max(2)
}

/// Another number for a file whose own is taken: by a version that is still open, or by a copy under another name
/// (two renames of one file on two machines leave both).
pub fn next_ino(ino: u64) -> u64 {
    // The splitmix64 finalizer: every number leads to another one, far away.
    let mut x = ino.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)).max(2)
}
