//! A few threads for requests that wait for the disk. They start when they are first needed, and end with the mount.

use std::ops::Range;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::waiter::Waiter;
use crate::ops::errno::{FROZEN, NOT_HERE};
use crate::ops::{Fs, Result};

/// That many may wait for the disk at a time. They share its flushes, so more would gain little.
const THREADS: usize = 4;

/// On a thread of its own, for what waits for the kernel, and so for any other request: no number of threads that are
/// shared would do. Such requests are rare. Where none can be started the request fails.
pub fn alone(job: impl FnOnce() + Send + 'static) {
    if let Err(e) = std::thread::Builder::new().name("fs-command".into()).spawn(job) {
        tracing::warn!(cause = %e, "a command through the mount was not done: no thread could be started");
    }
}

type Job = Box<dyn FnOnce() + Send>;

#[derive(Debug, Default)]
pub struct Slow(OnceLock<Mutex<Sender<Job>>>);

impl Slow {
    /// Runs it on one of the threads, or here where none can be started.
    pub fn run(&self, job: impl FnOnce() + Send + 'static) {
        let sender = self.0.get_or_init(|| Mutex::new(start())).lock().clone();
        if let Err(unsent) = sender.send(Box::new(job)) {
            (unsent.0)();
        }
    }
}

fn start() -> Sender<Job> {
    let (sender, receiver) = channel();
    let receiver = Arc::new(Mutex::new(receiver));
    for i in 0..THREADS {
        let receiver = receiver.clone();
        // One that doesn't start is not missed while another one did; with none, the send fails.
        let _ = std::thread::Builder::new().name(format!("fs-sync-{i}")).spawn(move || work(&receiver));
    }
    sender
}

/// Until the sender is gone: it is dropped with the adapter.
fn work(receiver: &Mutex<Receiver<Job>>) {
    loop {
        let job = receiver.lock().recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
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
