//! One side of the stream on which two nodes exchange a store. Events and the time go in, effects come out.
//!
//! ```text
//! Hello  ->  <- Hello      the two digests are equal: each knows what the other holds, and nothing more is said
//! Tips   ->  <- Tips       unequal: each tells all its marks
//! Want   ->  <- Entries*   each asks for what it lacks; at most `WINDOW` Entries frames are on their way
//!        Have ->           after a batch is durable: what is held now, and how many frames were dealt with
//! Done   ->                nothing is lacking: from here on the other side pushes what its own node writes
//! Have  <->                when something has become durable, whoever wrote it: the other asks for what it lacks
//! Have(whole) <->          when the bytes of large files, which come by another way, are here for all that was told
//! Hello(check) -> <- Hello asked now and then: do we still hold the same?
//! Fork  <->              an author has signed two entries of one number: the proof
//! Fetch, FetchChain ->   the end of a branch of such an author, and what is before it
//! ```
//!
//! Nothing is queued entry by entry: what a peer lacks is always computed from marks, so a slow peer costs the same memory as
//! a fast one, and what happens while it is busy reaches it as one range.

mod ask;
mod branches;
mod forks;
mod serve;
mod wait;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::entry::ForkProof;
use crate::id::{EntryId, NodeId, StoreId};
use crate::wire::v1::SignedEntry;

use super::frame::{Frame, FrameError, MAX_MARKS};
use super::tips::{beyond, parts, take_in};
use super::{Leaves, Mark, Mesh, Millis, Range, Received, SharedForks, SharedTips, TipsDigest};

pub use wait::Wait;
use wait::Waits;

/// Entries frames that a sender may have on their way. Each is acknowledged when what is in it is durable.
pub const WINDOW: u32 = 4;
/// Authors that a peer may tell of.
const MAX_AUTHORS: usize = 1 << 17;

/// What a session is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    pub store: StoreId,
    pub genesis: EntryId,
    /// This node.
    pub node: NodeId,
    /// The node at the other end, as the connection has proved it.
    pub peer: NodeId,
}

/// What happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// The stream is open. First of all.
    Opened,
    Frame(Frame),
    /// Bytes came that are no frame.
    BadFrame(FrameError),
    /// What this node holds durably has changed.
    Published(SharedTips),
    /// The content that the entries of tips of this generation, and of earlier ones, name is here durably.
    Whole(u64),
    /// These forks are known here.
    Forks(SharedForks),
    /// The answer to [`Output::Range`], [`Output::Fetch`] or [`Output::Chain`]: in hlc order, perhaps not all, perhaps none.
    Ranged {
        request: u64,
        entries: Vec<SignedEntry>,
    },
    /// The answer to [`Output::Receive`], when what was taken is durable: one result for each entry.
    Received {
        batch: u64,
        results: Vec<Received>,
        durable: SharedTips,
    },
    /// All that was sent has been handed to the transport. IMPORTANT: until it comes, nothing is announced.
    Writable,
    /// Ask whether both hold the same: on waking up, and now and then.
    Check,
    /// The time that [`Output::SetTimer`] named has come. One too many does no harm.
    Timer,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    Send(Frame),
    /// Read entries of these ranges, in hlc order over all of them, until `max_bytes` are passed: at least one if there is one.
    Range {
        request: u64,
        ranges: Vec<Range>,
        max_bytes: usize,
    },
    /// Read these entries.
    Fetch {
        request: u64,
        entries: Vec<(NodeId, Mark)>,
    },
    /// Read the entries of one chain from a number on, up to the one that `of` names.
    Chain {
        request: u64,
        author: NodeId,
        of: Mark,
        from: u64,
        max_bytes: usize,
    },
    /// Check these entries and keep what is good, durably.
    Receive {
        batch: u64,
        entries: Vec<SignedEntry>,
    },
    /// The peer has told of a fork: check it, and keep it if its author has signed it.
    Forked(Arc<ForkProof>),
    /// Instead of the last one.
    SetTimer(Millis),
    /// All that the peer had told of when the session began is here, or known not to be for us. Once.
    CaughtUp,
    /// The end: nothing comes after it.
    Close(Reason),
}

/// Why a session has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("the peer speaks of another store")]
    OtherStore,
    #[error("the peer did what the protocol doesn't allow: {0}")]
    Protocol(&'static str),
    #[error("the peer sent {0}")]
    Frame(FrameError),
    #[error("nothing came for too long: waited for {0}")]
    Silent(Wait),
}

/// How far the two sides are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Behind {
    /// The peer has said what it holds.
    pub known: bool,
    /// Entries that the peer has and this node lacks.
    pub here: u64,
    /// Entries that this node has and the peer lacks, as far as it has said.
    pub there: u64,
    /// The peer holds later entries of this node itself than this node does: its disk has gone back. It must not write
    /// before it has them.
    pub own: bool,
}

/// One side of a stream. See the module.
#[derive(Debug)]
pub struct Session {
    config: Config,
    ours: SharedTips,
    /// What we said in a Hello that is still to be answered.
    asked_with: Option<SharedTips>,
    /// What the peer holds durably, by its own words.
    theirs: BTreeMap<NodeId, Mark>,
    /// And of authors who have forked.
    their_leaves: Leaves,
    known: bool,
    /// Up to where it has, by its own words, the content that the entries name as well.
    theirs_whole: BTreeMap<NodeId, Mark>,
    /// Whose marks it told of since it last said so.
    theirs_bare: BTreeSet<NodeId>,
    /// A Tips that comes in several frames.
    partial: Vec<(NodeId, Mark)>,
    /// What we last told of.
    told: Option<SharedTips>,
    /// The generation of our tips up to which content is here, and whether that was said of what was told.
    whole: Option<u64>,
    whole_told: bool,
    /// Entries frames dealt with since the last Have.
    taken: u64,
    /// Something was sent that the transport hasn't taken yet.
    unwritten: bool,
    ask: ask::Asking,
    branches: branches::Branches,
    serve: serve::Serving,
    forks: forks::Forks,
    done_sent: bool,
    done_received: bool,
    closed: bool,
    waits: Waits,
    out: Vec<Output>,
}

impl Session {
    /// `tips`: what this node holds durably.
    pub fn new(config: Config, tips: SharedTips) -> Self {
        Self {
            config,
            ours: tips,
            asked_with: None,
            theirs: BTreeMap::new(),
            their_leaves: Leaves::new(),
            known: false,
            theirs_whole: BTreeMap::new(),
            theirs_bare: BTreeSet::new(),
            partial: Vec::new(),
            told: None,
            whole: None,
            whole_told: false,
            taken: 0,
            unwritten: false,
            ask: ask::Asking::default(),
            branches: branches::Branches::default(),
            serve: serve::Serving::default(),
            forks: forks::Forks::default(),
            done_sent: false,
            done_received: false,
            closed: false,
            waits: Waits::default(),
            out: Vec::new(),
        }
    }

    /// Takes an event; `now` never goes back. `mesh` is the one of the store, shared by its sessions.
    pub fn handle(&mut self, input: Input, now: Millis, mesh: &mut Mesh) -> Vec<Output> {
        if self.closed {
            return Vec::new();
        }
        if let Err(reason) = self.take_input(input, now, mesh) {
            self.close(reason, mesh);
        } else {
            self.serve(now);
            self.ask(now, mesh);
            self.ask_for_branches(now);
            self.settle(mesh);
            self.tell(now);
            self.tell_forks(now);
            self.out.extend(self.waits.changed().map(Output::SetTimer));
        }
        std::mem::take(&mut self.out)
    }

    /// How far the two sides are apart.
    pub fn behind(&self) -> Behind {
        let ours = self.ours.marks();
        let own = self.config.node;
        let own_seq = |marks: &BTreeMap<NodeId, Mark>| marks.get(&own).map_or(0, |mark| mark.seq);
        let there =
            beyond(&self.theirs, ours).map(|range| range.entries()).sum::<u64>() + self.branches_untold();
        Behind {
            known: self.known,
            here: beyond(ours, &self.theirs).map(|range| range.entries()).sum::<u64>()
                + self.branches_lacking(),
            there: if self.known { there } else { 0 },
            own: own_seq(&self.theirs) > own_seq(ours),
        }
    }

    /// What the peer holds durably, by its own words.
    pub fn theirs(&self) -> &BTreeMap<NodeId, Mark> {
        &self.theirs
    }

    /// Up to where the peer has, by its own words, what the entries name as well: the bytes of large files.
    pub fn theirs_whole(&self) -> &BTreeMap<NodeId, Mark> {
        &self.theirs_whole
    }

    /// Its peer has said that it lacks nothing of what it was told, and so have we.
    pub fn is_live(&self) -> bool {
        self.done_sent && self.done_received
    }

    fn take_input(&mut self, input: Input, now: Millis, mesh: &mut Mesh) -> Result<(), Reason> {
        match input {
            Input::Opened => self.hello(false, now),
            Input::Check => {
                self.ask.forget_passed();
                self.branches.forget_passed();
                if self.known && self.asked_with.is_none() {
                    self.hello(true, now);
                }
            }
            Input::Frame(frame) => return self.frame(frame, now, mesh),
            Input::BadFrame(e) => return Err(Reason::Frame(e)),
            Input::Published(tips) => self.adopt(tips),
            Input::Whole(generation) => self.whole = self.whole.max(Some(generation)),
            Input::Forks(forks) => self.forks_known(forks),
            Input::Ranged { request, entries } => self.ranged(request, entries, now),
            Input::Received { batch, results, durable } => {
                self.adopt(durable);
                self.received(batch, &results, now, mesh);
            }
            Input::Writable => {
                self.unwritten = false;
                self.waits.end(Wait::Write);
            }
            Input::Timer => return self.timer(now),
        }
        Ok(())
    }

    fn frame(&mut self, frame: Frame, now: Millis, mesh: &mut Mesh) -> Result<(), Reason> {
        match frame {
            Frame::Hello { store, genesis, digest, check } => {
                if store != self.config.store || genesis != self.config.genesis {
                    return Err(Reason::OtherStore);
                }
                self.greeted(digest, check, now)
            }
            Frame::Tips { marks, more } => {
                self.partial.extend(marks);
                if self.partial.len() > MAX_AUTHORS {
                    return Err(Reason::Protocol("it tells of more authors than there may be"));
                }
                if !more {
                    self.theirs.clear();
                    self.their_leaves.clear();
                    take_in(&mut self.theirs, &mut self.their_leaves, std::mem::take(&mut self.partial));
                    self.theirs_bare = self.theirs.keys().copied().collect();
                    self.known = true;
                    self.waits.end(Wait::Tips);
                }
                Ok(())
            }
            _ if !self.known => Err(Reason::Protocol("it has not said what it holds")),
            Frame::Have { marks, taken, whole } => {
                self.have(marks, taken, now)?;
                if whole {
                    self.has_content();
                }
                Ok(())
            }
            Frame::Want(ranges) => self.wanted(ranges),
            Frame::Entries { entries, last } => self.entries(entries, last, now, mesh),
            Frame::Done => {
                self.done_received = true;
                Ok(())
            }
            Frame::Fetch(entries) => self.fetch_asked(entries),
            Frame::FetchChain { author, of, from } => self.chain_asked(author, of, from),
            Frame::Fork(proof) => self.fork_told(proof),
        }
    }

    fn send(&mut self, frame: Frame, now: Millis) {
        self.out.push(Output::Send(frame));
        if !self.unwritten {
            self.unwritten = true;
            self.waits.start(Wait::Write, now);
        }
    }

    /// Says which store this is about, and the digest of what we hold.
    fn hello(&mut self, check: bool, now: Millis) {
        let Config { store, genesis, .. } = self.config;
        let digest = self.ours.digest();
        self.asked_with = Some(self.ours.clone());
        self.waits.start(Wait::Hello, now);
        self.send(Frame::Hello { store, genesis, digest, check }, now);
    }

    /// Both sides compare the same two digests, so both know whether Tips come.
    fn greeted(&mut self, digest: TipsDigest, check: bool, now: Millis) -> Result<(), Reason> {
        let with = if check {
            if !self.known {
                return Err(Reason::Protocol("it asks before it has said what it holds"));
            }
            let Config { store, genesis, .. } = self.config;
            let answer = Frame::Hello { store, genesis, digest: self.ours.digest(), check: false };
            self.send(answer, now);
            self.ours.clone()
        } else {
            self.waits.end(Wait::Hello);
            self.asked_with.take().ok_or(Reason::Protocol("it answers what was not asked"))?
        };
        if digest == with.digest() {
            self.theirs = with.marks().clone();
            self.their_leaves = with.leaves().clone();
            self.theirs_bare = self.theirs.keys().copied().collect();
            self.known = true;
            self.told.get_or_insert(with);
        } else {
            self.waits.start(Wait::Tips, now);
            self.tell_all(now);
        }
        Ok(())
    }

    /// All our marks, in as many frames as they take.
    fn tell_all(&mut self, now: Millis) {
        let ours = self.ours.clone();
        let mut parts = parts(&ours.all().collect::<Vec<_>>(), MAX_MARKS).into_iter().peekable();
        if parts.peek().is_none() {
            self.send(Frame::Tips { marks: Vec::new(), more: false }, now);
        }
        while let Some(marks) = parts.next() {
            self.send(Frame::Tips { marks, more: parts.peek().is_some() }, now);
        }
        self.told = Some(ours);
        self.whole_told = false;
    }

    /// What has become durable since it was last told, and which frames were dealt with. Not before the transport has
    /// taken what was said before: what comes meanwhile is told as one.
    fn tell(&mut self, now: Millis) {
        let Some(told) = &self.told else { return };
        let same = Arc::ptr_eq(told, &self.ours);
        // What was whole may not be for what comes on top of it: it is said of all that is told then.
        let whole = self.whole >= Some(self.ours.generation());
        if self.unwritten || (self.taken == 0 && same && (self.whole_told || !whole)) {
            return;
        }
        let marks = self.ours.since(told);
        let taken = std::mem::take(&mut self.taken);
        self.told = Some(self.ours.clone());
        let news = whole && !(self.whole_told && marks.is_empty());
        self.whole_told = (self.whole_told && marks.is_empty()) || whole;
        if marks.is_empty() && taken == 0 && !news {
            return;
        }
        let mut parts = parts(&marks, MAX_MARKS).into_iter().peekable();
        let first = parts.next().unwrap_or_default();
        self.send(Frame::Have { marks: first, taken, whole: news && parts.peek().is_none() }, now);
        while let Some(marks) = parts.next() {
            let whole = news && parts.peek().is_none();
            self.send(Frame::Have { marks, taken: 0, whole }, now);
        }
    }

    /// The peer has said that it has the content of all that it has told of.
    fn has_content(&mut self) {
        for author in std::mem::take(&mut self.theirs_bare) {
            self.theirs_whole.extend(self.theirs.get(&author).map(|mark| (author, *mark)));
        }
    }

    /// Newer tips; they come by more than one way.
    fn adopt(&mut self, tips: SharedTips) {
        if tips.generation() >= self.ours.generation() {
            self.ours = tips;
        }
    }

    fn have(&mut self, marks: Vec<(NodeId, Mark)>, taken: u64, now: Millis) -> Result<(), Reason> {
        self.acknowledged(taken, now)?;
        self.theirs_bare.extend(marks.iter().map(|(author, _)| *author));
        take_in(&mut self.theirs, &mut self.their_leaves, marks);
        if self.theirs.len() > MAX_AUTHORS {
            return Err(Reason::Protocol("it tells of more authors than there may be"));
        }
        Ok(())
    }

    /// Says that nothing is lacking, the first time that it is so.
    fn settle(&mut self, mesh: &mut Mesh) {
        if self.known && !self.done_sent && self.ask.is_idle() && self.branches.is_idle() {
            self.done_sent = true;
            // A Done is a few bytes, once: it doesn't wait for the transport.
            self.out.push(Output::Send(Frame::Done));
            self.out.push(Output::CaughtUp);
            mesh.set_direct(self.config.peer);
        }
    }

    fn timer(&mut self, now: Millis) -> Result<(), Reason> {
        for wait in self.waits.over(now) {
            match wait {
                // What turns out to be our own slowness is not held against the peer.
                Wait::Entries if self.ask.is_receiving() => self.waits.start(Wait::Entries, now),
                Wait::Branch => self.branch_is_late(now),
                Wait::Turn | Wait::Grace | Wait::Retry | Wait::RetryBranch => {}
                wait => return Err(Reason::Silent(wait)),
            }
        }
        Ok(())
    }

    fn close(&mut self, reason: Reason, mesh: &mut Mesh) {
        self.closed = true;
        mesh.left(self.config.peer);
        self.out.push(Output::Close(reason));
    }
}
