//! [`Store`]: what an open store is made of, whether it takes writes, and who is told of what was applied.
//!
//! The modules beside it give it its verbs (`commit`, `ingest`, `sync` ...). It refuses nothing itself but writes while
//! it is frozen or stalled.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex, RwLock};

use crate::access::Membership;
use crate::clock::Clock;
use crate::content::ContentStore;
use crate::disk::Disk;
use crate::entry::Entry;
use crate::id::{EntryId, StoreId};
use crate::identity::Identity;
use crate::log::{Position, Syncer};
use crate::merge::EntryRef;
use crate::sync::Orphans;

use super::bring::Ahead;
use super::change::Change;
use super::error::{Result, StoreError};
use super::event::{Event, LiveQueue};
use super::exchange::Published;
use super::forks::Forks;
use super::hold::Hold;
use super::network::Network;
use super::policy::Policies;
use super::signatures::Signatures;
use super::unsynced::Unsynced;
use super::view::View;
use super::work::{MAX_OVERLAY, Work};
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
    /// Those of own entries that were looked up last.
    pub signatures: Mutex<Signatures>,
    /// One applier at a time; true once the store is closed.
    pub applying: Mutex<bool>,
    pub work: Work,
    /// The thread behind it, until the store is closed.
    pub thread: Mutex<Option<JoinHandle<()>>>,
    pub watchers: AtomicUsize,
    pub arrived: (Mutex<u64>, Condvar),
    /// Told when a staged file has become an entry, or is not wanted any more.
    pub finished: (Mutex<()>, Condvar),
    /// Counts the times that the state was made anew from the log.
    pub made_anew: AtomicU64,
    /// Names what doesn't count, since the state was last made anew: for cursors.
    pub left_out: AtomicU32,
    /// Counts what was applied.
    pub generation: AtomicU64,
    pub live: Mutex<Vec<Arc<LiveQueue>>>,
    /// The network, while one runs.
    pub network: RwLock<Option<Arc<dyn Network>>>,
    /// What is fetched unasked, and how far ahead of readers.
    pub policy: Policies,
    pub ahead: Ahead,
    /// Why it takes no writes.
    pub frozen: RwLock<Option<String>>,
    /// Opened on a disk that can't be written: it is frozen for good, and there is nothing to sync.
    pub reading_only: AtomicBool,
    /// Why its projection stands still.
    pub stalled: RwLock<Option<String>>,
    /// Why this node must not write with its identity any more.
    pub forked: RwLock<Option<String>>,
    pub forks: Forks,
    /// What peers may know.
    pub published: Published,
    /// Whether the first write waits.
    pub hold: Hold,
    /// Made by this process, and not by an earlier one or another node.
    pub made_here: bool,
    /// What the log's intents name, to be synced before it.
    pub unsynced: Arc<Unsynced>,
    /// Told when the membership has changed.
    pub members_changed: TellOnChange,
    /// What came too early.
    pub orphans: Mutex<Orphans>,
}

/// What is told of a change of the membership.
pub type TellMembers = Box<dyn Fn(&Arc<Membership>) + Send + Sync>;

/// Who is told of a change of the membership.
#[derive(Default)]
pub(super) struct TellOnChange(Mutex<Option<TellMembers>>);

impl TellOnChange {
    pub fn set(&self, tell: TellMembers) {
        *self.0.lock() = Some(tell);
    }

    /// IMPORTANT: `current` is asked under the lock, so that of two changes at once the later one is told last.
    pub fn tell(&self, current: impl FnOnce() -> Arc<Membership>) {
        if let Some(tell) = &*self.0.lock() {
            tell(&current());
        }
    }
}

impl std::fmt::Debug for TellOnChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TellOnChange")
    }
}

/// A commit that waits for the writer.
#[derive(Debug)]
pub(super) struct Ticket {
    pub changes: Mutex<Vec<Change>>,
    pub origin: u64,
    pub done: OnceLock<std::result::Result<EntryRef, Arc<StoreError>>>,
}

impl Ticket {
    pub fn of(changes: Vec<Change>, origin: u64) -> Arc<Self> {
        Arc::new(Self { changes: Mutex::new(changes), origin, done: OnceLock::new() })
    }

    /// What came of it, once it was committed.
    pub fn answer(&self) -> Result<EntryRef> {
        match self.done.get() {
            Some(Ok(at)) => Ok(*at),
            Some(Err(e)) => Err(StoreError::Shared(e.clone())),
            // INVARIANT: the queue is emptied only under the writer's lock, and every ticket taken is answered.
            None => unreachable!("a commit was taken from the queue and not answered"),
        }
    }
}

impl Store {
    /// Refuses while frozen, stalled or forked, and unless this node's entries count.
    pub(super) fn writable(&self) -> Result<()> {
        match self.taken_away().or_else(|| self.stalled.read().clone()) {
            None => Ok(()),
            Some(why) => Err(StoreError::ReadOnly { store: self.id, why }),
        }
    }

    /// Why this node may not write, but for what it can't understand: the store is frozen, the node is forked or no member.
    pub(super) fn taken_away(&self) -> Option<String> {
        let why = self.frozen.read().clone().or_else(|| self.forked.read().clone());
        why.or_else(|| self.view.members.why_not(&self.identity.node_id()))
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
        let mut frozen = self.frozen.write();
        if frozen.is_none() {
            let why = why.into();
            tracing::error!(store = %self.id, why, "the store takes no more writes");
            *frozen = Some(why);
        }
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
    pub(super) fn announce<'a>(
        &self,
        entries: impl Iterator<Item = (&'a Entry, &'a Position)>,
        origin: u64,
        overlay_bytes: usize,
    ) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.work.dirty(overlay_bytes);
        self.published.nudge();
        if self.watchers.load(Ordering::Acquire) > 0 {
            *self.arrived.0.lock() += 1;
            self.arrived.1.notify_all();
        }
        let live = self.live.lock();
        if live.iter().any(|queue| queue.wants(origin)) {
            let (ours, left_out) = (self.identity.node_id(), self.left_out.load(Ordering::Acquire));
            for (entry, position) in entries {
                let event = Arc::new(Event::of(entry, position, ours, left_out));
                for queue in live.iter().filter(|q| q.wants(origin)) {
                    queue.push(event.clone());
                }
            }
        }
    }

    /// Waits while the overlay is over its cap.
    pub(super) fn back_pressure(&self) {
        if self.view.overlay.read().bytes() > MAX_OVERLAY {
            self.work.drained(|| self.frozen.read().is_some());
        }
    }
}
