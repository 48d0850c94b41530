//! The hint: a small message to whoever listens that something is new. Nothing rests on it: what is lost, late or forged only
//! costs time, because sync asks everyone anyway.
//!
//! It refuses to be larger than what the transport carries: an entry travels in it when it fits, else only its name.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message;

use crate::id::{EntryId, NodeId, StoreId};
use crate::wire::{self, WireError, v1};

use super::{Mark, Tips, TipsDigest, peek};

/// Bytes of an encoded hint: a payload a little over 4 KiB silently breaks a gossip link.
pub const MAX_HINT: usize = 3900;
/// Bytes of header, signature and payload of an entry that travels in a hint.
pub const MAX_ENTRY: usize = 3584;
/// BLAKE3 `derive_key` context of topics.
pub const TOPIC_DOMAIN: &str = "lattice 2026 v1 topic";
/// And of sets of members.
pub const MEMBERS_DOMAIN: &str = "lattice 2026 v1 members";

/// Where the members of a store hear of each other: it changes when they do, so that who is no member any more hears
/// nothing. BLAKE3 over the genesis's id and the digest of the members.
pub fn topic(genesis: &EntryId, members: &[u8; 32]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(TOPIC_DOMAIN);
    hasher.update(genesis.as_bytes()).update(members);
    *hasher.finalize().as_bytes()
}

/// Of a set of members, for [`topic`].
pub fn members_digest(members: &BTreeSet<NodeId>) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key(MEMBERS_DOMAIN);
    for member in members {
        hasher.update(member.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// That something is new.
#[derive(Debug, Clone, PartialEq)]
pub struct Hint {
    pub store: StoreId,
    /// Of what the sender holds.
    pub digest: TipsDigest,
    pub author: NodeId,
    /// The newest entry of the author.
    pub tip: Mark,
    /// That entry, if it fits.
    pub entry: Option<v1::SignedEntry>,
    /// Equal messages are dropped on the way for a while.
    pub nonce: u64,
}

/// What to do about a hint.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// It says nothing new.
    Nothing,
    /// It brings the very next entry of a chain.
    Take(v1::SignedEntry),
    /// Someone holds more: ask whoever brought the hint.
    Ask,
    /// The sender holds something else, perhaps less: ask if that is still so when things have come to rest.
    Differs,
}

impl Hint {
    /// `entry` is `tip`'s; it is left out where it is too large.
    pub fn new(
        store: StoreId,
        tips: &Tips,
        (author, tip): (NodeId, Mark),
        entry: Option<v1::SignedEntry>,
        nonce: u64,
    ) -> Self {
        let size = |e: &v1::SignedEntry| e.header.len() + e.signature.len() + e.payload.len();
        let entry = entry.filter(|e| size(e) <= MAX_ENTRY);
        Self { store, digest: tips.digest(), author, tip, entry, nonce }
    }

    pub fn encode(&self) -> Bytes {
        let tip = v1::ChainMark {
            author: Bytes::copy_from_slice(self.author.as_bytes()),
            seq: self.tip.seq,
            id: Bytes::copy_from_slice(self.tip.id.as_bytes()),
        };
        let hint = v1::Hint {
            store_id: Bytes::copy_from_slice(self.store.as_bytes()),
            tips_digest: Bytes::copy_from_slice(&self.digest.0),
            tip: Some(tip),
            entry: self.entry.clone(),
            nonce: self.nonce,
        };
        hint.encode_to_vec().into()
    }

    /// `None`: it is none, or of another version.
    pub fn decode(bytes: Bytes) -> Option<Self> {
        let hint: v1::Hint = Some(bytes).filter(|b| b.len() <= MAX_HINT).and_then(|b| strict(b).ok())?;
        let tip = hint.tip?;
        Some(Self {
            store: StoreId::from_slice(&hint.store_id)?,
            digest: TipsDigest(hint.tips_digest[..].try_into().ok()?),
            author: NodeId::from_slice(&tip.author)?,
            tip: Mark { seq: tip.seq, id: EntryId::from_slice(&tip.id)? },
            entry: hint.entry,
            nonce: hint.nonce,
        })
    }

    /// What a node that holds `ours` of `store` does about it.
    pub fn heard(&self, store: &StoreId, ours: &Tips) -> Heard {
        if self.store != *store || self.digest == ours.digest() {
            return Heard::Nothing;
        }
        let held = ours.get(&self.author);
        if held.is_some_and(|held| held.seq > self.tip.seq || held == self.tip) {
            return Heard::Differs;
        }
        match &self.entry {
            Some(entry) if self.is_next(entry, ours) => Heard::Take(entry.clone()),
            _ => Heard::Ask,
        }
    }

    fn is_next(&self, entry: &v1::SignedEntry, ours: &Tips) -> bool {
        let next = ours.seq(&self.author) + 1;
        peek(&entry.header).is_some_and(|at| at.author == self.author && at.seq == next)
    }
}

fn strict(bytes: Bytes) -> Result<v1::Hint, WireError> {
    wire::decode_strict(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use std::collections::BTreeMap;

    const STORE: StoreId = StoreId([5; 16]);
    const AUTHOR: NodeId = NodeId([1; 32]);

    fn mark(seq: u64) -> Mark {
        Mark { seq, id: EntryId([seq as u8; 32]) }
    }

    fn tips(seq: u64) -> Tips {
        Tips::new(BTreeMap::from([(AUTHOR, mark(seq))]))
    }

    fn entry(seq: u64, bytes: usize) -> v1::SignedEntry {
        let author = Bytes::copy_from_slice(AUTHOR.as_bytes());
        let header = v1::Header { version: 1, author, seq, ..v1::Header::default() };
        v1::SignedEntry {
            header: header.encode_to_vec().into(),
            signature: vec![1; 64].into(),
            payload: vec![0; bytes].into(),
        }
    }

    fn hint(seq: u64, bytes: usize) -> Hint {
        Hint::new(STORE, &tips(seq), (AUTHOR, mark(seq)), Some(entry(seq, bytes)), 7)
    }

    #[test]
    fn the_next_entry_is_taken_and_more_is_asked_for() {
        let heard = |hint: Hint, ours: u64| hint.heard(&STORE, &tips(ours));
        assert_eq!(heard(hint(5, 10), 4), Heard::Take(entry(5, 10)));
        assert_eq!(heard(hint(5, 10), 3), Heard::Ask);
        assert_eq!(heard(hint(5, 4000), 4), Heard::Ask);
        assert_eq!(heard(hint(5, 10), 5), Heard::Nothing);
        assert_eq!(heard(hint(5, 10), 6), Heard::Differs);
        assert_eq!(hint(5, 10).heard(&StoreId([6; 16]), &tips(4)), Heard::Nothing);
        let forked = Tips::new(BTreeMap::from([(AUTHOR, Mark { seq: 5, id: EntryId([99; 32]) })]));
        assert_eq!(hint(5, 10).heard(&STORE, &forked), Heard::Ask);
        let other = Hint { entry: Some(entry(9, 1)), ..hint(5, 10) };
        assert_eq!(heard(other, 4), Heard::Ask, "an entry that isn't the one it names");
    }

    #[test]
    fn a_hint_is_never_larger_than_what_gossip_carries() {
        for bytes in [0, 3000, MAX_ENTRY - 200, MAX_ENTRY, 100_000] {
            assert!(hint(5, bytes).encode().len() <= MAX_HINT);
        }
        assert!(hint(5, 3000).entry.is_some());
    }

    #[test]
    fn a_topic_is_of_one_store_and_one_set_of_members() {
        let topics = [(1, 1), (1, 2), (2, 1)].map(|(g, m)| topic(&EntryId([g; 32]), &[m; 32]));
        assert!(topics[0] != topics[1] && topics[0] != topics[2] && topics[1] != topics[2]);
    }

    proptest! {
        #[test]
        fn bytes_are_a_hint_or_refused(
            edit in proptest::option::of((any::<proptest::sample::Index>(), any::<u8>())),
            random in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = Hint::decode(random.into());
            let whole = hint(5, 10);
            let mut bytes = whole.encode().to_vec();
            if let Some((at, byte)) = edit {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            match Hint::decode(bytes.clone().into()) {
                Some(read) => prop_assert_eq!(read.encode(), bytes),
                None => prop_assert!(edit.is_some()),
            }
        }
    }
}
