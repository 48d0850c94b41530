//! Reclaiming content that no head and no kept history names. The log itself is kept: it is the truth, and small.

use std::collections::HashSet;
use std::time::Duration;

use crate::content::ContentError;
use crate::entry::{Content, Decoded, Entry, Node, Op, Value};
use crate::hlc::Hlc;
use crate::id::{ChunkId, EntryId};
use crate::log::Record as LogRecord;
use crate::merge::Record;
use crate::state::RowKey;

use super::core::Store;
use super::error::{Result, StoreError};
use super::handle::Handle;

/// Whose content is kept beside that of the heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepHistory {
    /// Every version's: only what never became an entry is reclaimed.
    All,
    /// Versions that were current at some time within this long.
    For(Duration),
    /// No version's but the heads'.
    Heads,
}

/// What was reclaimed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    pub chunks: u64,
    /// Stored bytes that the chunks took.
    pub bytes: u64,
    /// Stored bytes that are still there.
    pub kept_bytes: u64,
}

impl Handle {
    /// Never takes what an open reader, a staged write or a concurrent commit needs.
    pub fn gc(&self, keep: KeepHistory) -> Result<GcReport> {
        let store = &self.store;
        store.writable()?;
        // What it names must be durable before what nothing names is destroyed; and that it was, so that nobody takes what
        // is collected for lost in a crash.
        store.vouch()?;
        store.sync()?;
        let token = store.content.begin_gc()?;
        let live = store.live_chunks(keep)?;
        store.apply_overlay(true)?;
        let report = store.content.collect(token, &live)?;
        Ok(GcReport {
            chunks: report.chunks,
            bytes: report.bytes,
            kept_bytes: store.content.stats()?.stored_bytes,
        })
    }
}

impl Store {
    fn live_chunks(&self, keep: KeepHistory) -> Result<HashSet<ChunkId>> {
        let mut live = HashSet::new();
        self.for_each_record(&mut |record| {
            for head in &record.heads {
                if let Some(content) = head.node.as_ref().and_then(|n| n.content()) {
                    self.add(&mut live, content)?;
                }
            }
            Ok(())
        })?;
        let cutoff = match keep {
            KeepHistory::Heads => return Ok(live),
            KeepHistory::All => Hlc::ZERO,
            KeepHistory::For(age) => Hlc::new(self.clock.now_ms().saturating_sub(age.as_millis() as u64), 0),
        };
        // A version was current within the window if it was written in it, or superseded in it.
        let mut kept: HashSet<EntryId> = HashSet::new();
        self.for_each_entry(&mut |entry| {
            if entry.header.hlc >= cutoff {
                kept.insert(entry.id);
                kept.extend(entry.ops.iter().flat_map(|op| op.parents()));
            }
            Ok(())
        })?;
        self.for_each_entry(&mut |entry| {
            if kept.contains(&entry.id) {
                for op in &entry.ops {
                    if let Op::Put { node: Node { value: Value::File(content), .. }, .. } = op {
                        self.add(&mut live, content)?;
                    }
                }
            }
            Ok(())
        })?;
        Ok(live)
    }

    fn add(&self, live: &mut HashSet<ChunkId>, content: &Content) -> Result<()> {
        if matches!(content, Content::Chunks(_) | Content::Manifest { .. }) {
            match self.content.ids_of(content) {
                Ok(ids) => live.extend(ids),
                // It has not come from a peer yet. A manifest comes before what it names.
                Err(ContentError::Missing { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    pub(super) fn for_each_entry(&self, visit: &mut dyn FnMut(&Entry) -> Result<()>) -> Result<()> {
        for record in self.view.log.scan(None) {
            let (_, record) = record.map_err(StoreError::Log)?;
            if let LogRecord::Entry { header, payload, signature } = record {
                let (Decoded::Known(entry) | Decoded::Unknown { entry, .. }) =
                    Entry::decode(header, payload, signature)?;
                visit(&entry)?;
            }
        }
        Ok(())
    }

    /// Every record, tombstones included: what is newer than redb, then what redb has.
    pub(super) fn for_each_record(&self, visit: &mut dyn FnMut(&Record) -> Result<()>) -> Result<()> {
        let newer: Vec<_> = self.view.overlay.read().all().map(|(row, r)| (row.clone(), r.clone())).collect();
        for (_, record) in &newer {
            visit(record)?;
        }
        let state = self.view.state.read()?;
        if let Some(root) = state.record(&RowKey(Default::default()))? {
            visit(&root)?;
        }
        for row in state.range(&[], &RowKey(Default::default()))? {
            let (row, record) = row?;
            if newer.binary_search_by(|(r, _)| r.cmp(&row)).is_err() {
                visit(&record)?;
            }
        }
        Ok(())
    }
}
