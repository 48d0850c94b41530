//! A disk that is full or fails, and syncs that wait for each other.

use std::time::Duration;

use super::*;

/// How long a step that must come is waited for.
const WAIT: Duration = Duration::from_secs(10);

#[test]
fn a_full_disk_leaves_the_log_whole_and_usable() {
    let disk = new_disk();
    let (mut log, _) = log_of(&disk, 2);
    // Every amount of space, within the segment and for the roll to the next. Where room was made ahead, none is needed.
    let mut fitted = Vec::new();
    for room in 0..700 {
        let before = scan(&log);
        disk.set_space(Some(room));
        let batch = [entry(7), entry(8)];
        let full = log.append(&batch.iter().map(as_ref).collect::<Vec<_>>());
        disk.set_space(None);
        match full {
            Ok(_) => fitted.push(room),
            Err(e) => {
                assert!(
                    matches!(e, LogError::NotWritten { .. }) && e.to_string().contains("make room"),
                    "{e}"
                );
                assert!(scan(&log) == before, "room for {room} bytes");
                assert!(
                    fsck(&disk, dir(), &STORE, None)
                        .expect("reports")
                        .segments
                        .iter()
                        .all(|s| s.bad.is_empty())
                );
            }
        }
        if room % 10 == 0 {
            append(&mut log, &[entry(9)]);
        }
    }
    assert!((10..350).contains(&fitted.len()), "it fit in {fitted:?} bytes");
    let all = scan(&log);
    log.close().expect("closes");
    assert_eq!(scan(&open(&disk)), all);
}

/// A batch fits, and the room behind it doesn't: what was begun of it must not stay behind when the next segment is made.
#[test]
fn room_that_has_no_space_is_no_room() {
    for space in [0, 400, 700, 1000, 1400] {
        let disk = new_disk();
        let (log, _) = log_of(&disk, 2);
        // The file ends with its last record.
        log.close().expect("closes");
        let mut log = open(&disk);
        disk.set_space(Some(space));
        let small = RecordRef::IntentDone { id: 1 };
        let _ = log.append(&[small]);
        disk.set_space(None);
        let batch: Vec<_> = (0..5).map(entry).collect();
        let positions = append(&mut log, &batch);
        assert!(positions[0].segment > 0, "it rolled");
        assert!(scan(&log).ends_with(&positions.iter().copied().zip(batch).collect::<Vec<_>>()));
        assert!(fsck(&disk, dir(), &STORE, None).expect("reports").is_clean(), "{space} bytes");
    }
}

#[test]
fn a_failed_sync_is_the_last() {
    let disk = new_disk();
    let mut log = open(&disk);
    let durable = append(&mut log, &[entry(0)])[0];
    sync(&log);
    append(&mut log, &[entry(1)]);
    disk.fail_syncs(1);
    let (syncer, end) = (log.syncer(), log.end());
    for _ in 0..2 {
        let e = syncer.sync_to(end).expect_err("poisoned");
        assert!(matches!(e, LogError::Poisoned { .. }) && e.to_string().contains("reopen the store"), "{e}");
    }
    assert!(matches!(log.append(&[as_ref(&entry(2))]), Err(LogError::Poisoned { .. })));
    assert_eq!(syncer.durable_end(), durable.end());
    assert_eq!(scan(&log).len(), 2, "reading goes on");
    assert!(matches!(log.close(), Err(LogError::Poisoned { .. })));
}

#[test]
fn a_batch_that_can_not_be_taken_back_poisons() {
    let disk = new_disk();
    let mut log = open(&disk);
    disk.set_space(Some(10));
    disk.fail_syncs(1);
    assert!(matches!(log.append(&[as_ref(&entry(2))]), Err(LogError::Poisoned { .. })));
    disk.set_space(None);
    assert!(matches!(log.append(&[as_ref(&entry(2))]), Err(LogError::Poisoned { .. })));
}

#[test]
fn syncing_what_was_not_appended_is_an_error() {
    let disk = new_disk();
    let (log, _) = log_of(&disk, 1);
    let beyond = End { segment: 9, offset: 0 };
    assert!(matches!(log.syncer().sync_to(beyond), Err(LogError::NotAppended { .. })));
}

/// A disk whose syncs report that they began, and wait until they may end.
#[derive(Debug)]
struct Gate {
    disk: SimDisk,
    begun: Sender<()>,
    may_end: Mutex<Receiver<()>>,
    syncs: AtomicUsize,
}

#[derive(Debug)]
struct GatedDisk(Arc<Gate>);

#[derive(Debug)]
struct GatedFile(Arc<dyn DiskFile>, Arc<Gate>);

impl Disk for GatedDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(GatedFile(self.0.disk.open(path, how)?, self.0.clone())))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        self.0.disk.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.disk.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.disk.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.disk.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.disk.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.disk.sync_dir(dir)
    }
    fn exists(&self, path: &Path) -> bool {
        self.0.disk.exists(path)
    }
}

impl DiskFile for GatedFile {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.0.read_exact_at(buf, offset)
    }
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        self.1.syncs.fetch_add(1, Ordering::SeqCst);
        self.0.sync_data()?;
        self.1.begun.send(()).expect("the test listens");
        self.1.may_end.lock().recv_timeout(WAIT).expect("the test lets go");
        Ok(())
    }
    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        self.0.punch(offset, len)
    }
    fn allocated(&self) -> io::Result<u64> {
        self.0.allocated()
    }
    fn fd(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }
}

#[test]
fn callers_that_wait_together_share_one_sync_and_none_is_told_too_early() {
    let ((begun, has_begun), (let_go, may_end)) = (channel(), channel());
    let gate =
        Arc::new(Gate { disk: new_disk(), begun, may_end: Mutex::new(may_end), syncs: AtomicUsize::new(0) });
    let_go.send(()).expect("for the first segment");
    let disk = Arc::new(GatedDisk(gate.clone()));
    let (mut log, _) = Log::open(disk, dir(), STORE, LogOptions::default(), None).expect("opens");
    has_begun.recv_timeout(WAIT).expect("the first segment");
    gate.syncs.store(0, Ordering::SeqCst);
    let syncer = &log.syncer();
    let first = append(&mut log, &[entry(0)])[0].end();
    std::thread::scope(|s| {
        let leader = s.spawn(|| syncer.sync_to(first));
        has_begun.recv_timeout(WAIT).expect("the leader's sync");
        // Written while that sync runs: it may not count for this one.
        let second = append(&mut log, &[entry(1)])[0].end();
        let others: Vec<_> = (0..8).map(|_| s.spawn(move || syncer.sync_to(second))).collect();
        let_go.send(()).expect("the leader's sync");
        leader.join().expect("ends").expect("syncs");
        has_begun.recv_timeout(WAIT).expect("the others' sync");
        assert_eq!(syncer.durable_end(), first);
        let_go.send(()).expect("the others' sync");
        others.into_iter().for_each(|o| o.join().expect("ends").expect("syncs"));
        assert_eq!(syncer.durable_end(), second);
    });
    assert_eq!(gate.syncs.load(Ordering::SeqCst), 2);
}
