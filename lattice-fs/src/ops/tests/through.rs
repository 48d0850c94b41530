//! What is lent to the kernel, and what becomes of it when somebody writes. The kernel here only takes notes.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::super::lent::Backing;
use super::super::open::THROUGH;
use super::*;

const READ: i32 = libc::O_RDONLY;
const SIZE: usize = 3 << 20;

/// The files that it was lent.
#[derive(Default)]
struct Taken(Mutex<Vec<File>>);

impl Taken {
    fn open(&self, rig: &Rig, ino: u64, flags: i32) -> Opened {
        let register = |file: &File| {
            self.0.lock().push(file.try_clone().expect("a descriptor"));
            Some(Backing(Arc::new(())))
        };
        rig.fs.open_by(ino, flags, &register).expect("opened")
    }

    fn count(&self) -> usize {
        self.0.lock().len()
    }

    fn sees(&self, at: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.0.lock()[0].read_exact_at(&mut bytes, at as u64).expect("read");
        bytes
    }
}

/// A large file that the store has adopted, and another with the same chunks.
fn large(rig: &Rig) -> (u64, Vec<u8>) {
    let bytes: Vec<u8> =
        (0..SIZE as u32 / 4).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let ino = rig.write(ROOT, "a", &bytes);
    rig.fs.work_off();
    rig.write(ROOT, "twin", &bytes);
    rig.fs.work_off();
    (ino, bytes)
}

fn release(rig: &Rig, ino: u64, flags: i32) {
    rig.fs.flush(ino).expect("flushed");
    rig.fs.release(ino, THROUGH, flags).expect("released");
}

#[test]
fn readers_share_one_file_and_writers_write_into_it() {
    let (rig, kernel) = (Rig::new(), Taken::default());
    let (ino, mut bytes) = large(&rig);
    let old = bytes.clone();
    for _ in 0..2 {
        let opened = kernel.open(&rig, ino, READ);
        assert!(opened.through.is_some() && !opened.direct && opened.handle == THROUGH);
    }
    assert_eq!(kernel.count(), 1, "one file for both");
    assert!(kernel.sees(0, SIZE) == bytes);
    let writer = kernel.open(&rig, ino, libc::O_WRONLY);
    assert!(
        writer.through.is_some() && writer.direct,
        "a writer goes through the daemon, into the same file"
    );
    assert_eq!(kernel.count(), 1);
    rig.fs.write(ino, 1_000_000, b"changed", false).expect("written");
    bytes[1_000_000..1_000_007].copy_from_slice(b"changed");
    assert!(kernel.sees(0, SIZE) == bytes, "readers see it at once");
    assert!(rig.stored("a").expect("stored") == old, "and the store not before the close");
    release(&rig, ino, libc::O_WRONLY);
    assert!(rig.stored("a").expect("stored") == bytes);
    assert!(rig.stored("twin").expect("stored") == old, "what has the same chunks is as it was");
    release(&rig, ino, READ);
    release(&rig, ino, READ);
    drop(kernel);
    let kernel = Taken::default();
    let opened = kernel.open(&rig, ino, READ);
    assert!(opened.through.is_none(), "a file in parts can't be lent");
    assert!(!opened.keep_cache, "the kernel may have cached what was before");
    rig.fs.release(ino, 0, READ).expect("released");
    assert!(kernel.open(&rig, ino, READ).keep_cache, "and no longer");
}

#[test]
fn what_is_open_through_the_daemon_is_not_lent() {
    let (rig, kernel) = (Rig::new(), Taken::default());
    let (ino, _) = large(&rig);
    for flags in [READ, libc::O_RDWR] {
        let opened = rig.fs.open(ino, flags).expect("opened");
        assert!(opened.through.is_none());
        assert!(kernel.open(&rig, ino, READ).through.is_none(), "the kernel allows no mixture");
        rig.fs.release(ino, 0, READ).expect("released");
        rig.fs.release(ino, 0, flags).expect("released");
    }
    assert!(kernel.open(&rig, ino, READ).through.is_some());
    let small = rig.write(ROOT, "small", &[1; 5000]);
    assert!(kernel.open(&rig, small, READ).through.is_none());
}

#[test]
fn a_file_that_is_still_mapped_stays_lent() {
    let (rig, kernel) = (Rig::new(), Taken::default());
    let (ino, mut bytes) = large(&rig);
    kernel.open(&rig, ino, READ);
    // As a mapping would: another reference to the file, beside that of any descriptor we know.
    let mapping = lent::reopen(&kernel.0.lock()[0]).expect("mapped");
    kernel.0.lock().clear();
    release(&rig, ino, READ);
    let writer = kernel.open(&rig, ino, libc::O_WRONLY);
    assert!(writer.through.is_some(), "whoever maps it must see what is written");
    rig.fs.write(ino, 5, b"seen", false).expect("written");
    bytes[5..9].copy_from_slice(b"seen");
    let mut seen = vec![0; SIZE];
    mapping.read_exact_at(&mut seen, 0).expect("read");
    assert!(seen == bytes);
    release(&rig, ino, libc::O_WRONLY);
    assert!(rig.stored("a").expect("stored") == bytes);
    drop(mapping);
    kernel.0.lock().clear();
    assert!(kernel.open(&rig, ino, libc::O_WRONLY).through.is_none(), "nobody is left who could see it");
}
