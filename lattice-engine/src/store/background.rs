//! The thread behind an open store: signs what was appended, moves the overlay into redb, and makes that durable now
//! and then. It sleeps while there is nothing to do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::log::RecordRef;
use crate::state::Snapshot;
use crate::sync::Mark;

use super::core::Store;
use super::error::{Result, StoreError};

/// redb's durable commits: rare, because each costs many times the bytes that changed. A crash replays the log since.
const DURABLE_EVERY: Duration = Duration::from_secs(8);
/// Chunk locations moved to the index at a time.
const MAX_CHUNK_ROWS: usize = 4096;
/// Signed at a time: the writer's lock is taken once for each such batch.
const SIGN_BATCH: usize = 256;

impl Store {
    /// The thread's body. Ends on `stop`, or when nothing else holds the store.
    pub(super) fn run_background(store: &Arc<Store>) {
        let mut durable_at = Instant::now();
        let mut undurable = false;
        loop {
            let stop = store.work.wait(if undurable {
                DURABLE_EVERY.saturating_sub(durable_at.elapsed())
            } else {
                Duration::MAX
            });
            if stop {
                return;
            }
            let durable = undurable && durable_at.elapsed() >= DURABLE_EVERY;
            match store.turn(durable) {
                Ok(changed) => undurable = (undurable || changed) && !durable,
                // It is frozen now, and has said why.
                Err(_) => undurable = false,
            }
            if durable {
                durable_at = Instant::now();
            }
        }
    }

    /// Signs and applies what there is. True: something was applied. A failure freezes the store.
    pub(super) fn turn(&self, durable: bool) -> Result<bool> {
        self.sign_and_apply(durable).inspect_err(|e| {
            self.freeze(format!(
                "its state could not be written ({e}). Reopen the store once the disk is well; the log has everything"
            ));
        })
    }

    fn sign_and_apply(&self, durable: bool) -> Result<bool> {
        if self.frozen.read().is_none() {
            self.sign_all()?;
        }
        if durable {
            self.vouch()?;
        }
        self.apply_overlay(durable)
    }

    /// Signs every own entry that is in the log without a signature, and logs the signatures.
    pub(super) fn sign_all(&self) -> Result<()> {
        let _signing = self.signing.lock();
        loop {
            let batch: Vec<_> = {
                let writer = self.writer.lock();
                writer.chains.unsigned.iter().take(SIGN_BATCH).copied().collect()
            };
            if batch.is_empty() {
                return Ok(());
            }
            let list: Vec<(u64, [u8; 64])> =
                batch.iter().map(|(seq, id)| (*seq, self.identity.sign(id))).collect();
            let mut writer = self.writer.lock();
            let record = RecordRef::Signatures { author: self.identity.node_id(), list: &list };
            if let Err(e) = writer.log.append(&[record]) {
                let e = writer.log_error(e);
                self.freeze_on(&e);
                return Err(e);
            }
            let signed = writer.chains.unsigned.drain(..list.len()).next_back();
            writer.chains.signed = signed.map(|(seq, id)| Mark { seq, id }).or(writer.chains.signed);
        }
    }

    /// Moves the overlay into redb. A `durable` one is best after a sync, which moves the places of chunks along.
    pub(super) fn apply_overlay(&self, durable: bool) -> Result<bool> {
        let closed = self.applying.lock();
        if *closed {
            return Ok(false);
        }
        let snapshot = self.view.overlay.read().snapshot();
        self.content.index_pending(MAX_CHUNK_ROWS)?;
        if snapshot.fresh {
            self.view.state.apply(&snapshot, false)?;
            let bytes = {
                let mut overlay = self.view.overlay.write();
                overlay.forget(&snapshot);
                overlay.bytes()
            };
            self.work.applied(bytes);
        }
        if durable {
            self.fix()?;
        }
        Ok(snapshot.fresh || durable)
    }

    /// For content, which makes durable what it shares redb with: see [`crate::state::State::door`].
    pub(super) fn make_durable(&self) -> Result<()> {
        let closed = self.applying.lock();
        if *closed {
            // All of it was synced, and nothing is applied any more.
            return Ok(self.view.state.apply(&Snapshot::default(), true)?);
        }
        self.fix()
    }

    /// IMPORTANT: under `applying`, and in this order: commits go on meanwhile, but none of them is applied between the
    /// sync, which covers and has signed all that is in redb by now, and the commit that makes redb durable as it is. So what
    /// redb holds on the disk is never ahead of the log there.
    fn fix(&self) -> Result<()> {
        self.sync()?;
        Ok(self.view.state.apply(&Snapshot::default(), true)?)
    }

    /// Everything signed, synced, applied and durable: the next open has nothing to replay.
    pub(super) fn close(&self) -> Result<()> {
        self.work.stop();
        // IMPORTANT: the thread holds the store, and with it redb's file, which who opens it next must find closed.
        let thread = self.thread.lock().take();
        if let Some(thread) = thread.filter(|t| t.thread().id() != std::thread::current().id()) {
            // A panic there has been printed, and there is nobody left to tell.
            let _ = thread.join();
        }
        // Frozen: it has been said why, and what could be saved is in the log.
        let frozen = self.frozen.read().is_some();
        let result = if frozen { Ok(()) } else { self.close_clean() };
        if !frozen {
            *self.applying.lock() = result.is_ok();
        }
        self.frozen.write().get_or_insert_with(|| "it is closed".into());
        *self.arrived.0.lock() += 1;
        self.arrived.1.notify_all();
        for queue in self.live.lock().iter() {
            queue.close();
        }
        self.published.close();
        result
    }

    fn close_clean(&self) -> Result<()> {
        self.vouch()?;
        self.apply_overlay(true)?;
        Ok(())
    }
}

/// IMPORTANT: redb makes its last commits durable when it is dropped, and they must not get ahead of the log. So the log
/// is synced first; where that fails, redb is never dropped, and the next opening replays.
impl Drop for Store {
    fn drop(&mut self) {
        let closed = *self.applying.lock();
        if !closed && self.close_clean().is_err() {
            std::mem::forget(self.view.state.clone());
        }
    }
}

impl From<crate::content::ContentError> for StoreError {
    fn from(e: crate::content::ContentError) -> Self {
        Self::Content(e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::disk::RealDisk;
    use crate::identity::Identity;
    use crate::store::{Authority, OpenOptions, create};

    /// redb's file is locked for as long as the thread holds the store: who opens it next would be refused.
    #[test]
    fn nothing_holds_a_store_any_more_when_close_has_returned() {
        let home = tempfile::tempdir().expect("a directory");
        let options = OpenOptions {
            disk: Arc::new(RealDisk),
            identity: Arc::new(Identity::from_seed([1; 32])),
            clock: Arc::new(SystemClock),
            background: true,
            authority: Authority::Itself,
        };
        for round in 0..20 {
            let handle = create(home.path(), &options).expect("a store");
            // A frozen one has nothing to save: its close takes less time than the thread to wake up.
            handle.store.freeze("for the test");
            handle.close().expect("closed");
            assert_eq!(Arc::strong_count(&handle.store), 1, "round {round}");
        }
    }
}
