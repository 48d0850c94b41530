//! What of an open file isn't stored here: for those who get it from elsewhere.

use std::collections::BTreeSet;
use std::ops::Range;

use super::ContentStore;
use super::error::{ContentError, Result};
use super::read::ContentReader;
use crate::entry::Content;
use crate::id::ChunkId;

impl ContentStore {
    /// How many bytes of a content are here; of one whose list of chunks isn't, none.
    pub fn bytes_here(&self, content: &Content) -> Result<u64> {
        let reader = match self.reader(content) {
            Err(ContentError::Missing { .. } | ContentError::Corrupt { .. }) => return Ok(0),
            reader => reader?,
        };
        let layout = reader.layout();
        let mut here = 0;
        for run in 0..layout.len() {
            // A hole is nowhere, and so is lacking nowhere.
            if layout.chunks()[run].id.map_or(Ok(true), |id| reader.has(&id))? {
                let range = layout.range(run);
                here += range.end - range.start;
            }
        }
        Ok(here)
    }
}

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
