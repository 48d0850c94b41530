//! What every face calls: [`Handle`], a cheap clone of a reference to an open store.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::content::ContentStore;
use crate::entry::Content;
use crate::id::{EntryId, NodeId, StoreId};
use crate::key::Key;
use crate::merge::{EntryRef, Record};

use super::change::Change;
use super::core::Store;
use super::error::{Result, StoreError};
use super::event::{Cursor, Event};
use super::history::{self, Version};
use super::network::Network;
use super::reader::{self, Reader};
use super::watch::{Live, Watch};

/// Each handle that asks for one gets an origin of its own.
static ORIGINS: AtomicU64 = AtomicU64::new(1);

/// A store, for every face. Cheap to clone; every call may come from any thread. Reads never wait for writers.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) store: Arc<Store>,
    origin: u64,
}

impl Handle {
    pub(super) fn new(store: Arc<Store>) -> Self {
        Self { store, origin: 0 }
    }

    /// A handle whose own commits its [`Handle::live`] events leave out.
    pub fn with_own_origin(&self) -> Self {
        Self { store: self.store.clone(), origin: ORIGINS.fetch_add(1, Ordering::Relaxed) }
    }

    pub fn id(&self) -> StoreId {
        self.store.id
    }

    /// Whether both are of one open store.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.store, &other.store)
    }

    pub fn genesis(&self) -> EntryId {
        self.store.genesis
    }

    /// This node.
    pub fn author(&self) -> NodeId {
        self.store.identity.node_id()
    }

    /// What is known of a key. `None`: nothing; a record may be no more than a tombstone ([`Record::exists`] tells).
    pub fn get(&self, key: &Key) -> Result<Option<Arc<Record>>> {
        self.store.view.get(key)
    }

    /// As [`Handle::get`], for a thread that others wait for, such as one that serves many clients: a look-up in memory, nearly
    /// always, and else a read of the disk or a few. `None`: it would wait for a large commit.
    pub fn get_now(&self, key: &Key) -> Result<Option<Option<Arc<Record>>>> {
        self.store.view.get_now(key)
    }

    /// A number that grows with each change, before the call that made the change returns: what was read after it was
    /// asked is good for as long as it is the same.
    pub fn generation(&self) -> u64 {
        self.store.generation.load(Ordering::Acquire)
    }

    /// The children of `dir` that exist, by name, after `after`, at most `limit`.
    pub fn list(&self, dir: &Key, after: Option<&[u8]>, limit: usize) -> Result<Vec<(Bytes, Arc<Record>)>> {
        self.store.view.list(dir, after, limit)
    }

    /// Every existing key below `below`, parents before children, in directory order. `Break` stops it.
    pub fn walk(
        &self,
        below: &Key,
        visit: &mut dyn FnMut(&Key, &Arc<Record>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.store.view.walk(below, visit).map(|_| ())
    }

    /// The keys at or below `below` whose live versions differ.
    pub fn conflicts(&self, below: &Key) -> Result<Vec<(Key, Arc<Record>)>> {
        self.store.view.conflicts(below)
    }

    /// All or nothing. On return it is visible, and survives a kill of the process; a power loss only after
    /// [`Handle::sync`]. Gives the entry that holds it (the last one of a large commit; the tip when nothing changed).
    pub fn commit(&self, changes: Vec<Change>) -> Result<EntryRef> {
        self.store.commit(changes, self.origin)
    }

    /// What as many calls of [`Handle::commit`] would do, in this order: each of them is all or nothing by itself.
    pub fn commit_each(&self, commits: Vec<Vec<Change>>) -> Vec<Result<EntryRef>> {
        self.store.commit_each(commits, self.origin)
    }

    /// All that was committed before survives a power loss when it returns.
    pub fn sync(&self) -> Result<()> {
        self.store.sync()
    }

    /// Bytes as content to put: in line up to 4096 bytes, chunks above.
    pub fn put_content(&self, bytes: &[u8]) -> Result<Content> {
        self.store.writable()?;
        self.store.content.put(bytes).map_err(StoreError::Content)
    }

    /// For streams, updates in place, and adopting staged files.
    pub fn content(&self) -> &ContentStore {
        &self.store.content
    }

    /// What isn't here fails at once, with [`ContentError::Missing`](crate::content::ContentError::Missing).
    pub fn read(&self, content: &Content) -> Result<Reader> {
        reader::open(&self.store.view, &self.store.content, content)
    }

    /// As [`Handle::read`], for a thread that may block: this and the reads that follow wait for what isn't here.
    pub fn read_waiting(&self, content: &Content) -> Result<Reader> {
        reader::open_waiting(&self.store, content)
    }

    /// Waits until the bytes of `range` are here. Blocks, until `give_up`, which is asked now and then, says so.
    pub fn bring(&self, content: &Content, range: Range<u64>, give_up: &dyn Fn() -> bool) -> Result<()> {
        self.store.bring(content, &range, give_up)
    }

    /// Whom to ask for content that isn't here, and who else holds what; `None`: nobody any more.
    pub fn set_network(&self, network: Option<Arc<dyn Network>>) {
        *self.store.network.write() = network;
    }

    /// The network, while one runs.
    pub fn network(&self) -> Option<Arc<dyn Network>> {
        self.store.network.read().clone()
    }

    /// The versions of a key, newest first, at most `limit`. Follows the key, not renames.
    pub fn history(&self, key: &Key, limit: usize) -> Result<Vec<Version>> {
        history::versions(&self.store.view, key, limit)
    }

    /// Events after `since`, waiting for new ones. `None`: from now on; `Cursor::default()`: from the beginning.
    pub fn watch(&self, since: Option<Cursor>) -> Watch {
        Watch::new(self.store.clone(), since)
    }

    /// What others than this handle's origin do from now on, without the log: for caches.
    pub fn live(&self) -> Live {
        Live::new(&self.store, self.origin)
    }

    /// Events after `since`, oldest first, at most `limit`; not waiting.
    pub fn entries(&self, since: Cursor, limit: usize) -> Result<Vec<Event>> {
        self.store.events(since, limit)
    }

    /// What the background thread does now and then, for a store opened without one: signs, and moves the overlay into
    /// the state file, durably or not.
    pub fn maintain(&self, durable: bool) -> Result<()> {
        self.store.turn(durable).map(|_| ())
    }

    /// Syncs, applies and stops: the next open has nothing to replay. Later writes fail, through any handle.
    pub fn close(&self) -> Result<()> {
        self.store.close()
    }

    /// [`StoreError::ReadOnly`] where it takes no writes: for what prepares one before it commits.
    pub fn writable(&self) -> Result<()> {
        self.store.writable()
    }

    /// Why it takes no writes, if it doesn't.
    pub fn read_only(&self) -> Option<String> {
        self.store.writable().err().map(|e| match e {
            // Whoever asks knows which store it is.
            StoreError::ReadOnly { why, .. } => why,
            e => e.to_string(),
        })
    }
}
