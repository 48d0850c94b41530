//! What proves that an author has forked, and what doesn't.

use super::*;

/// A signed header of entry `seq`, after `prev`, that says `tag`.
fn signed(by: u8, seq: u64, prev: [u8; 32], tag: &'static [u8]) -> (EntryId, SignedHeader) {
    let identity = Identity::from_seed([by; 32]);
    let author = identity.node_id();
    let draft = Draft { author, seq, prev: EntryId(prev), ops: vec![put("a", file(tag))], ..blank() };
    let entry = draft.build().expect("an entry");
    let signature = identity.sign(&entry.id);
    (entry.id, SignedHeader { header: entry.header_bytes, signature })
}

#[test]
fn two_entries_of_one_number_prove_a_fork_in_either_order() {
    let ((a, one), (b, two)) = (signed(1, 7, [3; 32], b"one"), signed(1, 7, [3; 32], b"two"));
    let proof = ForkProof::new(one.clone(), two.clone()).expect("a proof");
    assert_eq!((proof.seq, proof.author), (7, blank().author));
    assert_eq!(proof.ids, [a.min(b), a.max(b)]);
    assert_eq!(proof.verify(), Ok(()));
    assert_eq!(ForkProof::new(two, one), Ok(proof));
}

#[test]
fn an_entry_that_names_another_one_before_it_proves_a_fork_of_that() {
    let ((a, one), (_, next)) = (signed(1, 7, [3; 32], b"one"), signed(1, 8, [4; 32], b"next"));
    let proof = ForkProof::new(next, one).expect("a proof");
    assert_eq!((proof.seq, proof.ids), (7, [a, EntryId([4; 32])]));
}

#[test]
fn what_can_stand_in_one_chain_proves_nothing() {
    let (a, one) = signed(1, 7, [3; 32], b"one");
    let (_, next) = signed(1, 8, a.0, b"next");
    let (_, later) = signed(1, 9, [4; 32], b"later");
    for other in [one.clone(), next, later] {
        assert_eq!(ForkProof::new(one.clone(), other), Err(NoFork::OneChain));
    }
    let (_, others) = signed(2, 7, [3; 32], b"two");
    assert_eq!(ForkProof::new(one.clone(), others), Err(NoFork::Apart));
    let junk = SignedHeader { header: Bytes::from_static(b"junk"), signature: [0; 64] };
    assert!(matches!(ForkProof::new(one, junk), Err(NoFork::Header(_))));
}

#[test]
fn a_proof_that_its_author_has_not_signed_is_none() {
    let ((_, one), (_, mut two)) = (signed(1, 7, [3; 32], b"one"), signed(1, 7, [3; 32], b"two"));
    two.signature[3] ^= 1;
    let proof = ForkProof::new(one, two).expect("two headers");
    assert!(proof.verify().is_err());
}
