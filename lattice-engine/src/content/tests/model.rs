//! Put, stream, read, update: against a plain vector.

use std::ops::Range;

use proptest::prelude::*;

use super::super::{BLOCK, ContentStore};
use super::{Fixture, noise, read, text};
use crate::entry::{Chunk, Content};

#[derive(Debug, Clone)]
enum Edit {
    Write { at: u64, len: usize, kind: u8, seed: u64 },
    Resize(u64),
}

fn bytes(kind: u8, seed: u64, len: usize) -> Vec<u8> {
    match kind % 4 {
        0 => vec![0; len],
        1 => text(seed, len),
        _ => noise(seed, len),
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let len = prop_oneof![1usize..6000, 1usize..200_000];
    prop_oneof![
        4 => (0u64..2_000_000, len, any::<u8>(), any::<u64>())
            .prop_map(|(at, len, kind, seed)| Edit::Write { at, len, kind, seed }),
        1 => (0u64..2_000_000).prop_map(Edit::Resize),
        1 => (0u64..8000).prop_map(Edit::Resize),
        1 => (0u64..30).prop_map(|n| Edit::Resize(n * BLOCK as u64)),
    ]
}

/// Applies an edit to the model; the range that it made dirty.
fn apply(model: &mut Vec<u8>, edit: &Edit) -> Option<Range<u64>> {
    match edit {
        Edit::Resize(size) => {
            model.resize(*size as usize, 0);
            None
        }
        Edit::Write { at, len, kind, seed } => {
            let (start, end) = (*at as usize, *at as usize + len);
            if model.len() < end {
                model.resize(end, 0);
            }
            model[start..end].copy_from_slice(&bytes(*kind, *seed, *len));
            Some(start as u64..end as u64)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// An update reads back as the new bytes, and is the very content that storing them afresh gives.
    #[test]
    fn updates_are_what_storing_afresh_gives(
        runs in prop::collection::vec((any::<u8>(), any::<u64>(), 1usize..300_000), 0..8),
        commits in prop::collection::vec(prop::collection::vec(edit(), 1..4), 1..6),
    ) {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let mut model: Vec<u8> = runs.iter().flat_map(|(kind, seed, len)| bytes(*kind, *seed, *len)).collect();
        let mut content = store.put(&model).expect("puts");
        for edits in &commits {
            let before = model.len() as u64;
            let dirty: Vec<_> = {
                let mut smallest = before;
                let mut dirty = Vec::new();
                for edit in edits {
                    dirty.extend(apply(&mut model, edit));
                    smallest = smallest.min(model.len() as u64);
                }
                // What was cut off and grew again is zero now: a caller knows that it changed.
                if smallest < before {
                    dirty.push(smallest..before);
                }
                dirty
            };
            content = store.update(&content, model.len() as u64, &dirty, &model).expect("updates");
            prop_assert!(read(store, &content) == model);
            prop_assert_eq!(&content, &store.put(&model).expect("puts"));
        }
    }

    /// However a stream comes in, it is the same content as in one piece, and any range of it reads back.
    #[test]
    fn streams_and_ranges(
        runs in prop::collection::vec((any::<u8>(), any::<u64>(), 1usize..900_000), 0..5),
        piece in 1usize..700_000,
        ranges in prop::collection::vec((any::<prop::sample::Index>(), 0usize..600_000), 0..12),
    ) {
        let fixture = Fixture::new();
        let store = &fixture.store;
        let model: Vec<u8> = runs.iter().flat_map(|(kind, seed, len)| bytes(*kind, *seed, *len)).collect();
        let mut writer = store.writer();
        for part in model.chunks(piece) {
            writer.write(part).expect("writes");
        }
        let content = writer.finish().expect("finishes");
        prop_assert_eq!(&content, &store.put(&model).expect("puts"));
        prop_assert_eq!(content.size(), model.len() as u64);
        let reader = store.reader(&content).expect("opens");
        for (at, len) in ranges {
            let at = at.index(model.len() + 1);
            let mut out = vec![0xaa; len];
            let n = reader.read_at(&mut out, at as u64).expect("reads");
            prop_assert_eq!(n, len.min(model.len() - at));
            prop_assert!(out[..n] == model[at..at + n]);
        }
    }
}

#[test]
fn small_values_are_inline_and_reach_no_pack() {
    let fixture = Fixture::new();
    assert_eq!(fixture.store.put(&[7; 4096]).expect("puts"), Content::Inline(vec![7; 4096].into()));
    assert!(matches!(fixture.store.put(&[7; 4097]).expect("puts"), Content::Chunks(c) if c.len() == 1));
    let empty = fixture.store.writer().finish().expect("finishes");
    assert_eq!(empty, Content::EMPTY);
    assert_eq!(fixture.store.stats().expect("counts").chunks, 1);
}

#[test]
fn a_sparse_file_costs_nothing_and_its_ends_are_found() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let size = 2 << 30;
    let middle = 1 << 30;
    let data = noise(5, 4096);
    /// Reads anywhere but in the dirty range would be a failure of the promise that holes are not read.
    struct Only(u64, Vec<u8>);
    impl super::super::ReadAt for Only {
        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
            for (i, byte) in buf.iter_mut().enumerate() {
                let at = offset + i as u64;
                *byte = at.checked_sub(self.0).and_then(|i| self.1.get(i as usize)).copied().unwrap_or(0);
            }
            assert!(offset.abs_diff(self.0) < 1 << 20, "read a hole at {offset}");
            Ok(())
        }
    }
    let source = Only(middle + 100, data.clone());
    let empty = store.update(&Content::EMPTY, size, &[], &source).expect("grows");
    assert_eq!(empty, Content::Chunks(vec![Chunk { id: None, len: size }]));
    let one = store.update(&empty, size, &[middle + 100..middle + 4196], &source).expect("writes");
    assert_eq!(one.size(), size);
    assert!(store.stats().expect("counts").stored_bytes < 128 << 10);
    let reader = store.reader(&one).expect("opens");
    assert_eq!(reader.seek_data(0), Some(middle));
    assert_eq!(reader.seek_hole(middle), Some(middle + BLOCK as u64));
    assert_eq!(reader.seek_data(middle + BLOCK as u64), None);
    assert_eq!(reader.seek_hole(size), None);
    assert_eq!(reader.data_ranges(), [middle..middle + BLOCK as u64]);
    let mut out = vec![1; 6000];
    assert_eq!(reader.read_at(&mut out, middle).expect("reads"), 6000);
    assert!(out[..100] == [0; 100] && out[100..4196] == data && out[4196..] == [0; 1804]);
    assert_eq!(reader.read_at(&mut out, size - 10).expect("reads"), 10);
    assert_eq!(out[..10], [0; 10]);
}

/// 4 KiB writes in a large file read and store what is near them, not the file.
#[test]
fn a_small_write_in_a_large_file_is_cheap() {
    use std::sync::atomic::{AtomicU64, Ordering};
    struct Counting(Vec<u8>, AtomicU64);
    impl super::super::ReadAt for Counting {
        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> std::io::Result<()> {
            self.1.fetch_add(buf.len() as u64, Ordering::Relaxed);
            self.0.read_exact_at(buf, offset)
        }
    }
    let fixture = Fixture::new();
    let store: &ContentStore = &fixture.store;
    let mut source = Counting(noise(1, 64 << 20), AtomicU64::new(0));
    let mut content = store.put(&source.0).expect("puts");
    for i in 0..20u64 {
        let at = (i * 3_141_593) as usize % source.0.len();
        let at = at - at % 4096;
        source.0[at..at + 4096].copy_from_slice(&noise(100 + i, 4096));
        let dirty = at as u64..at as u64 + 4096;
        content = store.update(&content, source.0.len() as u64, &[dirty], &source).expect("updates");
    }
    assert!(read(store, &content) == source.0);
    let read = source.1.load(Ordering::Relaxed);
    assert!(read < 20 * (1 << 20), "20 writes of 4 KiB read {read} bytes");
}
