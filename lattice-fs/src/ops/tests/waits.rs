//! While a large file is on its way into the store, nobody waits but who would change it.

use std::thread;
use std::time::Instant;

use super::*;
use crate::ops::errno::FROZEN;

/// More than is staged in memory.
const LARGE: usize = 9 << 20;

/// Until `done`, which happens soon or never.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

impl Rig {
    fn is_frozen(&self, ino: u64) -> bool {
        self.fs.inode(ino).is_ok_and(|inode| inode.state.lock().frozen.is_some())
    }

    /// As the adapter does.
    fn write_patiently(&self, ino: u64, bytes: &'static [u8]) -> thread::JoinHandle<Result<()>> {
        let fs = self.fs.clone();
        let write = move |fs: &Fs| fs.write(ino, 0, bytes, false);
        thread::spawn(move || fs.patiently(&[(ino, 0..1)], &|| false, || write(&fs)))
    }

    /// What never waits.
    fn look(&self, ino: u64, first: u8) {
        assert_eq!(self.fs.getattr(ino).expect("attributes").0.size, LARGE as u64);
        let mut byte = [0];
        assert_eq!(self.fs.read(ino, 0, 0, &mut byte).expect("read"), 1);
        assert_eq!(byte, [first]);
        assert!(self.fs.settle_waits(ino), "who would change it is sent to another thread");
        assert_eq!(self.fs.write(ino, 0, b"x", false), Err(FROZEN));
        assert_eq!(self.fs.fallocate(ino, 0, 1, 0), Err(FROZEN));
    }
}

#[test]
fn a_large_file_is_promoted_while_it_is_open_for_writing() {
    let rig = Rig::new().opened_again();
    let ino = rig.create(ROOT, "f");
    rig.fs.write(ino, 0, &vec![1; LARGE], false).expect("written");
    rig.fs.flush(ino).expect("one of several closes");
    let held = rig.store.hold_writes().expect("a store made by another process");
    let fs = rig.fs.clone();
    let synced = thread::spawn(move || fs.fsync(ino));
    until("fsync comes to the commit, which is held", || rig.is_frozen(ino));
    rig.look(ino, 1);
    assert!(rig.fs.volumes()[0].tree.try_write().is_some(), "a directory may move");
    let written = rig.write_patiently(ino, b"more");
    rig.fs.flush(ino).expect("another close has nothing to do");
    drop(held);
    synced.join().expect("no panic").expect("synced");
    written.join().expect("no panic").expect("written");
    rig.close(ino);
    let stored = rig.stored("f").expect("there");
    assert!(stored.starts_with(b"more\x01") && stored.len() == LARGE);
    assert_eq!(rig.live_heads("f"), 1);
    assert_eq!(rig.store.intents().expect("intents"), []);
}

#[test]
fn what_changed_in_a_large_file_is_stored_while_it_is_looked_at_and_moved() {
    let rig = Rig::new();
    let d = rig.mkdir(ROOT, "d");
    let ino = rig.write(d, "f", &vec![1; LARGE]);
    rig.fs.work_off();
    rig.fs.open(ino, WRITE).expect("opened");
    let volume = rig.fs.volumes().remove(0);
    for name in ["e", "g"] {
        let from = if name == "e" { "d" } else { "e" };
        let tree = (0..100).find_map(|_| {
            rig.fs.write(ino, 0, &vec![2; LARGE], false).expect("written");
            let fs = rig.fs.clone();
            let saved = thread::spawn(move || fs.flush(ino));
            until("it is being stored, or is", || rig.is_frozen(ino) || saved.is_finished());
            // It can't end without that.
            let tree = volume.tree.write();
            rig.is_frozen(ino).then_some((tree, saved))
        });
        let (tree, saved) = tree.expect("it takes some time");
        rig.look(ino, 2);
        drop(tree);
        rig.fs.rename(ROOT, from.as_bytes(), ROOT, name.as_bytes(), RenameFlags::default()).expect("renamed");
        saved.join().expect("no panic").expect("saved");
        assert!(rig.stored(&format!("{name}/f")).is_some_and(|f| f == vec![2; LARGE]));
        assert_eq!(rig.live_heads(&format!("{name}/f")), 1);
        assert_eq!(rig.stored(&format!("{from}/f")), None);
    }
    let written = rig.write_patiently(ino, b"more");
    written.join().expect("no panic").expect("written");
    rig.close(ino);
    assert!(rig.stored("g/f").is_some_and(|f| f.starts_with(b"more\x02")));
}

#[test]
fn a_large_file_that_is_removed_while_it_is_stored_stays_removed() {
    let rig = Rig::new();
    let ino = rig.write(ROOT, "f", &vec![1; LARGE]);
    rig.fs.work_off();
    let volume = rig.fs.volumes().remove(0);
    rig.fs.open(ino, WRITE).expect("opened");
    let found = (0..100).find_map(|_| {
        rig.fs.write(ino, 0, &vec![2; LARGE], false).expect("written");
        let fs = rig.fs.clone();
        let saved = thread::spawn(move || fs.flush(ino));
        until("it is being stored, or is", || rig.is_frozen(ino) || saved.is_finished());
        let tree = volume.tree.read();
        rig.is_frozen(ino).then_some((tree, saved))
    });
    let (tree, saved) = found.expect("it takes some time");
    drop(tree);
    rig.fs.unlink(ROOT, b"f").expect("removed");
    saved.join().expect("no panic").expect("saved, or not needed");
    rig.write_patiently(ino, b"more").join().expect("no panic").expect("written");
    rig.close(ino);
    assert_eq!(rig.stored("f"), None);
}

/// Of a start, until peers have said what they hold.
#[test]
fn who_waits_for_the_first_commit_of_a_start_holds_no_lock() {
    let rig = Rig::new().opened_again();
    let ino = rig.create(ROOT, "f");
    rig.fs.write(ino, 0, b"text", false).expect("written");
    let held = rig.store.hold_writes().expect("a store made by another process");
    assert!(rig.fs.commits_wait(ROOT) && rig.fs.commits_wait(ino));
    let fs = rig.fs.clone();
    let made = thread::spawn(move || {
        fs.wait_for_commits(ROOT);
        fs.mkdir(CALLER, ROOT, b"d", 0o755).map(drop)
    });
    let fs = rig.fs.clone();
    let closed = thread::spawn(move || fs.flush(ino));
    let (volume, inode) = (rig.fs.volumes().remove(0), rig.fs.inode(ino).expect("there"));
    for _ in 0..2000 {
        thread::yield_now();
        drop(volume.tree.try_write_for(Duration::from_secs(20)).expect("a directory may move"));
        drop(inode.state.try_lock_for(Duration::from_secs(20)).expect("it can be looked at"));
        assert!(!made.is_finished() && !closed.is_finished());
    }
    drop(held);
    assert!(!rig.fs.commits_wait(ROOT));
    made.join().expect("no panic").expect("made");
    closed.join().expect("no panic").expect("saved");
    assert_eq!(rig.stored("f").as_deref(), Some(&b"text"[..]));
    assert!(rig.find(ROOT, "d").is_some());
}

#[test]
fn what_a_name_shows_is_looked_at_while_a_large_file_is_stored() {
    let rig = Rig::new().opened_again();
    let small = rig.write(ROOT, "a", b"old");
    rig.put_unnoticed("a", b"theirs");
    let large = rig.create(ROOT, "f");
    rig.fs.write(large, 0, &vec![1; LARGE], false).expect("written");
    rig.fs.flush(large).expect("logged");
    let held = rig.store.hold_writes().expect("a store made by another process");
    let _threads = Background::start(&rig.fs).expect("threads");
    rig.fs.release(large, 0, WRITE).expect("released");
    rig.fs.queue.recheck(&rig.fs.inode(small).expect("there"));
    until("the kernel is told of new bytes", || rig.told.inodes.lock().contains(&(small, true)));
    assert_eq!(rig.read(small), b"theirs");
    drop(held);
    until("the large file is there", || rig.stored("f").is_some());
}
