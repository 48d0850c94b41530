//! Durability: what `fsync` waits for.

use std::sync::atomic::Ordering;

use super::core::Store;
use super::error::{Result, StoreError};

impl Store {
    /// Everything committed before is signed and on disk when it returns: content first, because entries name it.
    /// Callers that wait together share the disk's flushes. A failure freezes the store: what could not be written may
    /// already be gone from memory, so trying again could only pretend.
    pub(super) fn sync(&self) -> Result<()> {
        if self.reading_only.load(Ordering::Acquire) {
            return Ok(());
        }
        // A stalled store too: what others wrote goes on coming in.
        self.thawed()?;
        self.sign_all()?;
        let end = self.writer.lock().log.end();
        let synced = self
            .content
            .sync()
            .map_err(StoreError::Content)
            .and_then(|()| self.syncer.sync_to(end).map_err(StoreError::Log));
        synced.inspect_err(|e| {
            self.freeze(format!(
                "a sync failed ({e}). Reopen the store (unmount and mount) once the disk is well"
            ));
        })
    }
}
