//! A store in a directory that can't be written: opened on a [`ScratchDisk`], so that what an opening changes (a torn
//! tail is cut, the log is replayed, staged files are promoted) is done in memory, and then frozen. Reads see what a
//! writable opening would show; nothing on the disk is touched, and no thread runs behind it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::disk::ScratchDisk;
use crate::id::StoreId;

use super::core::Store;
use super::error::Result;
use super::handle::Handle;
use super::open::{OpenOptions, open};

/// Why such a store takes no writes.
pub const READ_ONLY: &str = "the data directory is read-only";

/// Opens the store in `dir` without changing anything there. Takes memory for what the log has beyond the state file,
/// 8 seconds of writing at most after a crash; for the whole state where its file is missing or of an older version.
pub fn open_read_only(dir: &Path, id: StoreId, options: &OpenOptions) -> Result<Handle> {
    let disk = ScratchDisk::new(options.disk.clone());
    let options = OpenOptions { disk: Arc::new(disk.clone()), background: false, ..options.clone() };
    let handle = open(dir, id, &options)?;
    // No thread does it, and what follows would wait for room in the overlay.
    handle.maintain(false)?;
    if let Err(e) = handle.recover_staged() {
        tracing::warn!(store = %id, "files that were written last can't be shown: {e}");
    }
    handle.maintain(false)?;
    handle.store.end_writes();
    disk.seal();
    tracing::info!(store = %id, memory = disk.memory(), "opened for reading only: {READ_ONLY}");
    Ok(handle)
}

impl Store {
    /// Nothing more goes into log or state, and closing has nothing to do.
    fn end_writes(&self) {
        *self.applying.lock() = true;
        self.reading_only.store(true, Ordering::Release);
        self.frozen.write().get_or_insert_with(|| READ_ONLY.into());
    }
}
