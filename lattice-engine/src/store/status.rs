//! How a store is: counts and sizes, from what is kept anyway.

use std::sync::Arc;

use crate::id::{NodeId, StoreId};

use super::error::Result;
use super::event::Cursor;
use super::handle::Handle;
use super::policy::Policy;

/// Figures of one store; bytes are bytes on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    pub id: StoreId,
    /// Keys with a live version.
    pub live_keys: u64,
    pub entries: u64,
    pub authors: u64,
    /// Keys whose live versions differ.
    pub conflicts: u64,
    pub log_bytes: u64,
    pub pack_bytes: u64,
    pub state_bytes: u64,
    /// In the log and not yet signed.
    pub unsigned: u64,
    /// Bytes that the in-memory overlay holds, about.
    pub unapplied_bytes: u64,
    /// Staged files that are not content yet.
    pub staged: u64,
    /// Why this node can't write here, other than for being stalled.
    pub read_only: Option<String>,
    pub stalled: Option<String>,
    /// Authors who have signed two entries of one number, and are not revoked: a copied data directory or a restored backup.
    pub forked: Vec<NodeId>,
    /// The log's end.
    pub cursor: Cursor,
    /// What is fetched unasked. How much is here [`Handle::here`] counts, which takes its time.
    pub policy: Arc<Policy>,
}

impl Handle {
    pub fn status(&self) -> Result<StoreStatus> {
        let store = &self.store;
        let applied = store.view.state.read()?.applied()?;
        let (live, new_entries, unapplied) = {
            let overlay = store.view.overlay.read();
            (overlay.live(), overlay.new_entries(), overlay.bytes() as u64)
        };
        let cursor = store.log_end();
        let (authors, unsigned) = {
            let chains = &store.writer.lock().chains;
            (chains.tips.len() as u64, chains.unsigned.len() as u64)
        };
        let log_dir = store.dir.join("log");
        let log_bytes = store
            .disk
            .list(&log_dir)
            .unwrap_or_default()
            .iter()
            .filter_map(|name| {
                store.disk.open(&log_dir.join(name), crate::disk::Open::Read).ok()?.allocated().ok()
            })
            .sum();
        Ok(StoreStatus {
            id: store.id,
            live_keys: applied.live.saturating_add_signed(live),
            entries: applied.entries + new_entries,
            authors,
            conflicts: store.view.conflicts(&crate::key::Key::ROOT)?.len() as u64,
            log_bytes,
            pack_bytes: store.content.pack_bytes(),
            state_bytes: store.view.state.bytes(),
            unsigned,
            unapplied_bytes: unapplied,
            staged: self.intents()?.len() as u64,
            read_only: store.taken_away(),
            stalled: store.stalled.read().clone(),
            forked: self
                .forks()
                .iter()
                .map(|proof| proof.author)
                .filter(|id| !store.view.members.current().has_revoked(id))
                .collect(),
            cursor,
            policy: self.policy(),
        })
    }
}
