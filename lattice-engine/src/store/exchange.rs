//! What a sync session needs of a store: what is published, and entries out of the log.
//!
//! Published is what is signed and durable, and nothing else is ever told of or sent: a node that loses its power after
//! others have its entries would write other ones under the same numbers, and fork itself.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};

use crate::access::Limit;
use crate::chain::{ChainId, Tip};
use crate::hlc::Hlc;
use crate::id::{EntryId, NodeId};
use crate::log::{End, Record as LogRecord};
use crate::sync::{Mark, Range, SharedTips, Tips, peek};
use crate::wire::v1::SignedEntry;

use super::core::Store;
use super::error::{Result, StoreError};
use super::handle::Handle;
use super::writer::Writer;

/// What others may know of this store.
#[derive(Debug, Default)]
pub(super) struct Published {
    state: Mutex<State>,
    /// The tips have changed, or never will again.
    changed: Condvar,
    /// Something was appended since the last publishing began.
    pending: AtomicBool,
    appended: (Mutex<()>, Condvar),
}

#[derive(Debug, Default)]
struct State {
    tips: SharedTips,
    /// Of authors who have forked, how far each of their chains is published.
    forked: BTreeMap<ChainId, u64>,
    /// The members by which, and the log's end up to which, they are true.
    as_of: Option<AsOf>,
    closed: bool,
}

/// How often the membership had changed, and the log's end.
type AsOf = (u64, End);

/// What others may know, and how far each chain of forked authors goes.
type Publishable = (Tips, BTreeMap<ChainId, u64>);

impl Published {
    /// Something was appended.
    pub fn nudge(&self) {
        if !self.pending.swap(true, Ordering::AcqRel) {
            drop(self.appended.0.lock());
            self.appended.1.notify_all();
        }
    }

    /// Nobody waits any more.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
        self.nudge();
    }

    /// Replaces the tips, unless later ones stand there already.
    fn set(&self, (tips, forked): Publishable, as_of: AsOf) -> SharedTips {
        let mut state = self.state.lock();
        if state.as_of.is_some_and(|known| known >= as_of) {
            return state.tips.clone();
        }
        state.as_of = Some(as_of);
        state.forked = forked;
        if *state.tips != tips {
            let next = state.tips.generation() + 1;
            state.tips = SharedTips::new(tips.with_generation(next));
            self.changed.notify_all();
        }
        state.tips.clone()
    }
}

impl Handle {
    /// What this node holds durably, every entry of it signed: what peers may know.
    pub fn published(&self) -> SharedTips {
        self.store.published.state.lock().tips.clone()
    }

    /// Whether `author` has begun a group of entries that isn't whole here, and so not applied. All else that the log
    /// shows by now is applied when this returns.
    pub fn group_is_open(&self, author: &NodeId) -> bool {
        // In this order everywhere: the writer's lock, then this one.
        let groups = &self.store.writer.lock().chains.open_groups;
        let chains = self.store.view.branches.read().chains(author);
        chains.iter().any(|chain| groups.contains_key(chain))
    }

    /// The projection, from which it is read what entries amount to, stands still before one that it can't apply.
    pub fn is_stalled(&self) -> bool {
        self.store.stalled.read().is_some()
    }

    /// Counts the times that the state was made anew, by other members: what had been superseded may be shown again.
    pub fn made_anew(&self) -> u64 {
        self.store.made_anew.load(Ordering::Acquire)
    }

    /// Waits until what is published is no longer `seen`; `None` after `timeout`, or at once when the store has closed.
    pub fn wait_published(&self, seen: &Tips, timeout: Duration) -> Option<SharedTips> {
        let deadline = Instant::now() + timeout;
        let mut state = self.store.published.state.lock();
        while state.tips.generation() == seen.generation() {
            if state.closed || self.store.published.changed.wait_until(&mut state, deadline).timed_out() {
                return None;
            }
        }
        Some(state.tips.clone())
    }

    /// Waits until there is something to publish. False after `timeout`, or when the store has closed.
    pub fn wait_unpublished(&self, timeout: Duration) -> bool {
        let published = &self.store.published;
        let deadline = Instant::now() + timeout;
        let mut guard = published.appended.0.lock();
        while !published.pending.load(Ordering::Acquire) {
            if published.appended.1.wait_until(&mut guard, deadline).timed_out() {
                return false;
            }
        }
        drop(guard);
        !published.state.lock().closed
    }

    /// Signs and makes durable all that was committed or received before, and then lets others know of it. What waits in
    /// memory for its time is tried again first.
    pub fn publish(&self) -> Result<SharedTips> {
        self.store.publish()
    }

    /// Published entries of these ranges, in hlc order over all of them, so that each comes after what it builds on. Ends
    /// once `max_bytes` are passed; at least one, if there is one.
    pub fn range(&self, ranges: &[Range], max_bytes: usize) -> Result<Vec<SignedEntry>> {
        self.store.range(ranges, max_bytes)
    }

    /// The store's first entry: what a node that joins makes the store of.
    pub fn genesis_entry(&self) -> Result<SignedEntry> {
        let first = self.store.view.log.scan(None).next();
        match first.transpose().map_err(StoreError::Log)? {
            Some((_, LogRecord::Entry { header, payload, signature: Some(signature) })) => {
                Ok(SignedEntry { header, payload, signature: Bytes::copy_from_slice(&signature) })
            }
            _ => Err(StoreError::Refused("the log doesn't begin with a genesis: run `lattice fsck`".into())),
        }
    }

    /// Published entries by name; those that aren't here are left out.
    pub fn fetch(&self, entries: &[(NodeId, Mark)], max_bytes: usize) -> Result<Vec<SignedEntry>> {
        let mut found = Vec::new();
        let mut bytes = 0;
        for (author, mark) in entries {
            let Some((chain, _)) = self.store.view.find(author, mark.seq, &mark.id)? else { continue };
            if mark.seq > self.store.published_of(author, &chain) {
                continue;
            }
            let Some((_, entry)) = self.store.signed(&chain, mark.seq)? else { continue };
            bytes += weight(&entry);
            found.push(entry);
            if bytes >= max_bytes {
                break;
            }
        }
        Ok(found)
    }
}

impl Handle {
    /// Published entries of a chain from number `from` on, up to the one that `of` names; ends once `max_bytes` are passed.
    pub fn chain(&self, author: &NodeId, of: Mark, from: u64, max_bytes: usize) -> Result<Vec<SignedEntry>> {
        let store = &self.store;
        let Some((chain, _)) = store.view.find(author, of.seq, &of.id)? else { return Ok(Vec::new()) };
        let (mut found, mut bytes) = (Vec::new(), 0);
        if of.seq > store.published_of(author, &chain) {
            return Ok(found);
        }
        let path = store.view.branches.read().path(&chain, of.seq);
        for seq in from.max(1)..=of.seq {
            // The last of them that goes so far: the one where the path begins goes furthest.
            let Some((chain, _)) = path.iter().rev().find(|(_, upto)| seq <= *upto) else { break };
            let Some((_, entry)) = store.signed(chain, seq)? else { break };
            bytes += weight(&entry);
            found.push(entry);
            if bytes >= max_bytes || found.len() >= crate::sync::MAX_ENTRIES {
                break;
            }
        }
        Ok(found)
    }
}

/// Bytes that an entry takes in a frame, about.
fn weight(entry: &SignedEntry) -> usize {
    entry.header.len() + entry.payload.len() + 80
}

impl Store {
    pub(super) fn publish(&self) -> Result<SharedTips> {
        if self.reading_only.load(Ordering::Acquire) {
            return Ok(self.published.state.lock().tips.clone());
        }
        self.thawed()?;
        self.retry_due()?;
        self.published.pending.store(false, Ordering::Release);
        self.sign_all()?;
        let (tips, as_of) = self.publishable()?;
        self.flush_to(as_of.1)?;
        Ok(self.published.set(tips, as_of))
    }

    /// What will be durable once the log is synced to the end that is given.
    fn publishable(&self) -> Result<(Publishable, AsOf)> {
        let writer = self.writer.lock();
        let branches = self.view.branches.read().clone();
        let mut marks = BTreeMap::new();
        for (chain, tip) in writer.chains.tips.iter().filter(|(_, tip)| tip.seq > 0) {
            let mark = self.shared_tip(&writer, (chain, &branches.author(chain)), tip)?;
            marks.extend(mark.filter(|mark| mark.seq >= branches.first(chain)).map(|mark| (*chain, mark)));
        }
        // What was committed since the signing is not for others yet. Own entries are committed to the chain of our name.
        match writer.chains.signed {
            _ if writer.chains.unsigned.is_empty() => {}
            Some(signed) => drop(marks.insert(writer.author, signed)),
            None => drop(marks.remove(&writer.author)),
        }
        let as_of = (self.view.members.version(), writer.log.end());
        Ok((branches.told(marks), as_of))
    }

    /// How far a chain is told of: what counts, and beyond that only what an entry that counts builds on. In a root store
    /// all of it is, by whomever some act has named ([`crate::access::Membership::shared`]).
    fn shared_tip(
        &self,
        writer: &Writer,
        (chain, author): (&ChainId, &NodeId),
        tip: &Tip,
    ) -> Result<Option<Mark>> {
        let whole = Mark { seq: tip.seq, id: tip.id };
        let Some(cut) = writer.chains.cuts.get(chain) else { return Ok(Some(whole)) };
        if self.view.members.current().shared(&self.id, author) == Limit::All {
            return Ok(Some(whole));
        }
        let named = self.view.entry(chain, cut.needed)?;
        Ok(named.filter(|_| cut.needed > 0).map(|(_, id)| Mark { seq: cut.needed, id }))
    }

    /// How far a chain is published.
    fn published_of(&self, author: &NodeId, chain: &ChainId) -> u64 {
        let state = self.published.state.lock();
        match state.forked.get(chain) {
            Some(upto) => *upto,
            None if state.tips.leaves().contains_key(author) || chain != author => 0,
            None => state.tips.seq(author),
        }
    }

    /// For the opener: all that the log holds is durable then. What is not signed yet waits for the first publishing.
    pub(super) fn publish_opened(&self) -> Result<()> {
        let (tips, as_of) = self.publishable()?;
        self.published.set(tips, as_of);
        Ok(())
    }

    fn range(&self, ranges: &[Range], max_bytes: usize) -> Result<Vec<SignedEntry>> {
        let published = self.published.state.lock().tips.clone();
        let mut next: BinaryHeap<Reverse<(Hlc, NodeId, u64)>> = BinaryHeap::new();
        let mut loaded: BTreeMap<NodeId, (Range, SignedEntry)> = BTreeMap::new();
        let load = |range: Range, loaded: &mut BTreeMap<_, _>| -> Result<Option<_>> {
            if range.from > range.to {
                return Ok(None);
            }
            let Some((hlc, entry)) = self.signed(&range.author, range.from)? else { return Ok(None) };
            let at = (hlc, range.author, range.from);
            loaded.insert(range.author, (range, entry));
            Ok(Some(Reverse(at)))
        };
        for range in ranges {
            let to = range
                .to
                .min(self.published_of(&range.author, &range.author))
                .min(published.seq(&range.author));
            next.extend(load(Range { to, ..*range }, &mut loaded)?);
        }
        let mut found = Vec::new();
        let mut bytes = 0;
        while let Some(Reverse((_, author, _))) = next.pop() {
            let Some((range, entry)) = loaded.remove(&author) else { continue };
            bytes += weight(&entry);
            found.push(entry);
            if bytes >= max_bytes || found.len() >= crate::sync::MAX_ENTRIES {
                break;
            }
            next.extend(load(Range { from: range.from + 1, ..range }, &mut loaded)?);
        }
        Ok(found)
    }

    /// An entry as it travels, and its time.
    fn signed(&self, chain: &ChainId, seq: u64) -> Result<Option<(Hlc, SignedEntry)>> {
        let Some((position, id)) = self.view.entry(chain, seq)? else { return Ok(None) };
        let LogRecord::Entry { header, payload, signature } =
            self.view.log.read(position).map_err(StoreError::Log)?
        else {
            return Ok(None);
        };
        let hlc = peek(&header).map_or(Hlc::ZERO, |at| at.hlc);
        let signature = match signature {
            Some(signature) => signature,
            None if self.view.branches.read().author(chain) == self.identity.node_id() => {
                self.own_signature(position, seq, &id)
            }
            None => return Err(unsigned(&id)),
        };
        Ok(Some((hlc, SignedEntry { header, payload, signature: Bytes::copy_from_slice(&signature) })))
    }
}

fn unsigned(id: &EntryId) -> StoreError {
    StoreError::Refused(format!(
        "entry {} of another author has no signature in the log: run `lattice fsck`",
        id.short()
    ))
}
