//! What is torn is cut; what is damaged is refused, named and left alone.

use super::*;

#[test]
fn a_tail_torn_at_any_byte_is_cut_to_the_last_whole_record() {
    let disk = new_disk();
    let (log, positions) = log_of(&disk, 3);
    drop(log);
    let (start, end) = (positions[2].offset, positions[2].end().offset);
    for len in start + 1..end {
        let image = disk.kill_image(disk.ops());
        image.open(&path(dir(), 0), Open::Write).and_then(|f| f.set_len(len)).expect("cuts");
        let (log, recovery) = try_open(&image, None).expect("opens");
        assert_eq!(recovery.cut, Some(Cut { segment: 0, offset: start, bytes: len - start }));
        assert_eq!(scan(&log).len(), 2);
    }
}

#[test]
fn a_log_kept_in_the_log_is_not_mistaken_for_records() {
    let disk = new_disk();
    let (mut log, positions) = log_of(&disk, 4);
    let copy = disk.files().remove(&path(dir(), 0)).expect("exists");
    let torn = append(&mut log, &[Record::Intent { body: copy.into() }])[0];
    drop(log);
    disk.flip(&path(dir(), torn.segment), torn.offset + 3, 1).expect("flips");
    let (log, recovery) = try_open(&disk, None).expect("a torn tail, whatever is in it");
    assert_eq!(recovery.cut.map(|c| c.offset), Some(torn.offset));
    assert_eq!(scan(&log).len(), positions.len());
}

/// Flips a bit of each byte of a record in turn; `open` must refuse, and touch nothing.
fn assert_damage_is_refused(disk: &SimDisk, record: Position) {
    let file = path(dir(), record.segment);
    for at in record.offset..record.end().offset {
        let image = disk.kill_image(disk.ops());
        image.flip(&file, at, 16).expect("flips");
        let before = image.files();
        let e = try_open(&image, None).expect_err("damaged");
        assert!(
            matches!(&e, LogError::Corrupt { path, offset, .. } if *path == file && *offset == record.offset)
        );
        assert!(e.to_string().contains("lattice fsck"), "{e}");
        assert_eq!(image.files(), before);
    }
}

#[test]
fn damage_before_what_was_synced_is_refused_and_nothing_is_touched() {
    let disk = new_disk();
    let (log, positions) = log_of(&disk, 4);
    drop(log);
    assert_damage_is_refused(&disk, positions[0]);
    assert_damage_is_refused(&disk, positions[2]);
}

#[test]
fn a_closed_log_takes_no_damage_for_a_torn_tail() {
    let disk = new_disk();
    let mut log = open(&disk);
    let positions = append(&mut log, &[entry(0), entry(1), entry(2)]);
    log.close().expect("closes");
    assert_damage_is_refused(&disk, positions[0]);
    assert_damage_is_refused(&disk, positions[2]);
    let before = disk.files();
    open(&disk).close().expect("closes");
    assert_eq!(disk.files(), before, "opening and closing writes nothing");
}

#[test]
fn a_damaged_header_is_refused_once_records_follow_and_rewritten_before() {
    let disk = new_disk();
    drop(open(&disk));
    disk.flip(&path(dir(), 0), 9, 1).expect("flips");
    let (mut log, recovery) = try_open(&disk, None).expect("nothing was in it");
    assert_eq!(recovery.cut, Some(Cut { segment: 0, offset: 0, bytes: SEGMENT_HEAD }));
    append(&mut log, &[entry(0)]);
    disk.flip(&path(dir(), 0), 20, 1).expect("flips");
    assert!(matches!(try_open(&disk, None), Err(LogError::Corrupt { offset: 0, .. })));
}

#[test]
fn damage_in_an_earlier_segment_is_found_when_it_is_read() {
    let disk = new_disk();
    let (log, positions) = log_of(&disk, 20);
    drop(log);
    assert!(positions[19].segment > 1);
    let damaged = positions[3];
    disk.flip(&path(dir(), 0), damaged.offset + 50, 1).expect("flips");
    let log = open(&disk);
    let read: Vec<_> = log.reader().scan(None).collect();
    assert_eq!(read.len(), 4, "nothing after an error");
    assert!(matches!(&read[3], Err(LogError::Corrupt { offset, .. }) if *offset == damaged.offset));
    let report = fsck(&disk, dir(), &STORE, None).expect("reports");
    let bad = &report.segments[0].bad;
    assert_eq!((bad.len(), bad[0].offset, bad[0].bytes), (1, damaged.offset, u64::from(damaged.len)));
    let after = positions[4..].iter().filter(|p| p.segment == 0).count() as u64;
    assert_eq!(
        (bad[0].readable_after, bad[0].torn_tail, report.records(), report.is_clean()),
        (after, false, 19, false)
    );
}

#[test]
fn fsck_reports_every_range_and_tells_a_torn_tail_from_damage() {
    let disk = new_disk();
    let (log, positions) = log_of(&disk, 5);
    drop(log);
    assert!(fsck(&disk, dir(), &STORE, None).expect("reports").is_clean());
    disk.flip(&path(dir(), 0), positions[1].offset, 1).expect("flips");
    disk.flip(&path(dir(), 0), positions[4].offset, 1).expect("flips");
    let report = fsck(&disk, dir(), &STORE, None).expect("reports");
    let bad: Vec<_> =
        report.segments[0].bad.iter().map(|b| (b.offset, b.readable_after, b.torn_tail)).collect();
    assert_eq!(bad, [(positions[1].offset, 2, false), (positions[4].offset, 0, false)]);
    disk.flip(&path(dir(), 0), positions[1].offset, 1).expect("flips back");
    let report = fsck(&disk, dir(), &STORE, None).expect("reports");
    assert!(report.is_clean() && report.segments[0].bad[0].torn_tail);
}

#[test]
fn a_log_that_lacks_what_the_caller_trusts_is_refused() {
    let disk = new_disk();
    let (log, positions) = log_of(&disk, 3);
    drop(log);
    disk.open(&path(dir(), 0), Open::Write).and_then(|f| f.set_len(positions[2].offset)).expect("cuts");
    assert!(matches!(try_open(&disk, Some(positions[2])), Err(LogError::Corrupt { .. })));
    assert!(try_open(&disk, Some(positions[1])).is_ok());
    let later = Position { segment: 7, ..positions[1] };
    assert!(matches!(try_open(&disk, Some(later)), Err(LogError::Missing { .. })));
}

#[test]
fn files_of_another_store_or_program_or_none_are_refused_by_name() {
    let disk = new_disk();
    let (log, _) = log_of(&disk, 20);
    drop(log);
    let other = StoreId([6; 16]);
    let e = Log::open(Arc::new(disk.clone()), dir(), other, LogOptions::default(), None)
        .expect_err("another store");
    assert!(matches!(e, LogError::WrongStore { found, .. } if found == STORE), "{e}");

    let old = disk.kill_image(disk.ops());
    old.remove(&path(dir(), 1)).expect("removes");
    let e = try_open(&old, None).expect_err("a gap");
    assert!(e.to_string().contains("0000000000000001.log is missing"), "{e}");
    assert_eq!(fsck(&old, dir(), &STORE, None).expect("reports").missing, [path(dir(), 1)]);

    let mut head = format::segment_head(&STORE, 2);
    head[8] = 9;
    let crc = crc32fast::hash(&head[..36]);
    head[36..].copy_from_slice(&crc.to_le_bytes());
    let (last, _) = disk.files().pop_last().expect("exists");
    disk.open(&last, Open::Write).and_then(|f| f.write_all_at(&head, 0)).expect("writes");
    assert!(matches!(try_open(&disk, None), Err(LogError::Version { version: 9, .. })));
}
