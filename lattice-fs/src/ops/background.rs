//! What happens without being asked: files left open and quiet become entries, large files become content.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Fs;
use super::inode::{Inode, Place};

/// A file left open is committed when nothing was written to it for this long.
const QUIET: Duration = Duration::from_secs(5);

/// Work that waits for the threads.
#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    quiet: Vec<Weak<Inode>>,
    /// Large files on their way.
    promote: VecDeque<Arc<Inode>>,
    /// Inodes that were committed though their names led elsewhere: what do those show now?
    recheck: VecDeque<u64>,
    stop: bool,
}

impl Queue {
    /// Watches a dirty file until it is clean. Wakes nobody: it can't be due yet.
    pub(super) fn quiet(&self, inode: &Arc<Inode>) {
        self.inner.lock().quiet.push(Arc::downgrade(inode));
    }

    pub(super) fn promote(&self, inode: &Arc<Inode>) {
        self.inner.lock().promote.push_back(inode.clone());
        self.wake.notify_all();
    }

    pub(super) fn recheck(&self, inode: &Inode) {
        self.inner.lock().recheck.push_back(inode.ino);
        self.wake.notify_all();
    }

    /// The next of what `take` takes; `None` when the threads are to end and nothing is left.
    fn next<T>(&self, take: impl Fn(&mut Inner) -> Option<T>) -> Option<T> {
        let mut inner = self.inner.lock();
        loop {
            let work = take(&mut inner);
            if work.is_some() || inner.stop {
                return work;
            }
            self.wake.wait(&mut inner);
        }
    }
}

/// The threads, for as long as it lives.
#[derive(Debug)]
pub struct Background {
    fs: Arc<Fs>,
    threads: Vec<JoinHandle<()>>,
}

impl Background {
    pub fn start(fs: &Arc<Fs>) -> std::io::Result<Self> {
        let mut background = Self { fs: fs.clone(), threads: Vec::new() };
        let run_quiet: fn(&Fs) = Fs::run_quiet;
        // A large file may take minutes: no name waits for it.
        for (name, run) in
            [("fs-quiet", run_quiet), ("fs-promote", Fs::run_promote), ("fs-names", Fs::run_recheck)]
        {
            let fs = fs.clone();
            background.threads.push(std::thread::Builder::new().name(name.into()).spawn(move || run(&fs))?);
        }
        Ok(background)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.fs.queue.inner.lock().stop = true;
        self.fs.queue.wake.notify_all();
        for thread in self.threads.drain(..) {
            // A panic there was reported when it happened.
            let _ = thread.join();
        }
    }
}

impl Fs {
    fn run_quiet(&self) {
        let mut inner = self.queue.inner.lock();
        while !inner.stop {
            self.queue.wake.wait_for(&mut inner, QUIET / 5);
            let list = std::mem::take(&mut inner.quiet);
            if list.is_empty() {
                continue;
            }
            drop(inner);
            let stay: Vec<_> = list.into_iter().filter(|inode| self.check_quiet(inode)).collect();
            inner = self.queue.inner.lock();
            inner.quiet.extend(stay);
        }
    }

    /// Commits a file that has been quiet, all the way; false when it needs no more watching.
    pub(super) fn check_quiet(&self, inode: &Weak<Inode>) -> bool {
        let Some(inode) = inode.upgrade() else {
            return false;
        };
        if let Place::Store(volume) = &inode.place
            && let Err(errno) = self.write_back(volume, &inode)
        {
            tracing::warn!(path = self.path_of(&inode), %errno, "what was written through a mapping waits");
        }
        let due = {
            let mut state = inode.state.lock();
            let lingers = self.tend_lent(&inode, &mut state);
            let unlinked = state.unlinked;
            let waits = state.intent.is_some() && state.writers > 0;
            match &mut state.staged {
                Some(staged) if (staged.is_dirty() || waits) && !unlinked => {
                    let due = staged.changed.elapsed() >= QUIET;
                    if due {
                        // Whether it succeeds or not, not again before the next five seconds.
                        staged.changed = Instant::now();
                    }
                    due
                }
                _ if lingers => false,
                staged => {
                    if let Some(staged) = staged {
                        staged.listed = false;
                    }
                    self.let_go(&inode, &mut state);
                    return false;
                }
            }
        };
        if let (true, Place::Store(volume)) = (due, &inode.place) {
            volume.handle.wait_writes();
            if let Err(errno) = self.save(volume, &inode).and_then(|()| self.settle_intent(volume, &inode)) {
                tracing::warn!(path = self.path_of(&inode), %errno, "a file that is still open could not be saved yet");
            }
        }
        true
    }

    fn run_promote(&self) {
        while let Some(inode) = self.queue.next(|inner| inner.promote.pop_front()) {
            self.promote(&inode);
        }
    }

    fn run_recheck(&self) {
        while let Some(ino) = self.queue.next(|inner| inner.recheck.pop_front()) {
            self.recheck_name(ino);
        }
    }

    /// What waits for the threads, done here and now.
    #[cfg(test)]
    pub(super) fn work_off(&self) {
        loop {
            let (promote, recheck) = {
                let mut inner = self.queue.inner.lock();
                (inner.promote.pop_front(), inner.recheck.pop_front())
            };
            if promote.is_none() && recheck.is_none() {
                return;
            }
            promote.iter().for_each(|inode| self.promote(inode));
            recheck.iter().for_each(|ino| self.recheck_name(*ino));
        }
    }

    fn promote(&self, inode: &Arc<Inode>) {
        let Place::Store(volume) = &inode.place else {
            return;
        };
        if inode.state.lock().writers > 0 {
            // Its next close asks again.
            return;
        }
        if let Err(errno) = self.settle_intent(volume, inode) {
            tracing::warn!(path = self.path_of(inode), %errno, "a large file waits in the staging directory; it is tried again when the store opens");
        }
    }

    /// Commits everything that is staged. For unmounting: the first error, after trying all.
    pub fn save_all(&self) -> super::Result<()> {
        let mut result = Ok(());
        for inode in self.table.all() {
            let Place::Store(volume) = &inode.place else {
                continue;
            };
            if inode.is_dir() {
                continue;
            }
            let saved = self.save(volume, &inode).and_then(|()| self.settle_intent(volume, &inode));
            if let Err(errno) = saved {
                tracing::warn!(path = self.path_of(&inode), %errno, "could not be saved before unmounting");
                result = result.and(Err(errno));
            }
        }
        result
    }
}
