//! Members, invites and guests through a node's own API, on a real disk.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lattice_engine::access::act::cutoff_value;
use lattice_engine::access::{Admission, Cutoff, MemberState, Proof, Refusal, Secret};
use lattice_engine::clock::ManualClock;
use lattice_engine::disk::RealDisk;
use lattice_engine::entry::{Attrs, Content, Node as KeyNode, Value};
use lattice_engine::id::{FileId, NodeId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::key::Key;
use lattice_engine::node::{Node, NodeError};
use lattice_engine::store::{
    self, Authority, BundleReport, Change, Cites, Cursor, Expect, Handle, OpenOptions,
};

const NOW: u64 = 1_790_000_000_000;
const PATIENCE: Duration = Duration::from_secs(20);

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect(path)
}

fn put(path: &str, value: &str) -> Change {
    let content = Content::Inline(Bytes::copy_from_slice(value.as_bytes()));
    let node = KeyNode { file_id: FileId([1; 16]), value: Value::File(content), attrs: Attrs::default() };
    Change::Put { key: key(path), node, cites: Cites::All, expect: Expect::Anything }
}

fn get(store: &Handle, path: &str) -> Option<String> {
    let record = store.get(&key(path)).expect("get")?;
    let content = record.winner()?.node.as_ref()?.content()?.clone();
    let bytes = store.read(&content).expect("read").read_all().expect("read");
    Some(String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

fn id(seed: u8) -> NodeId {
    Identity::from_seed([seed; 32]).node_id()
}

fn fresh(dir: &Path) -> (Node, Arc<ManualClock>) {
    Node::init(dir).expect("init");
    let clock = Arc::new(ManualClock::at(NOW));
    (Node::open_with(dir, clock.clone()).expect("open"), clock)
}

fn active(node: &Node) -> BTreeSet<NodeId> {
    node.members().expect("members").iter().filter(|m| m.is_active()).map(|m| m.id).collect()
}

fn refused<T: std::fmt::Debug>(result: Result<T, NodeError>) -> String {
    match result.expect_err("refused") {
        NodeError::Refused(why) => why,
        other => panic!("{other}"),
    }
}

#[test]
fn no_two_members_have_one_name() {
    let home = tempfile::tempdir().expect("tempdir");
    let (node, _) = fresh(home.path());
    for n in 2..=4 {
        node.add_member(id(n), "debian").expect("add");
    }
    let names = || -> Vec<Option<String>> {
        let members = node.members().expect("members");
        (2..=4).map(|n| members.get(&id(n)).and_then(|m| m.name.clone())).collect()
    };
    let expected = ["debian", "debian-2", "debian-3"].map(|n| Some(n.to_owned()));
    assert_eq!(names(), expected);
    node.add_member(id(3), "debian-2").expect("its own name is free");
    let taken = node.name_member(id(4), "debian").expect_err("taken");
    assert!(matches!(&taken, NodeError::NodeNameTaken { by, .. } if *by == id(2)), "{taken}");
    node.name_member(id(3), "debian-2").expect("the name that it has");
    assert_eq!(names(), expected);
    node.revoke_member(id(2)).expect("revoked");
    node.name_member(id(4), "debian").expect("free again");
}

#[test]
fn a_new_data_directory_has_one_member_and_works_as_before() {
    let home = tempfile::tempdir().expect("tempdir");
    let (node, _) = fresh(home.path());
    assert_eq!(active(&node), [node.id()].into());
    assert!(node.membership().contains(&node.id()));
    let store = node.create_store("home").expect("create");
    store.commit(vec![put("a", "b")]).expect("put");
    node.close().expect("close");
    drop(node);
    let node = Node::open(home.path()).expect("open");
    assert_eq!(get(&node.find("home").expect("find"), "a").as_deref(), Some("b"));
    assert_eq!(active(&node), [node.id()].into());
}

#[test]
fn members_are_added_named_and_revoked_and_who_waits_is_told() {
    let home = tempfile::tempdir().expect("tempdir");
    let (node, _) = fresh(home.path());
    let seen = node.wait_members_changed(0, Duration::ZERO);
    let told = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| node.wait_members_changed(seen, PATIENCE));
        node.add_member(id(2), "  Anna's\u{1b} laptop\n").expect("add");
        waiting.join().expect("no panic")
    });
    assert!(told > seen);
    let members = node.members().expect("members");
    let anna = members.get(&id(2)).expect("a member");
    assert_eq!((anna.name.as_deref(), anna.added_by), (Some("Anna's laptop"), node.id()));
    node.name_member(id(2), "anna").expect("name");
    let seen = node.wait_members_changed(told, Duration::ZERO);
    assert!(seen > told, "a name is a change too");
    assert_eq!(
        node.members().expect("members").get(&id(2)).and_then(|m| m.name.clone()).as_deref(),
        Some("anna")
    );
    assert!(refused(node.name_member(id(2), "\n")).contains("can't be a name"));
    assert!(refused(node.name_member(id(9), "x")).contains("is not a member"));
    assert!(refused(node.revoke_member(id(9))).contains("is not a member"));
    assert!(refused(node.revoke_member(node.id())).contains("can't revoke itself"));
    node.create_store("home").expect("create");
    node.revoke_member(id(2)).expect("revoke");
    assert_eq!(active(&node), [node.id()].into());
    assert!(refused(node.revoke_member(id(2))).contains("revoked already"));
    assert!(refused(node.add_member(id(2), "")).contains("for good"));
    node.close().expect("close");
    drop(node);
    let node = Node::open(home.path()).expect("open");
    let members = node.members().expect("members");
    let state = members.get(&id(2)).map(|m| m.state.clone());
    assert!(
        matches!(state, Some(MemberState::Revoked { by, accepted, .. }) if by == node.id() && accepted.len() == 2)
    );
}

#[test]
fn an_invite_lets_in_whom_it_is_for_and_nobody_else() {
    let home = tempfile::tempdir().expect("tempdir");
    let (node, clock) = fresh(home.path());
    let root = node.root().id();
    let ask = |secret: &Secret, joiner: u8| {
        let proof = secret.prove(&root, &id(joiner), &node.id());
        node.admit(id(joiner), &proof, "joiner").map_err(|e| match e {
            NodeError::Join(why) => why,
            other => panic!("{other}"),
        })
    };
    assert!(refused(node.invite(NOW + 1000, 0)).contains("1 to"));
    let once = node.invite(NOW + 1000, 1).expect("invite");
    assert_eq!(node.invites().expect("invites"), [once.record(node.id(), NOW + 1000, 1)]);
    assert_eq!(ask(&once, 5), Ok(Admission::New(once.id())));
    assert!(node.membership().contains(&id(5)));
    assert_eq!(ask(&once, 5), Ok(Admission::Already), "an answer that was lost");
    assert_eq!(ask(&once, 6), Err(Refusal::UsedUp));
    let members = node.members().expect("members");
    let joined = members.get(&id(5)).expect("a member");
    assert_eq!((joined.invite, joined.name.as_deref()), (Some(once.id()), Some("joiner")));
    let twice = node.invite(NOW + 1000, 2).expect("invite");
    let mut forged = twice.prove(&root, &id(6), &node.id()).to_bytes();
    forged[50] ^= 1;
    let forged = Proof::from_slice(&forged).expect("96 bytes");
    let refused = node.admit(id(6), &forged, "");
    assert!(matches!(refused, Err(NodeError::Join(Refusal::Forged))), "{refused:?}");
    assert_eq!(ask(&Secret::new([1; 32]), 6), Err(Refusal::Unknown));
    assert_eq!(ask(&twice, 6), Ok(Admission::New(twice.id())));
    clock.set(NOW + 1000);
    assert_eq!(ask(&twice, 7), Err(Refusal::Expired));
    clock.set(NOW);
    node.withdraw_invite(&twice.id()).expect("withdraw");
    assert_eq!(ask(&twice, 7), Err(Refusal::Unknown));
    node.revoke_member(id(5)).expect("revoke");
    let again = node.invite(NOW + 1000, 1).expect("invite");
    assert_eq!(ask(&again, 5), Err(Refusal::Revoked));
}

fn export(store: &Handle) -> Vec<u8> {
    let mut bundle = Vec::new();
    store.export("shared", &mut bundle, &mut |_, _| {}).expect("export");
    bundle
}

fn import(node: &Node, bundle: &[u8]) -> (StoreId, BundleReport) {
    node.import(&mut &bundle[..], &mut |_, _| {}).expect("import")
}

#[test]
fn importing_a_bundle_vouches_for_its_authors_until_they_are_revoked() {
    let homes = [tempfile::tempdir().expect("tempdir"), tempfile::tempdir().expect("tempdir")];
    let (ours, _) = fresh(homes[0].path());
    let (theirs, _) = fresh(homes[1].path());
    let store = theirs.create_store("shared").expect("create");
    store.commit(vec![put("a", "theirs")]).expect("put");
    let (id, report) = import(&ours, &export(&store));
    assert_eq!((report.new_entries, report.left_out), (1, 0));
    let copy = ours.store(id).expect("imported");
    assert_eq!(get(&copy, "a").as_deref(), Some("theirs"));
    assert!(!ours.membership().contains(&theirs.id()), "it may not connect");
    let said = ours.root().get(&key(&format!("stores/{id}/authors/{}", theirs.id()))).expect("get");
    assert!(said.is_some_and(|record| record.is_live()), "for all members to see");
    // Both ways, as before.
    copy.commit(vec![put("b", "ours")]).expect("put");
    import(&theirs, &export(&copy));
    assert_eq!(get(&store, "b").as_deref(), Some("ours"));
    // In another store they count for nothing.
    let home = ours.create_store("home").expect("create");
    let limit = ours.membership().limit(&home.id(), &theirs.id());
    assert_eq!(limit, lattice_engine::access::Limit::Nothing);

    ours.revoke_member(theirs.id()).expect("revoke");
    store.commit(vec![put("c", "too late")]).expect("put");
    let (_, report) = import(&ours, &export(&store));
    assert_eq!((report.new_entries, report.left_out), (1, 1));
    assert_eq!(get(&copy, "c"), None);
    assert_eq!(get(&copy, "a").as_deref(), Some("theirs"));
    ours.close().expect("close");
    drop(ours);
    let ours = Node::open(homes[0].path()).expect("open");
    let copy = ours.store(id).expect("there");
    assert_eq!((get(&copy, "a").as_deref(), get(&copy, "c")), (Some("theirs"), None));
}

/// Who knows a store from its events up to a cursor must be able to tell that members have changed since: no event does.
#[test]
fn a_cursor_of_other_members_does_not_agree_also_after_a_restart() {
    let homes = [tempfile::tempdir().expect("tempdir"), tempfile::tempdir().expect("tempdir")];
    let (ours, _) = fresh(homes[0].path());
    let (theirs, _) = fresh(homes[1].path());
    let store = theirs.create_store("shared").expect("create");
    let first = store.commit(vec![put("a", "1")]).expect("put");
    store.commit(vec![put("b", "2")]).expect("put");
    let (id, _) = import(&ours, &export(&store));
    let copy = ours.store(id).expect("imported");
    let known = copy.entries(Cursor::default(), 10).expect("entries").last().expect("three").cursor;
    assert_eq!(known.to_string().split('.').count(), 2, "everything counts: {known}");
    let mut watch = copy.watch(Some(known));
    // A member who has seen the first entry alone.
    let cutoff = cutoff_value(&Cutoff { seq: first.seq, id: first.id }.into());
    let act = put(&format!("nodes/{}/revoked/{id}", theirs.id()), &cutoff);
    ours.root().commit(vec![Change::CiteAll, act]).expect("revoke");
    assert_eq!(get(&copy, "b"), None);
    // Long before the time is up, and once.
    let asked = Instant::now();
    assert!(watch.next(PATIENCE).expect("next").is_none() && asked.elapsed() < PATIENCE);
    let now = copy.watch(None).cursor();
    assert!(!known.is_beyond(&now) && !now.is_beyond(&known), "nothing has come: {known} {now}");
    assert!(!known.agrees(&now), "{known} {now}");
    assert!(Cursor::default().agrees(&now), "who was told of nothing knows nothing that is wrong");
    assert_eq!(now.to_string().parse(), Ok(now));
    ours.close().expect("close");
    drop((copy, watch, ours));
    let ours = Node::open(homes[0].path()).expect("open");
    let copy = ours.store(id).expect("there");
    let reopened = copy.watch(None).cursor();
    assert!(reopened.agrees(&now) && !reopened.agrees(&known), "{reopened} {now} {known}");
    copy.commit(vec![put("c", "3")]).expect("put");
    let events = copy.entries(now, 10).expect("entries");
    assert_eq!(events.len(), 1);
    assert!(events[0].cursor.agrees(&now) && events[0].cursor.is_beyond(&now), "{:?}", events[0]);
}

/// A data directory as it was made before there were members: nothing in the root store speaks of them, and a store has
/// entries that came by a bundle.
#[test]
fn a_data_directory_of_before_members_keeps_all_that_it_shows() {
    let homes = [tempfile::tempdir().expect("tempdir"), tempfile::tempdir().expect("tempdir")];
    let (theirs, _) = fresh(homes[1].path());
    let store = theirs.create_store("shared").expect("create");
    store.commit(vec![put("a", "theirs")]).expect("put");
    let dir = homes[0].path();
    let identity = Identity::load_or_create(&dir.join("identity.key")).expect("a key");
    let options = OpenOptions {
        disk: Arc::new(RealDisk),
        identity: Arc::new(identity),
        clock: Arc::new(ManualClock::at(NOW)),
        background: false,
        authority: Authority::Everyone,
    };
    let stores = dir.join("stores");
    std::fs::create_dir(&stores).expect("mkdir");
    let root = store::create(&stores, &options).expect("create");
    let bundle = export(&store);
    let mut input = &bundle[..];
    let header = store::read_bundle_header(&mut input).expect("header");
    let genesis = store::read_bundle_genesis(&header, &mut input).expect("genesis");
    let old = store::adopt(&stores, &genesis, &options).expect("adopt");
    old.import(&mut input, &mut |_, _| {}).expect("import");
    let declared = |field: &str, value: String| put(&format!("stores/{}/{field}", old.id()), &value);
    let declare = [
        declared("name", "shared".into()),
        declared("created_at", "1".into()),
        declared("genesis", old.genesis().to_string()),
    ];
    root.commit(declare.into()).expect("declare");
    std::fs::write(dir.join("root"), format!("{}\n", root.id())).expect("write");
    root.close().expect("close");
    old.close().expect("close");
    drop((root, old));

    for _ in 0..2 {
        let node = Node::open(dir).expect("open");
        let copy = node.find("shared").expect("find");
        assert_eq!(get(&copy, "a").as_deref(), Some("theirs"));
        copy.commit(vec![put("b", "ours")]).expect("still writable");
        assert_eq!(active(&node), [node.id()].into());
        node.close().expect("close");
    }
}
