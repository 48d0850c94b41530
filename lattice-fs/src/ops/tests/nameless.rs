//! `O_TMPFILE` and `linkat`.

use super::killed::Killed;
use super::*;

impl Rig {
    fn tmpfile(&self, parent: u64) -> u64 {
        self.fs.tmpfile(CALLER, parent, 0o640, WRITE).expect("made").0.ino
    }

    fn link(&self, ino: u64, parent: u64, name: &str) -> Result<Attr> {
        let (inode, attr) = self.fs.link(ino, parent, name.as_bytes())?;
        assert_eq!(inode.ino, ino, "the kernel goes on with the same file");
        Ok(attr)
    }

    fn entries(&self) -> u64 {
        self.store.status().expect("status").entries
    }

    /// Files in the staging directory.
    fn staged(&self) -> usize {
        let one = self.store.staging_path().expect("a path");
        std::fs::read_dir(one.parent().expect("a directory")).expect("readable").count()
    }

    fn versions(&self, path: &str) -> usize {
        self.store.history(&key(path), 100).expect("a history").len()
    }
}

#[test]
fn a_nameless_file_is_read_and_written_and_goes_with_its_last_close() {
    let rig = Rig::new();
    let d = rig.mkdir(ROOT, "d");
    let (entries, staged) = (rig.entries(), rig.staged());
    for size in [5, 3 << 20] {
        let bytes = vec![7; size];
        let ino = rig.tmpfile(d);
        rig.fs.write(ino, 0, &bytes, false).expect("written");
        rig.fs.setxattr(ino, b"user.x", b"1", SetHow::Create).expect("set");
        rig.fs.fsync(ino).expect("synced");
        rig.fs.flush(ino).expect("one of several closes");
        rig.fs.fsyncdir(d).expect("synced");
        assert!(rig.read(ino) == bytes);
        let (attr, _) = rig.fs.getattr(ino).expect("attributes");
        assert_eq!((attr.nlink, attr.size, attr.meta.mode), (0, size as u64, 0o640));
        assert_eq!(rig.fs.getxattr(ino, b"user.x").expect("there"), "1");
        assert_eq!(rig.names(d), [""; 0]);
        rig.close(ino);
        rig.fs.forget(ino, 1);
        assert_eq!(rig.fs.table.get(ino).map(|i| i.ino), Err(Errno::STALE), "it is forgotten");
        assert_eq!((rig.entries(), rig.staged()), (entries, staged), "nothing is left of it");
    }
    rig.fs.rmdir(ROOT, b"d").expect("nothing is in it");
}

#[test]
fn a_link_gives_a_name_with_all_that_was_written_in_one_version() {
    let rig = Rig::new();
    let (d, e) = (rig.mkdir(ROOT, "d"), rig.mkdir(ROOT, "e"));
    let ino = rig.tmpfile(d);
    rig.fs.write(ino, 0, b"whole", false).expect("written");
    let time = lattice_engine::entry::Time { s: 7, ns: 9 };
    let set = SetAttr { mode: Some(0o604), mtime: Some(SetTime::At(time)), ..SetAttr::default() };
    rig.fs.setattr(CALLER, ino, &set).expect("set");
    rig.fs.setxattr(ino, b"user.x", b"1", SetHow::Create).expect("set");
    let entries = rig.entries();
    let attr = rig.link(ino, e, "f").expect("linked");
    assert_eq!((attr.nlink, attr.meta.mode, attr.meta.mtime), (1, 0o604, time));
    assert_eq!(rig.stored("e/f").as_deref(), Some(&b"whole"[..]), "others see it before the close");
    assert_eq!(rig.entries(), entries + 1, "with its attributes");
    assert_eq!((rig.names(d), rig.names(e)), (vec![], vec!["f".to_owned()]));
    assert_eq!(rig.ino(e, "f"), ino);
    rig.close(ino);
    assert_eq!(rig.versions("e/f"), 1, "the close has nothing to add");
    // A file like any other.
    rig.fs.open(ino, WRITE).expect("opened");
    rig.fs.write(ino, 5, b"r", false).expect("written");
    rig.close(ino);
    assert_eq!(rig.stored("e/f").as_deref(), Some(&b"wholer"[..]));
    assert_eq!((rig.live_heads("e/f"), rig.versions("e/f")), (1, 2));
    rig.fs.rename(e, b"f", ROOT, b"g", RenameFlags::default()).expect("renamed");
    let rig = rig.opened_again();
    let (ino, attr) = rig.find(ROOT, "g").expect("there");
    assert_eq!((attr.meta.mode, rig.read(ino)), (0o604, b"wholer".to_vec()));
    assert_eq!(rig.fs.getxattr(ino, b"user.x").expect("there"), "1");
}

#[test]
fn what_was_linked_survives_a_kill_and_what_was_not_leaves_nothing() {
    let rig = Rig::new();
    let big = vec![3; (1 << 20) + 70_000];
    let empty = rig.tmpfile(ROOT);
    let (small, large, left) = (rig.tmpfile(ROOT), rig.tmpfile(ROOT), rig.tmpfile(ROOT));
    rig.fs.write(small, 0, b"small", false).expect("written");
    rig.fs.write(large, 0, &big, false).expect("written");
    rig.fs.write(left, 0, &big, false).expect("written");
    assert_eq!(rig.staged(), 2);
    for (ino, name) in [(empty, "empty"), (small, "small"), (large, "large")] {
        rig.link(ino, ROOT, name).expect("linked");
    }
    assert_eq!(rig.stored("empty"), None, "emptiness is no version as long as somebody may write");
    let killed = Killed::now(&rig);
    assert_eq!(killed.stored("empty").as_deref(), Some(&b""[..]));
    assert_eq!(killed.stored("small").as_deref(), Some(&b"small"[..]));
    assert!(killed.stored("large").is_some_and(|l| l == big));
    // What comes after goes on in the same file.
    rig.fs.write(empty, 0, b"not any more", false).expect("written");
    rig.fs.write(large, 0, b"changed", false).expect("written");
    rig.fs.fsyncdir(ROOT).expect("synced");
    for ino in [empty, small, large, left] {
        rig.close(ino);
    }
    rig.fs.work_off();
    assert_eq!(rig.stored("empty").as_deref(), Some(&b"not any more"[..]));
    assert_eq!(rig.versions("empty"), 1);
    let large = rig.stored("large").expect("there");
    assert!(large.len() == big.len() && large.starts_with(b"changed\x03"));
    assert_eq!(rig.names(ROOT), ["empty", "large", "small"]);
    assert_eq!(rig.store.intents().expect("intents"), []);
}

#[test]
fn a_directory_sync_makes_a_large_linked_file_an_entry_while_it_is_open() {
    let rig = Rig::new();
    let big = vec![3; 3 << 20];
    let ino = rig.tmpfile(ROOT);
    rig.fs.write(ino, 0, &big, false).expect("written");
    rig.link(ino, ROOT, "large").expect("linked");
    rig.fs.fsyncdir(ROOT).expect("synced");
    assert!(rig.stored("large").is_some_and(|l| l == big));
}

#[test]
fn a_file_that_nobody_has_open_for_writing_is_saved_whole_by_its_link() {
    let rig = Rig::new();
    let big = vec![3; 3 << 20];
    for (name, opened) in [("read", true), ("path", false)] {
        let ino = rig.tmpfile(ROOT);
        rig.fs.write(ino, 0, &big, false).expect("written");
        if opened {
            rig.fs.open(ino, libc::O_RDONLY).expect("opened through /proc/self/fd");
        }
        rig.close(ino);
        assert!(rig.read(ino) == big);
        rig.link(ino, ROOT, name).expect("linked");
        rig.fs.work_off();
        assert!(rig.stored(name).is_some_and(|l| l == big), "{name}");
    }
}

#[test]
fn links_that_can_not_be_are_refused() {
    let rig = Rig::new();
    let named = rig.write(ROOT, "named", b"x");
    let gone = rig.create(ROOT, "gone");
    rig.fs.unlink(ROOT, b"gone").expect("unlinked");
    let excluded = rig.fs.tmpfile(CALLER, ROOT, 0o600, WRITE | libc::O_EXCL).expect("made").0.ino;
    let ino = rig.tmpfile(ROOT);
    rig.fs.write(ino, 0, b"kept", false).expect("written");
    let entries = rig.entries();
    let long = "n".repeat(256);
    let control = rig.ino(ROOT, ".lattice");
    for (ino, parent, name, errno) in [
        (named, ROOT, "second", Errno::PERM),
        (rig.mkdir(ROOT, "d"), ROOT, "second", Errno::PERM),
        (gone, ROOT, "again", Errno::NOENT),
        (excluded, ROOT, "excluded", Errno::NOENT),
        (ino, ROOT, "named", Errno::EXIST),
        (ino, ROOT, "d", Errno::EXIST),
        (ino, ROOT, ".lattice", Errno::PERM),
        (ino, ROOT, &long, Errno::NAMETOOLONG),
        (ino, control, "f", Errno::PERM),
        (ino, named, "f", Errno::NOTDIR),
    ] {
        assert_eq!(rig.link(ino, parent, name).err(), Some(errno), "{name}");
    }
    assert_eq!(rig.entries(), entries + 1, "the directory's");
    assert_eq!(rig.names(ROOT), ["d", "named"]);
    // It is as it was, and can have another name. A second one it can't.
    assert_eq!(rig.fs.getattr(ino).expect("attributes").0.nlink, 0);
    rig.link(ino, ROOT, "free").expect("linked");
    assert_eq!(rig.stored("free").as_deref(), Some(&b"kept"[..]));
    assert_eq!(rig.link(ino, ROOT, "second").err(), Some(Errno::PERM));
    rig.fs.unlink(ROOT, b"free").expect("unlinked");
    assert_eq!(rig.link(ino, ROOT, "again").err(), Some(Errno::NOENT));
}

#[test]
fn a_name_that_was_deleted_or_comes_from_elsewhere_is_met_as_by_a_created_file() {
    let rig = Rig::new();
    rig.write(ROOT, "a", b"old");
    rig.fs.unlink(ROOT, b"a").expect("unlinked");
    let ino = rig.tmpfile(ROOT);
    rig.fs.write(ino, 0, b"new", false).expect("written");
    rig.put_elsewhere("b", b"theirs");
    assert_eq!(rig.link(ino, ROOT, "b").err(), Some(Errno::EXIST));
    rig.link(ino, ROOT, "a").expect("linked");
    rig.close(ino);
    assert_eq!((rig.stored("a").as_deref(), rig.live_heads("a")), (Some(&b"new"[..]), 1));
}

#[test]
fn a_file_whose_directory_was_removed_or_moved_is_linked_elsewhere() {
    let rig = Rig::new();
    let (d, e) = (rig.mkdir(ROOT, "d"), rig.mkdir(ROOT, "e"));
    let ino = rig.tmpfile(d);
    rig.fs.write(ino, 0, b"kept", false).expect("written");
    rig.fs.rename(ROOT, b"e", d, b"e", RenameFlags::default()).expect("renamed");
    let moved = rig.tmpfile(e);
    rig.link(moved, e, "moved").expect("linked");
    rig.close(moved);
    assert_eq!(rig.stored("d/e/moved").as_deref(), Some(&b""[..]));
    rig.fs.rename(d, b"e", ROOT, b"e", RenameFlags::default()).expect("renamed");
    rig.fs.rmdir(ROOT, b"d").expect("empty");
    assert_eq!(rig.link(ino, d, "f").err(), Some(Errno::NOENT));
    assert_eq!(rig.fs.tmpfile(CALLER, d, 0o600, WRITE).err(), Some(Errno::NOENT));
    rig.link(ino, e, "f").expect("linked");
    assert_eq!(rig.stored("e/f").as_deref(), Some(&b"kept"[..]));
}

#[test]
fn no_file_goes_to_another_store() {
    let rig = Rig::new();
    rig.node.create_store("other").expect("a store");
    let fs = Fs::new(What::All(rig.node.clone()), rig._dir.path().join("data"));
    let root = |name| match fs.lookup(ROOT, name).expect("a look-up") {
        Looked::Found(inode, _) => inode.ino,
        Looked::Absent { .. } => panic!("no such store"),
    };
    let other = rig.node.find("other").expect("the store");
    let (own, other) = (root(rig.store.id().to_string().as_bytes()), root(other.id().to_string().as_bytes()));
    let ino = fs.tmpfile(CALLER, own, 0o600, WRITE).expect("made").0.ino;
    assert_eq!(fs.link(ino, other, b"f").err(), Some(Errno::XDEV));
    assert_eq!(fs.link(ino, ROOT, b"f").err(), Some(Errno::PERM), "that names stores");
    assert_eq!(fs.tmpfile(CALLER, ROOT, 0o600, WRITE).err(), Some(Errno::PERM));
    fs.link(ino, own, b"f").expect("linked");
}
