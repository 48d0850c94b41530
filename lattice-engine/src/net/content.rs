//! Which chunks are fetched in the background: those that peers' entries name. A thread per store follows its log from
//! where everything before is known to be here; the place is kept in a local file.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stores::{Local, TICK};
use super::wanted::Urgency;
use super::{Shared, files};
use crate::entry::{Content, Op, Value};
use crate::id::ChunkId;
use crate::store::{Cursor, Event};

/// Contents under way at a time. What is behind them waits in the log.
const UNDER_WAY: usize = 64;
/// Chunks that are wanted, beyond which no further content is looked at.
const MANY: usize = 4096;
/// How often the place is written down.
const SAVE_EVERY: Duration = Duration::from_secs(5);

/// Follows a store's log until it closes.
pub(super) fn follow(shared: &Arc<Shared>, local: &Arc<Local>) {
    let path = shared.dir.join(format!("content-{}", local.handle.id()));
    let since = std::fs::read_to_string(&path).ok().and_then(|t| t.trim().parse::<Cursor>().ok());
    let mut follower = Follower {
        local,
        path,
        under_way: VecDeque::new(),
        read: since.unwrap_or_default(),
        saved: since.unwrap_or_default(),
        saved_at: Instant::now(),
    };
    follower.run();
    follower.save();
}

struct Follower<'a> {
    local: &'a Arc<Local>,
    path: PathBuf,
    under_way: VecDeque<UnderWay>,
    /// Up to here events were read.
    read: Cursor,
    saved: Cursor,
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
    fn run(&mut self) {
        let mut watch = self.local.handle.watch(Some(self.read));
        while !self.local.stop.is_cancelled() && !watch.closed() {
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
                    return;
                }
            }
            if self.saved_at.elapsed() > SAVE_EVERY {
                self.save();
            }
        }
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
        if done == self.saved || self.local.handle.content().sync().is_err() {
            return;
        }
        match files::write(&self.path, format!("{done}\n").as_bytes()) {
            Ok(()) => self.saved = done,
            Err(e) => tracing::debug!("{} can't be written: {e}", self.path.display()),
        }
    }
}
