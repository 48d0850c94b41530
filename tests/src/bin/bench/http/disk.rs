//! What the disk allows to many who want to be sure: each writes a record, and one fdatasync is for all of them.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Records a second of so many threads. They append, as a log does, so the file's new length is synced too. All write,
/// one syncs, all go on: no grouping does better with as many that wait for their own record before the next.
pub fn rate(file: &Path, threads: usize, record: &[u8], time: Duration) -> Result<f64> {
    let log = OpenOptions::new().create(true).append(true).open(file).context("a file to sync")?;
    let all = &Barrier::new(threads);
    // `over` changes between the two waits of a round only, so all see the same and leave in the same round.
    let (failed, over) = (&AtomicBool::new(false), &AtomicBool::new(false));
    let began = Instant::now();
    let run = || -> io::Result<u64> {
        let mut groups = 0;
        loop {
            let mut done = (&log).write_all(record);
            if done.is_err() {
                failed.store(true, Ordering::SeqCst);
            }
            if all.wait().is_leader() {
                done = done.and_then(|()| log.sync_data());
                let last = done.is_err() || failed.load(Ordering::SeqCst) || began.elapsed() >= time;
                over.store(last, Ordering::SeqCst);
            }
            all.wait();
            done?;
            groups += 1;
            if over.load(Ordering::SeqCst) {
                return Ok(groups);
            }
        }
    };
    let groups = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let ended = running.into_iter().map(|t| t.join().map_err(|_| io::Error::other("it panicked"))?);
        ended.collect::<io::Result<Vec<u64>>>()
    });
    let groups = groups.with_context(|| format!("can't write and sync {}", file.display()))?;
    Ok(groups.iter().sum::<u64>() as f64 / began.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_that_counts_is_in_the_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("log");
        let (began, record) = (Instant::now(), [7; 10]);
        let rate = rate(&file, 4, &record, Duration::from_millis(20)).expect("a rate");
        let written = file.metadata().expect("a file").len() / 10;
        assert!(written >= 4 && written.is_multiple_of(4), "{written} records of 4 threads");
        // It took at least the time that it was given, and at most that of the whole test.
        let counted = rate * 0.02..=rate * began.elapsed().as_secs_f64();
        assert!(counted.contains(&(written as f64)), "{written} records, {counted:?} counted");
    }
}
