//! Editors, and the odd things that programs do to single files.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};

use lattice_tests::fixture::{Cmd, Kind};
use lattice_tests::random::Random;
use rustix::fs::FallocateFlags;

#[test]
fn vim_and_sed_edit_in_place() {
    let Some(mut mounted) = super::mounted(&["vim", "sed"]) else {
        return;
    };
    let dir = mounted.join("edit");
    fs::create_dir(&dir).expect("a directory");
    for backup in ["yes", "no", "auto"] {
        let file = dir.join(format!("{backup}.txt"));
        fs::write(&file, "one\ntwo\nthree\n".repeat(500)).expect("a file");
        let script = format!(
            "vim -es -u NONE -N -c 'set backup backupcopy={backup} swapfile undofile undodir=.' \
             -c '%s/two/2/' -c 'normal Gofour' -c wq {backup}.txt"
        );
        Cmd::bash(&dir, &script).ok().expect("vim");
        Cmd::bash(&dir, &format!("sed -i.orig s/three/3/ {backup}.txt")).ok().expect("sed -i");
        let text = fs::read_to_string(&file).expect("the file");
        assert_eq!(text, "one\n2\n3\n".repeat(500) + "four\n", "backupcopy={backup}");
    }
    mounted.remount().expect("a new mount");
    if mounted.persists() {
        let names: BTreeSet<_> = fs::read_dir(&dir)
            .expect("the directory")
            .map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        assert!(names.iter().all(|n| !n.ends_with(".swp")), "no swap file is left: {names:?}");
        let text = fs::read_to_string(dir.join("auto.txt")).expect("the file");
        assert_eq!(text, "one\n2\n3\n".repeat(500) + "four\n");
    }
}

#[test]
fn ten_thousand_files_in_one_directory() {
    let Some(mut mounted) = super::mounted(&[]) else {
        return;
    };
    let dir = mounted.join("many");
    fs::create_dir(&dir).expect("a directory");
    for n in 0..10_000 {
        fs::write(dir.join(format!("file-{n:05}")), n.to_string()).expect("a file");
    }
    let names = |dir| -> BTreeSet<String> {
        let entries = fs::read_dir(dir).expect("the directory");
        entries.map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8")).collect()
    };
    assert_eq!(names(&dir).len(), 10_000);
    // Removing while listing: every name that isn't removed must come exactly once.
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(&dir).expect("the directory") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        if seen.len() % 2 == 0 {
            fs::remove_file(dir.join(&name)).expect("rm");
        }
        assert!(seen.insert(name.clone()), "{name} came twice");
    }
    assert_eq!(seen.len(), 10_000, "nothing was skipped");
    assert_eq!(names(&dir).len(), 5_000);
    mounted.remount().expect("a new mount");
    if mounted.persists() {
        let left = names(&dir);
        assert_eq!(left.len(), 5_000);
        for name in left.iter().step_by(97) {
            let number: u32 = name["file-".len()..].parse().expect("a number");
            assert_eq!(fs::read_to_string(dir.join(name)).expect("a file"), number.to_string());
        }
        fs::remove_dir_all(&dir).expect("rm -r");
    }
}

#[test]
fn a_sparse_file_of_2_gib() {
    let Some(mut mounted) = super::mounted(&[]) else {
        return;
    };
    const SIZE: u64 = 2 << 30;
    const AT: u64 = (1 << 30) + 12_345;
    let path = mounted.join("sparse");
    let file = File::create(&path).expect("a file");
    file.set_len(SIZE).expect("truncate to 2 GiB");
    file.write_all_at(b"middle", AT).expect("a write in the middle");
    file.write_all_at(b"end", SIZE - 3).expect("a write at the end");
    drop(file);
    mounted.remount().expect("a new mount");
    if !mounted.persists() {
        return;
    }
    let mut file = File::open(&path).expect("the file");
    let meta = file.metadata().expect("stat");
    assert_eq!(meta.len(), SIZE);
    assert!(meta.blocks() * 512 < 64 << 20, "{} blocks are allocated", meta.blocks());
    let mut buf = [0; 8];
    file.read_exact_at(&mut buf, AT - 1).expect("the middle");
    assert_eq!(&buf, b"\0middle\0");
    file.seek(SeekFrom::End(-4)).expect("seek");
    let mut end = Vec::new();
    file.read_to_end(&mut end).expect("the end");
    assert_eq!(end, b"\0end");
    let data = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)).expect("SEEK_DATA");
    assert!(data > 0 && data <= AT, "the first data is at {data}");
    let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(AT)).expect("SEEK_HOLE");
    assert!(hole > AT && hole < SIZE, "the next hole is at {hole}");
    if mounted.kind() == Kind::Lattice {
        let du = Cmd::new("du").arg("-sk").arg(mounted.home()).ok().expect("du");
        let kib: u64 = du.split_whitespace().next().and_then(|n| n.parse().ok()).expect("a number");
        assert!(kib < 64 << 10, "holes take no space: {kib} KiB");
    }
}

#[test]
fn an_unlinked_file_lives_until_it_is_closed() {
    let Some(mounted) = super::mounted(&[]) else {
        return;
    };
    for size in [10, 100_000, 3_000_000] {
        let path = mounted.join("gone");
        let body = Random::new(size as u64).bytes(size);
        fs::write(&path, &body).expect("a file");
        let file = OpenOptions::new().read(true).write(true).open(&path).expect("open");
        fs::remove_file(&path).expect("unlink");
        assert_eq!(fs::read_dir(mounted.dir()).expect("ls").count(), 0, "no .fuse_hidden file");
        let mut read = vec![0; size];
        file.read_exact_at(&mut read, 0).expect("read of what is gone");
        assert!(read == body);
        file.write_all_at(b"more", size as u64).expect("write to what is gone");
        let meta = file.metadata().expect("fstat");
        assert_eq!((meta.nlink(), meta.len()), (0, size as u64 + 4));
        // A new file of the same name is another file.
        fs::write(&path, "new").expect("a new file");
        file.write_all_at(b"X", 0).expect("write to the old one");
        assert_eq!(fs::read(&path).expect("the new one"), b"new");
        drop(file);
        assert_eq!(fs::read(&path).expect("the new one, still"), b"new");
        fs::remove_file(&path).expect("rm");
    }
}

#[test]
fn an_open_file_follows_its_rename() {
    let Some(mut mounted) = super::mounted(&[]) else {
        return;
    };
    let (old, new) = (mounted.join("old"), mounted.join("dir/new"));
    fs::create_dir(mounted.join("dir")).expect("a directory");
    let mut file = File::create(&old).expect("a file");
    file.write_all(b"before ").expect("write");
    fs::rename(&old, &new).expect("rename of an open file");
    fs::rename(mounted.join("dir"), mounted.join("moved")).expect("rename of its directory");
    file.write_all(b"after").expect("write after the rename");
    file.sync_all().expect("fsync");
    drop(file);
    assert!(!old.exists());
    mounted.remount().expect("a new mount");
    if mounted.persists() {
        assert_eq!(fs::read(mounted.join("moved/new")).expect("the file"), b"before after");
        assert_eq!(fs::read_dir(mounted.dir()).expect("ls").count(), 1);
    }
}

#[test]
fn space_is_allocated_punched_and_zeroed() {
    let Some(mounted) = super::mounted(&[]) else {
        return;
    };
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(mounted.join("f")).expect("f");
    file.write_all_at(&[7; 300_000], 0).expect("write");
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 400_000).expect("allocate");
    assert_eq!(file.metadata().expect("stat").len(), 400_000);
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&file, punch, 100_000, 50_000).expect("punch");
    rustix::fs::fallocate(&file, FallocateFlags::ZERO_RANGE, 299_000, 2_000).expect("zero");
    let mut read = vec![1; 400_000];
    file.read_exact_at(&mut read, 0).expect("read");
    let mut wanted = vec![7; 300_000];
    wanted.resize(400_000, 0);
    wanted[100_000..150_000].fill(0);
    wanted[299_000..300_000].fill(0);
    assert!(read == wanted);
    drop(file);
    let mut again = Vec::new();
    File::open(mounted.join("f")).and_then(|mut f| f.read_to_end(&mut again)).expect("read again");
    assert!(again == wanted);
}
