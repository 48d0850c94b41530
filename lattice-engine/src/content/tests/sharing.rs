//! Identical content is stored once, adopted files become packs, chunks travel one by one.

use std::collections::HashSet;

use super::super::{ContentError, MIN_ADOPT};
use super::{Fixture, noise, read, text};
use crate::entry::{Chunk, Content};

#[test]
fn one_byte_inserted_at_the_head_stores_little() {
    let fixture = Fixture::new();
    let mut bytes = noise(1, 16 << 20);
    fixture.store.put(&bytes).expect("puts");
    let before = fixture.store.stats().expect("counts");
    bytes.insert(0, 1);
    fixture.store.put(&bytes).expect("puts");
    let after = fixture.store.stats().expect("counts");
    let new = after.stored_bytes - before.stored_bytes;
    assert!(new < 1 << 20, "{new} new bytes");
    let again = fixture.store.put(&bytes).expect("puts");
    assert!(read(&fixture.store, &again) == bytes);
    assert_eq!(fixture.store.stats().expect("counts"), after);
}

#[test]
fn text_is_compressed_and_noise_is_not() {
    let fixture = Fixture::new();
    let len = 4 << 20;
    fixture.store.put(&text(1, len)).expect("puts");
    let first = fixture.store.stats().expect("counts").stored_bytes;
    assert!(first < len as u64 * 7 / 8, "{first}");
    fixture.store.put(&noise(1, len)).expect("puts");
    let second = fixture.store.stats().expect("counts").stored_bytes - first;
    assert!(second >= len as u64 && second < len as u64 + (1 << 17), "{second}");
}

#[test]
fn an_adopted_file_is_the_pack_and_the_kernel_may_read_it() {
    let mut fixture = Fixture::new();
    let bytes = noise(3, 9 << 20);
    let staged = fixture.stage(&bytes);
    let content = fixture.store.adopt(&staged, bytes.len() as u64).expect("adopts");
    assert!(staged.exists(), "its name stays until the caller has logged what it is for");
    assert!(matches!(content, Content::Manifest { .. }));
    assert_eq!(content, Fixture::new().store.put(&bytes).expect("puts"), "cut as any other content");
    assert_eq!(fixture.packs("raw").len(), 1);
    assert!(read(&fixture.store, &content) == bytes);
    for reopened in [false, true, true] {
        let reader = fixture.store.reader(&content).expect("opens");
        let file = reader.contiguous().expect("is one file");
        assert_eq!(std::fs::read(file_path(&file)).expect("reads"), bytes, "reopened: {reopened}");
        drop(reader);
        fixture.settle();
        fixture.reopen();
    }
    let other = fixture.store.put(&bytes[..5 << 20]).expect("puts");
    assert!(fixture.store.contiguous(&other).expect("looks").is_none(), "a part of the file is not the file");
}

fn file_path(file: &std::fs::File) -> std::path::PathBuf {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

#[test]
fn a_file_that_is_mostly_known_is_not_adopted() {
    let fixture = Fixture::new();
    let mut bytes = noise(3, 8 << 20);
    fixture.store.put(&bytes).expect("puts");
    bytes[4 << 20..5 << 20].copy_from_slice(&noise(4, 1 << 20));
    let staged = fixture.stage(&bytes);
    let before = fixture.store.stats().expect("counts").stored_bytes;
    let content = fixture.store.adopt(&staged, bytes.len() as u64).expect("adopts");
    assert!(fixture.packs("raw").is_empty());
    assert!(read(&fixture.store, &content) == bytes);
    let new = fixture.store.stats().expect("counts").stored_bytes - before;
    assert!(new < 2 << 20, "{new} new bytes");
    assert!(fixture.store.contiguous(&content).expect("looks").is_none());
}

#[test]
fn a_file_half_of_which_is_known_is_adopted_and_still_one_file() {
    let fixture = Fixture::new();
    let mut bytes = noise(3, 8 << 20);
    fixture.store.put(&bytes[..3 << 20]).expect("puts");
    bytes[3 << 20..].copy_from_slice(&noise(9, 5 << 20));
    let staged = fixture.stage(&bytes);
    let content = fixture.store.adopt(&staged, bytes.len() as u64).expect("adopts");
    assert_eq!(fixture.packs("raw").len(), 1);
    assert!(fixture.store.contiguous(&content).expect("looks").is_some());
    assert!(read(&fixture.store, &content) == bytes);
}

#[test]
fn small_and_sparse_files_are_adopted_too() {
    let fixture = Fixture::new();
    for len in [0, 100, 4096, 4097, MIN_ADOPT as usize - 1] {
        let bytes = noise(len as u64, len);
        let staged = fixture.stage(&bytes);
        let content = fixture.store.adopt(&staged, len as u64).expect("adopts");
        assert!(read(&fixture.store, &content) == bytes);
    }
    assert!(fixture.packs("raw").is_empty());
    let staged = fixture.stage(b"");
    let size = 2 << 30;
    std::fs::File::options().write(true).open(&staged).and_then(|f| f.set_len(size)).expect("grows");
    let content = fixture.store.adopt(&staged, size).expect("adopts");
    assert_eq!(content, Content::Chunks(vec![Chunk { id: None, len: size }]));
}

#[test]
fn a_file_of_another_length_is_refused_and_stays() {
    let fixture = Fixture::new();
    let staged = fixture.stage(&noise(1, 2 << 20));
    let e = fixture.store.adopt(&staged, 1 << 20).expect_err("wrong size");
    assert!(matches!(e, ContentError::WrongSize { found: 2_097_152, .. }), "{e}");
    assert!(staged.exists());
}

#[test]
fn chunks_travel_one_by_one_and_a_wrong_one_is_refused() {
    let (from, to) = (Fixture::new(), Fixture::new());
    let bytes = noise(1, 24 << 20);
    let content = from.store.put(&bytes).expect("puts");
    assert_eq!(to.store.missing(&content).expect("looks").len(), 1, "the topmost manifest first");
    let mut rounds = 0;
    loop {
        let missing = to.store.missing(&content).expect("looks");
        if missing.is_empty() {
            break;
        }
        rounds += 1;
        for id in missing {
            let mut chunk = from.store.get_chunk(&id).expect("is there").to_vec();
            to.store.put_chunk(&id, &chunk).expect("puts");
            chunk[0] ^= 1;
            let e = to.store.put_chunk(&id, &chunk).expect_err("flipped");
            assert!(matches!(e, ContentError::WrongHash { expected, .. } if expected == id), "{e}");
        }
    }
    assert_eq!(rounds, 3, "a manifest, those that it names, what they name");
    assert!(read(&to.store, &content) == bytes);
    let all: HashSet<_> = to.store.ids_of(&content).expect("resolves").into_iter().collect();
    assert_eq!(all.len() as u64, to.store.stats().expect("counts").chunks);
}

#[test]
fn of_chunks_that_come_together_the_wrong_ones_are_refused_and_the_others_stay() {
    let (from, to) = (Fixture::new(), Fixture::new());
    let bytes = noise(1, 600_000);
    let content = from.store.put(&bytes).expect("puts");
    let missing = to.store.missing(&content).expect("looks");
    assert_eq!(missing, from.store.ids_of(&content).expect("resolves"), "in the order of the file");
    let chunk = |id| from.store.get_chunk(id).expect("is there").to_vec();
    let mut chunks: Vec<_> = missing.iter().map(|id| (*id, chunk(id))).collect();
    chunks[2].1[0] ^= 1;
    let pieces = chunks.iter().map(|(id, bytes)| (id, &bytes[..]));
    let refused = to.store.put_chunks(pieces).expect("puts");
    assert!(matches!(refused[..], [(id, ContentError::WrongHash { .. })] if id == missing[2]), "{refused:?}");
    assert_eq!(to.store.missing(&content).expect("looks"), [missing[2]]);
    to.store.put_chunk(&missing[2], &chunk(&missing[2])).expect("puts");
    assert!(read(&to.store, &content) == bytes);
}

#[test]
fn a_file_that_was_given_up_is_the_borrowers() {
    use std::os::unix::fs::FileExt;
    let mut fixture = Fixture::new();
    let bytes = noise(3, 9 << 20);
    let staged = fixture.stage(&bytes);
    let content = fixture.store.adopt(&staged, bytes.len() as u64).expect("adopts");
    std::fs::remove_file(&staged).expect("its own name goes");
    let reader = fixture.store.reader(&content).expect("opens");
    let file = reader.contiguous().expect("is one file");
    // So that its chunks count as verified, and are read without a look at their names.
    assert!(read(&fixture.store, &content) == bytes);
    reader.give_up().expect("is given up");
    reader.give_up().expect("once more changes nothing");
    assert!(reader.contiguous().is_none(), "what was given up isn't lent again");
    let own = std::fs::OpenOptions::new().write(true).open(file_path(&file)).expect("opens without a name");
    own.write_all_at(&vec![0; bytes.len()], 0).expect("writes");
    assert!(read(&fixture.store, &content) == bytes, "the store has a copy");
    let mut through_reader = vec![0; bytes.len()];
    assert_eq!(reader.read_at(&mut through_reader, 0).expect("reads"), bytes.len());
    assert!(through_reader == bytes, "and who had it open reads that");
    assert!(fixture.packs("raw").is_empty());
    drop((reader, file));
    assert_eq!(fixture.reopen().findings, []);
    assert!(read(&fixture.store, &content) == bytes, "it was durable");
    fixture.forget_index();
    assert_eq!(fixture.reopen().findings, []);
    assert!(read(&fixture.store, &content) == bytes);
}
