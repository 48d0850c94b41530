//! A large file that is written behind the program's back: a copy of what it wrote waits for a thread, which writes it to
//! the disk's cache while the kernel fills the next request. FUSE has one `write` of a program under way at a time, so
//! without this the two copies would follow each other.
//!
//! Nobody reaches the file past what waits. What the disk refuses stays here, is tried again, and is the error of the next
//! write or of the close, as with any file whose blocks are found late. Reading it and cutting it off need no room, and go on
//! meanwhile.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

/// A file as large as this may get a thread, and bytes in pieces as large as that.
const FROM: u64 = 4 << 20;
const PIECE: usize = 64 << 10;
/// Pieces of one file that wait.
const WAITING: usize = 4;
/// Bytes of all files that wait. Beyond it they are written at once.
const ALL: usize = 32 << 20;
/// Bytes of what `st_blocks` counts.
const BLOCK: u64 = 512;
/// How long the thread stays when nothing comes.
const LINGER: Duration = Duration::from_millis(200);

static WAIT_NOW: AtomicUsize = AtomicUsize::new(0);

#[derive(Debug)]
pub struct Behind(Arc<Lane>);

#[derive(Debug)]
struct Lane {
    file: File,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    /// In the order in which they were written.
    pieces: VecDeque<Piece>,
    /// The thread writes one that it took.
    busy: bool,
    running: bool,
    /// Nobody will ask for the file any more.
    ended: bool,
    spare: Vec<Vec<u8>>,
}

#[derive(Debug)]
struct Piece {
    at: u64,
    bytes: Vec<u8>,
}

impl Behind {
    pub fn new(file: File) -> Self {
        Self(Arc::new(Lane { file, queue: Mutex::default(), changed: Condvar::new() }))
    }

    /// What the disk refused, if anything: the thread has no more to do.
    fn settled(&self) -> MutexGuard<'_, Queue> {
        let mut queue = self.0.queue.lock();
        self.0.changed.wait_while(&mut queue, |q| q.busy || (q.running && !q.pieces.is_empty()));
        queue
    }

    /// The file, with everything that was written in it.
    pub fn file(&self) -> io::Result<&File> {
        let lane = &*self.0;
        let queue = &mut self.settled();
        while let Some(piece) = queue.pieces.front() {
            // The thread was refused it, and is gone.
            lane.file.write_all_at(&piece.bytes, piece.at)?;
            queue.pop();
        }
        Ok(&lane.file)
    }

    /// Fills `buf` from `offset` with what was written, and with zeros beyond the file's end: a sparse file may be shorter than
    /// what it stands for.
    pub fn read_or_zeros(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let queue = self.settled();
        let mut done = 0;
        while done < buf.len() {
            match self.0.file.read_at(&mut buf[done..], offset + done as u64) {
                Ok(0) => {
                    buf[done..].fill(0);
                    break;
                }
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        for piece in &queue.pieces {
            piece.lay_over(buf, offset);
        }
        Ok(())
    }

    /// Cuts, or grows with zeros.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        let mut queue = self.settled();
        self.0.file.set_len(len)?;
        queue.cut(len);
        Ok(())
    }

    /// Bytes that it takes on the disk, or will.
    pub fn allocated(&self) -> io::Result<u64> {
        let queue = self.0.queue.lock();
        let waiting: u64 = queue.pieces.iter().map(|p| p.bytes.len() as u64).sum();
        Ok(self.0.file.metadata()?.blocks() * BLOCK + waiting)
    }

    /// Writes all of `data`, now or soon. An error may be that of what was written before.
    pub fn write_all_at(&self, data: &[u8], at: u64) -> io::Result<()> {
        if data.len() < PIECE || at < FROM || !claim(data.len()) {
            return self.file()?.write_all_at(data, at);
        }
        let done = self.push(data, at);
        if !matches!(done, Ok(true)) {
            WAIT_NOW.fetch_sub(data.len(), Ordering::Relaxed);
        }
        match done? {
            true => Ok(()),
            // No thread could be started.
            false => self.file()?.write_all_at(data, at),
        }
    }

    fn push(&self, data: &[u8], at: u64) -> io::Result<bool> {
        let lane = &self.0;
        let mut queue = lane.queue.lock();
        lane.changed.wait_while(&mut queue, |q| q.running && q.pieces.len() >= WAITING);
        if !queue.running {
            drop(queue);
            self.file()?;
            let thread = lane.clone();
            lane.queue.lock().running = true;
            if std::thread::Builder::new().name("fs-behind".into()).spawn(move || thread.work()).is_err() {
                lane.queue.lock().running = false;
                return Ok(false);
            }
            queue = lane.queue.lock();
        }
        let mut bytes = queue.spare.pop().unwrap_or_default();
        drop(queue);
        bytes.clear();
        bytes.extend_from_slice(data);
        lane.queue.lock().pieces.push_back(Piece { at, bytes });
        lane.changed.notify_all();
        Ok(true)
    }
}

impl Drop for Behind {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.ended = true;
        queue.clear();
        self.0.changed.notify_all();
    }
}

impl Lane {
    /// Until nothing came for a while, or the disk refuses something.
    fn work(&self) {
        let mut queue = self.queue.lock();
        loop {
            let Some(piece) = queue.pieces.pop_front() else {
                let idle = |q: &mut Queue| q.pieces.is_empty() && !q.ended;
                let late = self.changed.wait_while_for(&mut queue, idle, LINGER).timed_out();
                if queue.ended || (late && queue.pieces.is_empty()) {
                    break;
                }
                continue;
            };
            queue.busy = true;
            drop(queue);
            let done = self.file.write_all_at(&piece.bytes, piece.at);
            queue = self.queue.lock();
            queue.busy = false;
            queue.pieces.push_front(piece);
            if done.is_err() {
                // It says so again to who asks for the file.
                break;
            }
            queue.pop();
            self.changed.notify_all();
        }
        queue.running = false;
        queue.spare.clear();
        if queue.ended {
            queue.clear();
        }
        self.changed.notify_all();
    }
}

impl Queue {
    /// The first has been written, or isn't wanted.
    fn pop(&mut self) {
        if let Some(piece) = self.pieces.pop_front() {
            WAIT_NOW.fetch_sub(piece.bytes.len(), Ordering::Relaxed);
            if self.running {
                self.spare.push(piece.bytes);
            }
        }
    }

    /// What lies beyond isn't wanted.
    fn cut(&mut self, len: u64) {
        for piece in &mut self.pieces {
            let left = len.saturating_sub(piece.at).min(piece.bytes.len() as u64) as usize;
            WAIT_NOW.fetch_sub(piece.bytes.len() - left, Ordering::Relaxed);
            piece.bytes.truncate(left);
        }
        self.pieces.retain(|p| !p.bytes.is_empty());
    }

    fn clear(&mut self) {
        while !self.pieces.is_empty() {
            self.pop();
        }
    }
}

impl Piece {
    /// Puts what it has of `buf`, which is at `offset`, there.
    fn lay_over(&self, buf: &mut [u8], offset: u64) {
        let end = (self.at + self.bytes.len() as u64).min(offset + buf.len() as u64);
        let start = self.at.max(offset);
        if start < end {
            let (from, to) = ((start - self.at) as usize, (start - offset) as usize);
            let len = (end - start) as usize;
            buf[to..to + len].copy_from_slice(&self.bytes[from..from + len]);
        }
    }
}

fn claim(len: usize) -> bool {
    let before = WAIT_NOW.fetch_add(len, Ordering::Relaxed);
    if before + len > ALL {
        WAIT_NOW.fetch_sub(len, Ordering::Relaxed);
    }
    before + len <= ALL
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    fn opened(path: &std::path::Path) -> Behind {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        Behind::new(file.expect("opened"))
    }

    /// Pieces over one another, of every size, and now and then a look at the file.
    #[test]
    fn the_file_has_what_was_written_last() {
        let dir = tempfile::tempdir().expect("a directory");
        let behind = opened(&dir.path().join("f"));
        let mut wanted = vec![0; 6 << 20];
        let mut seed = 1_u64;
        let mut next = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        for n in 0..8000_usize {
            let len = [100, PIECE - 1, PIECE, 300_000][next(4)];
            // Mostly where the last ones went: what is late then shows.
            let at = if next(8) == 0 { next(wanted.len() - len) } else { FROM as usize + next(100_000) };
            let piece = vec![n as u8; len];
            behind.write_all_at(&piece, at as u64).expect("written");
            wanted[at..at + len].copy_from_slice(&piece);
            if n.is_multiple_of(5) {
                let mut seen = vec![0; len];
                if n.is_multiple_of(2) {
                    behind.file().expect("whole").read_exact_at(&mut seen, at as u64).expect("read");
                } else {
                    behind.read_or_zeros(&mut seen, at as u64).expect("read");
                }
                assert!(seen == piece, "piece {n}");
            }
        }
        let mut seen = vec![0; wanted.len()];
        let file = behind.file().expect("whole");
        let len = file.metadata().expect("stat").len() as usize;
        file.read_exact_at(&mut seen[..len], 0).expect("read");
        assert!(seen == wanted);
    }

    #[test]
    fn what_the_disk_refuses_is_an_error_until_it_is_taken() {
        let full = opened("/dev/full".as_ref());
        let piece = vec![1; PIECE];
        // The first is taken, and refused later.
        let refused = (0..3).map(|n| full.write_all_at(&piece, FROM + n)).filter(Result::is_err).count();
        for _ in 0..2 {
            let error = full.file().expect_err("refused");
            assert_eq!(error.raw_os_error(), Some(libc::ENOSPC), "after {refused} errors of writes");
        }
        // It was kept: what is tried again is the same bytes.
        assert!(full.0.queue.lock().pieces.iter().all(|p| p.bytes == piece));
        assert!(!full.0.queue.lock().pieces.is_empty());
        let lane = full.0.clone();
        drop(full);
        assert!(lane.queue.lock().pieces.is_empty(), "nobody will ask any more");
    }

    /// Taken, and then refused: a file that may not grow any more.
    fn refused(len: u64) -> Behind {
        use rustix::fs::{MemfdFlags, SealFlags};
        let file = rustix::fs::memfd_create("full", MemfdFlags::ALLOW_SEALING).expect("a file");
        let behind = Behind::new(File::from(file));
        behind.set_len(len).expect("grown");
        rustix::fs::fcntl_add_seals(&behind.0.file, SealFlags::GROW).expect("full");
        behind
    }

    #[test]
    fn what_was_refused_can_be_read_and_cut_off() {
        let at = FROM - 1000 + PIECE as u64;
        let full = refused(at);
        let piece: Vec<u8> = (0..PIECE).map(|n| n as u8 | 1).collect();
        full.write_all_at(&piece, at).expect("taken");
        full.file().expect_err("refused");
        // Some bytes before it, all of it, and some after.
        let mut seen = vec![7; PIECE + 200];
        full.read_or_zeros(&mut seen, at - 100).expect("read");
        assert!(
            seen[..100] == [0; 100] && seen[100..PIECE + 100] == piece && seen[PIECE + 100..] == [0; 100]
        );
        let mut seen = [7; 10];
        full.read_or_zeros(&mut seen, at + 50).expect("read");
        assert_eq!(seen, piece[50..60]);

        full.set_len(at + 60).expect_err("no more room for a longer file");
        full.read_or_zeros(&mut seen, at + 60).expect("read");
        assert_eq!(seen, piece[60..70], "as it was");
        full.set_len(at - 1).expect("cut");
        assert_eq!(full.file().expect("whole").metadata().expect("stat").len(), at - 1);
        full.read_or_zeros(&mut seen, at - 2).expect("read");
        assert_eq!(seen, [0; 10]);
    }

    #[test]
    fn what_lies_beyond_a_cut_is_dropped_and_the_rest_still_waits() {
        let mut queue = Queue::default();
        for (at, len) in [(0, 30), (10, 10), (20, 5)] {
            assert!(claim(len));
            queue.pieces.push_back(Piece { at, bytes: vec![1; len] });
        }
        queue.cut(15);
        let left: Vec<_> = queue.pieces.iter().map(|p| (p.at, p.bytes.len())).collect();
        assert_eq!(left, [(0, 15), (10, 5)]);
        queue.clear();
    }

    #[test]
    fn a_hole_takes_no_room() {
        let dir = tempfile::tempdir().expect("a directory");
        let sparse = opened(&dir.path().join("f"));
        sparse.set_len(1 << 30).expect("grown");
        assert_eq!(sparse.allocated().expect("stat"), 0);
        sparse.write_all_at(&[1; 2 * PIECE], 1 << 29).expect("written");
        let allocated = sparse.allocated().expect("stat");
        assert!((2 * PIECE as u64..1 << 20).contains(&allocated), "{allocated}");
    }
}
