//! Members and what their entries count for, in whole stores: whatever the order in which entries and revocations arrive,
//! replicas agree, a state that is kept agrees with one made anew, and nothing beyond a cutoff is shown, told or exported.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lattice_engine::access::{Cutoff, Membership};
use lattice_engine::clock::{Clock, ManualClock};
use lattice_engine::disk::Disk;
use lattice_engine::disk::sim::{Rng, SimDisk};
use lattice_engine::entry::{Attrs, Content, Decoded, Entry, Node as KeyNode, Value};
use lattice_engine::id::{FileId, NodeId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::key::Key;
use lattice_engine::store::{
    self, Authority, Change, Cites, Expect, Handle, LiveChange, OpenOptions, StoreError,
};
use lattice_engine::sync::{Range, Received, lacking};
use lattice_engine::wire::v1::SignedEntry;

const STORES: &str = "/stores";
const MUCH: usize = 64 << 20;

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect(path)
}

fn put(path: &str, value: &str, cites: Cites) -> Change {
    let content = Content::Inline(Bytes::copy_from_slice(value.as_bytes()));
    let node = KeyNode { file_id: FileId([1; 16]), value: Value::File(content), attrs: Attrs::default() };
    Change::Put { key: key(path), node, cites, expect: Expect::Anything }
}

fn get(store: &Handle, path: &str) -> Option<String> {
    let record = store.get(&key(path)).expect("get")?;
    let content = record.winner()?.node.as_ref()?.content()?.clone();
    let bytes = store.read(&content).expect("read").read_all().expect("read");
    Some(String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

/// Everything that a store shows, each version with its bytes: where they stand in the log differs.
fn dump(store: &Handle) -> Vec<String> {
    let root = store.get(&Key::ROOT).expect("get").unwrap_or_default();
    let mut all = vec![format!("{:?}", root.below)];
    store
        .walk(&Key::ROOT, &mut |key, record| {
            all.push(format!("{key} {:?} {:?}", record.below, record.attrs));
            for head in &record.heads {
                let content = head.node.as_ref().and_then(|n| n.content());
                let bytes = content.map(|c| store.read(c).and_then(|r| r.read_all()).expect("read"));
                all.push(format!("  {:?} {bytes:?}", head.entry));
            }
            std::ops::ControlFlow::Continue(())
        })
        .expect("walk");
    all.push(format!("{} live", store.status().expect("status").live_keys));
    all
}

/// One node: a root store and a store beside it.
struct Site {
    disk: SimDisk,
    seed: u8,
    clock: Arc<ManualClock>,
    root: Handle,
    side: Handle,
}

fn identity(seed: u8) -> Identity {
    Identity::from_seed([seed; 32])
}

fn id(seed: u8) -> NodeId {
    identity(seed).node_id()
}

fn options(disk: &SimDisk, seed: u8, clock: &Arc<ManualClock>, authority: Authority) -> OpenOptions {
    OpenOptions {
        disk: Arc::new(disk.clone()),
        identity: Arc::new(identity(seed)),
        clock: clock.clone(),
        background: false,
        authority,
    }
}

impl Site {
    fn with(
        seed: u8,
        start: impl Fn(&OpenOptions) -> Handle,
        start_side: impl Fn(&OpenOptions) -> Handle,
    ) -> Self {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new(STORES)).expect("mkdir");
        let clock = Arc::new(ManualClock::at(1_700_000_000_000));
        let root = start(&options(&disk, seed, &clock, Authority::Itself));
        let side = start_side(&options(&disk, seed, &clock, Authority::Root(root.membership())));
        follow(&root, &side);
        Self { disk, seed, clock, root, side }
    }

    fn founder() -> Self {
        let create = |options: &OpenOptions| store::create(Path::new(STORES), options).expect("create");
        Self::with(1, create, create)
    }

    /// Another node with the same stores, as far as their geneses.
    fn joined(seed: u8, other: &Self) -> Self {
        let adopt = |from: &Handle| {
            let signed = from.genesis_entry().expect("genesis");
            let signature = signed.signature[..].try_into().expect("64 bytes");
            let Decoded::Known(genesis) =
                Entry::decode(signed.header, signed.payload, Some(signature)).expect("decode")
            else {
                panic!("a genesis of this version")
            };
            move |options: &OpenOptions| store::adopt(Path::new(STORES), &genesis, options).expect("adopt")
        };
        Self::with(seed, adopt(&other.root), adopt(&other.side))
    }

    fn id(&self) -> NodeId {
        id(self.seed)
    }

    fn stores(&self) -> [&Handle; 2] {
        [&self.root, &self.side]
    }

    /// Later than all before: so that who writes last, wins.
    fn tick(&self) {
        self.clock.set(self.clock.now_ms() + 1);
    }

    fn add(&self, who: &[u8]) {
        self.tick();
        let added = |who: &u8| put(&format!("nodes/{}/added", id(*who)), "", Cites::All);
        let changes = [Change::CiteAll].into_iter().chain(who.iter().map(added));
        self.root.commit(changes.collect()).expect("add");
    }

    /// With what is here of it.
    fn revoke(&self, who: u8) {
        self.tick();
        let list = |store: &Handle| {
            let none = Cutoff { seq: 0, id: store.genesis() };
            let cutoff = store.accepted(&id(who)).expect("accepted").unwrap_or(none.into());
            let path = format!("nodes/{}/revoked/{}", id(who), store.id());
            put(&path, &lattice_engine::access::act::cutoff_value(&cutoff), Cites::All)
        };
        let changes = vec![Change::CiteAll, list(&self.root), list(&self.side)];
        self.root.commit(changes).expect("revoke");
    }

    fn write(&self, path: &str, value: &str) {
        self.tick();
        self.side.commit(vec![put(path, value, Cites::All)]).expect("write");
    }

    /// Closes both stores and opens them again.
    fn reopened(self) -> Self {
        let (root_id, side_id) = (self.root.id(), self.side.id());
        for store in self.stores() {
            store.close().expect("close");
        }
        let open = |id: StoreId, authority| {
            let options = options(&self.disk, self.seed, &self.clock, authority);
            store::open(&Path::new(STORES).join(id.to_string()), id, &options).expect("open")
        };
        let root = open(root_id, Authority::Itself);
        let side = open(side_id, Authority::Root(root.membership()));
        follow(&root, &side);
        Self { root, side, ..self }
    }

    fn check_rebuilt(&self) {
        for store in self.stores() {
            let report = store.fsck(true, &mut |_| {}).expect("fsck");
            assert_eq!((report.rebuilt_equal, report.problems), (Some(true), vec![]));
        }
    }
}

fn follow(root: &Handle, side: &Handle) {
    let side = side.clone();
    root.on_members_changed(Box::new(move |membership| {
        side.set_membership(membership.clone()).expect("a change of members");
    }));
}

/// What `from` has and `to` lacks of one store, as a session would bring it. True: something came.
fn pull_store(to: &Handle, from: &Handle) -> bool {
    let theirs = from.publish().expect("publish");
    let mut ours = to.publish().expect("publish");
    let before = ours.clone();
    let mut ranges: Vec<Range> = lacking(&ours, theirs.marks()).into_values().collect();
    for _ in 0..8 {
        let entries = from.range(&ranges, MUCH).expect("range");
        let results = to.receive(entries, from.author()).expect("receive");
        ours = to.publish().expect("publish");
        ranges = Vec::new();
        for result in results {
            match result {
                Received::Missing(lacks) => ranges.extend(lacks),
                Received::Refused(why) => panic!("{why}"),
                _ => {}
            }
        }
        if ranges.is_empty() {
            break;
        }
    }
    ours != before
}

fn pull(to: &Site, from: &Site) -> bool {
    let root = pull_store(&to.root, &from.root);
    pull_store(&to.side, &from.side) || root
}

/// Everyone with everyone, until nothing comes any more.
fn settle(sites: &[&Site]) {
    for _ in 0..20 {
        let mut news = false;
        for to in sites {
            for from in sites.iter().filter(|from| from.seed != to.seed) {
                news |= pull(to, from);
            }
        }
        if !news {
            return;
        }
    }
    panic!("exchange doesn't come to rest");
}

fn assert_equal(a: &Site, b: &Site, what: &str) {
    assert_eq!(*a.root.membership(), *b.root.membership(), "{what}: members");
    for (name, (a, b)) in ["root", "side"].into_iter().zip(a.stores().into_iter().zip(b.stores())) {
        let (a, b) = (dump(a), dump(b));
        if a != b {
            let only = |a: &[String], b: &[String]| {
                a.iter().filter(|line| !b.contains(line)).cloned().collect::<Vec<_>>().join("\n")
            };
            panic!(
                "{what}: {name}: only the first has\n{}\nonly the second has\n{}",
                only(&a, &b),
                only(&b, &a)
            );
        }
    }
    for (a, b) in a.stores().into_iter().zip(b.stores()) {
        let (a, b) = (a.publish().expect("publish"), b.publish().expect("publish"));
        assert_eq!(a.digest(), b.digest(), "{what}: {a:?} {b:?}");
    }
}

/// Founder 1, members 2 and 3, all knowing each other.
fn three() -> [Site; 3] {
    let one = Site::founder();
    one.add(&[2]);
    one.add(&[3]);
    with_two_more(one)
}

fn with_two_more(one: Site) -> [Site; 3] {
    let (two, three) = (Site::joined(2, &one), Site::joined(3, &one));
    pull(&two, &one);
    pull(&three, &one);
    [one, two, three]
}

fn all_entries(store: &Handle) -> Vec<SignedEntry> {
    let tips = store.publish().expect("publish");
    let all = tips.marks().iter().map(|(author, mark)| Range { author: *author, from: 1, to: mark.seq });
    store.range(&all.collect::<Vec<_>>(), MUCH).expect("range")
}

/// Every order of `0..n`.
fn orders(n: usize) -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for i in 0..n {
        all = all
            .into_iter()
            .flat_map(|order: Vec<usize>| {
                (0..=i).map(move |at| {
                    let mut order = order.clone();
                    order.insert(at, i);
                    order
                })
            })
            .collect();
    }
    all
}

/// Node 3 was revoked having written one accepted entry, then an edit and a new file. Member 2 has built on the edit before
/// it heard of that. Six entries in two stores arrive at a fresh replica in every order.
#[test]
fn every_order_of_arrival_ends_in_the_same_store() {
    let one = Site::founder();
    one.add(&[2, 3]);
    let [one, two, three] = with_two_more(one);
    three.write("file", "accepted");
    pull(&one, &three);
    three.write("file", "too late");
    pull(&two, &three);
    two.clock.set(two.clock.now_ms() + 10);
    two.write("file", "built on it");
    three.write("late", "too late");
    one.revoke(3);
    // Member 2 has taken both before it learns; its own store is made anew then.
    pull(&two, &three);
    assert_eq!(get(&two.side, "late").as_deref(), Some("too late"));
    let theirs = all_entries(&two.side);
    settle(&[&one, &two]);
    assert_eq!(get(&two.side, "late"), None);
    assert_eq!(get(&two.side, "file").as_deref(), Some("built on it"));
    assert_equal(&one, &two, "after the exchange");
    assert_eq!(
        two.side.publish().expect("publish").seq(&three.id()),
        2,
        "what counts builds on its second entry"
    );

    let acts = all_entries(&one.root);
    let messages: Vec<(&str, &SignedEntry)> =
        acts.iter().map(|e| ("root", e)).chain(theirs.iter().map(|e| ("side", e))).collect();
    assert_eq!(messages.len(), 6, "two acts, three entries of node 3, one of node 2");
    let all = orders(messages.len());
    for (n, order) in all.iter().enumerate() {
        let site = Site::joined(4, &one);
        for i in order {
            let (store, entry) = messages[*i];
            let store = if store == "root" { &site.root } else { &site.side };
            store.receive(vec![entry.clone()], one.id()).expect("receive");
        }
        // What was refused comes again if something that counts builds on it.
        settle_from(&site, &two);
        assert_equal(&site, &two, &format!("order {order:?}"));
        if n % 40 == 0 {
            site.check_rebuilt();
            let site = site.reopened();
            assert_equal(&site, &two, &format!("order {order:?}, opened again"));
        }
    }
    println!("{} orders of 6 entries", all.len());
}

fn settle_from(to: &Site, from: &Site) {
    for _ in 0..10 {
        if !pull(to, from) {
            return;
        }
    }
    panic!("exchange doesn't come to rest");
}

#[test]
fn an_unknown_author_waits_until_the_root_store_has_caught_up() {
    let one = Site::founder();
    let two = Site::joined(2, &one);
    one.add(&[2]);
    pull(&two, &one);
    two.write("file", "mine");
    let three = Site::joined(3, &one);
    let entries = all_entries(&two.side);
    assert_eq!(three.side.receive(entries, two.id()).expect("receive"), [Received::NotMember]);
    assert_eq!(get(&three.side, "file"), None);
    pull_store(&three.root, &one.root);
    assert_eq!(get(&three.side, "file").as_deref(), Some("mine"), "it waited in memory");
}

#[test]
fn of_two_who_revoke_each_other_in_a_partition_one_stays_on_every_replica() {
    let [one, two, three] = three();
    two.write("two", "2");
    three.write("three", "3");
    two.revoke(3);
    three.revoke(2);
    // Each half goes on by its own view, and node 1 hears of 3's first.
    pull(&one, &three);
    assert!(!one.root.membership().contains(&two.id()));
    settle(&[&one, &two, &three]);
    for site in [&one, &two, &three] {
        let active: BTreeSet<NodeId> = site.root.membership().active().copied().collect();
        assert_eq!(active, [one.id(), two.id()].into(), "2 was added first");
        assert_eq!(get(&site.side, "three"), None, "2 had none of 3's when it revoked it");
    }
    assert_equal(&one, &two, "founder and survivor");
    assert_equal(&one, &three, "and the one that is out");
}

#[test]
fn who_is_revoked_keeps_what_it_has_and_takes_no_writes() {
    let [one, two, _] = three();
    two.write("file", "mine");
    pull(&one, &two);
    one.revoke(2);
    pull(&two, &one);
    for store in two.stores() {
        let refused = store.commit(vec![put("x", "y", Cites::All)]).expect_err("read-only");
        assert!(matches!(refused.cause(), StoreError::ReadOnly { .. }), "{refused}");
        assert!(refused.to_string().contains("was revoked by a member"), "{refused}");
    }
    assert_eq!(get(&two.side, "file").as_deref(), Some("mine"));
    // It closes and opens like any other.
    let two = two.reopened();
    assert!(two.side.read_only().is_some_and(|why| why.contains("revoked")));
    assert_eq!(get(&two.side, "file").as_deref(), Some("mine"));
}

#[test]
fn a_node_that_is_no_member_yet_takes_no_writes() {
    let one = Site::founder();
    let two = Site::joined(2, &one);
    let refused = two.side.commit(vec![put("x", "y", Cites::All)]).expect_err("not a member");
    assert!(refused.to_string().contains("not a member yet"), "{refused}");
    one.add(&[2]);
    pull(&two, &one);
    two.write("x", "y");
}

#[test]
fn what_counts_no_more_vanishes_from_an_open_store_and_its_followers_look_again() {
    let [one, two, three] = three();
    three.write("kept", "accepted");
    pull(&one, &three);
    three.write("gone", "too late");
    pull(&two, &three);
    let live = two.side.live();
    let record = two.side.get(&key("gone")).expect("get").expect("there");
    let content =
        record.winner().and_then(|h| h.node.as_ref()).and_then(|n| n.content()).expect("a file").clone();
    let open = two.side.read(&content).expect("read");
    one.revoke(3);
    pull(&two, &one);
    assert_eq!(get(&two.side, "gone"), None);
    assert_eq!(get(&two.side, "kept").as_deref(), Some("accepted"));
    assert!(matches!(live.next(Duration::ZERO), Some(LiveChange::Missed)));
    assert_eq!(&open.read_all().expect("read")[..], b"too late", "an open file goes on");
    let events = two.side.entries(Default::default(), 100).expect("events");
    assert!(events.iter().all(|e| e.ops.iter().all(|op| op.key() != Some(&key("gone")))));
    assert_eq!(two.side.history(&key("gone"), 10).expect("history"), []);
    two.check_rebuilt();
    // Nor does it go out: in no bundle, and to no peer.
    let mut bundle = Vec::new();
    let report = two.side.export("side", &mut bundle, &mut |_, _| {}).expect("export");
    assert_eq!(report.entries, 2, "the genesis and what was accepted");
    assert_eq!(two.side.publish().expect("publish").seq(&three.id()), 1);
    // What comes later is not even taken.
    three.write("more", "too late");
    let late = all_entries(&three.side).pop().expect("an entry");
    assert_eq!(two.side.receive(vec![late], one.id()).expect("receive"), [Received::Beyond]);
}

#[test]
fn a_change_of_members_while_a_store_was_closed_is_seen_at_its_next_opening() {
    let [one, two, three] = three();
    three.write("gone", "too late");
    pull(&two, &three);
    two.side.close().expect("close");
    one.revoke(3);
    let late = Site::joined(5, &one);
    pull_store(&late.root, &one.root);
    let clock = two.clock.clone();
    let options = options(&two.disk, 2, &clock, Authority::Root(late.root.membership()));
    let id = two.side.id();
    let side = store::open(&Path::new(STORES).join(id.to_string()), id, &options).expect("open");
    assert_eq!(get(&side, "gone"), None);
    side.close().expect("close");
    // And back: the log has kept it.
    let everyone = OpenOptions { authority: Authority::Everyone, ..options };
    let side = store::open(&Path::new(STORES).join(id.to_string()), id, &everyone).expect("open");
    assert_eq!(get(&side, "gone").as_deref(), Some("too late"));
}

#[test]
fn a_group_that_a_cutoff_cuts_through_has_no_effect_at_all() {
    let [one, two, _] = three();
    two.tick();
    let many = (0..5000).map(|n| put(&format!("many/{n}"), "x", Cites::All)).collect();
    two.side.commit(many).expect("a commit of two entries");
    pull(&one, &two);
    assert_eq!(one.side.status().expect("status").live_keys, 5000);
    let first = one.side.range(&[Range { author: two.id(), from: 1, to: 1 }], 1).expect("range").remove(0);
    let cutoff = Cutoff { seq: 1, id: lattice_engine::entry::entry_id(&first.header) };
    let path = format!("nodes/{}/revoked/{}", two.id(), one.side.id());
    let value = lattice_engine::access::act::cutoff_value(&cutoff.into());
    one.root.commit(vec![Change::CiteAll, put(&path, &value, Cites::All)]).expect("revoke");
    assert_eq!(one.side.status().expect("status").live_keys, 0);
    one.write("after", "it");
    let fresh = Site::joined(4, &one);
    settle_from(&fresh, &one);
    assert_equal(&fresh, &one, "a replica that never had the second entry");
    let one = one.reopened();
    assert_equal(&fresh, &one, "opened again");
    fresh.check_rebuilt();
}

#[test]
fn a_later_revocation_that_has_seen_an_earlier_one_may_let_more_count() {
    let [one, two, three] = three();
    three.write("a", "1");
    pull(&one, &three);
    one.revoke(3);
    three.write("b", "2");
    pull(&two, &three);
    pull_store(&two.root, &one.root);
    assert_eq!(get(&two.side, "b"), None);
    // Node 2 has all of it and knows of the first one.
    let entry = all_entries(&three.side).pop().expect("an entry");
    let cutoff = Cutoff { seq: 2, id: lattice_engine::entry::entry_id(&entry.header) };
    let path = format!("nodes/{}/revoked/{}", three.id(), two.side.id());
    let value = lattice_engine::access::act::cutoff_value(&cutoff.into());
    two.root.commit(vec![Change::CiteAll, put(&path, &value, Cites::All)]).expect("revoke again");
    assert_eq!(get(&two.side, "b").as_deref(), Some("2"));
    settle(&[&one, &two]);
    assert_eq!(get(&one.side, "b").as_deref(), Some("2"));
    assert_equal(&one, &two, "after the second revocation");
}

#[test]
fn a_store_without_a_root_store_takes_everyone() {
    let one = Site::founder();
    assert!(one.side.membership().contains(&one.id()));
    one.side.set_membership(Arc::new(Membership::everyone())).expect("set");
    let two = Site::joined(2, &one);
    two.side.set_membership(Arc::new(Membership::everyone())).expect("set");
    two.write("x", "y");
    pull_store(&one.side, &two.side);
    assert_eq!(get(&one.side, "x").as_deref(), Some("y"));
}

/// Five nodes that write, add, revoke and exchange at random, in partitions, under random views: once all have all acts,
/// those who are members agree on everything.
#[test]
fn random_lives_end_in_agreement() {
    let (mut acts, mut revoked) = (0, 0);
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let one = Site::founder();
        let others = (2..=5).map(|n| Site::joined(n, &one)).collect::<Vec<_>>();
        for other in &others[..3] {
            one.add(&[other.seed]);
        }
        for other in &others[..3] {
            pull(other, &one);
        }
        let sites: Vec<&Site> = [&one].into_iter().chain(&others).collect();
        for step in 0..60 {
            let site = sites[rng.below(5) as usize];
            let other = sites[rng.below(5) as usize];
            let membership = site.root.membership();
            let writes = site.side.read_only().is_none();
            match rng.below(10) {
                0 if writes && !membership.has_revoked(&other.id()) => {
                    site.add(&[other.seed]);
                    acts += 1;
                }
                1 | 2
                    if writes && membership.contains(&other.id()) && other.seed != site.seed && step > 15 =>
                {
                    site.revoke(other.seed);
                    acts += 1;
                }
                3..6 if writes => site.write(&format!("f{}", rng.below(6)), &format!("{seed} {step}")),
                _ if other.seed != site.seed => {
                    pull(site, other);
                }
                _ => {}
            }
        }
        settle(&sites);
        settle(&sites);
        let membership = one.root.membership();
        revoked += sites.iter().filter(|s| membership.has_revoked(&s.id())).count();
        for site in &sites[1..] {
            assert_equal(&one, site, &format!("seed {seed}, node {}", site.seed));
        }
        for site in sites.iter().take(2) {
            site.check_rebuilt();
        }
    }
    println!("60 lives, {acts} acts, {revoked} nodes revoked");
    assert!(revoked > 60, "too peaceful to test anything: {revoked}");
}
