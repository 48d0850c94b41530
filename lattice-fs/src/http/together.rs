//! Work on a store that many wait for and that is done for all of them at once. Who comes while nobody is at it gives it a
//! thread; what comes meanwhile waits its turn together. So a thread is woken for a group and not for each, and nobody waits
//! for a group to fill.

use std::collections::HashMap;
use std::sync::Arc;

use lattice_engine::id::StoreId;
use parking_lot::Mutex;

/// Groups of `J`, one at a time for each store.
#[derive(Debug)]
pub struct Together<J> {
    /// What waits, of each store that somebody is at.
    waiting: Arc<Mutex<HashMap<StoreId, Vec<J>>>>,
}

impl<J> Default for Together<J> {
    fn default() -> Self {
        Self { waiting: Arc::default() }
    }
}

impl<J: Send + 'static> Together<J> {
    /// `work` is done with it and with what else waits, on a thread that may block. On a runtime only.
    pub fn add(&self, store: StoreId, job: J, work: impl Fn(Vec<J>) + Send + 'static) {
        {
            let mut waiting = self.waiting.lock();
            if let Some(jobs) = waiting.get_mut(&store) {
                jobs.push(job);
                return;
            }
            waiting.insert(store, vec![job]);
        }
        let mut turn = Turn { waiting: self.waiting.clone(), store, over: false };
        tokio::task::spawn_blocking(move || {
            while let Some(jobs) = turn.next() {
                work(jobs);
            }
        });
    }
}

/// Somebody is at it. Where it is dropped before it is over (the work has panicked, or the runtime ends), what still waits is
/// dropped too, and the next who comes begins anew.
struct Turn<J> {
    waiting: Arc<Mutex<HashMap<StoreId, Vec<J>>>>,
    store: StoreId,
    over: bool,
}

impl<J> Turn<J> {
    /// All that waits. `None`: nothing, and nobody is at it any more.
    fn next(&mut self) -> Option<Vec<J>> {
        let mut waiting = self.waiting.lock();
        let jobs = waiting.get_mut(&self.store).map(std::mem::take).filter(|jobs| !jobs.is_empty());
        if jobs.is_none() {
            waiting.remove(&self.store);
            self.over = true;
        }
        jobs
    }
}

impl<J> Drop for Turn<J> {
    fn drop(&mut self) {
        if !self.over {
            self.waiting.lock().remove(&self.store);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const STORE: StoreId = StoreId([1; 16]);

    #[tokio::test]
    async fn what_comes_meanwhile_is_one_group() {
        let together = Together::default();
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        together.add(STORE, 0, move |jobs: Vec<i32>| {
            begun.send(jobs).expect("the test waits");
            may_go_on.recv().expect("the test says so");
        });
        assert_eq!(has_begun.recv().expect("begun"), [0]);
        for job in 1..5 {
            together.add(STORE, job, |_| panic!("somebody is at it already"));
        }
        go_on.send(()).expect("it waits");
        assert_eq!(has_begun.recv().expect("the rest"), [1, 2, 3, 4]);
        go_on.send(()).expect("it waits");
        assert!(has_begun.recv().is_err(), "nobody is at it any more");
        assert!(together.waiting.lock().is_empty());
    }

    #[tokio::test]
    async fn who_comes_after_a_panic_begins_anew() {
        let together = Together::default();
        let (said, heard) = mpsc::channel();
        let panics = said.clone();
        together.add(STORE, said, move |_| {
            panics.send("panics").expect("the test waits");
            panic!("for the test");
        });
        assert_eq!(heard.recv().expect("said"), "panics");
        while together.waiting.lock().contains_key(&STORE) {
            tokio::task::yield_now().await;
        }
        let (said, heard) = mpsc::channel();
        together.add(STORE, said, |jobs| jobs.iter().for_each(|job| job.send("works").expect("it waits")));
        assert_eq!(heard.recv().expect("said"), "works");
    }
}
