//! Content that isn't there when a store opens. Where a power loss has taken it, the log ends before who names it
//! (`power_loss.rs`); where it is absent for any other reason, nothing is taken from the log.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lattice_engine::clock::ManualClock;
use lattice_engine::content::MAX;
use lattice_engine::disk::Disk;
use lattice_engine::disk::sim::{Rng, SimDisk};
use lattice_engine::entry::{Attrs, Chunk, Content, Entry, Node, Value, genesis_from};
use lattice_engine::hlc::Hlc;
use lattice_engine::id::{ChunkId, FileId, NodeId, StoreId};
use lattice_engine::identity::Identity;
use lattice_engine::key::Key;
use lattice_engine::store::{
    self, Authority, Change, Cites, Expect, Handle, KeepHistory, OpenOptions, RenameHow,
};
use lattice_engine::sync::Range;

const NOW: u64 = 1_795_300_000_000;
const OURS: u8 = 1;
const PEER: u8 = 2;

fn genesis() -> Entry {
    genesis_from(&Identity::from_seed([OURS; 32]), Hlc::new(NOW - 1, 0), [3; 32], Vec::new())
        .expect("a genesis")
}

fn dir() -> PathBuf {
    Path::new("/s").join(StoreId::of_genesis(&genesis().id).to_string())
}

fn options(disk: &SimDisk, seed: u8) -> OpenOptions {
    OpenOptions {
        disk: Arc::new(disk.clone()),
        identity: Arc::new(Identity::from_seed([seed; 32])),
        clock: Arc::new(ManualClock::at(NOW)),
        background: false,
        authority: Authority::Everyone,
    }
}

fn make(seed: u8) -> (SimDisk, Handle) {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/s")).expect("mkdir");
    let store = store::adopt(Path::new("/s"), &genesis(), &options(&disk, seed)).expect("adopt");
    (disk, store)
}

/// Killed as things are, without its state where `anew`, and opened again.
fn killed(disk: &SimDisk, anew: bool) -> Handle {
    let image = disk.kill_image(disk.ops());
    if anew {
        image.remove(&dir().join("state.redb")).expect("rm");
    }
    let id = StoreId::of_genesis(&genesis().id);
    store::open(&dir(), id, &options(&image, OURS)).expect("opens")
}

fn key(path: &str) -> Key {
    Key::parse(path.as_bytes()).expect("a key")
}

fn put(store: &Handle, path: &str, content: Content) {
    let node = Node { file_id: FileId([7; 16]), value: Value::File(content), attrs: Attrs::default() };
    let put = Change::Put { key: key(path), node, cites: Cites::All, expect: Expect::Anything };
    store.commit(vec![put]).expect("commit");
}

/// More than an entry holds, and different for each `n`.
fn large(store: &Handle, n: u8) -> Content {
    let bytes: Vec<u8> = (0..6_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ n).collect();
    store.put_content(&bytes).expect("content")
}

/// A file of a peer's, none of which has come.
fn absent(n: u32) -> Content {
    let mut id = [9; 32];
    id[..4].copy_from_slice(&n.to_le_bytes());
    Content::Chunks(vec![Chunk { id: Some(ChunkId(id)), len: 6_000 }])
}

fn content(store: &Handle, path: &str) -> Option<Content> {
    store.get(&key(path)).expect("get")?.winner()?.node.as_ref()?.content().cloned()
}

fn last(store: &Handle) -> u64 {
    store.publish().expect("publish").seq(&Identity::from_seed([OURS; 32]).node_id())
}

fn aside(disk: &SimDisk) -> usize {
    disk.files().keys().filter(|path| path.to_string_lossy().contains("/cut-")).count()
}

/// Superseded content of which a collection has left nothing, and the state made anew from the log.
#[test]
fn what_a_collection_took_does_not_end_the_log() {
    for close in [false, true] {
        let (disk, store) = make(OURS);
        for n in 0..3 {
            put(&store, "f", large(&store, n));
        }
        store.maintain(false).expect("turns");
        assert!(store.gc(KeepHistory::Heads).expect("collects").chunks > 0);
        if close {
            store.close().expect("closes");
        }
        let again = killed(&disk, true);
        assert_eq!(last(&again), 3, "closed: {close}");
        let kept = content(&again, "f").expect("is there");
        assert!(again.read(&kept).and_then(|r| r.read_all()).is_ok());
    }
}

/// A pack that is gone is damage, to be told of: the entries that name it were promised.
#[test]
fn a_pack_that_is_gone_does_not_end_the_log() {
    let (disk, store) = make(OURS);
    for n in 0..3 {
        put(&store, &format!("f{n}"), large(&store, n));
    }
    store.maintain(true).expect("turns");
    for path in disk.files().keys().filter(|path| path.extension().is_some_and(|e| e == "pack")) {
        disk.remove(path).expect("rm");
    }
    let again = killed(&disk, true);
    assert_eq!(last(&again), 3);
    let damaged = content(&again, "f1").expect("is named");
    assert!(again.read(&damaged).and_then(|r| r.read_all()).is_err());
}

/// What a peer wrote, as this node has it before any content has come.
fn with_files_of_a_peer(files: u32) -> (SimDisk, Handle) {
    let (_, peer) = make(PEER);
    for n in 0..files {
        put(&peer, &format!("dir/f{n}"), absent(n));
    }
    let author = Identity::from_seed([PEER; 32]).node_id();
    peer.publish().expect("publish");
    let sent = peer.range(&[Range { author, from: 1, to: u64::from(files) }], usize::MAX).expect("range");
    let (disk, store) = make(OURS);
    store.receive(sent, NodeId([99; 32])).expect("takes them");
    store.sync().expect("syncs");
    (disk, store)
}

/// A group of several entries: what is put stands in another one than what is deleted.
#[test]
fn a_kill_after_a_large_directory_of_a_peer_was_renamed_loses_nothing() {
    let (disk, store) = with_files_of_a_peer(2_500);
    let rename = Change::Rename { from: key("dir"), to: key("to"), how: RenameHow::Replace };
    store.commit(vec![rename]).expect("renames");
    put(&store, "after", large(&store, 1));
    let entries = store.status().expect("status").entries;
    for anew in [false, true] {
        let again = killed(&disk, anew);
        assert_eq!(again.status().expect("status").entries, entries, "anew: {anew}");
        assert_eq!(content(&again, "to/f2499"), Some(absent(2_499)));
        assert_eq!(content(&again, "dir/f0"), None);
        assert!(content(&again, "after").is_some());
    }
    assert_eq!(aside(&disk), 0);
}

/// An older version put back, another name for the same bytes, and a change in a part of them.
#[test]
fn a_kill_after_something_was_made_of_what_is_not_here_loses_nothing() {
    let (disk, store) = with_files_of_a_peer(3);
    put(&store, "dir/f0", large(&store, 0));
    put(&store, "dir/f0", absent(0));
    put(&store, "copy", absent(1));
    let (Content::Chunks(mut theirs), Content::Chunks(ours)) = (absent(2), large(&store, 2)) else {
        panic!("both are chunks in the entry");
    };
    theirs.extend(ours);
    put(&store, "dir/f2", Content::Chunks(theirs.clone()));
    for anew in [false, true] {
        let again = killed(&disk, anew);
        assert_eq!(last(&again), 4, "anew: {anew}");
        assert_eq!(content(&again, "dir/f0"), Some(absent(0)));
        assert_eq!(content(&again, "copy"), Some(absent(1)));
        assert_eq!(content(&again, "dir/f2"), Some(Content::Chunks(theirs.clone())));
    }
}

/// Its list of chunks is here, and of the chunks only those that were changed.
#[test]
fn a_kill_after_a_change_in_a_large_file_of_which_only_the_list_is_here_loses_nothing() {
    let (_, peer) = make(PEER);
    // More chunks than an entry names itself.
    let mut bytes = vec![0; 20 * MAX];
    Rng::new(1).fill(&mut bytes);
    let theirs = peer.put_content(&bytes).expect("content");
    put(&peer, "large", theirs.clone());
    peer.publish().expect("publish");
    let author = Identity::from_seed([PEER; 32]).node_id();
    let sent = peer.range(&[Range { author, from: 1, to: 1 }], usize::MAX).expect("range");
    let (disk, store) = make(OURS);
    store.receive(sent, NodeId([99; 32])).expect("takes it");
    let Content::Manifest { manifest: Chunk { id: Some(list), .. }, .. } = &theirs else { panic!("a list") };
    let list_bytes = peer.content().get_chunk(list).expect("is there");
    store.content().put_chunk(list, &list_bytes).expect("comes first");
    store.sync().expect("syncs");
    let changed = 0..10;
    bytes[..10].fill(0xaa);
    let ours = store
        .content()
        .update(&theirs, bytes.len() as u64, std::slice::from_ref(&changed), &bytes)
        .expect("changes");
    assert!(store.content().missing(&ours).expect("looks").len() > 10, "most of it isn't here");
    put(&store, "large", ours.clone());
    for anew in [false, true] {
        assert_eq!(content(&killed(&disk, anew), "large"), Some(ours.clone()), "anew: {anew}");
    }
}

/// What really is lost, behind which the log goes on: that is kept aside, to the last byte.
#[test]
fn what_is_cut_is_kept_aside() {
    let (disk, store) = make(OURS);
    put(&store, "promised", large(&store, 0));
    store.maintain(true).expect("turns");
    let before = disk.files();
    put(&store, "lost", absent(1));
    put(&store, "after", large(&store, 2));
    let image = disk.kill_image(disk.ops());
    let log = |files: &std::collections::BTreeMap<PathBuf, Vec<u8>>| {
        files.iter().find(|(path, _)| path.extension().is_some_and(|e| e == "log")).map(|(_, b)| b.clone())
    };
    let (was, is) = (log(&before).expect("a log"), log(&image.files()).expect("a log"));
    let again =
        store::open(&dir(), StoreId::of_genesis(&genesis().id), &options(&image, OURS)).expect("opens");
    assert_eq!(last(&again), 1);
    let files = image.files();
    let kept: Vec<_> = files.iter().filter(|(path, _)| path.to_string_lossy().contains("/cut-")).collect();
    assert_eq!(kept.len(), 1);
    let (name, kept) = (kept[0].0.to_string_lossy(), kept[0].1);
    let at = name.rsplit('-').next().and_then(|at| usize::from_str_radix(at, 16).ok()).expect("an offset");
    // Behind the records there is room for more.
    let is_room = |bytes: &[u8]| bytes.iter().all(|b| *b == 0);
    assert!(was[..at] == is[..at] && is_room(&was[at..]), "from where it was lost");
    let (gone, room) = is[at..].split_at(kept.len());
    assert!(kept == gone && !gone.is_empty() && is_room(room));
}
