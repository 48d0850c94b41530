//! `O_TMPFILE`: files without a name, and the name that `linkat` gives them.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use lattice_tests::fixture::{Cmd, Kind, Mounted, until};
use lattice_tests::random::Random;
use rustix::fs::{AtFlags, CWD, Mode, OFlags};

/// In memory, chunks of their own, and beyond what is staged in memory or lent to the kernel at once.
const SIZES: [usize; 4] = [0, 10, 100_000, 20 << 20];

fn mounted(programs: &[&str]) -> Option<Mounted> {
    if Kind::chosen() == Kind::Floor {
        eprintln!("skipped: the floor has no O_TMPFILE");
        return None;
    }
    super::mounted(programs)
}

pub fn nameless(dir: &Path, flags: OFlags) -> File {
    let fd = rustix::fs::open(dir, OFlags::TMPFILE | OFlags::RDWR | flags, Mode::from_raw_mode(0o640));
    fd.expect("a file without a name").into()
}

pub fn link(file: &File, to: &Path) -> rustix::io::Result<()> {
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, from, CWD, to, AtFlags::SYMLINK_FOLLOW)
}

fn read(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file.metadata().expect("fstat").len() as usize + 1];
    let mut done = 0;
    loop {
        match file.read_at(&mut bytes[done..], done as u64).expect("read") {
            0 => break,
            n => done += n,
        }
    }
    bytes.truncate(done);
    bytes
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("the directory");
    let mut names: Vec<_> =
        entries.map(|e| e.expect("an entry").file_name().into_string().expect("UTF-8")).collect();
    names.sort();
    names
}

/// What lies in the directories of all stores.
fn kept(mounted: &Mounted) -> Vec<PathBuf> {
    fn files(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).expect("a directory of the data") {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => files(&path, found),
                false => found.push(path),
            }
        }
    }
    let mut found = Vec::new();
    files(mounted.home(), &mut found);
    found.sort();
    found
}

#[test]
fn a_file_without_a_name_is_seen_by_nobody_and_leaves_nothing() {
    let Some(mounted) = mounted(&[]) else {
        return;
    };
    let dir = mounted.join("d");
    fs::create_dir(&dir).expect("a directory");
    let lattice = mounted.kind() == Kind::Lattice;
    let entries = || mounted.lattice(["log", "home"]).ok().expect("the log");
    let before = lattice.then(|| (entries(), kept(&mounted)));
    let history = mounted.join(".lattice/history/d");
    for (size, flags) in SIZES.into_iter().flat_map(|s| [(s, OFlags::empty()), (s, OFlags::EXCL)]) {
        let bytes = Random::new(size as u64).bytes(size);
        let file = nameless(&dir, flags);
        file.write_all_at(&bytes, 0).expect("write");
        file.sync_all().expect("fsync");
        assert!(read(&file) == bytes, "{size} bytes are read back");
        let meta = file.metadata().expect("fstat");
        assert_eq!((meta.nlink(), meta.len(), meta.mode() & 0o7777), (0, size as u64, 0o640));
        File::open(&dir).and_then(|d| d.sync_all()).expect("fsync of the directory");
        assert_eq!(names(&dir), [""; 0]);
        if lattice {
            assert_eq!(names(&history), [""; 0]);
        }
        // Through another descriptor, which then is the only one.
        let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("opened again");
        drop(file);
        assert!(read(&again) == bytes, "{size} bytes through another descriptor");
    }
    if let Some((log, files)) = before {
        // The kernel tells that it has forgotten a file after its last close has returned.
        let gone = || Ok((kept(&mounted) == files).then_some(()));
        until("nothing lies in the data directory", Duration::from_secs(20), gone).expect("nothing is left");
        assert_eq!(entries(), log, "nothing is logged");
        assert_eq!(names(&history), [""; 0]);
    }
    fs::remove_dir(&dir).expect("nothing is in it");
}

#[test]
fn a_link_shows_the_whole_file_at_once() {
    let Some(mut mounted) = mounted(&[]) else {
        return;
    };
    let (from, to) = (mounted.join("from"), mounted.join("to"));
    fs::create_dir(&from).expect("a directory");
    fs::create_dir(&to).expect("a directory");
    fs::write(to.join("taken"), "theirs").expect("a file");
    for size in SIZES {
        let bytes = Random::new(size as u64).bytes(size);
        let path = to.join(format!("f{size}"));
        let file = nameless(&from, OFlags::empty());
        file.write_all_at(&bytes, 0).expect("write");
        assert_eq!(link(&file, &to.join("taken")), Err(rustix::io::Errno::EXIST));
        link(&file, &path).expect("a name");
        assert!(fs::read(&path).expect("read by name") == bytes, "{size} bytes, before the close");
        let (meta, by_name) = (file.metadata().expect("fstat"), fs::metadata(&path).expect("stat"));
        assert_eq!((meta.nlink(), by_name.nlink(), by_name.ino()), (1, 1, meta.ino()));
        assert_eq!(by_name.mode() & 0o7777, 0o640);
        file.write_all_at(b"more", size as u64).expect("write");
        assert_eq!(fs::metadata(&path).expect("stat").len(), size as u64 + 4);
    }
    assert_eq!(names(&from), [""; 0]);
    mounted.remount().expect("a new mount");
    for size in SIZES {
        let mut wanted = Random::new(size as u64).bytes(size);
        wanted.extend_from_slice(b"more");
        assert!(fs::read(to.join(format!("f{size}"))).expect("read") == wanted, "{size} bytes");
    }
    assert_eq!(fs::read(to.join("taken")).expect("read"), b"theirs");
    assert_eq!(names(&to).len(), SIZES.len() + 1);
}

#[test]
fn what_may_not_get_a_name_gets_none() {
    let Some(mounted) = mounted(&[]) else {
        return;
    };
    use rustix::io::Errno;
    let to = mounted.join("to");
    let excluded = nameless(mounted.dir(), OFlags::EXCL);
    assert_eq!(link(&excluded, &to), Err(Errno::NOENT), "O_EXCL");
    let gone = File::create(mounted.join("gone")).expect("a file");
    fs::remove_file(mounted.join("gone")).expect("rm");
    assert_eq!(link(&gone, &to), Err(Errno::NOENT), "it had a name");
    let file = nameless(mounted.dir(), OFlags::empty());
    assert_eq!(link(&file, &mounted.join("no/to")), Err(Errno::NOENT));
    assert_eq!(link(&file, &mounted.join(&"n".repeat(256))), Err(Errno::NAMETOOLONG));
    if mounted.kind() == Kind::Lattice {
        assert_eq!(link(&file, &mounted.beside("to")), Err(Errno::XDEV), "another filesystem");
    }
    assert_eq!(names(mounted.dir()), [""; 0]);
    link(&file, &to).expect("a name");
    if mounted.kind() == Kind::Lattice {
        assert_eq!(link(&file, &mounted.join("second")), Err(Errno::PERM), "a second name");
    }
    fs::remove_file(&to).expect("rm");
    assert_eq!(link(&file, &to), Err(Errno::NOENT), "it had one");
}

/// From a process of its own: who forks beside a test closes its descriptors, and so saves what is in them.
const PUBLISH: &str = r#"
import os, sys
path, size = sys.argv[1], int(sys.argv[2])
os.umask(0o022)
fd = os.open(os.path.dirname(path), os.O_TMPFILE | os.O_WRONLY, 0o666)
assert os.readlink(f"/proc/self/fd/{fd}").endswith(" (deleted)")
left = size
while left:
    left -= os.write(fd, b"x" * min(left, 1 << 20))
os.fsync(fd)
os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd, follow_symlinks=True)
assert os.stat(path).st_mode & 0o7777 == 0o644
os.fsync(os.open(os.path.dirname(path), os.O_RDONLY))
os.close(fd)
"#;

#[test]
fn a_link_is_one_version_for_everybody() {
    let Some(mounted) = super::lattice(&["python3"]) else {
        return;
    };
    for size in SIZES.into_iter().filter(|s| *s > 0) {
        let (name, bytes) = (format!("f{size}"), vec![b'x'; size]);
        let script = Cmd::new("python3").args(["-c", PUBLISH]).arg(mounted.join(&name)).arg(size.to_string());
        script.ok().expect("the script");
        assert!(fs::read(mounted.join(&name)).expect("read") == bytes);
        let got = mounted.lattice(["get", &format!("home:{name}")]).succeed().expect("get").stdout;
        assert!(got.as_bytes() == bytes, "{size} bytes by `lattice get`");
        let history = mounted.lattice(["history", &format!("home:{name}")]).ok().expect("history");
        assert_eq!(history.lines().count(), 2, "a heading and a version: {history}");
    }
}

#[test]
fn a_linked_file_survives_a_kill_before_its_close() {
    let Some(mut mounted) = super::lattice(&[]) else {
        return;
    };
    for size in SIZES {
        let bytes = Random::new(size as u64).bytes(size);
        let (file, left) =
            (nameless(mounted.dir(), OFlags::empty()), nameless(mounted.dir(), OFlags::empty()));
        file.write_all_at(&bytes, 0).expect("write");
        left.write_all_at(&bytes, 0).expect("write");
        let name = format!("f{size}");
        link(&file, &mounted.join(&name)).expect("a name");
        mounted.kill().expect("killed");
        mounted.detach();
        drop((file, left));
        mounted.mount().expect("a new mount");
        assert!(fs::read(mounted.join(&name)).expect("read") == bytes, "{size} bytes");
        assert_eq!(names(mounted.dir()), [name.as_str()]);
        fs::remove_file(mounted.join(&name)).expect("rm");
    }
    mounted.stop().expect("a clean stop");
    mounted.lattice(["fsck", "home"]).ok().expect("a sound store");
}

#[test]
fn programs_use_files_without_a_name() {
    let Some(mounted) = mounted(&["python3"]) else {
        return;
    };
    let script = r#"
import os, sys, tempfile
os.chdir(sys.argv[1])
for size in (10, 20 << 20):
    with tempfile.TemporaryFile(dir=".") as f:
        f.write(b"y" * size)
        f.flush()
        assert os.fstat(f.fileno()).st_nlink == 0 and os.listdir(".") == []
        f.seek(0)
        assert f.read() == b"y" * size
assert tempfile._O_TMPFILE_WORKS
# By descriptor alone, and what is in a mapping.
import ctypes, mmap
fd = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
os.truncate(fd, 3_000_000)
m = mmap.mmap(fd, 3_000_000)
m[2_000_000:2_000_006] = b"mapped"
libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_EMPTY_PATH = -100, 0x1000
if os.geteuid() == 0:
    assert libc.linkat(fd, b"", AT_FDCWD, b"named", AT_EMPTY_PATH) == 0, os.strerror(ctypes.get_errno())
else:
    os.link(f"/proc/self/fd/{fd}", "named", src_dir_fd=fd, follow_symlinks=True)
m.close()
os.close(fd)
with open("named", "rb") as f:
    body = f.read()
assert len(body) == 3_000_000 and body[2_000_000:2_000_006] == b"mapped" and body.count(0) == 2_999_994
"#;
    Cmd::new("python3").args(["-c", script]).arg(mounted.dir()).ok().expect("the script");
    assert_eq!(names(mounted.dir()), ["named"]);
}
