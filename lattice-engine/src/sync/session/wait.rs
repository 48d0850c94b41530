//! What a session waits for, and how long it does. Nothing is waited for without an end.

use std::collections::BTreeMap;
use std::fmt;

use crate::sync::Millis;

/// Something that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wait {
    /// The peer's digest.
    Hello,
    /// The peer's marks.
    Tips,
    /// Entries that were asked for: the next of them, not the last.
    Entries,
    /// That the peer deals with what was sent.
    Taken,
    /// That the transport takes what was sent.
    Write,
    /// That our own store reads.
    Range,
    /// That our own store keeps what came.
    Receive,
    /// That another peer is through, or has stopped.
    Turn,
    /// That an entry comes from its own author, who is connected.
    Grace,
    /// That it is worthwhile to ask again for what didn't come, or wasn't taken.
    Retry,
    /// That a piece of a branch comes.
    Branch,
    /// That it is worthwhile to ask for a branch again.
    RetryBranch,
}

impl Wait {
    /// Milliseconds. Of those with 0 the caller says when.
    fn limit(self) -> Millis {
        match self {
            Self::Hello => 10_000,
            Self::Tips | Self::Entries | Self::Branch => 30_000,
            Self::Taken | Self::Write => 60_000,
            Self::Range | Self::Receive => 120_000,
            Self::Turn | Self::Grace | Self::Retry | Self::RetryBranch => 0,
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hello => "the peer's hello",
            Self::Tips => "what the peer holds",
            Self::Entries => "entries that the peer has",
            Self::Taken => "the peer to deal with what it was sent",
            Self::Write => "the connection to take what was sent",
            Self::Range => "this node's own disk to read",
            Self::Receive => "this node's own disk to keep what came",
            Self::Turn => "another peer's turn to end",
            Self::Grace => "an author to send its own entry",
            Self::Retry | Self::RetryBranch => "the time to ask again",
            Self::Branch => "a piece of a branch",
        })
    }
}

#[derive(Debug, Default)]
pub(super) struct Waits {
    until: BTreeMap<Wait, Millis>,
    /// What the caller was last told.
    set: Option<Millis>,
}

impl Waits {
    /// Begins, or begins anew.
    pub fn start(&mut self, wait: Wait, now: Millis) {
        self.until.insert(wait, now + wait.limit());
    }

    pub fn at(&mut self, wait: Wait, at: Millis) {
        self.until.insert(wait, at);
    }

    pub fn end(&mut self, wait: Wait) {
        self.until.remove(&wait);
    }

    /// Those whose time has come; they are no longer waited for.
    pub fn over(&mut self, now: Millis) -> Vec<Wait> {
        let over: Vec<Wait> = self.until.iter().filter(|(_, at)| **at <= now).map(|(w, _)| *w).collect();
        for wait in &over {
            self.until.remove(wait);
        }
        // A timer that has gone off must be set again.
        if self.set.is_some_and(|at| at <= now) {
            self.set = None;
        }
        over
    }

    /// The next time, where the caller doesn't know it. A timer that goes off too early is harmless, so it is only set anew
    /// when it would be late.
    pub fn changed(&mut self) -> Option<Millis> {
        let next = *self.until.values().min()?;
        if self.set.is_some_and(|set| set <= next) {
            return None;
        }
        self.set = Some(next);
        Some(next)
    }
}
