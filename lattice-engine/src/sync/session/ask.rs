//! What this node lacks and asks the peer for, and what became of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::NodeId;
use crate::sync::frame::{Frame, MAX_RANGES};
use crate::sync::{Mark, Mesh, Millis, Range, Received, lacking, peek};
use crate::wire::v1::SignedEntry;

use super::{Output, Reason, Session, WINDOW, Wait};

/// How long an entry may take to come from its own author, when that one is connected, before it is asked for elsewhere.
const GRACE_MS: Millis = 200;
/// What a peer told of and didn't give, or gave and wasn't taken, is asked for again after so long, longer each time.
const RETRY_MS: [Millis; 3] = [5_000, 30_000, 300_000];

#[derive(Debug, Default)]
pub(super) struct Asking {
    /// What was asked for and has not come. Empty: nothing is being asked.
    wanted: BTreeMap<NodeId, Range>,
    /// Whether the answer to a Want is still to end.
    asking: bool,
    /// What the entries that came build on.
    needs: BTreeMap<NodeId, Range>,
    /// What is with our store.
    receiving: BTreeMap<u64, Batch>,
    batches: u64,
    /// When it was first seen that something of an author is lacking.
    noticed: BTreeMap<NodeId, Millis>,
    /// Authors of whom nothing is asked before a time.
    passed: BTreeMap<NodeId, Pass>,
    /// Nothing was lacking when it was last looked.
    idle: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pass {
    tries: usize,
    /// When it may be tried again.
    pub until: Millis,
    /// It was not taken for what it is: trying again changes nothing.
    pub refused: bool,
}

impl Pass {
    /// It is here.
    pub fn for_good() -> Self {
        Self { tries: 0, until: Millis::MAX, refused: true }
    }

    pub fn again(&mut self, refused: bool, now: Millis) {
        self.until = now + RETRY_MS[self.tries.min(RETRY_MS.len() - 1)];
        self.tries += 1;
        self.refused = refused;
    }
}

/// Entries that our store is dealing with.
#[derive(Debug)]
struct Batch {
    /// The author of each.
    whose: Vec<NodeId>,
    up_to: BTreeMap<NodeId, u64>,
    /// Of a branch that was asked for: its entries.
    branch: Vec<Mark>,
}

impl Asking {
    /// Nothing is lacking, or only what can't be had now.
    pub fn is_idle(&self) -> bool {
        self.idle && !self.asking && self.receiving.is_empty()
    }

    pub fn is_receiving(&self) -> bool {
        !self.receiving.is_empty()
    }

    /// Up to where an author's entries are with our store.
    fn arriving(&self, author: &NodeId) -> u64 {
        self.receiving.values().filter_map(|batch| batch.up_to.get(author)).max().copied().unwrap_or(0)
    }

    /// Not to be asked again before the time is over, a longer one each time.
    fn pass(&mut self, author: NodeId, refused: bool, now: Millis) {
        self.passed.entry(author).or_default().again(refused, now);
    }

    /// Something of an author was asked for, and is on its way or with our store.
    pub fn is_under_way(&self, author: &NodeId) -> bool {
        self.wanted.contains_key(author) || self.arriving(author) > 0
    }

    /// A fresh look: what only didn't come, or had to wait, may come now.
    pub fn forget_passed(&mut self) {
        self.passed.retain(|_, pass| pass.refused);
    }
}

impl Session {
    /// Asks for what is lacking, if it is this peer's turn.
    pub(super) fn ask(&mut self, now: Millis, mesh: &mut Mesh) {
        if !self.known || self.ask.asking {
            return;
        }
        let mut lacks = lacking(&self.ours, &self.theirs);
        lacks.retain(|author, range| {
            range.from = range.from.max(self.ask.arriving(author) + 1);
            let passed = || self.ask.passed.get(author).is_some_and(|pass| pass.until > now);
            range.entries() > 0 && !self.branches.is_apart(author) && !passed()
        });
        self.ask.noticed.retain(|author, _| lacks.contains_key(author));
        self.ask.idle = lacks.is_empty() && self.ask.needs.is_empty();
        let (due, soon) = self.due(&lacks, now, mesh);
        let needs = std::mem::take(&mut self.ask.needs);
        self.wait_for(Wait::Grace, soon);
        let retry = self.ask.passed.values().map(|pass| pass.until).filter(|at| *at > now).min();
        self.wait_for(Wait::Retry, retry);
        if due.is_empty() && needs.is_empty() {
            self.waits.end(Wait::Turn);
            if self.ask.receiving.is_empty() {
                mesh.give_back(self.config.peer);
            }
            return;
        }
        let mut ranges = match mesh.take(self.config.peer, now) {
            Ok(()) => due,
            Err(until) => {
                self.waits.at(Wait::Turn, until);
                BTreeMap::new()
            }
        };
        // What our own store waits for is never put off.
        ranges.extend(needs.into_iter().filter(|(author, _)| self.ask.arriving(author) == 0));
        if !ranges.is_empty() {
            self.want(ranges, now);
        }
    }

    /// Of what is lacking, what is to be asked for now; and when the next of the rest is.
    fn due(
        &mut self,
        lacks: &BTreeMap<NodeId, Range>,
        now: Millis,
        mesh: &Mesh,
    ) -> (BTreeMap<NodeId, Range>, Option<Millis>) {
        let mut due = BTreeMap::new();
        let mut soon: Option<Millis> = None;
        for (author, range) in lacks {
            let since = *self.ask.noticed.entry(*author).or_insert(now);
            let from_author = *author != self.config.peer && mesh.is_direct(author);
            // A peer pushes its own as soon as we have said Done; until then it must be asked.
            let pushed = *author == self.config.peer && self.done_sent;
            let at = since + if from_author || pushed { GRACE_MS } else { 0 };
            if at <= now {
                due.insert(*author, *range);
            } else {
                soon = Some(soon.map_or(at, |soon| soon.min(at)));
            }
        }
        (due, soon)
    }

    fn wait_for(&mut self, wait: Wait, at: Option<Millis>) {
        match at {
            Some(at) => self.waits.at(wait, at),
            None => self.waits.end(wait),
        }
    }

    fn want(&mut self, ranges: BTreeMap<NodeId, Range>, now: Millis) {
        let ranges: Vec<Range> = ranges.into_values().take(MAX_RANGES).collect();
        self.ask.wanted = ranges.iter().map(|r| (r.author, *r)).collect();
        self.ask.asking = true;
        self.ask.idle = false;
        self.waits.end(Wait::Turn);
        self.waits.start(Wait::Entries, now);
        self.send(Frame::Want(ranges), now);
    }

    /// Entries came: our store checks and keeps them.
    pub(super) fn entries(
        &mut self,
        entries: Vec<SignedEntry>,
        last: bool,
        now: Millis,
        mesh: &mut Mesh,
    ) -> Result<(), Reason> {
        if self.ask.receiving.len() as u64 + self.taken >= u64::from(WINDOW) {
            return Err(Reason::Protocol("it sends on without waiting for what it sent to be dealt with"));
        }
        let mut came: BTreeMap<NodeId, u64> = BTreeMap::new();
        let mut whose = Vec::with_capacity(entries.len());
        for entry in &entries {
            let at = peek(&entry.header).ok_or(Reason::Protocol("it sends what is no entry"))?;
            whose.push(at.author);
            came.insert(at.author, at.seq.max(came.get(&at.author).copied().unwrap_or(0)));
        }
        for (author, seq) in &came {
            if let Some(range) = self.ask.wanted.get_mut(author) {
                range.from = range.from.max(seq + 1);
                if range.entries() == 0 {
                    self.ask.wanted.remove(author);
                }
            }
        }
        if last {
            self.answered(now);
        } else if self.ask.asking {
            self.waits.start(Wait::Entries, now);
        }
        // The turn goes on while there is progress.
        if self.ask.asking {
            let _ = mesh.take(self.config.peer, now);
        }
        let branch = self.is_branch(&entries, &whose, last, now);
        if entries.is_empty() {
            self.taken += 1;
            return Ok(());
        }
        let batch = self.ask.batches;
        self.ask.batches += 1;
        self.ask.receiving.insert(batch, Batch { whose, up_to: came, branch });
        self.waits.start(Wait::Receive, now);
        self.out.push(Output::Receive { batch, entries });
        Ok(())
    }

    /// The answer to a Want has ended. What it lacked is not asked for again at once.
    fn answered(&mut self, now: Millis) {
        self.ask.asking = false;
        self.waits.end(Wait::Entries);
        let left: Vec<Range> = std::mem::take(&mut self.ask.wanted).into_values().collect();
        for range in left {
            self.ask.pass(range.author, false, now);
        }
    }

    /// Our store has dealt with a batch.
    pub(super) fn received(&mut self, batch: u64, results: &[Received], now: Millis, mesh: &mut Mesh) {
        let Some(Batch { whose, branch, .. }) = self.ask.receiving.remove(&batch) else { return };
        self.taken += 1;
        if self.ask.receiving.is_empty() {
            self.waits.end(Wait::Receive);
        } else {
            self.waits.start(Wait::Receive, now);
        }
        if self.ask.asking {
            let _ = mesh.take(self.config.peer, now);
            self.waits.start(Wait::Entries, now);
        }
        let mut held = BTreeSet::new();
        let mut passed = BTreeMap::new();
        if !branch.is_empty() {
            self.branch_received(&branch, results, now);
        }
        for (author, result) in whose.iter().zip(results).take(if branch.is_empty() { usize::MAX } else { 0 })
        {
            match result {
                Received::Apart { .. } => self.branches.part(*author),
                Received::New | Received::Duplicate => drop(held.insert(*author)),
                Received::Missing(ranges) => self.need(ranges),
                Received::Early { .. } | Received::NotMember | Received::Full => {
                    passed.entry(*author).or_insert(false);
                }
                Received::Beyond | Received::Fork { .. } | Received::Refused(_) => {
                    passed.insert(*author, true);
                }
            }
        }
        for author in held.iter().filter(|author| !passed.contains_key(author)) {
            self.ask.passed.remove(author);
        }
        for (author, refused) in passed {
            self.ask.pass(author, refused, now);
        }
    }

    fn need(&mut self, ranges: &[Range]) {
        for range in ranges {
            // Which of a forked author's branches it is, a number doesn't say: all of them are asked for by their ends.
            if self.is_forked(&range.author) {
                continue;
            }
            let known = self.ask.needs.entry(range.author).or_insert(*range);
            known.to = known.to.max(range.to);
            known.from = known.from.min(range.from);
        }
    }
}
