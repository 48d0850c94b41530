//! Making appends durable: whoever asks while a flush runs waits for the next one and shares it. After one failed flush
//! every later one fails too, because the kernel may have dropped what it could not write.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

use super::error::{ContentError, Result, io_at};
use super::packs::Pack;
use crate::disk::{Disk, DiskFile};

/// Open handles that wait for a flush; beyond this an adoption flushes first.
pub(super) const MAX_DIRTY: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Syncer {
    state: Mutex<State>,
    done: Condvar,
}

/// Per pack: the files to flush, each once.
type Dirty = BTreeMap<u64, (Arc<Pack>, Vec<Arc<dyn DiskFile>>)>;

#[derive(Debug, Default)]
struct State {
    dirty: Dirty,
    dir: bool,
    /// Counts what was made dirty; everything up to `synced` is on disk.
    written: u64,
    synced: u64,
    running: bool,
    poisoned: Option<String>,
}

impl Syncer {
    /// Bytes were written to `pack`; with `dir`, a name in the directory changed too.
    pub fn wrote(&self, pack: &Arc<Pack>, file: &Arc<dyn DiskFile>, dir: bool) {
        let mut state = self.state.lock();
        state.written += 1;
        state.dir |= dir;
        let (_, files) = state.dirty.entry(pack.id).or_insert_with(|| (pack.clone(), Vec::new()));
        if !files.iter().any(|f| Arc::ptr_eq(f, file)) {
            files.push(file.clone());
        }
    }

    /// A name in the directory changed.
    pub fn renamed(&self) {
        let mut state = self.state.lock();
        state.written += 1;
        state.dir = true;
    }

    /// The pack's file is gone: there is nothing to flush.
    pub fn forget(&self, pack: u64) {
        self.state.lock().dirty.remove(&pack);
    }

    pub fn dirty(&self) -> usize {
        self.state.lock().dirty.len()
    }

    /// An error if a flush failed before.
    pub fn check(&self) -> Result<()> {
        match &self.state.lock().poisoned {
            Some(why) => Err(ContentError::Poisoned { why: why.clone() }),
            None => Ok(()),
        }
    }

    /// Everything written before the call is on disk when it returns.
    pub fn sync(&self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        let mut state = self.state.lock();
        let want = state.written;
        loop {
            if let Some(why) = &state.poisoned {
                return Err(ContentError::Poisoned { why: why.clone() });
            }
            if state.synced >= want {
                return Ok(());
            }
            if !state.running {
                break;
            }
            self.done.wait(&mut state);
        }
        state.running = true;
        let (dirty, dirs, target) =
            (std::mem::take(&mut state.dirty), std::mem::take(&mut state.dir), state.written);
        drop(state);
        let result = flush(disk, dir, &dirty, dirs);
        let mut state = self.state.lock();
        state.running = false;
        match &result {
            Ok(()) => state.synced = target,
            Err(e) => state.poisoned = Some(e.to_string()),
        }
        drop(state);
        self.done.notify_all();
        result
    }
}

fn flush(disk: &dyn Disk, dir: &Path, dirty: &Dirty, dirs: bool) -> Result<()> {
    let mut flushed = Vec::with_capacity(dirty.len());
    for (pack, files) in dirty.values() {
        // Read before the flush: what is appended meanwhile is not covered.
        let len = pack.len();
        for file in files {
            file.sync_data().map_err(io_at("flush", &pack.path(dir)))?;
        }
        flushed.push((pack, len));
    }
    if dirs {
        disk.sync_dir(dir).map_err(io_at("flush the directory", dir))?;
    }
    // Only now: a pack whose name is not on disk is not durable.
    for (pack, len) in flushed {
        pack.set_synced(len);
    }
    Ok(())
}
