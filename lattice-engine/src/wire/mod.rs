//! Bytes to protobuf messages and back. What it refuses: bytes that are not the one encoding of what they say.
//!
//! Two encodings of one message would be two entry ids for one meaning, and a field that we don't know would be
//! dropped in silence. So everything that was signed, or is named by its hash, is decoded with [`decode_strict`].

use bytes::{Buf, Bytes};
use prost::Message;

/// The messages of `proto/lattice/v1`, generated.
#[allow(
    clippy::large_enum_variant,
    reason = "generated; the large variant, Put, is also the common one"
)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/lattice.v1.rs"));
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    #[error("not protobuf: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("not in the one valid encoding: encoded again, its {len} bytes come out differently")]
    NotCanonical { len: usize },
    #[error("{have} items, over the limit of {limit}")]
    TooMany { have: usize, limit: usize },
}

/// Decodes a message and checks that encoding it again gives the same bytes: no unknown field, no other order, no
/// padded number, no default written out. Accepts a `&[u8]`, or a `Bytes` whose parts the message then shares.
pub fn decode_strict<M: Message + Default>(
    bytes: impl Buf + AsRef<[u8]> + Clone,
) -> Result<M, WireError> {
    let message = M::decode(bytes.clone())?;
    if is_canonical(&message, bytes.as_ref()) {
        Ok(message)
    } else {
        Err(WireError::NotCanonical {
            len: bytes.as_ref().len(),
        })
    }
}

/// Whether `message` encodes to exactly `bytes`.
pub fn is_canonical(message: &impl Message, bytes: &[u8]) -> bool {
    message.encoded_len() == bytes.len() && message.encode_to_vec() == bytes
}

/// An encoded `Payload`, taken apart one level deep.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawPayload {
    /// Each op's own bytes.
    pub ops: Vec<Bytes>,
    pub nonce: Bytes,
}

const OPS_TAG: u8 = 1 << 3 | 2;
const NONCE_TAG: u8 = 2 << 3 | 2;

/// Takes an encoded `Payload` apart, strictly, without decoding its ops: an op of an unknown kind can be told from a
/// broken one, and no more than `max_ops` are ever allocated for, however many a peer has packed in.
pub fn split_payload(mut payload: Bytes, max_ops: usize) -> Result<RawPayload, WireError> {
    let len = payload.len();
    let mut raw = RawPayload::default();
    while payload.has_remaining() {
        let tag = payload.get_u8();
        let before = payload.len();
        let size = prost::decode_length_delimiter(&mut payload)?;
        let padded = before - payload.len() != prost::length_delimiter_len(size);
        // Ops come first, then at most one nonce, and an empty nonce is not written.
        let misplaced = match tag {
            OPS_TAG => !raw.nonce.is_empty(),
            NONCE_TAG => !raw.nonce.is_empty() || size == 0,
            _ => true,
        };
        if padded || misplaced || size > payload.len() {
            return Err(WireError::NotCanonical { len });
        }
        let part = payload.split_to(size);
        if tag == NONCE_TAG {
            raw.nonce = part;
        } else if raw.ops.len() == max_ops {
            return Err(WireError::TooMany {
                have: max_ops + 1,
                limit: max_ops,
            });
        } else {
            raw.ops.push(part);
        }
    }
    Ok(raw)
}
