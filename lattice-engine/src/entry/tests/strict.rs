//! One encoding per entry: what is accepted is exactly what would be built, and any change to it is noticed.

use super::*;
use crate::wire::v1;
use proptest::sample::Index;
use prost::Message;

fn signed(draft: Draft) -> Entry {
    let mut entry = draft.build().expect("a valid draft");
    entry.sign(&Identity::from_seed([1; 32])).expect("its author");
    entry
}

fn decode(header: &[u8], payload: &[u8], signature: Option<Signature>) -> Result<Decoded, EntryError> {
    Entry::decode(Bytes::copy_from_slice(header), Bytes::copy_from_slice(payload), signature)
}

/// The header of `entry` for another payload: what an author could sign on purpose.
fn header_for(entry: &Entry, payload: &[u8]) -> Vec<u8> {
    let mut header = v1::Header::decode(entry.header_bytes.clone()).expect("built");
    header.payload_hash = Bytes::copy_from_slice(&payload_hash(payload));
    header.payload_len = payload.len() as u64;
    header.encode_to_vec()
}

#[test]
fn every_flipped_bit_of_an_entry_is_noticed() {
    let parent = EntryRef { hlc: Hlc(9), author: NodeId([3; 32]), id: EntryId([2; 32]), seq: 4 };
    let mut op = put("notes/a.txt", file(b"hello"));
    if let Op::Put { parents, .. } = &mut op {
        parents.push(parent.id);
    }
    let entry = signed(Draft { ops: vec![op], parents: [(parent.id, parent)].into(), ..blank() });
    let signature = entry.signature.expect("signed");
    let flip = |bytes: &[u8], bit: usize| {
        let mut bytes = bytes.to_vec();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    for bit in 0..entry.header_bytes.len() * 8 {
        let header = flip(&entry.header_bytes, bit);
        if let Ok(decoded) = decode(&header, &entry.payload_bytes, Some(signature)) {
            let changed = decoded.entry();
            assert_ne!(changed.id, entry.id, "header bit {bit}");
            changed.verify().expect_err("signed for another id");
        }
    }
    for bit in 0..entry.payload_bytes.len() * 8 {
        let payload = flip(&entry.payload_bytes, bit);
        assert_eq!(decode(&entry.header_bytes, &payload, None), Err(EntryError::WrongPayload));
    }
    for bit in 0..signature.len() * 8 {
        let signature = flip(&signature, bit).try_into().expect("64 bytes");
        let decoded = decode(&entry.header_bytes, &entry.payload_bytes, Some(signature));
        known(decoded.expect("signatures are not read by decode"))
            .verify()
            .expect_err("a flipped bit in the signature");
    }
}

/// The fields of an encoded message, each with its tag.
fn fields(mut message: &[u8]) -> Vec<&[u8]> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let mut rest = message;
        let tag = prost::decode_length_delimiter(&mut rest).expect("a tag is a varint");
        let skip = match tag & 7 {
            0 => {
                prost::decode_length_delimiter(&mut rest).expect("a varint");
                0
            }
            1 => 8,
            2 => prost::decode_length_delimiter(&mut rest).expect("a length"),
            other => panic!("wire type {other}"),
        };
        let (field, rest) = message.split_at(message.len() - rest.len() + skip);
        fields.push(field);
        message = rest;
    }
    fields
}

/// Other encodings of the same message: a field twice, two in another order, an unknown one, a tag longer than it needs
/// to be.
fn other_encodings(message: &[u8]) -> Vec<Vec<u8>> {
    let fields = fields(message);
    let mut others = vec![[message, &[0x82, 0x7d, 0]].concat()];
    for i in 0..fields.len() {
        let mut twice = fields.clone();
        twice.insert(i, fields[i]);
        others.push(twice.concat());
        let padded = [&[fields[i][0] | 0x80, 0], &fields[i][1..]].concat();
        let mut longer = fields.clone();
        longer[i] = &padded;
        others.push(longer.concat());
        if i > 0 {
            let mut swapped = fields.clone();
            swapped.swap(i - 1, i);
            others.push(swapped.concat());
        }
    }
    others.retain(|other| other != message);
    others
}

/// A field of type bytes with a tag of one byte.
fn delimited(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut field = vec![tag];
    prost::encode_length_delimiter(body.len(), &mut field).expect("a Vec grows");
    field.extend_from_slice(body);
    field
}

/// Other encodings of an op, at its own level and at that of its kind.
fn other_ops(op: &[u8]) -> Vec<Vec<u8>> {
    let fields = fields(op);
    let kind = fields[0];
    let mut body = &kind[1..];
    prost::decode_length_delimiter(&mut body).expect("a length");
    let inner = other_encodings(body).into_iter();
    let inner = inner.map(|body| [delimited(kind[0], &body), fields[1..].concat()].concat());
    other_encodings(op).into_iter().chain(inner).collect()
}

#[test]
fn a_payload_full_of_tiny_ops_is_refused_before_it_is_decoded() {
    let entry = signed(Draft { ops: vec![put("a", Value::Dir)], ..blank() });
    let payload = [0x0a, 0].repeat(MAX_PAYLOAD / 2);
    let refused = decode(&header_for(&entry, &payload), &payload, None).expect_err("too many");
    let limit = MAX_OPS;
    let too_many = crate::wire::WireError::TooMany { have: limit + 1, limit };
    assert_eq!(refused, EntryError::Payload(too_many));
}

proptest! {
    #[test]
    fn what_is_built_decodes_to_the_same(draft in any_draft()) {
        let entry = signed(draft);
        let decoded = Entry::decode(entry.header_bytes.clone(), entry.payload_bytes.clone(), entry.signature)?;
        prop_assert_eq!(&known(decoded), &entry);
        entry.verify()?;
    }

    #[test]
    fn no_other_encoding_is_accepted(draft in any_draft(), which in any::<Index>()) {
        let entry = signed(draft);
        for header in other_encodings(&entry.header_bytes) {
            prop_assert!(decode(&header, &entry.payload_bytes, None).is_err(), "{header:?}");
        }
        let raw = crate::wire::split_payload(entry.payload_bytes.clone(), MAX_OPS)?;
        let which = which.index(raw.ops.len());
        for other in other_ops(&raw.ops[which]) {
            let mut ops = raw.ops.clone();
            ops[which] = other.into();
            let payload: Vec<u8> = ops.iter().flat_map(|op| delimited(0x0a, op)).collect();
            let decoded = decode(&header_for(&entry, &payload), &payload, None);
            prop_assert!(decoded.is_err(), "{:?} became {:?}", raw.ops[which], ops[which]);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(header in vec(any::<u8>(), 0..256), payload in vec(any::<u8>(), 0..64)) {
        prop_assert!(decode(&header, &payload, None).is_err());
    }

    /// The author's own mistakes or malice: bytes changed, removed or repeated, then hashed and named correctly.
    #[test]
    fn whatever_is_accepted_is_what_would_be_built(
        draft in any_draft(),
        in_header in any::<bool>(),
        edits in vec((any::<Index>(), 0..3u8, any::<u8>()), 1..4),
    ) {
        let entry = signed(draft);
        let mut bytes = if in_header { &entry.header_bytes } else { &entry.payload_bytes }.to_vec();
        for (at, how, byte) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        let decoded = if in_header {
            decode(&bytes, &entry.payload_bytes, None)
        } else {
            decode(&header_for(&entry, &bytes), &bytes, None)
        };
        if let Ok(Decoded::Known(accepted)) = decoded
            && accepted.header.hlc > Hlc::ZERO
        {
            prop_assert_eq!(rebuild(&accepted).header_bytes, accepted.header_bytes);
        }
    }

    #[test]
    fn arbitrary_payload_bytes_with_the_right_hash_never_panic(payload in vec(any::<u8>(), 0..128)) {
        let entry = signed(Draft { ops: vec![put("a", Value::Dir)], ..blank() });
        if let Ok(Decoded::Known(accepted)) = decode(&header_for(&entry, &payload), &payload, None) {
            prop_assert_eq!(rebuild(&accepted).payload_bytes, payload);
        }
    }
}
