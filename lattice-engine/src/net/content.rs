//! Which chunks are fetched in the background: those that peers' entries name, or in a store that is on demand, those that
//! pinned files hold ([`crate::store::Policy`]). A thread per store follows its log from where everything before is known to
//! be here; the place is kept in a local file, with the policy that it was reached under: under another one it begins anew.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stores::{Local, TICK};
use super::wanted::Urgency;
use super::{Shared, files};
use crate::entry::{Content, Op, Value};
use crate::id::ChunkId;
use crate::store::{Cursor, Event, Fetch, Policy};

/// Contents under way at a time. What is behind them waits in the log.
const UNDER_WAY: usize = 64;
/// Chunks that are wanted, beyond which no further content is looked at.
const MANY: usize = 4096;
/// How often the place is written down.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// Follows a store's log until it closes.
pub(super) fn follow(shared: &Arc<Shared>, local: &Arc<Local>) {
    let path = shared.dir.join(format!("content-{}", local.handle.id()));
    let policy = local.handle.policy();
    let since = std::fs::read_to_string(&path).ok().and_then(|text| {
        let (cursor, under) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        cursor.parse::<Cursor>().ok().filter(|_| under == digest(&policy))
    });
    let mut follower = Follower {
        local,
        path,
        policy,
        under_way: VecDeque::new(),
        read: since.unwrap_or_default(),
        saved: since,
        saved_at: Instant::now(),
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

struct Follower<'a> {
    local: &'a Arc<Local>,
    path: PathBuf,
    policy: Arc<Policy>,
    under_way: VecDeque<UnderWay>,
    /// Up to here events were read.
    read: Cursor,
    saved: Option<Cursor>,
    saved_at: Instant,
}

/// A content that is not all here.
#[derive(Debug)]
struct UnderWay {
    /// Before the entry that names it.
    after: Cursor,
    content: Content,
    /// What was missing when last looked at, and may have come.
    chunks: Vec<ChunkId>,
}

impl Follower<'_> {
    /// Until the store closes; true: until its policy has changed.
    fn run(&mut self) -> bool {
        let mut watch = self.local.handle.watch(Some(self.read));
        while !self.local.stop.is_cancelled() && !watch.closed() {
            let policy = self.local.handle.policy();
            if !Arc::ptr_eq(&self.policy, &policy) {
                if digest(&self.policy) != digest(&policy) {
                    return true;
                }
                self.policy = policy;
            }
            self.settle();
            if self.under_way.len() >= UNDER_WAY || self.local.wanted.len() >= MANY {
                self.local.wanted.pause(TICK);
                continue;
            }
            let patience = if self.under_way.is_empty() { TICK } else { Duration::from_millis(20) };
            match watch.next(patience) {
                Ok(Some(event)) => self.take(&event),
                Ok(None) => {}
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
        self.read = Cursor::default();
        self.saved = None;
    }

    fn take(&mut self, event: &Event) {
        let after = std::mem::replace(&mut self.read, event.cursor);
        if event.local {
            return;
        }
        for op in event.ops.iter() {
            let Op::Put { key, node, .. } = op else { continue };
            let Value::File(content @ (Content::Chunks(_) | Content::Manifest { .. })) = &node.value else {
                continue;
            };
            if !self.policy.fetches(key) {
                continue;
            }
            let current = self.local.handle.get(key).ok().flatten();
            // What has been superseded meanwhile is fetched when somebody reads it.
            if current.is_some_and(|r| r.heads.iter().any(|h| h.entry.id == event.entry.id)) {
                self.want(UnderWay { after, content: content.clone(), chunks: Vec::new() });
            }
        }
    }

    /// Asks for what is missing of a content, if anything is.
    fn want(&mut self, mut content: UnderWay) {
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
        let done = self.under_way.iter().map(|c| c.after).min().unwrap_or(self.read);
        if self.saved == Some(done) || self.local.handle.content().sync().is_err() {
            return;
        }
        let text = format!("{done} {}", digest(&self.policy));
        match files::write(&self.path, format!("{}\n", text.trim_end()).as_bytes()) {
            Ok(()) => self.saved = Some(done),
            Err(e) => tracing::debug!("{} can't be written: {e}", self.path.display()),
        }
    }
}
