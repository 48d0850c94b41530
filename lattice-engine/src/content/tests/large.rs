//! Files of very many runs: as sparse as they are long, so that they cost a test little.

use std::collections::HashSet;

use super::super::chunker::{BLOCK, ReadAt};
use super::super::layout::Runs;
use super::super::writer::Batch;
use super::{Fixture, noise};
use crate::content::ContentError;
use crate::entry::{Chunk, Content};

/// One block of data and one block of hole, over and over: 150 GiB in 2.4 million runs, where a list in one manifest could
/// have a million.
const PAIRS: u64 = 1_200_000;
const SIZE: u64 = PAIRS * 2 * BLOCK as u64;

fn large(fixture: &Fixture, block: &[u8]) -> Content {
    let inner = &fixture.store.inner;
    let _pin = fixture.store.pin();
    let (mut batch, mut runs) = (Batch::default(), Runs::default());
    let id = batch.add(inner, block).expect("stores");
    for _ in 0..PAIRS {
        runs.push(Chunk { id: Some(id), len: BLOCK as u64 }).expect("below the limit");
        runs.push(Chunk { id: None, len: BLOCK as u64 }).expect("below the limit");
    }
    batch.finish(inner, runs).expect("finishes")
}

/// The file, with a change at one place; what it is elsewhere is not asked for.
struct Changed<'a> {
    block: &'a [u8],
    at: u64,
    bytes: &'a [u8],
}

impl ReadAt for Changed<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
        for (i, byte) in buf.iter_mut().enumerate() {
            let at = offset + i as u64;
            let (pair, inside) = (at / BLOCK as u64, (at % BLOCK as u64) as usize);
            let old = if pair.is_multiple_of(2) { self.block[inside] } else { 0 };
            let new = at.checked_sub(self.at).and_then(|i| self.bytes.get(usize::try_from(i).ok()?));
            *byte = new.copied().unwrap_or(old);
        }
        Ok(())
    }
}

#[test]
fn a_file_of_more_runs_than_one_manifest_holds_is_read_changed_and_collected() {
    let mut fixture = Fixture::new();
    let block = noise(1, BLOCK);
    let content = large(&fixture, &block);
    assert_eq!(content.size(), SIZE);
    fixture.settle();
    fixture.reopen();

    let mut buf = vec![1; 3 * BLOCK];
    for pair in [0, PAIRS / 2, PAIRS - 2] {
        let read = fixture.store.read_at(&content, &mut buf, pair * 2 * BLOCK as u64).expect("reads");
        assert_eq!(read, buf.len());
        assert!(buf[..BLOCK] == block && buf[BLOCK..2 * BLOCK].iter().all(|b| *b == 0), "pair {pair}");
    }

    let (at, bytes) = (PAIRS / 3 * 2 * BLOCK as u64 + 100, noise(2, 4096));
    let stored = || fixture.store.stats().expect("counts").plain_bytes;
    let before = stored();
    let changed = Changed { block: &block, at, bytes: &bytes };
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
    let content = large(&fixture, &noise(1, BLOCK));
    let reader = fixture.store.reader(&content).expect("opens");
    let collect = || {
        let token = fixture.store.begin_gc().expect("begins");
        fixture.store.collect(token, &HashSet::new()).expect("collects").chunks
    };
    assert_eq!(collect(), 0);
    drop(reader);
    assert!(collect() > 10, "several manifests and a chunk");
}
