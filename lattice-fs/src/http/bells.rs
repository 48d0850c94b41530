//! Bells: what wakes the event streams of a store. One thread per store that is listened to waits for its entries, for as long
//! as somebody listens.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lattice_engine::id::StoreId;
use lattice_engine::store::{Handle, Watch};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::problem::{Code, Problem, Result};

/// How soon a thread notices that nobody listens any more.
const POLL: Duration = Duration::from_millis(500);

/// Rings when something has happened in a store: entries, or its state was made anew.
#[derive(Debug)]
pub struct Bell(watch::Receiver<()>);

impl Bell {
    /// Waits for the next ring since the last one; false: there will be none.
    pub async fn rung(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

/// The bells of one process.
#[derive(Debug, Default)]
pub struct Bells(Arc<All>);

/// The store that each is of, too: one that was opened anew has another.
type All = Mutex<HashMap<StoreId, (Handle, watch::Sender<()>)>>;

impl Bells {
    /// A bell that rings for all that is committed from now on.
    pub fn of(&self, store: &Handle) -> Result<Bell> {
        let mut bells = self.0.lock();
        if let Some((of, bell)) = bells.get(&store.id())
            && of.is_same(store)
        {
            return Ok(Bell(bell.subscribe()));
        }
        let (ring, bell) = watch::channel(());
        let (all, handle, sender) = (self.0.clone(), store.clone(), ring.clone());
        // Its place is taken before the bell is given out, so that nothing is missed between the two.
        let (watch, anew) = (store.watch(None), store.made_anew());
        std::thread::Builder::new()
            .name("lattice-events".into())
            .spawn(move || ring_on(&all, &handle, (watch, anew), &sender))
            .map_err(|e| Problem::new(Code::Internal, format!("no thread for event streams: {e}")))?;
        bells.insert(store.id(), (store.clone(), ring));
        Ok(Bell(bell))
    }
}

fn ring_on(all: &All, store: &Handle, (mut watch, mut anew): (Watch, u64), ring: &watch::Sender<()>) {
    loop {
        let next = watch.next(POLL);
        let before = std::mem::replace(&mut anew, store.made_anew());
        if before != anew || matches!(next, Ok(Some(_))) {
            // Nobody there is no error: it is looked at below, when it is quiet.
            let _ = ring.send(());
        }
        let over = match next {
            Ok(Some(_)) => continue,
            Ok(None) => watch.closed(),
            Err(e) => {
                tracing::warn!(store = %store.id(), "its log can't be followed: {e}");
                true
            }
        };
        let mut bells = all.lock();
        // Under the lock, in which new listeners come.
        if over || ring.receiver_count() == 0 {
            if bells.get(&store.id()).is_some_and(|(of, _)| of.is_same(store)) {
                bells.remove(&store.id());
            }
            return;
        }
    }
}
