use super::*;

const PLAIN: RenameFlags = RenameFlags { no_replace: false, exchange: false };

#[test]
fn an_open_file_follows_the_rename_of_its_directory() {
    let rig = Rig::new();
    let d = rig.mkdir(ROOT, "d");
    let old = rig.write(d, "old", b"1");
    let new = rig.create(d, "new");
    rig.fs.open(old, WRITE).expect("opened");
    rig.fs.write(old, 0, b"2", false).expect("written");
    rig.fs.write(new, 0, b"3", false).expect("written");
    assert!(rig.find(ROOT, "e").is_none());
    rig.fs.rename(ROOT, b"d", ROOT, b"e", PLAIN).expect("renamed");
    rig.close(old);
    rig.close(new);
    assert_eq!(rig.stored("e/old").as_deref(), Some(&b"2"[..]));
    assert_eq!(rig.live_heads("e/old"), 1);
    assert_eq!(rig.stored("e/new").as_deref(), Some(&b"3"[..]));
    assert_eq!(rig.stored("d/old"), None);
    assert_eq!(rig.names(d), ["new", "old"]);
}

#[test]
fn rename_over_exchange_and_no_replace() {
    let rig = Rig::new();
    rig.write(ROOT, "a", b"A");
    let b = rig.write(ROOT, "b", b"B");
    let flags = RenameFlags { no_replace: true, ..PLAIN };
    assert_eq!(rig.fs.rename(ROOT, b"a", ROOT, b"b", flags), Err(Errno::EXIST));
    let flags = RenameFlags { exchange: true, ..PLAIN };
    rig.fs.rename(ROOT, b"a", ROOT, b"b", flags).expect("exchanged");
    assert_eq!(rig.ino(ROOT, "a"), b);
    assert_eq!((rig.stored("a"), rig.stored("b")), (Some(b"B".to_vec()), Some(b"A".to_vec())));
    rig.fs.rename(ROOT, b"a", ROOT, b"b", PLAIN).expect("renamed over");
    assert_eq!(rig.names(ROOT), ["b"]);
    assert_eq!(rig.read(rig.ino(ROOT, "b")), b"B");
    let d = rig.mkdir(ROOT, "d");
    let e = rig.mkdir(d, "e");
    assert_eq!(rig.fs.rename(ROOT, b"d", e, b"f", PLAIN), Err(Errno::INVAL));
    assert_eq!(rig.fs.rename(ROOT, b"b", ROOT, b"d", PLAIN), Err(Errno::ISDIR));
    assert_eq!(rig.fs.rename(ROOT, b"d", ROOT, b"b", PLAIN), Err(Errno::NOTDIR));
}

#[test]
fn a_directory_with_a_file_that_is_still_open_is_not_empty() {
    let rig = Rig::new();
    let d = rig.mkdir(ROOT, "d");
    let ino = rig.create(d, "f");
    assert_eq!(rig.fs.rmdir(ROOT, b"d"), Err(Errno::NOTEMPTY));
    rig.close(ino);
    assert_eq!(rig.fs.rmdir(ROOT, b"d"), Err(Errno::NOTEMPTY));
    rig.fs.unlink(d, b"f").expect("unlinked");
    rig.fs.rmdir(ROOT, b"d").expect("removed");
    assert_eq!(rig.fs.mkdir(CALLER, d, b"x", 0o755).expect_err("gone"), Errno::NOENT);
}

/// `lattice put a/b` makes `a` a directory that no entry names: `rm a/b` must not take it away.
#[test]
fn a_directory_that_no_entry_made_survives_its_last_name() {
    let rig = Rig::new();
    rig.put_elsewhere("a/b", b"x");
    let a = rig.ino(ROOT, "a");
    assert_eq!(rig.names(a), ["b"]);
    rig.fs.unlink(a, b"b").expect("unlinked");
    assert_eq!(rig.names(a), [""; 0]);
    assert_eq!(rig.names(ROOT), ["a"]);
    rig.fs.rmdir(ROOT, b"a").expect("removed");
    assert_eq!(rig.names(ROOT), [""; 0]);
}

/// As `rm -rf` reads: a part, then removals, then the rest.
#[test]
fn a_stream_stays_in_place_while_names_go() {
    let rig = Rig::new();
    let d = rig.mkdir(ROOT, "d");
    for i in 0..700 {
        rig.write(d, &format!("f{i:03}"), b"");
    }
    let (fh, _) = rig.fs.opendir(d).expect("opened");
    let (mut offset, mut seen) = (0, Vec::new());
    loop {
        let mut batch = Vec::new();
        let mut take = |entry: DirEntry<'_>, next: u64| {
            if batch.len() == 40 {
                return true;
            }
            if let DirEntry::Name { name, .. } = entry {
                batch.push((name.to_vec(), next));
            }
            false
        };
        rig.fs.readdir(d, fh, offset, false, &mut take).expect("read");
        let Some((_, next)) = batch.last() else { break };
        offset = *next;
        for (name, _) in batch.into_iter().filter(|(n, _)| n.starts_with(b"f")) {
            rig.fs.unlink(d, &name).expect("unlinked");
            seen.push(name);
        }
    }
    assert_eq!(seen.len(), 700);
    rig.fs.rmdir(ROOT, b"d").expect("empty");
}

/// The kernel hands what one stream read to another, and comes to the second with an offset of the first.
#[test]
fn a_stream_goes_on_where_another_one_left_off() {
    let rig = Rig::new();
    for i in 0..50 {
        rig.write(ROOT, &format!("f{i:02}"), b"");
    }
    rig.names(ROOT);
    let (fh, _) = rig.fs.opendir(ROOT).expect("opened");
    for i in 0..20 {
        rig.fs.unlink(ROOT, format!("f{i:02}").as_bytes()).expect("unlinked");
    }
    let mut rest = Vec::new();
    let mut take = |entry: DirEntry<'_>, _: u64| {
        if let DirEntry::Name { name, .. } = entry {
            rest.push(String::from_utf8_lossy(name).into_owned());
        }
        false
    };
    // Twenty names and the two dots were read.
    rig.fs.readdir(ROOT, fh, 22, false, &mut take).expect("read");
    assert_eq!(rest.len(), 30);
    assert_eq!(rest[0], "f20");
}

/// What the listing began with as a new file is a directory by the time it is given out, and somebody waits to rename one.
#[test]
fn a_listing_ends_though_a_rename_waits_for_it() {
    let rig = Rig::new();
    for name in ["a", "b", "c"] {
        rig.create(ROOT, name);
    }
    let (fh, _) = rig.fs.opendir(ROOT).expect("opened");
    let mut first = |_: DirEntry<'_>, next: u64| next > 3;
    rig.fs.readdir(ROOT, fh, 0, true, &mut first).expect("read");
    for name in ["b", "c"] {
        rig.fs.unlink(ROOT, name.as_bytes()).expect("unlinked");
        rig.mkdir(ROOT, name);
    }
    let (fs, volume) = (rig.fs.clone(), rig.fs.volumes().remove(0));
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut renames = None;
        let mut take = |entry: DirEntry<'_>, _: u64| {
            if matches!(entry, DirEntry::Full { .. }) && renames.is_none() {
                let waiting = volume.clone();
                renames = Some(std::thread::spawn(move || drop(waiting.tree.write())));
                while volume.tree.try_read().is_some() {
                    std::thread::yield_now();
                }
            }
            false
        };
        fs.readdir(ROOT, fh, 3, true, &mut take).expect("read");
        let renames = renames.expect("a directory was given out");
        renames.join().expect("renamed");
        done.send(()).expect("somebody waits");
    });
    ended.recv_timeout(Duration::from_secs(20)).expect("the listing ends");
}
