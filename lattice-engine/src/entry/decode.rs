//! Bytes to an [`Entry`]. Refuses whatever is not the one encoding of a valid entry, except what only a later version
//! can read: that is chained, verified, stored and relayed like any other, and its store's projection waits at it.

use bytes::Bytes;
use prost::Message;

use crate::id::EntryId;
use crate::identity::Signature;
use crate::wire::{self, v1};

use super::check::{self, MAX_HEADER, MAX_OPS, MAX_PAYLOAD};
use super::draft::NONCE_LEN;
use super::{Entry, EntryError, Header, Kind, Op, OpError, VERSION, codec, entry_id, payload_hash};

/// A decoded entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded {
    Known(Entry),
    /// `entry.ops` is empty: what it does is not known here. Everything else about it holds.
    Unknown {
        entry: Entry,
        why: Unreadable,
    },
}

impl Decoded {
    /// The entry, known or not: what chains, stores and relays need.
    pub fn entry(&self) -> &Entry {
        match self {
            Self::Known(entry) | Self::Unknown { entry, .. } => entry,
        }
    }
}

/// What a later version of this program would know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("it is of format version {0}, and this program knows version {VERSION}: upgrade lattice")]
    Version(u32),
    #[error("its op {index} is of a kind that this program doesn't know: upgrade lattice")]
    OpKind { index: usize },
}

impl Entry {
    /// Reads an entry and checks all that can be checked without another one, but not the signature: see
    /// [`Entry::verify`]. Ops share the memory of `payload`.
    pub fn decode(
        header: Bytes,
        payload: Bytes,
        signature: Option<Signature>,
    ) -> Result<Decoded, EntryError> {
        check::limit("payload length", payload.len(), MAX_PAYLOAD)?;
        let (version, fields) = read_header(&header)?;
        if fields.payload_len != payload.len() as u64 || fields.payload_hash != payload_hash(&payload) {
            return Err(EntryError::WrongPayload);
        }
        let ops = match version {
            VERSION => decode_ops(&fields, payload.clone())?,
            later => Err(Unreadable::Version(later)),
        };
        let (ops, why) = match ops {
            Ok(ops) => (ops, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        let id = entry_id(&header);
        let entry = Self { id, header: fields, header_bytes: header, payload_bytes: payload, signature, ops };
        Ok(match why {
            None => Decoded::Known(entry),
            Some(why) => Decoded::Unknown { entry, why },
        })
    }
}

impl Header {
    /// Reads a header alone, with the id of its entry, as [`Entry::decode`] does.
    pub fn decode(bytes: &Bytes) -> Result<(EntryId, Self), EntryError> {
        let (_, header) = read_header(bytes)?;
        Ok((entry_id(bytes), header))
    }
}

/// With its version: of a later one only what this one knows is looked at.
fn read_header(bytes: &Bytes) -> Result<(u32, Header), EntryError> {
    check::limit("header length", bytes.len(), MAX_HEADER)?;
    let message = v1::Header::decode(bytes.clone()).map_err(|e| EntryError::Header(e.into()))?;
    match message.version {
        0 => return Err(EntryError::Field { field: "version", why: "there is no version 0" }),
        VERSION if !wire::is_canonical(&message, bytes) => {
            return Err(EntryError::Header(wire::WireError::NotCanonical { len: bytes.len() }));
        }
        _ => {}
    }
    let header = Header::from_wire(&message)?;
    check::header(&header)?;
    Ok((message.version, header))
}

/// The ops; the inner error is an op of an unknown kind in a payload that is otherwise well formed.
fn decode_ops(header: &Header, payload: Bytes) -> Result<Result<Vec<Op>, Unreadable>, EntryError> {
    let raw = wire::split_payload(payload, MAX_OPS).map_err(EntryError::Payload)?;
    let nonce_len = if header.kind == Kind::Genesis { NONCE_LEN } else { 0 };
    if raw.nonce.len() != nonce_len {
        return Err(EntryError::Field {
            field: "payload",
            why: "a genesis has a nonce of 32 bytes, and no other entry",
        });
    }
    let mut ops = Vec::with_capacity(raw.ops.len());
    let mut unknown = None;
    for (index, bytes) in raw.ops.into_iter().enumerate() {
        let fail = |why| EntryError::Op { index, why };
        let op = v1::Op::decode(bytes.clone()).map_err(|e| fail(OpError::Wire(e.into())))?;
        let canonical = wire::is_canonical(&op, &bytes);
        // A field that we dropped and no kind that we know: the kind is in that field.
        if op.kind.is_none() && !canonical {
            unknown.get_or_insert(Unreadable::OpKind { index });
        } else if !canonical {
            return Err(fail(OpError::Wire(wire::WireError::NotCanonical { len: bytes.len() })));
        } else {
            match codec::op_from_wire(op, header).map_err(fail)? {
                Some(op) => ops.push(op),
                None => drop(unknown.get_or_insert(Unreadable::OpKind { index })),
            }
        }
    }
    match unknown {
        Some(why) => Ok(Err(why)),
        None => check::ops(header.kind, &ops).map(|()| Ok(ops)),
    }
}
