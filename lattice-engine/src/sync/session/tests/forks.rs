//! Proofs of forks between sessions.

use super::*;
use crate::entry::{Draft, Kind, SignedHeader};
use crate::identity::Identity;

/// Two entries of one number, signed by the author of this seed.
fn fork(seed: u8) -> Arc<ForkProof> {
    let identity = Identity::from_seed([seed; 32]);
    let signed = |hlc: u64| {
        let draft = Draft {
            store: STORE,
            author: identity.node_id(),
            seq: 3,
            prev: EntryId([8; 32]),
            hlc: Hlc::new(hlc, 0),
            kind: Kind::Ack,
            group_first: 0,
            group_more: false,
            ops: Vec::new(),
            parents: BTreeMap::new(),
        };
        let entry = draft.build().expect("an entry");
        SignedHeader { header: entry.header_bytes, signature: identity.sign(&entry.id) }
    };
    Arc::new(ForkProof::new(signed(1), signed(2)).expect("a proof"))
}

#[test]
fn the_proofs_of_forks_come_to_everyone_once() {
    let mut net = Net::new(3, 10);
    net.write(0, 5);
    (50..54).for_each(|seed| net.stores[0].write(fork(seed).author, 3));
    net.learn_fork(0, fork(50));
    net.learn_fork(2, fork(51));
    for (a, b) in [(0, 1), (1, 2)] {
        net.connect(a, b);
        net.learn_fork(a, net.stores[a].forks.first().cloned().unwrap_or_else(|| fork(52)));
    }
    net.settle(&mut in_order(), 10_000);
    net.learn_fork(2, fork(53));
    net.settle(&mut in_order(), 20_000);
    net.assert_converged();
    let known = |n: usize| {
        let mut seqs: Vec<NodeId> = net.stores[n].forks.iter().map(|proof| proof.author).collect();
        seqs.sort();
        seqs
    };
    assert_eq!(known(0).len(), 4);
    assert!((1..3).all(|n| known(n) == known(0)));
    for end in net.ends.values() {
        assert!(end.sent.get("fork").copied().unwrap_or(0) <= 4 && end.closed.is_none());
    }
    let sent: u64 = net.ends.values().filter_map(|end| end.sent.get("fork")).sum();
    assert!((8..=10).contains(&sent), "each of 4 proofs over 2 links, and a few that crossed: {sent}");
}

#[test]
fn a_peer_that_tells_of_one_fork_again_or_of_another_store_s_is_left() {
    for (times, store) in [(2, STORE), (1, StoreId([6; 16]))] {
        let config = Config { store, genesis: GENESIS, node: node(0), peer: node(1) };
        let mut session = Session::new(config, SharedTips::default());
        let mut mesh = Mesh::default();
        session.handle(Input::Opened, 1, &mut mesh);
        let digest = Tips::default().digest();
        let hello = Frame::Hello { store, genesis: GENESIS, digest, check: false };
        session.handle(Input::Frame(hello), 1, &mut mesh);
        let told: Vec<Output> = (0..times)
            .flat_map(|_| session.handle(Input::Frame(Frame::Fork(fork(50))), 1, &mut mesh))
            .collect();
        assert!(
            matches!(told.last(), Some(Output::Close(Reason::Protocol(_) | Reason::OtherStore))),
            "{told:?}"
        );
    }
}
