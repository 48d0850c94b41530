//! Work on a store that many wait for and that is done for all of them at once. Who comes while nobody is at it begins a task
//! for it; what comes meanwhile waits its turn together. A thread is woken for a group and not for each, and those who wait
//! are told by that task, on the runtime's own threads, where to wake somebody costs little.
//!
//! Nobody waits for a group to fill. But whatever has come by now is in it: before a group begins, the requests that have arrived
//! are let go first, as long as that brings more. Where nothing else is to be done that is over at once.

use std::collections::HashMap;
use std::sync::Arc;

use lattice_engine::id::StoreId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// How often more is let come before a group begins.
const PATIENCE: usize = 8;

/// Groups of `J`, one at a time for each store; each job is answered by an `A`.
#[derive(Debug)]
pub struct Together<J, A> {
    /// What waits, of each store that somebody is at.
    waiting: Waiting<J, A>,
}

type Waiting<J, A> = Arc<Mutex<HashMap<StoreId, Vec<Job<J, A>>>>>;

#[derive(Debug)]
struct Job<J, A> {
    work: J,
    told: oneshot::Sender<A>,
}

impl<J, A> Default for Together<J, A> {
    fn default() -> Self {
        Self { waiting: Arc::default() }
    }
}

impl<J: Send + 'static, A: Send + 'static> Together<J, A> {
    /// `all` is done with the job and with what else waits, on a thread that may block, and gives as many answers in the same
    /// order. `None`: it has panicked. The job is done also if nobody waits for it any more. On a runtime only.
    pub async fn with(&self, store: StoreId, job: J, all: fn(Vec<J>) -> Vec<A>) -> Option<A> {
        let (told, answer) = oneshot::channel();
        if let Some(turn) = self.join(store, Job { work: job, told }) {
            tokio::spawn(turn.take(all));
        }
        answer.await.ok()
    }

    /// Puts it with those that wait. Where nobody is at them, it is one's turn.
    fn join(&self, store: StoreId, job: Job<J, A>) -> Option<Turn<J, A>> {
        let mut waiting = self.waiting.lock();
        if let Some(jobs) = waiting.get_mut(&store) {
            jobs.push(job);
            return None;
        }
        waiting.insert(store, vec![job]);
        Some(Turn { waiting: self.waiting.clone(), store, over: false })
    }
}

/// Somebody is at it. Where it is dropped before it is over (the work has panicked, or the runtime ends), what still waits is
/// dropped too, and the next who comes begins anew.
struct Turn<J, A> {
    waiting: Waiting<J, A>,
    store: StoreId,
    over: bool,
}

impl<J: Send + 'static, A: Send + 'static> Turn<J, A> {
    async fn take(mut self, all: fn(Vec<J>) -> Vec<A>) {
        loop {
            self.gather().await;
            let Some(group) = self.next() else { return };
            let (jobs, told): (Vec<J>, Vec<_>) = group.into_iter().map(|job| (job.work, job.told)).unzip();
            let Ok(answers) = tokio::task::spawn_blocking(move || all(jobs)).await else { return };
            // Who doesn't wait any more doesn't want to know.
            told.into_iter().zip(answers).for_each(|(told, answer)| drop(told.send(answer)));
        }
    }

    /// Lets go first what can.
    async fn gather(&self) {
        let mut have = self.count();
        for _ in 0..PATIENCE {
            tokio::task::yield_now().await;
            let now = self.count();
            if now == have {
                return;
            }
            have = now;
        }
    }

    fn count(&self) -> usize {
        self.waiting.lock().get(&self.store).map_or(0, Vec::len)
    }

    /// All that waits. `None`: nothing, and nobody is at it any more.
    fn next(&mut self) -> Option<Vec<Job<J, A>>> {
        let mut waiting = self.waiting.lock();
        let jobs = waiting.get_mut(&self.store).map(std::mem::take).filter(|jobs| !jobs.is_empty());
        if jobs.is_none() {
            waiting.remove(&self.store);
            self.over = true;
        }
        jobs
    }
}

impl<J, A> Drop for Turn<J, A> {
    fn drop(&mut self) {
        if !self.over {
            self.waiting.lock().remove(&self.store);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures::future::{join, join_all};

    use super::*;

    const STORE: StoreId = StoreId([1; 16]);

    /// How many were with it, after the thread that works was let go.
    fn company(jobs: Vec<mpsc::Receiver<()>>) -> Vec<usize> {
        let count = jobs.len();
        jobs.into_iter().map(|go_on| go_on.recv().map_or(0, |()| count)).collect()
    }

    #[tokio::test]
    async fn what_comes_meanwhile_is_one_group() {
        let together = &Together::default();
        let (go_on, wait): (Vec<_>, Vec<_>) = (0..5).map(|_| mpsc::channel()).unzip();
        let mut wait = wait.into_iter();
        let first = together.with(STORE, wait.next().expect("five"), company);
        // They come once somebody works and nobody waits.
        let rest = async {
            while together.waiting.lock().get(&STORE).is_none_or(|jobs| !jobs.is_empty()) {
                tokio::task::yield_now().await;
            }
            let rest = join_all(wait.map(|wait| together.with(STORE, wait, company)));
            let release = async { go_on.iter().for_each(|go_on| go_on.send(()).expect("it waits")) };
            join(rest, release).await.0
        };
        let (first, rest) = join(first, rest).await;
        assert_eq!((first, rest), (Some(1), vec![Some(4); 4]));
        while together.waiting.lock().contains_key(&STORE) {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_can_be_let_come_is_of_the_first_group() {
        let together = &Together::default();
        let late_by = async |rounds: usize| {
            for _ in 0..rounds {
                tokio::task::yield_now().await;
            }
            together.with(STORE, (), |jobs| vec![jobs.len(); jobs.len()]).await
        };
        assert_eq!(join_all((0..=PATIENCE).map(late_by)).await, [Some(PATIENCE + 1); PATIENCE + 1]);
    }

    #[tokio::test]
    async fn who_comes_after_a_panic_begins_anew() {
        let together = Together::default();
        let work = |jobs: Vec<bool>| {
            assert!(jobs.iter().all(|good| *good), "for the test");
            jobs
        };
        assert_eq!(together.with(STORE, false, work).await, None);
        while together.waiting.lock().contains_key(&STORE) {
            tokio::task::yield_now().await;
        }
        assert_eq!(together.with(STORE, true, work).await, Some(true));
    }
}
