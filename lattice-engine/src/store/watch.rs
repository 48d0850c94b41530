//! Following a store: [`Watch`] reads the log from a cursor that survives restarts; [`Live`] is told of what others do
//! from now on, for caches.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::entry::{Decoded, Entry};
use crate::log::{Position, Record as LogRecord};

use super::core::Store;
use super::error::{Result, StoreError};
use super::event::{Change, Cursor, Event, LiveQueue};

impl Store {
    /// The cursor behind everything that is there.
    pub(super) fn log_end(&self) -> Cursor {
        let writer = self.writer.lock();
        Cursor::new(writer.log.end(), self.left_out.load(Ordering::Acquire))
    }

    /// Events after `since`, oldest first, at most `limit`.
    pub(super) fn events(&self, since: Cursor, limit: usize) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        // Before it is looked what counts: who was told by a change between the two is told of that too.
        let left_out = self.left_out.load(Ordering::Acquire);
        let from = ((since.segment, since.offset) != (0, 0)).then_some(Position {
            segment: since.segment,
            offset: since.offset,
            len: 0,
        });
        for record in self.view.log.scan(from) {
            let (position, record) = record.map_err(StoreError::Log)?;
            if let LogRecord::Entry { header, payload, signature } = record {
                let (Decoded::Known(entry) | Decoded::Unknown { entry, .. }) =
                    Entry::decode(header, payload, signature)?;
                if !self.view.counts(&entry.entry_ref())? {
                    continue;
                }
                events.push(Event::of(&entry, &position, self.identity.node_id(), left_out));
            }
            if events.len() >= limit {
                break;
            }
        }
        Ok(events)
    }
}

/// Events in arrival order. Blocks: for a thread of its own.
#[derive(Debug)]
pub struct Watch {
    store: Arc<Store>,
    cursor: Cursor,
    ready: VecDeque<Event>,
    /// How often the state had been made anew when it was last told of.
    anew: u64,
}

/// Read from the log at a time.
const PAGE: usize = 256;

impl Watch {
    pub(super) fn new(store: Arc<Store>, since: Option<Cursor>) -> Self {
        store.watchers.fetch_add(1, Ordering::AcqRel);
        let anew = store.made_anew.load(Ordering::Acquire);
        let cursor = since.unwrap_or_else(|| store.log_end());
        Self { store, cursor, ready: VecDeque::new(), anew }
    }

    /// Where it stands: after the last event given.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The next event; `None` after `timeout`, or at once when the store has closed, and once each time that its state was made
    /// anew ([`Handle::made_anew`](super::Handle::made_anew)): no event tells of that.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Event>> {
        let deadline = Instant::now() + timeout;
        loop {
            let seen = *self.store.arrived.0.lock();
            let anew = self.store.made_anew.load(Ordering::Acquire);
            if std::mem::replace(&mut self.anew, anew) != anew {
                return Ok(None);
            }
            if self.ready.is_empty() {
                self.ready.extend(self.store.events(self.cursor, PAGE)?);
            }
            if let Some(event) = self.ready.pop_front() {
                self.cursor = event.cursor;
                return Ok(Some(event));
            }
            let mut arrived = self.store.arrived.0.lock();
            if *arrived == seen
                && (self.closed() || self.store.arrived.1.wait_until(&mut arrived, deadline).timed_out())
            {
                return Ok(None);
            }
        }
    }

    /// No more will come.
    pub fn closed(&self) -> bool {
        self.store.work.stopped()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.store.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What others than one origin do, from its making on.
#[derive(Debug)]
pub struct Live {
    queue: Arc<LiveQueue>,
    store: std::sync::Weak<Store>,
}

impl Live {
    pub(super) fn new(store: &Arc<Store>, origin: u64) -> Self {
        let queue = Arc::new(LiveQueue { origin, state: Mutex::default(), ready: Condvar::new() });
        store.live.lock().push(queue.clone());
        Self { queue, store: Arc::downgrade(store) }
    }

    /// Waits for the next change; `None` after `timeout`.
    pub fn next(&self, timeout: Duration) -> Option<Change> {
        let deadline = Instant::now() + timeout;
        let mut state = self.queue.state.lock();
        loop {
            if std::mem::take(&mut state.missed) {
                return Some(Change::Missed);
            }
            if let Some(event) = state.events.pop_front() {
                return Some(Change::Event(event));
            }
            if state.closed {
                return Some(Change::Closed);
            }
            if self.queue.ready.wait_until(&mut state, deadline).timed_out() {
                return None;
            }
        }
    }

    /// Ends a wait in another thread.
    pub fn close(&self) {
        self.queue.close();
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(store) = self.store.upgrade() {
            store.live.lock().retain(|q| !Arc::ptr_eq(q, &self.queue));
        }
    }
}
