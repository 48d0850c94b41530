//! What two stores do with each other's entries: what is told of, what is sent, and what becomes of what is offered.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::clock::ManualClock;
use lattice_engine::disk::Disk;
use lattice_engine::disk::sim::SimDisk;
use lattice_engine::entry::{
    Attrs, Content, Decoded, Draft, Entry, ForkProof, Kind, Node, Op, Value, genesis_from,
};
use lattice_engine::hlc::{Hlc, MAX_AHEAD_MS};
use lattice_engine::id::{FileId, NodeId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::key::Key;
use lattice_engine::store::{self, Authority, Change, Cites, Expect, Fetch, Handle, OpenOptions, RenameHow};
use lattice_engine::sync::{Range, Received, peek};
use lattice_engine::wire::v1::SignedEntry;

const NOW: u64 = 1_795_300_000_000;
const PEER: NodeId = NodeId([99; 32]);

struct Machine {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    seed: u8,
    store: Handle,
}

fn genesis() -> Entry {
    genesis_from(&Identity::from_seed([1; 32]), Hlc::new(NOW - 1, 0), [3; 32], Vec::new()).expect("a genesis")
}

fn options(disk: &SimDisk, clock: &Arc<ManualClock>, seed: u8) -> OpenOptions {
    OpenOptions {
        disk: Arc::new(disk.clone()),
        identity: Arc::new(Identity::from_seed([seed; 32])),
        clock: clock.clone(),
        background: false,
        authority: Authority::Everyone,
    }
}

impl Machine {
    fn new(seed: u8) -> Self {
        let (disk, clock) = (SimDisk::new(), Arc::new(ManualClock::at(NOW)));
        disk.create_dir_all(Path::new("/s")).expect("mkdir");
        let store = store::adopt(Path::new("/s"), &genesis(), &options(&disk, &clock, seed)).expect("adopt");
        Self { disk, clock, seed, store }
    }

    fn on(disk: SimDisk, seed: u8) -> Self {
        let clock = Arc::new(ManualClock::at(NOW));
        let id = StoreId::of_genesis(&genesis().id);
        let dir = Path::new("/s").join(id.to_string());
        let store = store::open(&dir, id, &options(&disk, &clock, seed)).expect("open");
        Self { disk, clock, seed, store }
    }

    fn id(&self) -> NodeId {
        Identity::from_seed([self.seed; 32]).node_id()
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        self.store.commit(vec![self.put(path, bytes)]).expect("commit");
    }

    fn put(&self, path: &str, bytes: &[u8]) -> Change {
        let content = self.store.put_content(bytes).expect("content");
        let node = Node { file_id: FileId([7; 16]), value: Value::File(content), attrs: Attrs::default() };
        Change::Put { key: key(path), node, cites: Cites::All, expect: Expect::Anything }
    }

    fn all(&self) -> Vec<SignedEntry> {
        let tips = self.store.publish().expect("publish");
        let ranges: Vec<Range> = tips
            .marks()
            .iter()
            .map(|(author, mark)| Range { author: *author, from: 1, to: mark.seq })
            .collect();
        self.store.range(&ranges, usize::MAX).expect("range")
    }

    fn take(&self, entries: Vec<SignedEntry>) -> Vec<Received> {
        self.store.receive(entries, PEER).expect("receive")
    }

    fn reads(&self, path: &str) -> Option<Bytes> {
        let record = self.store.get(&key(path)).expect("get")?;
        let content = record.shown()?.node.as_ref()?.content()?.clone();
        self.store.read(&content).and_then(|r| r.read_all()).ok()
    }
}

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect("a key")
}

/// An entry made by hand, as only a strange peer would.
fn forge(seed: u8, seq: u64, prev: &SignedEntry, hlc: Hlc) -> SignedEntry {
    let author = Identity::from_seed([seed; 32]);
    let Ok(Decoded::Known(prev)) = Entry::decode(prev.header.clone(), prev.payload.clone(), None) else {
        panic!("an entry");
    };
    let content = Content::Inline(Bytes::from_static(b"forged"));
    let node = Node { file_id: FileId([8; 16]), value: Value::File(content), attrs: Attrs::default() };
    let draft = Draft {
        store: StoreId::of_genesis(&genesis().id),
        author: author.node_id(),
        seq,
        prev: prev.id,
        hlc,
        kind: Kind::Data,
        group_first: 0,
        group_more: false,
        ops: vec![Op::Put { key: key("forged"), node, new_name: true, parents: Vec::new() }],
        parents: BTreeMap::new(),
    };
    let mut entry = draft.build().expect("an entry");
    entry.sign(&author).expect("sign");
    SignedEntry {
        header: entry.header_bytes,
        signature: Bytes::copy_from_slice(&entry.signature.expect("signed")),
        payload: entry.payload_bytes,
    }
}

#[test]
fn only_what_is_signed_and_durable_is_told_of_and_sent() {
    let a = Machine::new(1);
    a.write("x", b"1");
    assert!(a.store.published().is_empty());
    let ask = [Range { author: a.id(), from: 1, to: 9 }];
    assert!(a.store.range(&ask, 1 << 20).expect("range").is_empty());
    let tips = a.store.publish().expect("publish");
    assert_eq!(tips.seq(&a.id()), 1);
    let sent = a.store.range(&ask, 1 << 20).expect("range");
    assert_eq!(sent.len(), 1);
    // What a power loss leaves has all of it.
    let disk = a.disk.crash_image(a.disk.ops(), 5);
    let after = Machine::on(disk, 1);
    assert_eq!(after.store.published().digest(), tips.digest());
    assert_eq!(after.store.range(&ask, 1 << 20).expect("range"), sent);
}

#[test]
fn publishing_again_tells_nothing_new_and_waiting_ends_with_what_is_new() {
    let a = Machine::new(1);
    let none = a.store.published();
    a.write("x", b"1");
    assert!(a.store.wait_unpublished(std::time::Duration::ZERO));
    let tips = a.store.publish().expect("publish");
    assert!(!a.store.wait_unpublished(std::time::Duration::ZERO));
    assert!(Arc::ptr_eq(&a.store.publish().expect("again"), &tips));
    let seen = a.store.wait_published(&none, std::time::Duration::ZERO).expect("something new");
    assert!(Arc::ptr_eq(&seen, &tips));
    assert!(a.store.wait_published(&tips, std::time::Duration::ZERO).is_none());
}

#[test]
fn entries_come_in_an_order_in_which_none_waits_and_in_pages() {
    let (a, b) = (Machine::new(1), Machine::new(2));
    for n in 0..10u8 {
        let (from, to) = if n % 2 == 0 { (&a, &b) } else { (&b, &a) };
        from.write("shared", &[n]);
        to.take(from.all());
    }
    let all = a.all();
    let hlcs: Vec<Hlc> = all.iter().map(|e| peek(&e.header).expect("a header").hlc).collect();
    assert!(hlcs.is_sorted() && hlcs.len() == 10);
    let c = Machine::new(3);
    assert!(c.take(all.clone()).iter().all(|r| *r == Received::New));
    assert_eq!(c.reads("shared").as_deref(), Some(&[9u8][..]));
    assert!(c.take(all.clone()).iter().all(|r| *r == Received::Duplicate));
    assert_eq!(c.store.publish().expect("publish").digest(), a.store.published().digest());
    let ranges = [a.id(), b.id()].map(|author| Range { author, from: 2, to: 4 });
    let page = a.store.range(&ranges, 1).expect("range");
    assert_eq!(page.len(), 1, "one at least");
    assert_eq!(a.store.range(&ranges, usize::MAX).expect("range").len(), 6);
}

#[test]
fn what_comes_before_what_it_builds_on_waits_and_goes_on_by_itself() {
    let (a, b, c) = (Machine::new(1), Machine::new(2), Machine::new(3));
    a.write("x", b"1");
    b.take(a.all());
    b.write("x", b"2");
    let all = b.all();
    let [of_a, of_b] = [&all[0], &all[1]];
    let missing = vec![Range { author: a.id(), from: 1, to: 1 }];
    assert_eq!(c.take(vec![of_b.clone()]), [Received::Missing(missing)]);
    assert_eq!((c.store.waiting().0, c.reads("x")), (1, None));
    assert_eq!(c.take(vec![of_a.clone()]), [Received::New]);
    assert_eq!((c.store.waiting(), c.reads("x").as_deref()), ((0, 0), Some(&b"2"[..])));
    assert_eq!(c.store.publish().expect("publish").digest(), b.store.published().digest());
    // Backwards in one batch, too.
    let d = Machine::new(4);
    d.take(all.iter().rev().cloned().collect());
    assert_eq!(d.reads("x").as_deref(), Some(&b"2"[..]));
}

#[test]
fn one_bad_entry_does_not_spoil_the_rest() {
    let (a, b) = (Machine::new(1), Machine::new(2));
    for n in 0..40u8 {
        a.write(&format!("k{n}"), &[n]);
    }
    let mut all = a.all();
    let mut unsigned = all[39].clone();
    unsigned.signature = Bytes::from_static(&[1; 64]);
    all[39] = unsigned;
    all.insert(20, SignedEntry { header: Bytes::from_static(b"junk"), ..all[0].clone() });
    let results = b.take(all.clone());
    assert!(matches!(&results[20], Received::Refused(_)) && matches!(&results[40], Received::Refused(_)));
    assert_eq!(results.iter().filter(|r| **r == Received::New).count(), 39);
    assert!(b.store.fsck(false, &mut |_| {}).expect("fsck").problems.is_empty());
}

#[test]
fn what_is_dated_ahead_waits_for_its_time_and_is_not_told_of_before() {
    let (a, b) = (Machine::new(1), Machine::new(2));
    a.write("x", b"1");
    let first = a.all();
    let early = forge(1, 2, &first[0], Hlc::new(NOW + 3 * MAX_AHEAD_MS, 0));
    let until = NOW + 2 * MAX_AHEAD_MS + 1;
    assert_eq!(b.take(vec![first[0].clone(), early]), [Received::New, Received::Early { until }]);
    assert_eq!(b.store.publish().expect("publish").seq(&a.id()), 1);
    b.clock.set(until - 1);
    assert_eq!(b.store.publish().expect("publish").seq(&a.id()), 1);
    b.clock.set(until);
    assert_eq!(b.store.publish().expect("publish").seq(&a.id()), 2);
    assert!(b.reads("forged").is_some());
}

#[test]
fn two_entries_of_one_number_are_noticed_with_the_proof_and_others_go_on() {
    let (a, b) = (Machine::new(1), Machine::new(2));
    a.write("x", b"1");
    a.write("x", b"2");
    let all = a.all();
    b.take(all.clone());
    let other = forge(1, 2, &all[0], Hlc::new(NOW + 5, 0));
    let later = forge(1, 3, &other, Hlc::new(NOW + 6, 0));
    assert_eq!(b.take(vec![later.clone()]), [Received::Apart { from: 2 }], "what it follows isn't here");
    assert_eq!(b.take(vec![other.clone(), later]), [Received::New, Received::New]);
    assert_eq!(
        (b.reads("x").as_deref(), b.reads("forged").as_deref()),
        (Some(&b"2"[..]), Some(&b"forged"[..]))
    );
    let forks = b.store.forks();
    assert_eq!((forks.len(), forks[0].author, forks[0].seq), (1, a.id(), 2));
    assert!(forks[0].headers().iter().any(|signed| signed.header == other.header));
    assert_eq!(forks[0].verify(), Ok(()));
    let again = Machine::on(b.disk.kill_image(usize::MAX), 2);
    assert_eq!(again.store.forks(), forks, "it is known after a restart");
    assert!(b.store.writable().is_ok(), "others' forks are no reason to stop");
    b.write("y", b"on");
    // The author itself stops.
    assert_eq!(a.take(vec![other]), [Received::New]);
    let refused = a.store.writable().expect_err("it must not write on").to_string();
    assert!(refused.contains("identity"), "{refused}");
    assert!(a.take(b.all()).contains(&Received::New), "it still takes what others wrote");
    assert_eq!(a.reads("y").as_deref(), Some(&b"on"[..]));
}

#[test]
fn the_proof_of_a_fork_is_believed_by_whoever_has_neither_entry_and_stops_the_author() {
    let (a, b, c) = (Machine::new(1), Machine::new(2), Machine::new(3));
    a.write("x", b"1");
    c.take(a.all());
    a.write("x", b"2");
    b.take(a.all());
    b.take(vec![forge(1, 2, &a.all()[0], Hlc::new(NOW + 5, 0))]);
    let proof = (*b.store.forks()[0]).clone();
    assert!(c.store.receive_fork(proof.clone()).expect("a good one"));
    assert!(!c.store.receive_fork(proof.clone()).expect("a good one"), "it is no news twice");
    assert_eq!(c.store.forks(), b.store.forks());
    assert_eq!(c.store.status().expect("status").forked, [a.id()]);
    assert!(c.store.writable().is_ok());
    // Its author, whose own branch everybody holds, has not seen the other entry.
    assert!(a.store.writable().is_ok());
    assert!(a.store.receive_fork(proof.clone()).expect("a good one"));
    assert!(a.store.writable().is_err());
    let again = Machine::on(a.disk.kill_image(usize::MAX), 1);
    assert!(again.store.writable().is_err(), "nor does it write after a restart");
    // Who has nothing of the author leaves it; who gets one that wasn't signed refuses it.
    let d = Machine::new(4);
    assert!(!d.store.receive_fork(proof.clone()).expect("a good one"));
    let [one, mut two] = proof.headers().clone();
    two.signature[0] ^= 1;
    let bad = ForkProof::new(one, two).expect("two headers");
    d.take(vec![a.all()[0].clone()]);
    assert!(d.store.receive_fork(bad).is_err() && d.store.forks().is_empty());
    assert!(d.store.receive_fork(proof).expect("a good one"));
}

#[test]
fn who_builds_on_another_branch_waits_for_it() {
    let (a, b, c) = (Machine::new(1), Machine::new(2), Machine::new(3));
    a.write("x", b"1");
    let first = a.all();
    a.write("x", b"2");
    let other = forge(1, 2, &first[0], Hlc::new(NOW + 5, 0));
    b.take(vec![first[0].clone(), other.clone()]);
    c.take(a.all());
    // B's entry comes after everything that B has: the branch that C hasn't seen.
    b.store.commit(vec![Change::CiteAll, b.put("y", b"on")]).expect("a commit");
    let theirs = b.all();
    let last = theirs.last().expect("B's own").clone();
    assert!(matches!(c.take(vec![last.clone()])[..], [Received::Missing(_)]));
    assert_eq!(c.take(vec![other]), [Received::New]);
    assert_eq!(c.take(vec![last]), [Received::Duplicate], "it has waited for nothing else");
    assert_eq!(c.reads("y").as_deref(), Some(&b"on"[..]));
    assert!(c.store.fsck(true, &mut |_| {}).expect("fsck").problems.is_empty());
}

#[test]
fn a_restored_node_takes_its_own_entries_back_and_writes_after_them() {
    let (a, b) = (Machine::new(1), Machine::new(2));
    a.write("x", b"1");
    a.all();
    let backup = a.disk.kill_image(usize::MAX);
    a.clock.set(NOW + 20 * MAX_AHEAD_MS);
    a.write("x", b"2");
    b.clock.set(NOW + 20 * MAX_AHEAD_MS);
    b.take(a.all());
    // Its clock is back as well: what it wrote once was in its time then.
    let restored = Machine::on(backup, 1);
    assert_eq!(restored.take(b.all()), [Received::Duplicate, Received::New]);
    restored.write("x", b"3");
    let results = b.take(restored.all());
    assert_eq!(results, [Received::Duplicate, Received::Duplicate, Received::New]);
    assert_eq!(b.reads("x").as_deref(), Some(&b"3"[..]));
    assert!(b.store.forks().is_empty());
}

#[test]
fn an_entry_whose_content_is_not_here_is_shown_and_survives_a_restart() {
    let (a, b) = (Machine::new(1), Machine::new(2));
    a.write("large", &[5; 100_000]);
    a.write("small", b"1");
    assert_eq!(b.take(a.all()), [Received::New, Received::New]);
    assert!(b.store.get(&key("large")).expect("get").is_some() && b.reads("large").is_none());
    let tips = b.store.publish().expect("publish");
    for seed in 0..20 {
        let again = Machine::on(b.disk.crash_image(b.disk.ops(), seed), 2);
        assert_eq!(again.store.published().digest(), tips.digest(), "a received entry was cut");
        assert_eq!(again.reads("small").as_deref(), Some(&b"1"[..]));
    }
}

#[test]
fn what_only_a_newer_lattice_understands_is_sent_on_and_stands_still_here() {
    let (a, b, c) = (Machine::new(1), Machine::new(2), Machine::new(3));
    a.write("x", b"1");
    let first = a.all();
    let author = Identity::from_seed([1; 32]);
    let Ok(Decoded::Known(prev)) = Entry::decode(first[0].header.clone(), first[0].payload.clone(), None)
    else {
        panic!("an entry");
    };
    let draft = Draft {
        store: a.store.id(),
        author: a.id(),
        seq: 2,
        prev: prev.id,
        hlc: Hlc::new(NOW + 1, 0),
        kind: Kind::Data,
        group_first: 0,
        group_more: false,
        ops: vec![Op::Instruction { program_id: "tomorrow".into(), payload: Bytes::new(), parents: vec![] }],
        parents: BTreeMap::new(),
    };
    let mut entry = draft.build().expect("an entry");
    entry.sign(&author).expect("sign");
    let later = SignedEntry {
        header: entry.header_bytes,
        signature: Bytes::copy_from_slice(&entry.signature.expect("signed")),
        payload: entry.payload_bytes,
    };
    assert_eq!(b.take(vec![first[0].clone(), later.clone()]), [Received::New, Received::New]);
    assert!(b.store.status().expect("status").stalled.is_some());
    assert_eq!(b.reads("x").as_deref(), Some(&b"1"[..]));
    assert_eq!(b.all(), [first[0].clone(), later.clone()]);
    assert_eq!(c.take(b.all()), [Received::New, Received::New]);
    let again = Machine::on(b.disk.kill_image(usize::MAX), 2);
    assert_eq!(again.all(), [first[0].clone(), later]);
}

#[test]
fn a_full_disk_takes_nothing_and_says_so() {
    let (a, b) = (Machine::new(1), Machine::new(2));
    a.write("x", &[1; 4000]);
    b.disk.set_space(Some(100));
    let failed = b.store.receive(a.all(), PEER).expect_err("no room");
    assert!(failed.to_string().contains("no space"), "{failed}");
    b.disk.set_space(None);
    assert_eq!(b.take(a.all()), [Received::New]);
}

#[test]
fn a_file_whose_bytes_are_not_here_is_renamed_for_good_before_anything_is_signed() {
    let (a, b) = (Machine::new(1), Machine::new(2));
    a.write("large", &[5; 300_000]);
    b.take(a.all());
    assert_eq!(b.reads("large"), None, "its bytes are elsewhere");
    let rename = Change::Rename { from: key("large"), to: key("moved"), how: RenameHow::NoReplace };
    b.store.commit(vec![rename]).expect("renamed");
    let disk = b.disk.kill_image(usize::MAX);
    drop(b);
    let b = Machine::on(disk, 2);
    let there = |path: &str| b.store.get(&key(path)).expect("get").is_some_and(|r| r.exists());
    assert!(there("moved") && !there("large"), "a kill has undone the rename");
    assert_eq!(b.store.here().expect("counted").here, 0);
}

#[test]
fn the_policy_and_the_pins_survive_and_nothing_but_the_file_is_theirs() {
    let a = Machine::new(1);
    assert!(a.store.set_fetch(Fetch::OnDemand).expect("set") && a.store.pin(&key("d")).expect("pinned"));
    assert!(!a.store.set_fetch(Fetch::OnDemand).expect("set") && !a.store.pin(&key("d")).expect("pinned"));
    assert!(a.all().is_empty(), "no entry is made of it");
    // Durable at once: the power goes.
    let disk = a.disk.crash_image(a.disk.ops(), 7);
    let b = Machine::on(disk, 1);
    let policy = b.store.policy();
    assert!(policy.fetch == Fetch::OnDemand && policy.fetches(&key("d/x")) && !policy.fetches(&key("e")));
    assert!(b.store.unpin(&key("d")).expect("unpinned") && !b.store.unpin(&key("d")).expect("unpinned"));
}

#[test]
fn own_entries_are_sent_with_the_signatures_that_the_log_has() {
    const MANY: u64 = 3_000;
    let a = Machine::new(1);
    for n in 0..MANY {
        a.write(&format!("k{n}"), b"v");
        if n % 700 == 0 {
            a.store.publish().expect("publish");
        }
    }
    let tips = a.store.publish().expect("publish");
    let fetch = |from: u64, to: u64| {
        let range = Range { author: a.id(), from, to };
        a.store.range(&[range], usize::MAX).expect("range")
    };
    let signed = |entries: &[SignedEntry]| {
        for entry in entries {
            let signature = entry.signature[..].try_into().ok();
            let decoded = Entry::decode(entry.header.clone(), entry.payload.clone(), signature);
            decoded.expect("an entry").entry().verify().expect("its signature");
        }
        entries.len() as u64
    };
    let last = tips.seq(&a.id());
    // On and on, then from anywhere, then by two who are at different places.
    let mut at = 1;
    while at <= last {
        at += signed(&fetch(at, (at + 99).min(last)));
    }
    for from in [2_999, 5, 1_500, last, 1] {
        assert_eq!(signed(&fetch(from, from)), 1);
    }
    for step in 0..20 {
        signed(&fetch(1 + step * 10, step * 10 + 10));
        signed(&fetch(2_000 + step * 10, 2_009 + step * 10));
    }
}
