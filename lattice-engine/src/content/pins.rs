//! What a collection must leave alone although no head names it: chunks stored or relied on while a commit is under way,
//! and the content of open files.
//!
//! A chunk is touched *before* it is looked up, and condemned only if untouched, under the same lock: so either the
//! touch came first and the chunk stays, or the look-up finds it condemned, takes it as absent and stores it again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::layout::Layout;
use crate::id::ChunkId;

#[derive(Debug, Default)]
pub(super) struct Pins {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    clock: u64,
    collecting: bool,
    /// When each commit under way began.
    holds: BTreeSet<u64>,
    touched: HashMap<ChunkId, u64>,
    /// Touched manifests, by time: what they name is touched too.
    manifests: Vec<(u64, Root)>,
    readers: HashMap<u64, Arc<Layout>>,
    condemned: HashSet<ChunkId>,
}

/// The topmost manifest of a file and the file's size.
pub(super) type Root = (ChunkId, u64);

/// Adds what is to be spared to the set.
pub(super) type Expand<'a, E> = &'a dyn Fn(Spared, &mut HashSet<ChunkId>) -> Result<(), E>;

/// What a collection has still to spare.
#[derive(Debug, Default)]
pub(super) struct Spared {
    pub manifests: Vec<Root>,
    pub layouts: Vec<Arc<Layout>>,
}

impl Spared {
    pub fn is_empty(&self) -> bool {
        self.manifests.is_empty() && self.layouts.is_empty()
    }
}

impl Pins {
    /// From now until [`Pins::release`], everything touched is remembered.
    pub fn hold(&self) -> u64 {
        let state = &mut *self.state.lock();
        state.clock += 1;
        state.holds.insert(state.clock);
        state.clock
    }

    pub fn release(&self, hold: u64) {
        let state = &mut *self.state.lock();
        state.holds.remove(&hold);
        state.forget();
    }

    pub fn touch(&self, id: ChunkId) {
        let state = &mut *self.state.lock();
        if state.collecting || !state.holds.is_empty() {
            state.clock += 1;
            state.touched.insert(id, state.clock);
        }
    }

    /// The chunks below this manifest are needed too.
    pub fn touch_manifest(&self, root: Root) {
        let state = &mut *self.state.lock();
        if state.collecting || !state.holds.is_empty() {
            state.clock += 1;
            state.touched.insert(root.0, state.clock);
            state.manifests.push((state.clock, root));
        }
    }

    /// The number of the reader, and whether a collection is running: then the reader checks that its chunks are there.
    pub fn open_reader(&self, layout: Arc<Layout>) -> (u64, bool) {
        let state = &mut *self.state.lock();
        state.clock += 1;
        state.readers.insert(state.clock, layout);
        (state.clock, state.collecting)
    }

    pub fn close_reader(&self, reader: u64) {
        self.state.lock().readers.remove(&reader);
    }

    pub fn is_condemned(&self, id: &ChunkId) -> bool {
        self.state.lock().condemned.contains(id)
    }

    pub fn collecting(&self) -> bool {
        self.state.lock().collecting
    }

    /// False if one is running already.
    pub fn begin(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().collecting, true)
    }

    pub fn end(&self) {
        let state = &mut *self.state.lock();
        state.collecting = false;
        state.condemned.clear();
        state.forget();
    }

    /// Condemns those of `candidates` that nobody touched and `spare` doesn't know. What commits and readers that have
    /// appeared since the clock stood at `seen` name is new: the caller adds it to `spare` and asks again, or, with
    /// `now`, it is added while everybody waits, so that a busy store can't put a collection off for ever.
    pub fn condemn<E>(
        &self,
        seen: &mut u64,
        candidates: &[ChunkId],
        spare: &mut HashSet<ChunkId>,
        now: Option<Expand<'_, E>>,
    ) -> Result<Result<Vec<ChunkId>, Spared>, E> {
        let state = &mut *self.state.lock();
        let from = state.manifests.partition_point(|(at, _)| at <= seen);
        let spared = Spared {
            manifests: state.manifests[from..].iter().map(|(_, root)| *root).collect(),
            layouts: state.readers.iter().filter(|(at, _)| *at > seen).map(|(_, r)| r.clone()).collect(),
        };
        *seen = state.clock;
        if !spared.is_empty() {
            match now {
                None => return Ok(Err(spared)),
                Some(add) => add(spared, spare)?,
            }
        }
        let doomed = |id: &&ChunkId| !state.touched.contains_key(id) && !spare.contains(id);
        let dead: Vec<_> = candidates.iter().filter(doomed).copied().collect();
        state.condemned.extend(dead.iter().copied());
        Ok(Ok(dead))
    }

    /// The condemned are out of the index: a look-up misses them there.
    pub fn executed(&self) {
        self.state.lock().condemned.clear();
    }
}

impl State {
    /// Drops what was touched before the oldest commit under way.
    fn forget(&mut self) {
        if self.collecting {
            return;
        }
        let Some(oldest) = self.holds.first().copied() else {
            self.touched = HashMap::new();
            self.manifests = Vec::new();
            return;
        };
        // Amortized: a long hold must not make every short one walk the table.
        if self.touched.len() > 64 && self.clock - oldest < self.touched.len() as u64 / 2 {
            self.touched.retain(|_, at| *at > oldest);
            self.manifests.retain(|(at, _)| *at > oldest);
        }
    }
}
