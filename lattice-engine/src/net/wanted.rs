//! Chunks of one store that are to be fetched: what somebody waits for first, then what entries name, in their order. Each
//! is asked of one peer at a time; a peer that doesn't have one is asked again later, for it may be fetching it itself.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::sync::Notify;

use crate::id::{ChunkId, NodeId};

/// A peer that has said that it lacks a chunk is not asked for so long.
const LACKS: Duration = Duration::from_secs(2);
/// How often somebody who waits is asked whether they still do. It may cost more than a chunk does: it isn't asked for each.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Chunks looked at to find some that a peer can be asked for.
const SCAN: usize = 2048;

/// Who waits first is served first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// A read waits for it.
    Now,
    /// An entry names it.
    Eager,
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// None of the chunks is wanted any more: look again.
    Come,
    InVain,
    GivenUp,
}

/// The chunks of one store that are to be fetched.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    state: Mutex<State>,
    /// There may be something to ask for.
    more: Notify,
    /// A chunk has come, or can't be asked for any more.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    chunks: HashMap<ChunkId, Chunk>,
    /// Those that are not asked for at the moment.
    queue: BTreeMap<(Urgency, u64), ChunkId>,
    next: u64,
    /// Chunks that have come so far.
    arrived: u64,
}

#[derive(Debug)]
struct Chunk {
    place: (Urgency, u64),
    asked: Option<NodeId>,
    lacking: Vec<(NodeId, Instant)>,
}

impl Chunk {
    fn may_ask(&self, peer: &NodeId, now: Instant) -> bool {
        !self.lacking.iter().any(|(node, at)| node == peer && now.saturating_duration_since(*at) < LACKS)
    }
}

impl Wanted {
    /// Asks for chunks that aren't here.
    pub fn want(&self, ids: &[ChunkId], urgency: Urgency) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        for id in ids {
            let place = (urgency, state.next);
            match state.chunks.get_mut(id) {
                Some(chunk) if chunk.place.0 <= urgency => continue,
                Some(chunk) => {
                    let before = std::mem::replace(&mut chunk.place, place);
                    if state.queue.remove(&before).is_some() {
                        state.queue.insert(place, *id);
                    }
                }
                None => {
                    state.chunks.insert(*id, Chunk { place, asked: None, lacking: Vec::new() });
                    state.queue.insert(place, *id);
                }
            }
            state.next += 1;
        }
        drop(guard);
        self.more.notify_waiters();
    }

    /// Up to `max` chunks to ask `peer` for.
    pub fn take(&self, peer: NodeId, max: usize) -> Vec<ChunkId> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let now = Instant::now();
        let fit = |id: &ChunkId| state.chunks.get(id).is_some_and(|c| c.may_ask(&peer, now));
        let found: Vec<_> = state
            .queue
            .iter()
            .take(SCAN)
            .filter(|(_, id)| fit(id))
            .take(max)
            .map(|(place, id)| (*place, *id))
            .collect();
        for (place, id) in &found {
            state.queue.remove(place);
            if let Some(chunk) = state.chunks.get_mut(id) {
                chunk.asked = Some(peer);
            }
        }
        found.into_iter().map(|(_, id)| id).collect()
    }

    /// As [`Wanted::take`], waiting until there is something.
    pub async fn next(&self, peer: NodeId, max: usize) -> Vec<ChunkId> {
        loop {
            let more = self.more.notified();
            tokio::pin!(more);
            // From here on no notice is missed.
            more.as_mut().enable();
            let found = self.take(peer, max);
            if !found.is_empty() {
                return found;
            }
            if self.state.lock().queue.is_empty() {
                more.await;
            } else {
                // What was said to be lacking is asked for again without anybody's notice.
                let _ = tokio::time::timeout(LACKS / 4, more).await;
            }
        }
    }

    /// They are stored.
    pub fn got<'a>(&self, ids: impl IntoIterator<Item = &'a ChunkId>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        for id in ids {
            state.arrived += 1;
            if let Some(chunk) = state.chunks.remove(id) {
                state.queue.remove(&chunk.place);
            }
        }
        drop(guard);
        self.changed.notify_all();
    }

    /// `peer` doesn't have it, or gave other bytes.
    pub fn lacks(&self, peer: NodeId, id: &ChunkId) {
        self.put_back(peer, std::slice::from_ref(id), true);
    }

    /// What was asked of `peer` won't come: the stream has ended.
    pub fn put_back(&self, peer: NodeId, ids: &[ChunkId], lacking: bool) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        for id in ids {
            let Some(chunk) = state.chunks.get_mut(id).filter(|c| c.asked == Some(peer)) else { continue };
            chunk.asked = None;
            if lacking {
                chunk.lacking.retain(|(node, _)| *node != peer);
                chunk.lacking.push((peer, Instant::now()));
            }
            state.queue.insert(chunk.place, *id);
        }
        drop(guard);
        self.more.notify_waiters();
    }

    /// Whether `peer` was asked for one of these before, and didn't have it or gave other bytes.
    pub fn asked_in_vain(&self, peer: NodeId, ids: &[ChunkId]) -> bool {
        let chunks = &self.state.lock().chunks;
        let lacks = |chunk: &Chunk| chunk.lacking.iter().any(|(node, _)| *node == peer);
        ids.iter().any(|id| chunks.get(id).is_some_and(lacks))
    }

    pub fn is_wanted(&self, id: &ChunkId) -> bool {
        self.state.lock().chunks.contains_key(id)
    }

    /// Chunks that are wanted.
    pub fn len(&self) -> usize {
        self.state.lock().chunks.len()
    }

    /// Those of them that are wanted with this urgency are not any more; what is asked for already may still come.
    pub fn forget(&self, ids: &[ChunkId], urgency: Urgency) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        for id in ids {
            if state.chunks.get(id).is_some_and(|c| c.place.0 == urgency)
                && let Some(chunk) = state.chunks.remove(id)
            {
                state.queue.remove(&chunk.place);
            }
        }
        drop(guard);
        self.changed.notify_all();
    }

    /// Nothing is wanted because an entry names it.
    pub fn forget_eager(&self) {
        let eager: Vec<_> = self.state.lock().chunks.keys().copied().collect();
        self.forget(&eager, Urgency::Eager);
    }

    /// Waits until none of these is wanted any more, for `patience` nothing has come while they were asked for, or
    /// `give_up`, which is asked ten times a second, says so. `patience` is told how many peers have said meanwhile that they
    /// lack what is waited for.
    pub fn wait(
        &self,
        ids: &[ChunkId],
        mut patience: impl FnMut(usize) -> Duration,
        give_up: &dyn Fn() -> bool,
    ) -> Waited {
        let mut state = self.state.lock();
        let (mut progress, mut since) = (0, Instant::now());
        let mut ask_at = since + ASK_EVERY;
        loop {
            let left: Vec<_> = ids.iter().filter_map(|id| state.chunks.get(id)).collect();
            if left.is_empty() {
                return Waited::Come;
            }
            let asked = left.iter().any(|c| c.asked.is_some());
            if asked && state.arrived != progress {
                (progress, since) = (state.arrived, Instant::now());
            }
            let lacking = left.iter().map(|c| c.lacking.len()).max().unwrap_or(0);
            if since.elapsed() >= patience(lacking) {
                return Waited::InVain;
            }
            if ask_at <= Instant::now() {
                if MutexGuard::unlocked(&mut state, give_up) {
                    return Waited::GivenUp;
                }
                ask_at = Instant::now() + ASK_EVERY;
            }
            self.changed.wait_until(&mut state, ask_at);
        }
    }

    /// Waits a little for something to come.
    pub fn pause(&self, at_most: Duration) {
        let mut state = self.state.lock();
        self.changed.wait_for(&mut state, at_most);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn id(n: u8) -> ChunkId {
        ChunkId([n; 32])
    }

    const DEADLINE: Duration = Duration::from_secs(60);
    const A: NodeId = NodeId([1; 32]);
    const B: NodeId = NodeId([2; 32]);

    #[test]
    fn what_somebody_waits_for_goes_first() {
        let wanted = Wanted::default();
        wanted.want(&[id(1), id(2), id(3)], Urgency::Eager);
        wanted.want(&[id(3), id(4)], Urgency::Now);
        assert_eq!(wanted.take(A, 3), [id(3), id(4), id(1)]);
        assert_eq!(wanted.take(B, 3), [id(2)], "each is asked of one peer");
        wanted.got([&id(3)]);
        assert!(!wanted.is_wanted(&id(3)) && wanted.is_wanted(&id(4)));
    }

    #[test]
    fn a_peer_that_lacks_a_chunk_is_not_asked_at_once_and_another_is() {
        let wanted = Wanted::default();
        wanted.want(&[id(1)], Urgency::Eager);
        assert_eq!(wanted.take(A, 9), [id(1)]);
        wanted.lacks(A, &id(1));
        assert_eq!(wanted.take(A, 9), []);
        assert_eq!(wanted.take(B, 9), [id(1)]);
        assert!(wanted.asked_in_vain(A, &[id(2), id(1)]) && !wanted.asked_in_vain(B, &[id(1)]));
        wanted.put_back(A, &[id(1)], false);
        assert_eq!(wanted.take(A, 9), [], "it was not A that was asked");
        wanted.put_back(B, &[id(1)], false);
        assert_eq!(wanted.take(B, 9), [id(1)]);
    }

    #[test]
    fn a_wait_ends_with_the_last_chunk_or_with_patience() {
        let wanted = Wanted::default();
        wanted.want(&[id(1)], Urgency::Now);
        let wait = |ids: &[ChunkId]| wanted.wait(ids, |_| Duration::ZERO, &|| false);
        assert_eq!(wait(&[id(1)]), Waited::InVain);
        wanted.got([&id(1)]);
        assert_eq!(wait(&[id(1), id(2)]), Waited::Come);
        wanted.want(&[id(1)], Urgency::Now);
        assert_eq!(wanted.wait(&[id(1)], |_| DEADLINE, &|| true), Waited::GivenUp);
    }

    #[test]
    fn who_waits_learns_that_nobody_has_it() {
        let wanted = Wanted::default();
        wanted.want(&[id(1)], Urgency::Now);
        for peer in [A, B] {
            assert_eq!(wanted.take(peer, 9), [id(1)]);
            wanted.lacks(peer, &id(1));
        }
        let patience = |lacking: usize| if lacking < 2 { DEADLINE } else { Duration::ZERO };
        assert_eq!(wanted.wait(&[id(1)], patience, &|| false), Waited::InVain);
    }

    #[test]
    fn who_waits_is_not_asked_for_each_chunk_that_comes() {
        let (wanted, looked, asked) = (Wanted::default(), AtomicU32::new(0), AtomicU32::new(0));
        let ids: Vec<_> = (0..=255).map(id).collect();
        wanted.want(&ids, Urgency::Now);
        let began = Instant::now();
        let patience = |_| {
            looked.fetch_add(1, Ordering::AcqRel);
            DEADLINE
        };
        let give_up = || asked.fetch_add(1, Ordering::AcqRel) > 1_000_000;
        std::thread::scope(|scope| {
            let wait = scope.spawn(|| wanted.wait(&ids[255..], patience, &give_up));
            for (n, id) in (0..).zip(&ids) {
                while looked.load(Ordering::Acquire) <= n {
                    assert!(began.elapsed() < DEADLINE, "nobody looks at chunk {n}");
                    std::thread::yield_now();
                }
                wanted.got([id]);
            }
            assert_eq!(wait.join().ok(), Some(Waited::Come));
        });
        let most = began.elapsed().as_millis() / ASK_EVERY.as_millis();
        assert!(u128::from(asked.into_inner()) <= most, "more than {most} times in {:?}", began.elapsed());
    }

    #[test]
    fn what_nobody_waits_for_is_not_asked_for() {
        let wanted = Wanted::default();
        wanted.want(&[id(1), id(2)], Urgency::Now);
        wanted.want(&[id(3)], Urgency::Eager);
        wanted.forget(&[id(1), id(3)], Urgency::Now);
        assert_eq!(wanted.take(A, 9), [id(2), id(3)]);
        wanted.put_back(A, &[id(2), id(3)], false);
        wanted.forget_eager();
        assert_eq!(wanted.take(A, 9), [id(2)]);
    }
}
