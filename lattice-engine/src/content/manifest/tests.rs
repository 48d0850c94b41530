//! Trees of runs: every list reads back, a change is local, and what nobody writes is refused.

use std::collections::HashMap;

use super::*;
use crate::content::layout::MAX_CHUNK_LEN;

type Kept = HashMap<ChunkId, Bytes>;

fn run(n: u64) -> Chunk {
    Chunk { id: Some(name(&n.to_le_bytes())), len: 20_000 + n % 1000 }
}

fn list(n: u64) -> Vec<Chunk> {
    (0..n).map(run).collect()
}

fn size(chunks: &[Chunk]) -> u64 {
    chunks.iter().map(|c| c.len).sum()
}

fn tree(chunks: &[Chunk], kept: &mut Kept) -> ChunkId {
    let top = build(chunks, &mut |bytes| {
        kept.insert(name(bytes), Bytes::copy_from_slice(bytes));
        Ok(name(bytes))
    });
    top.expect("builds").id.expect("a manifest is a chunk")
}

fn read(top: ChunkId, size: u64, kept: &Kept) -> Result<Layout> {
    load(top, size, &mut |id| Ok(kept.get(id).cloned())).map(|whole| whole.expect("all is there"))
}

fn refused(bytes: Vec<u8>, size: u64) -> String {
    let (id, bytes) = (name(&bytes), Bytes::from(bytes));
    read(id, size, &Kept::from([(id, bytes)])).expect_err("invalid").to_string()
}

#[test]
fn lists_of_all_lengths_read_back() {
    for n in [17, 63, 64, 65, 1000, 1024, 1025, 20_000, 300_000] {
        let (chunks, mut kept) = (list(n), Kept::new());
        let top = tree(&chunks, &mut kept);
        let layout = read(top, size(&chunks), &kept).expect("valid");
        assert_eq!(layout.chunks(), chunks);
        assert_eq!(layout.ids().count(), chunks.len() + kept.len());
        assert!(kept.values().all(|bytes| bytes.len() <= MAX_NODE_LEN));
        assert_eq!(name_of_list(&chunks), top);
    }
}

#[test]
fn a_list_is_found_by_offset() {
    let layout = Layout::new(list(40));
    assert_eq!((layout.find(0), layout.find(20_000), layout.find(layout.size() - 1)), (0, 1, 39));
}

#[test]
fn more_than_the_old_limit_reads_back_in_nodes_of_the_least_size() {
    // Runs whose every name ends a node, so that the tree is as deep as it gets.
    let mut ends_it = name(b"x");
    ends_it.0[0] = 0;
    let chunks = vec![Chunk { id: Some(ends_it), len: MAX_CHUNK_LEN }; (1 << 20) + 5];
    let mut kept = Kept::new();
    let top = tree(&chunks, &mut kept);
    let layout = read(top, size(&chunks), &kept).expect("valid");
    assert!(layout.chunks() == chunks, "another list");
    assert!(kept.len() < 200, "{} nodes are kept of a list that repeats itself", kept.len());
}

#[test]
fn a_change_makes_one_path_anew() {
    let chunks = list(16_384);
    let mut kept = Kept::new();
    tree(&chunks, &mut kept);
    for at in [0, 5_000, 16_383] {
        let (mut changed, mut with) = (chunks.clone(), kept.clone());
        changed[at] = run(1 << 40);
        tree(&changed, &mut with);
        let new: usize = with.iter().filter(|(id, _)| !kept.contains_key(*id)).map(|(_, b)| b.len()).sum();
        assert!(new < 40_000, "{new} bytes of manifests for one run of 16,384");
        changed.insert(at, run(1 << 41));
        let before = with.clone();
        tree(&changed, &mut with);
        let new: usize = with.iter().filter(|(id, _)| !before.contains_key(*id)).map(|(_, b)| b.len()).sum();
        assert!(new < 80_000, "{new} bytes of manifests for one run more");
    }
}

#[test]
fn the_tree_is_frozen() {
    assert_eq!(
        name_of_list(&list(20_000)).to_string(),
        "d6a39e07cd72882d2adc32315656d593b9ef7f45500a8577bce9c062fe4cc146"
    );
}

#[test]
fn a_leaf_that_nobody_writes_is_refused() {
    let hole = Chunk { id: None, len: 1 << 20 };
    let over = Chunk { len: MAX_CHUNK_LEN + 1, ..run(0) };
    let empty = Chunk { len: 0, ..run(0) };
    let with = |more: &[Chunk]| list(20).into_iter().chain(more.iter().copied()).collect::<Vec<_>>();
    let cases = [
        ("so short", list(3)),
        ("out of range", with(&[over])),
        ("out of range", with(&[empty])),
        ("adjacent", with(&[hole, hole])),
        ("no manifest ends", list(1024)),
        ("names too much", list(1025)),
    ];
    for (why, chunks) in cases {
        let e = refused(leaf(&chunks), size(&chunks));
        assert!(e.contains(why), "{e}");
    }
    let (mut bytes, size) = (leaf(&list(20)), size(&list(20)));
    assert!(refused(bytes.clone(), size + 1).contains("add up"));
    bytes.extend_from_slice(&[0x20, 1]);
    assert!(refused(bytes, size).contains("canonical"));
    assert!(refused(vec![0; MAX_NODE_LEN + 1], 1).contains("too long"));
}

#[test]
fn a_tree_that_nobody_builds_is_refused() {
    let (chunks, mut kept) = (list(2_000), Kept::new());
    tree(&chunks, &mut kept);
    let mut leaves = Vec::new();
    for node in nodes(&chunks, |c| c.id.as_ref()) {
        let bytes = leaf(node);
        leaves.push(Child { id: name(&bytes), len: bytes.len() as u64, size: size(node) });
    }
    assert!(leaves.len() > 4, "{} leaves", leaves.len());
    let try_top = |level: u32, children: &[Child], kept: &Kept| {
        let (bytes, mut kept) = (inner(level, children), kept.clone());
        let (id, size) = (name(&bytes), children.iter().map(|c| c.size).sum());
        kept.insert(id, bytes.into());
        load(id, size, &mut |id| Ok(kept.get(id).cloned())).map_err(|e| e.to_string())
    };
    assert_eq!(try_top(1, &leaves, &kept).expect("as built").expect("whole").chunks(), chunks);
    let e = |level, children: &[Child]| try_top(level, children, &kept).expect_err("invalid");
    // The last leaf ends early, which only the very last of a level may.
    let mut moved = leaves.clone();
    let end = moved.len() - 1;
    moved.swap(0, end);
    assert!(e(1, &moved).contains("no manifest ends"));
    assert!(e(1, &leaves[..1]).contains("stands for nothing"));
    assert!(e(2, &leaves).contains("its parent says"));
    assert!(e(5, &leaves).contains("too deep"));
    assert!(e(0, &leaves).contains("either runs or manifests"));
    let mut longer = leaves.clone();
    longer[0].len += 1;
    assert!(e(1, &longer).contains("its parent says"));
    let mut sizes = leaves.clone();
    (sizes[0].size, sizes[1].size) = (sizes[0].size + 1, sizes[1].size - 1);
    assert!(e(1, &sizes).contains("add up"));
    // What isn't there leaves the list out and is no error.
    kept.remove(&leaves[2].id);
    assert_eq!(try_top(1, &leaves, &kept).expect("no error"), None);
}

#[test]
fn a_tree_that_names_itself_over_and_over_ends_at_the_limit() {
    let mut kept = Kept::new();
    let mut id = name(b"ends every node");
    id.0[0] = 0;
    let chunks = vec![Chunk { id: Some(id), len: 1 }; MIN_NODE];
    let bytes = leaf(&chunks);
    let mut child = Child { id: name(&bytes), len: bytes.len() as u64, size: size(&chunks) };
    kept.insert(child.id, bytes.into());
    for level in 1..=MAX_LEVEL {
        let bytes = inner(level, &vec![child; MAX_NODE]);
        let (id, len, size) = (name(&bytes), bytes.len() as u64, child.size * MAX_NODE as u64);
        child = Child { id, len, size };
        kept.insert(id, bytes.into());
    }
    let read = load_at_most(1 << 18, child.id, child.size, &mut |id| Ok(kept.get(id).cloned()));
    let e = read.expect_err("too many");
    assert!(matches!(e, ContentError::TooManyChunks { .. }), "{e}");
}
