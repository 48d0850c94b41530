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
use crate::chain::Tip;
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
    /// The members by which, and the log's end up to which, they are true.
    as_of: Option<AsOf>,
    closed: bool,
}

/// How often the membership had changed, and the log's end.
type AsOf = (u64, End);

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
    fn set(&self, marks: BTreeMap<NodeId, Mark>, as_of: AsOf) -> SharedTips {
        let mut state = self.state.lock();
        if state.as_of.is_some_and(|known| known >= as_of) {
            return state.tips.clone();
        }
        state.as_of = Some(as_of);
        if *state.tips.marks() != marks {
            let next = state.tips.generation() + 1;
            state.tips = SharedTips::new(Tips::new(marks).with_generation(next));
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
        self.store.writer.lock().chains.open_groups.contains_key(author)
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
        let published = self.published();
        let mut found = Vec::new();
        let mut bytes = 0;
        for (author, mark) in entries.iter().filter(|(author, mark)| mark.seq <= published.seq(author)) {
            if self.store.view.entry(author, mark.seq)?.is_none_or(|(_, id)| id != mark.id) {
                continue;
            }
            let Some((_, entry)) = self.store.signed(author, mark.seq)? else { continue };
            bytes += weight(&entry);
            found.push(entry);
            if bytes >= max_bytes {
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
        let (marks, as_of) = self.publishable()?;
        self.flush_to(as_of.1)?;
        Ok(self.published.set(marks, as_of))
    }

    /// What will be durable once the log is synced to the end that is given.
    fn publishable(&self) -> Result<(BTreeMap<NodeId, Mark>, AsOf)> {
        let writer = self.writer.lock();
        let mut marks = BTreeMap::new();
        for (author, tip) in writer.chains.tips.iter().filter(|(_, tip)| tip.seq > 0) {
            let mark = self.shared_tip(&writer, author, tip)?;
            marks.extend(mark.map(|mark| (*author, mark)));
        }
        // What was committed since the signing is not for others yet.
        match writer.chains.signed {
            _ if writer.chains.unsigned.is_empty() => {}
            Some(signed) => drop(marks.insert(writer.author, signed)),
            None => drop(marks.remove(&writer.author)),
        }
        Ok((marks, (self.view.members.version(), writer.log.end())))
    }

    /// How far a chain is told of: what counts, and beyond that only what an entry that counts builds on. In a root store
    /// all of it is, by whomever some act has named ([`crate::access::Membership::shared`]).
    fn shared_tip(&self, writer: &Writer, author: &NodeId, tip: &Tip) -> Result<Option<Mark>> {
        let whole = Mark { seq: tip.seq, id: tip.id };
        let Some(cut) = writer.chains.cuts.get(author) else { return Ok(Some(whole)) };
        if self.view.members.current().shared(&self.id, author) == Limit::All {
            return Ok(Some(whole));
        }
        let named = self.view.entry(author, cut.needed)?;
        Ok(named.filter(|_| cut.needed > 0).map(|(_, id)| Mark { seq: cut.needed, id }))
    }

    /// For the opener: all that the log holds is durable then. What is not signed yet waits for the first publishing.
    pub(super) fn publish_opened(&self) -> Result<()> {
        let (marks, as_of) = self.publishable()?;
        self.published.set(marks, as_of);
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
            let to = range.to.min(published.seq(&range.author));
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
    fn signed(&self, author: &NodeId, seq: u64) -> Result<Option<(Hlc, SignedEntry)>> {
        let Some((position, id)) = self.view.entry(author, seq)? else { return Ok(None) };
        let LogRecord::Entry { header, payload, signature } =
            self.view.log.read(position).map_err(StoreError::Log)?
        else {
            return Ok(None);
        };
        let hlc = peek(&header).map_or(Hlc::ZERO, |at| at.hlc);
        let signature = match signature {
            Some(signature) => signature,
            None if *author == self.identity.node_id() => self.own_signature(position, seq, &id),
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
