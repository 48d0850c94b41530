//! The log's own promises, one test each. Crashes are the explorer's.

mod damage;
mod failure;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::segment::path;
use super::*;
use crate::disk::sim::{Rng, SimDisk};
use crate::disk::{Disk, DiskFile, Open};
use crate::id::NodeId;
use format::{Frame, SEGMENT_HEAD, Seed, decode, encode};

const STORE: StoreId = StoreId([5; 16]);

fn dir() -> &'static Path {
    Path::new("/s/log")
}

fn new_disk() -> SimDisk {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/s")).expect("makes");
    disk
}

fn try_open(disk: &SimDisk, trusted: Option<Position>) -> Result<(Log, Recovery), LogError> {
    Log::open(Arc::new(disk.clone()), dir(), STORE, LogOptions { segment_bytes: 2000 }, trusted)
}

fn open(disk: &SimDisk) -> Log {
    try_open(disk, None).expect("opens").0
}

fn entry(n: u8) -> Record {
    let signature = n.is_multiple_of(2).then_some([n; 64]);
    Record::Entry { header: vec![n; 100].into(), payload: vec![n; 200].into(), signature }
}

fn as_ref(record: &Record) -> RecordRef<'_> {
    match record {
        Record::Entry { header, payload, signature } => {
            RecordRef::Entry { header, payload, signature: signature.as_ref() }
        }
        Record::Signatures { author, list } => RecordRef::Signatures { author: *author, list },
        Record::Intent { body } => RecordRef::Intent { body },
        Record::IntentDone { id } => RecordRef::IntentDone { id: *id },
        Record::Unknown { .. } => panic!("can't be appended"),
    }
}

fn append(log: &mut Log, records: &[Record]) -> Vec<Position> {
    log.append(&records.iter().map(as_ref).collect::<Vec<_>>()).expect("appends")
}

fn sync(log: &Log) {
    log.syncer().sync_to(log.end()).expect("syncs");
}

fn scan(log: &Log) -> Vec<(Position, Record)> {
    log.reader().scan(None).collect::<Result<_, _>>().expect("whole")
}

/// A log of `n` entries, each appended and synced by itself, and their positions.
fn log_of(disk: &SimDisk, n: u8) -> (Log, Vec<Position>) {
    let mut log = open(disk);
    let one = |n| {
        let position = append(&mut log, &[entry(n)])[0];
        sync(&log);
        position
    };
    let positions = (0..n).map(one).collect();
    (log, positions)
}

fn any_bytes(max: usize) -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn any_signature() -> impl Strategy<Value = [u8; 64]> {
    any::<[u8; 32]>().prop_map(|half| [half, half].concat().try_into().expect("64 bytes"))
}

fn any_record() -> impl Strategy<Value = Record> {
    let list = prop::collection::vec((any::<u64>(), any_signature()), 0..20);
    prop_oneof![
        (any_bytes(400), any_bytes(2500), prop::option::of(any_signature()))
            .prop_map(|(header, payload, signature)| Record::Entry { header, payload, signature }),
        (any::<[u8; 32]>(), list).prop_map(|(a, list)| Record::Signatures { author: NodeId(a), list }),
        any_bytes(300).prop_map(|body| Record::Intent { body }),
        any::<u64>().prop_map(|id| Record::IntentDone { id }),
    ]
}

proptest! {
    #[test]
    fn what_is_appended_is_read_back(batches in prop::collection::vec(prop::collection::vec(any_record(), 0..6), 0..8)) {
        let disk = new_disk();
        let mut log = open(&disk);
        let positions: Vec<Position> = batches.iter().flat_map(|b| append(&mut log, b)).collect();
        let expected: Vec<_> = positions.iter().copied().zip(batches.concat()).collect();
        prop_assert!(positions.is_sorted());
        prop_assert_eq!(&scan(&log), &expected);
        for (position, record) in &expected {
            prop_assert_eq!(&log.reader().read(*position).expect("reads"), record);
            let header = log.reader().read_header(*position).ok();
            let expected = if let Record::Entry { header, .. } = record { Some(header.clone()) } else { None };
            prop_assert_eq!(header, expected);
        }
        let middle = expected.len() / 2;
        if let Some((position, _)) = expected.get(middle) {
            let rest: Vec<_> = log.reader().scan(Some(*position)).map(|r| r.expect("whole")).collect();
            prop_assert_eq!(&rest[..], &expected[middle + 1..]);
        }
        log.close().expect("closes");
        prop_assert_eq!(&scan(&open(&disk)), &expected);
    }

    #[test]
    fn a_flipped_bit_is_never_returned(record in any_record(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let disk = new_disk();
        let mut log = open(&disk);
        let position = append(&mut log, &[record])[0];
        let at = position.offset + at.index(position.len as usize) as u64;
        disk.flip(&path(dir(), 0), at, 1 << bit).expect("flips");
        let read = matches!(log.reader().read(position), Err(LogError::Corrupt { .. }));
        let scanned = matches!(log.reader().scan(None).next(), Some(Err(LogError::Corrupt { .. })));
        prop_assert!(read && scanned);
    }

    #[test]
    fn a_record_is_valid_in_its_own_place_only(record in any_record(), other in 0..100_000u64) {
        prop_assume!(other != 4000);
        let (seed, mut bytes) = (Seed::new(&STORE, 3), Vec::new());
        encode(&as_ref(&record), seed, 4000, 40, &mut bytes);
        prop_assert!(Frame::parse(&bytes, seed, 4000).is_some());
        prop_assert!(Frame::parse(&bytes, seed, other).is_none());
        prop_assert!(Frame::parse(&bytes, Seed::new(&STORE, 4), 4000).is_none());
        prop_assert!(Frame::parse(&bytes, Seed::new(&StoreId([6; 16]), 3), 4000).is_none());
    }

    #[test]
    fn no_body_makes_the_decoder_panic(kind: u8, body in any_bytes(300)) {
        let _ = decode(kind, body);
    }

    #[test]
    fn no_file_makes_reading_panic(bytes in any_bytes(3000), keep_head: bool) {
        let disk = new_disk();
        drop(open(&disk));
        let at = if keep_head { SEGMENT_HEAD } else { 0 };
        let file = disk.open(&path(dir(), 0), Open::Write).expect("opens");
        file.write_all_at(&bytes, at).expect("writes");
        fsck(&disk, dir(), &STORE, None).expect("reports");
        if let Ok((log, _)) = try_open(&disk, None) {
            prop_assert_eq!(scan(&log), vec![]);
        }
    }
}

#[test]
fn the_payload_of_an_entry_lies_where_the_format_says() {
    let disk = new_disk();
    let (log, positions) = log_of(&disk, 3);
    let at = positions[2].offset + u64::from(PAYLOAD_AT) + 100;
    assert_eq!(log.reader().read_range(0, at, 200).expect("reads"), vec![2; 200]);
    assert!(matches!(log.reader().read_range(0, at, 2000), Err(LogError::Corrupt { .. })));
}

#[test]
fn unknown_kinds_are_kept_and_left_out_of_scans() {
    let disk = new_disk();
    let mut log = open(&disk);
    let first = append(&mut log, &[entry(0)])[0];
    drop(log);
    let mut bytes = Vec::new();
    let at = first.end().offset;
    format::encode_kind(200, b"later", Seed::new(&STORE, 0), at, &mut bytes);
    disk.open(&path(dir(), 0), Open::Write).and_then(|f| f.write_all_at(&bytes, at)).expect("writes");
    let mut log = open(&disk);
    let last = append(&mut log, &[entry(1)])[0];
    assert_eq!(scan(&log), [(first, entry(0)), (last, entry(1))]);
    let unknown = Position { segment: 0, offset: at, len: bytes.len() as u32 };
    let body = Bytes::from_static(b"later");
    assert_eq!(log.reader().read(unknown).expect("reads"), Record::Unknown { kind: 200, body });
}

#[test]
fn opening_reads_the_end_only() {
    let disk = new_disk();
    let (log, positions) = log_of(&disk, 18);
    drop(log);
    let last = positions[17];
    for segment in 0..last.segment {
        disk.fail_reads(&path(dir(), segment), 0..u64::MAX).expect("exists");
    }
    drop(open(&disk));
    let trusted = positions[16];
    assert_eq!(trusted.segment, last.segment, "the test needs two records in the last segment");
    disk.fail_reads(&path(dir(), last.segment), SEGMENT_HEAD..trusted.offset).expect("exists");
    try_open(&disk, Some(trusted)).expect("reads nothing before what is trusted");
    assert!(matches!(try_open(&disk, None), Err(LogError::Io { .. })));
}

#[test]
fn a_record_over_the_limit_is_refused_before_anything_is_written() {
    let disk = new_disk();
    let mut log = open(&disk);
    let before = disk.ops();
    let body = vec![0; MAX_BODY + 1];
    assert!(matches!(log.append(&[RecordRef::Intent { body: &body }]), Err(LogError::TooLarge { .. })));
    assert_eq!(disk.ops(), before);
    let position = log.append(&[RecordRef::Intent { body: &body[1..] }]).expect("at the limit")[0];
    log.reader().read(position).expect("reads");
}

#[test]
fn readers_see_whole_records_while_the_log_grows() {
    let disk = new_disk();
    let mut log = open(&disk);
    let (reader, done) = (log.reader(), AtomicUsize::new(0));
    std::thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(|| {
                while done.load(Ordering::SeqCst) == 0 {
                    for (n, record) in reader.scan(None).enumerate() {
                        assert_eq!(record.expect("whole").1, entry(n as u8));
                    }
                }
            });
        }
        for n in 0..200 {
            let position = append(&mut log, &[entry(n)])[0];
            assert_eq!(reader.read(position).expect("whole"), entry(n));
        }
        done.store(1, Ordering::SeqCst);
    });
    assert_eq!(scan(&log).len(), 200);
}

#[test]
fn room_is_made_ahead_outlives_a_kill_and_goes_with_its_segment() {
    let disk = new_disk();
    let (log, positions) = log_of(&disk, 2);
    let len = |n| disk.open(&path(dir(), n), Open::Read).expect("opens").len().expect("measures");
    assert_eq!(len(0), 2000, "as long as it may become");
    drop(log);
    let (mut log, recovery) = try_open(&disk, None).expect("opens");
    assert_eq!((recovery.cut, log.end()), (None, positions[1].end()), "zeros are no torn tail");
    let report = fsck(&disk, dir(), &STORE, None).expect("reports");
    assert_eq!((report.records(), report.segments[0].bad.len()), (2, 0));
    let more: Vec<_> = (2..20).map(|n| append(&mut log, &[entry(n)])[0]).collect();
    let (first, last) = (more.iter().rfind(|p| p.segment == 0), more[more.len() - 1]);
    assert_eq!(len(0), first.expect("there was room").end().offset, "others end with their last record");
    assert!(last.segment > 0 && len(last.segment) == 2000);
    let all = scan(&log);
    assert_eq!(all.len(), 20);
    log.close().expect("closes");
    let log = open(&disk);
    assert_eq!((len(last.segment), scan(&log)), (log.end().offset, all), "so does a log that was closed");
}

#[test]
fn what_is_torn_within_the_room_is_cut() {
    let disk = new_disk();
    let (mut log, _) = log_of(&disk, 2);
    let end = append(&mut log, &[entry(2)])[0];
    drop(log);
    let file = disk.open(&path(dir(), 0), Open::Write).expect("opens");
    file.write_all_at(&[0; 200], end.offset + 150).expect("tears");
    let (mut log, recovery) = try_open(&disk, None).expect("opens");
    assert_eq!(recovery.cut.map(|cut| cut.offset), Some(end.offset));
    append(&mut log, &[entry(3)]);
    let records: Vec<_> = scan(&log).into_iter().map(|(_, record)| record).collect();
    assert_eq!(records, [entry(0), entry(1), entry(3)]);
}

#[test]
fn more_segments_than_open_files_are_read() {
    let disk = new_disk();
    let (log, positions) = log_of(&disk, 255);
    let mut rng = Rng::new(1);
    for _ in 0..500 {
        let n = rng.below(255) as u8;
        assert_eq!(log.reader().read(positions[usize::from(n)]).expect("whole"), entry(n));
    }
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let hex = |bytes: &[u8]| data_encoding::HEXLOWER.encode(bytes);
    let mut bytes = Vec::new();
    encode(&RecordRef::IntentDone { id: 1 }, Seed::new(&STORE, 0), 40, 40, &mut bytes);
    assert_eq!(hex(&bytes), "080000002800000004f7df88a9680fe5f60100000000000000");
    let head = format::segment_head(&STORE, 2);
    assert_eq!(
        hex(&head),
        "6c617474696365010100000005050505050505050505050505050505020000000000000023aca11a"
    );
}
