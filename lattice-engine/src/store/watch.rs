//! Following a store: [`Watch`] reads the log from a cursor that survives restarts; [`Live`] is told of what others do
//! from now on, for caches.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::entry::{Decoded, Entry, Op};
use crate::id::NodeId;
use crate::log::{End, Position, Record as LogRecord};
use crate::merge::EntryRef;

use super::error::{Result, StoreError};
use super::handle::Store;

/// A place in this node's log, in arrival order: after the event that carries it. Written `segment.offset`, in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    pub segment: u64,
    pub offset: u64,
}

impl From<End> for Cursor {
    fn from(end: End) -> Self {
        Self { segment: end.segment, offset: end.offset }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.segment, self.offset)
    }
}

/// What was given is not a cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a cursor: it looks like 0.1f4")]
pub struct ParseCursorError(String);

impl FromStr for Cursor {
    type Err = ParseCursorError;
    fn from_str(text: &str) -> std::result::Result<Self, ParseCursorError> {
        let parse = |hex| u64::from_str_radix(hex, 16).ok();
        text.split_once('.')
            .and_then(|(s, o)| Some(Self { segment: parse(s)?, offset: parse(o)? }))
            .ok_or_else(|| ParseCursorError(text.into()))
    }
}

/// What one stored entry did.
#[derive(Debug, Clone)]
pub struct Event {
    /// Go on after this one.
    pub cursor: Cursor,
    pub entry: EntryRef,
    /// Empty for an entry that only a newer lattice can read.
    pub ops: Arc<[Op]>,
    /// Written by this node.
    pub local: bool,
}

impl Event {
    pub(super) fn of(entry: &Entry, position: &Position, ours: NodeId) -> Self {
        Self {
            cursor: position.end().into(),
            entry: entry.entry_ref(),
            ops: entry.ops.clone().into(),
            local: entry.header.author == ours,
        }
    }
}

impl Store {
    /// Events after `since`, oldest first, at most `limit`.
    pub(super) fn events(&self, since: Cursor, limit: usize) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let from = (since != Cursor::default()).then_some(Position {
            segment: since.segment,
            offset: since.offset,
            len: 0,
        });
        for record in self.view.log.scan(from) {
            let (position, record) = record.map_err(StoreError::Log)?;
            if let LogRecord::Entry { header, payload, signature } = record {
                let (Decoded::Known(entry) | Decoded::Unknown { entry, .. }) =
                    Entry::decode(header, payload, signature)?;
                events.push(Event::of(&entry, &position, self.identity.node_id()));
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
}

/// Read from the log at a time.
const PAGE: usize = 256;

impl Watch {
    pub(super) fn new(store: Arc<Store>, since: Option<Cursor>) -> Self {
        store.watchers.fetch_add(1, Ordering::AcqRel);
        let cursor = since.unwrap_or_else(|| store.writer.lock().log.end().into());
        Self { store, cursor, ready: VecDeque::new() }
    }

    /// Where it stands: after the last event given.
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    /// The next event; `None` after `timeout`, or at once when the store has closed.
    pub fn next(&mut self, timeout: Duration) -> Result<Option<Event>> {
        let deadline = Instant::now() + timeout;
        loop {
            let seen = *self.store.arrived.0.lock();
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

/// Events kept for a subscriber that is busy; beyond it, it is told that it missed some.
const MAX_LIVE: usize = 4096;

#[derive(Debug)]
pub(super) struct LiveQueue {
    origin: u64,
    state: Mutex<LiveState>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct LiveState {
    events: VecDeque<Arc<Event>>,
    missed: bool,
    closed: bool,
}

impl LiveQueue {
    pub fn wants(&self, origin: u64) -> bool {
        origin == 0 || origin != self.origin
    }

    pub fn push(&self, event: Arc<Event>) {
        let mut state = self.state.lock();
        if state.events.len() >= MAX_LIVE {
            state.events.clear();
            state.missed = true;
        } else if !state.missed {
            state.events.push_back(event);
        }
        self.ready.notify_one();
    }

    pub fn close(&self) {
        self.state.lock().closed = true;
        self.ready.notify_one();
    }
}

/// What a cache needs to know.
#[derive(Debug, Clone)]
pub enum Change {
    Event(Arc<Event>),
    /// More happened than was kept: forget everything.
    Missed,
    Closed,
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
