//! Files of very many runs: as sparse as they are long, so that they cost a test little.

use std::collections::HashSet;

use super::super::chunker::{BLOCK, ReadAt};
use super::super::layout::Runs;
use super::super::manifest::name;
use super::super::writer::Batch;
use super::{Fixture, noise};
use crate::content::ContentError;
use crate::entry::{Chunk, Content};

/// One block of data and one of hole, over and over: 75 GiB in 1.2 million runs, which are more than 2^20.
const PAIRS: u64 = 600_000;
const SIZE: u64 = PAIRS * 2 * BLOCK as u64;
/// Blocks that differ; they come in no order, so that no two parts of the list are alike.
const BLOCKS: usize = 256;

/// As in a file whose blocks all differ, one in 64 has a name behind which a manifest ends.
fn blocks() -> Vec<Vec<u8>> {
    let ends = |block: &Vec<u8>| name(block).0[0] & 0x7f == 0;
    let some = |wanted: bool, count| {
        let all = (0u64..).map(|seed| noise(seed, BLOCK));
        all.filter(move |block| ends(block) == wanted).take(count).collect::<Vec<_>>()
    };
    [some(true, BLOCKS / 64), some(false, BLOCKS - BLOCKS / 64)].concat()
}

/// Which block is data of a pair.
fn block_of(pair: u64) -> usize {
    (pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize % BLOCKS
}

fn large(fixture: &Fixture, blocks: &[Vec<u8>]) -> Content {
    let inner = &fixture.store.inner;
    let _pin = fixture.store.pin();
    let (mut batch, mut runs) = (Batch::default(), Runs::default());
    let ids: Vec<_> = blocks.iter().map(|block| batch.add(inner, block).expect("stores")).collect();
    for pair in 0..PAIRS {
        runs.push(Chunk { id: Some(ids[block_of(pair)]), len: BLOCK as u64 }).expect("below the limit");
        runs.push(Chunk { id: None, len: BLOCK as u64 }).expect("below the limit");
    }
    batch.finish(inner, runs).expect("finishes")
}

/// The file, with a change at one place; what it is elsewhere is not asked for.
struct Changed<'a> {
    blocks: &'a [Vec<u8>],
    at: u64,
    bytes: &'a [u8],
}

impl ReadAt for Changed<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        for (i, byte) in buf.iter_mut().enumerate() {
            let at = offset + i as u64;
            let (at_block, inside) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
            let data = at_block.is_multiple_of(2);
            let old = if data { self.blocks[block_of(at_block / 2)][inside] } else { 0 };
            let new = at.checked_sub(self.at).and_then(|i| self.bytes.get(usize::try_from(i).ok()?));
            *byte = new.copied().unwrap_or(old);
        }
        Ok(())
    }
}

#[test]
fn a_file_of_more_runs_than_one_manifest_holds_is_read_changed_and_collected() {
    let mut fixture = Fixture::new();
    let blocks = blocks();
    let content = large(&fixture, &blocks);
    assert_eq!(content.size(), SIZE);
    fixture.settle();
    fixture.reopen();

    let mut buf = vec![1; 3 * BLOCK];
    for pair in [0, PAIRS / 2, PAIRS - 2] {
        let read = fixture.store.read_at(&content, &mut buf, pair * 2 * BLOCK as u64).expect("reads");
        assert_eq!(read, buf.len());
        assert!(
            buf[..BLOCK] == blocks[block_of(pair)] && buf[BLOCK..2 * BLOCK].iter().all(|b| *b == 0),
            "pair {pair}"
        );
    }

    let (at, bytes) = (PAIRS / 3 * 2 * BLOCK as u64 + 100, noise(2, 4096));
    let stored = || fixture.store.stats().expect("counts").plain_bytes;
    let before = stored();
    let changed = Changed { blocks: &blocks, at, bytes: &bytes };
    let new = fixture.store.update(&content, SIZE, &[at..at + 4096], &changed).expect("updates");
    let cost = stored() - before;
    assert!(cost < 3 * BLOCK as u64, "{cost} bytes for 4096 in {SIZE}");
    let mut found = vec![0; 4096];
    fixture.store.read_at(&new, &mut found, at).expect("reads");
    assert_eq!(found, bytes);
    assert_eq!(fixture.store.missing(&new).expect("looks"), []);

    let live: HashSet<_> = fixture.store.ids_of(&new).expect("resolves").into_iter().collect();
    let token = fixture.store.begin_gc().expect("begins");
    fixture.store.collect(token, &live).expect("collects");
    fixture.store.read_at(&new, &mut found, at).expect("reads");
    assert_eq!(found, bytes);
    let e = fixture.store.read_at(&content, &mut found, at).expect_err("it is gone");
    assert!(matches!(e, ContentError::Missing { .. }), "{e}");
}

#[test]
fn a_collection_spares_the_manifests_of_an_open_file() {
    let fixture = Fixture::new();
    let content = large(&fixture, &blocks());
    let reader = fixture.store.reader(&content).expect("opens");
    let collect = || {
        let token = fixture.store.begin_gc().expect("begins");
        fixture.store.collect(token, &HashSet::new()).expect("collects").chunks
    };
    assert_eq!(collect(), 0);
    drop(reader);
    let collected = collect();
    assert!(collected > BLOCKS as u64 + 100, "{collected} chunks: the blocks and many manifests");
}
