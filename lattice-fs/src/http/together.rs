//! Work on a store that many wait for and that is done for all of them at once. Who comes while nobody is at it begins a task
//! for it; what comes meanwhile waits its turn together. A thread is woken for a group and not for each.
//!
//! Nobody waits for a group to fill. But whatever has come by now is in it: before a group begins, the requests that have arrived
//! are let go first, as long as that brings more. Where nothing else is to be done that is over at once. Only work that waits
//! for the disk ([`Pace::Patient`]) gives those of the group before some more time to come again.

use std::collections::HashMap;
use std::sync::Arc;

use lattice_engine::id::StoreId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// What the work of a group is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Over soon, so the runtime's own threads are still awake: the task tells those who wait, there it costs little.
    Prompt,
    /// It ends in a wait for the disk, which one more in a group makes no longer. By then the runtime's threads sleep: the
    /// thread that did the work tells those who wait, and wakes them once instead of twice. Together with the patience that
    /// is a tenth more durable writes of 16 clients on two CPUs.
    Patient,
}

impl Pace {
    /// How often more is let come before a group begins, at most.
    fn turns(self) -> usize {
        match self {
            Self::Prompt => 8,
            Self::Patient => 120,
        }
    }

    /// How often it may bring nothing, as long as fewer have come than were in the group before: about 0.1 ms in all where
    /// nothing else is to be done, half of a wait for the disk.
    fn in_vain(self) -> usize {
        match self {
            Self::Prompt => 0,
            Self::Patient => 60,
        }
    }
}

/// Groups of `J`, one at a time for each store; each job is answered by an `A`.
#[derive(Debug)]
pub struct Together<J, A> {
    pace: Pace,
    /// What waits, of each store that somebody is at.
    waiting: Waiting<J, A>,
}

type Waiting<J, A> = Arc<Mutex<HashMap<StoreId, Vec<Job<J, A>>>>>;

#[derive(Debug)]
struct Job<J, A> {
    work: J,
    told: oneshot::Sender<A>,
}

impl<J: Send + 'static, A: Send + 'static> Together<J, A> {
    pub fn new(pace: Pace) -> Self {
        Self { pace, waiting: Arc::default() }
    }

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
        Some(Turn { pace: self.pace, waiting: self.waiting.clone(), store, over: false })
    }
}

/// Somebody is at it. Where it is dropped before it is over (the work has panicked, or the runtime ends), what still waits is
/// dropped too, and the next who comes begins anew.
struct Turn<J, A> {
    pace: Pace,
    waiting: Waiting<J, A>,
    store: StoreId,
    over: bool,
}

impl<J: Send + 'static, A: Send + 'static> Turn<J, A> {
    async fn take(mut self, all: fn(Vec<J>) -> Vec<A>) {
        let (pace, mut before) = (self.pace, 0);
        loop {
            self.gather(before).await;
            let Some(group) = self.next() else { return };
            before = group.len();
            let (jobs, told): (Vec<J>, Vec<_>) = group.into_iter().map(|job| (job.work, job.told)).unzip();
            let work = move || {
                let answers = told.into_iter().zip(all(jobs));
                match pace {
                    Pace::Prompt => Some(answers),
                    Pace::Patient => {
                        tell(answers);
                        None
                    }
                }
            };
            let Ok(answers) = tokio::task::spawn_blocking(work).await else { return };
            answers.into_iter().for_each(tell);
        }
    }

    /// Lets go first what can; there were so many in the group before.
    async fn gather(&self, before: usize) {
        // Only for the sake of others: one alone isn't waited for.
        let mut in_vain = if before > 1 { self.pace.in_vain() } else { 0 };
        let mut have = self.count();
        for _ in 0..self.pace.turns() {
            tokio::task::yield_now().await;
            let now = self.count();
            if now == have && (now >= before || in_vain == 0) {
                return;
            }
            in_vain -= usize::from(now == have);
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

/// Who doesn't wait any more doesn't want to know.
fn tell<A>(answers: impl Iterator<Item = (oneshot::Sender<A>, A)>) {
    answers.for_each(|(told, answer)| drop(told.send(answer)));
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
        let together = &Together::new(Pace::Prompt);
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
        let together = &Together::new(Pace::Prompt);
        let late_by = async |rounds: usize| {
            for _ in 0..rounds {
                tokio::task::yield_now().await;
            }
            together.with(STORE, (), |jobs| vec![jobs.len(); jobs.len()]).await
        };
        let turns = Pace::Prompt.turns();
        assert_eq!(join_all((0..=turns).map(late_by)).await, vec![Some(turns + 1); turns + 1]);
    }

    /// Each of five comes twice, the second time some turns apart.
    async fn again(pace: Pace) -> Vec<Option<usize>> {
        let together = &Together::new(pace);
        let count = |jobs: Vec<()>| vec![jobs.len(); jobs.len()];
        let twice = async |n: usize| {
            assert_eq!(together.with(STORE, (), count).await, Some(5));
            for _ in 0..3 * n {
                tokio::task::yield_now().await;
            }
            together.with(STORE, (), count).await
        };
        join_all((0..5).map(twice)).await
    }

    #[tokio::test]
    async fn the_patient_wait_for_as_many_as_there_were_before() {
        assert_eq!(again(Pace::Patient).await, [Some(5); 5]);
        assert_ne!(again(Pace::Prompt).await, [Some(5); 5]);
    }

    #[tokio::test]
    async fn who_comes_after_a_panic_begins_anew() {
        let together = Together::new(Pace::Patient);
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
