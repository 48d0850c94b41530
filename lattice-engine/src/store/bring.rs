//! Waiting for content that isn't here. A read of it fails at once; who may block calls this and reads again.

use std::ops::Range;

use crate::content::ContentError;
use crate::entry::Content;
use crate::id::ChunkId;

use super::core::Store;
use super::error::{Result, StoreError};

/// Bytes beyond a missing one that are asked for with it: a reader that goes on finds them here.
const AHEAD: u64 = 2 << 20;

impl Store {
    /// Waits until the bytes of `range` are here, and asks for some beyond. Blocks; what is here costs a look-up.
    pub(super) fn bring(&self, content: &Content, range: &Range<u64>) -> Result<()> {
        loop {
            let lacking = self.lacking(content, range)?;
            if lacking.is_empty() {
                return Ok(());
            }
            let network = self.network.read().clone();
            // Where nobody can be asked, what reading it says stands.
            let read = |chunk| self.content.get_chunk(chunk).map(drop);
            let Some(network) = network else {
                return read(&lacking[0]).map_err(StoreError::Content);
            };
            network.fetch(self.id, &lacking).map_err(|why| match read(&lacking[0]) {
                Err(e @ ContentError::Corrupt { .. }) => StoreError::Content(e),
                _ => StoreError::NotHere { chunk: lacking[0], why },
            })?;
        }
    }

    /// What of `range` isn't here, as far as it is known; with a manifest that isn't here, that one alone.
    fn lacking(&self, content: &Content, range: &Range<u64>) -> Result<Vec<ChunkId>> {
        let lacking = self.content.reader(content).and_then(|reader| {
            let lacking = reader.lacking(range.clone())?;
            // Only where the range itself lacks something is it worth asking for more.
            if lacking.is_empty() {
                return Ok(lacking);
            }
            reader.lacking(range.start..range.end.saturating_add(AHEAD))
        });
        match lacking {
            Ok(lacking) => Ok(lacking),
            Err(e) => e.absent().map(|chunk| vec![chunk]).ok_or(StoreError::Content(e)),
        }
    }
}

impl ContentError {
    /// The chunk that another node's copy would mend, where it is that.
    pub fn absent(&self) -> Option<ChunkId> {
        match self {
            Self::Missing { chunk } | Self::Corrupt { chunk, .. } => Some(*chunk),
            _ => None,
        }
    }
}
