//! A full disk and a read-only one: clear errors, nothing lost, and the store whole afterwards.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use lattice_tests::fixture::{Cmd, Kind, MountOptions, Mounted, Scratch, mounts_at};
use lattice_tests::random::Random;
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_remount, unmount};

use super::nameless::{link, nameless};

/// A mount that goes with its owner.
#[derive(Debug)]
struct Below<'a>(&'a Path);

impl Drop for Below<'_> {
    fn drop(&mut self) {
        // Gone already is as good.
        let _gone = unmount(self.0, UnmountFlags::DETACH);
    }
}

fn body(n: u64) -> Vec<u8> {
    Random::new(n).bytes(300_000)
}

/// Writes a file and tells whether it was kept: close is where a full disk must show at the latest.
fn keep(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A mount whose data has 48 MB.
fn on_a_small_disk(dir: &Path) -> (Below<'_>, Mounted) {
    fs::create_dir(dir).expect("a directory");
    mount("tmpfs", dir, "tmpfs", MountFlags::empty(), Some(c"size=48m")).expect("a small disk");
    let options = MountOptions { home: Some(dir.join("h")), ..MountOptions::default() };
    (Below(dir), Mounted::with(Kind::Lattice, options).expect("a mount"))
}

#[test]
fn a_full_disk_is_an_error_and_the_store_stays_whole() {
    let Some(_) = super::lattice(&["mount"]) else {
        return;
    };
    let scratch = Scratch::new().expect("a directory");
    let small = scratch.join("small");
    let (below, mut mounted) = on_a_small_disk(&small);

    let mut kept = Vec::new();
    let mut refused = None;
    for n in 0..400 {
        match keep(&mounted.join(&format!("f{n}")), &body(n)) {
            Ok(()) => kept.push(n),
            Err(e) => {
                refused = Some(e);
                break;
            }
        }
    }
    let refused = refused.expect("48 MB are full after 120 MB");
    assert_eq!(refused.kind(), ErrorKind::StorageFull, "{refused}");
    assert!(kept.len() > 20, "only {} files of 300 kB were kept on 48 MB", kept.len());
    for n in &kept {
        assert!(fs::read(mounted.join(&format!("f{n}"))).expect("still readable") == body(*n));
    }

    // With more room it goes on, after a new mount at the latest.
    mount_remount(&small, MountFlags::empty(), "size=96m").expect("a bigger disk");
    mounted.remount().expect("a new mount");
    for n in &kept {
        assert!(fs::read(mounted.join(&format!("f{n}"))).expect("still there") == body(*n));
    }
    keep(&mounted.join("after"), &body(1_000)).expect("there is room again");
    mounted.stop().expect("a clean stop");
    let check = mounted.lattice(["fsck"]).run().expect("fsck");
    assert_eq!(check.code(), 0, "{}{}", check.stdout, check.stderr);
    drop(mounted);
    drop(below);
}

#[test]
fn a_file_for_which_there_is_no_room_gets_no_name_until_there_is() {
    let Some(_) = super::lattice(&["mount"]) else {
        return;
    };
    let scratch = Scratch::new().expect("a directory");
    let small = scratch.join("small");
    let (_below, mut mounted) = on_a_small_disk(&small);
    let full = (0..400).find_map(|n| {
        let file = nameless(mounted.dir(), OFlags::empty());
        file.write_all_at(&body(n), 0).expect("it stays in memory");
        let path = mounted.join(&format!("f{n}"));
        link(&file, &path).err().map(|e| (n, file, path, e))
    });
    let (n, file, path, refused) = full.expect("48 MB are full after 120 MB");
    assert_eq!(refused, Errno::NOSPC);
    assert!(n > 20, "only {n} files of 300 kB were kept on 48 MB");
    assert!(!path.exists(), "it has no name");
    let mut left = vec![0; 300_000];
    file.read_exact_at(&mut left, 0).expect("read");
    assert!(left == body(n) && file.metadata().expect("fstat").nlink() == 0, "it is as it was");
    mount_remount(&small, MountFlags::empty(), "size=96m").expect("a bigger disk");
    link(&file, &path).expect("there is room again");
    drop(file);
    mounted.remount().expect("a new mount");
    for n in 0..=n {
        assert!(fs::read(mounted.join(&format!("f{n}"))).expect("there") == body(n));
    }
    assert_eq!(fs::read_dir(mounted.dir()).expect("ls").count() as u64, n + 1);
}

/// Writes until the disk is full, reads all that was taken, and cuts it to 8 MiB.
const FILL_READ_AND_CUT: &str = r"
import errno, os, sys
MIB = 1 << 20
block = lambda n: bytes([n + 1]) * MIB
writer = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
reader = os.open(sys.argv[1], os.O_RDONLY)
taken = 0
try:
    while taken < 100 and os.write(writer, block(taken)) == MIB:
        taken += 1
except OSError as e:
    assert e.errno == errno.ENOSPC, e
assert 20 < taken < 60, taken
for n in range(taken):
    assert os.pread(reader, MIB, n * MIB) == block(n), (n, taken)
os.ftruncate(writer, 8 * MIB)
os.close(writer)
";

/// What a large write is ahead of the disk by was taken, and is refused later. In a process of its own: where this one starts
/// another, that closes what is open here, and so saves it half-way.
#[test]
fn what_a_full_disk_has_not_taken_yet_can_be_read_and_cut_off() {
    let Some(_) = super::lattice(&["mount", "python3"]) else {
        return;
    };
    let scratch = Scratch::new().expect("a directory");
    let small = scratch.join("small");
    let (below, mut mounted) = on_a_small_disk(&small);
    let path = mounted.join("big");
    Cmd::new("python3").args(["-c", FILL_READ_AND_CUT]).arg(&path).ok().expect("cutting needs no room");
    let whole: Vec<u8> = (1..=8).flat_map(|n| vec![n; 1 << 20]).collect();
    assert!(fs::read(&path).expect("read") == whole);
    mounted.remount().expect("a new mount");
    assert!(fs::read(&path).expect("read") == whole, "it was kept");
    mounted.stop().expect("a clean stop");
    drop(mounted);
    drop(below);
}

#[test]
fn a_read_only_data_directory_can_be_read() {
    let Some(_) = super::lattice(&["mount"]) else {
        return;
    };
    let scratch = Scratch::new().expect("a directory");
    let home = scratch.join("h");
    fs::create_dir(&home).expect("a directory");
    fs::remove_dir(&home).expect("made by init");
    let options = MountOptions { home: Some(home.clone()), ..MountOptions::default() };
    let mut mounted = Mounted::with(Kind::Lattice, options).expect("a mount");
    fs::write(mounted.join("small"), "kept").expect("a file");
    fs::write(mounted.join("large"), body(1)).expect("a file");
    mounted.stop().expect("a clean stop");

    mount_bind(&home, &home).expect("bind");
    let below = Below(&home);
    mount_remount(&home, MountFlags::BIND | MountFlags::RDONLY, "").expect("read-only");
    mounted.mount().expect("a mount of read-only data");
    let mounts = fs::read_to_string("/proc/mounts").expect("/proc/mounts");
    let dir = mounted.dir().to_str().expect("UTF-8");
    let options =
        mounts.lines().find(|l| l.contains(dir)).and_then(|l| l.split(' ').nth(3)).expect("our mount");
    assert!(options.split(',').any(|o| o == "ro"), "{options}");
    let listed = mounted.lattice(["mount"]).ok().expect("the daemon is found");
    assert!(listed.contains(dir) && listed.contains(" ro "), "{listed}");
    for (command, says) in [
        (&["store", "list"][..], "read-only: the data directory is read-only"),
        (&["status"], "read-only: the data directory is read-only"),
        (&["doctor"], "can't be written: stores are opened for reading only"),
    ] {
        let said = mounted.lattice(command).ok().unwrap_or_else(|e| panic!("{command:?}: {e:#}"));
        assert!(said.contains(says), "{command:?}: {said}");
    }
    let put = mounted.lattice(["put", "home:x", "1"]).run().expect("it ends");
    assert!(put.code() == 1 && put.stderr.contains("read-only"), "{}", put.stderr);
    assert_eq!(fs::read(mounted.join("small")).expect("read"), b"kept");
    assert!(fs::read(mounted.join("large")).expect("read") == body(1));
    let refused = [
        fs::write(mounted.join("new"), "x").expect_err("create"),
        fs::remove_file(mounted.join("small")).expect_err("unlink"),
        fs::create_dir(mounted.join("dir")).expect_err("mkdir"),
        fs::rename(mounted.join("small"), mounted.join("other")).expect_err("rename"),
    ];
    for e in &refused {
        assert_eq!(e.kind(), ErrorKind::ReadOnlyFilesystem, "{refused:?}");
    }
    mounted.lattice(["unmount", dir]).ok().expect("unmounted by the command");
    assert_eq!(mounts_at(mounted.dir()).expect("mounts"), 0);
    mounted.kill().expect("stopped");
    mounted.detach();
    drop(below);
    mounted.mount().expect("a mount of writable data");
    fs::write(mounted.join("new"), "x").expect("writable again");
}

#[test]
fn statfs_shows_the_disk_of_the_data() {
    let Some(mounted) = super::lattice(&["df"]) else {
        return;
    };
    let free = |dir: &Path| {
        let df = Cmd::new("df").args(["--output=size"]).arg(dir).ok().expect("df");
        df.lines().nth(1).and_then(|n| n.trim().parse::<u64>().ok()).expect("a number")
    };
    assert_eq!(free(mounted.dir()), free(mounted.home()));
}
