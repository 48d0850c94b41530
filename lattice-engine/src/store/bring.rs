//! Waiting for content that isn't here. A read of it fails at once; who may block calls this and reads again.

use std::collections::VecDeque;
use std::ops::Range;

use parking_lot::Mutex;

use crate::content::ContentError;
use crate::entry::Content;
use crate::id::ChunkId;

use super::core::Store;
use super::error::{Result, StoreError};
use super::network::NotFetched;

/// Bytes beyond a missing one that are asked for with it: a reader that goes on finds them here. Twice as many each time that
/// a reader comes to the second half of what was asked for, up to the second.
const AHEAD: u64 = 2 << 20;
const MAX_AHEAD: u64 = 16 << 20;
/// Contents whose readers are remembered.
const READERS: usize = 32;

impl Store {
    /// Waits until the bytes of `range` are here, and asks for some beyond. Blocks; what is here costs a look-up.
    pub(super) fn bring(
        &self,
        content: &Content,
        range: &Range<u64>,
        give_up: &dyn Fn() -> bool,
    ) -> Result<()> {
        let mut beyond = None;
        loop {
            let lacking = self.lacking(content, range)?;
            let Some(first) = lacking.first().copied() else { return Ok(()) };
            let network = self.network.read().clone();
            // Where nobody can be asked, what reading it says stands.
            let read = |chunk| self.content.get_chunk(chunk).map(drop);
            let Some(network) = network else {
                return read(&first).map_err(StoreError::Content);
            };
            // Only where the range itself lacks something is it worth asking for more.
            let end = *beyond.get_or_insert_with(|| self.ahead.end_for(content, range));
            let more = self.lacking(content, &(range.start..end))?;
            let wanted = if more.is_empty() { lacking } else { more };
            network.fetch(self.id, &wanted, give_up).map_err(|e| match (e, read(&first)) {
                (NotFetched::GivenUp, _) => StoreError::Interrupted,
                (_, Err(e @ ContentError::Corrupt { .. })) => StoreError::Content(e),
                (NotFetched::Hopeless(why), _) => StoreError::NotHere { chunk: first, why },
            })?;
        }
    }

    /// What of `range` isn't here, as far as it is known; with a manifest that isn't here, that one alone.
    fn lacking(&self, content: &Content, range: &Range<u64>) -> Result<Vec<ChunkId>> {
        match self.content.reader(content).and_then(|reader| reader.lacking(range.clone())) {
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

/// Where the readers of contents are, so that who reads on and on is served further ahead than who reads here and there.
#[derive(Debug, Default)]
pub(super) struct Ahead(Mutex<VecDeque<Place>>);

#[derive(Debug)]
struct Place {
    content: ChunkId,
    /// What was asked for last.
    asked: Range<u64>,
    ahead: u64,
}

impl Ahead {
    /// Up to where to ask for what a read of `range` lacks.
    fn end_for(&self, content: &Content, range: &Range<u64>) -> u64 {
        let id = match content {
            Content::Chunks(chunks) => chunks.iter().find_map(|chunk| chunk.id),
            Content::Manifest { manifest, .. } => manifest.id,
            Content::Inline(_) | Content::InLog(_) => None,
        };
        let Some(content) = id else { return range.end };
        let mut places = self.0.lock();
        let before = places.iter().position(|p| p.content == content).and_then(|at| places.remove(at));
        let goes_on = |p: &Place| p.asked.start <= range.start && range.start <= p.asked.end;
        let (place, end) = match before.filter(goes_on) {
            // Most of what was asked for is still before it: to ask for that again would cost a look-up of every chunk.
            Some(place) if range.end.saturating_add(place.ahead / 2) <= place.asked.end => (place, range.end),
            place => {
                let ahead = place.map_or(AHEAD, |place| (place.ahead * 2).min(MAX_AHEAD));
                let end = range.end.saturating_add(ahead);
                (Place { content, asked: range.start..end, ahead }, end)
            }
        };
        places.push_front(place);
        places.truncate(READERS);
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Chunk;

    #[test]
    fn who_reads_on_is_served_further_ahead_within_a_bound() {
        let content = |n: u8| Content::Chunks(vec![Chunk { id: Some(ChunkId([n; 32])), len: 1 << 30 }]);
        let (ahead, one) = (Ahead::default(), content(1));
        let mut at = 0;
        let mut steps = Vec::new();
        for _ in 0..6 {
            let end = ahead.end_for(&one, &(at..at + 1));
            steps.push((end - at - 1) >> 20);
            at = end;
        }
        assert_eq!(steps, [2, 4, 8, 16, 16, 16]);
        let near = at - MAX_AHEAD;
        assert_eq!(ahead.end_for(&one, &(near..near + 1)), near + 1, "what comes next is on its way");
        assert_eq!(ahead.end_for(&one, &(0..1)) - 1, AHEAD, "it went back");
        assert_eq!(ahead.end_for(&content(2), &(AHEAD..AHEAD + 1)) - AHEAD - 1, AHEAD, "another file");
        for n in 0..100 {
            ahead.end_for(&content(n), &(0..1));
        }
        assert_eq!(ahead.0.lock().len(), READERS);
    }
}
