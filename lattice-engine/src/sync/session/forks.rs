//! Forks travel as proofs: each author's once per session, to a peer that lacks nothing else. So every member comes to show
//! them, and both who write under one name hear of it, whoever's branch the others hold.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::entry::ForkProof;
use crate::id::NodeId;
use crate::sync::frame::Frame;
use crate::sync::{MAX_FORKS, Millis, SharedForks};

use super::{Output, Reason, Session};

#[derive(Debug, Default)]
pub(super) struct Forks {
    /// What is known here.
    known: SharedForks,
    /// Authors of whom the peer need not be told, by us or because it has told us.
    told: BTreeSet<NodeId>,
    /// Authors of whom the peer has told.
    heard: BTreeSet<NodeId>,
}

impl Session {
    /// Forks are known here, all of them.
    pub(super) fn forks_known(&mut self, forks: SharedForks) {
        self.forks.known = forks;
    }

    /// One at a time: a proof may be as large as two headers.
    pub(super) fn tell_forks(&mut self, now: Millis) {
        if !self.done_received || self.unwritten {
            return;
        }
        // Who has nothing of the author would leave it: it is told when that has come.
        let fits = |proof: &&Arc<ForkProof>| {
            let author = &proof.author;
            !self.forks.told.contains(author)
                && (self.theirs.contains_key(author) || *author == self.config.peer)
        };
        let next = self.forks.known.iter().find(fits).cloned();
        if let Some(proof) = next {
            self.forks.told.insert(proof.author);
            self.send(Frame::Fork(proof), now);
        }
    }

    /// The peer tells of a fork: our store looks whether its author has signed that.
    pub(super) fn fork_told(&mut self, proof: Arc<ForkProof>) -> Result<(), Reason> {
        if proof.store != self.config.store {
            return Err(Reason::OtherStore);
        }
        if self.forks.heard.len() == MAX_FORKS || !self.forks.heard.insert(proof.author) {
            return Err(Reason::Protocol("it tells of a fork again and again"));
        }
        self.forks.told.insert(proof.author);
        self.out.push(Output::Forked(proof));
        Ok(())
    }
}
