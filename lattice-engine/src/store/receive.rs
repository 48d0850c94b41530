//! Entries that others wrote, from a peer or a bundle: checked one by one, appended in one write, applied by the same merge.
//!
//! An entry that can't be taken spoils none beside it. What waits for its time, for a member or for other entries is kept in
//! memory ([`crate::sync::Orphans`]) when a peer sent it, and tried again when that has come.

use std::collections::{BTreeSet, HashMap};

use crate::access::Verdict;
use crate::chain::{self, Outcome, Tip};
use crate::entry::{Decoded, Dep, Entry};
use crate::hlc::{Hlc, MAX_AHEAD_MS};
use crate::id::{EntryId, NodeId};
use crate::identity::Verifier;
use crate::sync::{Cause, Range, Received};
use crate::wire::v1::SignedEntry;

use super::apply::{Applier, project, unrouted};
use super::core::Store;
use super::error::Result;
use super::handle::Handle;
use super::history;
use super::writer::Writer;

/// Signatures checked before it is worth while to do it on two threads.
const MANY: usize = 32;
/// Operations applied at a time: readers wait for no more.
const APPLY_OPS: usize = 1024;

impl Handle {
    /// Takes entries that the peer `from` sent, each after what it builds on if it can be: checks them, appends those that
    /// are good in one write, and applies them. They are durable once [`Handle::publish`] has returned. One result for
    /// each, in order. Content that they name need not be here.
    ///
    /// # Errors
    /// Only what concerns this store itself, such as a full disk: then nothing was taken.
    pub fn receive(&self, entries: Vec<SignedEntry>, from: NodeId) -> Result<Vec<Received>> {
        self.store.thawed()?;
        let mut results: Vec<Option<Received>> = Vec::with_capacity(entries.len());
        let mut offered = Vec::with_capacity(entries.len());
        for entry in entries {
            match decode(entry) {
                Ok(decoded) => {
                    offered.push(decoded);
                    results.push(None);
                }
                Err(why) => results.push(Some(Received::Refused(why))),
            }
        }
        let mut taken = self.store.take_in(offered, Some(from))?.into_iter();
        let refused = || Received::Refused("it was not looked at".into());
        Ok(results.into_iter().map(|r| r.or_else(|| taken.next()).unwrap_or_else(refused)).collect())
    }

    /// How many entries wait in memory for others, for their time or for a member, and their bytes.
    pub fn waiting(&self) -> (usize, usize) {
        let orphans = self.store.orphans.lock();
        (orphans.len(), orphans.bytes())
    }

    /// The bytes of those that one peer sent.
    pub fn waiting_of(&self, peer: &NodeId) -> usize {
        self.store.orphans.lock().bytes_of(peer)
    }
}

fn decode(entry: SignedEntry) -> std::result::Result<Decoded, String> {
    let signature: [u8; 64] =
        entry.signature[..].try_into().map_err(|_| "its signature is not 64 bytes".to_owned())?;
    Entry::decode(entry.header, entry.payload, Some(signature)).map_err(|e| e.to_string())
}

/// Checks the signatures of those that `wanted` marks: on two threads when they are many. `false`: it is not its author's.
fn verify(offered: &[Decoded], wanted: &[bool]) -> Vec<bool> {
    let check = |entries: &[Decoded], wanted: &[bool]| -> Vec<bool> {
        let mut verifier = Verifier::default();
        let mut good = |e: &Decoded| e.entry().verify_with(&mut verifier).is_ok();
        entries.iter().zip(wanted).map(|(e, wanted)| !wanted || good(e)).collect()
    };
    if wanted.iter().filter(|w| **w).count() < MANY {
        return check(offered, wanted);
    }
    let half = offered.len() / 2;
    let ((front, back), (first, second)) = (offered.split_at(half), wanted.split_at(half));
    std::thread::scope(|scope| {
        let other = scope.spawn(|| check(back, second));
        let mut good = check(front, first);
        // A thread that panicked has checked nothing.
        good.extend(other.join().unwrap_or_else(|_| vec![false; back.len()]));
        good
    })
}

/// A batch while it is judged: what was accepted is not in the log yet, and later ones may build on it.
struct Batch {
    tips: HashMap<NodeId, Tip>,
    accepted: Vec<Decoded>,
    ids: HashMap<(NodeId, u64), (EntryId, Hlc)>,
    /// Authors of whom a fork has become known.
    forked: BTreeSet<NodeId>,
}

impl Store {
    /// Checks, appends and applies entries, each after what it builds on. `from`: the peer, whose entries may wait in memory.
    pub(super) fn take_in(&self, offered: Vec<Decoded>, from: Option<NodeId>) -> Result<Vec<Received>> {
        self.thawed()?;
        // What is held need not be checked: its id names all but the signature.
        let held = |e: &Entry| {
            self.view.entry(&e.header.author, e.header.seq).ok().flatten().is_some_and(|(_, id)| id == e.id)
        };
        let news: Vec<bool> = offered.iter().map(|d| !held(d.entry())).collect();
        // Signatures are the dear part: before the lock.
        let good = verify(&offered, &news);
        let mut writer = self.writer.lock();
        let mut batch = Batch {
            tips: HashMap::new(),
            accepted: Vec::with_capacity(offered.len()),
            ids: HashMap::new(),
            forked: BTreeSet::new(),
        };
        let mut results = Vec::with_capacity(offered.len());
        for ((decoded, new), good) in offered.into_iter().zip(news).zip(good) {
            let result = match (new, good) {
                (false, _) => Received::Duplicate,
                (true, false) => Received::Refused(format!(
                    "the signature on entry {} is not {}'s",
                    decoded.entry().id,
                    decoded.entry().header.author
                )),
                (true, true) => self.accept(&writer, &mut batch, decoded, from),
            };
            results.push(result);
        }
        self.append_batch(&mut writer, std::mem::take(&mut batch.accepted))?;
        drop(writer);
        self.back_pressure();
        self.refold()?;
        batch.forked.iter().try_for_each(|author| self.retry_branch(author))?;
        Ok(results)
    }

    /// Judges an entry whose signature is good, and whoever waited for it: accepted ones are added to the batch.
    fn accept(&self, writer: &Writer, batch: &mut Batch, decoded: Decoded, from: Option<NodeId>) -> Received {
        let result = self.judge(writer, batch, decoded.entry(), from);
        let now = self.clock.now_ms();
        let cause = match &result {
            Received::New => {
                let tip = batch.add(decoded);
                self.let_go(writer, batch, tip);
                return result;
            }
            Received::Early { until } => Cause::Early(*until),
            Received::Missing(ranges) => Cause::Missing(ranges.clone()),
            Received::NotMember => Cause::NotMember,
            Received::Fork { seq, .. } => {
                self.prove_fork(writer, batch, decoded.entry(), *seq);
                return result;
            }
            _ => return result,
        };
        match from {
            Some(from) if !self.orphans.lock().keep(compact(decoded), from, cause, now) => Received::Full,
            _ => result,
        }
    }

    /// `other` can't stand beside the entry of its author that is here under `seq`.
    fn prove_fork(&self, writer: &Writer, batch: &mut Batch, other: &Entry, seq: u64) {
        let author = other.header.author;
        let in_batch = batch
            .accepted
            .iter()
            .map(Decoded::entry)
            .find(|e| (e.header.author, e.header.seq) == (author, seq));
        let held = match in_batch {
            Some(held) => Some(held.clone()),
            None => history::held(&self.view, &author, seq).ok().flatten(),
        };
        if held.is_some_and(|held| self.forked(&held, other)) {
            batch.forked.insert(author);
        }
        if author == writer.author {
            self.forked_here(seq);
        }
    }

    /// Those who waited for `first`, and for those in turn.
    fn let_go(&self, writer: &Writer, batch: &mut Batch, first: (NodeId, u64)) {
        let mut come = vec![first];
        while let Some((author, seq)) = come.pop() {
            let waiting = self.orphans.lock().reached(author, seq);
            for (decoded, from) in waiting {
                match self.judge(writer, batch, decoded.entry(), Some(from)) {
                    Received::New => come.push(batch.add(decoded)),
                    Received::Missing(ranges) => {
                        let now = self.clock.now_ms();
                        self.orphans.lock().keep(decoded, from, Cause::Missing(ranges), now);
                    }
                    _ => {}
                }
            }
        }
    }

    /// What is to become of an entry whose signature is good. [`Received::New`]: it can be appended.
    fn judge(&self, writer: &Writer, batch: &Batch, entry: &Entry, from: Option<NodeId>) -> Received {
        let header = &entry.header;
        let now = self.clock.now_ms();
        let own = header.author == writer.author;
        // Our own time was ours, whatever our clock says today: a restored node must have all its entries before it writes.
        if !own && header.hlc > Hlc::new(now + MAX_AHEAD_MS, 0) {
            return Received::Early { until: header.hlc.wall_ms().saturating_sub(MAX_AHEAD_MS) + 1 };
        }
        let author = header.author;
        let tip = batch.tips.get(&author).or_else(|| writer.chains.tips.get(&author));
        let held = |seq| {
            batch
                .ids
                .get(&(author, seq))
                .map(|(id, _)| *id)
                .or_else(|| self.view.entry(&author, seq).ok().flatten().map(|(_, id)| id))
        };
        match chain::check(tip, &writer.genesis, held, entry) {
            Outcome::Append => {}
            Outcome::Duplicate => return Received::Duplicate,
            Outcome::Gap { have, need } => {
                return Received::Missing(vec![Range { author, from: have + 1, to: need }]);
            }
            Outcome::Fork { existing, seq } => {
                let other = if seq == header.seq { entry.id } else { header.prev };
                return Received::Fork { seq, existing, other };
            }
            Outcome::Invalid(why) => return Received::Refused(why.to_string()),
        }
        match self.view.members.admits(entry) {
            Verdict::Valid => {}
            Verdict::UnknownAuthor => return Received::NotMember,
            // Taken from whom has no say in it: a file's user vouches for it, and what counts may build on it.
            Verdict::Beyond { .. } if from.is_none() || self.orphans.lock().wait_for(author, header.seq) => {}
            Verdict::Beyond { .. } => return Received::Beyond,
        }
        match chain::check_deps(entry, |id, author, seq| self.time_of(writer, batch, id, author, seq)) {
            Err(why) => Received::Refused(why.to_string()),
            Ok(missing) => {
                let lacks = |dep: &&Dep| missing.contains(&dep.id) && !self.is_on_a_branch(dep);
                let deps: Vec<&Dep> = header.deps.iter().filter(lacks).collect();
                if deps.is_empty() {
                    return Received::New;
                }
                let tip = |author: &NodeId| {
                    let tip = batch.tips.get(author).or_else(|| writer.chains.tips.get(author));
                    tip.map_or(0, |tip| tip.seq)
                };
                let range = |dep: &Dep| Range {
                    author: dep.author,
                    from: (tip(&dep.author) + 1).min(dep.seq),
                    to: dep.seq,
                };
                Received::Missing(deps.into_iter().map(range).collect())
            }
        }
    }

    /// Whether an entry may be of a branch that isn't taken: its author is proved to have forked before it. Who builds on it
    /// has done nothing wrong, and its own entries must not wait for ever.
    fn is_on_a_branch(&self, dep: &Dep) -> bool {
        self.forks.of(&dep.author).is_some_and(|proof| proof.seq <= dep.seq)
    }

    fn time_of(
        &self,
        writer: &Writer,
        batch: &Batch,
        id: &EntryId,
        author: &NodeId,
        seq: u64,
    ) -> Option<Hlc> {
        if *id == writer.genesis.id {
            return Some(writer.genesis.hlc);
        }
        if let Some((held, hlc)) = batch.ids.get(&(*author, seq)) {
            return (held == id).then_some(*hlc);
        }
        if let Some(tip) = writer.chains.tips.get(author).filter(|t| t.id == *id) {
            return Some(tip.hlc);
        }
        let (position, held) = self.view.entry(author, seq).ok().flatten()?;
        if held != *id {
            return None;
        }
        history::time_of(&self.view, position, id).ok().flatten()
    }

    fn append_batch(&self, writer: &mut Writer, accepted: Vec<Decoded>) -> Result<()> {
        if accepted.is_empty() {
            return Ok(());
        }
        let positions =
            writer.append(accepted.iter().map(Decoded::entry)).inspect_err(|e| self.freeze_on(e))?;
        let now = self.clock.now_ms();
        let mut applier = Applier::new(&self.view);
        let (mut ops, mut applied) = (0, 0);
        for (decoded, position) in accepted.iter().zip(&positions) {
            let entry = decoded.entry();
            writer.clock.observe(entry.header.hlc, now);
            self.view.members.note(entry);
            let counts = self.view.members.counts(&entry.header.author, entry.header.seq, &entry.id);
            if self.must_stall(decoded, counts) {
                applier.note(&mut writer.chains, entry, *position);
                continue;
            }
            if ops > APPLY_OPS {
                applier.finish();
                applier = Applier::new(&self.view);
                ops = 0;
            }
            ops += entry.ops.len() + 1;
            project(&mut applier, &mut writer.chains, entry, *position)
                .inspect_err(|e| self.freeze_unapplied(e))?;
            applied += 1;
        }
        let bytes = applier.finish();
        // A projection that stands still does so for good: what was applied is at the front.
        self.announce(accepted[..applied].iter().map(Decoded::entry).zip(&positions), 0, bytes);
        Ok(())
    }

    /// Whether the projection stands still, or has to from this entry on.
    fn must_stall(&self, decoded: &Decoded, counts: bool) -> bool {
        let why = match decoded {
            Decoded::Unknown { why, .. } => Some(why.to_string()),
            Decoded::Known(entry) => unrouted(entry),
        };
        if let Some(why) = why.filter(|_| counts) {
            let header = &decoded.entry().header;
            let why = format!("entry {} of {}: {why}", decoded.entry().id.short(), header.author.short());
            tracing::error!(store = %self.id, why, "the store's projection stands still");
            self.stalled.write().get_or_insert(why);
        }
        self.stalled.read().is_some()
    }

    /// Tries again what has waited in memory for its time.
    pub(super) fn retry_due(&self) -> Result<()> {
        let due = {
            let mut orphans = self.orphans.lock();
            if orphans.is_empty() {
                return Ok(());
            }
            orphans.due(self.clock.now_ms())
        };
        self.retry(due)
    }

    /// The members have changed: what waited in memory for that is tried again.
    pub(super) fn retry_strangers(&self) -> Result<()> {
        let strangers = self.orphans.lock().strangers();
        self.retry(strangers)
    }

    /// A fork of an author has become known: what waited in memory for the branch that isn't taken need not wait any more.
    pub(super) fn retry_branch(&self, author: &NodeId) -> Result<()> {
        let waiting = self.orphans.lock().reached(*author, u64::MAX);
        self.retry(waiting)
    }

    fn retry(&self, waiting: Vec<(Decoded, NodeId)>) -> Result<()> {
        let peers: BTreeSet<NodeId> = waiting.iter().map(|(_, from)| *from).collect();
        for peer in peers {
            let theirs = waiting.iter().filter(|(_, from)| *from == peer).map(|(d, _)| d.clone()).collect();
            self.take_in(theirs, Some(peer))?;
        }
        Ok(())
    }
}

impl Batch {
    fn add(&mut self, decoded: Decoded) -> (NodeId, u64) {
        let entry = decoded.entry();
        let at = (entry.header.author, entry.header.seq);
        self.tips.insert(at.0, Tip::of(entry));
        self.ids.insert(at, (entry.id, entry.header.hlc));
        self.accepted.push(decoded);
        at
    }
}

/// A copy of its own: what waits must not hold on to the frame that it came in.
fn compact(decoded: Decoded) -> Decoded {
    let entry = decoded.entry();
    let header = bytes::Bytes::copy_from_slice(&entry.header_bytes);
    let payload = bytes::Bytes::copy_from_slice(&entry.payload_bytes);
    Entry::decode(header, payload, entry.signature).unwrap_or(decoded)
}
