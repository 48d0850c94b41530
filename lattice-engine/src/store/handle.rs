//! What every face calls: [`Handle`], a cheap clone of a reference to an open store.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};

use crate::clock::Clock;
use crate::content::ContentStore;
use crate::disk::Disk;
use crate::entry::{Content, Entry};
use crate::id::{EntryId, NodeId, StoreId};
use crate::identity::Identity;
use crate::key::Key;
use crate::log::{Position, Syncer};
use crate::merge::{EntryRef, Record};

use super::background::Work;
use super::change::Change;
use super::commit::Ticket;
use super::error::{Result, StoreError};
use super::history::Version;
use super::reader::Reader;
use super::view::View;
use super::watch::{Cursor, Event, Live, LiveQueue, Watch};
use super::writer::Writer;

/// An open store.
#[derive(Debug)]
pub(super) struct Store {
    pub id: StoreId,
    pub genesis: EntryId,
    pub dir: PathBuf,
    pub disk: Arc<dyn Disk>,
    pub identity: Arc<Identity>,
    pub clock: Arc<dyn Clock>,
    pub view: View,
    pub content: ContentStore,
    pub writer: Mutex<Writer>,
    pub queue: Mutex<Vec<Arc<Ticket>>>,
    pub syncer: Syncer,
    /// One signer at a time: signatures are logged in order.
    pub signing: Mutex<()>,
    /// One applier at a time; true once the store is closed.
    pub applying: Mutex<bool>,
    pub work: Work,
    pub watchers: AtomicUsize,
    pub arrived: (Mutex<u64>, Condvar),
    pub live: Mutex<Vec<Arc<LiveQueue>>>,
    /// Why it takes no writes.
    pub frozen: RwLock<Option<String>>,
    /// Opened on a disk that can't be written: it is frozen for good, and there is nothing to sync.
    pub reading_only: AtomicBool,
    /// Why its projection stands still.
    pub stalled: RwLock<Option<String>>,
}

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

    pub fn read(&self, content: &Content) -> Result<Reader> {
        self.store.read(content)
    }

    /// The versions of a key, newest first, at most `limit`. Follows the key, not renames.
    pub fn history(&self, key: &Key, limit: usize) -> Result<Vec<Version>> {
        self.store.history(key, limit)
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
        self.store.writable().err().map(|e| e.to_string())
    }
}

impl Store {
    /// Refuses while frozen or stalled.
    pub(super) fn writable(&self) -> Result<()> {
        let why = self.frozen.read().clone().or_else(|| self.stalled.read().clone());
        match why {
            None => Ok(()),
            Some(why) => Err(StoreError::ReadOnly { store: self.id, why }),
        }
    }

    /// Refuses while frozen: a stalled store still takes in what others wrote.
    pub(super) fn thawed(&self) -> Result<()> {
        match self.frozen.read().clone() {
            None => Ok(()),
            Some(why) => Err(StoreError::ReadOnly { store: self.id, why }),
        }
    }

    /// No more writes until the store is opened again: what the disk holds is no longer certain.
    pub(super) fn freeze(&self, why: impl Into<String>) {
        let why = why.into();
        tracing::error!(store = %self.id, why, "the store takes no more writes");
        self.frozen.write().get_or_insert(why);
    }

    /// Freezes on what leaves the log in doubt; a full disk or an entry over a limit does not.
    pub(super) fn freeze_on(&self, e: &StoreError) {
        use crate::log::LogError;
        if let StoreError::Log(LogError::Poisoned { .. } | LogError::Io { .. }) = e {
            self.freeze(format!("{e}. Reopen the store (unmount and mount) once the disk is well"));
        }
    }

    /// An entry is in the log and its state is not: were writing to go on, the applied mark would pass it by.
    pub(super) fn freeze_unapplied(&self, e: &StoreError) {
        self.freeze(format!(
            "an entry was logged and could not be applied ({e}). Reopen the store: the log has it"
        ));
    }

    /// Tells the background thread, watchers and caches of entries that were applied.
    pub(super) fn announce(
        &self,
        entries: &[Entry],
        positions: &[Position],
        origin: u64,
        overlay_bytes: usize,
    ) {
        self.work.dirty(overlay_bytes);
        if self.watchers.load(Ordering::Acquire) > 0 {
            *self.arrived.0.lock() += 1;
            self.arrived.1.notify_all();
        }
        let live = self.live.lock();
        if live.iter().any(|queue| queue.wants(origin)) {
            let ours = self.identity.node_id();
            for (entry, position) in entries.iter().zip(positions) {
                let event = Arc::new(Event::of(entry, position, ours));
                for queue in live.iter().filter(|q| q.wants(origin)) {
                    queue.push(event.clone());
                }
            }
        }
    }
}
