//! Frames: what they are in bytes, and what is refused.

use proptest::prelude::*;

use super::*;

fn id() -> impl Strategy<Value = [u8; 32]> {
    any::<u8>().prop_map(|b| [b; 32])
}

fn some_marks(max: usize) -> impl Strategy<Value = Vec<(NodeId, Mark)>> {
    let mark = (id(), 1..u64::MAX, id());
    let mark = mark.prop_map(|(author, seq, id)| (NodeId(author), Mark { seq, id: EntryId(id) }));
    proptest::collection::btree_set(mark, 0..max).prop_map(|set| set.into_iter().collect())
}

fn some_entry() -> impl Strategy<Value = v1::SignedEntry> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    (bytes(), any::<bool>(), bytes()).prop_map(|(header, signed, payload)| v1::SignedEntry {
        header: header.into(),
        signature: if signed { vec![7; 64].into() } else { Bytes::new() },
        payload: payload.into(),
    })
}

fn frames() -> impl Strategy<Value = Frame> {
    let range = (id(), 1..1000u64, 0..1000u64).prop_map(|(author, from, more)| Range {
        author: NodeId(author),
        from,
        to: from + more,
    });
    prop_oneof![
        (any::<u8>(), id(), id(), any::<bool>()).prop_map(|(store, genesis, digest, check)| Frame::Hello {
            store: StoreId([store; 16]),
            genesis: EntryId(genesis),
            digest: TipsDigest(digest),
            check,
        }),
        (some_marks(20), any::<bool>()).prop_map(|(marks, more)| Frame::Tips { marks, more }),
        (some_marks(20), any::<u64>(), any::<bool>()).prop_map(|(marks, taken, whole)| Frame::Have {
            marks,
            taken,
            whole
        }),
        some_marks(20).prop_map(Frame::Fetch),
        proptest::collection::vec(range, 0..20).prop_map(|mut ranges| {
            ranges.sort();
            ranges.dedup_by_key(|r| r.author);
            Frame::Want(ranges)
        }),
        (proptest::collection::vec(some_entry(), 0..5), any::<bool>())
            .prop_map(|(entries, last)| Frame::Entries { entries, last }),
        Just(Frame::Done),
        (id(), 1..1000u64, id(), 0..1000u64).prop_map(|(author, from, id, more)| Frame::FetchChain {
            author: NodeId(author),
            of: Mark { seq: from + more, id: EntryId(id) },
            from,
        }),
    ]
}

fn body(bytes: &Bytes) -> Bytes {
    let announced = Announced::read(bytes).expect("a length").expect("whole");
    assert_eq!(announced.prefix + announced.len, bytes.len());
    bytes.slice(announced.prefix..)
}

proptest! {
    #[test]
    fn what_is_written_is_read(frame in frames()) {
        let bytes = frame.encode();
        prop_assert_eq!(Frame::decode(body(&bytes)), Ok(frame));
    }

    /// Neither random bytes nor damaged frames make it panic; and what it takes, it would have written.
    #[test]
    fn bytes_have_one_meaning_or_none(
        frame in frames(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<proptest::sample::Index>(),
    ) {
        let whole = body(&frame.encode());
        let mut bytes = whole.to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for bytes in [bytes.clone(), bytes[..cut.index(bytes.len())].to_vec()] {
            if let Ok(read) = Frame::decode(bytes.clone().into()) {
                let state_root = matches!(read, Frame::Hello { .. }) && bytes.len() > whole.len();
                prop_assert!(state_root || body(&read.encode()) == bytes);
            }
        }
    }

    #[test]
    fn random_bytes_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Announced::read(&bytes);
        let _ = Frame::decode(bytes.into());
    }
}

#[test]
fn a_length_over_the_cap_of_its_kind_is_refused_before_anything_is_allocated() {
    let announce = |len: u64, kind: u8| {
        let mut bytes = Vec::new();
        prost::encoding::encode_varint(len, &mut bytes);
        bytes.push(kind << 3 | 2);
        Announced::read(&bytes)
    };
    for (kind, limit) in [
        (1u8, 256),
        (2, MIB),
        (3, MIB),
        (4, MAX_FRAME),
        (5, MIB),
        (6, 16),
        (7, 64 << 10),
        (8, 256),
        (9, 2 * MAX_HEADER + 256),
    ] {
        let prefix = prost::length_delimiter_len(limit);
        assert_eq!(announce(limit as u64, kind), Ok(Some(Announced { prefix, len: limit })));
        let len = limit as u64 + 1;
        assert_eq!(announce(len, kind), Err(FrameError::TooLong { kind: kind.into(), len, limit }));
    }
    assert_eq!(announce(5, 10), Err(FrameError::UnknownKind(10)));
    assert_eq!(Announced::read(&[0, 10]), Err(FrameError::Empty));
    assert_eq!(Announced::read(&[0x80, 0x80, 0x80, 0x80, 1]), Err(FrameError::BadLength));
    assert_eq!(Announced::read(&[0x85, 0x00, 10]), Err(FrameError::BadLength));
    for part in [&[][..], &[5], &[0x85], &[0x85, 1]] {
        assert_eq!(Announced::read(part), Ok(None));
    }
}

#[test]
fn many_small_items_are_refused_before_they_are_read() {
    for kind in [2u8, 3, 5, 7] {
        let items = [0x0a, 0].repeat(20_000);
        let mut bytes = vec![kind << 3 | 2];
        prost::encode_length_delimiter(items.len(), &mut bytes).expect("a Vec grows");
        bytes.extend(items);
        assert_eq!(Frame::decode(bytes.into()), Err(FrameError::Field("items")), "kind {kind}");
    }
    let entries = vec![v1::SignedEntry::default(); MAX_ENTRIES + 1];
    let bytes = Frame::Entries { entries, last: true }.encode();
    let too_many = WireError::TooMany { have: MAX_ENTRIES + 1, limit: MAX_ENTRIES };
    assert_eq!(Frame::decode(body(&bytes)), Err(too_many.into()));
}

#[test]
fn what_is_out_of_range_or_order_is_refused() {
    let mark = |author: u8, seq| (NodeId([author; 32]), Mark { seq, id: EntryId([1; 32]) });
    let range = |from, to| Range { author: NodeId([1; 32]), from, to };
    let bad = [
        Frame::Tips { marks: vec![mark(2, 1), mark(1, 1)], more: false },
        Frame::Tips { marks: vec![mark(1, 1), mark(1, 1)], more: false },
        Frame::Have { marks: vec![mark(1, 0)], taken: 0, whole: false },
        Frame::Want(vec![range(0, 1)]),
        Frame::Want(vec![range(2, 1)]),
        Frame::Want(vec![range(1, u64::MAX)]),
        Frame::Want(vec![range(1, 2), range(4, 5)]),
        Frame::FetchChain { author: NodeId([1; 32]), of: mark(1, 3).1, from: 4 },
        Frame::FetchChain { author: NodeId([1; 32]), of: mark(1, 3).1, from: 0 },
    ];
    for frame in bad {
        assert!(matches!(Frame::decode(body(&frame.encode())), Err(FrameError::Field(_))), "{frame:?}");
    }
}

/// FORMAT.md shows these.
#[test]
fn golden() {
    let hex = |frame: Frame| data_encoding::HEXLOWER.encode(&frame.encode());
    let (author, id) = (NodeId([0xaa; 32]), EntryId([0xbb; 32]));
    let (a, b) = ("aa".repeat(32), "bb".repeat(32));
    let marks = vec![(author, Mark { seq: 300, id })];
    let mark = format!("0a20{a}10ac021a20{b}");
    let hello =
        Frame::Hello { store: StoreId([0x11; 16]), genesis: id, digest: TipsDigest([0xcc; 32]), check: true };
    let expected = format!("5c0a5a08011210{}1a20{b}2220{}3001", "11".repeat(16), "cc".repeat(32));
    assert_eq!(hex(hello), expected);
    assert_eq!(hex(Frame::Tips { marks: marks.clone(), more: true }), format!("4d124b0a47{mark}1001"));
    let want = Frame::Want(vec![Range { author, from: 1, to: 300 }]);
    assert_eq!(hex(want), format!("2b1a290a270a20{a}100118ac02"));
    let entry =
        v1::SignedEntry { header: vec![1].into(), signature: vec![2; 64].into(), payload: vec![3].into() };
    let entries = Frame::Entries { entries: vec![entry], last: true };
    assert_eq!(hex(entries), format!("4e224c0a480a01011240{}1a01031001", "02".repeat(64)));
    let have = |whole| Frame::Have { marks: marks.clone(), taken: 2, whole };
    assert_eq!(hex(have(false)), format!("4d2a4b0a47{mark}1002"));
    assert_eq!(hex(have(true)), format!("4f2a4d0a47{mark}10021801"));
    assert_eq!(hex(Frame::Have { marks: Vec::new(), taken: 0, whole: true }), "042a021801");
    assert_eq!(hex(Frame::Done), "023200");
    assert_eq!(hex(Frame::Fetch(marks.clone())), format!("4b3a490a47{mark}"));
    let chain = Frame::FetchChain { author, of: marks[0].1, from: 2 };
    assert_eq!(hex(chain), format!("4d424b0a47{mark}1002"));
}
