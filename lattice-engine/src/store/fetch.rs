//! Who gets content that an entry names and that isn't here yet: entries travel ahead of the bytes of large files.

use std::fmt::Debug;

use crate::id::{ChunkId, StoreId};

/// Gets chunks from other nodes.
pub trait Fetch: Send + Sync + Debug {
    /// Blocks until these chunks are stored here, or there is no hope: says why.
    fn fetch(&self, store: StoreId, chunks: &[ChunkId]) -> Result<(), String>;
}
