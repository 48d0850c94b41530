//! What a peer says of the content that entries name.

use super::*;

/// Up to where the peer has said that it has the content of `author`'s entries.
fn heard(net: &Net, at: (usize, usize), author: NodeId) -> Option<u64> {
    net.ends[&at].session.theirs_whole().get(&author).map(|mark| mark.seq)
}

fn whole(net: &mut Net, at: (usize, usize), generation: u64) {
    if let Some(end) = net.ends.get_mut(&at) {
        end.local.push_back(Input::Whole(generation));
    }
    net.settle(&mut in_order(), 1);
}

#[test]
fn content_is_said_to_be_here_of_what_was_told_and_of_nothing_later() {
    let mut net = Net::new(2, 10);
    net.write(0, 5);
    net.connect(0, 1);
    net.settle(&mut in_order(), 1);
    net.assert_converged();
    assert_eq!(heard(&net, (0, 1), node(0)), None, "it has the entries");
    let now = net.stores[1].generation;
    whole(&mut net, (1, 0), now - 1);
    assert_eq!(heard(&net, (0, 1), node(0)), None, "it had the content of what it had before");
    whole(&mut net, (1, 0), now);
    assert_eq!(heard(&net, (0, 1), node(0)), Some(5));
    let sent = net.ends[&(1, 0)].sent["have"];
    whole(&mut net, (1, 0), now);
    assert_eq!(net.ends[&(1, 0)].sent["have"], sent, "it is said once");
    net.write(0, 2);
    net.settle(&mut in_order(), 1);
    net.assert_converged();
    assert_eq!(heard(&net, (0, 1), node(0)), Some(5), "not what came since");
    let now = net.stores[1].generation;
    whole(&mut net, (1, 0), now);
    assert_eq!(heard(&net, (0, 1), node(0)), Some(7));
}

#[test]
fn where_both_hold_the_same_from_the_start_it_takes_one_frame() {
    let mut net = Net::new(2, 10);
    for store in &mut net.stores {
        store.write(node(7), 1000);
    }
    net.connect(0, 1);
    net.settle(&mut in_order(), 1);
    whole(&mut net, (1, 0), u64::MAX);
    assert_eq!(heard(&net, (0, 1), node(7)), Some(1000));
    assert_eq!(net.ends[&(1, 0)].sent["have"], 1);
    assert_eq!(heard(&net, (1, 0), node(7)), None);
}
