//! A large file that is written behind the program's back: a copy of what it wrote waits for a thread, which writes it to
//! the disk's cache while the kernel fills the next request. FUSE has one `write` of a program under way at a time, so
//! without this the two copies would follow each other.
//!
//! Nobody reaches the file past what waits: [`Behind::file`] is the only way to it, and waits. What the disk refuses stays
//! here, is tried again, and is the error of the next write or of the close, as with any file whose blocks are found late.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// A file as large as this may get a thread, and bytes in pieces as large as that.
const FROM: u64 = 4 << 20;
const PIECE: usize = 64 << 10;
/// Pieces of one file that wait.
const WAITING: usize = 4;
/// Bytes of all files that wait. Beyond it they are written at once.
const ALL: usize = 32 << 20;
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

    /// The file, with everything that was written in it.
    pub fn file(&self) -> io::Result<&File> {
        let lane = &*self.0;
        let queue = &mut lane.queue.lock();
        lane.changed.wait_while(queue, |q| q.busy || (q.running && !q.pieces.is_empty()));
        while let Some(piece) = queue.pieces.front() {
            // The thread was refused it, and is gone.
            lane.file.write_all_at(&piece.bytes, piece.at)?;
            queue.pop();
        }
        Ok(&lane.file)
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

    fn clear(&mut self) {
        while !self.pieces.is_empty() {
            self.pop();
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
                behind.file().expect("whole").read_exact_at(&mut seen, at as u64).expect("read");
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
}
