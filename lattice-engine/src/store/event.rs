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

/// A place in this node's log, in arrival order: after the event that carries it. Written `segment.offset`, in hex; and a
/// third number behind it where not every entry counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    pub segment: u64,
    pub offset: u64,
    /// Names what didn't count when it was given (`Chains::left_out`); 0: nothing.
    pub left_out: u32,
}

impl Cursor {
    pub(super) fn new(end: End, left_out: u32) -> Self {
        Self { segment: end.segment, offset: end.offset, left_out }
    }

    /// Whether it stands behind another.
    pub fn is_beyond(&self, other: &Self) -> bool {
        (self.segment, self.offset) > (other.segment, other.offset)
    }

    /// Whether the same entries counted when both were given: to who knows the store from events up to one of them, those
    /// from there to the other tell all. Up to the beginning nobody has been told of anything.
    pub fn agrees(&self, other: &Self) -> bool {
        let begins = |c: &Self| (c.segment, c.offset) == (0, 0);
        self.left_out == other.left_out || begins(self) || begins(other)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.segment, self.offset)?;
        if self.left_out != 0 { write!(f, ".{:x}", self.left_out) } else { Ok(()) }
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
        let read = || {
            let (segment, rest) = text.split_once('.')?;
            let (offset, left_out) = rest.split_once('.').unwrap_or((rest, "0"));
            let left_out = u32::from_str_radix(left_out, 16).ok()?;
            Some(Self { segment: parse(segment)?, offset: parse(offset)?, left_out })
        };
        read().ok_or_else(|| ParseCursorError(text.into()))
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
    /// `left_out`: what doesn't count, as cursors name it.
    pub(super) fn of(entry: &Entry, position: &Position, ours: NodeId, left_out: u32) -> Self {
        Self {
            cursor: Cursor::new(position.end(), left_out),
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
