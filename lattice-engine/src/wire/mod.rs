//! Bytes to protobuf messages and back. What it refuses: bytes that are not the one encoding of what they say.
//!
//! Two encodings of one message would be two entry ids for one meaning, and a field that we don't know would be
//! dropped in silence. So everything that was signed, or is named by its hash, is decoded with [`decode_strict`].

use bytes::{Buf, Bytes};
use prost::Message;

/// The messages of `proto/lattice/v1`, generated.
#[allow(clippy::large_enum_variant, reason = "generated; the large variant, Put, is also the common one")]
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
pub fn decode_strict<M: Message + Default>(bytes: impl Buf + AsRef<[u8]> + Clone) -> Result<M, WireError> {
    let message = M::decode(bytes.clone())?;
    if is_canonical(&message, bytes.as_ref()) {
        Ok(message)
    } else {
        Err(WireError::NotCanonical { len: bytes.as_ref().len() })
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
            return Err(WireError::TooMany { have: max_ops + 1, limit: max_ops });
        } else {
            raw.ops.push(part);
        }
    }
    Ok(raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(bytes: &[u8]) -> Result<RawPayload, WireError> {
        split_payload(Bytes::copy_from_slice(bytes), 2)
    }

    #[test]
    fn one_message_has_one_encoding() {
        let canonical = [0x08, 5, 0x10, 1];
        let time = v1::Time { s: -3, ns: 1 };
        assert_eq!(decode_strict(&canonical[..]), Ok(time));
        let others: [&[u8]; 5] = [
            &[0x10, 1, 0x08, 5],
            &[0x08, 0x85, 0, 0x10, 1],
            &[0x08, 4, 0x08, 5, 0x10, 1],
            &[0x08, 5, 0x10, 1, 0x18, 0],
            &[0x08, 5, 0x10, 1, 0x1a, 0],
        ];
        for other in others {
            let len = other.len();
            let refused = decode_strict::<v1::Time>(other);
            assert_eq!(refused, Err(WireError::NotCanonical { len }));
        }
        assert!(matches!(decode_strict::<v1::Time>(&[0x08][..]), Err(WireError::Malformed(_))));
    }

    #[test]
    fn a_payload_is_ops_and_then_a_nonce() {
        let raw = split(&[0x0a, 1, b'a', 0x0a, 0, 0x12, 1, b'n']).expect("valid");
        assert_eq!(raw.ops, [Bytes::from_static(b"a"), Bytes::new()]);
        assert_eq!(raw.nonce, Bytes::from_static(b"n"));
        let bad: [&[u8]; 7] = [
            &[0x12, 1, b'n', 0x0a, 0],
            &[0x12, 1, b'n', 0x12, 1, b'n'],
            &[0x12, 0],
            &[0x0a, 0x81, 0, b'a'],
            &[0x0a, 2, b'a'],
            &[0x1a, 0],
            &[0x0a],
        ];
        for bytes in bad {
            assert!(split(bytes).is_err(), "{bytes:?}");
        }
        let too_many = Err(WireError::TooMany { have: 3, limit: 2 });
        assert_eq!(split(&[0x0a, 0, 0x0a, 0, 0x0a, 0]), too_many);
    }

    proptest! {
        /// The splitter takes whatever the generated decoder takes, and what it takes is the one encoding of its parts.
        #[test]
        fn splitting_is_as_strict_as_decoding(
            mut ops in proptest::collection::vec(any::<bool>(), 0..4),
            nonce in proptest::collection::vec(any::<u8>(), 0..3),
            edit in proptest::option::of((any::<proptest::sample::Index>(), any::<u8>())),
        ) {
            let op = |parent: bool| v1::Op { kind: None, parent_index: if parent { vec![1] } else { vec![] } };
            let payload = v1::Payload { ops: ops.drain(..).map(op).collect(), nonce: nonce.into() };
            let mut bytes = payload.encode_to_vec();
            if let Some((at, byte)) = edit && !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if decode_strict::<v1::Payload>(&bytes[..]).is_ok() {
                prop_assert!(split_payload(bytes.clone().into(), 99).is_ok());
            }
            if let Ok(raw) = split_payload(bytes.clone().into(), 99) {
                let mut joined = Vec::new();
                let nonce = Some((NONCE_TAG, &raw.nonce)).filter(|(_, n)| !n.is_empty());
                for (tag, part) in raw.ops.iter().map(|op| (OPS_TAG, op)).chain(nonce) {
                    joined.push(tag);
                    prost::encode_length_delimiter(part.len(), &mut joined).expect("a Vec grows");
                    joined.extend_from_slice(part);
                }
                prop_assert_eq!(joined, bytes);
            }
        }
    }
}
