//! What of an open file isn't stored here: for those who get it from elsewhere.

use std::collections::BTreeSet;
use std::ops::Range;

use super::error::Result;
use super::read::ContentReader;
use crate::id::ChunkId;

impl ContentReader {
    /// The chunks of `range` that aren't here or are damaged, in order, each once.
    pub fn lacking(&self, range: Range<u64>) -> Result<Vec<ChunkId>> {
        let layout = self.layout();
        let (mut lacking, mut seen) = (Vec::new(), BTreeSet::new());
        if layout.is_empty() || range.start >= layout.size() {
            return Ok(lacking);
        }
        for run in layout.find(range.start)..layout.len() {
            if layout.range(run).start >= range.end {
                break;
            }
            if let Some(id) = layout.chunks()[run].id
                && seen.insert(id)
                && !self.has(&id)?
            {
                lacking.push(id);
            }
        }
        Ok(lacking)
    }
}
