//! Large files that some read while others write, with the kernel reading them by itself and without: both must do what a
//! disk does.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;

use lattice_tests::fixture::{Cmd, Kind, MountOptions, Mounted};
use lattice_tests::random::Random;

const SIZE: usize = 9 << 20;

/// The mounts to look at: with passthrough, where the machine has it, and without.
fn mounts() -> Vec<Mounted> {
    match Kind::chosen() {
        // One of the two was asked for.
        Kind::Lattice if std::env::var_os("LATTICE_TEST_MOUNT").is_some() => {
            super::mounted(&[]).into_iter().collect()
        }
        Kind::Lattice => [vec![], vec!["--no-passthrough".to_owned()]]
            .into_iter()
            .map(|args| Mounted::with(Kind::Lattice, MountOptions { args, ..MountOptions::default() }))
            .collect::<Result<_, _>>()
            .expect("two mounts"),
        _ => super::mounted(&[]).into_iter().collect(),
    }
}

fn passthrough(mounted: &Mounted) -> bool {
    let status = mounted.lattice(["status", "--json"]).ok().expect("status");
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    status["mounts"][0]["passthrough"].as_bool().expect("whether it has passthrough")
}

/// A large file, twice, so that the store has its chunks for another file, too.
fn make(mounted: &Mounted, name: &str, seed: u64) -> Vec<u8> {
    let bytes = Random::new(seed).bytes(SIZE);
    fs::write(mounted.join(name), &bytes).expect("a large file");
    fs::write(mounted.join(&format!("{name}-twin")), &bytes).expect("its twin");
    bytes
}

/// The file has `wanted`, through an open that was there before and a new one, and its twin is as it was.
fn agree(mounted: &Mounted, name: &str, before: &File, wanted: &[u8], what: &str) {
    let mut seen = vec![0; wanted.len() + 1];
    let mut done = 0;
    loop {
        match before.read_at(&mut seen[done..], done as u64).expect("read") {
            0 => break,
            n => done += n,
        }
    }
    assert!(seen[..done] == *wanted, "{what}: an open reader sees something else ({done} bytes)");
    assert_eq!(before.metadata().expect("fstat").len(), wanted.len() as u64, "{what}: fstat");
    let anew = fs::read(mounted.join(name)).expect("read anew");
    assert!(anew == *wanted, "{what}: a new reader sees something else ({} bytes)", anew.len());
}

/// What is stored is what was seen, and nothing else was touched by it.
fn stored(mounted: &mut Mounted, name: &str, wanted: &[u8], twin: &[u8]) {
    for again in [false, true] {
        assert!(fs::read(mounted.join(name)).expect("read") == wanted, "{name}, after a new mount: {again}");
        assert!(fs::read(mounted.join(&format!("{name}-twin"))).expect("read") == twin, "the twin");
        if !again {
            mounted.remount().expect("a new mount");
        }
    }
    if mounted.kind() == Kind::Lattice {
        mounted.stop().expect("a clean stop");
        mounted.lattice(["fsck", "home"]).ok().expect("a sound store");
        mounted.mount().expect("a mount");
    }
}

#[test]
fn an_open_reader_follows_a_writer_that_comes_later() {
    for mut mounted in mounts() {
        let twin = make(&mounted, "log", 1);
        let mut wanted = twin.clone();
        let path = mounted.join("log");
        let reader = File::open(&path).expect("tail -f");
        agree(&mounted, "log", &reader, &wanted, "before");
        for n in 0..3_u8 {
            let mut writer = OpenOptions::new().append(true).open(&path).expect("a writer");
            let line = [b'a' + n; 70_000];
            writer.write_all(&line).expect("a line");
            wanted.extend_from_slice(&line);
            agree(&mounted, "log", &reader, &wanted, "appended, not closed");
            drop(writer);
            agree(&mounted, "log", &reader, &wanted, "appended");
        }
        let writer = OpenOptions::new().read(true).write(true).open(&path).expect("another writer");
        for at in [0, 4_000_001, SIZE - 5] {
            writer.write_all_at(b"overwritten", at as u64).expect("write");
            wanted[at..at + 11].copy_from_slice(b"overwritten");
            agree(&mounted, "log", &reader, &wanted, "overwritten");
        }
        let mut back = vec![0; 11];
        writer.read_exact_at(&mut back, 4_000_001).expect("read");
        assert_eq!(back, b"overwritten");
        writer.sync_all().expect("fsync");
        drop(writer);
        agree(&mounted, "log", &reader, &wanted, "closed");
        drop(reader);
        stored(&mut mounted, "log", &wanted, &twin);
    }
}

#[test]
fn a_file_is_truncated_while_it_is_read() {
    for mut mounted in mounts() {
        let twin = make(&mounted, "cut", 2);
        let path = mounted.join("cut");
        let reader = File::open(&path).expect("a reader");
        agree(&mounted, "cut", &reader, &twin, "before");
        let mut wanted = twin.clone();
        for size in [5_000_001, 6 << 20, 100, 3 << 20] {
            let file = OpenOptions::new().write(true).open(&path).expect("a writer");
            file.set_len(size as u64).expect("truncate");
            drop(file);
            wanted.resize(size, 0);
            agree(&mounted, "cut", &reader, &wanted, &format!("truncated to {size}"));
        }
        // A program that writes it anew.
        let mut writer = File::create(&path).expect("O_TRUNC");
        agree(&mounted, "cut", &reader, b"", "emptied");
        wanted = Random::new(77).bytes(2 << 20);
        writer.write_all(&wanted).expect("written");
        drop(writer);
        agree(&mounted, "cut", &reader, &wanted, "written anew");
        drop(reader);
        stored(&mut mounted, "cut", &wanted, &twin);
    }
}

#[test]
fn an_open_reader_keeps_a_file_that_is_replaced_or_removed() {
    for mounted in mounts() {
        let bytes = make(&mounted, "old", 3);
        let path = mounted.join("old");
        let reader = File::open(&path).expect("a reader");
        agree(&mounted, "old", &reader, &bytes, "before");
        fs::write(mounted.join("new"), b"new").expect("a file");
        fs::rename(mounted.join("new"), &path).expect("mv");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        let mut seen = vec![0; SIZE];
        reader.read_exact_at(&mut seen, 0).expect("the old file");
        assert!(seen == bytes, "an open file stays what it was");
        let twin = File::open(mounted.join("old-twin")).expect("a reader");
        fs::remove_file(mounted.join("old-twin")).expect("rm");
        twin.read_exact_at(&mut seen, 0).expect("the removed file");
        assert!(seen == bytes, "an open file stays what it was");
    }
}

/// A reader maps the file and closes it; then somebody writes. A writer maps it and closes it, and then writes.
const MAPPED: &str = r#"
import ctypes, mmap, os, sys
path = sys.argv[1]
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
size = os.stat(path).st_size

def mapped(flags, prot):
    fd = os.open(path, flags)
    os.pread(fd, 10, 0)
    at = libc.mmap(None, size, prot, mmap.MAP_SHARED, fd, 0)
    assert at not in (None, ctypes.c_void_p(-1).value), os.strerror(ctypes.get_errno())
    os.close(fd)
    return at

def closed_writer(at, bytes):
    with open(path, "r+b") as w:
        w.seek(at)
        w.write(bytes)

reader = mapped(os.O_RDONLY, mmap.PROT_READ)
held = os.open(path, os.O_RDONLY)
assert ctypes.string_at(reader + 5_000_000, 4) != b"seen"
closed_writer(5_000_000, b"seen")
assert ctypes.string_at(reader + 5_000_000, 4) == b"seen", "a mapping whose file is closed"
assert os.pread(held, 4, 5_000_000) == b"seen"
writer = mapped(os.O_RDWR, mmap.PROT_READ | mmap.PROT_WRITE)
ctypes.memmove(writer + 6_000_000, b"mapped", 6)
assert ctypes.string_at(reader + 6_000_000, 6) == b"mapped", "two mappings"
assert os.pread(held, 6, 6_000_000) == b"mapped", "a reader beside a mapping"
with open(path, "rb") as f:
    f.seek(6_000_000)
    assert f.read(6) == b"mapped", "a new reader beside a mapping"
libc.munmap(reader, size)
os.close(held)
ctypes.memmove(writer + 7_000_000, b"later", 5)
libc.munmap(writer, size)
"#;

#[test]
fn mappings_see_writers_and_are_saved() {
    if !lattice_tests::fixture::needs(&["python3"]) {
        return;
    }
    for mut mounted in mounts() {
        let twin = make(&mounted, "mapped", 4);
        let path = mounted.join("mapped");
        Cmd::new("python3").args(["-c", MAPPED]).arg(&path).deadline(60).ok().expect("the script");
        let mut wanted = twin.clone();
        wanted[5_000_000..5_000_004].copy_from_slice(b"seen");
        wanted[6_000_000..6_000_006].copy_from_slice(b"mapped");
        wanted[7_000_000..7_000_005].copy_from_slice(b"later");
        assert!(fs::read(&path).expect("read") == wanted, "read sees what was mapped");
        stored(&mut mounted, "mapped", &wanted, &twin);
    }
}

/// Bytes that the daemon wrote so far: what it answers reads with is among them.
fn answered(mounted: &Mounted) -> u64 {
    let pid = mounted.pid().expect("a daemon");
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("its counters");
    let line = io.lines().find_map(|l| l.strip_prefix("wchar: ")).expect("wchar");
    line.parse().expect("a number")
}

#[test]
fn the_kernel_reads_large_files_by_itself_where_the_mount_says_so() {
    let Some(mounted) = super::lattice(&[]) else {
        return;
    };
    drop(mounted);
    for (n, mut mounted) in mounts().into_iter().enumerate() {
        let bytes = make(&mounted, "large", 5);
        // The kernel has nothing of it cached then.
        mounted.remount().expect("a new mount");
        let before = answered(&mounted);
        assert!(fs::read(mounted.join("large")).expect("read") == bytes);
        let sent = answered(&mounted) - before;
        let through = passthrough(&mounted);
        assert_eq!(sent < SIZE as u64 / 4, through, "{sent} bytes sent, passthrough: {through}");
        assert!(n == 0 || !through, "it was switched off");
    }
}

/// The first file that a program writes goes to the daemon directly, past the kernel's cache, and to the disk behind its
/// back: others see each write all the same, also through a mapping that was there before.
const WRITTEN: &str = r#"
import mmap, os, sys
path = sys.argv[1]
writer = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
wanted = bytearray()
for n in range(9):
    piece = bytes([65 + n]) * (1 << 20)
    assert os.write(writer, piece) == len(piece)
    wanted += piece
    with open(path, "rb") as f:
        assert os.fstat(f.fileno()).st_size == len(wanted)
        f.seek(max(0, len(wanted) - 5000))
        assert f.read() == wanted[-5000:], f"the end of {len(wanted)} bytes"
reader = os.open(path, os.O_RDONLY)
held = mmap.mmap(reader, len(wanted), prot=mmap.PROT_READ)
assert held[:] == wanted, "mapped"
for at in (0, 4_999_999, 8_000_000):
    for len_ in (7, 70_000):
        piece = os.urandom(len_)
        assert os.pwrite(writer, piece, at) == len_
        wanted[at:at + len_] = piece
        assert held[at:at + len_] == piece, f"{len_} bytes at {at}, mapped"
        assert os.pread(reader, len_, at) == piece, f"{len_} bytes at {at}, read"
os.ftruncate(writer, 6_000_001)
del wanted[6_000_001:]
assert os.pread(reader, 1 << 20, 5_500_000) == wanted[5_500_000:], "cut"
os.lseek(writer, 0, os.SEEK_END)
piece = os.urandom(3 << 20)
os.write(writer, piece)
wanted += piece
assert os.lseek(reader, 0, os.SEEK_HOLE) == len(wanted)
os.close(writer)
assert os.pread(reader, len(wanted), 0) == wanted, "closed"
appender = os.open(path, os.O_WRONLY | os.O_APPEND)
os.write(appender, b"the end")
os.close(appender)
wanted += b"the end"
with open(path, "rb") as f:
    assert f.read() == wanted, "a new reader"
with open(sys.argv[2], "wb") as f:
    f.write(wanted)
"#;

#[test]
fn what_is_written_directly_is_seen_at_once() {
    if !lattice_tests::fixture::needs(&["python3"]) {
        return;
    }
    for mut mounted in mounts() {
        let (path, plain) = (mounted.join("direct"), tempfile::NamedTempFile::new().expect("a file"));
        Cmd::new("python3")
            .args(["-c", WRITTEN])
            .arg(&path)
            .arg(plain.path())
            .deadline(60)
            .ok()
            .expect("the script");
        let wanted = fs::read(plain.path()).expect("what the script wrote");
        fs::copy(&path, mounted.join("direct-twin")).expect("a copy");
        stored(&mut mounted, "direct", &wanted, &wanted);
    }
}
