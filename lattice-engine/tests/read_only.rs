//! A data directory that may not be written: what it holds is shown, every write is refused, and not a byte changes.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lattice_engine::clock::SystemClock;
use lattice_engine::entry::{Attrs, Content, Node as KeyNode, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::node::{Node, NodeError};
use lattice_engine::store::{Change, Cites, Expect, Handle, KeepHistory, READ_ONLY, StoreError};

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect(path)
}

/// Bytes that don't repeat.
fn body(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn file(content: Content, id: u8) -> KeyNode {
    KeyNode { file_id: FileId([id; 16]), value: Value::File(content), attrs: Attrs::default() }
}

fn put(path: &str, content: Content, id: u8) -> Change {
    Change::Put { key: key(path), node: file(content, id), cites: Cites::All, expect: Expect::Anything }
}

fn delete(path: &str) -> Change {
    Change::Delete { key: key(path), cites: Cites::All, expect: Expect::Anything }
}

fn get(store: &Handle, path: &str) -> Option<Vec<u8>> {
    let record = store.get(&key(path)).expect("get")?;
    let content = record.winner()?.node.as_ref()?.content()?.clone();
    Some(store.read(&content).expect("read").read_all().expect("read").to_vec())
}

/// Everything below a directory: what it is, when it was changed, and its bytes.
fn snapshot(dir: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut left = vec![dir.to_path_buf()];
    while let Some(path) = left.pop() {
        let meta = fs::metadata(&path).expect("metadata");
        let mut bytes = Vec::new();
        if meta.is_dir() {
            left.extend(fs::read_dir(&path).expect("list").map(|e| e.expect("entry").path()));
        } else {
            bytes = fs::read(&path).expect("read");
        }
        all.insert(path, (meta.mode(), meta.ctime(), meta.ctime_nsec(), bytes));
    }
    all
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("mkdir");
    for entry in fs::read_dir(from).expect("list") {
        let entry = entry.expect("entry");
        if entry.file_type().expect("type").is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("copy");
        }
    }
}

fn open_read_only(dir: &Path) -> Node {
    Node::open_read_only(dir, Arc::new(SystemClock)).expect("opens")
}

/// What a kill leaves of a directory with a store `home`: changes that redb doesn't have, and a staged file.
fn killed(to: &Path) {
    let home = tempfile::tempdir().expect("tempdir");
    let dir = home.path().join("data");
    Node::init(&dir).expect("init");
    let node = Node::open(&dir).expect("open");
    let store = node.create_store("home").expect("create");
    let large = store.put_content(&body(300_000)).expect("put");
    store.commit(vec![put("large", large, 1)]).expect("commit");
    store.sync().expect("sync");
    store.commit(vec![put("small", Content::Inline("kept".into()), 2)]).expect("commit");
    let staged = store.staging_path().expect("a path");
    fs::write(&staged, body(2_000_000)).expect("stages");
    let size = 2_000_000;
    store.stage(staged, key("staged"), file(Content::EMPTY, 3), Cites::All, size).expect("stage");
    fs::write(store.staging_path().expect("a path"), "nobody closed it").expect("leaves");
    copy(&dir, to);
}

#[test]
fn it_is_shown_as_a_kill_has_left_it_and_nothing_in_it_changes() {
    let home = tempfile::tempdir().expect("tempdir");
    let dir = home.path().join("data");
    killed(&dir);
    let before = snapshot(&dir);

    let node = open_read_only(&dir);
    assert!(node.read_only());
    let store = node.find("home").expect("home");
    assert_eq!(get(&store, "small").as_deref(), Some(&b"kept"[..]));
    assert_eq!(get(&store, "large"), Some(body(300_000)));
    assert_eq!(get(&store, "staged"), Some(body(2_000_000)));
    assert!(store.read_only().is_some_and(|why| why.ends_with(READ_ONLY)));
    assert_eq!(store.status().expect("status").read_only.as_deref(), Some(READ_ONLY));
    let report = store.fsck(false, &mut |_| {}).expect("fsck");
    assert_eq!(report.problems, Vec::<String>::new());
    store.sync().expect("has nothing to do");
    let mut bundle = Vec::new();
    store.export("home", &mut bundle, &mut |_, _| {}).expect("an export only reads");
    node.close().expect("closes");
    drop((store, node));
    assert!(snapshot(&dir) == before, "something was written");

    // What a writable opening makes of it is the same.
    let node = Node::open(&dir).expect("opens");
    let store = node.find("home").expect("home");
    assert_eq!(get(&store, "staged"), Some(body(2_000_000)));
    store.commit(vec![delete("small")]).expect("is writable");
}

#[test]
fn every_write_is_refused_as_read_only() {
    let home = tempfile::tempdir().expect("tempdir");
    let dir = home.path().join("data");
    killed(&dir);
    let before = snapshot(&dir);
    let node = open_read_only(&dir);
    let store = node.find("home").expect("home");
    let mut bundle = Vec::new();
    store.export("home", &mut bundle, &mut |_, _| {}).expect("export");
    let small = || Content::Inline("x".into());
    let in_store = [
        ("put", store.commit(vec![put("new", small(), 9)]).err()),
        ("delete", store.commit(vec![delete("small")]).err()),
        ("put_content", store.put_content(&body(100_000)).err()),
        ("staging_path", store.staging_path().err()),
        ("stage", store.stage(dir.join("x"), key("x"), file(Content::EMPTY, 8), Cites::All, 0).err()),
        ("gc", store.gc(KeepHistory::All).err()),
        ("rebuild", store.fsck(true, &mut |_| {}).err()),
        ("import", store.import(&mut &bundle[..], &mut |_, _| {}).err()),
    ];
    for (what, e) in in_store {
        assert!(
            matches!(e.as_ref().map(StoreError::cause), Some(StoreError::ReadOnly { .. })),
            "{what}: {e:?}"
        );
    }
    let id = store.id();
    let in_node = [
        ("create", node.create_store("other").err()),
        ("rename", node.rename_store(id, "other").err()),
        ("delete", node.delete_store(id).err()),
        ("gc", node.gc_stores().err()),
        ("import", node.import(&mut &bundle[..], &mut |_, _| {}).err()),
    ];
    for (what, e) in in_node {
        let refused =
            matches!(&e, Some(NodeError::Store(e)) if matches!(e.cause(), StoreError::ReadOnly { .. }));
        assert!(refused, "{what}: {e:?}");
    }
    let mut writer = store.content().writer();
    let written = writer.write(&body(20_000_000)).and_then(|()| writer.finish());
    let refused = written.expect_err("the disk is sealed");
    assert!(refused.to_string().contains("ead-only"), "{refused}");
    assert_eq!(get(&store, "large"), Some(body(300_000)), "still readable");
    drop((store, node));
    assert!(snapshot(&dir) == before, "something was written");
}

#[test]
fn a_reader_and_a_writer_keep_each_other_out() {
    let home = tempfile::tempdir().expect("tempdir");
    let dir = home.path().join("data");
    killed(&dir);
    let reader = open_read_only(&dir);
    assert!(matches!(Node::open(&dir), Err(NodeError::Locked { .. })));
    let second = Node::open_read_only(&dir, Arc::new(SystemClock)).expect_err("taken");
    assert!(second.to_string().contains("another process"), "{second}");
    drop(reader);
    let writer = Node::open(&dir).expect("opens");
    assert!(Node::open_read_only(&dir, Arc::new(SystemClock)).is_err());
    drop(writer);
    // A copy without the lock file is opened too, and none is made.
    fs::remove_file(dir.join("lock")).expect("remove");
    let reader = open_read_only(&dir);
    assert!(!dir.join("lock").exists());
    assert!(matches!(Node::open_read_only(&dir, Arc::new(SystemClock)), Err(NodeError::Locked { .. })));
    drop(reader);
}
