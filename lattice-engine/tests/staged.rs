//! What an opening makes of the staged files that a kill has left.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lattice_engine::clock::ManualClock;
use lattice_engine::disk::sim::SimDisk;
use lattice_engine::disk::{Disk, Open, RealDisk};
use lattice_engine::entry::{Attrs, Content, Node as KeyNode, Value};
use lattice_engine::id::FileId;
use lattice_engine::identity::Identity;
use lattice_engine::key::Key;
use lattice_engine::log::{Log, LogOptions, RecordRef};
use lattice_engine::node::Node;
use lattice_engine::store::{self, Authority, Change, Cites, Expect, Handle, OpenOptions};

const SIZE: usize = 2_000_000;

fn key() -> Key {
    Key::parse(b"large").expect("a key")
}

fn node(content: Content) -> KeyNode {
    KeyNode { file_id: FileId([3; 16]), value: Value::File(content), attrs: Attrs::default() }
}

/// Bytes that don't repeat.
fn body(len: usize) -> Vec<u8> {
    (0..len as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect()
}

/// A closed file of `SIZE` bytes over an older version, and what `then` does to the staged file before the kill.
fn killed_after(then: impl FnOnce(&Handle, &Path)) -> Option<Vec<u8>> {
    let home = tempfile::tempdir().expect("tempdir");
    let dir = home.path().join("data");
    Node::init(&dir).expect("init");
    {
        let opened = Node::open(&dir).expect("open");
        let store = opened.create_store("home").expect("create");
        let old = Content::Inline("old".into());
        let put = Change::Put { key: key(), node: node(old), cites: Cites::All, expect: Expect::Anything };
        let cites = Cites::Heads(vec![store.commit(vec![put]).expect("commit").id]);
        let staged = store.staging_path().expect("a path");
        fs::write(&staged, body(SIZE)).expect("stages");
        store.stage(staged.clone(), key(), node(Content::EMPTY), cites, SIZE as u64).expect("stage");
        then(&store, &staged);
        opened.close().expect("closes");
    }
    let opened = Node::open(&dir).expect("opens");
    let store = opened.find("home").expect("home");
    assert_eq!(store.intents().expect("intents"), []);
    let record = store.get(&key()).expect("get")?;
    assert_eq!(record.heads.len(), 1, "no version stands beside another");
    let content = record.winner()?.node.as_ref()?.content()?.clone();
    Some(store.read(&content).and_then(|r| r.read_all()).expect("content").to_vec())
}

#[test]
fn a_closed_file_is_what_it_was_at_its_close() {
    assert!(killed_after(|_, _| {}) == Some(body(SIZE)));
}

#[test]
fn what_was_written_after_the_close_is_cut_off() {
    let append = |staged: &Path| fs::write(staged, body(SIZE + 5_000)).expect("goes on writing");
    assert!(killed_after(|_, staged| append(staged)) == Some(body(SIZE)));
}

#[test]
fn what_a_power_loss_has_shortened_leaves_the_older_version() {
    assert_eq!(killed_after(|_, staged| fs::write(staged, "sh").expect("cut")).as_deref(), Some(&b"old"[..]));
    assert_eq!(killed_after(|_, staged| fs::remove_file(staged).expect("rm")).as_deref(), Some(&b"old"[..]));
}

/// Killed between the record of the second close and the one that the first is replaced: both name the same bytes.
#[test]
fn of_two_closes_the_later_one_counts() {
    let found = killed_after(|store, staged| {
        fs::write(staged, body(SIZE + 5_000)).expect("goes on writing");
        let second = store.staging_path().expect("a path");
        fs::hard_link(staged, &second).expect("a second name");
        let cites = store.intents().expect("intents")[0].cites.clone();
        let size = SIZE as u64 + 5_000;
        store.stage(second, key(), node(Content::EMPTY), cites, size).expect("stage");
    });
    assert!(found == Some(body(SIZE + 5_000)));
}

/// A file that was closed empty needs no staged file; and once it was written, its emptiness doesn't come back.
#[test]
fn emptiness_is_kept_until_something_is_written() {
    let empty = |store: &Handle| {
        let cites = store.intents().expect("intents")[0].cites.clone();
        store.unstage(&store.intents().expect("intents")[0]).expect("unstaged");
        let path = store.staging_path().expect("a path");
        store.stage(path, key(), node(Content::EMPTY), cites, 0).expect("stage")
    };
    assert_eq!(killed_after(|store, _| drop(empty(store))).as_deref(), Some(&b""[..]));
    let written = killed_after(|store, _| {
        let cites = empty(store).cites;
        let node = node(Content::Inline("written".into()));
        let put = Change::Put { key: key(), node, cites, expect: Expect::Anything };
        store.commit(vec![put]).expect("commit");
    });
    assert_eq!(written.as_deref(), Some(&b"written"[..]));
}

/// A file that was closed, for a new name.
fn stage(store: &Handle, path: &str) -> std::path::PathBuf {
    let staged = store.staging_path().expect("a path");
    fs::write(&staged, body(SIZE)).expect("stages");
    let key = Key::parse(path.as_bytes()).expect("a key");
    store.stage(staged.clone(), key, node(Content::EMPTY), Cites::All, SIZE as u64).expect("stage");
    staged
}

fn is_there(store: &Handle, path: &str) -> bool {
    store
        .get(&Key::parse(path.as_bytes()).expect("a key"))
        .expect("get")
        .is_some_and(|record| record.is_live())
}

/// What stands in the way is a name that leads nowhere.
#[test]
fn what_cannot_be_stored_now_keeps_nothing_else_and_is_tried_again() {
    let home = tempfile::tempdir().expect("tempdir");
    let dir = home.path().join("data");
    Node::init(&dir).expect("init");
    let opened = Node::open(&dir).expect("open");
    let store = opened.create_store("home").expect("create");
    let (bad, _good) = (stage(&store, "bad"), stage(&store, "good"));
    opened.close().expect("closes");
    drop((store, opened));
    let aside = bad.with_extension("aside");
    fs::rename(&bad, home.path().join("aside")).expect("moves");
    std::os::unix::fs::symlink(&bad, &bad).expect("a loop");
    fs::write(&aside, "of no intent").expect("writes");

    let opened = Node::open(&dir).expect("opens");
    let store = opened.find("home").expect("is not broken");
    assert!(is_there(&store, "good") && !is_there(&store, "bad"));
    assert_eq!(store.intents().expect("intents").len(), 1);
    assert!(fs::symlink_metadata(&bad).is_ok() && !aside.exists(), "its file stays, and no other");
    opened.close().expect("closes");
    drop((store, opened));

    fs::remove_file(&bad).and_then(|()| fs::rename(home.path().join("aside"), &bad)).expect("moves back");
    let opened = Node::open(&dir).expect("opens");
    let store = opened.find("home").expect("home");
    assert!(is_there(&store, "bad"));
    assert_eq!(store.intents().expect("intents"), []);
}

#[test]
fn an_intent_that_cannot_be_read_keeps_nothing_else() {
    let home = tempfile::tempdir().expect("tempdir");
    let dir = home.path().join("data");
    Node::init(&dir).expect("init");
    let opened = Node::open(&dir).expect("open");
    let store = opened.create_store("home").expect("create");
    let staged = stage(&store, "good");
    let id = store.id();
    opened.close().expect("closes");
    drop((store, opened));
    let at = staged.parent().and_then(Path::parent).expect("the store's directory");
    let disk = Arc::new(RealDisk);
    let (mut log, _) = Log::open(disk, &at.join("log"), id, LogOptions::default(), None).expect("opens");
    log.append(&[RecordRef::Intent { body: b"nothing that makes sense" }]).expect("appends");
    log.close().expect("closes");
    let unknown = staged.with_extension("unknown");
    fs::write(&unknown, "of an intent that nobody can read").expect("writes");

    let opened = Node::open(&dir).expect("opens");
    let store = opened.find("home").expect("is not broken");
    assert!(is_there(&store, "good"));
    assert!(unknown.exists());
}

/// Its length was on the disk before its bytes were: made room for, as a download is.
#[test]
fn a_sync_covers_the_staged_files_that_the_log_names() {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/s")).expect("mkdir");
    let options = |disk: &SimDisk| OpenOptions {
        disk: Arc::new(disk.clone()),
        identity: Arc::new(Identity::from_seed([1; 32])),
        clock: Arc::new(ManualClock::at(1_795_300_000_000)),
        background: false,
        authority: Authority::Everyone,
    };
    let store = store::create(Path::new("/s"), &options(&disk)).expect("create");
    let staged = store.staging_path().expect("a path");
    let file = disk.open(&staged, Open::CreateNew).expect("stages");
    file.set_len(SIZE as u64).and_then(|()| file.sync_data()).expect("makes room");
    disk.sync_dir(staged.parent().expect("a directory")).expect("syncs");
    file.write_all_at(&body(SIZE), 0).expect("writes");
    store.stage(staged, key(), node(Content::EMPTY), Cites::All, SIZE as u64).expect("stage");
    let other = Key::parse(b"other").expect("a key");
    let put =
        Change::Put { key: other, node: node(Content::EMPTY), cites: Cites::All, expect: Expect::Anything };
    store.commit(vec![put]).expect("commit");
    store.sync().expect("the other one's fsync");
    for seed in 0..20 {
        let image = disk.crash_image(disk.ops(), seed);
        let dir = Path::new("/s").join(store.id().to_string());
        let store = store::open(&dir, store.id(), &options(&image)).expect("opens");
        store.recover_staged().expect("recovers");
        let record = store.get(&key()).expect("get").expect("is there");
        let content = record.winner().and_then(|h| h.node.as_ref()?.content().cloned()).expect("a file");
        let found = store.read(&content).and_then(|r| r.read_all()).expect("content");
        assert!(found == body(SIZE), "image {seed}");
    }
}

/// The applier moves them from memory to the state's file meanwhile: an opening removes the file of one that is missed.
#[test]
fn intents_are_listed_while_they_are_applied() {
    let home = tempfile::tempdir().expect("tempdir");
    let dir = home.path().join("data");
    Node::init(&dir).expect("init");
    let opened = Node::open(&dir).expect("open");
    let store = opened.create_store("home").expect("create");
    let done = AtomicBool::new(false);
    let missed = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Acquire) {
                store.maintain(false).expect("applies");
            }
        });
        let mut missed = 0;
        for _ in 0..200 {
            let path = store.staging_path().expect("a path");
            let intent = store.stage(path, key(), node(Content::EMPTY), Cites::All, 0).expect("stage");
            let lists = (0..20).map(|_| store.intents().expect("intents"));
            missed += lists.filter(|list| *list != [intent.clone()]).count();
            store.unstage(&intent).expect("unstage");
        }
        done.store(true, Ordering::Release);
        missed
    });
    assert_eq!(missed, 0);
    opened.close().expect("closes");
}
