//! An author who has signed several entries of one number: every replica keeps all branches, and shows the same, whichever came
//! first.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::access::{Cutoffs, act};
use lattice_engine::clock::ManualClock;
use lattice_engine::disk::Disk;
use lattice_engine::disk::sim::SimDisk;
use lattice_engine::entry::{Attrs, Content, Draft, Entry, EntryRef, Kind, Node, Op, Value, genesis_from};
use lattice_engine::hlc::Hlc;
use lattice_engine::id::{EntryId, FileId, NodeId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::key::Key;
use lattice_engine::store::{self, Authority, Change, Cites, Expect, Handle, OpenOptions};
use lattice_engine::sync::{Mark, Received};
use lattice_engine::wire::v1::SignedEntry;
use proptest::prelude::*;

const NOW: u64 = 1_795_300_000_000;
const PEER: NodeId = NodeId([99; 32]);
const FORKER: u8 = 9;
const OTHER: u8 = 8;

struct Machine {
    disk: SimDisk,
    seed: u8,
    authority: Authority,
    store: Handle,
}

fn genesis() -> Entry {
    genesis_from(&Identity::from_seed([1; 32]), Hlc::new(NOW - 1, 0), [3; 32], Vec::new()).expect("a genesis")
}

fn node(seed: u8) -> NodeId {
    Identity::from_seed([seed; 32]).node_id()
}

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect("a key")
}

fn text(value: &str) -> Node {
    let value = Value::File(Content::Inline(Bytes::copy_from_slice(value.as_bytes())));
    Node { file_id: FileId([7; 16]), value, attrs: Attrs::default() }
}

fn options(disk: &SimDisk, seed: u8, authority: &Authority) -> OpenOptions {
    OpenOptions {
        disk: Arc::new(disk.clone()),
        identity: Arc::new(Identity::from_seed([seed; 32])),
        clock: Arc::new(ManualClock::at(NOW + 1000)),
        background: false,
        authority: authority.clone(),
    }
}

impl Machine {
    fn new(seed: u8, authority: Authority) -> Self {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/s")).expect("mkdir");
        let store =
            store::adopt(Path::new("/s"), &genesis(), &options(&disk, seed, &authority)).expect("adopt");
        Self { disk, seed, authority, store }
    }

    /// As a kill leaves it.
    fn again(&self) -> Self {
        let disk = self.disk.kill_image(usize::MAX);
        let id = self.store.id();
        let options = options(&disk, self.seed, &self.authority);
        let store = store::open(&Path::new("/s").join(id.to_string()), id, &options).expect("open");
        Self { disk, seed: self.seed, authority: self.authority.clone(), store }
    }

    /// With all that was applied in its state, where `kept`: an opening replays nothing.
    fn kept(self, kept: bool) -> Self {
        if kept {
            self.store.maintain(true).expect("turns");
        }
        self
    }

    fn take(&self, entries: &[SignedEntry]) -> Vec<Received> {
        self.store.receive(entries.to_vec(), PEER).expect("receive")
    }

    /// Offers entries again and again, as sessions do, until nothing is new.
    fn take_all(&self, entries: &[SignedEntry]) {
        while self.take(entries).contains(&Received::New) {}
    }

    fn put(&self, path: &str, value: &str) -> Change {
        Change::Put { key: key(path), node: text(value), cites: Cites::All, expect: Expect::Anything }
    }

    fn shows(&self, path: &str) -> bool {
        self.store.get(&key(path)).expect("get").is_some_and(|record| record.exists())
    }

    /// All heads of all keys.
    fn dump(&self) -> BTreeMap<String, Vec<EntryId>> {
        let mut found = BTreeMap::new();
        let walked = self.store.walk(&Key::ROOT, &mut |key, record| {
            found.insert(key.to_string(), record.heads.iter().map(|head| head.entry.id).collect());
            ControlFlow::Continue(())
        });
        assert!(walked.is_ok());
        found
    }

    fn check(&self) {
        let report = self.store.fsck(true, &mut |_| {}).expect("fsck");
        assert_eq!((report.problems, report.rebuilt_equal), (Vec::new(), Some(true)));
    }

    /// The ends of the forker's branches.
    fn ends(&self) -> Vec<Mark> {
        self.store.publish().expect("publish").of(&node(FORKER)).copied().collect()
    }
}

/// An entry made by hand.
struct Made {
    at: EntryRef,
    /// Of the group that it is in and that goes on.
    group: u64,
    /// It is of a group, which may never end.
    grouped: bool,
    entry: SignedEntry,
}

fn root() -> Made {
    let entry = genesis();
    Made {
        at: EntryRef { seq: 0, ..entry.entry_ref() },
        group: 0,
        grouped: false,
        entry: SignedEntry::default(),
    }
}

/// The next entry of `seed` after `prev`, which cites others.
fn make(seed: u8, prev: &Made, cited: &[&Made], group: (u64, bool), op: Op) -> Made {
    let author = Identity::from_seed([seed; 32]);
    let first = prev.at.seq == 0;
    let latest = cited.iter().map(|made| made.at.hlc).chain([prev.at.hlc]).max().unwrap_or(Hlc::ZERO);
    let parents = cited
        .iter()
        .filter(|made| made.at.seq > 0 && made.at.id != prev.at.id)
        .map(|made| (made.at.id, made.at));
    let draft = Draft {
        store: StoreId::of_genesis(&genesis().id),
        author: author.node_id(),
        seq: if first { 1 } else { prev.at.seq + 1 },
        prev: prev.at.id,
        hlc: latest.next().max(Hlc::new(NOW, 0)),
        kind: Kind::Data,
        group_first: group.0,
        group_more: group.1,
        ops: vec![op],
        parents: parents.collect(),
    };
    let mut entry = draft.build().expect("an entry");
    entry.sign(&author).expect("sign");
    let signed = SignedEntry {
        header: entry.header_bytes.clone(),
        signature: Bytes::copy_from_slice(&entry.signature.expect("signed")),
        payload: entry.payload_bytes.clone(),
    };
    Made {
        at: entry.entry_ref(),
        group: if group.1 { group.0 } else { 0 },
        grouped: group.0 > 0,
        entry: signed,
    }
}

fn write(path: &str, value: &str, parents: Vec<EntryId>) -> Op {
    Op::Put { key: key(path), node: text(value), new_name: parents.is_empty(), parents }
}

#[derive(Debug, Clone)]
struct Step {
    /// By another author, who hasn't forked.
    other: bool,
    /// Which of the author's entries it follows: the last one, or one further back.
    after: usize,
    cites: usize,
    key: u8,
    /// Begins a group, ends one, goes on with one or is of none.
    group: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let after = prop_oneof![3 => Just(0), 1 => 0..4usize];
    let step = (any::<bool>(), after, 0..6usize, 0..3u8, 0..5u8)
        .prop_map(|(other, after, cites, key, group)| Step { other, after, cites, key, group });
    proptest::collection::vec(step, 1..14)
}

fn history(steps: &[Step]) -> Vec<Made> {
    let mut made: Vec<Made> = vec![root()];
    for (n, step) in steps.iter().enumerate() {
        let seed = if step.other { OTHER } else { FORKER };
        let own: Vec<usize> =
            (0..made.len()).filter(|i| *i == 0 || made[*i].at.author == node(seed)).collect();
        // Only one of the two forks.
        let back = if step.other { 0 } else { step.after.min(own.len() - 1) };
        let prev = &made[own[own.len() - 1 - back]];
        let cited = &made[made.len() - 1 - step.cites.min(made.len() - 1)];
        let seq = prev.at.seq + 1;
        let group = match (step.group, prev.group) {
            (0, _) => (seq, true),
            (1, open) if open > 0 => (open, true),
            (2 | 3, open) if open > 0 => (open, false),
            _ => (0, false),
        };
        // Of its own an entry names none as late as itself; of a group only its own, which happens with it.
        let own_group = group.0 > 0 && group.0 < seq;
        let cited = match cited {
            _ if own_group => prev,
            own if own.at.author == node(seed) && own.at.seq >= seq => &made[0],
            other => other,
        };
        let cited = if cited.grouped && !own_group { &made[0] } else { cited };
        let parents = if cited.at.seq > 0 { vec![cited.at.id] } else { Vec::new() };
        let cites = [cited];
        let cites = if parents.is_empty() { &[][..] } else { &cites[..] };
        let next = make(seed, prev, cites, group, write(&format!("k{}", step.key), &n.to_string(), parents));
        made.push(next);
    }
    made
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// In whatever order the entries of a tree come, with a restart in between or not.
    #[test]
    fn all_come_to_hold_every_branch_and_show_the_same(
        steps in steps(),
        orders in proptest::collection::vec(any::<u64>(), 3),
        cut in any::<proptest::sample::Index>(),
    ) {
        let made = history(&steps);
        let entries: Vec<SignedEntry> = made.iter().skip(1).map(|made| made.entry.clone()).collect();
        let mut expected = None;
        for order in orders {
            let mut shuffled = entries.clone();
            shuffled.sort_by_key(|entry| blake3::hash(&[&order.to_le_bytes()[..], &entry.header[..]].concat()).to_hex().to_string());
            let machine = Machine::new(2, Authority::Everyone);
            let first = cut.index(shuffled.len() + 1);
            machine.take(&shuffled[..first]);
            let machine = if order % 2 == 0 { machine.kept(order % 4 == 0).again() } else { machine };
            machine.take_all(&shuffled);
            let tips = machine.store.publish().expect("publish");
            machine.check();
            let shown = (tips.digest(), machine.dump());
            prop_assert_eq!(expected.get_or_insert_with(|| shown.clone()), &shown, "another order");
            let again = machine.again();
            prop_assert_eq!((again.store.published().digest(), again.dump()), shown, "after a restart");
            // All of it is told and sent: each branch by the name of its last entry.
            let copy = Machine::new(3, Authority::Everyone);
            for (author, end) in tips.all() {
                copy.take_all(&machine.store.chain(&author, end, 1, usize::MAX).expect("a chain"));
            }
            copy.take_all(&entries);
            prop_assert_eq!(copy.store.publish().expect("publish").digest(), tips.digest());
        }
    }
}

#[test]
fn a_branch_is_read_from_anywhere_and_in_pieces() {
    let put = |n: u64| write(&format!("k{n}"), "x", Vec::new());
    let mut trunk = vec![root()];
    for n in 1..=3 {
        let next = make(FORKER, &trunk[n as usize - 1], &[], (0, false), put(n));
        trunk.push(next);
    }
    let side = make(FORKER, &trunk[1], &[], (0, false), put(10));
    let end = make(FORKER, &side, &[], (0, false), put(11));
    let machine = Machine::new(2, Authority::Everyone);
    machine.take_all(
        &trunk.iter().skip(1).chain([&side, &end]).map(|made| made.entry.clone()).collect::<Vec<_>>(),
    );
    assert_eq!(machine.ends().len(), 2);
    let of = Mark { seq: end.at.seq, id: end.at.id };
    let read = |from, bytes| machine.store.chain(&node(FORKER), of, from, bytes).expect("a chain");
    assert_eq!(read(1, usize::MAX), [&trunk[1], &side, &end].map(|made| made.entry.clone()));
    assert_eq!(read(2, 1), std::slice::from_ref(&side.entry));
    assert_eq!(read(4, usize::MAX), []);
    let none = Mark { seq: 3, id: EntryId([1; 32]) };
    assert!(machine.store.chain(&node(FORKER), none, 1, usize::MAX).expect("nothing").is_empty());
}

/// Takes entries in this order, opened anew after `cut` of them: from its state where `kept`, else from the log.
fn taken_in_parts(entries: &[&Made], cut: usize, kept: bool) -> Machine {
    let entries: Vec<SignedEntry> = entries.iter().map(|made| made.entry.clone()).collect();
    let machine = Machine::new(2, Authority::Everyone);
    machine.take_all(&entries[..cut]);
    let machine = machine.kept(kept).again();
    machine.take_all(&entries[cut..]);
    machine
}

/// What a group's beginning did, and was superseded since, doesn't come back with a second branch that ends the group.
#[test]
fn the_beginning_of_a_group_that_branches_share_has_its_effect_once() {
    let put = |path: &str, parents| write(path, path, parents);
    let begin = make(FORKER, &root(), &[], (1, true), put("shared", Vec::new()));
    let more = make(FORKER, &begin, &[], (1, true), put("more", Vec::new()));
    let one = make(FORKER, &more, &[], (1, false), put("one", Vec::new()));
    let two = make(FORKER, &begin, &[], (1, true), put("two", Vec::new()));
    let end = make(FORKER, &two, &[], (1, false), put("end", Vec::new()));
    let given_up = make(FORKER, &more, &[], (0, false), put("given up", Vec::new()));
    let after = make(OTHER, &root(), &[&begin], (0, false), put("shared", vec![begin.at.id]));
    let mut shown = None;
    let first = [&begin, &more, &one, &after, &given_up, &two, &end];
    let second = [&begin, &two, &end, &after, &more, &given_up, &one];
    for order in [first, second] {
        for (cut, kept) in (0..order.len()).flat_map(|cut| [(cut, false), (cut, true)]) {
            let machine = taken_in_parts(&order, cut, kept);
            let dump = machine.dump();
            assert_eq!(dump.len(), 6, "{dump:?}");
            assert_eq!(
                dump.values().filter(|heads| **heads == [after.at.id]).count(),
                1,
                "cut {cut}: {dump:?}"
            );
            assert_eq!(shown.get_or_insert_with(|| dump.clone()), &dump, "cut {cut}, kept {kept}");
            machine.check();
        }
    }
}

/// The bounds of a group hold for each branch: one has gone over them, and the other gives effect to what they share.
#[test]
fn a_group_that_is_too_large_on_one_branch_counts_on_another() {
    let put = |path: String| write(&path, "x", Vec::new());
    let begin = make(FORKER, &root(), &[], (1, true), put("shared".into()));
    let small = make(FORKER, &begin, &[], (1, false), put("small".into()));
    let mut large: Vec<Made> = Vec::new();
    for n in 2..=4097u64 {
        let next = make(FORKER, large.last().unwrap_or(&begin), &[], (1, n < 4097), put(format!("k{n}")));
        large.push(next);
    }
    let large: Vec<&Made> = large.iter().collect();
    let over_first = [&[&begin], &large[..], &[&small]].concat();
    let small_first = [&[&begin, &small], &large[..]].concat();
    for (order, cut) in [(&over_first, 4000), (&over_first, 4097), (&small_first, 2), (&small_first, 4000)] {
        let machine = taken_in_parts(order, cut, true);
        assert_eq!(machine.dump().into_keys().collect::<Vec<_>>(), ["shared", "small"], "cut {cut}");
        machine.check();
    }
}

/// What a revocation has seen counts, of every branch; a branch that it hasn't seen doesn't, however low its numbers are,
/// and makes nobody a member.
#[test]
fn a_revoked_author_can_not_fork_its_past() {
    let put = |path: &str, parents| write(path, "", parents);
    let founder = Machine::new(1, Authority::Itself);
    let added = |seed: u8| founder.put(&format!("nodes/{}/added", node(seed)), "");
    founder.store.commit(vec![Change::CiteAll, added(2), added(FORKER)]).expect("members");
    let first = make(FORKER, &root(), &[], (0, false), put("first", Vec::new()));
    let one = make(FORKER, &first, &[], (0, false), put("one", Vec::new()));
    let two = make(FORKER, &first, &[], (0, false), put("two", Vec::new()));
    let last = make(FORKER, &two, &[], (0, false), put("last", Vec::new()));
    founder.take_all(&[&first, &one, &two, &last].map(|made| made.entry.clone()));
    let accepted: Cutoffs = founder.store.accepted(&node(FORKER)).expect("read").expect("something");
    assert_eq!(accepted.iter().count(), 2, "{accepted:?}");
    let evil = node(66);
    // Written after the forker has seen that it is a member, and before it is revoked.
    let added = Made { at: founder_tip(&founder), group: 0, grouped: false, entry: SignedEntry::default() };
    let act = make(FORKER, &first, &[&added], (0, false), put(&format!("nodes/{evil}/added"), Vec::new()));
    // One replica has the branch before it learns of the revocation, the other after.
    let before = Machine::new(2, Authority::Itself);
    before.take_all(&all(&founder));
    before.take_all(&[&first, &act, &one, &two, &last].map(|made| made.entry.clone()));
    assert!(before.store.membership().contains(&evil), "nobody has been revoked yet");
    let path = format!("nodes/{}/revoked/{}", node(FORKER), founder.store.id());
    founder
        .store
        .commit(vec![Change::CiteAll, founder.put(&path, &act::cutoff_value(&accepted))])
        .expect("revoked");
    founder.take_all(std::slice::from_ref(&act.entry));
    before.take_all(&all(&founder));
    for machine in [&founder, &before, &founder.again(), &before.again()] {
        assert!(
            !machine.store.membership().contains(&evil),
            "a revoked node let somebody in: {}",
            machine.seed
        );
        for shown in ["first", "one", "two", "last"] {
            assert!(machine.shows(shown), "{shown} counted and doesn't any more");
        }
        assert!(!machine.shows(&format!("nodes/{evil}/added")));
        machine.check();
    }
    assert_eq!(before.dump(), founder.dump());
}

fn founder_tip(founder: &Machine) -> EntryRef {
    let mark = founder.store.publish().expect("publish").get(&node(1)).expect("something");
    let entry = founder.store.fetch(&[(node(1), mark)], 1).expect("fetch").remove(0);
    let hlc = lattice_engine::sync::peek(&entry.header).expect("a header").hlc;
    EntryRef { hlc, author: node(1), id: mark.id, seq: mark.seq }
}

fn all(machine: &Machine) -> Vec<SignedEntry> {
    let tips = machine.store.publish().expect("publish");
    tips.all()
        .flat_map(|(author, end)| machine.store.chain(&author, end, 1, usize::MAX).expect("chain"))
        .collect()
}
