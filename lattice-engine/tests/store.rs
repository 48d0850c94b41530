//! Stores through their public API, on a real disk: what a commit does, what survives, and that the state is no more
//! than the log.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use lattice_engine::entry::{Attrs, Content, Node as KeyNode, Time, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::node::{Node, NodeError};
use lattice_engine::store::{Change, Cites, Expect, Handle, RenameHow, StoreError};

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect(path)
}

fn file_id() -> FileId {
    let mut id = [0; 16];
    getrandom::fill(&mut id).expect("random numbers");
    FileId(id)
}

fn put_value(path: &str, value: Value) -> Change {
    let attrs = Attrs { mode: Some(0o644), ..Attrs::default() };
    let node = KeyNode { file_id: file_id(), value, attrs };
    Change::Put { key: key(path), node, cites: Cites::All, expect: Expect::Anything }
}

fn put(path: &str, value: &str) -> Change {
    put_value(path, Value::File(Content::Inline(Bytes::copy_from_slice(value.as_bytes()))))
}

fn delete(path: &str) -> Change {
    Change::Delete { key: key(path), cites: Cites::All, expect: Expect::Exists }
}

fn rename(from: &str, to: &str) -> Change {
    Change::Rename { from: key(from), to: key(to), how: RenameHow::Replace }
}

fn get(store: &Handle, path: &str) -> Option<String> {
    let record = store.get(&key(path)).expect("get")?;
    let content = record.winner()?.node.as_ref()?.content()?.clone();
    let bytes = store.read(&content).expect("read").read_all().expect("read");
    Some(String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

fn names(store: &Handle, dir: &str) -> Vec<String> {
    let dir = if dir.is_empty() { Key::ROOT } else { key(dir) };
    let list = store.list(&dir, None, usize::MAX).expect("list");
    list.iter().map(|(n, _)| String::from_utf8_lossy(n).into_owned()).collect()
}

/// Everything that a store shows, records and all.
fn dump(store: &Handle) -> Vec<String> {
    let mut all = vec![format!("{:?}", store.get(&Key::ROOT).expect("get"))];
    store
        .walk(&Key::ROOT, &mut |key, record| {
            all.push(format!("{key} {record:?}"));
            std::ops::ControlFlow::Continue(())
        })
        .expect("walk");
    all
}

fn node(dir: &Path) -> Node {
    Node::init(dir).expect("init");
    Node::open(dir).expect("open")
}

#[test]
fn what_was_committed_is_there_after_reopening_and_after_losing_the_state() {
    let home = tempfile::tempdir().expect("tempdir");
    let dir = home.path().join("data");
    let n = node(&dir);
    let store = n.create_store("home").expect("create");
    let long = "x".repeat(4000);
    for i in 0..300 {
        store.commit(vec![put(&format!("dir{}/file{i}", i % 7), &format!("value {i}"))]).expect("put");
    }
    store.commit(vec![put("long", &long)]).expect("put");
    store.commit(vec![delete("dir0/file0"), put("top", "t")]).expect("two at once");
    store.commit(vec![rename("dir1", "moved")]).expect("rename");
    let (id, before) = (store.id(), dump(&store));
    n.close().expect("close");
    drop((n, store));

    let n = Node::open(&dir).expect("open again");
    let store = n.find("home").expect("home");
    assert_eq!(dump(&store), before);
    assert_eq!(get(&store, "long").as_deref(), Some(&long[..]));
    assert_eq!(get(&store, "moved/file8").as_deref(), Some("value 8"));
    assert_eq!(names(&store, ""), ["dir0", "dir2", "dir3", "dir4", "dir5", "dir6", "long", "moved", "top"]);
    n.close().expect("close");
    drop((n, store));

    fs::remove_file(dir.join("stores").join(id.to_string()).join("state.redb")).expect("remove");
    let n = Node::open(&dir).expect("open without state");
    let store = n.find("home").expect("home");
    assert_eq!(dump(&store), before, "a replay of the log gives the same state");
    let report = store.fsck(true, &mut |_| {}).expect("fsck");
    assert_eq!(report.problems, Vec::<String>::new());
    assert_eq!(report.rebuilt_equal, Some(true));
    n.close().expect("close");
}

#[test]
fn renaming_back_and_forth_keeps_files_and_leaves_nothing_behind() {
    let home = tempfile::tempdir().expect("tempdir");
    let n = node(home.path());
    let store = n.create_store("home").expect("create");
    store.commit(vec![put("a/b/c", "deep")]).expect("put");
    let set = |value: Option<&'static [u8]>| Change::Attr {
        key: key("a/b/c"),
        file_id: store
            .get(&key("a/b/c"))
            .expect("get")
            .expect("there")
            .winner()
            .expect("live")
            .node
            .as_ref()
            .expect("live")
            .file_id,
        attrs: Attrs {
            xattrs: vec![(Bytes::from_static(b"user.x"), value.map(Bytes::from_static))],
            ..Attrs::default()
        },
    };
    let xattr = |path: &str| {
        let record = store.get(&key(path)).expect("get").expect("there");
        record.attrs().and_then(|a| a.xattrs.get(&b"user.x"[..]).and_then(|r| r.value.clone()))
    };
    store.commit(vec![set(Some(b"1"))]).expect("set");
    store.commit(vec![rename("a", "z")]).expect("rename");
    assert_eq!(xattr("z/b/c").as_deref(), Some(&b"1"[..]), "attributes move along");
    assert_eq!(names(&store, ""), ["z"]);
    store.commit(vec![rename("z", "a")]).expect("back");
    store.commit(vec![set(None)]).expect("remove the xattr");
    store.commit(vec![rename("a", "z")]).expect("rename");
    store.commit(vec![rename("z", "a")]).expect("back");
    assert_eq!(xattr("a/b/c"), None, "a removed attribute stays removed where it once was");
    assert_eq!(get(&store, "a/b/c").as_deref(), Some("deep"));
    let exchange = Change::Rename { from: key("a"), to: key("f"), how: RenameHow::Exchange };
    store.commit(vec![put("f", "file")]).expect("put");
    store.commit(vec![exchange]).expect("exchange");
    assert_eq!((get(&store, "a").as_deref(), get(&store, "f/b/c").as_deref()), (Some("file"), Some("deep")));
    n.close().expect("close");
}

/// What somebody wrote who had not seen what is there.
fn put_unseen(path: &str, value: &str) -> Change {
    match put(path, value) {
        Change::Put { key, node, .. } => {
            Change::Put { key, node, cites: Cites::Heads(Vec::new()), expect: Expect::Beside }
        }
        other => other,
    }
}

/// The live versions, the one that wins last.
fn versions(store: &Handle, path: &str) -> Vec<String> {
    let record = store.get(&key(path)).expect("get").unwrap_or_default();
    let text = |node: &lattice_engine::merge::HeadNode| {
        let content = node.content().expect("a file");
        String::from_utf8(store.read(content).expect("read").read_all().expect("read").to_vec())
            .expect("UTF-8")
    };
    record.live_heads().filter_map(|h| h.node.as_ref()).map(text).collect()
}

#[test]
fn versions_in_conflict_follow_a_rename() {
    let home = tempfile::tempdir().expect("tempdir");
    let n = node(home.path());
    let store = n.create_store("home").expect("create");
    let long = "x".repeat(3000);
    store.commit(vec![put("f", "1"), put("d/g", &long), put("d/plain", "p"), put("e", "4")]).expect("put");
    for (path, value) in [("f", "2"), ("f", "3"), ("f", "1"), ("d/g", "other"), ("e", "5")] {
        store.commit(vec![put_unseen(path, value)]).expect("beside it");
    }
    let (f, g) = (["2", "3", "1"], [&long, "other"]);
    store.commit(vec![rename("f", "h")]).expect("rename a file");
    assert_eq!(versions(&store, "h"), f);
    assert_eq!(get(&store, "h").as_deref(), Some("1"), "the winner wins");
    store.commit(vec![rename("d", "moved")]).expect("rename a directory");
    assert_eq!(versions(&store, "moved/g"), g);
    assert_eq!(get(&store, "moved/plain").as_deref(), Some("p"));
    let (from, to) = (key("h"), key("e"));
    store.commit(vec![Change::Rename { from, to, how: RenameHow::Exchange }]).expect("exchange");
    assert_eq!(versions(&store, "e"), f);
    assert_eq!(versions(&store, "h"), ["4", "5"]);
    assert_eq!(names(&store, ""), ["e", "h", "moved"], "nothing is left behind");
    let conflicts = store.conflicts(&Key::ROOT).expect("conflicts");
    let keys: Vec<String> = conflicts.iter().map(|(k, _)| k.to_string()).collect();
    assert_eq!(keys, ["e", "h", "moved/g"]);
    store.commit(vec![put("new", "6"), rename("new", "e")]).expect_err("one change per key");
    store.commit(vec![put("new", "6")]).expect("put");
    store.commit(vec![rename("new", "e")]).expect("as editors save");
    assert_eq!(versions(&store, "e"), ["2", "3", "6"], "what was not seen stays");
    assert_eq!(store.fsck(true, &mut |_| {}).expect("fsck").rebuilt_equal, Some(true));
    n.close().expect("close");
}

#[test]
fn preconditions_hold_or_nothing_changes() {
    let home = tempfile::tempdir().expect("tempdir");
    let n = node(home.path());
    let store = n.create_store("home").expect("create");
    store.commit(vec![put("d/x", "1"), put("f", "1")]).expect("put");
    let before = dump(&store);
    let absent = |path| match put(path, "2") {
        Change::Put { key, node, cites, .. } => Change::Put { key, node, cites, expect: Expect::Absent },
        other => other,
    };
    let rmdir = |path| Change::Delete { key: key(path), cites: Cites::All, expect: Expect::Childless };
    let fails = |changes: Vec<Change>| {
        let e = store.commit(changes).expect_err("must fail");
        assert_eq!(dump(&store), before);
        match e {
            StoreError::Shared(e) => e.to_string(),
            e => e.to_string(),
        }
    };
    assert_eq!(fails(vec![put("new", "1"), absent("f")]), "f exists already");
    assert_eq!(fails(vec![rmdir("d")]), "d is not empty");
    assert_eq!(fails(vec![put("f/below", "1")]), "f is not a directory");
    assert_eq!(fails(vec![put("d", "1")]), "d is a directory");
    assert_eq!(fails(vec![delete("nothing")]), "nothing: no such key");
    assert_eq!(fails(vec![rename("d", "d/e")]), "d can't be moved into itself");
    assert_eq!(fails(vec![rename("f", "d")]), "d is a directory");
    assert_eq!(fails(vec![rename("d", "f")]), "f is not a directory");
    n.close().expect("close");
}

#[test]
fn two_nodes_that_edit_apart_both_keep_both_versions_until_one_resolves() {
    let homes = tempfile::tempdir().expect("tempdir");
    let (a, b) = (node(&homes.path().join("a")), node(&homes.path().join("b")));
    let on_a = a.create_store("home").expect("create");
    on_a.commit(vec![put("notes", "base"), put("same", "s")]).expect("put");
    let carry = |from: &Handle, to: &Node| {
        let mut bundle = Vec::new();
        from.export("home", &mut bundle, &mut |_, _| {}).expect("export");
        to.import(&mut &bundle[..], &mut |_, _| {}).expect("import").1
    };
    carry(&on_a, &b);
    let on_b = b.find("home").expect("home on b");
    assert_eq!(get(&on_b, "notes").as_deref(), Some("base"));
    on_a.commit(vec![put("notes", "from a"), put("same", "equal"), delete("same")])
        .expect_err("one op per key");
    on_a.commit(vec![put("notes", "from a"), put("same", "equal")]).expect("put");
    on_b.commit(vec![put("notes", "from b"), put("same", "equal")]).expect("put");
    assert_eq!(carry(&on_a, &b).new_entries, 1);
    assert_eq!(carry(&on_b, &a).new_entries, 1);
    assert_eq!(carry(&on_b, &a).new_entries, 0, "again is nothing");
    for store in [&on_a, &on_b] {
        let conflicts = store.conflicts(&Key::ROOT).expect("conflicts");
        let keys: Vec<String> = conflicts.iter().map(|(k, _)| k.to_string()).collect();
        assert_eq!(keys, ["notes"], "equal content is no conflict");
        assert_eq!(conflicts[0].1.conflict(), 2);
        assert_eq!(store.history(&key("notes"), 10).expect("history").len(), 3);
    }
    assert_eq!(get(&on_a, "notes"), get(&on_b, "notes"), "both show the same winner");
    on_b.commit(vec![put("notes", "merged")]).expect("resolve");
    carry(&on_b, &a);
    assert_eq!(get(&on_a, "notes").as_deref(), Some("merged"));
    assert!(on_a.conflicts(&Key::ROOT).expect("conflicts").is_empty());
    assert_eq!(on_a.fsck(true, &mut |_| {}).expect("fsck").rebuilt_equal, Some(true));
    a.close().expect("close");
    b.close().expect("close");
}

#[test]
fn a_data_directory_has_one_process_and_stores_have_one_name() {
    let home = tempfile::tempdir().expect("tempdir");
    assert!(matches!(Node::open(home.path()), Err(NodeError::NotInitialised(_))));
    let n = node(home.path());
    let pid = std::process::id();
    assert!(matches!(Node::open(home.path()), Err(NodeError::Locked { pid: p, .. }) if p == pid));
    let store = n.create_store("home").expect("create");
    assert!(matches!(n.create_store("home"), Err(NodeError::NameTaken(_))));
    assert!(matches!(n.create_store("a/b"), Err(NodeError::BadName { .. })));
    n.rename_store(store.id(), "work").expect("rename");
    assert!(n.find("home").is_err() && n.find(&store.id().to_string()[..8]).is_ok());
    n.delete_store(store.id()).expect("delete");
    assert!(n.find("work").is_err());
    assert_eq!(n.gc_stores().expect("gc"), [store.id()]);
    n.close().expect("close");
}

#[test]
fn times_follow_what_happens_in_a_directory() {
    let home = tempfile::tempdir().expect("tempdir");
    let n = node(home.path());
    let store = n.create_store("home").expect("create");
    store.commit(vec![put_value("d", Value::Dir)]).expect("mkdir");
    let time = || store.get(&key("d")).expect("get").expect("there").mtime();
    let made = time();
    store.commit(vec![put("d/x", "1")]).expect("put");
    let grown = time();
    assert!(grown > made);
    store.commit(vec![put("d/x", "2")]).expect("overwrite");
    assert_eq!(time(), grown, "a change of a file is none of its directory");
    let id = store
        .get(&key("d"))
        .expect("get")
        .expect("there")
        .winner()
        .expect("live")
        .node
        .as_ref()
        .expect("live")
        .file_id;
    let set = Time { s: 1, ns: 2 };
    let attrs = Attrs { mtime: Some(set), ..Attrs::default() };
    store.commit(vec![Change::Attr { key: key("d"), file_id: id, attrs }]).expect("utimens");
    assert_eq!(time(), set);
    store.commit(vec![delete("d/x")]).expect("rm");
    assert!(time() > grown);
    n.close().expect("close");
}
