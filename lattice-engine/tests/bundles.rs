//! A bundle that is refused has changed nothing: no entry, no chunk, no store, no byte of the log.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lattice_engine::clock::ManualClock;
use lattice_engine::entry::{Attrs, Node as KeyNode, Value};
use lattice_engine::id::FileId;
use lattice_engine::key::Key;
use lattice_engine::node::Node;
use lattice_engine::store::{Change, Cites, Expect, Handle};

const NOW: u64 = 1_795_300_000_000;

fn node(dir: &Path) -> Node {
    Node::init(dir).expect("init");
    Node::open_with(dir, Arc::new(ManualClock::at(NOW))).expect("open")
}

fn write(store: &Handle, path: &str, bytes: &[u8]) {
    let content = store.put_content(bytes).expect("content");
    let node = KeyNode { file_id: FileId([1; 16]), value: Value::File(content), attrs: Attrs::default() };
    let key = Key::parse(path.as_bytes()).expect("a key");
    let put = Change::Put { key, node, cites: Cites::All, expect: Expect::Anything };
    store.commit(vec![put]).expect("put");
}

/// Bytes that don't compress and are cut into many chunks.
fn noise(len: usize, mut seed: u64) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    };
    (0..len).map(|_| next()).collect()
}

fn bundle(store: &Handle) -> Vec<u8> {
    let mut bundle = Vec::new();
    store.export("shared", &mut bundle, &mut |_, _| {}).expect("export");
    bundle
}

fn import(node: &Node, bundle: &[u8]) -> Result<u64, String> {
    let done = node.import(&mut &bundle[..], &mut |_, _| {});
    done.map(|(_, report)| report.new_entries).map_err(|e| e.to_string())
}

/// Logs, packs and what lies beside them; not redb's file, which is only a cache and is written when it likes.
fn on_disk(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_none_or(|e| e != "redb") {
                found.insert(path.clone(), fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

/// Where a bundle is damaged: everywhere in its first part, then here and there.
fn places(len: usize) -> impl Iterator<Item = usize> {
    (0..len.min(1200)).step_by(7).chain((1200..len).step_by(16_411)).chain(len.saturating_sub(300)..len)
}

#[test]
fn one_flipped_bit_changes_nothing() {
    let home = tempfile::tempdir().expect("tempdir");
    let (a_dir, c_dir) = (home.path().join("a"), home.path().join("c"));
    let (a, b) = (node(&a_dir), node(&home.path().join("b")));
    let store = a.create_store("shared").expect("create");
    write(&store, "f", b"old");
    import(&b, &bundle(&store)).expect("import");
    let theirs = b.store(store.id()).expect("open");
    write(&theirs, "f", b"new");
    write(&theirs, "chunks", &noise(200_000, 1));
    // More than 16 chunks: with a manifest.
    write(&theirs, "manifest", &noise(2_000_000, 2));
    write(&theirs, "last", b"x");
    let whole = bundle(&theirs);
    store.sync().expect("sync");
    store.maintain(true).expect("nothing is left to do");
    let c = node(&c_dir);
    let (before, empty) = (on_disk(&a_dir), on_disk(&c_dir));
    let name = whole.windows(6).position(|w| w == b"shared").expect("its name");
    let mut refused = 0;
    for at in places(whole.len()) {
        // The name that the bundle suggests for the store is signed by nobody.
        if (name..name + "shared".len()).contains(&at) {
            continue;
        }
        let mut bad = whole.clone();
        bad[at] ^= 1 << (at % 8);
        if let Err(why) = import(&c, &bad) {
            refused += 1;
            assert!(
                why.to_lowercase().contains("bundle") || why.contains("Nothing was changed"),
                "byte {at}: {why}"
            );
            assert!(on_disk(&c_dir) == empty, "byte {at}: {why}");
            assert!(c.stores().expect("stores").is_empty(), "byte {at}: a store was made");
            import(&a, &bad).expect_err("here as there");
            assert!(on_disk(&a_dir) == before, "byte {at}: {why}");
        } else {
            panic!(
                "byte {at} was taken: {:?}",
                String::from_utf8_lossy(&whole[at.saturating_sub(8)..at + 8])
            );
        }
    }
    assert!(refused > 300, "{refused}");
    for len in places(whole.len()) {
        import(&c, &whole[..len]).expect_err("cut off");
    }
    assert!(on_disk(&c_dir) == empty, "cut off");
    assert_eq!(import(&a, &whole), Ok(4));
    assert_eq!(import(&c, &whole), Ok(5));
}

#[test]
fn both_branches_of_a_fork_come_in_by_bundles_and_go_out_in_one() {
    let home = tempfile::tempdir().expect("tempdir");
    let (a_dir, b_dir) = (home.path().join("a"), home.path().join("b"));
    let (a, b) = (node(&a_dir), node(&b_dir));
    let store = a.create_store("shared").expect("create");
    write(&store, "f", b"1");
    import(&b, &bundle(&store)).expect("import");
    let id = store.id();
    // The node's data is copied, and both copies go on.
    a.close().expect("close");
    drop((a, store));
    let copy = home.path().join("copy");
    let status = std::process::Command::new("cp").arg("-a").arg(&a_dir).arg(&copy).status().expect("cp");
    assert!(status.success());
    let open = |dir: &Path| Node::open_with(dir, Arc::new(ManualClock::at(NOW))).expect("open");
    let (a, twin) = (open(&a_dir), open(&copy));
    let of = |n: &Node| n.store(id).expect("open");
    write(&of(&a), "f", b"2");
    import(&b, &bundle(&of(&a))).expect("the first of them");
    let theirs = of(&b);
    write(&of(&twin), "f", b"two");
    import(&b, &bundle(&of(&twin))).expect("the other");
    let heads = |store: &Handle| {
        store.get(&Key::parse(b"f").expect("a key")).expect("get").expect("there").live_heads().count()
    };
    assert_eq!((heads(&theirs), theirs.forks().len()), (2, 1));
    theirs.publish().expect("published");
    let again = node(&home.path().join("again"));
    import(&again, &bundle(&theirs)).expect("both");
    let copied = again.store(id).expect("open");
    assert_eq!((heads(&copied), copied.forks().len()), (2, 1));
    assert_eq!(copied.publish().expect("published").digest(), theirs.published().digest());
    assert!(copied.fsck(true, &mut |_| {}).expect("fsck").problems.is_empty());
}
