//! What the peer lacks and gets: ranges that it asked for, and what this node writes. Read a frame's worth at a time, and no
//! more than [`WINDOW`] frames ahead of what the peer has dealt with.

use std::collections::{BTreeMap, VecDeque};

use crate::id::NodeId;
use crate::sync::frame::{ENTRIES_BYTES, Frame, MAX_RANGES};
use crate::sync::{Mark, Millis, Range, peek};
use crate::wire::v1::SignedEntry;

use super::{Output, Reason, Session, WINDOW, Wait};

/// Questions for single entries that may wait.
const MAX_QUESTIONS: usize = 4;

/// What the peer asks for by name.
#[derive(Debug)]
enum Question {
    Entries(Vec<(NodeId, Mark)>),
    Chain { author: NodeId, of: Mark, from: u64 },
}

#[derive(Debug, Default)]
pub(super) struct Serving {
    /// What is still to be sent.
    ranges: BTreeMap<NodeId, Range>,
    /// A Want is being answered: its end must be said.
    answering: bool,
    questions: VecDeque<Question>,
    /// The last request to our own store, and whether it is for a question.
    reading: Option<(u64, bool)>,
    requests: u64,
    /// Frames that the peer has not dealt with.
    unacked: u32,
    /// Up to where our own chain was pushed.
    pushed: u64,
}

impl Session {
    /// The peer asks for ranges.
    pub(super) fn wanted(&mut self, ranges: Vec<Range>) -> Result<(), Reason> {
        for range in ranges {
            let to = range.to.min(self.ours.seq(&range.author));
            let range = Range { to, ..range };
            if range.entries() > 0 {
                // What is being pushed is asked for: one range, once.
                let known = self.serve.ranges.entry(range.author).or_insert(range);
                known.from = known.from.min(range.from);
                known.to = known.to.max(range.to);
            }
        }
        if self.serve.ranges.len() > 2 * MAX_RANGES {
            return Err(Reason::Protocol("it asks for more than it was told of"));
        }
        self.serve.answering = true;
        Ok(())
    }

    /// The peer asks for single entries.
    pub(super) fn fetch_asked(&mut self, entries: Vec<(NodeId, Mark)>) -> Result<(), Reason> {
        self.asked(Question::Entries(entries))
    }

    /// The peer asks for a branch.
    pub(super) fn chain_asked(&mut self, author: NodeId, of: Mark, from: u64) -> Result<(), Reason> {
        self.asked(Question::Chain { author, of, from })
    }

    fn asked(&mut self, question: Question) -> Result<(), Reason> {
        if self.serve.questions.len() == MAX_QUESTIONS {
            return Err(Reason::Protocol("it asks on without waiting for an answer"));
        }
        self.serve.questions.push_back(question);
        Ok(())
    }

    pub(super) fn acknowledged(&mut self, taken: u64, now: Millis) -> Result<(), Reason> {
        let unacked = u64::from(self.serve.unacked).checked_sub(taken);
        self.serve.unacked =
            unacked.ok_or(Reason::Protocol("it has dealt with more than it was sent"))? as u32;
        if self.serve.unacked == 0 {
            self.waits.end(Wait::Taken);
        } else if taken > 0 {
            self.waits.start(Wait::Taken, now);
        }
        Ok(())
    }

    /// Reads what is to be sent next, when there is room for it.
    pub(super) fn serve(&mut self, now: Millis) {
        self.push_own();
        if self.serve.reading.is_some() || self.serve.unacked >= WINDOW {
            return;
        }
        let request = self.serve.requests;
        if let Some(question) = self.serve.questions.pop_front() {
            self.out.push(match question {
                Question::Entries(entries) => Output::Fetch { request, entries },
                Question::Chain { author, of, from } => {
                    Output::Chain { request, author, of, from, max_bytes: ENTRIES_BYTES }
                }
            });
            self.reading(true, now);
        } else if !self.serve.ranges.is_empty() {
            let ranges = self.serve.ranges.values().copied().collect();
            self.out.push(Output::Range { request, ranges, max_bytes: ENTRIES_BYTES });
            self.reading(false, now);
        } else if std::mem::take(&mut self.serve.answering) {
            // Nothing, or nothing more, of what was asked for.
            self.send_entries(Vec::new(), true, now);
        }
    }

    fn reading(&mut self, question: bool, now: Millis) {
        self.serve.reading = Some((self.serve.requests, question));
        self.serve.requests += 1;
        self.waits.start(Wait::Range, now);
    }

    /// What this node has written goes to a peer that lacks nothing else.
    fn push_own(&mut self) {
        // A node that sees that its name is used twice writes nothing: others ask for the branches.
        if !self.done_received || self.ours.leaves().contains_key(&self.config.node) {
            return;
        }
        let own = self.config.node;
        let theirs = self.theirs.get(&own).map_or(0, |mark| mark.seq);
        let from = theirs.max(self.serve.pushed) + 1;
        let to = self.ours.seq(&own);
        if from <= to {
            let range = self.serve.ranges.entry(own).or_insert(Range { author: own, from, to });
            range.to = to;
            self.serve.pushed = to;
        }
    }

    /// Our store has read.
    pub(super) fn ranged(&mut self, request: u64, entries: Vec<SignedEntry>, now: Millis) {
        let Some((_, question)) = self.serve.reading.filter(|(id, _)| *id == request) else { return };
        self.serve.reading = None;
        self.waits.end(Wait::Range);
        if question {
            return self.send_entries(entries, false, now);
        }
        if entries.is_empty() {
            // It has none of them any more: the peer learns that nothing else comes.
            self.serve.ranges.clear();
        }
        for entry in &entries {
            let Some(at) = peek(&entry.header) else { continue };
            if let Some(range) = self.serve.ranges.get_mut(&at.author) {
                range.from = range.from.max(at.seq + 1);
                if range.entries() == 0 {
                    self.serve.ranges.remove(&at.author);
                }
            }
        }
        let last = self.serve.answering && self.serve.ranges.is_empty();
        if last {
            self.serve.answering = false;
        }
        if last || !entries.is_empty() {
            self.send_entries(entries, last, now);
        }
    }

    fn send_entries(&mut self, entries: Vec<SignedEntry>, last: bool, now: Millis) {
        if self.serve.unacked == 0 {
            self.waits.start(Wait::Taken, now);
        }
        self.serve.unacked += 1;
        self.send(Frame::Entries { entries, last }, now);
    }
}
