//! Opening a store: the log is checked, the packs are indexed, and what redb lacks is replayed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use parking_lot::{Mutex, RwLock};

use crate::chain::Tip;
use crate::clock::Clock;
use crate::content::ContentStore;
use crate::disk::Disk;
use crate::entry::{self, Decoded, Entry};
use crate::hlc::{Hlc, HlcClock};
use crate::id::{EntryId, NodeId, StoreId};
use crate::identity::Identity;
use crate::log::{Log, LogOptions, LogReader, Position, Record as LogRecord, RecordRef};
use crate::state::{Overlay, State};
use crate::sync::Mark;

use super::apply::{Applier, project, unrouted};
use super::branches::{self, Branches};
use super::bring::Ahead;
use super::core::Store;
use super::error::{Result, StoreError};
use super::forks::{Forks, forked_by};
use super::govern::{Authority, Governed};
use super::groups;
use super::handle::Handle;
use super::intent;
use super::lost;
use super::policy::Policies;
use super::unsynced::Unsynced;
use super::view::View;
use super::work::Work;
use super::writer::{Chains, Writer};

/// What a store needs from its node.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    pub disk: Arc<dyn Disk>,
    pub identity: Arc<Identity>,
    pub clock: Arc<dyn Clock>,
    /// Without it the caller turns the store over itself: for simulations.
    pub background: bool,
    /// Whose entries count.
    pub authority: Authority,
}

/// Makes a new store in `parent`, in a directory named by its id, and opens it.
pub fn create(parent: &Path, options: &OpenOptions) -> Result<Handle> {
    let now = Hlc::new(options.clock.now_ms(), 0);
    let genesis = entry::genesis(&options.identity, now, Vec::new())?;
    begin(parent, &genesis, options, true)
}

/// Makes the directory of a store that begins with `genesis`: a new one, or one that a bundle or a peer brings.
pub fn adopt(parent: &Path, genesis: &Entry, options: &OpenOptions) -> Result<Handle> {
    begin(parent, genesis, options, false)
}

fn begin(parent: &Path, genesis: &Entry, options: &OpenOptions, made_here: bool) -> Result<Handle> {
    let id = StoreId::of_genesis(&genesis.id);
    let dir = parent.join(id.to_string());
    let failed = |what: &str| StoreError::io(format!("cannot {what} {}", dir.display()));
    options.disk.create_dir_all(&dir).map_err(failed("make"))?;
    let log_dir = dir.join("log");
    let (mut log, _) = Log::open(options.disk.clone(), &log_dir, id, LogOptions::default(), None)
        .map_err(StoreError::Log)?;
    let record = RecordRef::Entry {
        header: &genesis.header_bytes,
        payload: &genesis.payload_bytes,
        signature: genesis.signature.as_ref(),
    };
    log.append(&[record]).map_err(StoreError::Log)?;
    log.close().map_err(StoreError::Log)?;
    options.disk.sync_dir(&dir).map_err(failed("sync"))?;
    options.disk.sync_dir(parent).map_err(failed("sync"))?;
    open_dir(&dir, id, options, made_here)
}

/// A state that `fsck --rebuild` found to differ: it replaces the old one at the next opening.
pub(super) const NEXT_STATE: &str = "state.next";

/// Opens the store in `dir`.
pub fn open(dir: &Path, id: StoreId, options: &OpenOptions) -> Result<Handle> {
    open_dir(dir, id, options, false)
}

fn open_dir(dir: &Path, id: StoreId, options: &OpenOptions, made_here: bool) -> Result<Handle> {
    let disk = &options.disk;
    let next = dir.join(NEXT_STATE);
    if disk.exists(&next) {
        disk.rename(&next, &dir.join("state.redb"))
            .map_err(StoreError::io(format!("cannot use {}", next.display())))?;
    }
    let state = State::open(disk, &dir.join("state.redb"))?;
    let applied = state.read()?.applied()?.to;
    let (mut log, recovery) = Log::open(disk.clone(), &dir.join("log"), id, LogOptions::default(), applied)
        .map_err(StoreError::Log)?;
    if let Some(cut) = recovery.cut {
        tracing::warn!(store = %id, segment = cut.segment, bytes = cut.bytes, "cut the log's torn tail");
    }
    let promised = recovery.vouched.max(applied.map_or(recovery.vouched, |at| at.end()));
    let state = Arc::new(state);
    let (content, recovery) = ContentStore::open(disk.clone(), dir, state.clone())?;
    for finding in &recovery.findings {
        tracing::warn!(store = %id, "{finding}");
    }
    let author = options.identity.node_id();
    lost::cut(&mut log, &content, &author, promised, &**disk, dir)?;
    // What has survived a kill is to survive a power loss before anything is appended or told of.
    let unsynced = Arc::new(Unsynced::default());
    lost::sync_named_first(&log, disk, &content, &unsynced);
    content.sync()?;
    let genesis = read_genesis(&log.reader(), id)?;
    let members = Governed::new(&options.authority, genesis.entry_ref(), &log.reader())?;
    let branches = Branches::new(state.branches()?);
    let view = View::new(state, log.reader(), members, branches);
    let (chains, applied) = resume(&view)?;
    let syncer = log.syncer();
    let mut writer = Writer {
        log,
        store: id,
        author,
        genesis: Tip::of(&genesis),
        clock: HlcClock::default(),
        chains: Chains { signed: signed(&chains.tips, &author), ..chains },
    };
    let hooks = Hooks { flush: &|| flush(&view) };
    let stalled = replay_all(&view, &mut writer.chains, &author, applied, &hooks)?.stalled;
    let left_out = writer.chains.left_out();
    // The high-water mark of our clock is our chain's tip: nothing of ours is later.
    writer.clock = HlcClock::starting_at(writer.tip().hlc);
    let forks = Forks::load(&**disk, dir, id);
    let branch = view.branches.read().forked_at(&author);
    let forked = forks.of(&author).map(|proof| proof.seq).or(branch).map(forked_by);
    let store = Arc::new(Store {
        id,
        genesis: genesis.id,
        dir: dir.to_path_buf(),
        disk: disk.clone(),
        identity: options.identity.clone(),
        clock: options.clock.clone(),
        view,
        content,
        writer: Mutex::new(writer),
        queue: Mutex::default(),
        syncer,
        signing: Mutex::default(),
        signatures: Mutex::default(),
        applying: Mutex::new(false),
        work: Work::default(),
        watchers: Default::default(),
        arrived: Default::default(),
        made_anew: Default::default(),
        left_out: AtomicU32::new(left_out),
        generation: Default::default(),
        finished: Default::default(),
        live: Mutex::default(),
        network: RwLock::default(),
        policy: Policies::load(&**disk, dir)?,
        ahead: Ahead::default(),
        frozen: RwLock::default(),
        reading_only: AtomicBool::new(false),
        thread: Mutex::default(),
        stalled: RwLock::new(stalled),
        forked: RwLock::new(forked),
        forks,
        published: Default::default(),
        hold: Default::default(),
        made_here,
        unsynced,
        members_changed: Default::default(),
        orphans: Mutex::default(),
    });
    if store.view.branches.read().authors().next().is_some() {
        // Acts were folded before it was known which branch each is of.
        store.view.members.forked();
        store.refold()?;
    }
    let weak = Arc::downgrade(&store);
    store.view.state.door(move || {
        let store = weak.upgrade().ok_or("the store is closed")?;
        Ok(store.make_durable()?)
    });
    store.publish_opened()?;
    if options.background {
        let worker = store.clone();
        let thread = std::thread::Builder::new()
            .name(format!("store-{}", id.short()))
            .spawn(move || Store::run_background(&worker))
            .map_err(StoreError::io("cannot start the store's thread"))?;
        *store.thread.lock() = Some(thread);
        store.work.dirty(0);
    }
    Ok(Handle::new(store))
}

/// What the state knows, and up to which record. A state that was made with other members than there are now is emptied:
/// the whole log is replayed then.
fn resume(view: &View) -> Result<(Chains, Option<Position>)> {
    let read = view.state.read()?;
    let tips: HashMap<_, _> = read
        .tips()?
        .into_iter()
        .map(|(author, t)| (author, Tip { seq: t.seq, id: t.id, hlc: t.hlc }))
        .collect();
    let next_intent = read.intents()?.last().map_or(1, |(id, _)| id + 1);
    let applied = read.applied()?.to;
    drop(read);
    let membership = view.members.current();
    let limits = view.limits_by(&membership)?;
    let due = view.cuts_by((&membership, &limits), tips.iter())?;
    view.members.set(membership, Arc::new(limits));
    let cuts = view.state.cuts()?;
    if due.into_iter().eq(cuts.iter().map(|(author, cut)| (*author, cut.upto))) {
        let mut open_groups = HashMap::new();
        for (chain, tip) in tips.iter().filter(|(_, tip)| tip.seq > 0) {
            open_groups.extend(groups::reopen(view, chain, tip)?.map(|group| (*chain, group)));
        }
        return Ok((Chains { tips, cuts, next_intent, open_groups, ..Chains::default() }, applied));
    }
    tracing::info!("members have changed since the state was made: it is made anew from the log");
    view.state.clear()?;
    *view.branches.write() = Branches::default();
    Ok((Chains { next_intent: 1, ..Chains::default() }, None))
}

/// [`replay`], and once more where only its end tells what a forked author's last entry that counts comes after.
fn replay_all(
    view: &View,
    chains: &mut Chains,
    ours: &NodeId,
    after: Option<Position>,
    hooks: &Hooks<'_>,
) -> Result<Replayed> {
    let signed = chains.signed;
    let replayed = replay(view, chains, ours, after, hooks)?;
    let membership = view.members.current();
    let limits = view.limits_by(&membership)?;
    if limits == *view.members.limits() {
        return Ok(replayed);
    }
    flush(view)?;
    view.members.set(membership, Arc::new(limits));
    view.state.clear()?;
    *view.overlay.write() = Overlay::default();
    *view.branches.write() = Branches::default();
    *chains = Chains { next_intent: 1, signed, ..Chains::default() };
    replay(view, chains, ours, None, hooks)
}

/// Our last entry in the state: what it holds durably was signed before.
fn signed(tips: &HashMap<NodeId, Tip>, author: &NodeId) -> Option<Mark> {
    tips.get(author).filter(|tip| tip.seq > 0).map(|tip| Mark { seq: tip.seq, id: tip.id })
}

/// The log's first record, which names the store.
fn read_genesis(log: &LogReader, id: StoreId) -> Result<Entry> {
    let damaged = |why: &str| {
        StoreError::Refused(format!(
            "the log of store {id} doesn't begin with its genesis ({why}): run `lattice fsck`"
        ))
    };
    match log.scan(None).next() {
        Some(Ok((_, LogRecord::Entry { header, payload, signature }))) => {
            let (Decoded::Known(entry) | Decoded::Unknown { entry, .. }) =
                Entry::decode(header, payload, signature)?;
            if entry.header.prev != EntryId::ZERO || StoreId::of_genesis(&entry.id) != id {
                return Err(damaged("another store's entry stands there"));
            }
            Ok(entry)
        }
        Some(Ok(_)) => Err(damaged("another record stands there")),
        Some(Err(e)) => Err(StoreError::Log(e)),
        None => Err(damaged("it is empty")),
    }
}

/// Moved into redb at a time while replaying.
const REPLAY_BYTES: usize = 8 << 20;

/// What a replay asks of its caller.
pub(super) struct Hooks<'a> {
    /// Called when the overlay has grown large.
    pub flush: &'a dyn Fn() -> Result<()>,
}

/// How a replay ended.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    /// Why the projection stands still, if it does: the chains have gone on, the records haven't.
    pub stalled: Option<String>,
}

/// Applies what the log has after `after`.
pub(super) fn replay(
    view: &View,
    chains: &mut Chains,
    ours: &NodeId,
    after: Option<Position>,
    hooks: &Hooks<'_>,
) -> Result<Replayed> {
    let mut stalled = None;
    for record in view.log.scan(after) {
        let (position, record) = record.map_err(StoreError::Log)?;
        match record {
            LogRecord::Entry { header, payload, signature } => {
                let unsigned = signature.is_none();
                let (entry, why) = match Entry::decode(header, payload, signature)? {
                    Decoded::Known(entry) => {
                        let why = unrouted(&entry);
                        (entry, why)
                    }
                    Decoded::Unknown { entry, why } => (entry, Some(why.to_string())),
                };
                if unsigned && entry.header.author == *ours {
                    chains.unsigned.push_back((entry.header.seq, entry.id));
                }
                let (chain, branch) = branches::replaying(view, chains, &entry)?;
                let counts = view.members.counts(&chain, &entry.entry_ref());
                if let Some(why) = why.filter(|_| counts) {
                    stalled.get_or_insert_with(|| stall(&entry, &why));
                }
                if entry.header.author == *ours && !unsigned {
                    chains.signed = Some(Mark { seq: entry.header.seq, id: entry.id });
                }
                let mut applier = Applier::new(view);
                if let Some(branch) = branch {
                    applier.branch(chain, branch);
                }
                if stalled.is_some() {
                    applier.note(chains, chain, &entry, position);
                } else {
                    project(&mut applier, chains, chain, &entry, position)?;
                }
                applier.finish();
            }
            LogRecord::Signatures { author, list } if author == *ours => {
                // In order, and each after its entry: those at the front are signed.
                let last = list.last().map_or(0, |(seq, _)| *seq);
                while let Some((seq, id)) = chains.unsigned.front().copied().filter(|(seq, _)| *seq <= last) {
                    chains.unsigned.pop_front();
                    chains.signed = Some(Mark { seq, id });
                }
            }
            LogRecord::Intent { body } => {
                let id = intent::id_of(&body);
                chains.next_intent = chains.next_intent.max(id + 1);
                let mut overlay = view.overlay.write();
                overlay.put_intent(id, Some(body));
                overlay.publish(Some(position).filter(|_| stalled.is_none()));
            }
            LogRecord::IntentDone { id } => {
                let mut overlay = view.overlay.write();
                overlay.put_intent(id, None);
                overlay.publish(Some(position).filter(|_| stalled.is_none()));
            }
            LogRecord::Signatures { .. } | LogRecord::Unknown { .. } => {}
        }
        if view.overlay.read().bytes() > REPLAY_BYTES {
            (hooks.flush)()?;
        }
    }
    Ok(Replayed { stalled })
}

pub(super) fn flush(view: &View) -> Result<()> {
    let snapshot = view.overlay.read().snapshot();
    view.state.apply(&snapshot, false)?;
    view.overlay.write().forget(&snapshot);
    Ok(())
}

pub(super) fn stall(entry: &Entry, why: &dyn std::fmt::Display) -> String {
    format!("entry {} of {} can't be applied here: {why}", entry.id.short(), entry.header.author.short())
}
