//! What a store does when the file of its derived state fails after the log has taken an entry: it takes no more writes and
//! says why, shows no half of anything, and has everything when it is opened again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use lattice_engine::clock::ManualClock;
use lattice_engine::disk::Disk;
use lattice_engine::disk::sim::SimDisk;
use lattice_engine::entry::{Attrs, Content, Node, Value};
use lattice_engine::id::FileId;
use lattice_engine::identity::Identity;
use lattice_engine::key::Key;
use lattice_engine::store::{self, Authority, Change, Cites, Expect, Handle, OpenOptions, StoreError};

fn options(disk: &SimDisk) -> OpenOptions {
    OpenOptions {
        disk: Arc::new(disk.clone()),
        identity: Arc::new(Identity::from_seed([7; 32])),
        clock: Arc::new(ManualClock::at(1_700_000_000_000)),
        background: false,
        authority: Authority::Everyone,
    }
}

fn create(disk: &SimDisk) -> Handle {
    disk.create_dir_all(Path::new("/stores")).expect("mkdir");
    store::create(Path::new("/stores"), &options(disk)).expect("create")
}

fn dir(store: &Handle) -> PathBuf {
    Path::new("/stores").join(store.id().to_string())
}

fn state_file(store: &Handle) -> PathBuf {
    dir(store).join("state.redb")
}

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect("a key")
}

fn put(path: &str, text: &str) -> Change {
    let value = Value::File(Content::Inline(Bytes::copy_from_slice(text.as_bytes())));
    let node = Node { file_id: FileId([9; 16]), value, attrs: Attrs::default() };
    Change::Put { key: key(path), node, cites: Cites::All, expect: Expect::Anything }
}

fn delete(path: &str) -> Change {
    Change::Delete { key: key(path), cites: Cites::All, expect: Expect::Exists }
}

fn get(store: &Handle, path: &str) -> Option<String> {
    let record = store.get(&key(path)).expect("get")?;
    let content = record.winner()?.node.as_ref()?.content()?.clone();
    let bytes = store.read(&content).expect("read").read_all().expect("read");
    Some(String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

/// Read-only, for a reason that names the file and what to do.
#[track_caller]
fn frozen(store: &Handle) {
    let why = store.status().expect("status").read_only.expect("it takes no writes");
    assert!(
        why.contains("state.redb") && why.contains("eopen the store") && why.contains("log has"),
        "{why}"
    );
    let refused = store.commit(vec![put("later", "x")]).expect_err("no writes");
    assert!(matches!(refused.cause(), StoreError::ReadOnly { .. }), "{refused}");
}

/// The disk as a kill leaves it, in order again, with the store opened on it.
fn after_a_kill(disk: &SimDisk, store: &Handle) -> Handle {
    let image = disk.kill_image(disk.ops());
    store::open(&dir(store), store.id(), &options(&image)).expect("opens")
}

#[track_caller]
fn sound(store: &Handle) {
    let report = store.fsck(true, &mut |_| {}).expect("fsck");
    assert_eq!((report.problems, report.rebuilt_equal), (vec![], Some(true)));
    store.commit(vec![put("goes/on", "x")]).expect("takes writes again");
    store.close().expect("closes");
}

#[test]
fn a_state_file_that_takes_no_writes_freezes_the_store_and_loses_nothing() {
    let disk = SimDisk::new();
    let store = create(&disk);
    store.commit(vec![put("a", "applied")]).expect("put");
    store.maintain(true).expect("applied");
    disk.fail_writes(&state_file(&store), true).expect("exists");
    store.commit(vec![put("b", "only in the log")]).expect("the log takes it");
    store.maintain(true).expect_err("the state doesn't");
    frozen(&store);
    assert_eq!(get(&store, "b").as_deref(), Some("only in the log"), "it is still shown");

    let again = after_a_kill(&disk, &store);
    assert_eq!(get(&again, "a").as_deref(), Some("applied"));
    assert_eq!(get(&again, "b").as_deref(), Some("only in the log"));
    sound(&again);
}

/// More rows than a page, so that `low/…` and `top/…` stand on different ones, then opened with nothing in memory.
fn with_cold_state() -> (SimDisk, Handle) {
    let disk = SimDisk::new();
    let store = create(&disk);
    for i in 0..400 {
        store.commit(vec![put(&format!("low/{i:03}"), "x"), put(&format!("zzz/{i:03}"), "x")]).expect("put");
    }
    store.commit(vec![put("top/in/f", "alone")]).expect("put");
    store.maintain(true).expect("applied");
    store.close().expect("closes");
    let (id, dir) = (store.id(), dir(&store));
    drop(store);
    let store = store::open(&dir, id, &options(&disk)).expect("opens");
    (disk, store)
}

#[test]
fn an_entry_that_was_logged_and_not_applied_is_shown_whole_or_not_at_all() {
    let (disk, store) = with_cold_state();
    // In memory from here on: what planning looks at. What applying asks for besides fails.
    get(&store, "top/in/f").expect("there");
    disk.fail_reads(&state_file(&store), 0..u64::MAX).expect("exists");
    let failed = store.commit(vec![delete("top/in/f")]).expect_err("the state can't be read");
    assert!(!matches!(failed.cause(), StoreError::ReadOnly { .. }), "the first of its kind: {failed}");
    frozen(&store);
    assert_eq!(get(&store, "top/in/f").as_deref(), Some("alone"), "half of it must not show");
    store.maintain(false).expect("nor is there anything to be kept");
    drop(store.clone());

    let again = after_a_kill(&disk, &store);
    assert_eq!(get(&again, "top/in/f"), None, "the log has it: it was logged");
    assert!(
        again.get(&key("top")).expect("get").is_none_or(|r| !r.exists()),
        "and so its directories are gone"
    );
    sound(&again);
}
