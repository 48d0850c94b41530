//! Which chunks are fetched in the background: those that peers' entries name, or in a store that is on demand, those that
//! pinned files hold ([`crate::store::Policy`]). A thread per store follows its log from where everything before is known to
//! be here; the place is kept in a local file, with the policy that it was reached under: under another one it begins anew.
//!
//! Where nothing is lacking of what the files of the store show, it says so ([`Local::whole`]), and the sessions tell the
//! peers. It never says so before the bytes are durable, and not where something was passed over that isn't here.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::local::{Local, TICK};
use super::wanted::Urgency;
use super::{Shared, files};
use crate::entry::{Content, Op, Value};
use crate::id::ChunkId;
use crate::key::Key;
use crate::merge::EntryRef;
use crate::store::{Cursor, Event, Fetch, Policy};

/// Contents under way at a time. What is behind them waits in the log.
const UNDER_WAY: usize = 64;
/// Chunks that are wanted, beyond which no further content is looked at.
const MANY: usize = 4096;
/// How long it sleeps while something is under way.
const UNDER_WAY_TICK: Duration = Duration::from_millis(20);
/// How often the place is written down.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// Follows a store's log until it closes.
pub(super) fn follow(shared: &Arc<Shared>, local: &Arc<Local>) {
    let path = shared.dir.join(format!("content-{}", local.handle.id()));
    let policy = local.handle.policy();
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let (cursor, under) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
    let passed_over = under == name(&policy, true);
    let known = passed_over || under == name(&policy, false);
    // With other members than there were, what had been superseded may be shown again.
    let now = local.handle.watch(None).cursor();
    let since = cursor.parse::<Cursor>().ok().filter(|at| known && at.agrees(&now));
    let mut follower = Follower {
        local,
        path,
        policy,
        under_way: VecDeque::new(),
        early: Vec::new(),
        read: since.unwrap_or_default(),
        saved: since,
        saved_at: Instant::now(),
        passed_over: passed_over && since.is_some(),
        unreadable: None,
        anew: local.handle.made_anew(),
        looked: 0,
        unsynced: true,
    };
    while follower.run() {
        follower.begin_anew();
    }
    follower.save();
}

/// Names a policy; the default one has no name.
fn digest(policy: &Policy) -> String {
    if policy.fetch == Fetch::Eager {
        return String::new();
    }
    let mut hasher = blake3::Hasher::new();
    for pin in &policy.pins {
        hasher.update(&(pin.as_bytes().len() as u64).to_le_bytes()).update(pin.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

/// The policy, and whether anything was passed over under it.
fn name(policy: &Policy, passed_over: bool) -> String {
    match (digest(policy), passed_over) {
        (digest, false) if digest.is_empty() => digest,
        (digest, false) => format!("{digest} whole"),
        (digest, true) => format!("{digest} part"),
    }
}

struct Follower<'a> {
    local: &'a Arc<Local>,
    path: PathBuf,
    policy: Arc<Policy>,
    under_way: VecDeque<UnderWay>,
    /// Of groups that are not whole yet.
    early: Vec<UnderWay>,
    /// Up to here events were read.
    read: Cursor,
    saved: Option<Cursor>,
    saved_at: Instant,
    /// The policy left something out that isn't here.
    passed_over: bool,
    /// Before the first entry whose content could not be looked at.
    unreadable: Option<Cursor>,
    /// How often the state had been made anew when this began.
    anew: u64,
    /// The tips by which it was last looked whether what is under way is still shown.
    looked: u64,
    /// Content has come, or may have, since it was last flushed.
    unsynced: bool,
}

/// A content that is not all here.
#[derive(Debug)]
struct UnderWay {
    /// Before the entry that names it.
    after: Cursor,
    key: Key,
    entry: EntryRef,
    content: Content,
    /// What was missing when last looked at, and may have come.
    chunks: Vec<ChunkId>,
}

impl Follower<'_> {
    /// Until the store closes; true: until its policy has changed.
    fn run(&mut self) -> bool {
        let mut watch = self.local.handle.watch(Some(self.read));
        while !self.local.stop.is_cancelled() && !watch.closed() {
            if self.local.handle.made_anew() != self.anew {
                return true;
            }
            let policy = self.local.handle.policy();
            if !Arc::ptr_eq(&self.policy, &policy) {
                if digest(&self.policy) != digest(&policy) {
                    return true;
                }
                self.policy = policy;
            }
            self.settle();
            let tips = self.local.handle.published();
            self.look_again(tips.generation());
            if self.under_way.len() >= UNDER_WAY || self.local.wanted.len() >= MANY {
                self.local.wanted.pause(TICK);
                continue;
            }
            match watch.next(Duration::ZERO) {
                Ok(Some(event)) => self.take(&event),
                // All that these tips name has been looked at. What comes next is published before long.
                Ok(None) => {
                    self.tell(tips.generation());
                    let patience = if self.under_way.is_empty() { TICK } else { UNDER_WAY_TICK };
                    let began = Instant::now();
                    if self.local.handle.wait_published(&tips, patience).is_none()
                        && began.elapsed() < patience
                    {
                        // It has closed, and will be told to stop.
                        self.local.wanted.pause(patience);
                    }
                }
                Err(e) => {
                    tracing::warn!(store = %self.local.handle.id(), "its log can't be followed: {e}");
                    return false;
                }
            }
            if self.saved_at.elapsed() > SAVE_EVERY {
                self.save();
            }
        }
        false
    }

    /// What was passed over may be wanted now, and what is wanted may not be.
    fn begin_anew(&mut self) {
        self.policy = self.local.handle.policy();
        self.local.wanted.forget_eager();
        self.under_way.clear();
        self.early.clear();
        self.read = Cursor::default();
        self.saved = None;
        self.passed_over = false;
        self.unreadable = None;
        self.anew = self.local.handle.made_anew();
    }

    fn take(&mut self, event: &Event) {
        let after = std::mem::replace(&mut self.read, event.cursor);
        // This node's own entries, too: it may have got them back from others.
        for op in event.ops.iter() {
            let Op::Put { key, node, .. } = op else { continue };
            let Value::File(content @ (Content::Chunks(_) | Content::Manifest { .. })) = &node.value else {
                continue;
            };
            let (key, entry, content) = (key.clone(), event.entry, content.clone());
            self.look(UnderWay { after, key, entry, content, chunks: Vec::new() });
        }
    }

    /// What has been superseded meanwhile is fetched when somebody reads it.
    fn look(&mut self, found: UnderWay) {
        // The log shows an entry before it is applied, and the first of a group long before.
        let open = self.local.handle.group_is_open(&found.entry.author);
        if !self.is_shown(&found) {
            self.early.extend(open.then_some(found));
        } else if self.policy.fetches(&found.key) {
            self.want(found);
        } else {
            let missing = self.local.handle.content().missing(&found.content);
            self.passed_over |= !missing.is_ok_and(|chunks| chunks.is_empty());
        }
    }

    /// Whether it is still one of its key's versions.
    fn is_shown(&mut self, content: &UnderWay) -> bool {
        match self.local.handle.get(&content.key) {
            Ok(record) => record.is_some_and(|r| r.heads.iter().any(|h| h.entry.id == content.entry.id)),
            Err(_) => {
                self.unreadable.get_or_insert(content.after);
                false
            }
        }
    }

    /// By newer tips: what came early may be shown now. And what is under way and has been superseded may be nobody's any
    /// more, and is not waited for.
    fn look_again(&mut self, generation: u64) {
        if std::mem::replace(&mut self.looked, generation) == generation {
            return;
        }
        for content in std::mem::take(&mut self.early) {
            self.look(content);
        }
        if self.under_way.is_empty() {
            return;
        }
        let mut dropped = Vec::new();
        for content in std::mem::take(&mut self.under_way) {
            if self.is_shown(&content) {
                self.under_way.push_back(content);
            } else {
                dropped.extend(content.chunks);
            }
        }
        let still: BTreeSet<_> = self.under_way.iter().flat_map(|c| c.chunks.iter()).collect();
        dropped.retain(|id| !still.contains(id));
        self.local.wanted.forget(&dropped, Urgency::Eager);
    }

    /// Says that nothing is lacking of what these tips amount to, if that is so.
    fn tell(&mut self, generation: u64) {
        let handle = &self.local.handle;
        if !self.under_way.is_empty() || self.passed_over || self.unreadable.is_some() {
            return;
        }
        if handle.is_stalled() || handle.made_anew() != self.anew {
            return;
        }
        if std::mem::take(&mut self.unsynced) && handle.content().sync().is_err() {
            self.unsynced = true;
            return;
        }
        self.local.whole.send_if_modified(|whole| {
            let more = *whole < Some(generation);
            if more {
                *whole = Some(generation);
            }
            more
        });
    }

    /// Asks for what is missing of a content, if anything is.
    fn want(&mut self, mut content: UnderWay) {
        self.unsynced = true;
        match self.local.handle.content().missing(&content.content) {
            Ok(missing) if missing.is_empty() => {}
            Ok(missing) => {
                self.local.wanted.want(&missing, Urgency::Eager);
                content.chunks = missing;
                self.under_way.push_back(content);
            }
            Err(e) => {
                let store = self.local.handle.id();
                tracing::warn!(%store, "content can't be fetched: {e}");
                self.unreadable.get_or_insert(content.after);
            }
        }
    }

    /// Looks again at the contents whose chunks have all come: a manifest may name more.
    fn settle(&mut self) {
        for _ in 0..self.under_way.len() {
            let Some(mut content) = self.under_way.pop_front() else { return };
            while content.chunks.last().is_some_and(|id| !self.local.wanted.is_wanted(id)) {
                content.chunks.pop();
            }
            if content.chunks.is_empty() {
                self.want(content);
            } else {
                self.under_way.push_back(content);
            }
        }
    }

    /// Writes down up to where everything is here. The bytes first: what is written down is not looked at again.
    fn save(&mut self) {
        self.saved_at = Instant::now();
        let lacking = self.under_way.iter().chain(&self.early).map(|c| c.after);
        let done = lacking.chain(self.unreadable).min().unwrap_or(self.read);
        if self.saved == Some(done)
            || self.local.handle.is_stalled()
            || self.local.handle.content().sync().is_err()
        {
            return;
        }
        let text = format!("{done} {}", name(&self.policy, self.passed_over));
        match files::write(&self.path, format!("{}\n", text.trim_end()).as_bytes()) {
            Ok(()) => self.saved = Some(done),
            Err(e) => tracing::debug!("{} can't be written: {e}", self.path.display()),
        }
    }
}
