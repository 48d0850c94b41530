use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::entry::{self, Draft, EntryRef, Op};
use crate::identity::Identity;

fn author(seed: u8) -> NodeId {
    Identity::from_seed([seed; 32]).node_id()
}

fn genesis() -> Entry {
    entry::genesis_from(&Identity::from_seed([1; 32]), Hlc(1000), [0; 32], vec![]).expect("valid")
}

fn draft(seq: u64, prev: &Tip, hlc: u64, what: u8) -> Draft {
    Draft {
        store: genesis().store(),
        author: author(2),
        seq,
        prev: prev.id,
        hlc: Hlc(hlc),
        kind: Kind::Data,
        group_first: 0,
        group_more: false,
        ops: vec![Op::Instruction { program_id: "p".into(), payload: vec![what].into(), parents: vec![] }],
        parents: BTreeMap::new(),
    }
}

fn entry(seq: u64, prev: &Tip, hlc: u64, what: u8) -> Entry {
    draft(seq, prev, hlc, what).build().expect("valid")
}

/// An author's entries 1.. as they are held.
#[derive(Default)]
struct Held(Vec<Entry>);

impl Held {
    fn of(n: u64) -> Self {
        let mut held = Self::default();
        for seq in 1..=n {
            let prev = held.tip().unwrap_or(Tip::of(&genesis()));
            held.0.push(entry(seq, &prev, 1000 + seq, 0));
        }
        held
    }

    fn tip(&self) -> Option<Tip> {
        self.0.last().map(Tip::of)
    }

    fn check(&self, entry: &Entry) -> Outcome {
        let held = |seq: u64| self.0.get(seq as usize - 1).map(|e| e.id);
        check(self.tip().as_ref(), &Tip::of(&genesis()), held, entry)
    }
}

#[test]
fn the_next_entry_is_appended() {
    let chain = Held::of(3);
    for n in 0..3 {
        assert_eq!(Held::of(n).check(&chain.0[n as usize]), Outcome::Append);
    }
}

#[test]
fn what_is_held_is_a_duplicate() {
    let chain = Held::of(3);
    for entry in &chain.0 {
        assert_eq!(chain.check(entry), Outcome::Duplicate);
    }
    assert_eq!(chain.check(&genesis()), Outcome::Duplicate);
    assert_eq!(Held::default().check(&genesis()), Outcome::Duplicate);
}

#[test]
fn a_gap_says_what_to_ask_for() {
    let chain = Held::of(5);
    assert_eq!(Held::of(2).check(&chain.0[4]), Outcome::Gap { have: 2, need: 4 });
    assert_eq!(Held::default().check(&chain.0[1]), Outcome::Gap { have: 0, need: 1 });
}

#[test]
fn two_entries_of_one_seq_are_a_fork() {
    let chain = Held::of(3);
    let other = entry(2, &Tip::of(&chain.0[0]), 1002, 1);
    let existing = chain.0[1].id;
    assert_eq!(chain.check(&other), Outcome::Fork { existing, seq: 2 });
    // The branch goes on where ours ends: the entry that it names as its prev is the other one.
    let on_branch = entry(3, &Tip::of(&other), 1003, 1);
    assert_eq!(Held::of(2).check(&on_branch), Outcome::Fork { existing, seq: 2 });
}

#[test]
fn what_belongs_to_no_chain_is_invalid() {
    let tip = Tip::of(&genesis());
    let another =
        entry::genesis_from(&Identity::from_seed([1; 32]), Hlc(1000), [1; 32], vec![]).expect("valid");
    let other = another.store();
    let store = genesis().store();
    let foreign = Draft { store: other, ..draft(1, &tip, 2000, 0) }.build().expect("valid");
    let empty = Held::default();
    for entry in [&foreign, &another] {
        assert_eq!(empty.check(entry), Outcome::Invalid(Invalid::OtherStore { other, store }));
    }
    let rootless = entry(1, &Tip::of(&another), 2000, 0);
    let why = Invalid::NotFromGenesis { prev: another.id, genesis: tip.id };
    assert_eq!(empty.check(&rootless), Outcome::Invalid(why));
    assert_eq!(Held::of(3).check(&rootless), Outcome::Invalid(why), "in every order");
    for hlc in [999, 1000] {
        let why = Invalid::NotAfterPrev { hlc: Hlc(hlc), before: Hlc(1000) };
        assert_eq!(empty.check(&entry(1, &tip, hlc, 0)), Outcome::Invalid(why));
    }
    let chain = Held::of(2);
    let late = entry(3, &Tip::of(&chain.0[1]), 1002, 0);
    let why = Invalid::NotAfterPrev { hlc: Hlc(1002), before: Hlc(1002) };
    assert_eq!(chain.check(&late), Outcome::Invalid(why));
}

#[test]
fn deps_are_here_and_earlier() {
    let cite = |n: u8| EntryRef { hlc: Hlc(1), author: author(3), id: EntryId([n; 32]), seq: n.into() };
    let parents = [1, 2].map(|n| (cite(n).id, cite(n))).into();
    let entry = Draft { parents, ..draft(1, &Tip::of(&genesis()), 2000, 0) }.build().expect("valid");
    let known = |time: Option<u64>| {
        check_deps(&entry, |id, by, seq| {
            assert_eq!((*by, *id), (author(3), EntryId([seq as u8; 32])));
            if seq == 1 { Some(Hlc(5)) } else { time.map(Hlc) }
        })
    };
    assert_eq!(known(Some(1999)), Ok(vec![]));
    assert_eq!(known(None), Ok(vec![cite(2).id]));
    let dep = cite(2).id;
    let before = Hlc(2000);
    assert_eq!(known(Some(2000)), Err(Invalid::NotAfterDep { hlc: before, before, dep }));
}

proptest! {
    /// However the entries of a chain arrive, repeated or not, those that fit are the chain.
    #[test]
    fn a_chain_is_put_together_from_any_order(n in 1..12u64, arrivals in proptest::collection::vec(0..12usize, 0..200)) {
        let whole = Held::of(n);
        let mut held = Held::default();
        for i in arrivals.into_iter().map(|i| i % whole.0.len()).chain(0..whole.0.len()) {
            let have = held.0.len();
            let want = match i.cmp(&have) {
                std::cmp::Ordering::Less => Outcome::Duplicate,
                std::cmp::Ordering::Equal => Outcome::Append,
                std::cmp::Ordering::Greater => Outcome::Gap { have: have as u64, need: i as u64 },
            };
            prop_assert_eq!(held.check(&whole.0[i]), want);
            if want == Outcome::Append {
                held.0.push(whole.0[i].clone());
            }
        }
        prop_assert_eq!(held.tip(), whole.tip());
    }
}
