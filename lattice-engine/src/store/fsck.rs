//! Checking a store against itself: the log's checksums, every chain and signature, every chunk's hash, and the derived
//! state against a replay.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::chain::{self, Outcome, Tip};
use crate::disk::Disk;
use crate::entry::{Entry, EntryRef, Header};
use crate::hlc::Hlc;
use crate::id::{EntryId, NodeId, StoreId};
use crate::identity;
use crate::log::{self, Record as LogRecord};
use crate::state::{RowKey, Snapshot, State};

use super::branches::Branches;
use super::core::Store;
use super::error::{Result, StoreError};
use super::handle::Handle;
use super::history;
use super::open::{Hooks, replay};
use super::view::View;
use super::writer::Chains;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FsckReport {
    pub entries: u64,
    pub chunks: u64,
    /// One line each: what, where, what to do. Empty: all is well.
    pub problems: Vec<String>,
    /// With `rebuild`: whether a replay of the log gave the state that was there.
    pub rebuilt_equal: Option<bool>,
}

impl Handle {
    /// Reads everything. With `rebuild` the state is also made anew from the log; where it differs, the next opening of
    /// the store takes the new one.
    pub fn fsck(&self, rebuild: bool, progress: &mut dyn FnMut(&str)) -> Result<FsckReport> {
        let store = &self.store;
        let mut report = FsckReport::default();
        progress("log");
        // What is appended meanwhile is the next one's.
        let until = Some(store.syncer.end());
        let log =
            log::fsck(&*store.disk, &store.dir.join("log"), &store.id, until).map_err(StoreError::Log)?;
        report.problems.extend(log_problems(&log));
        progress("entries and signatures");
        if report.problems.is_empty() {
            store.check_chains(&mut report)?;
        }
        progress("content");
        let content = store.content.fsck(true)?;
        report.chunks = content.chunks;
        report.problems.extend(content.problems);
        if rebuild {
            if store.reading_only.load(Ordering::Acquire) {
                store.thawed()?;
            }
            progress("rebuilding the state from the log");
            report.rebuilt_equal = Some(store.rebuild(&mut report.problems)?);
        }
        Ok(report)
    }
}

/// What can be read of the log of a store that can't be opened.
pub(crate) fn check_closed(disk: &dyn Disk, dir: &Path, id: &StoreId) -> Result<FsckReport> {
    let log = log::fsck(disk, &dir.join("log"), id, None).map_err(StoreError::Log)?;
    Ok(FsckReport { entries: log.records(), problems: log_problems(&log), ..FsckReport::default() })
}

impl Store {
    fn check_chains(&self, report: &mut FsckReport) -> Result<()> {
        let genesis = self.writer.lock().genesis;
        let mut tips: HashMap<NodeId, Tip> = HashMap::new();
        let mut unsigned: HashMap<(NodeId, u64), EntryId> = HashMap::new();
        self.sign_all()?;
        self.for_each_entry(&mut |entry| {
            report.entries += 1;
            if entry.signature.is_none() {
                unsigned.insert((entry.header.author, entry.header.seq), entry.id);
            } else if let Err(e) = entry.verify() {
                report.problems.push(format!("entry {}: {e}", entry.id));
            }
            let author = entry.header.author;
            match chain::check(tips.get(&author), &genesis, |_| None, entry) {
                Outcome::Append => drop(tips.insert(author, Tip::of(entry))),
                Outcome::Duplicate if entry.id == genesis.id => {}
                // Of a branch: what it follows is here as well, and earlier than it.
                _ if self.follows(entry, &genesis)? => {}
                other => report
                    .problems
                    .push(format!("entry {} of {author} doesn't follow its chain: {other:?}", entry.id)),
            }
            Ok(())
        })?;
        for record in self.view.log.scan(None) {
            let (_, record) = record.map_err(StoreError::Log)?;
            if let LogRecord::Signatures { author, list } = record {
                for (seq, signature) in list {
                    match unsigned.remove(&(author, seq)) {
                        Some(id) if identity::verify(&author, &id, &signature).is_err() => {
                            report.problems.push(format!("entry {id}: its signature doesn't verify"));
                        }
                        _ => {}
                    }
                }
            }
        }
        // Written since the signing above.
        let pending: Vec<_> = self.writer.lock().chains.unsigned.iter().map(|(_, id)| *id).collect();
        unsigned.retain(|_, id| !pending.contains(id));
        report.problems.extend(unsigned.values().map(|id| format!("entry {id} is not signed")));
        Ok(())
    }

    /// Whether an entry of a forked author follows another, wherever that stands.
    fn follows(&self, entry: &Entry, genesis: &Tip) -> Result<bool> {
        let Header { author, seq, prev, .. } = &entry.header;
        let before = EntryRef { hlc: Hlc::ZERO, author: *author, id: *prev, seq: seq.saturating_sub(1) };
        let tip = match (seq, history::load(&self.view, &before)?) {
            (1, _) => *genesis,
            (_, Some(before)) => Tip::of(&before),
            (_, None) => return Ok(false),
        };
        Ok(!self.view.branches.read().of(author).is_empty()
            && chain::check(Some(&tip), genesis, |_| None, entry) == Outcome::Append)
    }

    /// Replays the whole log into a new state file and compares. True: equal.
    fn rebuild(&self, problems: &mut Vec<String>) -> Result<bool> {
        self.apply_overlay(false)?;
        // Held throughout: what is compared stands still.
        let mut applying = self.applying.lock();
        let _writer = self.writer.lock();
        let snapshot = self.view.overlay.read().snapshot();
        self.view.state.apply(&snapshot, false)?;
        self.view.overlay.write().forget(&snapshot);
        let path = self.dir.join("state.rebuild");
        let _ = self.disk.remove(&path);
        let state = Arc::new(State::open(&self.disk, &path)?);
        let members = self.view.members.fixed(self.view.members.current(), self.view.members.limits());
        let view = View::new(state, self.view.log.clone(), members, Branches::default());
        let flush = || {
            let snapshot = view.overlay.read().snapshot();
            view.state.apply(&snapshot, false)?;
            view.overlay.write().forget(&snapshot);
            Ok(())
        };
        let hooks = Hooks { flush: &flush };
        replay(&view, &mut Chains::default(), &self.identity.node_id(), None, &hooks)?;
        flush()?;
        let differences = compare(&self.view.state, &view.state)?;
        let equal = differences == 0;
        if equal {
            drop(view);
            let _ = self.disk.remove(&path);
        } else {
            problems.push(format!(
                "{differences} records of the derived state differed from a replay of the log: mount again, and the \
                 rebuilt state is used"
            ));
            view.state.apply(&Snapshot::default(), true)?;
            drop(view);
            self.disk
                .rename(&path, &self.dir.join(super::open::NEXT_STATE))
                .map_err(StoreError::io("cannot put the rebuilt state in place"))?;
        }
        // Nothing else was changed; the guard only ends here.
        *applying = false;
        Ok(equal)
    }
}

fn log_problems(report: &log::Report) -> Vec<String> {
    let missing =
        report.missing.iter().map(|path| format!("{} is missing: put it back from a backup", path.display()));
    let bad = report.segments.iter().flat_map(|s| s.bad.iter().map(move |b| (s, b)));
    let bad = bad.filter(|(_, b)| !b.torn_tail).map(|(s, b)| {
        format!(
            "{} is damaged at byte {} ({}, {} bytes); {} records after it can be read. Put it back from a backup, or begin anew \
             from another member (`lattice help fsck`)",
            s.path.display(),
            b.offset,
            b.why,
            b.bytes,
            b.readable_after
        )
    });
    missing.chain(bad).collect()
}

/// How many records differ.
fn compare(a: &State, b: &State) -> Result<u64> {
    let (a, b) = (a.read()?, b.read()?);
    let root = RowKey(Default::default());
    let mut differences = u64::from(a.record(&root)? != b.record(&root)?);
    let mut left = a.range(&[], &root)?;
    let mut right = b.range(&[], &root)?;
    loop {
        match (left.next().transpose()?, right.next().transpose()?) {
            (None, None) => return Ok(differences),
            (x, y) => differences += u64::from(x != y),
        }
    }
}
