//! How the branches of an author who has forked are asked for.

use super::*;
use crate::entry::entry_id;

const AUTHOR: NodeId = NodeId([70; 32]);

/// A session that holds the author's chain up to 9, and whose peer tells of another entry 9.
struct Asking {
    session: Session,
    mesh: Mesh,
    now: Millis,
    batches: u64,
    end: Mark,
}

impl Asking {
    fn new() -> (Self, Vec<Frame>) {
        let config = Config { store: STORE, genesis: GENESIS, node: node(0), peer: node(1) };
        let ours = Arc::new(Tips::new([(AUTHOR, mark(AUTHOR, 9))].into()));
        let end = Mark { seq: 9, id: entry_id(&entry(AUTHOR, 9).header) };
        let mut marks = vec![(AUTHOR, mark(AUTHOR, 9)), (AUTHOR, end)];
        marks.sort();
        let session = Session::new(config, ours);
        let mut asking = Self { session, mesh: Mesh::default(), now: 1, batches: 0, end };
        asking.hear(Input::Opened);
        let digest = TipsDigest([1; 32]);
        let hello = Frame::Hello { store: STORE, genesis: GENESIS, digest, check: false };
        asking.hear(Input::Frame(hello));
        let said = asking.hear(Input::Frame(Frame::Tips { marks, more: false }));
        (asking, said)
    }

    /// What it says.
    fn hear(&mut self, input: Input) -> Vec<Frame> {
        let mut frames = Vec::new();
        for input in [input, Input::Writable] {
            for output in self.session.handle(input, self.now, &mut self.mesh) {
                match output {
                    Output::Send(frame) => frames.push(frame),
                    Output::Close(reason) => panic!("{reason}"),
                    _ => {}
                }
            }
        }
        frames.retain(|frame| matches!(frame, Frame::Fetch(_) | Frame::FetchChain { .. } | Frame::Done));
        frames
    }

    /// The peer gives these, and the store does this with them.
    fn give(&mut self, seqs: std::ops::RangeInclusive<u64>, results: Vec<Received>) -> Vec<Frame> {
        let entries = seqs.map(|seq| entry(AUTHOR, seq)).collect();
        self.hear(Input::Frame(Frame::Entries { entries, last: false }));
        let batch = self.batches;
        self.batches += 1;
        let durable = self.session.ours.clone();
        self.hear(Input::Received { batch, results, durable })
    }

    fn chain(&self, from: u64) -> [Frame; 1] {
        [Frame::FetchChain { author: AUTHOR, of: self.end, from }]
    }
}

#[test]
fn a_branch_is_asked_for_by_its_end_then_backwards_to_where_it_leaves_and_on_from_there() {
    let (mut asking, said) = Asking::new();
    assert_eq!(said, [Frame::Fetch(vec![(AUTHOR, asking.end)])], "one at a time, and no Done before");
    let apart = |from| Received::Apart { from };
    assert_eq!(asking.give(9..=9, vec![apart(8)]), asking.chain(8));
    assert_eq!(asking.give(8..=9, vec![apart(6), apart(8)]), asking.chain(6));
    assert_eq!(asking.give(6..=7, vec![Received::Duplicate, Received::New]), asking.chain(8));
    assert_eq!(asking.give(8..=9, vec![Received::New, Received::New]), [Frame::Done]);
}

#[test]
fn a_branch_that_is_not_given_or_not_taken_is_asked_for_again_later() {
    for results in [None, Some(Received::Missing(vec![Range { author: node(5), from: 1, to: 1 }]))] {
        let (mut asking, _) = Asking::new();
        let said = match results {
            None => asking.hear(Input::Frame(Frame::Entries { entries: Vec::new(), last: false })),
            Some(result) => asking.give(9..=9, vec![result]),
        };
        assert_eq!(said, [Frame::Done], "nothing else waits for it");
        asking.now += 4_999;
        assert_eq!(asking.hear(Input::Timer), []);
        asking.now += 1;
        assert_eq!(asking.hear(Input::Timer), [Frame::Fetch(vec![(AUTHOR, asking.end)])]);
    }
}

#[test]
fn who_never_answers_costs_no_more_than_the_time_and_a_branch_that_goes_in_circles_is_left() {
    let (mut asking, _) = Asking::new();
    asking.now += 30_000;
    assert_eq!(asking.hear(Input::Timer), [Frame::Done]);
    let (mut asking, _) = Asking::new();
    assert_eq!(asking.give(9..=9, vec![Received::Apart { from: 9 }]), [Frame::Done], "no further back");
}
