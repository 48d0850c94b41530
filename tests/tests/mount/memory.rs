//! Memory-mapped files: writers and readers in different processes, and what is left afterwards.

use std::fs;

use lattice_tests::fixture::Cmd;

/// The writer changes a mapping while it tells the reader so; the reader looks through a mapping
/// of its own and through read(2).
const SCRIPT: &str = r#"
import mmap, os, sys
path, size = sys.argv[1], 3_000_000
with open(path, "wb") as f:
    f.truncate(size)
down, up = os.pipe(), os.pipe()
reader = os.fork() == 0
f = open(path, "r+b")
m = mmap.mmap(f.fileno(), size)
if reader:
    for n in range(1, 51):
        assert os.read(down[0], 1) == b"."
        at = n * 50_021
        want = bytes([n]) * 100
        assert m[at:at + 100] == want, ("mapping", n)
        f.seek(at)
        assert os.pread(f.fileno(), 100, at) == want, ("read", n)
        os.write(up[1], b".")
    os._exit(0)
for n in range(1, 51):
    at = n * 50_021
    m[at:at + 100] = bytes([n]) * 100
    if n % 3 == 0:
        m.flush()
    os.write(down[1], b".")
    assert os.read(up[0], 1) == b".", "the reader is gone"
_, status = os.wait()
assert status == 0, status
f.close()
m[10:14] = b"last"
m.close()
"#;

#[test]
fn writers_and_readers_agree() {
    let Some(mut mounted) = super::mounted(&["python3"]) else {
        return;
    };
    let path = mounted.join("mapped");
    Cmd::new("python3").args(["-c", SCRIPT]).arg(&path).deadline(60).ok().expect("the script");
    let mut wanted = vec![0; 3_000_000];
    for n in 1..51_usize {
        wanted[n * 50_021..n * 50_021 + 100].fill(n as u8);
    }
    wanted[10..14].copy_from_slice(b"last");
    assert!(fs::read(&path).expect("read") == wanted, "read sees what was mapped");
    mounted.remount().expect("a new mount");
    if mounted.persists() {
        assert!(fs::read(&path).expect("read") == wanted, "and so after a new mount");
    }
}

#[test]
fn a_mapping_sees_what_is_written() {
    let Some(mounted) = super::mounted(&["python3"]) else {
        return;
    };
    let path = mounted.join("seen");
    fs::write(&path, vec![b'a'; 200_000]).expect("a file");
    let script = r#"
import mmap, sys
path = sys.argv[1]
with open(path, "rb") as f:
    m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)
    assert m[150_000:150_003] == b"aaa"
    with open(path, "r+b") as w:
        w.seek(150_000)
        w.write(b"new")
    assert m[150_000:150_003] == b"new", m[150_000:150_003]
"#;
    Cmd::new("python3").args(["-c", script]).arg(&path).ok().expect("the script");
}
