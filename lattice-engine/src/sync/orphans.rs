//! Entries that were checked and can't be taken yet, in memory only: they wait for others, for their time, or for the root
//! store to name their author. Pure: what to try again is given back, and trying is the caller's.
//!
//! It refuses what would let one peer push out what another sent, or one author fill the memory: each has its bound, and
//! what is over it is not kept. Nothing is lost by that: a catch-up brings entries in an order in which none of them waits.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::Decoded;
use crate::id::{EntryId, NodeId};

use super::{Millis, Range};

/// Bytes of one author's entries.
pub const MAX_AUTHOR: usize = 8 << 20;
/// Bytes that one peer sent.
pub const MAX_PEER: usize = 16 << 20;
/// Bytes in all.
pub const MAX_STORE: usize = 64 << 20;
/// How long an entry waits: 10 minutes.
pub const TTL_MS: Millis = 10 * 60 * 1000;
/// What is due later than in an hour isn't worth its memory for longer than the rest.
const MAX_EARLY_MS: Millis = 60 * 60 * 1000;
/// What an entry takes beside its bytes.
const OVERHEAD: usize = 512;

/// What an entry waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// Entries that it builds on.
    Missing(Vec<Range>),
    /// Its time: Unix milliseconds.
    Early(Millis),
    /// That its author becomes a member.
    NotMember,
}

type Key = (NodeId, u64, EntryId);

#[derive(Debug)]
struct Orphan {
    entry: Decoded,
    from: NodeId,
    cause: Cause,
    expires: Millis,
    bytes: usize,
}

/// What waits in one store.
#[derive(Debug, Default)]
pub struct Orphans {
    all: BTreeMap<Key, Orphan>,
    /// The last entry of each range that is missing -> who waits for it.
    blocked: BTreeMap<(NodeId, u64), BTreeSet<Key>>,
    due: BTreeSet<(Millis, Key)>,
    strangers: BTreeSet<Key>,
    expiries: BTreeSet<(Millis, Key)>,
    authors: BTreeMap<NodeId, usize>,
    peers: BTreeMap<NodeId, usize>,
    bytes: usize,
}

impl Orphans {
    /// Keeps an entry that `from` sent. False: it is over a bound, and not kept.
    pub fn keep(&mut self, entry: Decoded, from: NodeId, cause: Cause, now: Millis) -> bool {
        let e = entry.entry();
        let key = (e.header.author, e.header.seq, e.id);
        let bytes = e.header_bytes.len() + e.payload_bytes.len() + e.ops.len() * 64 + OVERHEAD;
        self.take(&key);
        let held = |map: &BTreeMap<NodeId, usize>, of: &NodeId| map.get(of).copied().unwrap_or(0);
        if held(&self.authors, &key.0) + bytes > MAX_AUTHOR
            || held(&self.peers, &from) + bytes > MAX_PEER
            || self.bytes + bytes > MAX_STORE
        {
            return false;
        }
        let expires = match &cause {
            Cause::Early(until) => (*until).min(now + MAX_EARLY_MS).max(now) + TTL_MS,
            _ => now + TTL_MS,
        };
        match &cause {
            Cause::Missing(ranges) => {
                for range in ranges {
                    self.blocked.entry((range.author, range.to)).or_default().insert(key);
                }
            }
            Cause::Early(until) => drop(self.due.insert((*until, key))),
            Cause::NotMember => drop(self.strangers.insert(key)),
        }
        self.expiries.insert((expires, key));
        *self.authors.entry(key.0).or_default() += bytes;
        *self.peers.entry(from).or_default() += bytes;
        self.bytes += bytes;
        self.all.insert(key, Orphan { entry, from, cause, expires, bytes });
        true
    }

    /// An author's chain has come to `seq`: who may go on, and who sent it.
    pub fn reached(&mut self, author: NodeId, seq: u64) -> Vec<(Decoded, NodeId)> {
        let keys: Vec<Key> =
            self.blocked.range((author, 0)..=(author, seq)).flat_map(|(_, keys)| keys).copied().collect();
        self.take_all(keys)
    }

    /// Whether some entry waits for this one.
    pub fn wait_for(&self, author: NodeId, seq: u64) -> bool {
        self.blocked.range((author, seq)..=(author, u64::MAX)).next().is_some()
    }

    /// Those whose time has come. What has waited for too long is dropped.
    pub fn due(&mut self, now: Millis) -> Vec<(Decoded, NodeId)> {
        let over: Vec<Key> =
            self.expiries.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| *key).collect();
        let keys: Vec<Key> = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, key)| *key).collect();
        let due = self.take_all(keys);
        for key in over {
            self.take(&key);
        }
        due
    }

    /// The members have changed: those who wait for that.
    pub fn strangers(&mut self) -> Vec<(Decoded, NodeId)> {
        let keys = self.strangers.iter().copied().collect();
        self.take_all(keys)
    }

    /// Bytes kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that one peer sent.
    pub fn bytes_of(&self, peer: &NodeId) -> usize {
        self.peers.get(peer).copied().unwrap_or(0)
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn take_all(&mut self, keys: Vec<Key>) -> Vec<(Decoded, NodeId)> {
        keys.iter().filter_map(|key| self.take(key)).map(|orphan| (orphan.entry, orphan.from)).collect()
    }

    fn take(&mut self, key: &Key) -> Option<Orphan> {
        let orphan = self.all.remove(key)?;
        match &orphan.cause {
            Cause::Missing(ranges) => {
                for at in ranges.iter().map(|range| (range.author, range.to)) {
                    if let Some(keys) = self.blocked.get_mut(&at) {
                        keys.remove(key);
                        if keys.is_empty() {
                            self.blocked.remove(&at);
                        }
                    }
                }
            }
            Cause::Early(until) => drop(self.due.remove(&(*until, *key))),
            Cause::NotMember => drop(self.strangers.remove(key)),
        }
        self.expiries.remove(&(orphan.expires, *key));
        for (map, of) in [(&mut self.authors, key.0), (&mut self.peers, orphan.from)] {
            if let Some(bytes) = map.get_mut(&of) {
                *bytes -= orphan.bytes;
                if *bytes == 0 {
                    map.remove(&of);
                }
            }
        }
        self.bytes -= orphan.bytes;
        Some(orphan)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap as Map;

    use super::*;
    use crate::entry::{Draft, Kind, Op};
    use crate::hlc::Hlc;
    use crate::id::StoreId;
    use crate::identity::Identity;
    use bytes::Bytes;

    const PEER: NodeId = NodeId([1; 32]);
    const OTHER: NodeId = NodeId([2; 32]);

    fn entry(author: u8, seq: u64, bytes: usize) -> Decoded {
        let instruction =
            Op::Instruction { program_id: "p".into(), payload: Bytes::from(vec![0; bytes]), parents: vec![] };
        let draft = Draft {
            store: StoreId([3; 16]),
            author: Identity::from_seed([author; 32]).node_id(),
            seq,
            prev: EntryId([9; 32]),
            hlc: Hlc::new(seq, 0),
            kind: Kind::Data,
            group_first: 0,
            group_more: false,
            ops: vec![instruction],
            parents: Map::new(),
        };
        Decoded::Known(draft.build().expect("an entry"))
    }

    fn author(of: &Decoded) -> NodeId {
        of.entry().header.author
    }

    fn seqs(found: Vec<(Decoded, NodeId)>) -> Vec<u64> {
        found.iter().map(|(e, _)| e.entry().header.seq).collect()
    }

    fn missing(of: &Decoded, to: u64) -> Cause {
        Cause::Missing(vec![Range { author: author(of), from: 1, to }])
    }

    #[test]
    fn what_came_lets_those_go_on_that_wait_for_it() {
        let mut orphans = Orphans::default();
        for seq in [3, 5, 9] {
            let entry = entry(7, seq, 10);
            let cause = missing(&entry, seq - 1);
            assert!(orphans.keep(entry, PEER, cause, 0));
        }
        let who = author(&entry(7, 1, 0));
        assert_eq!(seqs(orphans.reached(who, 1)), [] as [u64; 0]);
        assert_eq!(seqs(orphans.reached(who, 4)), [3, 5]);
        assert_eq!(seqs(orphans.reached(who, 8)), [9]);
        assert_eq!((orphans.len(), orphans.bytes()), (0, 0));
    }

    #[test]
    fn time_and_members_let_go_on_and_what_waits_too_long_is_dropped() {
        let mut orphans = Orphans::default();
        assert!(orphans.keep(entry(7, 1, 10), PEER, Cause::Early(500), 0));
        assert!(orphans.keep(entry(8, 1, 10), PEER, Cause::NotMember, 0));
        let late = entry(7, 9, 10);
        let cause = missing(&late, 8);
        assert!(orphans.keep(late, PEER, cause, 0));
        assert_eq!(seqs(orphans.due(499)), [] as [u64; 0]);
        assert_eq!(seqs(orphans.due(500)), [1]);
        assert_eq!(seqs(orphans.strangers()), [1]);
        assert_eq!(orphans.len(), 1);
        assert!(orphans.due(TTL_MS).is_empty() && orphans.is_empty());
        assert!(orphans.blocked.is_empty() && orphans.expiries.is_empty() && orphans.peers.is_empty());
    }

    #[test]
    fn an_entry_that_comes_again_is_kept_once() {
        let mut orphans = Orphans::default();
        for from in [PEER, OTHER] {
            assert!(orphans.keep(entry(7, 3, 10), from, Cause::Early(9), 0));
        }
        assert_eq!((orphans.len(), orphans.due.len()), (1, 1));
    }

    #[test]
    fn no_author_and_no_peer_takes_more_than_its_bound() {
        let mut orphans = Orphans::default();
        let mut keep = |author: u8, seq: u64, from: NodeId| {
            orphans.keep(entry(author, seq, 1 << 19), from, Cause::NotMember, 0)
        };
        let kept = |results: Vec<bool>| results.into_iter().filter(|kept| *kept).count();
        let flood = kept((1..100).map(|seq| keep(7, seq, PEER)).collect());
        assert!((14..16).contains(&flood), "{flood} of one author");
        let flood = flood + kept((1..100).map(|seq| keep(8 + seq as u8, seq, PEER)).collect());
        assert!((30..32).contains(&flood), "{flood} of one peer");
        assert!(keep(200, 1, OTHER), "another peer's are kept");
        for from in 10..20 {
            for seq in 1..40 {
                keep(100 + seq as u8, u64::from(from) * 100 + seq, NodeId([from; 32]));
            }
        }
        assert!(orphans.bytes() <= MAX_STORE && orphans.bytes() > MAX_STORE - (1 << 20));
    }

    #[test]
    fn an_entry_is_what_it_was() {
        let mut orphans = Orphans::default();
        let kept = entry(7, 3, 10);
        orphans.keep(kept.clone(), PEER, Cause::NotMember, 0);
        assert_eq!(orphans.strangers(), [(kept, PEER)]);
    }
}
