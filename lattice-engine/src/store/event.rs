//! What one stored entry did ([`Event`]), where it stands ([`Cursor`]), and the queues of those who want to be told.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use crate::entry::{Entry, Op};
use crate::id::NodeId;
use crate::log::{End, Position};
use crate::merge::EntryRef;

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
    fn from_str(text: &str) -> Result<Self, ParseCursorError> {
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

/// Events kept for a subscriber that is busy; beyond it, it is told that it missed some.
const MAX_LIVE: usize = 4096;

#[derive(Debug)]
pub(super) struct LiveQueue {
    pub origin: u64,
    pub state: Mutex<LiveState>,
    pub ready: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct LiveState {
    pub events: VecDeque<Arc<Event>>,
    pub missed: bool,
    pub closed: bool,
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

    /// More has happened than events can tell.
    pub fn miss(&self) {
        let mut state = self.state.lock();
        state.events.clear();
        state.missed = true;
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
