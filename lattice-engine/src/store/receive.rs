//! Entries that others wrote, from a peer or a bundle: checked one by one, appended in one write, applied by the same merge.
//!
//! An entry that can't be taken spoils none beside it. What waits for its time, for a member or for other entries is kept in
//! memory ([`crate::sync::Orphans`]) when a peer sent it, and tried again when that has come.

use std::collections::{BTreeSet, HashMap};

use crate::access::{Limit, Verdict};
use crate::chain::{self, ChainId, Outcome, Tip};
use crate::entry::{Decoded, Dep, Entry};
use crate::hlc::{Hlc, MAX_AHEAD_MS};
use crate::id::{EntryId, NodeId};
use crate::identity::Verifier;
use crate::state::Branch;
use crate::sync::{Cause, Range, Received};
use crate::wire::v1::SignedEntry;

use super::apply::{Applier, project, unrouted};
use super::branches::{Branches, MAX_BRANCHES, Place, back, place};
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
#[derive(Default)]
struct Batch {
    tips: HashMap<ChainId, Tip>,
    accepted: Vec<Accepted>,
    ids: HashMap<(ChainId, u64), (EntryId, Hlc)>,
    /// Those that are to begin.
    branches: Branches,
}

/// An entry that can be appended.
struct Accepted {
    chain: ChainId,
    branch: Option<Branch>,
    decoded: Decoded,
}

/// Where an entry belongs that can be appended.
struct Spot {
    chain: ChainId,
    branch: Option<Branch>,
    /// The entry that stands beside it, where a branch begins.
    beside: Option<EntryId>,
}

impl Store {
    /// Checks, appends and applies entries, each after what it builds on. `from`: the peer, whose entries may wait in memory.
    pub(super) fn take_in(&self, offered: Vec<Decoded>, from: Option<NodeId>) -> Result<Vec<Received>> {
        self.thawed()?;
        // What is held need not be checked: its id names all but the signature.
        let held =
            |e: &Entry| self.view.find(&e.header.author, e.header.seq, &e.id).is_ok_and(|at| at.is_some());
        let news: Vec<bool> = offered.iter().map(|d| !held(d.entry())).collect();
        // Signatures are the dear part: before the lock.
        let good = verify(&offered, &news);
        let mut writer = self.writer.lock();
        let mut batch = Batch { accepted: Vec::with_capacity(offered.len()), ..Batch::default() };
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
        let again = self.append_batch(&mut writer, batch.accepted)?;
        drop(writer);
        self.back_pressure();
        self.refold()?;
        if again {
            self.look_again()?;
        }
        Ok(results)
    }

    /// Judges an entry whose signature is good, and whoever waited for it: accepted ones are added to the batch.
    fn accept(&self, writer: &Writer, batch: &mut Batch, decoded: Decoded, from: Option<NodeId>) -> Received {
        let result = match self.judge(writer, batch, decoded.entry(), from) {
            Ok(spot) => {
                let come = self.add_to(writer, batch, spot, decoded);
                self.let_go(writer, batch, come);
                return Received::New;
            }
            Err(result) => result,
        };
        let now = self.clock.now_ms();
        let cause = match &result {
            Received::Early { until } => Cause::Early(*until),
            Received::Missing(ranges) => Cause::Missing(ranges.clone()),
            Received::NotMember => Cause::NotMember,
            Received::Apart { .. } | Received::Fork { .. }
                if decoded.entry().header.author == writer.author =>
            {
                self.forked_here(decoded.entry().header.seq);
                return result;
            }
            _ => return result,
        };
        match from {
            Some(from) if !self.orphans.lock().keep(compact(decoded), from, cause, now) => Received::Full,
            _ => result,
        }
    }

    fn add_to(&self, writer: &Writer, batch: &mut Batch, spot: Spot, decoded: Decoded) -> (NodeId, u64) {
        let Spot { chain, branch, beside } = spot;
        if let (Some(branch), Some(beside)) = (&branch, &beside) {
            self.prove_fork(writer, batch, decoded.entry(), (&branch.parent, beside));
            batch.branches.insert(chain, *branch);
        }
        batch.add(Accepted { chain, branch, decoded })
    }

    /// `other` follows the same entry as the one of its author that is here under its number.
    fn prove_fork(
        &self,
        writer: &Writer,
        batch: &Batch,
        other: &Entry,
        (chain, beside): (&ChainId, &EntryId),
    ) {
        let seq = other.header.seq;
        let in_batch = batch.accepted.iter().map(|a| a.decoded.entry()).find(|e| e.id == *beside);
        let held = match in_batch {
            Some(held) => Some(held.clone()),
            None => history::held(&self.view, chain, seq).ok().flatten(),
        };
        if let Some(held) = held {
            self.forked(&held, other);
        }
        if other.header.author == writer.author {
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
                    Ok(spot) => come.push(self.add_to(writer, batch, spot, decoded)),
                    Err(Received::Missing(ranges)) => {
                        let now = self.clock.now_ms();
                        self.orphans.lock().keep(decoded, from, Cause::Missing(ranges), now);
                    }
                    Err(_) => {}
                }
            }
        }
    }

    /// What is to become of an entry whose signature is good. `Ok`: it can be appended.
    fn judge(
        &self,
        writer: &Writer,
        batch: &Batch,
        entry: &Entry,
        from: Option<NodeId>,
    ) -> std::result::Result<Spot, Received> {
        let header = &entry.header;
        let now = self.clock.now_ms();
        let own = header.author == writer.author;
        // Our own time was ours, whatever our clock says today: a restored node must have all its entries before it writes.
        if !own && header.hlc > Hlc::new(now + MAX_AHEAD_MS, 0) {
            return Err(Received::Early { until: header.hlc.wall_ms().saturating_sub(MAX_AHEAD_MS) + 1 });
        }
        let spot = self.spot(writer, batch, entry)?;
        match self.view.members.admits(entry) {
            Verdict::Valid => {}
            Verdict::UnknownAuthor => return Err(Received::NotMember),
            // Taken from whom has no say in it: a file's user vouches for it, and what counts may build on it.
            Verdict::Beyond if from.is_none() || self.orphans.lock().wait_for(header.author, header.seq) => {}
            Verdict::Beyond => return Err(Received::Beyond),
        }
        let missing =
            chain::check_deps(entry, |id, author, seq| self.time_of(writer, batch, id, author, seq))
                .map_err(|why| Received::Refused(why.to_string()))?;
        let lacks = |dep: &&Dep| missing.contains(&dep.id) && !self.is_over(dep);
        let range = |dep: &Dep| {
            let have = self.longest(writer, batch, &dep.author);
            Range { author: dep.author, from: (have + 1).min(dep.seq), to: dep.seq }
        };
        let deps: Vec<Range> = header.deps.iter().filter(lacks).map(range).collect();
        if deps.is_empty() { Ok(spot) } else { Err(Received::Missing(deps)) }
    }

    /// Where an entry belongs: at the end of its author's chain, or of one of its branches, or at the beginning of another.
    fn spot(&self, writer: &Writer, batch: &Batch, entry: &Entry) -> std::result::Result<Spot, Received> {
        let header = &entry.header;
        let author = header.author;
        let tip = |chain: &ChainId| batch.tips.get(chain).or_else(|| writer.chains.tips.get(chain)).copied();
        let held = |chain: &ChainId, seq: u64| match batch.ids.get(&(*chain, seq)) {
            Some((id, _)) => Some(*id),
            None => self.view.entry(chain, seq).ok().flatten().map(|(_, id)| id),
        };
        let chains = self.chains(batch, &author);
        if chains.len() == 1 {
            match chain::check(tip(&author).as_ref(), &writer.genesis, |seq| held(&author, seq), entry) {
                Outcome::Append => return Ok(Spot { chain: author, branch: None, beside: None }),
                Outcome::Duplicate => return Err(Received::Duplicate),
                Outcome::Gap { have, need } => {
                    return Err(Received::Missing(vec![Range { author, from: have + 1, to: need }]));
                }
                Outcome::Invalid(why) => return Err(Received::Refused(why.to_string())),
                Outcome::Fork { .. } => {}
            }
        }
        let genesis = &writer.genesis;
        let (before, spot) = match place((header, &entry.id), &chains, &genesis.id, tip, held) {
            Place::Held(_) => return Err(Received::Duplicate),
            Place::Apart => {
                return Err(Received::Apart { from: back(header.seq, self.longest(writer, batch, &author)) });
            }
            Place::On(chain) => (tip(&chain), Spot { chain, branch: None, beside: None }),
            Place::New { beside, .. } if chains.len() > MAX_BRANCHES => {
                return Err(Received::Fork { seq: header.seq, existing: beside });
            }
            Place::New { parent, beside } => {
                let seq = header.seq - 1;
                let hlc = self.time_of(writer, batch, &header.prev, &author, seq).unwrap_or(Hlc(u64::MAX));
                let branch = Some(Branch { author, first: header.seq, parent });
                let chain = chain::branch_name(&author, header.seq, &entry.id);
                (Some(Tip { seq, id: header.prev, hlc }), Spot { chain, branch, beside: Some(beside) })
            }
        };
        match chain::check(before.as_ref(), genesis, |_| None, entry) {
            Outcome::Append => Ok(spot),
            Outcome::Invalid(why) => Err(Received::Refused(why.to_string())),
            other => Err(Received::Refused(format!("it has no place in its author's chains: {other:?}"))),
        }
    }

    fn chains(&self, batch: &Batch, author: &NodeId) -> Vec<ChainId> {
        let mut chains = self.view.branches.read().chains(author);
        chains.extend(batch.branches.of(author));
        chains
    }

    /// How far the longest of an author's chains goes.
    fn longest(&self, writer: &Writer, batch: &Batch, author: &NodeId) -> u64 {
        let tip = |chain: &ChainId| batch.tips.get(chain).or_else(|| writer.chains.tips.get(chain));
        self.chains(batch, author).iter().filter_map(tip).map(|tip| tip.seq).max().unwrap_or(0)
    }

    /// Whether an entry may be of a branch that isn't kept, because its author has signed too many. Who builds on it has done
    /// nothing wrong, and its own entries must not wait for ever.
    fn is_over(&self, dep: &Dep) -> bool {
        self.view.branches.read().of(&dep.author).len() >= MAX_BRANCHES
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
        for chain in self.chains(batch, author) {
            if let Some((_, hlc)) = batch.ids.get(&(chain, seq)).filter(|(held, _)| held == id) {
                return Some(*hlc);
            }
            if let Some(tip) = writer.chains.tips.get(&chain).filter(|t| t.id == *id) {
                return Some(tip.hlc);
            }
        }
        let (_, position) = self.view.find(author, seq, id).ok().flatten()?;
        history::time_of(&self.view, position, id).ok().flatten()
    }

    /// True: what counts of a forked author who was revoked is to be looked at again.
    fn append_batch(&self, writer: &mut Writer, accepted: Vec<Accepted>) -> Result<bool> {
        if accepted.is_empty() {
            return Ok(false);
        }
        let entries = accepted.iter().map(|a| (a.chain, a.decoded.entry()));
        let positions = writer.append(entries).inspect_err(|e| self.freeze_on(e))?;
        let now = self.clock.now_ms();
        let mut again = false;
        let mut applier = Applier::new(&self.view);
        let (mut ops, mut applied) = (0, 0);
        for (Accepted { chain, branch, decoded }, position) in accepted.iter().zip(&positions) {
            let entry = decoded.entry();
            writer.clock.observe(entry.header.hlc, now);
            self.view.members.note(entry);
            if let Some(branch) = branch {
                applier.branch(*chain, *branch);
                self.view.members.forked();
            }
            again |= self.is_to_be_traced(entry);
            let counts = self.view.members.counts(chain, &entry.entry_ref());
            if self.must_stall(decoded, counts) {
                applier.note(&mut writer.chains, *chain, entry, *position);
                continue;
            }
            if ops > APPLY_OPS {
                applier.finish();
                applier = Applier::new(&self.view);
                ops = 0;
            }
            ops += entry.ops.len() + 1;
            project(&mut applier, &mut writer.chains, *chain, entry, *position)
                .inspect_err(|e| self.freeze_unapplied(e))?;
            applied += 1;
        }
        let bytes = applier.finish();
        // A projection that stands still does so for good: what was applied is at the front.
        let entries = accepted[..applied].iter().map(|a| a.decoded.entry());
        self.announce(entries.zip(&positions), 0, bytes);
        Ok(again)
    }

    /// Whether an entry may change what counts of its author, who has forked and was revoked.
    fn is_to_be_traced(&self, entry: &Entry) -> bool {
        let author = &entry.header.author;
        !self.view.branches.read().of(author).is_empty()
            && matches!(self.view.members.current().limit(&self.id, author), Limit::UpTo(_))
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
    fn add(&mut self, accepted: Accepted) -> (NodeId, u64) {
        let entry = accepted.decoded.entry();
        let at = (entry.header.author, entry.header.seq);
        self.tips.insert(accepted.chain, Tip::of(entry));
        self.ids.insert((accepted.chain, at.1), (entry.id, entry.header.hlc));
        self.accepted.push(accepted);
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
