//! Who wrote an entry, and where it stands, from the first bytes of its header: before it is decoded and checked.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use crate::hlc::Hlc;
use crate::id::NodeId;

/// What a header claims. True only once the entry has been decoded and its signature checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peek {
    pub author: NodeId,
    pub seq: u64,
    pub hlc: Hlc,
}

/// Reads author, seq and hlc of an encoded header. `None`: it is none.
pub fn peek(mut header: &[u8]) -> Option<Peek> {
    let (mut author, mut seq) = (None, 0);
    while header.has_remaining() {
        let (tag, wire) = decode_key(&mut header).ok()?;
        match (tag, wire) {
            (3, WireType::LengthDelimited) => {
                let len = usize::try_from(decode_varint(&mut header).ok()?).ok()?;
                author = NodeId::from_slice(header.get(..len)?);
                header.advance(len);
            }
            (4, WireType::Varint) => seq = decode_varint(&mut header).ok()?,
            (6, WireType::SixtyFourBit) => {
                let hlc = Hlc(header.try_get_u64_le().ok()?);
                return author.map(|author| Peek { author, seq, hlc });
            }
            _ => skip_field(wire, tag, &mut header, DecodeContext::default()).ok()?,
        }
    }
    // A time of zero is not written.
    author.map(|author| Peek { author, seq, hlc: Hlc::ZERO })
}
