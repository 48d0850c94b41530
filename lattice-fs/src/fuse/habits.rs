//! Guesses when a file is opened for writing whether much will be written. Direct I/O writes a large file up to twice as
//! fast, for the kernel keeps no copy; a small one is read again soon, and wants that copy. The kernel asks at `open`, when
//! only this is known: what the same thread wrote just before. A wrong guess costs time and nothing else.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Who writes more than this profits, page cache or not.
const LARGE: u64 = 1 << 20;
/// How long a small file speaks for the next one.
const FRESH: Duration = Duration::from_secs(1);
/// Threads that are remembered, by the last digits of their number.
const THREADS: usize = 64;

#[derive(Debug, Default)]
pub struct Habits(Mutex<Vec<Option<Habit>>>);

#[derive(Debug, Clone, Copy)]
struct Habit {
    thread: u32,
    opened: Instant,
    large: bool,
}

impl Habits {
    /// A thread opens a file only for writing: whether by direct I/O. Until it has written much it is one of small files.
    /// The first file of a program is written directly: reading one small file once from the daemon is little beside
    /// starting a program.
    pub fn opens(&self, thread: u32) -> bool {
        let now = Instant::now();
        let habits = &mut *self.0.lock();
        habits.resize(THREADS, None);
        let before = habits[thread as usize % THREADS].replace(Habit { thread, opened: now, large: false });
        before.is_none_or(|b| b.large || b.thread != thread || now.duration_since(b.opened) > FRESH)
    }

    /// Some of those bytes were written.
    pub fn writes(&self, thread: u32, offset: u64, len: usize) {
        let end = offset + len as u64;
        if offset > LARGE || end <= LARGE {
            return;
        }
        let habits = &mut *self.0.lock();
        if let Some(Some(habit)) = habits.get_mut(thread as usize % THREADS)
            && habit.thread == thread
        {
            habit.large = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_writes_small_files_goes_on_to_and_who_writes_large_ones_too() {
        let habits = Habits::default();
        assert!(habits.opens(7), "nothing is known");
        habits.writes(7, 0, 4096);
        assert!(!habits.opens(7), "the last one was small");
        for block in 0..3 {
            habits.writes(7, block << 20, 1 << 20);
        }
        assert!(habits.opens(7), "the last one was large");
        assert!(!habits.opens(7), "and this one, so far, is not");
        assert!(habits.opens(7 + THREADS as u32), "another thread");
        habits.writes(7, LARGE - 1, 2);
        assert!(!habits.opens(7 + THREADS as u32), "what others write says nothing of this one");
    }

    #[test]
    fn a_small_file_is_forgotten() {
        let habits = Habits::default();
        habits.opens(1);
        assert!(!habits.opens(1));
        let long_ago = Instant::now().checked_sub(FRESH * 2).expect("the machine runs for longer");
        if let Some(habit) = &mut habits.0.lock()[1] {
            habit.opened = long_ago;
        }
        assert!(habits.opens(1));
    }
}
