//! Entries: what an author signs, checked on the way in and on the way out.
//!
//! An [`Entry`] in memory has passed every check that needs no other entry: one valid encoding, all limits, ids that
//! match. What it refuses is an [`EntryError`]; what only a later version can read is [`Decoded::Unknown`], to be kept,
//! relayed and never skipped. Checks against other entries (the chain, the times of deps) are `chain`'s.
//!
//! Header and payload are kept and hashed as they were received: nothing here encodes them a second time to store them.

mod check;
mod codec;
mod decode;
mod draft;
mod error;
mod fork;
mod op;
mod reference;

use std::sync::LazyLock;

use blake3::hazmat::{ContextKey, HasherExt, hash_derive_key_context};
use bytes::Bytes;

use crate::hlc::Hlc;
use crate::id::{EntryId, NodeId, StoreId};
use crate::identity::{Identity, Signature, Verifier};

pub use check::{
    MAX_DEPS, MAX_FILE_SIZE, MAX_HEADER, MAX_OPS, MAX_PAYLOAD, MAX_PROGRAM_ID, MAX_TARGET, MAX_XATTR_NAME,
    MAX_XATTR_VALUE,
};
pub use decode::{Decoded, Unreadable};
pub use draft::{Draft, NONCE_LEN, genesis, genesis_from};
pub use error::{EntryError, OpError};
pub use fork::{ForkProof, NoFork, SignedHeader};
pub use op::{Attrs, Chunk, Content, LogRange, MAX_DIRECT_CHUNKS, MAX_INLINE, Node, Op, Time, Value};
pub use reference::EntryRef;

/// The version that this code writes, and the only one whose meaning it knows.
pub const VERSION: u32 = 1;
/// BLAKE3 `derive_key` context of entry ids.
pub const ENTRY_DOMAIN: &str = "lattice 2026 v1 entry";
/// BLAKE3 `derive_key` context of payload hashes.
pub const PAYLOAD_DOMAIN: &str = "lattice 2026 v1 payload";

static ENTRY_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(ENTRY_DOMAIN));
static PAYLOAD_KEY: LazyLock<ContextKey> = LazyLock::new(|| hash_derive_key_context(PAYLOAD_DOMAIN));

fn derive(key: &ContextKey, bytes: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new_from_context_key(key).update(bytes).finalize().as_bytes()
}

/// The id of the entry with this encoded header.
pub fn entry_id(header: &[u8]) -> EntryId {
    EntryId(derive(&ENTRY_KEY, header))
}

/// The hash by which a header names its encoded payload.
pub fn payload_hash(payload: &[u8]) -> [u8; 32] {
    derive(&PAYLOAD_KEY, payload)
}

/// What an entry is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The first entry of a store: its id names the store.
    Genesis,
    /// Does something: at least one op.
    Data,
    /// Says what its author has seen, in `deps`, and does nothing.
    Ack,
}

/// An entry that another one was written after, with what is needed to judge it when it has been pruned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dep {
    pub id: EntryId,
    pub author: NodeId,
    pub seq: u64,
}

/// The signed part of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// All zeros in a genesis: the store's id comes from the genesis's own.
    pub store: StoreId,
    pub author: NodeId,
    /// 1.. without gaps per author; 0 in a genesis.
    pub seq: u64,
    /// The author's entry `seq - 1`; the genesis at seq 1; [`EntryId::ZERO`] in a genesis.
    pub prev: EntryId,
    pub hlc: Hlc,
    /// Sorted by id, unique, without `prev`.
    pub deps: Vec<Dep>,
    pub payload_hash: [u8; 32],
    pub payload_len: u64,
    pub kind: Kind,
    /// The seq of the first entry of a transaction group; 0: none.
    pub group_first: u64,
    /// The group goes on in `seq + 1`.
    pub group_more: bool,
}

/// An entry and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub id: EntryId,
    pub header: Header,
    /// What was signed and hashed, as received.
    pub header_bytes: Bytes,
    pub payload_bytes: Bytes,
    /// `None`: not signed yet. Such an entry never leaves the machine.
    pub signature: Option<Signature>,
    /// In the payload's order. Their parents are `header.prev` or among `header.deps`.
    pub ops: Vec<Op>,
}

impl Entry {
    /// Where it stands in the total order.
    pub fn entry_ref(&self) -> EntryRef {
        EntryRef { hlc: self.header.hlc, author: self.header.author, id: self.id, seq: self.header.seq }
    }

    /// The store that it belongs to; for a genesis, the one that it makes.
    pub fn store(&self) -> StoreId {
        match self.header.kind {
            Kind::Genesis => StoreId::of_genesis(&self.id),
            Kind::Data | Kind::Ack => self.header.store,
        }
    }

    /// Signs it. `identity` must be its author's.
    pub fn sign(&mut self, identity: &Identity) -> Result<(), EntryError> {
        if identity.node_id() != self.header.author {
            return Err(EntryError::NotTheAuthor { author: self.header.author, signer: identity.node_id() });
        }
        self.signature = Some(identity.sign(&self.id));
        Ok(())
    }

    /// Checks the author's signature. The rest was checked when it was built or decoded.
    pub fn verify(&self) -> Result<(), EntryError> {
        self.verify_with(&mut Verifier::default())
    }

    /// As [`Entry::verify`], for many entries of few authors.
    pub fn verify_with(&self, verifier: &mut Verifier) -> Result<(), EntryError> {
        let signature = self.signature.as_ref().ok_or(EntryError::Unsigned(self.id))?;
        Ok(verifier.verify(&self.header.author, &self.id, signature)?)
    }
}

#[cfg(test)]
mod tests;
