//! Reading: the overlay over redb. Never waits for the writer; sees a commit whole or not at all.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;

use crate::chain::ChainId;
use crate::id::EntryId;
use crate::key::Key;
use crate::log::{LogReader, Position};
use crate::merge::Record;
use crate::state::{Overlay, RowKey, State};

use super::branches::Branches;
use super::error::Result;
use super::govern::Governed;

/// The current records of a store.
#[derive(Debug)]
pub(super) struct View {
    pub overlay: RwLock<Overlay>,
    pub state: Arc<State>,
    pub log: LogReader,
    pub members: Governed,
    pub genesis: EntryId,
    /// Of forked chains.
    pub branches: RwLock<Branches>,
}

/// An ordinary commit has the overlay for less.
const PATIENCE: Duration = Duration::from_micros(200);

/// Children fetched at a time by [`View::walk`].
const PAGE: usize = 1024;

impl View {
    pub fn new(state: Arc<State>, log: LogReader, members: Governed, branches: Branches) -> Self {
        let (overlay, branches) = (RwLock::new(Overlay::default()), RwLock::new(branches));
        let genesis = members.genesis();
        Self { overlay, state, log, members, genesis, branches }
    }

    pub fn get(&self, key: &Key) -> Result<Option<Arc<Record>>> {
        self.row(&RowKey::of(key))
    }

    /// As [`View::get`], for a thread that must not wait for others. `None`: somebody has the overlay, and a commit of many
    /// changes has it for long.
    pub fn get_now(&self, key: &Key) -> Result<Option<Option<Arc<Record>>>> {
        let row = RowKey::of(key);
        match self.overlay.try_read_for(PATIENCE).map(|overlay| overlay.record(&row).cloned()) {
            None => Ok(None),
            Some(Some(record)) => Ok(Some(Some(record))),
            Some(None) => Ok(Some(self.state.read()?.record(&row)?.map(Arc::new))),
        }
    }

    pub fn row(&self, row: &RowKey) -> Result<Option<Arc<Record>>> {
        if let Some(record) = self.overlay.read().record(row) {
            return Ok(Some(record.clone()));
        }
        Ok(self.state.read()?.record(row)?.map(Arc::new))
    }

    /// Where an entry of a chain stands in the log.
    pub fn entry(&self, author: &ChainId, seq: u64) -> Result<Option<(Position, EntryId)>> {
        if let Some(found) = self.overlay.read().entry(author, seq) {
            return Ok(Some(found));
        }
        Ok(self.state.read()?.entry(author, seq)?)
    }

    /// The children of `dir` that exist, by name, after `after`, at most `limit`.
    pub fn list(&self, dir: &Key, after: Option<&[u8]>, limit: usize) -> Result<Vec<(Bytes, Arc<Record>)>> {
        let prefix = RowKey::children_of(dir);
        let start = RowKey([&prefix[..], after.unwrap_or_default()].concat().into());
        // One lock around both: what the applier has moved by now is in redb's view, the rest in the overlay.
        let overlay = self.overlay.read();
        let state = self.state.read()?;
        let mut new = overlay.range(&prefix, start.clone()).peekable();
        let mut old = state.range(&prefix, &start)?.peekable();
        let mut found = Vec::new();
        while found.len() < limit {
            let take_new = match (new.peek(), old.peek()) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                (Some((n, _)), Some(Ok((o, _)))) => {
                    if *n == o {
                        old.next();
                        continue;
                    }
                    *n < o
                }
                (Some(_), Some(Err(_))) => false,
            };
            let (row, record) = if take_new {
                let Some((row, record)) = new.next() else { break };
                (row.clone(), record.clone())
            } else {
                let Some(row) = old.next() else { break };
                let (row, record) = row?;
                (row, Arc::new(record))
            };
            if record.exists() {
                found.push((row.name(), record));
            }
        }
        Ok(found)
    }

    /// Every existing key below `below`, depth first, parents before children, in directory order.
    pub fn walk(
        &self,
        below: &Key,
        visit: &mut dyn FnMut(&Key, &Arc<Record>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        let mut stack = vec![(below.clone(), None::<Bytes>)];
        while let Some((dir, after)) = stack.pop() {
            let page = self.list(&dir, after.as_deref(), PAGE)?;
            let full = page.len() == PAGE;
            for (i, (name, record)) in page.iter().enumerate() {
                // A name that was stored is one that `Key` let in; a row that isn't has no business here.
                let Ok(key) = dir.join(name) else { continue };
                if visit(&key, record).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
                if record.below.children > 0 {
                    if i + 1 < page.len() || full {
                        stack.push((dir, Some(name.clone())));
                    }
                    stack.push((key, None));
                    break;
                }
                if full && i + 1 == page.len() {
                    stack.push((dir, Some(name.clone())));
                    break;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The keys below `below` whose live heads differ.
    pub fn conflicts(&self, below: &Key) -> Result<Vec<(Key, Arc<Record>)>> {
        let overlay = self.overlay.read();
        let state = self.state.read()?;
        let newer = overlay.all().map(|(row, record)| (row.clone(), record.clone()));
        let mut found: std::collections::BTreeMap<RowKey, Arc<Record>> = newer.collect();
        for row in state.conflicts()? {
            if !found.contains_key(&row)
                && let Some(record) = state.record(&row)?
            {
                found.insert(row, Arc::new(record));
            }
        }
        Ok(found
            .into_iter()
            .filter(|(_, record)| record.conflict() > 0)
            .filter_map(|(row, record)| Some((row.key()?, record)))
            .filter(|(key, _)| key == below || key.is_below(below))
            .collect())
    }
}
