//! Ops to an unsigned [`Entry`]. On the write path, so it does no more than encode and hash: signing comes later.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

use crate::hlc::Hlc;
use crate::id::{EntryId, NodeId, StoreId};
use crate::identity::{Identity, random_bytes};
use crate::wire::v1;

use super::check::{self, MAX_HEADER, MAX_PAYLOAD};
use super::{Dep, Entry, EntryError, EntryRef, Header, Kind, Op, codec, entry_id, payload_hash};

/// Bytes of a genesis's nonce.
pub const NONCE_LEN: usize = 32;

/// What is to become an entry.
#[derive(Debug, Clone)]
pub struct Draft {
    pub store: StoreId,
    pub author: NodeId,
    /// The tip's seq + 1; 1 after the genesis.
    pub seq: u64,
    /// The author's tip; the genesis at seq 1.
    pub prev: EntryId,
    /// After `prev`'s and after every parent's.
    pub hlc: Hlc,
    pub kind: Kind,
    /// See [`Header::group_first`].
    pub group_first: u64,
    pub group_more: bool,
    pub ops: Vec<Op>,
    /// Where the entries stand that the ops cite. All of them become deps, but for `prev`, which may be absent.
    pub parents: BTreeMap<EntryId, EntryRef>,
}

impl Draft {
    /// Checks, encodes and hashes it. The entry is not signed.
    pub fn build(self) -> Result<Entry, EntryError> {
        if self.kind == Kind::Genesis {
            return Err(EntryError::Field { field: "kind", why: "a genesis is made by genesis()" });
        }
        self.encode(Bytes::new())
    }

    fn encode(self, nonce: Bytes) -> Result<Entry, EntryError> {
        // What counts is what the ops do; what is encoded is how they were given.
        let instructed = self.ops.iter().any(|op| matches!(op, Op::Instruction { .. }));
        let done = instructed.then(|| codec::normalised(self.ops.clone())).transpose()?;
        check::ops(self.kind, done.as_ref().unwrap_or(&self.ops))?;
        let mut deps = Vec::with_capacity(self.parents.len());
        for parent in self.parents.values().filter(|p| p.id != self.prev) {
            if parent.hlc >= self.hlc {
                return Err(EntryError::NotAfterDep { hlc: self.hlc, before: parent.hlc, dep: parent.id });
            }
            deps.push(Dep { id: parent.id, author: parent.author, seq: parent.seq });
        }
        let mut header = Header {
            store: self.store,
            author: self.author,
            seq: self.seq,
            prev: self.prev,
            hlc: self.hlc,
            deps,
            payload_hash: [0; 32],
            payload_len: 0,
            kind: self.kind,
            group_first: self.group_first,
            group_more: self.group_more,
        };
        check::header(&header)?;
        let payload_bytes = encode_payload(&header, &self.ops, nonce)?;
        header.payload_hash = payload_hash(&payload_bytes);
        header.payload_len = payload_bytes.len() as u64;
        let header_bytes = header.to_wire().encode_to_vec();
        check::limit("header length", header_bytes.len(), MAX_HEADER)?;
        Ok(Entry {
            id: entry_id(&header_bytes),
            header,
            header_bytes: header_bytes.into(),
            payload_bytes,
            signature: None,
            ops: done.unwrap_or(self.ops),
        })
    }
}

fn encode_payload(header: &Header, ops: &[Op], nonce: Bytes) -> Result<Bytes, EntryError> {
    let wire = |(index, op)| codec::op_to_wire(op, header).map_err(|why| EntryError::Op { index, why });
    let payload = v1::Payload { ops: ops.iter().enumerate().map(wire).collect::<Result<_, _>>()?, nonce };
    check::limit("payload length", payload.encoded_len(), MAX_PAYLOAD)?;
    Ok(payload.encode_to_vec().into())
}

/// A new store's first entry, signed. `StoreId::of_genesis` of its id is the store's name; `ops` (without parents) are
/// what the store begins with.
pub fn genesis(author: &Identity, now: Hlc, ops: Vec<Op>) -> Result<Entry, EntryError> {
    genesis_from(author, now, random_bytes()?, ops)
}

/// [`genesis`] with a nonce that the caller drew.
pub fn genesis_from(
    author: &Identity,
    now: Hlc,
    nonce: [u8; NONCE_LEN],
    ops: Vec<Op>,
) -> Result<Entry, EntryError> {
    let draft = Draft {
        store: StoreId([0; 16]),
        author: author.node_id(),
        seq: 0,
        prev: EntryId::ZERO,
        hlc: now,
        kind: Kind::Genesis,
        group_first: 0,
        group_more: false,
        ops,
        parents: BTreeMap::new(),
    };
    let mut entry = draft.encode(Bytes::copy_from_slice(&nonce))?;
    entry.sign(author)?;
    Ok(entry)
}
