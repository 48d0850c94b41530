//! What a disk or a person does to packs: each a clear error that names the pack, nothing else lost, and storing again
//! heals.

use std::path::Path;
use std::sync::Arc;

use super::super::record::{PACK_HEADER, RECORD_HEADER};
use super::super::{ContentError, ContentStore, FindingKind, MemoryIndex};
use super::{Fixture, noise, read, text, try_read};
use crate::disk::sim::SimDisk;
use crate::disk::{Disk, Open, RealDisk};

fn edit(path: &Path, edit: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("reads");
    edit(&mut bytes);
    std::fs::write(path, bytes).expect("writes");
}

#[test]
fn deleting_the_index_loses_nothing() {
    let mut fixture = Fixture::new();
    let all: Vec<_> = [noise(1, 3 << 20), text(2, 1 << 20), noise(3, 10_000)]
        .into_iter()
        .map(|bytes| (fixture.store.put(&bytes).expect("puts"), bytes))
        .chain([noise(4, 5 << 20)].map(|bytes| {
            let staged = fixture.stage(&bytes);
            (fixture.store.adopt(&staged, bytes.len() as u64).expect("adopts"), bytes)
        }))
        .collect();
    fixture.settle();
    let rows = fixture.rows();
    fixture.forget_index();
    let recovery = fixture.reopen();
    assert_eq!(recovery.findings, []);
    assert_eq!(recovery.recovered_chunks as usize, rows);
    for (content, bytes) in &all {
        assert!(read(&fixture.store, content) == *bytes);
    }
    fixture.settle();
    assert_eq!(fixture.rows(), rows);
    assert_eq!(fixture.reopen().scanned_bytes, 0);
    for (content, bytes) in &all {
        assert!(read(&fixture.store, content) == *bytes);
    }
}

#[test]
fn a_lost_list_of_an_adopted_file_is_made_again() {
    let mut fixture = Fixture::new();
    let bytes = noise(4, 5 << 20);
    let staged = fixture.stage(&bytes);
    let content = fixture.store.adopt(&staged, bytes.len() as u64).expect("adopts");
    fixture.settle();
    std::fs::remove_file(&fixture.packs("idx")[0]).expect("removes");
    fixture.forget_index();
    assert_eq!(fixture.reopen().findings, []);
    assert!(read(&fixture.store, &content) == bytes);
    assert!(fixture.store.contiguous(&content).expect("looks").is_some());
}

#[test]
fn a_torn_tail_is_cut_and_appends_go_on() {
    let mut fixture = Fixture::new();
    let (a, b) = (noise(1, 200_000), noise(2, 150_000));
    let first = fixture.store.put(&a).expect("puts");
    fixture.settle();
    let pack = fixture.packs("pack")[0].clone();
    let whole = std::fs::metadata(&pack).expect("is there").len();
    fixture.store.put(&b).expect("puts");
    edit(&pack, |bytes| bytes.truncate(whole as usize + 1000));
    let recovery = fixture.reopen();
    assert_eq!(recovery.findings.len(), 1);
    assert_eq!(recovery.findings[0].kind, FindingKind::TornTail);
    assert_eq!(std::fs::metadata(&pack).expect("is there").len(), whole);
    let second = fixture.store.put(&b).expect("puts");
    assert!(read(&fixture.store, &first) == a && read(&fixture.store, &second) == b);
    assert_eq!(fixture.packs("pack").len(), 1);
}

#[test]
fn a_damaged_record_is_an_error_that_names_it_and_storing_again_heals() {
    let mut fixture = Fixture::new();
    let (a, b) = (noise(1, 12_000), noise(2, 12_000));
    let first = fixture.store.put(&a).expect("puts");
    let second = fixture.store.put(&b).expect("puts");
    fixture.settle();
    let pack = fixture.packs("pack")[0].clone();
    let offset = PACK_HEADER + RECORD_HEADER as u64;
    edit(&pack, |bytes| bytes[offset as usize + 500] ^= 4);
    assert_eq!(fixture.reopen().findings, []);
    let report = fixture.store.fsck(false).expect("checks");
    assert_eq!((report.chunks, report.problems), (2, vec![]));
    let e = try_read(&fixture.store, &first).expect_err("damaged");
    assert!(
        matches!(&e, ContentError::Corrupt { pack: p, offset: o, .. } if *p == pack && *o == offset),
        "{e}"
    );
    let report = fixture.store.fsck(true).expect("checks");
    assert_eq!(report.problems.len(), 1);
    assert!(report.problems[0].contains(&pack.display().to_string()), "{:?}", report.problems);
    assert!(read(&fixture.store, &second) == b);
    assert_eq!(fixture.store.put(&a).expect("heals"), first);
    assert!(read(&fixture.store, &first) == a);
    fixture.settle();
    assert_eq!(fixture.store.fsck(true).expect("checks").problems, Vec::<String>::new());
}

/// Who asks for very many chunks checks them, and asks again for what is bad.
#[test]
fn a_chunk_that_was_verified_goes_out_as_it_is_until_it_is_asked_for_anew() {
    let mut fixture = Fixture::new();
    // Stored plain, and compressed.
    for bytes in [noise(1, 200_000), vec![7; 200_000]] {
        let content = fixture.store.put(&bytes).expect("puts");
        let chunks = fixture.store.chunks_of(&content).expect("chunks");
        let (id, len) = (chunks[0].id.expect("data"), chunks[0].len as usize);
        let mut buf = vec![1; 300_000];
        let read = |buf: &mut Vec<u8>| fixture.store.read_chunk(&id, buf).expect("is here");
        assert_eq!((read(&mut buf), &buf[..len]), (len, &bytes[..len]));
        assert_eq!((read(&mut Vec::new()), buf.len()), (len, 300_000));
    }
    let bytes = noise(2, 200_000);
    let content = fixture.store.put(&bytes).expect("puts");
    let id = fixture.store.chunks_of(&content).expect("chunks")[0].id.expect("data");
    let pack = fixture.packs("pack")[0].clone();
    edit(&pack, |stored| {
        let at = stored.windows(64).position(|w| *w == bytes[..64]).expect("is stored plain");
        stored[at] ^= 4;
    });
    let mut buf = Vec::new();
    fixture.store.read_chunk(&id, &mut buf).expect("as it is");
    assert!(buf[0] == bytes[0] ^ 4 && fixture.store.has_chunk(&id).expect("looks"));
    assert!(matches!(fixture.store.get_chunk(&id), Err(ContentError::Corrupt { .. })));
    assert!(!fixture.store.has_chunk(&id).expect("looks"));
    fixture.store.put(&bytes).expect("heals");
    fixture.store.read_chunk(&id, &mut buf).expect("is here");
    assert_eq!(buf[0], bytes[0]);
    // After a start nothing has been verified.
    fixture.settle();
    edit(&pack, |stored| {
        let at = stored.windows(64).rposition(|w| *w == bytes[..64]).expect("is stored again");
        stored[at] ^= 4;
    });
    fixture.reopen();
    assert!(matches!(fixture.store.read_chunk(&id, &mut buf), Err(ContentError::Corrupt { .. })));
}

/// Nobody has read the old bytes since they went bad.
#[test]
fn bytes_are_not_left_away_because_of_damaged_ones() {
    for adopted in [false, true] {
        let mut fixture = Fixture::new();
        let bytes = noise(1, 3 << 20);
        let content = fixture.store.put(&bytes).expect("puts");
        fixture.settle();
        let pack = fixture.packs("pack")[0].clone();
        edit(&pack, |stored| stored[1 << 20] ^= 4);
        fixture.reopen();
        let again = if adopted {
            let staged = fixture.stage(&bytes);
            fixture.store.adopt(&staged, bytes.len() as u64).expect("adopts")
        } else {
            fixture.store.put(&bytes).expect("puts")
        };
        assert_eq!(again, content);
        fixture.settle();
        fixture.reopen();
        assert!(read(&fixture.store, &content) == bytes, "adopted: {adopted}");
    }
}

#[test]
fn damage_in_the_middle_hides_nothing_after_it() {
    for at in [0, 4, 40, RECORD_HEADER + 10] {
        let mut fixture = Fixture::new();
        let all: Vec<_> = (0..5)
            .map(|seed| {
                let bytes = noise(seed, 16_000);
                (fixture.store.put(&bytes).expect("puts"), bytes)
            })
            .collect();
        fixture.store.sync().expect("syncs");
        let pack = fixture.packs("pack")[0].clone();
        let record = (RECORD_HEADER + 16_000).next_multiple_of(8);
        let start = PACK_HEADER as usize + 2 * record;
        edit(&pack, |bytes| bytes[start + at] ^= 1);
        fixture.forget_index();
        let recovery = fixture.reopen();
        assert_eq!(recovery.recovered_chunks, 4, "byte {at}");
        assert_eq!(recovery.findings.len(), 1);
        let found = &recovery.findings[0];
        assert_eq!(
            (found.kind, found.offset, found.len),
            (FindingKind::Damaged, start as u64, record as u64)
        );
        for (i, (content, bytes)) in all.iter().enumerate() {
            match try_read(&fixture.store, content) {
                Ok(found) => assert!(found == *bytes && i != 2),
                Err(e) => assert!(matches!(e, ContentError::Missing { .. }) && i == 2, "{e}"),
            }
        }
    }
}

/// A file that holds a pack must not be taken for one, even where its record is damaged.
#[test]
fn records_within_a_damaged_payload_are_not_believed() {
    let mut fixture = Fixture::new();
    let inner = Fixture::new();
    inner.store.put(&noise(1, 9000)).expect("puts");
    let mut file = std::fs::read(&inner.packs("pack")[0]).expect("reads");
    file.extend(noise(2, 4 << 10));
    fixture.store.put(&file).expect("puts");
    edit(&fixture.packs("pack")[0].clone(), |bytes| *bytes.last_mut().expect("bytes") ^= 1);
    let last = noise(3, 5000);
    let content = fixture.store.put(&last).expect("puts");
    fixture.forget_index();
    assert_eq!(fixture.reopen().recovered_chunks, 1);
    assert!(read(&fixture.store, &content) == last);
}

#[test]
fn a_truncated_and_a_missing_pack_are_reported_and_heal() {
    for adopted in [false, true] {
        for missing in [false, true] {
            let mut fixture = Fixture::new();
            let bytes = noise(1, 2 << 20);
            let content = if adopted {
                let staged = fixture.stage(&bytes);
                fixture.store.adopt(&staged, bytes.len() as u64).expect("adopts")
            } else {
                fixture.store.put(&bytes).expect("puts")
            };
            fixture.settle();
            let pack = fixture.packs(if adopted { "raw" } else { "pack" })[0].clone();
            if missing {
                std::fs::remove_file(&pack).expect("removes");
            } else {
                edit(&pack, |b| b.truncate(1 << 20));
            }
            let findings = fixture.reopen().findings;
            // Adopted files are looked at when they are read.
            if missing || !adopted {
                let kind = if missing { FindingKind::Missing } else { FindingKind::Truncated };
                assert_eq!((findings.len(), findings[0].kind), (1, kind));
                assert_eq!(findings[0].path, pack);
                assert!(findings[0].is_loss() && findings[0].to_string().contains("restore it"));
            }
            let e = try_read(&fixture.store, &content).expect_err("lost");
            let clear = match &e {
                ContentError::Truncated { pack: p, .. } => !missing && *p == pack,
                ContentError::Missing { .. } => missing,
                _ => false,
            };
            assert!(clear, "adopted {adopted}, missing {missing}: {e}");
            assert!(!fixture.store.fsck(false).expect("checks").problems.is_empty());
            assert_eq!(fixture.store.put(&bytes).expect("heals"), content);
            assert!(read(&fixture.store, &content) == bytes);
        }
    }
}

#[test]
fn a_pack_from_the_future_is_refused_by_name() {
    let fixture = Fixture::new();
    fixture.store.put(&noise(1, 9000)).expect("puts");
    fixture.settle();
    let pack = fixture.packs("pack")[0].clone();
    edit(&pack, |bytes| {
        bytes[8] = 9;
        let crc = crc32fast::hash(&bytes[..12]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    });
    let e = ContentStore::open(Arc::new(RealDisk), fixture.dir.path(), fixture.index.clone())
        .expect_err("future");
    assert!(matches!(&e, ContentError::Version { path, found: 9, .. } if *path == pack), "{e}");
}

fn simulated() -> (SimDisk, ContentStore) {
    let disk = SimDisk::new();
    let dir = Path::new("/s");
    disk.create_dir_all(dir).expect("makes");
    let index = Arc::new(MemoryIndex::default());
    let (store, _) = ContentStore::open(Arc::new(disk.clone()), dir, index).expect("opens");
    (disk, store)
}

#[test]
fn after_a_failed_flush_nothing_succeeds() {
    let (disk, store) = simulated();
    store.put(&noise(1, 9000)).expect("puts");
    disk.fail_syncs(1);
    assert!(matches!(store.sync(), Err(ContentError::Io { .. })));
    assert!(matches!(store.sync(), Err(ContentError::Poisoned { .. })));
    assert!(matches!(store.put(&noise(2, 9000)), Err(ContentError::Poisoned { .. })));
    assert_eq!(store.index_pending(100).expect("nothing is durable"), 0);
}

#[test]
fn a_full_disk_fails_the_put_and_spoils_nothing() {
    let (disk, store) = simulated();
    let (a, b) = (noise(1, 50_000), noise(2, 60_000));
    let first = store.put(&a).expect("puts");
    disk.set_space(Some(20_000));
    let e = store.put(&b).expect_err("full");
    assert!(
        matches!(&e, ContentError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull),
        "{e}"
    );
    assert!(try_read(&store, &first).expect("reads") == a);
    disk.set_space(None);
    let second = store.put(&b).expect("there is room again");
    store.sync().expect("syncs");
    let index = Arc::new(MemoryIndex::default());
    let (store, recovery) = ContentStore::open(Arc::new(disk), Path::new("/s"), index).expect("opens");
    assert_eq!(recovery.findings, []);
    assert!(try_read(&store, &first).expect("reads") == a && try_read(&store, &second).expect("reads") == b);
}

#[test]
fn a_read_error_is_not_taken_for_damage() {
    let (disk, store) = simulated();
    let bytes = noise(1, 9000);
    let content = store.put(&bytes).expect("puts");
    let pack = disk.files().into_keys().find(|p| p.extension().is_some_and(|e| e == "pack")).expect("a pack");
    disk.fail_reads(&pack, 5000..5001).expect("is there");
    let e = try_read(&store, &content).expect_err("EIO");
    assert!(matches!(&e, ContentError::Io { path, .. } if *path == pack), "{e}");
    assert!(disk.open(&pack, Open::Read).is_ok());
}
