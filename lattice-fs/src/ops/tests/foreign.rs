use super::*;
use crate::view::Kind;

#[test]
fn a_name_that_was_missing_is_found_once_it_appears() {
    let rig = Rig::new();
    assert!(rig.find(ROOT, "a").is_none());
    rig.put_elsewhere("a", b"x");
    assert_eq!(*rig.told.entries.lock(), [(ROOT, b"a".to_vec())]);
    assert_eq!(rig.read(rig.ino(ROOT, "a")), b"x");
}

/// The kernel keeps for an hour what it was told, and only a name takes it back.
#[test]
fn names_that_were_missing_are_found_though_the_watcher_missed_what_made_them() {
    let rig = Rig::new();
    let d = rig.mkdir(ROOT, "d");
    for n in 0..3000 {
        rig.write(d, &format!("old{n}"), b"");
        rig.fs.unlink(d, format!("old{n}").as_bytes()).expect("unlinked");
    }
    let kept = (0..3000).map(|n| format!("f{n}")).filter(|name| {
        let looked = rig.fs.lookup(d, name.as_bytes()).expect("a look-up");
        matches!(looked, Looked::Absent { cache: true })
    });
    let kept: Vec<String> = kept.collect();
    assert!((500..3000).contains(&kept.len()), "{} are kept, within bounds", kept.len());
    rig.put_unnoticed(&format!("d/{}", kept[0]), b"x");
    rig.fs.compare_all(&rig.fs.volumes()[0]);
    let told = rig.told.entries.lock();
    assert!(kept.iter().all(|name| told.contains(&(d, name.clone().into_bytes()))));
    drop(told);
    assert_eq!(rig.read(rig.ino(d, &kept[0])), b"x");
}

#[test]
fn our_own_changes_are_not_told_to_the_kernel() {
    let rig = Rig::new();
    let d = rig.mkdir(ROOT, "d");
    rig.write(d, "f", b"x");
    rig.fs.unlink(d, b"f").expect("unlinked");
    rig.catch_up();
    assert!(rig.told.entries.lock().is_empty() && rig.told.inodes.lock().is_empty());
}

#[test]
fn a_file_changed_elsewhere_shows_its_new_bytes() {
    let rig = Rig::new();
    let ino = rig.write(ROOT, "a", b"old");
    rig.put_elsewhere("a", b"newer");
    assert_eq!(*rig.told.inodes.lock(), [(ino, true)]);
    assert_eq!(rig.ino(ROOT, "a"), ino);
    assert_eq!(rig.read(ino), b"newer");
}

#[test]
fn who_has_a_file_open_keeps_what_they_opened() {
    let rig = Rig::new();
    let ino = rig.write(ROOT, "a", b"old");
    rig.fs.open(ino, libc::O_RDONLY).expect("opened");
    rig.put_elsewhere("a", b"newer");
    assert_eq!(rig.read(ino), b"old");
    let other = rig.ino(ROOT, "a");
    assert_ne!(other, ino);
    assert_eq!(rig.read(other), b"newer");
}

/// Invariant I3: a save supersedes what was read, and nothing else.
#[test]
fn a_save_over_an_unseen_change_is_a_conflict_and_not_a_loss() {
    let rig = Rig::new();
    let ino = rig.write(ROOT, "a", b"old");
    rig.fs.open(ino, WRITE | libc::O_TRUNC).expect("opened");
    rig.put_elsewhere("a", b"theirs");
    rig.fs.write(ino, 0, b"ours", false).expect("written");
    rig.close(ino);
    assert_eq!(rig.live_heads("a"), 2);
    rig.fs.work_off();
    let seen = rig.ino(ROOT, "a");
    assert_eq!(rig.fs.getxattr(seen, b"user.lattice.conflict").expect("there"), "2");
    assert_eq!(rig.read(seen), b"ours");
}

/// The renamed directory has nothing to do with the file.
#[test]
fn a_save_after_a_directory_moved_is_a_conflict_with_what_came_meanwhile() {
    let rig = Rig::new();
    rig.mkdir(ROOT, "d");
    let ino = rig.write(ROOT, "a", b"old");
    rig.fs.open(ino, WRITE | libc::O_TRUNC).expect("opened");
    rig.fs.write(ino, 0, b"ours", false).expect("written");
    rig.put_elsewhere("a", b"theirs");
    rig.fs.rename(ROOT, b"d", ROOT, b"e", RenameFlags::default()).expect("renamed");
    rig.close(ino);
    assert_eq!(rig.live_heads("a"), 2);
}

/// The mount has not been told yet of what it moves.
#[test]
fn a_save_after_a_rename_is_a_conflict_with_what_the_rename_moved_unseen() {
    let exchange = RenameFlags { exchange: true, ..RenameFlags::default() };
    for flags in [RenameFlags::default(), exchange] {
        let rig = Rig::new();
        let ino = rig.write(ROOT, "a", b"old");
        if flags.exchange {
            rig.write(ROOT, "b", b"other");
        }
        rig.fs.open(ino, WRITE | libc::O_TRUNC).expect("opened");
        rig.fs.write(ino, 0, b"ours", false).expect("written");
        rig.put_unnoticed("a", b"theirs");
        let (from, to) = if flags.exchange { ("b", "a") } else { ("a", "b") };
        rig.fs.rename(ROOT, from.as_bytes(), ROOT, to.as_bytes(), flags).expect("renamed");
        rig.catch_up();
        rig.fs.work_off();
        assert_eq!(rig.read(rig.ino(ROOT, "b")), b"theirs");
        rig.close(ino);
        assert_eq!(rig.live_heads("b"), 2);
    }
}

#[test]
fn a_file_that_nobody_has_open_shows_what_a_rename_moved_unseen() {
    let rig = Rig::new();
    rig.write(ROOT, "a", b"old");
    rig.put_unnoticed("a", b"theirs");
    rig.fs.rename(ROOT, b"a", ROOT, b"b", RenameFlags::default()).expect("renamed");
    rig.catch_up();
    rig.fs.work_off();
    assert_eq!(rig.read(rig.ino(ROOT, "b")), b"theirs");
}

#[test]
fn a_delete_elsewhere_beside_an_open_edit_keeps_the_edit() {
    let rig = Rig::new();
    let ino = rig.write(ROOT, "a", b"old");
    rig.fs.open(ino, WRITE).expect("opened");
    rig.fs.write(ino, 0, b"new", false).expect("written");
    rig.delete_elsewhere("a");
    assert!(rig.find(ROOT, "a").is_none());
    rig.close(ino);
    assert_eq!(rig.stored("a").as_deref(), Some(&b"new"[..]));
    rig.fs.work_off();
    assert_eq!(rig.read(rig.ino(ROOT, "a")), b"new");
}

#[test]
fn a_directory_deleted_elsewhere_is_gone() {
    let rig = Rig::new();
    let d = rig.mkdir(ROOT, "d");
    rig.delete_elsewhere("d");
    assert!(rig.find(ROOT, "d").is_none());
    assert_eq!(rig.fs.getattr(d).expect_err("gone"), Errno::NOENT);
    assert!(rig.told.entries.lock().contains(&(ROOT, b"d".to_vec())));
}

/// Two versions of `a`, as two who edited apart would leave them: the number of `a`, and the one that isn't shown.
fn conflict(rig: &Rig) -> (u64, String, Vec<u8>) {
    let ino = rig.write(ROOT, "a", b"old");
    rig.fs.open(ino, WRITE | libc::O_TRUNC).expect("opened");
    rig.put_elsewhere("a", b"theirs");
    rig.fs.write(ino, 0, b"ours", false).expect("written");
    rig.close(ino);
    rig.fs.work_off();
    let ino = rig.ino(ROOT, "a");
    let shown = rig.read(ino);
    let other = if shown == b"ours" { b"theirs".to_vec() } else { b"ours".to_vec() };
    let heads = rig.fs.getxattr(ino, b"user.lattice.heads").expect("heads");
    let heads = String::from_utf8_lossy(&heads).into_owned();
    let loser = heads.lines().find(|l| !l.ends_with("winner")).expect("a loser");
    rig.told.inodes.lock().clear();
    (ino, loser[..12].to_owned(), other)
}

/// What the mount settles by itself is told to the kernel like what others do.
#[test]
fn a_conflict_settled_in_the_mount_shows_the_version_that_was_picked() {
    let by_xattr = |rig: &Rig, ino: u64, id: &str| {
        rig.fs.setxattr(ino, b"user.lattice.resolve", id.as_bytes(), SetHow::Either).expect("resolved");
    };
    let by_command = |rig: &Rig, _: u64, id: &str| {
        let control = rig.ino(ROOT, ".lattice");
        let ctl = rig.ino(control, "ctl");
        rig.fs.write(ctl, 0, format!("resolve a {id}\n").as_bytes(), false).expect("done");
    };
    for settle in [&by_xattr as &dyn Fn(&Rig, u64, &str), &by_command] {
        let rig = Rig::new();
        let (ino, loser, picked) = conflict(&rig);
        settle(&rig, ino, &loser);
        assert_eq!(rig.live_heads("a"), 1);
        assert!(rig.told.inodes.lock().contains(&(ino, true)));
        assert_eq!(rig.ino(ROOT, "a"), ino);
        assert_eq!(rig.read(ino), picked);
        assert_eq!(rig.stored("a"), Some(picked));
    }
}

#[test]
fn a_conflict_follows_the_rename_of_its_file_and_of_its_directory() {
    let rig = Rig::new();
    let (_, _, other) = conflict(&rig);
    let shown = rig.read(rig.ino(ROOT, "a"));
    let d = rig.mkdir(ROOT, "d");
    rig.fs.rename(ROOT, b"a", d, b"b", RenameFlags::default()).expect("renamed");
    rig.fs.rename(ROOT, b"d", ROOT, b"e", RenameFlags::default()).expect("renamed");
    assert_eq!(rig.names(ROOT), ["e"]);
    let moved = rig.ino(d, "b");
    assert_eq!(rig.fs.getxattr(moved, b"user.lattice.conflict").expect("there"), "2");
    assert_eq!(rig.read(moved), shown);
    // A save supersedes what it was made from, and nothing else.
    rig.fs.open(moved, WRITE | libc::O_TRUNC).expect("opened");
    rig.fs.write(moved, 0, b"newer", false).expect("written");
    rig.close(moved);
    assert_eq!(rig.live_heads("e/b"), 2);
    let control = rig.ino(ROOT, ".lattice");
    let versions = rig.ino(rig.ino(rig.ino(control, "conflicts"), "e"), "b");
    let name = rig.names(versions).into_iter().find(|n| n.starts_with("2-")).expect("the other version");
    assert_eq!(rig.find(versions, &name).expect("there").1.size, other.len() as u64);
}

#[test]
fn the_shown_version_that_is_discarded_in_the_mount_gives_way() {
    let rig = Rig::new();
    let (ino, _, other) = conflict(&rig);
    let control = rig.ino(ROOT, ".lattice");
    let conflicts = rig.ino(control, "conflicts");
    let dir = rig.ino(conflicts, "a");
    let first = rig.names(dir).into_iter().find(|n| n.starts_with("1-")).expect("the winner");
    rig.fs.unlink(dir, first.as_bytes()).expect("discarded");
    assert!(rig.told.inodes.lock().contains(&(ino, true)));
    assert_eq!(rig.read(rig.ino(ROOT, "a")), other);
}

#[test]
fn a_file_that_got_something_below_it_elsewhere_is_a_directory_at_once() {
    let rig = Rig::new();
    rig.write(ROOT, "q", b"file");
    rig.put_below_elsewhere("q/x/y", b"below");
    let (dir, attr) = rig.find(ROOT, "q").expect("a directory");
    assert_eq!((attr.kind, rig.names(dir)), (Kind::Dir, vec!["x".to_owned()]));
    assert_eq!(*rig.told.entries.lock(), [(ROOT, b"q".to_vec())], "nothing is said of names in a file");
    assert!(rig.told.inodes.lock().contains(&(ROOT, true)));
    let control = rig.ino(ROOT, ".lattice");
    let versions = rig.ino(rig.ino(control, "conflicts"), "q");
    let name = rig.names(versions).into_iter().find(|n| n.starts_with("2-")).expect("the file");
    let version = rig.ino(versions, &name);
    let handle = rig.fs.open(version, libc::O_RDONLY).expect("opened").handle;
    let mut bytes = [0; 8];
    assert_eq!(rig.fs.read(version, handle, 0, &mut bytes).expect("read"), 4);
    assert_eq!(&bytes[..4], b"file");
}

#[test]
fn a_directory_that_lost_what_was_below_it_elsewhere_shows_the_file_again() {
    let rig = Rig::new();
    rig.write(ROOT, "q", b"file");
    rig.put_below_elsewhere("q/x/y", b"below");
    let dir = rig.ino(ROOT, "q");
    rig.ino(rig.ino(dir, "x"), "y");
    rig.delete_elsewhere("q/x/y");
    assert!(rig.told.entries.lock().contains(&(ROOT, b"q".to_vec())));
    assert_eq!(rig.read(rig.ino(ROOT, "q")), b"file");
}

#[test]
fn a_directory_that_was_there_because_of_one_key_goes_with_it() {
    let rig = Rig::new();
    rig.put_elsewhere("d/e/f", b"x");
    let d = rig.ino(ROOT, "d");
    rig.ino(rig.ino(d, "e"), "f");
    rig.told.entries.lock().clear();
    rig.delete_elsewhere("d/e/f");
    assert!(rig.told.entries.lock().contains(&(ROOT, b"d".to_vec())));
    assert!(rig.find(ROOT, "d").is_none());
}

/// What was written goes beside what others made of the name meanwhile.
#[test]
fn a_file_that_became_a_directory_while_it_was_open_is_saved_beside_it() {
    let rig = Rig::new();
    let old = rig.write(ROOT, "old", b"before");
    rig.fs.open(old, WRITE).expect("opened");
    rig.fs.write(old, 0, b"edited", false).expect("written");
    let new = rig.create(ROOT, "new");
    rig.fs.write(new, 0, b"fresh", false).expect("written");
    for (ino, name, text) in [(old, "old", &b"edited"[..]), (new, "new", b"fresh")] {
        rig.put_below_elsewhere(&format!("{name}/x"), b"below");
        rig.close(ino);
        rig.fs.work_off();
        let dir = rig.ino(ROOT, name);
        assert_eq!(rig.names(dir), ["x"], "{name}");
        assert_eq!(rig.stored(name).as_deref(), Some(text), "{name} keeps what was written");
        assert_eq!(rig.fs.getxattr(dir, b"user.lattice.conflict").expect("there"), "1", "{name}");
    }
}

#[test]
fn a_conflict_of_a_file_and_a_directory_is_settled_for_the_directory_in_the_mount() {
    let rig = Rig::new();
    rig.write(ROOT, "q", b"file");
    rig.put_below_elsewhere("q/x", b"below");
    let dir = rig.ino(ROOT, "q");
    let heads = rig.fs.getxattr(dir, b"user.lattice.heads").expect("heads");
    let heads = String::from_utf8_lossy(&heads);
    let resolve = |pick: &str| rig.fs.setxattr(dir, b"user.lattice.resolve", pick.as_bytes(), SetHow::Either);
    assert_eq!(resolve(&heads[..12]).expect_err("a file over children"), Errno::ISDIR);
    resolve("dir").expect("resolved");
    assert_eq!(rig.live_heads("q"), 1);
    assert_eq!(rig.names(rig.ino(ROOT, "q")), ["x"]);
}

/// The kernel has one size for an inode, and cuts or fills what is read by it.
#[test]
fn a_text_of_the_control_directory_keeps_the_size_that_it_was_looked_up_with() {
    let rig = Rig::new();
    let control = rig.ino(ROOT, ".lattice");
    let (old, before) = rig.find(control, "status.json").expect("there");
    assert_eq!(rig.ino(control, "status.json"), old, "as long as nothing happens");
    let handle = rig.fs.open(old, libc::O_RDONLY).expect("opened").handle;
    for n in 0..12 {
        rig.write(ROOT, &format!("f{n}"), b"x");
    }
    let (new, after) = rig.find(control, "status.json").expect("there");
    assert_ne!((new, after.size), (old, before.size), "another text");
    let late = rig.fs.open(old, libc::O_RDONLY).expect("opened after it had changed").handle;
    for (ino, handle, size) in [(old, handle, before.size), (old, late, before.size)] {
        assert_eq!(rig.fs.getattr(ino).expect("attributes").0.size, size);
        let mut bytes = vec![0; 2 * size as usize];
        let n = rig.fs.read(ino, handle, 0, &mut bytes).expect("read");
        assert_eq!(n as u64, size);
        serde_json::from_slice::<serde_json::Value>(&bytes[..n]).expect("whole");
    }
}
