use std::sync::atomic::Ordering;
use std::time::Instant;

use super::*;

#[test]
fn a_new_file_is_seen_here_at_once_and_elsewhere_at_close() {
    let rig = Rig::new();
    let ino = rig.create(ROOT, "a");
    rig.fs.write(ino, 0, b"hello", false).expect("written");
    assert_eq!(rig.read(ino), b"hello");
    assert_eq!(rig.names(ROOT), ["a"]);
    assert_eq!(rig.stored("a"), None);
    rig.fs.flush(ino).expect("flushed");
    assert_eq!(rig.stored("a").as_deref(), Some(&b"hello"[..]));
    rig.fs.release(ino, 0, WRITE).expect("released");
    assert_eq!(rig.names(ROOT), ["a"]);
    assert_eq!(rig.read(ino), b"hello");
}

#[test]
fn attributes_set_before_close_go_in_the_same_entry() {
    let rig = Rig::new();
    let ino = rig.create(ROOT, "a");
    rig.fs.write(ino, 0, b"x", false).expect("written");
    let time = lattice_engine::entry::Time { s: 7, ns: 9 };
    let set = SetAttr { mode: Some(0o600), mtime: Some(SetTime::At(time)), ..SetAttr::default() };
    rig.fs.setattr(CALLER, ino, &set).expect("set");
    rig.fs.setxattr(ino, b"user.x", b"1", SetHow::Create).expect("set");
    assert_eq!(rig.fs.getxattr(ino, b"user.x").expect("there"), "1");
    let before = rig.store.status().expect("status").entries;
    rig.close(ino);
    assert_eq!(rig.store.status().expect("status").entries, before + 1);
    let (attr, _) = rig.fs.getattr(ino).expect("attributes");
    assert_eq!((attr.meta.mode, attr.meta.mtime), (0o600, time));
    assert_eq!(rig.fs.getxattr(ino, b"user.x").expect("there"), "1");
}

#[test]
fn an_unlinked_open_file_lives_until_its_close_and_is_never_committed() {
    let rig = Rig::new();
    let ino = rig.create(ROOT, "a");
    rig.fs.write(ino, 0, b"secret", false).expect("written");
    rig.fs.unlink(ROOT, b"a").expect("unlinked");
    assert_eq!(rig.read(ino), b"secret");
    assert_eq!(rig.fs.getattr(ino).expect("attributes").0.nlink, 0);
    rig.close(ino);
    assert_eq!(rig.stored("a"), None);
    assert_eq!(rig.names(ROOT), [""; 0]);
    // And so after it was committed.
    let ino = rig.write(ROOT, "b", &[7; 10_000]);
    rig.fs.open(ino, libc::O_RDONLY).expect("opened");
    rig.fs.unlink(ROOT, b"b").expect("unlinked");
    assert_eq!(rig.read(ino), [7; 10_000]);
}

#[test]
fn truncation_writing_over_and_holes() {
    let rig = Rig::new();
    let ino = rig.write(ROOT, "a", b"0123456789");
    rig.fs.open(ino, WRITE | libc::O_TRUNC).expect("opened");
    assert_eq!(rig.read(ino), b"");
    rig.fs.write(ino, 4, b"x", false).expect("written");
    rig.close(ino);
    assert_eq!(rig.stored("a").as_deref(), Some(&b"\0\0\0\0x"[..]));
    assert_eq!(rig.live_heads("a"), 1);
    // Without anybody having it open.
    let set = SetAttr { size: Some(2), ..SetAttr::default() };
    rig.fs.setattr(CALLER, ino, &set).expect("cut");
    assert_eq!(rig.stored("a").as_deref(), Some(&b"\0\0"[..]));
}

/// Larger than what is staged in memory: staged in a file, logged at close, content a moment later.
#[test]
fn a_large_file_is_readable_all_the_way() {
    let rig = Rig::new();
    let bytes: Vec<u8> =
        (0..3_000_000u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) as u8).to_le_bytes()).collect();
    let ino = rig.create(ROOT, "big");
    for (i, part) in bytes.chunks(700_000).enumerate() {
        rig.fs.write(ino, i as u64 * 700_000, part, false).expect("written");
    }
    rig.close(ino);
    assert!(rig.read(ino) == bytes, "while it is on its way");
    assert_eq!(rig.names(ROOT), ["big"]);
    rig.fs.save_all().expect("saved");
    assert!(rig.stored("big").as_deref() == Some(&bytes[..]), "in the store");
    assert!(rig.read(ino) == bytes, "from the store");
    // A change in the middle leaves the rest.
    rig.fs.open(ino, WRITE).expect("opened");
    rig.fs.write(ino, 1_500_000, b"changed", false).expect("written");
    let mut expected = bytes;
    expected[1_500_000..1_500_007].copy_from_slice(b"changed");
    assert!(rig.read(ino) == expected, "staged");
    rig.close(ino);
    assert!(rig.stored("big").as_deref() == Some(&expected[..]), "updated");
}

#[test]
fn a_large_file_that_is_closed_twice_keeps_what_was_written_last() {
    let rig = Rig::new();
    let ino = rig.create(ROOT, "log");
    rig.fs.write(ino, 0, &[1; 2 << 20], false).expect("written");
    rig.fs.flush(ino).expect("the first close");
    rig.fs.write(ino, 2 << 20, &[2; 100], false).expect("written");
    rig.close(ino);
    rig.fs.save_all().expect("saved");
    let stored = rig.stored("log").expect("there");
    assert_eq!((stored.len(), stored[stored.len() - 1]), ((2 << 20) + 100, 2));
    assert_eq!(rig.store.intents().expect("intents"), []);
}

#[test]
fn set_id_bits_go_when_others_write() {
    let rig = Rig::new();
    let ino = rig.write(ROOT, "a", b"x");
    rig.fs.setattr(CALLER, ino, &SetAttr { mode: Some(0o6755), ..SetAttr::default() }).expect("set");
    rig.fs.open(ino, WRITE).expect("opened");
    rig.fs.write(ino, 0, b"y", true).expect("written");
    rig.close(ino);
    assert_eq!(rig.fs.getattr(ino).expect("attributes").0.meta.mode, 0o755);
}

#[test]
fn set_id_bits_go_when_the_owner_changes() {
    let rig = Rig::new();
    for (name, kind) in [("file", libc::S_IFREG), ("fifo", libc::S_IFIFO)] {
        let made = rig.fs.mknod(CALLER, ROOT, name.as_bytes(), kind | 0o6755).expect("made");
        let set = SetAttr { uid: Some(7), ..SetAttr::default() };
        assert_eq!(rig.fs.setattr(CALLER, made.0.ino, &set).expect("given away").meta.mode, 0o755, "{name}");
    }
}

#[test]
fn what_a_store_can_not_hold_is_refused() {
    let rig = Rig::new();
    let errno = |r: Result<(Arc<Inode>, Attr)>| r.expect_err("refused");
    assert_eq!(errno(rig.fs.mknod(CALLER, ROOT, b"dev", libc::S_IFBLK | 0o600)), Errno::PERM);
    assert_eq!(errno(rig.fs.mkdir(CALLER, ROOT, &[b'n'; 256], 0o755)), Errno::NAMETOOLONG);
    assert_eq!(errno(rig.fs.mkdir(CALLER, ROOT, b".lattice", 0o755)), Errno::PERM);
    assert_eq!(errno(rig.fs.symlink(CALLER, ROOT, b"s", &[b'x'; 4096])), Errno::NAMETOOLONG);
    let ino = rig.write(ROOT, "a", b"x");
    assert_eq!(rig.fs.setxattr(ino, b"trusted.x", b"1", SetHow::Either), Err(Errno::OPNOTSUPP));
    assert_eq!(rig.fs.setxattr(ino, b"user.x", &[0; 70_000], SetHow::Either), Err(Errno::TOOBIG));
    assert_eq!(rig.fs.setxattr(ino, b"user.x", b"", SetHow::Replace), Err(Errno::NODATA));
}

/// `fsync` and `chmod` of a large file that is still being written: what is written after is over the content they made.
#[test]
fn a_large_file_can_be_made_durable_while_it_is_written() {
    let rig = Rig::new();
    let ino = rig.create(ROOT, "db");
    rig.fs.write(ino, 0, &[1; 3 << 20], false).expect("written");
    rig.fs.fsync(ino).expect("synced");
    assert_eq!(rig.stored("db").map(|b| b.len()), Some(3 << 20));
    rig.fs.write(ino, 100, &[2; 50], false).expect("written");
    rig.fs.flush(ino).expect("one of several closes");
    rig.fs.write(ino, 3 << 20, &[3; 2 << 20], false).expect("written");
    rig.fs.setattr(CALLER, ino, &SetAttr { mode: Some(0o600), ..SetAttr::default() }).expect("set");
    rig.fs.write(ino, 0, &[4; 10], false).expect("written");
    rig.close(ino);
    rig.fs.save_all().expect("saved");
    let mut expected = vec![1; 3 << 20];
    expected[100..150].fill(2);
    expected.extend([3; 2 << 20]);
    expected[..10].fill(4);
    assert!(rig.stored("db") == Some(expected));
    assert_eq!(rig.live_heads("db"), 1);
    assert_eq!(rig.fs.getattr(ino).expect("attributes").0.meta.mode, 0o600);
}

/// Whatever the access mode, and though another handle has written what isn't saved yet.
#[test]
fn truncation_at_open_empties_what_others_are_writing() {
    let access = [libc::O_RDONLY, WRITE];
    for (len, flags) in [100_000, 3 << 20].into_iter().flat_map(|len| access.map(|flags| (len, flags))) {
        let rig = Rig::new();
        let ino = rig.create(ROOT, "a");
        rig.fs.write(ino, 0, &vec![1; len], false).expect("written");
        rig.fs.flush(ino).expect("one of several closes");
        rig.fs.write(ino, 7, &[2; 10], false).expect("written");
        let opened = rig.fs.open(ino, flags | libc::O_TRUNC).expect("opened");
        assert!(!opened.no_flush, "the close of this handle saves");
        assert_eq!(rig.fs.getattr(ino).expect("attributes").0.size, 0);
        assert_eq!(rig.read(ino), b"");
        rig.fs.flush(ino).expect("flushed");
        rig.fs.release(ino, 0, flags).expect("released");
        rig.fs.write(ino, 1, b"x", false).expect("written");
        rig.close(ino);
        rig.fs.save_all().expect("saved");
        assert_eq!(rig.stored("a").as_deref(), Some(&b"\0x"[..]));
        assert_eq!(rig.live_heads("a"), 1);
    }
}

#[test]
fn a_file_truncated_by_a_reader_is_empty_in_the_store() {
    let rig = Rig::new();
    let ino = rig.write(ROOT, "a", b"0123456789");
    rig.fs.open(ino, libc::O_RDONLY | libc::O_TRUNC).expect("opened");
    rig.fs.flush(ino).expect("flushed");
    rig.fs.release(ino, 0, libc::O_RDONLY).expect("released");
    assert_eq!(rig.stored("a").as_deref(), Some(&b""[..]));
}

#[test]
fn a_file_created_for_reading_is_an_entry_at_close() {
    let rig = Rig::new();
    let flags = libc::O_RDONLY | libc::O_EXCL;
    let (inode, _, opened) = rig.fs.create(CALLER, ROOT, b"lock", 0o644, flags).expect("created");
    assert!(!opened.no_flush);
    rig.fs.flush(inode.ino).expect("flushed");
    assert_eq!(rig.stored("lock").as_deref(), Some(&b""[..]));
    rig.fs.release(inode.ino, 0, flags).expect("released");
}

#[test]
fn a_file_left_open_and_quiet_becomes_an_entry() {
    let rig = Rig::new();
    let quiet = |ino: u64| {
        let inode = rig.fs.inode(ino).expect("there");
        let long_ago = Duration::from_secs(6);
        if let Some(staged) = &mut inode.state.lock().staged {
            staged.changed = staged.changed.checked_sub(long_ago).expect("the machine is up for longer");
        }
        rig.fs.check_quiet(&Arc::downgrade(&inode))
    };
    let (small, large, empty) = (rig.create(ROOT, "s"), rig.create(ROOT, "l"), rig.create(ROOT, "e"));
    rig.fs.write(small, 0, b"small", false).expect("written");
    rig.fs.write(large, 0, &[1; 2 << 20], false).expect("written");
    rig.fs.flush(empty).expect("one of several closes");
    assert!(rig.fs.check_quiet(&Arc::downgrade(&rig.fs.inode(large).expect("there"))), "not yet");
    assert_eq!(rig.stored("l"), None);
    for ino in [small, large, empty] {
        quiet(ino);
    }
    assert_eq!(rig.stored("s").as_deref(), Some(&b"small"[..]));
    assert!(rig.stored("l") == Some(vec![1; 2 << 20]));
    assert_eq!(rig.stored("e").as_deref(), Some(&b""[..]));
    assert!(!quiet(large), "nothing is left to watch");
    rig.fs.write(large, 2 << 20, b"more", false).expect("written");
    rig.close(large);
    assert_eq!(rig.stored("l").map(|l| l.len()), Some((2 << 20) + 4));
}

/// The kernel forgets what nobody has open, when memory is short or its name is taken back.
#[test]
fn what_could_not_be_saved_stays_when_the_kernel_forgets_the_file() {
    for fsynced in [false, true] {
        let rig = Rig::new();
        let ino = match fsynced {
            false => {
                let ino = rig.write(ROOT, "a", b"old");
                rig.fs.open(ino, WRITE).expect("opened");
                ino
            }
            true => {
                let ino = rig.create(ROOT, "a");
                rig.fs.write(ino, 0, b"old", false).expect("written");
                rig.fs.fsync(ino).expect("synced");
                ino
            }
        };
        rig.fs.write(ino, 0, b"new", false).expect("written");
        let volume = rig.fs.volumes().remove(0);
        volume.read_only.store(true, Ordering::Relaxed);
        assert_eq!(rig.fs.flush(ino), Err(Errno::ROFS));
        assert_eq!(rig.fs.release(ino, 0, WRITE), Err(Errno::ROFS));
        rig.fs.forget(ino, u64::MAX);
        assert_eq!(rig.ino(ROOT, "a"), ino);
        assert_eq!(rig.read(ino), b"new");
        rig.fs.forget(ino, u64::MAX);
        volume.read_only.store(false, Ordering::Relaxed);
        let inode = rig.fs.inode(ino).expect("kept");
        if let Some(staged) = &mut inode.state.lock().staged {
            staged.changed = Instant::now().checked_sub(Duration::from_secs(5)).expect("some uptime");
        }
        assert!(rig.fs.check_quiet(&Arc::downgrade(&inode)), "it is looked at again");
        assert_eq!(rig.stored("a").as_deref(), Some(&b"new"[..]));
        assert!(!rig.fs.check_quiet(&Arc::downgrade(&inode)), "it is done");
        assert_eq!(rig.fs.inode(ino).expect_err("forgotten"), Errno::STALE);
    }
}
