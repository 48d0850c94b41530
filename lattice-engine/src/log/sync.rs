//! Group commit: callers who wait at the same time share one `fdatasync`. The first failed one is the last: after it
//! nothing can be said of what the disk holds, so every later sync and append is refused.
//!
//! What records name is made durable before them ([`Syncer::first`]), in every sync, whoever asked for it.

use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use parking_lot::{Condvar, Mutex};

use super::segment::SegmentFile;
use super::{End, LogError};

/// Makes appended records durable. Clones share one state; any thread may call.
#[derive(Debug, Clone)]
pub struct Syncer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// A sync ended.
    ended: Condvar,
    first: First,
}

/// Makes durable what the log's records name.
type SyncNamed = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

#[derive(Default)]
struct First(OnceLock<SyncNamed>);

impl std::fmt::Debug for First {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("First")
    }
}

#[derive(Debug)]
struct State {
    current: SegmentFile,
    end: End,
    durable: End,
    /// Someone is in `fdatasync`; it covers what was appended before it began, no more.
    syncing: bool,
    poisoned: Option<Arc<str>>,
}

impl State {
    fn usable(&self) -> Result<(), LogError> {
        match &self.poisoned {
            None => Ok(()),
            Some(why) => Err(LogError::Poisoned { why: why.clone() }),
        }
    }
}

impl Syncer {
    /// A log that ends at `end`, all of it durable.
    pub(super) fn new(current: SegmentFile, end: End) -> Self {
        let state = State { current, end, durable: end, syncing: false, poisoned: None };
        let first = First::default();
        Self { shared: Arc::new(Shared { state: Mutex::new(state), ended: Condvar::new(), first }) }
    }

    /// What has to succeed before each sync of the log. To be said once, before the first append; it must not append.
    pub fn first(&self, sync_named: impl Fn() -> Result<(), String> + Send + Sync + 'static) {
        // A second one would come from a second store over one log, which its lock rules out.
        let _ = self.shared.first.0.set(Box::new(sync_named));
    }

    /// Returns when everything before `end` is durable; at once if it is already. Blocks for at most the sync that is
    /// running and one more.
    ///
    /// # Errors
    /// [`LogError::Poisoned`] if this or any earlier sync failed.
    pub fn sync_to(&self, end: End) -> Result<(), LogError> {
        let mut state = self.shared.state.lock();
        loop {
            state.usable()?;
            if end <= state.durable {
                return Ok(());
            }
            if end > state.end {
                return Err(LogError::NotAppended { asked: end, end: state.end });
            }
            if state.syncing {
                self.shared.ended.wait(&mut state);
                continue;
            }
            let (current, target) = (state.current.clone(), state.end);
            state.syncing = true;
            drop(state);
            // IMPORTANT: after `target` was read. What is appended meanwhile may reach the disk as well, but doesn't count
            // as durable: what it names may have come too late for this.
            let named = self.shared.first.0.get().map_or(Ok(()), |sync_named| sync_named());
            let synced = named.and_then(|()| current.file.sync_data().map_err(|e| failed(&current.path, &e)));
            state = self.shared.state.lock();
            state.syncing = false;
            match synced {
                Ok(()) => state.durable = state.durable.max(target),
                Err(why) => poison(&mut state, why),
            }
            self.shared.ended.notify_all();
        }
    }

    /// Everything before this survives a power loss.
    pub fn durable_end(&self) -> End {
        self.shared.state.lock().durable
    }

    /// Everything before this was written and survives the process.
    pub fn end(&self) -> End {
        self.shared.state.lock().end
    }

    /// For the writer, before an append: how far the log is durable.
    pub(super) fn begin(&self) -> Result<End, LogError> {
        let state = self.shared.state.lock();
        state.usable()?;
        Ok(state.durable)
    }

    /// For the writer: records up to `end` were written.
    pub(super) fn appended(&self, end: End) {
        self.shared.state.lock().end = end;
    }

    /// For the writer: `current` was made, is empty and durable, and so is all before it.
    pub(super) fn rolled(&self, current: SegmentFile, end: End) {
        let mut state = self.shared.state.lock();
        state.current = current;
        state.end = end;
        state.durable = end;
    }

    /// For the writer: a sync of its own failed.
    pub(super) fn poison(&self, path: &Path, error: &io::Error) -> LogError {
        let mut state = self.shared.state.lock();
        poison(&mut state, failed(path, error));
        self.shared.ended.notify_all();
        let why = state.poisoned.clone().unwrap_or_default();
        LogError::Poisoned { why }
    }
}

fn failed(path: &Path, error: &io::Error) -> String {
    format!("syncing {} failed: {error}", path.display())
}

fn poison(state: &mut State, why: String) {
    state.poisoned.get_or_insert_with(|| why.into());
}
