//! Threads for requests that wait: for the disk, or for a large file on its way into the store, which may take minutes. As
//! many as there are such requests, so that none of them waits for another. They start when they are first needed, and end
//! when there is nothing to do, or with the mount.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::waiter::Waiter;
use crate::ops::errno::{FROZEN, NOT_HERE};
use crate::ops::{Fs, Result};

/// More requests than that wait for a thread. A program has one at a time.
const MOST: usize = 512;
/// How long a thread stays without work.
const LINGER: Duration = Duration::from_secs(10);

/// On a thread of its own, for what waits for the kernel, and so for any other request: no number of threads that are
/// shared would do. Such requests are rare. Where none can be started the request fails.
pub fn alone(job: impl FnOnce() + Send + 'static) {
    if let Err(e) = std::thread::Builder::new().name("fs-command".into()).spawn(job) {
        tracing::warn!(cause = %e, "a command through the mount was not done: no thread could be started");
    }
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub struct Slow(Arc<Pool>);

#[derive(Default)]
struct Pool {
    jobs: Mutex<Jobs>,
    more: Condvar,
}

#[derive(Default)]
struct Jobs {
    waiting: VecDeque<Job>,
    /// Threads that wait for one.
    idle: usize,
    threads: usize,
    ended: bool,
}

impl Slow {
    /// Runs it on one of the threads, or here where none can be started.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut jobs = self.0.jobs.lock();
        jobs.waiting.push_back(Box::new(job));
        if jobs.idle >= jobs.waiting.len() {
            self.0.more.notify_one();
            return;
        }
        if jobs.threads == MOST {
            return;
        }
        jobs.threads += 1;
        drop(jobs);
        let pool = self.0.clone();
        if std::thread::Builder::new().name("fs-slow".into()).spawn(move || pool.work()).is_err() {
            let mut jobs = self.0.jobs.lock();
            jobs.threads -= 1;
            let job = jobs.waiting.pop_back();
            drop(jobs);
            if let Some(job) = job {
                job();
            }
        }
    }
}

impl Drop for Slow {
    fn drop(&mut self) {
        self.0.jobs.lock().ended = true;
        self.0.more.notify_all();
    }
}

impl std::fmt::Debug for Slow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Slow")
    }
}

impl Pool {
    fn work(&self) {
        while let Some(job) = self.next() {
            // One that panics has said so, and the answer that it had is an error. The thread is counted, and goes on.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    /// `None`: the thread ends, and counts no more.
    fn next(&self) -> Option<Job> {
        let mut jobs = self.jobs.lock();
        loop {
            let job = jobs.waiting.pop_front();
            if job.is_some() {
                return job;
            }
            let mut late = jobs.ended;
            if !late {
                jobs.idle += 1;
                late = self.more.wait_for(&mut jobs, LINGER).timed_out();
                jobs.idle -= 1;
            }
            if late && jobs.waiting.is_empty() {
                jobs.threads -= 1;
                return None;
            }
        }
    }
}

/// Does an operation here, and where the bytes of one of `files` are not here yet, or it can't be written for now, again on
/// a thread that waits for that, as long as `waiter` does.
pub fn patiently<T>(
    fs: &Arc<Fs>,
    waiter: Waiter,
    files: impl Into<Vec<(u64, Range<u64>)>>,
    mut operation: impl FnMut(&Fs) -> Result<T> + Send + 'static,
    reply: impl FnOnce(Result<T>) + Send + 'static,
) {
    match operation(fs) {
        Err(NOT_HERE | FROZEN) => {
            let (fs, files) = (fs.clone(), files.into());
            alone(move || reply(fs.patiently(&files, &|| waiter.is_interrupted(), || operation(&fs))));
        }
        done => reply(done),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn no_request_waits_for_others_that_wait() {
        let slow = Slow::default();
        let closed = Arc::new(Mutex::new(()));
        let (done, served) = channel();
        let held = closed.lock();
        for _ in 0..40 {
            let (closed, done) = (closed.clone(), done.clone());
            slow.run(move || {
                drop(closed.lock());
                done.send("waited").expect("somebody counts");
            });
        }
        let quick = done.clone();
        slow.run(move || quick.send("quick").expect("somebody counts"));
        assert_eq!(served.recv_timeout(SOON), Ok("quick"));
        drop(held);
        for _ in 0..40 {
            assert_eq!(served.recv_timeout(SOON), Ok("waited"));
        }
    }

    #[test]
    fn threads_are_used_again_and_end_with_the_mount() {
        let slow = Slow::default();
        let pool = Arc::downgrade(&slow.0);
        let (done, served) = channel();
        for _ in 0..100 {
            let done = done.clone();
            slow.run(move || done.send(()).expect("somebody waits"));
            served.recv_timeout(SOON).expect("done");
            while slow.0.jobs.lock().idle == 0 {
                std::thread::yield_now();
            }
        }
        slow.run(|| panic!("on purpose: the thread goes on"));
        let done = done.clone();
        slow.run(move || done.send(()).expect("somebody waits"));
        served.recv_timeout(SOON).expect("done");
        assert!(slow.0.jobs.lock().threads <= 2);
        drop(slow);
        let deadline = std::time::Instant::now() + SOON;
        while pool.strong_count() > 0 {
            assert!(std::time::Instant::now() < deadline, "a thread is left");
            std::thread::yield_now();
        }
    }
}
