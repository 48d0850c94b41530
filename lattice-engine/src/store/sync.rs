//! Durability: what `fsync` waits for.

use std::sync::atomic::Ordering;

use crate::log::{End, LogError};

use super::core::Store;
use super::error::{Result, StoreError};

impl Store {
    /// Everything committed before is signed and on disk when it returns.
    pub(super) fn sync(&self) -> Result<()> {
        if self.reading_only.load(Ordering::Acquire) {
            return Ok(());
        }
        // Where nothing new may be written, what was is synced all the same.
        self.thawed()?;
        self.sign_all()?;
        let end = self.writer.lock().log.end();
        self.flush_to(end)
    }

    /// As [`Self::sync`], and the log says so from then on: whatever becomes of the state, an opening knows that this much
    /// was promised, and asks no more whether a crash has taken its content. The record itself isn't synced.
    pub(super) fn vouch(&self) -> Result<()> {
        self.sync()?;
        if self.reading_only.load(Ordering::Acquire) {
            return Ok(());
        }
        let vouched = self.writer.lock().log.vouch();
        match vouched {
            // A full disk keeps nobody from closing, or from collecting what can go.
            Ok(()) | Err(LogError::NotWritten { .. }) => Ok(()),
            Err(e) => {
                let e = StoreError::Log(e);
                self.freeze_on(&e);
                Err(e)
            }
        }
    }

    /// The log up to `end` is on disk when it returns, and what it names before it: content first. Callers that wait
    /// together share the disk's flushes. A failure freezes the store: what could not be written may already be gone from
    /// memory, so trying again could only pretend.
    ///
    /// The log's syncer does the same to content, and finds nothing left to do. But it does nothing at all where the log is on
    /// disk already, and content may have come since: fetched for entries that were here before it.
    pub(super) fn flush_to(&self, end: End) -> Result<()> {
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
