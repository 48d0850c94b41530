//! The branches of authors who have forked. Numbers don't tell what is lacking of them, so each is asked for by the name of
//! its last entry, one at a time: that entry, and where what it follows isn't here what is before it, from further back each
//! time, until the place is found where it leaves what is here. Then what comes after that, in pieces.
//!
//! All else goes on meanwhile. What the peer doesn't give, or our store doesn't take, is asked for again later.

use std::collections::{BTreeMap, BTreeSet};

use crate::entry::entry_id;
use crate::id::NodeId;
use crate::sync::frame::Frame;
use crate::sync::tips::all_of;
use crate::sync::{Mark, Millis, Received, peek};
use crate::wire::v1::SignedEntry;

use super::ask::Pass;
use super::{Session, Wait};

#[derive(Debug, Default)]
pub(super) struct Branches {
    /// Authors of whom an entry came that follows none that is here.
    apart: BTreeSet<NodeId>,
    asking: Option<Asking>,
    /// Ends of branches that need not be asked for, or not yet: they are here and followed by more, or weren't to be had.
    passed: BTreeMap<(NodeId, Mark), Pass>,
    lacking: bool,
}

#[derive(Debug, Clone, Copy)]
struct Asking {
    author: NodeId,
    /// The branch's last entry.
    end: Mark,
    /// From where on it was asked for.
    from: u64,
    /// The answer has come, and is with our store.
    answered: bool,
}

impl Branches {
    /// An author's entries are of another branch than those here.
    pub fn part(&mut self, author: NodeId) {
        self.apart.insert(author);
    }

    /// It makes no sense to ask for more of an author by numbers.
    pub fn is_apart(&self, author: &NodeId) -> bool {
        self.apart.contains(author)
    }

    pub fn is_idle(&self) -> bool {
        !self.lacking && self.asking.is_none()
    }

    pub fn forget_passed(&mut self) {
        self.passed.retain(|_, pass| pass.refused);
    }
}

impl Session {
    /// The ends of branches that the peer has and that may be lacking here.
    fn ends(&self) -> impl Iterator<Item = (NodeId, Mark)> + '_ {
        let here = |author: &NodeId, mark: &Mark| self.ours.of(author).any(|ours| ours == mark);
        let differs = |(author, mark): &(&NodeId, &Mark)| {
            let same = self.ours.get(author).is_some_and(|ours| ours.seq == mark.seq && ours.id != mark.id);
            same || self.ours.leaves().contains_key(*author) || self.branches.is_apart(author)
        };
        let single = self.theirs.iter().filter(|(author, _)| !self.their_leaves.contains_key(*author));
        let authors = single.filter(differs).map(|(author, _)| author).chain(self.their_leaves.keys());
        authors
            .flat_map(|author| all_of(&self.theirs, &self.their_leaves, author).map(|mark| (*author, *mark)))
            .filter(move |(author, mark)| !here(author, mark))
    }

    /// One side knows of more than one branch, or has met another than its own.
    pub(super) fn is_forked(&self, author: &NodeId) -> bool {
        self.their_leaves.contains_key(author)
            || self.ours.leaves().contains_key(author)
            || self.branches.is_apart(author)
    }

    /// Branches that end here in what the peer, by its own words, doesn't hold: it may have more of them, or nothing.
    pub fn branches_untold(&self) -> u64 {
        let theirs = |author: &NodeId, mark: &Mark| {
            all_of(&self.theirs, &self.their_leaves, author).any(|theirs| theirs == mark)
        };
        let ours =
            self.ours.leaves().iter().flat_map(|(author, ends)| ends.iter().map(move |end| (author, end)));
        ours.filter(|(author, end)| !theirs(author, end)).count() as u64
    }

    /// Branches that are known to be lacking.
    pub(super) fn branches_lacking(&self) -> u64 {
        self.ends().filter(|end| !self.branches.passed.contains_key(end)).count() as u64
    }

    /// Asks for the next branch that is lacking.
    pub(super) fn ask_for_branches(&mut self, now: Millis) {
        if !self.known || self.branches.asking.is_some() {
            return;
        }
        let mut next = None;
        let mut later: Option<Millis> = None;
        self.branches.lacking = false;
        for end in self.ends() {
            match self.branches.passed.get(&end).map(|pass| pass.until).filter(|until| *until > now) {
                Some(until) => later = Some(later.map_or(until, |later| later.min(until))),
                // What comes by numbers comes faster.
                None if self.ask.is_under_way(&end.0) => next = next.or(Some((end, false))),
                None => next = Some((end, true)),
            }
            if next.is_some_and(|(_, now)| now) {
                break;
            }
        }
        match later.filter(|until| *until < Millis::MAX) {
            Some(until) => self.waits.at(Wait::RetryBranch, until),
            None => self.waits.end(Wait::RetryBranch),
        }
        let Some(((author, end), free)) = next else { return };
        self.branches.lacking = true;
        if free {
            self.branches.asking = Some(Asking { author, end, from: end.seq, answered: false });
            self.waits.start(Wait::Branch, now);
            self.send(Frame::Fetch(vec![(author, end)]), now);
        }
    }

    /// Whether entries that came are the piece that was asked for; which they are.
    pub(super) fn is_branch(
        &mut self,
        entries: &[SignedEntry],
        whose: &[NodeId],
        last: bool,
        now: Millis,
    ) -> Vec<Mark> {
        let Some(asking) = self.branches.asking.as_mut().filter(|asking| !asking.answered && !last) else {
            return Vec::new();
        };
        if entries.is_empty() {
            self.pass_branch(false, now);
            return Vec::new();
        }
        if whose.iter().any(|author| *author != asking.author) {
            return Vec::new();
        }
        let mark = |e: &SignedEntry| peek(&e.header).map(|at| Mark { seq: at.seq, id: entry_id(&e.header) });
        let marks: Vec<Mark> = entries.iter().filter_map(mark).collect();
        if marks.first().is_none_or(|first| first.seq != asking.from) {
            return Vec::new();
        }
        asking.answered = true;
        self.waits.end(Wait::Branch);
        marks
    }

    /// Our store has dealt with a piece.
    pub(super) fn branch_received(&mut self, piece: &[Mark], results: &[Received], now: Millis) {
        let Some(asking) = self.branches.asking.filter(|asking| asking.answered) else { return };
        let before = match results.first() {
            Some(Received::Apart { from }) => Some(*from),
            // Nothing of the author is here, or not so much.
            Some(Received::Missing(ranges)) => {
                ranges.iter().find(|range| range.author == asking.author).map(|range| range.from)
            }
            _ => None,
        };
        let (last, result) = (piece.last(), results.last());
        let next = match before {
            Some(from) => Some(from).filter(|from| *from < asking.from),
            None if result.is_some_and(Received::is_held) => {
                last.map(|last| last.seq + 1).filter(|next| *next <= asking.end.seq)
            }
            None => None,
        };
        if let Some(from) = next {
            self.branches.asking = Some(Asking { from, answered: false, ..asking });
            self.waits.start(Wait::Branch, now);
            return self.send(Frame::FetchChain { author: asking.author, of: asking.end, from }, now);
        }
        if before.is_none() && last == Some(&asking.end) && result.is_some_and(Received::is_held) {
            self.branches.passed.insert((asking.author, asking.end), Pass::for_good());
            self.branches.asking = None;
            return;
        }
        if results.contains(&Received::New) {
            // What it waits for is coming: as soon again as the first time.
            self.branches.passed.remove(&(asking.author, asking.end));
        }
        let refused = matches!(result, Some(Received::Beyond | Received::Fork { .. } | Received::Refused(_)));
        self.pass_branch(refused, now);
    }

    /// Later.
    fn pass_branch(&mut self, refused: bool, now: Millis) {
        self.waits.end(Wait::Branch);
        if let Some(asking) = self.branches.asking.take() {
            self.branches.passed.entry((asking.author, asking.end)).or_default().again(refused, now);
        }
    }

    /// The peer hasn't answered.
    pub(super) fn branch_is_late(&mut self, now: Millis) {
        self.pass_branch(false, now);
    }
}
